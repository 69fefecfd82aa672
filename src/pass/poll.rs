//! Asking: each unfinished row once. Bulk where that tells enough, the row's own GET where it does not.
//!
//! A request that fails for reasons of the whole run (no network, no key) must not be repeated for every row: one own
//! GET decides for all rows of a failed bulk request, and failures in a row without any success end the asking.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::calls::CallError;
use super::troubles::Kind;
use super::{Message, Run, Tx};
use crate::decide::{self, Observation};
use crate::error::Error;
use crate::heygen::{ApiError, BulkStatus, ErrorKind, MAX_BULK, RemoteVideo, fits_bulk};
use crate::store::{Store, UnfinishedRow};
use crate::time::Timestamp;
use crate::video::{Phase, RemoteStatus, RowId, VideoId};

/// Rows read from the store at once.
const PAGE: u32 = 1000;
/// How many finished videos tell what is usual.
const USUAL: u32 = 200;
/// Failures in a row that are taken for the whole run's.
const STREAK: u32 = 4;

/// A row HeyGen was asked about, as it was then.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    row: RowId,
    rev: i64,
    video_id: VideoId,
    /// The word that would be no news.
    settled: Option<RemoteStatus>,
    /// Asking for it failed the last time.
    troubled: bool,
}

impl From<UnfinishedRow> for Asked {
    fn from(row: UnfinishedRow) -> Self {
        Self {
            row: row.id,
            rev: row.rev,
            video_id: row.video_id,
            settled: row.remote_status.filter(|_| row.settled),
            troubled: row.troubled,
        }
    }
}

/// The asking of one run.
#[derive(Default)]
pub(super) struct Polls {
    /// Where the next page of unfinished rows begins; `None` when there is no further one.
    next_page: Option<RowId>,
    /// Rows for the next bulk request.
    bulk: Vec<Asked>,
    /// Rows for a GET of their own.
    details: VecDeque<Asked>,
    /// The same for rows that failed the last time. They come last and in any order: should they fail again and end
    /// the asking, everybody else was asked, and no one of them is always left out.
    troubled: Vec<Asked>,
    /// The bulk endpoint is no help in this run.
    bulk_broken: bool,
    /// Rows of failed bulk requests, waiting for the one GET that decides for all.
    undecided: Vec<Asked>,
    /// That GET, before it is made.
    probe: Option<Asked>,
    /// Until it is answered nothing else is asked.
    probing: bool,
    /// Rows whose GET failed before anything worked: their own trouble, or everybody's.
    suspects: Vec<(Asked, ApiError)>,
    worked: bool,
    streak: u32,
    in_flight: usize,
    /// Rows that belong to another account, and one of them.
    foreign: u64,
}

impl Polls {
    /// Every unfinished row is to be asked about.
    pub(super) fn everything(&mut self) {
        self.next_page = Some(RowId(0));
    }

    pub(super) fn answered(&mut self) {
        self.in_flight -= 1;
    }

    /// Whether everything was asked and answered, so that what HeyGen has in work is known.
    pub(super) fn are_over(&self) -> bool {
        self.only_troubled_left() && self.troubled.is_empty() && self.in_flight == 0
    }

    /// Whether there is nothing left to ask but rows that failed the last time.
    fn only_troubled_left(&self) -> bool {
        self.next_page.is_none()
            && self.bulk.is_empty()
            && self.details.is_empty()
            && self.probe.is_none()
    }

    fn give_up(&mut self) {
        self.next_page = None;
        self.bulk.clear();
        self.details.clear();
        self.troubled.clear();
        self.probe = None;
        self.probing = false;
    }

    /// A row needs a GET of its own.
    fn own_get(&mut self, asked: Asked) {
        if asked.troubled {
            self.troubled.push(asked);
        } else {
            self.details.push_back(asked);
        }
    }

    /// The bulk endpoint is no help: these and all others get GETs of their own.
    fn without_bulk(&mut self, rows: Vec<Asked>) {
        self.bulk_broken = true;
        let rest = std::mem::take(&mut self.bulk);
        for asked in rows.into_iter().chain(rest) {
            self.own_get(asked);
        }
    }
}

impl Run<'_, '_> {
    /// Rows the user named: each is asked or sent as its state allows.
    pub(super) fn name(&mut self, store: &mut Store, rows: Vec<RowId>) -> Result<(), Error> {
        for row in rows {
            let Some(video) = store.read(|tx| tx.video(row))? else {
                continue;
            };
            match (video.phase, video.video_id) {
                (Phase::Accepted | Phase::Missing, Some(video_id)) => {
                    self.polls.details.push_back(Asked {
                        row,
                        rev: video.rev,
                        video_id,
                        settled: None,
                        troubled: false,
                    });
                }
                (Phase::Unsent | Phase::Sending, _) => self.sends.named(row),
                // `unknown` is never sent again: no clock reading of today makes the age of its POST certain.
                (Phase::Accepted | Phase::Missing | Phase::Rejected | Phase::Unknown, _) => {}
            }
        }
        Ok(())
    }

    pub(super) fn dispatch_polls(&mut self, store: &Store) -> Result<(), Error> {
        while self.api.free() > 0 {
            if self.gate.is_closed() {
                self.polls.give_up();
                return Ok(());
            }
            if let Some(probe) = self.polls.probe.take() {
                self.ask_for_one(probe)?;
            }
            if self.polls.probing {
                return Ok(());
            }
            self.refill(store)?;
            if let Some(asked) = self.polls.details.pop_front() {
                self.ask_for_one(asked)?;
            } else if !self.polls.bulk.is_empty() {
                let most = self.polls.bulk.len().min(MAX_BULK);
                let rows = self.polls.bulk.drain(..most).collect();
                self.ask_for_many(rows)?;
            } else if !self.polls.troubled.is_empty() {
                let any = fastrand::usize(..self.polls.troubled.len());
                let asked = self.polls.troubled.swap_remove(any);
                self.ask_for_one(asked)?;
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Keeps a bulk request's worth of rows at hand, and no more of the table than that.
    fn refill(&mut self, store: &Store) -> Result<(), Error> {
        while let Some(after) = self.polls.next_page
            && self.polls.bulk.len() < MAX_BULK
            && self.polls.details.is_empty()
        {
            let Some((_, account)) = self.caller()? else {
                return Ok(());
            };
            let page = store.read(|tx| tx.unfinished_after(after, Some(&account), PAGE))?;
            let whole = after == RowId(0) && page.len() == 1;
            self.polls.next_page = match page.last() {
                Some(last) if page.len() == PAGE as usize => Some(last.id),
                _ => None,
            };
            for row in page {
                let completed = row
                    .remote_status
                    .as_ref()
                    .is_some_and(RemoteStatus::is_completed);
                let own = whole || completed || self.polls.bulk_broken || !fits_bulk(&row.video_id);
                if own {
                    self.polls.own_get(row.into());
                } else {
                    self.polls.bulk.push(row.into());
                }
            }
        }
        Ok(())
    }

    fn ask_for_one(&mut self, asked: Asked) -> Result<(), Error> {
        let Some((caller, _)) = self.caller()? else {
            return Ok(());
        };
        let outbox = self.outbox.clone();
        self.polls.in_flight += 1;
        self.start_api(move || {
            let answer = caller.get(|client| client.video(&asked.video_id));
            // The run may be over; then nobody listens, and nothing is lost by it.
            outbox
                .send(Message::Detail {
                    row: asked,
                    answer: answer.map(Box::new),
                })
                .ok();
        })
    }

    fn ask_for_many(&mut self, rows: Vec<Asked>) -> Result<(), Error> {
        let Some((caller, _)) = self.caller()? else {
            return Ok(());
        };
        let outbox = self.outbox.clone();
        self.polls.in_flight += 1;
        self.start_api(move || {
            let ids: Vec<&VideoId> = rows.iter().map(|asked| &asked.video_id).collect();
            let answer = caller.get(|client| client.statuses(&ids));
            outbox.send(Message::Bulk { rows, answer }).ok();
        })
    }

    pub(super) fn start_api(&mut self, job: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        if self.api.has_thread() {
            self.api.start(job);
        } else {
            // Its message waits in the channel.
            self.api.begin();
            job();
        }
        Ok(())
    }

    pub(super) fn bulk_answer(
        &mut self,
        tx: &Tx<'_>,
        rows: Vec<Asked>,
        answer: Result<Vec<BulkStatus>, CallError>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let error = match answer {
            Ok(statuses) => return self.bulk_statuses(tx, rows, statuses, now),
            Err(CallError::Stopped) => return Ok(()),
            Err(CallError::Api(error)) => error,
        };
        match error.kind {
            ErrorKind::Status(401) => self.stop(Kind::Key, &error),
            ErrorKind::Status(403) => self.stop(Kind::Forbidden, &error),
            ErrorKind::Status(429) => self.stop(Kind::RateLimit, &error),
            ErrorKind::NotSent
            | ErrorKind::NoAnswer { .. }
            | ErrorKind::Status(408 | 425 | 500..)
                if !self.polls.bulk_broken =>
            {
                self.polls.undecided.extend(rows);
                if !self.polls.probing {
                    // Any of them: one that always fails must not decide in every run.
                    let any = fastrand::usize(..self.polls.undecided.len());
                    self.polls.probe = Some(self.polls.undecided.swap_remove(any));
                    self.polls.probing = true;
                }
            }
            // There is no such endpoint, or it does not do what it did: ask for each.
            ErrorKind::NotSent
            | ErrorKind::NoAnswer { .. }
            | ErrorKind::Status(_)
            | ErrorKind::BadResponse(_) => self.polls.without_bulk(rows),
        }
        Ok(())
    }

    fn bulk_statuses(
        &mut self,
        tx: &Tx<'_>,
        rows: Vec<Asked>,
        statuses: Vec<BulkStatus>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.worked(tx, now)?;
        self.troubles.proves(Kind::Forbidden);
        let words: HashMap<&str, &BulkStatus> = statuses
            .iter()
            .filter_map(|line| Some((line.video_id.as_ref()?.as_str(), line)))
            .collect();
        for asked in rows {
            match words.get(asked.video_id.as_str()) {
                Some(line) if !line.is_not_found() && !line.status.is_terminal() => {
                    self.reporter.tally.polled += 1;
                    if asked.settled.as_ref() == Some(&line.status) {
                        self.after.seen.push(asked.row);
                    } else {
                        self.observe(tx, &asked, Observation::Bulk(&line.status), now)?;
                    }
                }
                // Another account's: its own GET would say the same and change nothing.
                Some(line) if line.is_not_found() && self.is_foreign(tx, asked.row)? => {
                    self.polls.foreign += 1;
                }
                // Over, unknown or left out: only its own GET tells what to do.
                _ => self.polls.own_get(asked),
            }
        }
        Ok(())
    }

    pub(super) fn detail_answer(
        &mut self,
        tx: &Tx<'_>,
        asked: Asked,
        answer: Result<Box<RemoteVideo>, CallError>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let error = match answer {
            Ok(remote) => {
                self.worked(tx, now)?;
                self.reporter.tally.polled += 1;
                return self.observe(tx, &asked, Observation::Detail(&remote), now);
            }
            Err(CallError::Stopped) => return Ok(()),
            Err(CallError::Api(error)) => error,
        };
        match error.kind {
            ErrorKind::Status(401) => {
                self.stop(Kind::Key, &error);
                Ok(())
            }
            ErrorKind::Status(429) => {
                self.stop(Kind::RateLimit, &error);
                Ok(())
            }
            ErrorKind::NotSent => {
                self.polls.suspects.push((asked, error.clone()));
                self.stop(Kind::Network, &error);
                Ok(())
            }
            // HeyGen is there, and this is about this row.
            ErrorKind::Status(400..=407 | 409..=424 | 426..=499) => {
                self.worked(tx, now)?;
                self.observe(tx, &asked, Observation::Failed(&error), now)
            }
            ErrorKind::NoAnswer { .. } | ErrorKind::Status(_) | ErrorKind::BadResponse(_) => {
                if self.polls.undecided.is_empty() {
                    // A probe for itself alone has decided.
                    self.polls.probing = false;
                }
                if self.polls.undecided.is_empty() && self.polls.worked {
                    self.fails_among_others(&error);
                    return self.observe(tx, &asked, Observation::Failed(&error), now);
                }
                self.polls.streak += 1;
                if !self.polls.undecided.is_empty() || self.polls.streak >= STREAK {
                    self.stop(Kind::Network, &error);
                }
                self.polls.suspects.push((asked, error));
                Ok(())
            }
        }
    }

    /// A row failed in a run in which others worked. A whole answer, however useless, is the row's own trouble; when
    /// HeyGen seems to have gone away since, the run's requests end. Rows that failed before prove nothing of the
    /// kind: they end the asking, and what is to be sent is sent.
    fn fails_among_others(&mut self, error: &ApiError) {
        if matches!(error.kind, ErrorKind::BadResponse(_)) {
            return;
        }
        self.polls.streak += 1;
        if self.polls.streak < STREAK {
            return;
        }
        if self.polls.only_troubled_left() {
            self.polls.troubled.clear();
        } else {
            self.stop(Kind::Network, error);
        }
    }

    /// Something worked, so what failed before it was not everybody's trouble.
    fn worked(&mut self, tx: &Tx<'_>, now: Timestamp) -> Result<(), Error> {
        self.reachable();
        self.polls.worked = true;
        self.polls.streak = 0;
        if !self.polls.undecided.is_empty() {
            // The bulk endpoint alone is in trouble.
            let rows = std::mem::take(&mut self.polls.undecided);
            self.polls.without_bulk(rows);
        }
        self.polls.probing = false;
        let unasked = self.polls.probe.take();
        self.polls.details.extend(unasked);
        for (asked, error) in std::mem::take(&mut self.polls.suspects) {
            self.observe(tx, &asked, Observation::Failed(&error), now)?;
        }
        Ok(())
    }

    /// Everything was asked: what nothing contradicted by then was everybody's trouble, or the only row's.
    pub(super) fn conclude_polls(&mut self, store: &mut Store) -> Result<(), Error> {
        let suspects = std::mem::take(&mut self.polls.suspects);
        let undecided = std::mem::take(&mut self.polls.undecided);
        let now = crate::time::now();
        if self.polls.foreign > 0 {
            self.foreign_trouble();
        } else if self.polls.worked {
            self.troubles.proves(Kind::Account);
        }
        if self.polls.worked {
            self.find_stalled(store)?;
        }
        let Some((_, first)) = suspects.first().cloned() else {
            return Ok(());
        };
        let everybodys = self.troubles.has(Kind::Network) || suspects.len() + undecided.len() > 1;
        if everybodys {
            self.troubles.api(Kind::Network, &first);
        }
        let rest = undecided.into_iter().map(|asked| (asked, first.clone()));
        store.write(|tx| {
            for (asked, error) in suspects.into_iter().chain(rest) {
                let observation = if everybodys {
                    Observation::FailedForAll(&error)
                } else {
                    Observation::Failed(&error)
                };
                self.observe(tx, &asked, observation, now)?;
            }
            Ok(())
        })?;
        self.committed();
        Ok(())
    }

    /// Says once what renders longer than the user's own history makes likely.
    fn find_stalled(&mut self, store: &mut Store) -> Result<(), Error> {
        let now = crate::time::now();
        let started = self.started;
        let rows = store.read(|tx| {
            let usual = tx.usual_render_times(USUAL)?;
            let p90 = usual.p90.map(Duration::from_millis);
            let cutoff = now.before(decide::stalls_after(usual.count, p90));
            tx.rendering_since_before(cutoff, started)
        })?;
        if rows.is_empty() {
            return Ok(());
        }
        store.write(|tx| {
            for row in rows {
                if let Some(video) = tx.video(row)? {
                    self.write(tx, decide::stalled(&video, now), now)?;
                }
            }
            Ok(())
        })?;
        self.committed();
        Ok(())
    }

    fn foreign_trouble(&mut self) {
        let count = self.polls.foreign;
        let videos = if count == 1 {
            "video belongs"
        } else {
            "videos belong"
        };
        self.troubles.note(
            Kind::Account,
            "other_key".to_owned(),
            format!("{count} {videos} to another account than this key's and cannot be seen with it"),
            Some("one database per account: give the right one with --db, or the right key with HEYGEN_API_KEY_FILE".to_owned()),
        );
    }

    /// Whether a row belongs to another account than the key of this run.
    fn is_foreign(&self, tx: &Tx<'_>, row: RowId) -> Result<bool, Error> {
        let owner = tx.owner(row)?;
        Ok(owner.is_some_and(|owner| owner != self.account()))
    }

    /// Decides what an observation means for the row as it is now.
    pub(super) fn observe(
        &mut self,
        tx: &Tx<'_>,
        asked: &Asked,
        observation: Observation<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(video) = tx.video(asked.row)? else {
            return Ok(());
        };
        // Somebody learnt something since we asked. What ends a video is true for ever; the rest may be older than
        // what is known by now.
        let ends = match observation {
            Observation::Detail(remote) => remote.status.is_terminal(),
            Observation::Bulk(_) | Observation::Failed(_) | Observation::FailedForAll(_) => false,
        };
        if video.rev != asked.rev && !ends {
            return Ok(());
        }
        let account = self.account();
        if let Observation::Failed(error) = observation
            && error.is_not_found()
            && video
                .account
                .as_ref()
                .is_some_and(|owner| *owner != account)
        {
            self.polls.foreign += 1;
        }
        let decision = decide::observed(&video, observation, &account, now);
        let answered = !matches!(
            observation,
            Observation::Failed(_) | Observation::FailedForAll(_)
        );
        if answered && !decision.changed {
            self.after.seen.push(asked.row);
        }
        self.write(tx, decision, now)
    }
}
