//! One verb of this program as a child process: its JSON Lines, or what it says went wrong.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::types::ToolError;

/// What a child may print on stderr before it is not listened to any more.
const MAX_TALK: u64 = 64 * 1024;

/// A child that can be ended from outside while somebody reads its output.
#[derive(Clone)]
pub(super) struct VerbProcess(Arc<Mutex<Option<Child>>>);

impl VerbProcess {
    /// Ends it as a signal would. Without one running this does nothing: its number may be another's by now.
    pub(super) fn end(&self) {
        let child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = child
            .as_ref()
            .and_then(|child| i32::try_from(child.id()).ok())
        {
            // It may have ended by itself; then there is nothing left to end.
            kill(Pid::from_raw(id), Signal::SIGTERM).ok();
        }
    }
}

impl VerbProcess {
    /// Waits for its end and says how it was.
    fn ended(&self, talk: &[u8]) -> Result<(), ToolError> {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = child.take().map(|mut child| child.wait());
        let code = status.and_then(Result::ok).and_then(|status| status.code());
        match (code, ToolError::said(talk)) {
            (Some(0), _) => Ok(()),
            (_, Some(failure)) => Err(failure),
            // Exit 1 without an error of the run: the lines say which row is in trouble.
            (Some(_), None) => Ok(()),
            (None, None) => Err(ToolError::local("the run was ended")),
        }
    }
}

/// The beginning of what a child says, while it says it.
fn read_talk(mut pipe: impl Read) -> Vec<u8> {
    let mut talk = Vec::new();
    // A pipe that breaks has nothing more to say.
    (&mut pipe).take(MAX_TALK).read_to_end(&mut talk).ok();
    // What is left unread would block the child.
    io::copy(&mut pipe, &mut io::sink()).ok();
    talk
}

/// A call that is dropped is cancelled.
pub(super) struct EndOnDrop(pub(super) VerbProcess);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What a child printed: each result as it comes, then how it ended.
pub(super) enum Output {
    Line(Value),
    Ended(Result<(), ToolError>),
}

/// Starts it; `input` is its stdin.
pub(super) fn start(
    arguments: Vec<OsString>,
    input: Vec<u8>,
) -> Result<(VerbProcess, UnboundedReceiver<Output>), ToolError> {
    let program = std::env::current_exe().map_err(|error| ToolError::local(&error.to_string()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| ToolError::local(&format!("cannot start tracker: {error}")))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let running = VerbProcess(Arc::new(Mutex::new(Some(child))));
    let (lines, output) = unbounded_channel();
    let reader = running.clone();
    let follow = move || {
        if let Some(mut stdin) = stdin {
            // A child that does not want its input says why on stderr.
            stdin.write_all(&input).ok();
        }
        // Without a thread for it the pipe is closed: what is said there is lost, and the child goes on.
        let talk = stderr.and_then(|pipe| {
            let listener = thread::Builder::new().name("mcp".to_owned());
            listener.spawn(move || read_talk(pipe)).ok()
        });
        for line in stdout
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines())
        {
            let Ok(line) = line else { break };
            if let Ok(value) = serde_json::from_str(&line) {
                // Nobody listens to a cancelled call.
                lines.send(Output::Line(value)).ok();
            }
        }
        let talk = talk.and_then(|talk| talk.join().ok()).unwrap_or_default();
        lines.send(Output::Ended(reader.ended(&talk))).ok();
    };
    thread::Builder::new()
        .name("mcp".to_owned())
        .spawn(follow)
        .map_err(|error| ToolError::local(&format!("cannot start a thread: {error}")))?;
    Ok((running, output))
}
