//! From what workers learnt to what is said of it: all that has arrived in one transaction, then what waits for its commit.

use std::rc::Rc;
use std::sync::mpsc::Sender;

use super::Run;
use crate::decide::{Decision, Entry};
use crate::error::{Problem, Result};
use crate::event::Event;
use crate::locks::Guard;
use crate::store::{Store, Tx};
use crate::time;
use crate::video::{HookEvent, Operation, RowId, Video, VideoId};

/// How many answers about rows go into one transaction at most, give or take one bulk answer: bounds how long another
/// writer waits.
pub(super) const BATCH: usize = 512;

/// What a worker learnt, as the change that it makes.
pub(super) struct Message {
    /// How many rows it is about.
    pub(super) rows: usize,
    /// An API worker is free again.
    pub(super) ends_request: bool,
    /// What a person has to know of an accepted POST when it cannot be recorded.
    pub(super) accepted: Option<String>,
    pub(super) learn: Box<Learn>,
}

type Learn = dyn FnOnce(&mut Run<'_, '_>, &Tx<'_>) -> Result<()> + Send;

impl Message {
    pub(super) fn new(
        learn: impl FnOnce(&mut Run<'_, '_>, &Tx<'_>) -> Result<()> + Send + 'static,
    ) -> Self {
        Self {
            rows: 1,
            ends_request: false,
            accepted: None,
            learn: Box::new(learn),
        }
    }

    /// Whoever waits for a job that panicked waits for ever. What others have said by now is recorded first.
    pub(super) fn panicked() -> Self {
        Self::new(|run, _| {
            run.after.fatal = Some(Problem::panicked());
            Ok(())
        })
    }
}

#[derive(Default)]
pub(super) struct AfterCommit {
    pub(super) said: Vec<(Rc<Video>, Entry)>,
    /// Workers that wait for their commit.
    pub(super) acks: Vec<Sender<()>>,
    pub(super) guards: Vec<Guard>,
    /// Rows HeyGen answered about without news.
    pub(super) seen: Vec<RowId>,
    stale_parts: Vec<(Rc<Video>, String)>,
    /// What ends the run.
    pub(super) fatal: Option<Problem>,
}

impl Run<'_, '_> {
    /// Runs `change` in one transaction, and then what had to wait for it.
    pub(super) fn commit<T>(
        &mut self,
        store: &mut Store,
        change: impl FnOnce(&mut Self, &Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        self.now = time::now();
        let value = store.write(|tx| change(self, tx))?;
        self.committed()?;
        Ok(value)
    }

    pub(super) fn take_in(&mut self, store: &mut Store, batch: Vec<Message>) -> Result<()> {
        let accepted: Vec<String> = batch.iter().filter_map(|m| m.accepted.clone()).collect();
        self.now = time::now();
        let written = store.write(|tx| {
            for message in batch {
                if message.ends_request {
                    self.api.done();
                }
                (message.learn)(self, tx)?;
            }
            match std::mem::take(&mut self.after.seen).as_slice() {
                [] => Ok(()),
                seen => tx.seen(seen, self.now),
            }
        });
        if written.is_err() {
            // The answer must not be lost with the database: the next check replays it, and a person can, too.
            for what in accepted {
                let hint =
                    "the next check with this database finds out by itself; do not submit again";
                self.reporter.unrecorded(&what, hint);
            }
        }
        written?;
        self.committed()
    }

    pub(super) fn committed(&mut self) -> Result<()> {
        let after = std::mem::take(&mut self.after);
        for ack in after.acks {
            ack.send(()).ok();
        }
        for (video, entry) in &after.said {
            self.reporter.say(video, entry);
        }
        for (video, part_name) in &after.stale_parts {
            self.sweep(video, part_name);
        }
        after.fatal.map_or(Ok(()), Err)
    }

    /// Decides about a row as it is now, if it is there.
    pub(super) fn change(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        decide: impl FnOnce(&Video) -> Decision,
    ) -> Result<()> {
        tx.video(row)?
            .map_or(Ok(()), |video| self.write(tx, decide(&video)))
    }

    /// Writes a decision about a row that was read in this transaction, and keeps what happened until that is durable.
    pub(super) fn write(&mut self, tx: &Tx<'_>, decision: Decision) -> Result<()> {
        self.written(tx, decision).map(drop)
    }

    /// The same, and whether the row could take it.
    pub(super) fn written(&mut self, tx: &Tx<'_>, mut decision: Decision) -> Result<bool> {
        let row = decision.video.id;
        for Entry { event, .. } in &decision.events {
            if let Event::Error(failure) = event {
                // What is said at a terminal only has not been said where cron's mail is read.
                let said = failure.notify || failure.own && self.reporter.reports_again;
                if said
                    && !self.reporter.screen.err_is_terminal
                    && let Some(error) = &mut decision.video.last_error
                {
                    error.notified_at = Some(self.now);
                }
                if failure.operation == Operation::Save {
                    self.saves.with_error.insert(row);
                }
            }
        }
        if !tx.apply(&decision, self.now)? {
            return Ok(false);
        }
        let (finishes, has_hook) = (decision.finishes(), self.options.hook.is_some());
        let video = Rc::new(decision.video);
        for part_name in decision.stale_parts {
            self.after.stale_parts.push((Rc::clone(&video), part_name));
        }
        for entry in decision.events {
            if let Event::Unknown { .. } = entry.event {
                self.lost.push(row);
            }
            if let Some((hook, file)) = entry.hook(&video).filter(|_| has_hook) {
                tx.hook(row, hook, file, self.now)?;
                self.hooks.look = true;
            }
            self.after.said.push((Rc::clone(&video), entry));
        }
        if finishes && has_hook && !tx.has_unfinished()? {
            tx.hook(row, HookEvent::Idle, None, self.now)?;
            self.hooks.look = true;
        }
        if !decision.fetch.is_empty() && self.options.download {
            self.saves.queue(row);
        }
        Ok(true)
    }
}

pub(super) fn unrecorded(row: RowId, video_id: &VideoId, key: &str) -> String {
    format!(
        "row {row} became video {video_id} (Idempotency-Key {key}), and that could not be recorded"
    )
}
