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

use crate::error::{Problem, code};

/// What a child may print on stderr before it is not listened to any more.
const MAX_TALK: u64 = 64 * 1024;

/// A child while it runs. Without one, its number may be another's by now.
type ChildSlot = Arc<Mutex<Option<Child>>>;

/// A call that is dropped is cancelled: the child ends as at a signal.
pub(super) struct VerbProcess(ChildSlot);

impl Drop for VerbProcess {
    fn drop(&mut self) {
        let child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = child.as_ref().map(|child| i32::try_from(child.id()));
        if let Some(Ok(id)) = id {
            // It may have ended by itself; then there is nothing left to end.
            kill(Pid::from_raw(id), Signal::SIGTERM).ok();
        }
    }
}

/// What a child printed: each result as it comes, then how it ended.
pub(super) enum Output {
    Line(Value),
    Ended(Result<(), Problem>),
}

/// Something of this machine.
pub(super) fn local(message: &str) -> Problem {
    Problem::new(code::FILE, message)
}

/// The problem in an error envelope.
pub(super) fn problem(error: &Value) -> Option<Problem> {
    let text = |name| error[name].as_str().map(str::to_owned);
    let problem = Problem::new(text("code")?, text("message")?);
    Some(Problem {
        hint: text("hint"),
        ..problem
    })
}

fn ended(running: &ChildSlot, talk: &[u8]) -> Result<(), Problem> {
    let mut child = running.lock().unwrap_or_else(PoisonError::into_inner);
    let status = child.take().map(|mut child| child.wait());
    let code = status.and_then(Result::ok).and_then(|status| status.code());
    let mut lines = talk.rsplit(|byte| *byte == b'\n');
    let said = lines.find_map(|line| {
        let line: Value = serde_json::from_slice(line).ok()?;
        problem(&line["error"])
    });
    match (code, said) {
        (Some(0), _) => Ok(()),
        (_, Some(problem)) => Err(problem),
        // Exit 1 without an error of the run: the lines say which row is in trouble.
        (Some(_), None) => Ok(()),
        (None, None) => Err(local("the run was ended")),
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

/// Starts it; `input` is its stdin.
pub(super) fn start(
    arguments: Vec<OsString>,
    input: Vec<u8>,
) -> Result<(VerbProcess, UnboundedReceiver<Output>), Problem> {
    let program = std::env::current_exe().map_err(|error| local(&error.to_string()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| local(&format!("cannot start tracker: {error}")))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let running = ChildSlot::new(Mutex::new(Some(child)));
    let process = VerbProcess(Arc::clone(&running));
    let (lines, output) = unbounded_channel();
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
        let stdout = stdout
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines());
        for line in stdout.map_while(Result::ok) {
            if let Ok(value) = serde_json::from_str(&line) {
                // Nobody listens to a cancelled call.
                lines.send(Output::Line(value)).ok();
            }
        }
        let talk = talk.and_then(|talk| talk.join().ok()).unwrap_or_default();
        lines.send(Output::Ended(ended(&running, &talk))).ok();
    };
    thread::Builder::new()
        .name("mcp".to_owned())
        .spawn(follow)
        .map_err(|error| local(&format!("cannot start a thread: {error}")))?;
    Ok((process, output))
}
