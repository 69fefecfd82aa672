//! Sending: at most one run POSTs a row, and only after the row says so on disk.
//!
//! A row's send lock is held from before its state is read until its answer is committed. A kill in between frees the
//! lock and leaves `sending`: the next run replays the same bytes under the same key.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::calls::{Posted, Ready};
use super::commit::{Message, unrecorded};
use super::{Access, Run, Tx};
use crate::decide::{self, Attempt, Breaker, Circuit, Due, Moment, Verdict, Witness};
use crate::error::{Problem, Result, code};
use crate::heygen::{ApiError, Created};
use crate::locks::{Guard, Purpose};
use crate::render::human;
use crate::store::{Store, Trouble};
use crate::time::{self, LONGEST_WAIT, Timestamp};
use crate::video::{IdempotencyKey, Job, Kind, Outage, Phase, RowId, Video};

/// POSTs in a row that came to nothing, after which the rest waits for the next run.
const FAILURES: u32 = 3;
/// When a run last looked at the outbox of this database.
const OUTBOX_SEEN: &str = "outbox_seen";
const OUTBOX_SEEN_EVERY: Duration = Duration::from_secs(3600);
const CANDIDATES: usize = 64;

#[derive(Default)]
pub(super) struct Sends {
    /// The whole outbox is to be queued.
    pub(super) everything: bool,
    /// Rows to look at, with the lock where it is held already.
    pub(super) queue: VecDeque<(RowId, Option<Guard>)>,
    pub(super) begun: bool,
    /// The first POST of a run goes alone: sending many into an outage would start the 20 hours of every one of them.
    breaker: Breaker,
    room: Option<u64>,
    outbox_seen_at: Option<Timestamp>,
    /// Rows whose answer named another row's video, and that were asked once more.
    asked_again: HashSet<RowId>,
    /// HeyGen does not say what time it is: something between answers for it, as it may always do. Then our clock counts.
    timeless: bool,
    other_account: u64,
}

impl Sends {
    fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.everything
    }

    fn is_over(&self) -> bool {
        self.breaker.circuit() == Circuit::Open
    }
}

impl Run<'_, '_> {
    /// What is too old to be sent, of the rows that were named alone, needs no key and no network to be reported.
    pub(super) fn expire(&mut self, store: &mut Store, only: Option<&[RowId]>) -> Result<()> {
        let now = time::now();
        let (before, after) = (
            now.before(decide::REPLAY_WINDOW),
            now.after(decide::CLOCK_TOLERANCE),
        );
        let (rows, outbox_seen_at) = store.read(|tx| {
            let rows = only.map_or_else(|| tx.expirable(before, after), |rows| Ok(rows.to_vec()));
            Ok((rows?, tx.mark(OUTBOX_SEEN)?))
        })?;
        let moment = Moment {
            account: None,
            now,
            outbox_seen_at,
            restored: None,
            ignore_backoff: self.ignore_backoff,
        };
        let is_old = |video: &Video| matches!(decide::due(video, &moment), Due::Expired(_));
        for row in rows {
            if !store.read(|tx| tx.video(row))?.as_ref().is_some_and(is_old) {
                continue;
            }
            // Somebody who is at it right now knows better.
            if let Some(_guard) = self.locks.try_row(Purpose::Send, row)? {
                self.commit(store, |run, tx| run.due(tx, row, &moment).map(drop))?;
            }
        }
        Ok(())
    }

    /// The row, when it is its turn. What is too old for that is given up.
    fn due(&mut self, tx: &Tx<'_>, row: RowId, moment: &Moment<'_>) -> Result<Option<Video>> {
        let Some(video) = tx.video(row)? else {
            return Ok(None);
        };
        match decide::due(&video, moment) {
            Due::Now => return Ok(Some(video)),
            Due::Expired(why) => self.write(tx, decide::expire(&video, why, self.now))?,
            Due::OtherAccount => self.sends.other_account += 1,
            Due::Later(_) | Due::Not => {}
        }
        Ok(None)
    }

    pub(super) fn dispatch_sends(&mut self, store: &mut Store) -> Result<()> {
        if self.sends.is_over() || self.sends.is_empty() {
            return Ok(());
        }
        let begins = !std::mem::replace(&mut self.sends.begun, true);
        if (begins && !self.begin_sending(store)?) || self.limiter.is_closed() {
            self.sends.breaker.open();
            return Ok(());
        }
        let hands = match self.sends.breaker.circuit() {
            Circuit::Closed => self.api.free(),
            Circuit::HalfOpen if self.api.is_idle() => 1,
            _ => return Ok(()),
        };
        for (ready, guard) in self.take_ready(store, hands)? {
            self.post(ready, guard)?;
        }
        Ok(())
    }

    /// Whether sending has a chance at all, and how much of it.
    fn begin_sending(&mut self, store: &mut Store) -> Result<bool> {
        if std::mem::take(&mut self.sends.everything) {
            let outbox = store.read(|tx| tx.outbox())?;
            let outbox = outbox.into_iter().map(|row| (row, None));
            self.sends.queue.extend(outbox);
        }
        if self.sends.queue.is_empty() {
            return Ok(false);
        }
        let Some(access) = self.access()? else {
            return Ok(false);
        };
        let now = time::now();
        let (paused, old, failed) = store.read(|tx| {
            self.sends.outbox_seen_at = tx.mark(OUTBOX_SEEN)?;
            let active = tx.active_count()?;
            let most = self.options.max_active;
            self.sends.room = most.map(|most| most.saturating_sub(active));
            let kinds = ["key", "forbidden", "submit", "submit_forbidden", "credit"];
            let kept_from_sending = |trouble: &Trouble| kinds.contains(&trouble.kind.as_str());
            let failed = tx.troubles()?.iter().any(kept_from_sending) || tx.has_unanswered()?;
            let old = tx.has_old_keys(now.before(OUTBOX_SEEN_EVERY))?;
            Ok((tx.paused_until(&access.account)?, old, failed))
        })?;
        let failures = if failed { 1 } else { FAILURES };
        self.sends.breaker = Breaker::half_open(failures);
        // A pause that is longer than any can be means that the clock went back.
        if paused.is_some_and(|until| until > now && until <= now.after(LONGEST_WAIT)) {
            return Ok(false);
        }
        // A key is trusted for its age, and this clock may be wrong about that: HeyGen's is asked once. Without its
        // answer, what is old waits for the next run.
        Ok(!old || access.client.clock_skew().is_some() || self.greet(&access))
    }

    /// Asks HeyGen for nothing in particular: for its clock, and to hear whether it is there. `false`: no request of
    /// this run has a chance.
    pub(super) fn greet(&mut self, access: &Access) -> bool {
        if self.spare(false).is_none() {
            return false;
        }
        let error = match self.in_time(access).get(|client| client.whoami()) {
            Ok(_) => {
                self.polls.witness = self.polls.witness.max(Witness::Answered);
                return true;
            }
            Err(error) => error,
        };
        // The time was too short; nothing else is known to be wrong.
        if self.left().is_zero() {
            return false;
        }
        let verdict = Verdict::of(&error);
        let ends = matches!(
            verdict,
            Verdict::NotAsked | Verdict::KeyRefused | Verdict::NotSent
        );
        self.sends.timeless = matches!(error.http_status(), Some(200..500));
        if ends {
            self.stop_for(verdict, &error);
        } else if self.clock_skew().is_none() && !self.sends.timeless {
            self.outage(Outage::Network, error);
        }
        !ends
    }

    /// Notes that this database is in use, so that its outbox is known to be unsent. What was too old by then is not
    /// in the outbox any more.
    pub(super) fn note_outbox_seen(&mut self, store: &mut Store) -> Result<()> {
        let now = time::now();
        let is_lately = |at: Timestamp| at <= now && now.since(at) < OUTBOX_SEEN_EVERY;
        let is_due = store
            .read(|tx| Ok(tx.has_outbox()? && !tx.mark(OUTBOX_SEEN)?.is_some_and(is_lately)))?;
        if is_due {
            store.write(|tx| tx.mark_unless_lately(OUTBOX_SEEN, now, OUTBOX_SEEN_EVERY))?;
        }
        Ok(())
    }

    fn take_ready(&mut self, store: &mut Store, hands: usize) -> Result<Vec<(Ready, Guard)>> {
        let mut ready = Vec::new();
        while ready.len() < hands && !self.sends.is_over() && !self.sends.queue.is_empty() {
            self.commit(store, |run, tx| {
                for _ in 0..CANDIDATES {
                    if ready.len() == hands || run.sends.is_over() {
                        break;
                    }
                    let Some((row, guard)) = run.sends.queue.pop_front() else {
                        break;
                    };
                    let fresh = guard.is_some();
                    // Held locks are skipped: somebody is at it.
                    let guard = match guard {
                        Some(guard) => Some(guard),
                        None => run.locks.try_row(Purpose::Send, row)?,
                    };
                    if let Some(guard) = guard {
                        ready.extend(run.mark(tx, row, fresh)?.map(|ready| (ready, guard)));
                    }
                }
                Ok(())
            })?;
        }
        Ok(ready)
    }

    /// Marks a row `sending`; `None` when that is not its turn after all. `fresh`: a person submits it just now.
    fn mark(&mut self, tx: &Tx<'_>, row: RowId, fresh: bool) -> Result<Option<Ready>> {
        let (account, now) = (self.account()?, self.now);
        let moment = Moment {
            account: Some(&account),
            now: now.max(self.heygen_now()),
            outbox_seen_at: self.sends.outbox_seen_at,
            restored: tx.restored()?.map(|(_, last)| last),
            ignore_backoff: fresh || self.ignore_backoff,
        };
        let Some(video) = self.due(tx, row, &moment)? else {
            return Ok(None);
        };
        let Some(spare) = self.spare(!fresh && !video.kind.strategy().replays) else {
            return Ok(None);
        };
        let is_old = video.submitted_at < now.before(OUTBOX_SEEN_EVERY) && !self.ignore_backoff;
        let is_old = is_old || video.phase == Phase::Sending;
        let heard = self.clock_skew().is_some() || self.polls.witness > Witness::Nothing;
        if is_old && !heard && !self.sends.timeless && !self.sends.asked_again.contains(&row) {
            return Ok(None);
        }
        if video.phase == Phase::Unsent
            && let Some(room) = &mut self.sends.room
        {
            if *room == 0 {
                self.sends.breaker.open();
                return Ok(None);
            }
            *room -= 1;
        }
        let (Some(body), Some(key)) = (tx.request(row)?, video.idempotency_key.clone()) else {
            return Ok(None);
        };
        // What the row does not say on disk is not sent.
        if !self.written(tx, decide::begin_send(&video, &account, now))? {
            return Ok(None);
        }
        let window = decide::post_window(&video, now);
        Ok(Some(Ready {
            window: *window.start()..=now.after(spare).min(*window.end()),
            video,
            body,
            key,
        }))
    }

    fn post(&mut self, ready: Ready, guard: Guard) -> Result<()> {
        let identity = self.identity.clone();
        self.request(move |access| {
            let posted = access.post(&ready, &identity);
            let (row, kind) = (ready.video.id, ready.video.kind);
            let answer = posted.as_ref().ok().map(|(answer, _)| answer.as_ref());
            let created = answer.and_then(Result::ok);
            Message {
                accepted: created.map(|job| unrecorded(row, &job.video_id, ready.key.as_str())),
                ..Message::new(move |run, tx| {
                    run.after.guards.push(guard);
                    run.post_answer(tx, row, kind, posted)
                })
            }
        })
    }

    fn post_answer(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        kind: Kind,
        posted: Result<Posted>,
    ) -> Result<()> {
        let (answer, attempt) = match posted {
            Ok(posted) => posted,
            Err(moved) => {
                self.after.fatal = Some(moved);
                return Ok(());
            }
        };
        let Some(video) = tx.video(row)? else {
            if let Ok(created) = &answer {
                let id = &created.video_id;
                let what = format!("row {row} became video {id}, but was forgotten meanwhile");
                let hint = format!("tracker add {id} --kind {kind} tracks it");
                self.reporter.unrecorded(&what, &hint);
            }
            return Ok(());
        };
        if let Ok(created) = &answer
            && self.is_anothers(tx, &video, created, attempt)?
        {
            return Ok(());
        }
        let account = self.account()?;
        let decision = decide::sent(&video, attempt, &answer, &account, self.now);
        self.write(tx, decision)?;
        match answer {
            Ok(created) => {
                if tx.by_job(&job_of(&video, &created))? != Some(row) {
                    let key = video.idempotency_key.as_ref();
                    let key = key.map(IdempotencyKey::as_str).unwrap_or_default();
                    let what = unrecorded(row, &created.video_id, key);
                    let hint = format!("tracker show {row}; do not submit again");
                    self.reporter.unrecorded(&what, &hint);
                    self.reporter.tally.errors += 1;
                }
                self.submission_works(true);
                Ok(())
            }
            Err(error) => self.submission_failed(tx, error),
        }
    }

    /// Whether HeyGen's answer names a job that another row tracks, which is recorded then. Asked once more at first:
    /// answers can be mixed up on the way.
    fn is_anothers(
        &mut self,
        tx: &Tx<'_>,
        video: &Video,
        created: &Created,
        attempt: Attempt,
    ) -> Result<bool> {
        let other = match tx.by_job(&job_of(video, created))? {
            Some(other) if other != video.id => tx.video(other)?,
            _ => None,
        };
        let Some(other) = other else {
            return Ok(false);
        };
        let replays = video.kind.strategy().replays;
        let first = self.sends.asked_again.insert(video.id) && replays;
        let decision = decide::already_tracked(video, created, &other, attempt, first, self.now);
        self.write(tx, decision)?;
        if first {
            self.sends.queue.push_back((video.id, None));
        }
        Ok(true)
    }

    /// HeyGen itself answered a POST; `accepted`: with a video.
    fn submission_works(&mut self, accepted: bool) {
        self.reachable();
        self.polls.witness = self.polls.witness.max(Witness::Answered);
        self.works(Outage::Submit);
        if accepted {
            self.works(Outage::Credit);
            self.works(Outage::SubmitForbidden);
        }
        self.sends.breaker.success();
    }

    fn submission_failed(&mut self, tx: &Tx<'_>, error: ApiError) -> Result<()> {
        let verdict = Verdict::of(&error);
        let account = self.account()?;
        match verdict {
            Verdict::NotAsked => {}
            Verdict::NotSent | Verdict::KeyRefused => {
                self.stop_for(verdict, &error);
                let at_any_host = account.at_any_host();
                let instead = (verdict == Verdict::NotSent).then_some(&at_any_host);
                tx.release_account(&account, instead)?;
            }
            Verdict::Forbidden => self.stop(Outage::SubmitForbidden, error),
            Verdict::NoCredit => {
                self.reachable();
                self.outage(Outage::Credit, error);
                self.sends.breaker.open();
            }
            Verdict::Busy => {
                let pause = error.retry_after.unwrap_or(decide::DEFAULT_RETRY_AFTER);
                tx.pause(&account, self.now.after(pause))?;
                self.sends.breaker.open();
            }
            Verdict::InProgress | Verdict::NotFound | Verdict::Refused | Verdict::Declined => {
                self.submission_works(false);
            }
            Verdict::Gateway => {
                self.outage(Outage::Submit, error);
                self.sends.breaker.failure(verdict);
            }
            Verdict::Unanswered | Verdict::Garbled => {
                self.sends.breaker.failure(Verdict::Unanswered);
            }
        }
        Ok(())
    }

    /// What only another account may send is reported once for all rows; so is a clock that is off.
    pub(super) fn conclude_sends(&mut self) {
        if let Some(skew) = self.clock_skew() {
            let off = Duration::from_millis(skew.unsigned_abs());
            if off > decide::CLOCK_TOLERANCE {
                let way = if skew > 0 { "behind" } else { "ahead of" };
                let off = human::duration(off);
                let message = format!("this machine's clock is {off} {way} HeyGen's");
                let problem = Problem::new(code::CLOCK_SKEW, message)
                    .with_hint("set the clock: idempotency keys are trusted for their age");
                self.outage(Outage::Clock, problem);
            } else {
                self.works(Outage::Clock);
            }
        }
        let count = self.sends.other_account;
        if count > 0 {
            let message =
                format!("{count} not sent: submitted under another key or base URL than this one");
            let hint = "check with the key that they were submitted under; tracker list --status unsent,sending shows them";
            let problem = Problem::new(code::OTHER_KEY, message).with_hint(hint);
            self.outage(Outage::Account, problem);
        } else if self.all_of_this_account() && self.sends.is_empty() {
            self.works(Outage::Account);
        }
    }
}

fn job_of(video: &Video, created: &Created) -> Job {
    Job {
        kind: video.kind,
        id: created.video_id.clone(),
    }
}
