//! One verb of this program as a child process: its JSON Lines, or what it says went wrong.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rmcp::RoleServer;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::RequestContext;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::process::{Child, Command};

use crate::error::{Problem, code};

pub(super) type Asking = RequestContext<RoleServer>;

/// What a child may print on stderr before it is not listened to any more.
const MAX_TALK: u64 = 64 * 1024;

/// A call that is dropped is cancelled: the child ends as at a signal.
struct VerbProcess(Child);

impl Drop for VerbProcess {
    fn drop(&mut self) {
        // None of one that was waited for: its number may be another's by now.
        if let Some(Ok(id)) = self.0.id().map(i32::try_from) {
            kill(Pid::from_raw(id), Signal::SIGTERM).ok();
        }
    }
}

pub(super) fn local(message: impl ToString) -> Problem {
    Problem::new(code::FILE, message.to_string())
}

fn not_started(error: io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::ArgumentListTooLong | io::ErrorKind::InvalidInput => Problem::usage(
            "an argument is too long or contains a NUL byte",
            "give shorter ids, keys and tags, without NUL; only the body may be long",
        ),
        _ => local(format!("cannot start tracker: {error}")),
    }
}

pub(super) fn problem(error: &Value) -> Option<Problem> {
    let text = |name| error[name].as_str().map(str::to_owned);
    let problem = Problem::new(text("code")?, text("message")?);
    Some(Problem {
        hint: text("hint"),
        ..problem
    })
}

/// Before any other hint: whoever misses it may submit twice.
pub(super) fn with_first_hint(problem: Problem, first: String) -> Problem {
    let hint = match &problem.hint {
        Some(hint) => format!("{first}; {hint}"),
        None => first,
    };
    problem.with_hint(hint)
}

/// A client that wants to see how it goes hears of each result.
async fn report_progress(context: &Asking, done: usize, line: &Value) {
    if let Some(token) = context.meta.get_progress_token() {
        let mut progress = ProgressNotificationParam::new(token, done as f64 + 1.0);
        progress.message = line["type"].as_str().map(|word| match line["id"].as_i64() {
            Some(id) => format!("{word} {id}"),
            None => word.to_owned(),
        });
        context.peer.notify_progress(progress).await.ok();
    }
}

/// Runs this program to its end with `input` as its stdin, and returns what it printed.
pub(super) async fn run(
    arguments: Vec<OsString>,
    input: Vec<u8>,
    context: &Asking,
) -> Result<Vec<Value>, Problem> {
    let program = std::env::current_exe().map_err(local)?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_started)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut child = VerbProcess(child);
    let (Some(mut stdin), Some(stdout), Some(mut stderr)) = (stdin, stdout, stderr) else {
        return Err(local("cannot talk to tracker"));
    };
    let feed = async move {
        // A child that does not want its input says why on stderr.
        stdin.write_all(&input).await.ok();
    };
    let listen = async {
        let mut talk = Vec::new();
        // A pipe that breaks has nothing more to say; what is left unread would block the child.
        let mut beginning = (&mut stderr).take(MAX_TALK);
        beginning.read_to_end(&mut talk).await.ok();
        copy(&mut stderr, &mut sink()).await.ok();
        talk
    };
    let read = async {
        let mut values = Vec::new();
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(value) = serde_json::from_str(&line) {
                report_progress(context, values.len(), &value).await;
                values.push(value);
            }
        }
        values
    };
    let ((), talk, lines) = tokio::join!(feed, listen, read);
    let code = child.0.wait().await.ok().and_then(|status| status.code());
    ended(code, &talk, lines)
}

/// What a run that printed `lines` amounts to, by its exit code and what it said on stderr.
fn ended(code: Option<i32>, talk: &[u8], lines: Vec<Value>) -> Result<Vec<Value>, Problem> {
    let said = talk.rsplit(|byte| *byte == b'\n').find_map(|line| {
        let line: Value = serde_json::from_slice(line).ok()?;
        problem(&line["error"])
    });
    match (code, said) {
        (Some(0), _) => Ok(lines),
        (_, Some(problem)) => {
            let row = lines.iter().find(|line| line["type"].is_null());
            let row = row.and_then(|line| line["id"].as_i64());
            let what =
                |row| format!("recorded as row {row}: do not repeat it, check_videos sends it");
            Err(match row.map(what) {
                Some(hint) => with_first_hint(problem, hint),
                None => problem,
            })
        }
        // Exit 1 without an error of the run: the lines say which row is in trouble.
        (Some(_), None) => Ok(lines),
        (None, None) => Err(local("the run was ended")),
    }
}
