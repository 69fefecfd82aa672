//! Sending: at most one run POSTs a row, and only after the row says so on disk.
//!
//! A row's send lock is held from before its state is read until its answer is committed. A kill in between frees the
//! lock and leaves `sending`: the next run replays the same bytes under the same key.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::calls::{PostError, Posted};
use super::troubles::Kind;
use super::{Message, Run, Tx};
use crate::decide::{self, Due};
use crate::error::Error;
use crate::heygen::ErrorKind;
use crate::locks::{Guard, Purpose};
use crate::store::Store;
use crate::time::{self, Timestamp};
use crate::video::{Account, IdempotencyKey, Phase, RowId, Video};

/// Rows read from the store at once.
const PAGE: u32 = 256;
/// Unanswered POSTs in a row after which the rest waits for the next run.
const STREAK: u32 = 3;
/// How long POSTs are held back when HeyGen says "too many" and not for how long.
const DEFAULT_PAUSE: std::time::Duration = std::time::Duration::from_secs(60);

/// The sending of one run.
#[derive(Default)]
pub(super) struct Sends {
    /// Replays first, then what was never sent; each with the row after which its next page begins.
    pages: VecDeque<(Phase, RowId)>,
    /// Rows to look at, with the lock where it is held already.
    queue: VecDeque<(RowId, Option<Guard>)>,
    begun: bool,
    /// The last run was refused, or left POSTs without an answer: one row goes first. Sending many into an outage
    /// would start the 20 hours of every one of them.
    alone: bool,
    over: bool,
    streak: u32,
    in_flight: usize,
    /// How many further videos HeyGen may get, where that is limited.
    room: Option<u64>,
    /// Rows whose unanswered attempt belongs to another account.
    foreign: u64,
}

/// A row that is ready to go.
struct Ready {
    row: RowId,
    /// When its POST may begin.
    window: RangeInclusive<Timestamp>,
    fresh: bool,
    body: String,
    key: IdempotencyKey,
    guard: Guard,
}

impl Sends {
    /// Everything that waits is to be sent.
    pub(super) fn everything(&mut self) {
        self.pages = VecDeque::from([(Phase::Sending, RowId(0)), (Phase::Unsent, RowId(0))]);
    }

    /// Rows just recorded, with their locks.
    pub(super) fn fresh(&mut self, rows: Vec<(RowId, Guard)>) {
        self.queue
            .extend(rows.into_iter().map(|(row, guard)| (row, Some(guard))));
    }

    /// A row the user named.
    pub(super) fn named(&mut self, row: RowId) {
        self.queue.push_back((row, None));
    }

    pub(super) fn answered(&mut self) {
        self.in_flight -= 1;
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.pages.is_empty()
    }
}

impl Run<'_, '_> {
    /// What is too old to be replayed needs no key and no network to be told.
    pub(super) fn expire_old(&mut self, store: &mut Store) -> Result<(), Error> {
        let mut after = RowId(0);
        loop {
            let page = store.read(|tx| tx.outbox_after(Phase::Sending, after, PAGE))?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = *last;
            for row in page {
                self.expire_one(store, row)?;
            }
        }
    }

    pub(super) fn expire_one(&mut self, store: &mut Store, row: RowId) -> Result<(), Error> {
        let now = time::now();
        let expired = |video: &Video| match decide::due(video, None, false, now) {
            Due::Expired(why) => Some(why),
            Due::Now | Due::Later(_) | Due::OtherAccount | Due::Not => None,
        };
        let looks_old = store.read(|tx| tx.video(row))?.as_ref().and_then(expired);
        if looks_old.is_none() {
            return Ok(());
        }
        // Somebody who is at it right now knows better.
        let Some(guard) = self.lock_row(Purpose::Send, row)? else {
            return Ok(());
        };
        store.write(|tx| {
            let Some(video) = tx.video(row)? else {
                return Ok(());
            };
            match expired(&video) {
                Some(why) => self.write(tx, decide::expire(&video, why, now), now),
                None => Ok(()),
            }
        })?;
        drop(guard);
        self.committed();
        Ok(())
    }

    pub(super) fn lock_row(&self, purpose: Purpose, row: RowId) -> Result<Option<Guard>, Error> {
        self.locks.try_row(purpose, row)
    }

    pub(super) fn dispatch_sends(&mut self, store: &mut Store) -> Result<(), Error> {
        if self.sends.over || self.sends.is_empty() {
            return Ok(());
        }
        if !self.sends.begun && !self.begin_sending(store)? {
            self.sends.over = true;
            return Ok(());
        }
        let hands = if self.sends.alone {
            usize::from(self.sends.in_flight == 0)
        } else {
            self.api.free()
        };
        if hands == 0 {
            return Ok(());
        }
        if self.gate.is_closed() {
            self.sends.over = true;
            return Ok(());
        }
        for ready in self.take_ready(store, hands)? {
            self.post(ready)?;
        }
        Ok(())
    }

    /// Whether sending has a chance at all, and how much of it.
    fn begin_sending(&mut self, store: &Store) -> Result<bool, Error> {
        self.sends.begun = true;
        if self.sends.queue.is_empty() && !store.read(|tx| tx.has_outbox())? {
            return Ok(false);
        }
        let Some((_, account)) = self.caller()? else {
            return Ok(false);
        };
        let now = time::now();
        let (paused, troubled, active) = store.read(|tx| {
            let paused = tx.paused_until(&account)?;
            let refused = tx
                .troubles()?
                .iter()
                .any(|trouble| matches!(trouble.kind.as_str(), "key" | "forbidden" | "credit"));
            Ok((paused, refused || tx.has_unanswered()?, tx.active_count()?))
        })?;
        self.sends.alone = troubled;
        self.sends.room = self
            .options
            .max_active
            .map(|most| most.saturating_sub(active));
        // No pause is longer than an hour; one that seems to be means that the clock went back.
        let hour = std::time::Duration::from_secs(3600);
        Ok(!paused.is_some_and(|until| until > now && until <= now.after(hour)))
    }

    /// Up to `hands` rows, locked and marked `sending` on disk.
    fn take_ready(&mut self, store: &mut Store, hands: usize) -> Result<Vec<Ready>, Error> {
        let account = self.account();
        let mut ready = Vec::new();
        while ready.len() < hands && !self.sends.over {
            let candidates = self.candidates(store, hands - ready.len())?;
            if candidates.is_empty() {
                break;
            }
            let now = time::now();
            store.write(|tx| {
                for (row, guard) in candidates {
                    if let Some(next) = self.mark(tx, row, guard, &account, now)? {
                        ready.push(next);
                    }
                }
                Ok(())
            })?;
            self.committed();
        }
        Ok(ready)
    }

    /// Rows that seem to be due, with their locks. Held locks are skipped: somebody is at it.
    fn candidates(&mut self, store: &Store, most: usize) -> Result<Vec<(RowId, Guard)>, Error> {
        let account = self.account();
        let now = time::now();
        let mut candidates = Vec::new();
        while candidates.len() < most {
            let Some((row, guard)) = self.next_in_queue(store)? else {
                break;
            };
            let guard = match guard {
                Some(guard) => guard,
                None => match self.lock_row(Purpose::Send, row)? {
                    Some(guard) => guard,
                    None => continue,
                },
            };
            let Some(video) = store.read(|tx| tx.video(row))? else {
                continue;
            };
            match decide::due(&video, Some(&account), self.eager, now) {
                Due::Now => candidates.push((row, guard)),
                Due::OtherAccount => self.sends.foreign += 1,
                Due::Later(_) | Due::Not | Due::Expired(_) => {}
            }
        }
        Ok(candidates)
    }

    fn next_in_queue(&mut self, store: &Store) -> Result<Option<(RowId, Option<Guard>)>, Error> {
        loop {
            if let Some(next) = self.sends.queue.pop_front() {
                return Ok(Some(next));
            }
            let Some((phase, after)) = self.sends.pages.pop_front() else {
                return Ok(None);
            };
            let page = store.read(|tx| tx.outbox_after(phase, after, PAGE))?;
            if let Some(last) = page.last() {
                self.sends.pages.push_front((phase, *last));
            }
            self.sends
                .queue
                .extend(page.into_iter().map(|row| (row, None)));
        }
    }

    /// Marks a row `sending`; `None` when that is not its turn after all.
    fn mark(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        guard: Guard,
        account: &Account,
        now: Timestamp,
    ) -> Result<Option<Ready>, Error> {
        let Some(video) = tx.video(row)? else {
            return Ok(None);
        };
        if decide::due(&video, Some(account), self.eager, now) != Due::Now {
            return Ok(None);
        }
        let fresh = video.phase == Phase::Unsent;
        if fresh && let Some(room) = &mut self.sends.room {
            if *room == 0 {
                self.sends.over = true;
                return Ok(None);
            }
            *room -= 1;
        }
        let (Some(body), Some(key)) = (tx.request(row)?, video.idempotency_key.clone()) else {
            return Ok(None);
        };
        self.write(tx, decide::begin_send(&video, account, now), now)?;
        Ok(Some(Ready {
            row,
            window: decide::post_window(&video, now),
            fresh,
            body,
            key,
            guard,
        }))
    }

    fn post(&mut self, ready: Ready) -> Result<(), Error> {
        let Some((caller, _)) = self.caller()? else {
            return Ok(());
        };
        let outbox = self.outbox.clone();
        let identity = self.identity.clone();
        self.sends.in_flight += 1;
        self.start_api(move || {
            let body = ready.body.as_bytes();
            let posted = caller.post(body, &ready.key, ready.fresh, &ready.window, &identity);
            outbox
                .send(Message::Posted {
                    row: ready.row,
                    fresh: ready.fresh,
                    key: ready.key,
                    posted,
                    guard: ready.guard,
                })
                .ok();
        })
    }

    /// Records what became of a POST. A database that cannot be used any more is handed back.
    pub(super) fn post_answer(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        fresh: bool,
        posted: Posted,
        now: Timestamp,
    ) -> Result<Option<Error>, Error> {
        let Some(video) = tx.video(row)? else {
            if let Ok(created) = &posted.answer {
                let id = &created.video_id;
                self.reporter.unrecorded(&format!(
                    "row {row} became video {id}, but was forgotten meanwhile"
                ));
            }
            return Ok(None);
        };
        let account = self.account();
        let untied = fresh && posted.unanswered == 0;
        let answer = match posted.answer {
            Ok(created) => Ok(created),
            Err(PostError::Api(error)) => Err(error),
            Err(PostError::NotAttempted) => {
                self.write(tx, decide::not_attempted(&video, untied), now)?;
                return Ok(None);
            }
            Err(PostError::Database(error)) => return Ok(Some(error)),
        };
        if let Ok(created) = &answer
            && let Some(other) = tx.by_video_id(&created.video_id)?
            && other != row
        {
            let decision = decide::already_tracked(&video, created, other);
            self.write(tx, decision, now)?;
            return Ok(None);
        }
        let decision = decide::sent(
            &video,
            untied,
            posted.unanswered,
            &answer,
            &account,
            IdempotencyKey::random(),
            now,
        );
        self.write(tx, decision, now)?;
        match answer {
            Ok(_) => {
                self.reachable();
                for kind in [Kind::Credit, Kind::Forbidden, Kind::Account] {
                    self.troubles.proves(kind);
                }
                self.sends.alone = false;
                self.sends.streak = 0;
            }
            Err(error) => match error.kind {
                ErrorKind::NotSent => self.stop(Kind::Network, &error),
                ErrorKind::Status(401) => self.stop(Kind::Key, &error),
                ErrorKind::Status(403) => self.stop(Kind::Forbidden, &error),
                ErrorKind::Status(402) => {
                    self.reachable();
                    self.troubles.api(Kind::Credit, &error);
                    self.sends.over = true;
                }
                ErrorKind::Status(429) => {
                    let pause = error.retry_after.unwrap_or(DEFAULT_PAUSE);
                    tx.pause(&account, now.after(pause))?;
                    self.sends.over = true;
                }
                ErrorKind::Status(400..500) => {
                    self.reachable();
                    self.sends.streak = 0;
                }
                ErrorKind::NoAnswer { .. } | ErrorKind::Status(_) | ErrorKind::BadResponse(_) => {
                    self.sends.streak += 1;
                    self.sends.over |= self.sends.alone || self.sends.streak >= STREAK;
                }
            },
        }
        Ok(None)
    }

    /// Replays that only another account may make are said once for all rows.
    pub(super) fn conclude_sends(&mut self) {
        if self.sends.foreign == 0 {
            return;
        }
        self.troubles.note(
            Kind::Account,
            "other_key".to_owned(),
            format!(
                "{} sent under another key or base URL still wait for their answer and are not repeated under this one",
                self.sends.foreign
            ),
            Some("check with the key that sent them; tracker list --status sending shows them".to_owned()),
        );
    }
}
