//! Hooks: the user's command, told of what happened.
//!
//! What is due is written in the transaction of the change itself, so no crash loses it; what was told is removed
//! after the command ended well, so a crash in between tells it twice. Facts travel in the environment and on
//! standard input: nothing HeyGen sends ever becomes part of a command line.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Run, Tx};
use crate::decide::Entry;
use crate::error::Error;
use crate::event::Event;
use crate::locks::Purpose;
use crate::render::json::{VideoObject, to_line};
use crate::store::{DueHook, Store};
use crate::time::{self, Timestamp};
use crate::video::{HookEvent, RowId, Video};

/// How long a hook may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a hook is tried.
const TRIES: i64 = 5;
/// Hooks read at once.
const PAGE: u32 = 100;

impl Run<'_, '_> {
    /// Notes what the hook has to be told of a row, if there is a hook.
    pub(super) fn due_hook(
        &self,
        tx: &Tx<'_>,
        row: RowId,
        event: HookEvent,
        file: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        if self.options.hook.is_none() {
            return Ok(());
        }
        tx.hook(row, event, file, now)
    }

    /// Notes `idle` when this row was the last unfinished one.
    pub(super) fn maybe_idle(&self, tx: &Tx<'_>, row: RowId, now: Timestamp) -> Result<(), Error> {
        if self.options.hook.is_none() || tx.has_unfinished()? {
            return Ok(());
        }
        tx.hook(row, HookEvent::Idle, None, now)
    }

    /// Tells the hook all that is due. Each try is counted before it is made.
    pub(super) fn tell_hooks(&mut self, store: &mut Store) -> Result<(), Error> {
        let Some(command) = self.options.hook.clone() else {
            return Ok(());
        };
        let due = store.read(|tx| tx.due_hooks(PAGE))?;
        for hook in due {
            // Another run is telling it right now.
            let Some(guard) = self.lock_row(Purpose::Hook, hook.id)? else {
                continue;
            };
            let video = store.write(|tx| match tx.hook_tried(hook.id)? {
                true => tx.video(hook.video),
                false => Ok(None),
            })?;
            if let Some(video) = video {
                let told = tell(&command, &hook, &video, store);
                self.record_hook(store, &hook, &video, told)?;
            }
            drop(guard);
        }
        Ok(())
    }

    fn record_hook(
        &mut self,
        store: &mut Store,
        hook: &DueHook,
        video: &Video,
        told: Result<(), String>,
    ) -> Result<(), Error> {
        let last = hook.tries + 1 >= TRIES;
        let entry = Entry::new(Event::Hook {
            event: hook.event,
            tries: hook.tries + 1,
            error: told.as_ref().err().cloned(),
        });
        store.write(|tx| {
            if told.is_ok() || last {
                tx.hook_over(hook.id)?;
            }
            // It may have forgotten its own row: then there is nothing to record.
            if tx.video(video.id)?.is_some() {
                tx.append(video.id, &entry, time::now())?;
            }
            Ok(())
        })?;
        let Err(why) = told else {
            return Ok(());
        };
        let first = hook.tries == 0;
        self.reporter
            .hook_failed(video, hook.event, &why, (first, last));
        Ok(())
    }
}

/// Runs the command once.
fn tell(command: &str, hook: &DueHook, video: &Video, store: &Store) -> Result<(), String> {
    let row = to_line(&VideoObject::new(video)).map_err(|error| error.to_string())?;
    let video_id = video.video_id.as_ref().map_or("", |id| id.as_str());
    let mut child = Command::new("sh");
    child
        .arg("-c")
        .arg(command)
        .env("TRACKER_EVENT", hook.event.word())
        .env("TRACKER_ID", video.id.to_string())
        // An environment variable cannot hold NUL; nothing else is changed.
        .env("TRACKER_VIDEO_ID", without_nul(video_id))
        .env("TRACKER_STATUS", without_nul(video.status()))
        .env(
            "TRACKER_TITLE",
            without_nul(video.title.as_deref().unwrap_or_default()),
        )
        .env("TRACKER_FILE", hook.file.as_deref().unwrap_or_default())
        .env("TRACKER_DB", store.path())
        .stdin(Stdio::piped())
        // stdout is the program's own results.
        .stdout(io::stderr())
        // A group of its own, so that what it starts ends with it.
        .process_group(0);
    match run(child, row) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(status.to_string()),
        Ok(None) => Err(format!("no end after {} s; killed", PATIENCE.as_secs())),
        Err(error) => Err(error.to_string()),
    }
}

fn without_nul(text: &str) -> String {
    // 128 KiB is what Linux allows for one variable; nobody needs more of a title.
    text.chars().filter(|c| *c != '\0').take(30_000).collect()
}

/// Waits for the end of a command, at most [`PATIENCE`]; `None` when it had to be killed.
fn run(mut command: Command, input: String) -> io::Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let stdin = child.stdin.take();
    let (sender, ended) = channel();
    thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            // A hook need not read.
            writeln!(stdin, "{input}").ok();
        }
        // The caller may have lost patience.
        sender.send(child.wait()).ok();
    });
    match ended.recv_timeout(PATIENCE) {
        Ok(status) => status.map(Some),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            // It may have ended this very moment.
            killpg(group, Signal::SIGKILL).ok();
            Ok(None)
        }
    }
}
