//! Hooks: the user's command for what happened.
//!
//! What is due is written in the transaction of the change itself, so no crash loses it; what the command took is removed
//! after the command ended well, so a crash in between runs it twice. Facts travel in the environment and on
//! standard input: nothing HeyGen sends ever becomes part of a command line.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;

use super::commit::Message;
use super::{Run, Tx};
use crate::decide::Entry;
use crate::error::Result;
use crate::event::Event;
use crate::locks::{Guard, Purpose};
use crate::render::json::{VideoObject, to_line};
use crate::signals;
use crate::store::{DueHook, Store};
use crate::video::{RowId, Video};

const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const TRIES: i64 = 5;
const PAGE: u32 = 100;
/// How long hooks may go on when everything else is done, altogether.
const TOGETHER: Duration = Duration::from_secs(60);
const DIES: Duration = Duration::from_secs(2);

impl Run<'_, '_> {
    /// What a hook's own run learns is left to the run that started the hook: else each would start further ones.
    pub(super) fn runs_hooks(&self) -> bool {
        self.options.run_hooks && self.env.get("TRACKER_EVENT").is_none()
    }

    /// Starts the next hook that is due, when none is running. Each try is counted before it is made.
    pub(super) fn dispatch_hooks(&mut self, store: &mut Store) -> Result<()> {
        let Some(command) = self.options.hook.clone().filter(|_| self.runs_hooks()) else {
            return Ok(());
        };
        while self.hooks.until.is_none() {
            if self.hooks.queue.is_empty() && std::mem::take(&mut self.hooks.look) {
                let due = store.read(|tx| tx.due_hooks(PAGE))?;
                let Hooks { queue, seen, .. } = &mut self.hooks;
                queue.extend(due.into_iter().filter(|hook| !seen.contains(&hook.id)));
            }
            // A hook may want to do something with its row: not while its files are under way.
            let saves = &self.saves;
            let ready = |hook: &DueHook| !saves.has_work_with(hook.video);
            let first = self.hooks.queue.iter().position(ready);
            let Some(hook) = first.and_then(|first| self.hooks.queue.remove(first)) else {
                return Ok(());
            };
            self.hooks.seen.insert(hook.id);
            // Another run is at it right now, or the hook that a killed run left behind.
            let Some(guard) = self.locks.try_apart(Purpose::Hook, hook.id)? else {
                continue;
            };
            let video = store.write(|tx| match tx.hook_tried(hook.id)? {
                true => tx.video(hook.video),
                false => Ok(None),
            })?;
            if let Some(video) = video {
                let command = command_of(&command, &hook, &video, store.path());
                self.start_hook(command, hook, video, guard);
            }
        }
        Ok(())
    }

    pub(super) fn finish_hooks(&mut self, store: &mut Store) -> Result<()> {
        let patience = Instant::now() + TOGETHER;
        let deadline = self.options.deadline;
        let until = deadline.map_or(patience, |at| at.min(patience));
        loop {
            self.dispatch_hooks(store)?;
            if self.hooks.are_over() {
                return Ok(());
            }
            if !self.step(store, Some(until))? {
                break;
            }
        }
        self.hooks.stop();
        self.hooks.kill();
        let dead = Instant::now() + DIES;
        while !self.hooks.are_over() && self.step(store, Some(dead))? {
            self.hooks.stop();
        }
        Ok(())
    }

    fn start_hook(&mut self, mut command: Command, hook: DueHook, video: Video, guard: Guard) {
        let started = Instant::now();
        let input = to_line(&VideoObject::new(&video)).unwrap_or_default();
        guard.hand_on(true);
        let spawned = match hook.tries {
            ..TRIES => signals::Child::spawn(&mut command).map_err(|error| error.to_string()),
            _ => Err("tracker was killed during each try".to_owned()),
        };
        guard.hand_on(false);
        let (spawned, child) = match spawned {
            Ok((process, child)) => (Ok(process), Some(child)),
            Err(error) => (Err(error), None),
        };
        self.hooks.child = child;
        self.hooks.until = Some(started + PATIENCE);
        let has_child = spawned.is_ok();
        let outbox = self.outbox.clone();
        let wait = move || {
            let outcome = spawned.and_then(|child| outcome(child, &input, started));
            let message = Message::new(move |run, tx| {
                run.after.guards.push(guard);
                run.hooked(tx, &hook, video, outcome)
            });
            outbox.send(message).ok();
        };
        if !has_child {
            return wait();
        }
        let spawned = thread::Builder::new()
            .name("hook".to_owned())
            .stack_size(128 * 1024)
            .spawn(wait);
        if spawned.is_err() {
            // Nobody can wait for it: it is tried again by the next run.
            self.hooks.end();
        }
    }

    fn hooked(
        &mut self,
        tx: &Tx<'_>,
        hook: &DueHook,
        video: Video,
        outcome: Result<(), String>,
    ) -> Result<()> {
        (self.hooks.until, self.hooks.child) = (None, None);
        // A failed one may have left others waiting that it held up.
        self.hooks.look = true;
        let tries = hook.tries + 1;
        if outcome.is_ok() || tries >= TRIES {
            tx.hook_over(hook.id)?;
        }
        let entry = Entry::new(Event::Hook {
            event: hook.event,
            tries,
            error: outcome.err(),
        });
        // It may have forgotten its own row.
        if tx.video(video.id)?.is_some() {
            tx.append(video.id, &entry, self.now)?;
        }
        self.after.said.push((Rc::new(video), entry));
        Ok(())
    }
}

fn outcome(mut child: Child, input: &str, started: Instant) -> Result<(), String> {
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read; one that is killed ends this, too.
        writeln!(stdin, "{input}").ok();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    match status.signal() {
        _ if status.success() => Ok(()),
        Some(libc::SIGKILL) => Err(format!("killed after {} s", started.elapsed().as_secs())),
        _ => Err(status.to_string()),
    }
}

/// The hooks of one run: one after the other, beside everything else.
#[derive(Default)]
pub(super) struct Hooks {
    queue: VecDeque<DueHook>,
    /// There may be more than the queue has.
    pub(super) look: bool,
    /// Those this run has tried: what fails is tried again by the next.
    seen: HashSet<RowId>,
    /// While one is running: when it is killed.
    pub(super) until: Option<Instant>,
    /// `None` when it could not be started.
    child: Option<signals::Child>,
}

impl Hooks {
    pub(super) fn are_over(&self) -> bool {
        self.until.is_none() && self.queue.is_empty() && !self.look
    }

    pub(super) fn stop(&mut self) {
        self.queue.clear();
        self.look = false;
    }

    pub(super) fn kill(&mut self) {
        self.child.iter().for_each(signals::Child::kill);
        let later = Instant::now() + PATIENCE;
        self.until = self.until.map(|_| later);
    }

    pub(super) fn end(&mut self) {
        self.stop();
        self.kill();
        (self.until, self.child) = (None, None);
    }
}

/// Linux allows 128 KiB, its name included.
const LONGEST_VARIABLE: usize = 127 * 1024;

fn command_of(command: &str, hook: &DueHook, video: &Video, database: &Path) -> Command {
    let video_id = video.video_id.as_ref().map_or("", |id| id.as_str());
    let title = video.title.as_deref().unwrap_or_default();
    let mut child = Command::new("sh");
    child
        .arg("-c")
        .arg(command)
        .env("TRACKER_HOOK", command)
        .env("TRACKER_EVENT", hook.event.word())
        .env("TRACKER_ID", video.id.to_string())
        .env("TRACKER_KIND", video.kind.word())
        // An environment variable cannot hold NUL; nothing else is changed.
        .env("TRACKER_VIDEO_ID", without_nul(video_id))
        .env("TRACKER_STATUS", without_nul(video.status()))
        .env("TRACKER_TITLE", without_nul(title))
        .env("TRACKER_DATA", data(video))
        .env("TRACKER_FILE", hook.file.as_deref().unwrap_or_default())
        .env("TRACKER_DB", database)
        .stdin(Stdio::piped())
        .stdout(io::stderr())
        // A group of its own, so that what it starts ends with it.
        .process_group(0);
    child
}

/// The line of the user's table, as JSON; empty where there is none, or one too long for a variable.
fn data(video: &Video) -> String {
    let data = video.data.as_ref().map(serde_json::to_string);
    let data = data.and_then(Result::ok);
    data.filter(|data| data.len() < LONGEST_VARIABLE)
        .unwrap_or_default()
}

fn without_nul(text: &str) -> String {
    // Nobody needs more of a title.
    text.chars().filter(|c| *c != '\0').take(30_000).collect()
}
