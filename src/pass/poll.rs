//! Asking: each unfinished row once. Bulk where that tells enough, the row's own GET where it does not.
//!
//! [`Breaker`] judges whose fault a failure is. What failed is recorded when that is known: with the next success, or
//! at the end.

use std::collections::VecDeque;
use std::time::Duration;

use super::commit::Message;
use super::{Run, Tx};
use crate::decide::{self, Breaker, Circuit, Decision, Observation, Verdict, Witness};
use crate::error::{Problem, Result, code};
use crate::heygen::{ApiError, BulkStatuses, MAX_BULK, RemoteVideo, fits_bulk};
use crate::store::{Asked, Store};
use crate::video::{Job, Kind, Outage, Phase, RemoteStatus, RowId, Video, VideoId};

const PAGE: u32 = 1000;
const USUAL: u32 = 200;
const MISSING: u32 = 1000;

#[derive(Default)]
pub(super) struct Polls {
    everything: bool,
    next_page: Option<RowId>,
    bulk: Vec<Asked>,
    details: VecDeque<Asked>,
    /// The same for rows that failed the last time. They come last and in any order: should they fail again and end
    /// the asking, everybody else was asked, and no one of them is always left out.
    troubled: Vec<Asked>,
    /// Rows of failed bulk requests: one GET decides for all. Afterwards bulk is not used again.
    held: Vec<Asked>,
    without_bulk: bool,
    breaker: Breaker,
    failed: Vec<(Asked, ApiError)>,
    /// What HeyGen says is not there; judged when it is known what else it said.
    not_found: Vec<(Asked, ApiError)>,
    pub(super) witness: Witness,
    other_account: u64,
}

impl Polls {
    pub(super) fn everything(&mut self) {
        self.everything = true;
        self.next_page = Some(RowId(0));
    }

    pub(super) fn all_asked(&self) -> bool {
        self.only_troubled_left() && self.troubled.is_empty()
    }

    fn only_troubled_left(&self) -> bool {
        self.next_page.is_none() && self.bulk.is_empty() && self.details.is_empty()
    }

    fn give_up(&mut self) {
        self.next_page = None;
        self.bulk.clear();
        self.details.clear();
        self.troubled.clear();
    }

    fn next_bulk(&mut self) -> (Kind, Vec<Asked>) {
        let first = self.bulk.first();
        let kind = first.map_or(Kind::Video, |asked| asked.job.kind);
        // What comes from a template is a video from then on.
        let bulk = kind.strategy().bulk;
        let same = |asked: &mut Asked| asked.job.kind.strategy().bulk == bulk;
        let rows = self.bulk.extract_if(.., same).take(MAX_BULK).collect();
        (kind, rows)
    }

    fn own_get(&mut self, asked: Asked) {
        if asked.missing {
            // It was there again or not worth a request.
        } else if asked.troubled {
            self.troubled.push(asked);
        } else {
            self.details.push_back(asked);
        }
    }

    /// HeyGen answers, so bulk alone is in trouble: these and all others get GETs of their own.
    fn release_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        self.without_bulk = true;
        let rows = std::mem::take(&mut self.held);
        for asked in rows.into_iter().chain(std::mem::take(&mut self.bulk)) {
            self.own_get(asked);
        }
    }
}

/// Any of them: one that always fails must not decide in every run.
fn any(rows: &mut Vec<Asked>) -> Option<Asked> {
    (!rows.is_empty()).then(|| rows.swap_remove(fastrand::usize(..rows.len())))
}

fn has_bulk(job: &Job) -> bool {
    job.kind.strategy().bulk.is_some() && fits_bulk(&job.id)
}

impl Run<'_, '_> {
    pub(super) fn name(
        &mut self,
        store: &mut Store,
        rows: Vec<RowId>,
        in_bulk: bool,
    ) -> Result<()> {
        for row in rows {
            let Some(mut video) = store.read(|tx| tx.video(row))? else {
                continue;
            };
            if self.ignore_backoff
                && let Some(decision) = decide::release(&video)
            {
                video.phase = decision.video.phase;
                self.commit(store, |run, tx| run.write(tx, decision))?;
            }
            match (video.phase, video.job()) {
                (Phase::Accepted | Phase::Missing, Some(job)) => {
                    let in_bulk = in_bulk && has_bulk(&job) && video.is_rendering();
                    let asked = Asked {
                        row,
                        rev: video.rev,
                        job,
                        status: None,
                        settled: false,
                        troubled: false,
                        missing: false,
                    };
                    if in_bulk {
                        self.polls.bulk.push(asked);
                    } else {
                        self.polls.details.push_back(asked);
                    }
                }
                (Phase::Unsent | Phase::Sending, _) => self.sends.queue.push_back((row, None)),
                // An unanswered attempt that is too old is never sent again: no clock reading of today makes its age
                // certain.
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn dispatch_polls(&mut self, store: &Store) -> Result<()> {
        while self.api.free() > 0 {
            let circuit = self.polls.breaker.circuit();
            if circuit == Circuit::Open || self.limiter.is_closed() {
                self.polls.give_up();
                return Ok(());
            }
            let mut next = None;
            if circuit == Circuit::HalfOpen {
                if !self.api.is_idle() {
                    return Ok(());
                }
                next = any(&mut self.polls.held);
            }
            if next.is_none() {
                self.refill(store)?;
                next = self.polls.details.pop_front();
            }
            if let Some(asked) = next {
                self.ask_for_one(asked)?;
            } else if !self.polls.bulk.is_empty() {
                let (kind, rows) = self.polls.next_bulk();
                self.ask_for_many(kind, rows)?;
            } else if let Some(asked) = any(&mut self.polls.troubled) {
                self.ask_for_one(asked)?;
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Keeps a bulk request's worth of rows at hand, and no more of the table than that.
    fn refill(&mut self, store: &Store) -> Result<()> {
        while let Some(after) = self.polls.next_page
            && self.polls.bulk.len() < MAX_BULK
            && self.polls.details.is_empty()
        {
            let Some(access) = self.access()? else {
                return Ok(());
            };
            let page = store.read(|tx| tx.unfinished_after(after, Some(&access.account), PAGE))?;
            self.polls.next_page = match page.last() {
                Some(last) if page.len() == PAGE as usize => Some(last.row),
                _ => None,
            };
            if self.polls.next_page.is_none() && !self.polls.without_bulk {
                // What HeyGen did not have for an hour may be there again: asked with the others, so that it costs nothing.
                let since = crate::time::now().before(decide::MISSING_ASKED_FOR);
                let rows = store.read(|tx| tx.missing_since(since, MISSING))?;
                let rows = rows.into_iter().filter(|row| has_bulk(&row.job));
                self.polls.bulk.extend(rows);
            }
            let whole = after == RowId(0) && page.len() == 1 && self.polls.bulk.is_empty();
            for asked in page {
                let status = asked.status.as_ref();
                let completed = status.is_some_and(RemoteStatus::is_completed);
                if whole || completed || self.polls.without_bulk || !has_bulk(&asked.job) {
                    self.polls.own_get(asked);
                } else {
                    self.polls.bulk.push(asked);
                }
            }
        }
        Ok(())
    }

    fn ask_for_one(&mut self, row: Asked) -> Result<()> {
        self.request(move |access| {
            let answer = access.job(&row.job);
            Message::new(move |run, tx| match answer {
                Ok(remote) => run.detail_answered(tx, &row, &remote),
                Err(error) => run.detail_failed(tx, row, error),
            })
        })
    }

    fn ask_for_many(&mut self, kind: Kind, rows: Vec<Asked>) -> Result<()> {
        self.request(move |access| {
            let ids: Vec<&VideoId> = rows.iter().map(|asked| &asked.job.id).collect();
            let answer = access.get(|client| client.statuses(kind, &ids));
            Message {
                rows: rows.len(),
                ..Message::new(move |run, tx| match answer {
                    Ok(words) => run.bulk_answered(tx, rows, words),
                    Err(error) => {
                        run.bulk_failed(rows, error);
                        Ok(())
                    }
                })
            }
        })
    }

    fn bulk_failed(&mut self, rows: Vec<Asked>, error: ApiError) {
        let verdict = Verdict::of(&error);
        match verdict {
            Verdict::NotAsked => return,
            // Whoever named them may be allowed to see each of them.
            Verdict::Forbidden if self.about.is_some() => {
                self.polls.held.extend(rows);
                self.polls.release_held();
                return;
            }
            Verdict::Forbidden => self.stop(Outage::Forbidden, error.clone()),
            Verdict::NotSent => self.outage(Outage::Network, error.clone()),
            _ => self.stop_for(verdict, &error),
        }
        let rows = rows.into_iter().filter(|asked| !asked.missing);
        if verdict == Verdict::NotSent {
            let failed = rows.map(|asked| (asked, error.clone()));
            self.polls.failed.extend(failed);
        } else {
            self.polls.held.extend(rows);
        }
        if !self.polls.held.is_empty() || verdict == Verdict::NotSent {
            self.polls.breaker.bulk_failure(verdict);
        }
    }

    fn bulk_answered(&mut self, tx: &Tx<'_>, rows: Vec<Asked>, words: BulkStatuses) -> Result<()> {
        self.worked(tx)?;
        self.works(Outage::Forbidden);
        // A hint only, where it is unknown to HeyGen or another account's.
        let not_found = |word: &RemoteStatus| word.as_str() == "not_found";
        for asked in rows {
            match words.get(&asked.job.id) {
                Some(word) if not_found(word) && asked.missing => {}
                Some(word) if !not_found(word) && !word.is_terminal() => {
                    self.reporter.tally.polled += 1;
                    self.polls.witness = Witness::KnowsAnother;
                    if asked.settled && asked.status.as_ref() == Some(word) {
                        self.after.seen.push(asked.row);
                    } else {
                        self.observe(tx, &asked, Observation::Bulk(word))?;
                    }
                }
                // Another account's: its own GET would say the same and change nothing.
                Some(word) if not_found(word) && self.is_of_other_account(tx, asked.row)? => {
                    self.polls.other_account += 1;
                }
                // Over, unknown or left out: only its own GET tells what to do.
                Some(word) if !not_found(word) => self.polls.own_get(Asked {
                    missing: false,
                    ..asked
                }),
                _ => self.polls.own_get(asked),
            }
        }
        Ok(())
    }

    fn detail_answered(&mut self, tx: &Tx<'_>, asked: &Asked, remote: &RemoteVideo) -> Result<()> {
        self.worked(tx)?;
        self.polls.witness = Witness::KnowsAnother;
        self.reporter.tally.polled += 1;
        self.observe(tx, asked, Observation::Detail(remote))
    }

    fn detail_failed(&mut self, tx: &Tx<'_>, asked: Asked, error: ApiError) -> Result<()> {
        let verdict = Verdict::of(&error);
        match verdict {
            Verdict::NotAsked => {}
            Verdict::KeyRefused | Verdict::Busy => self.stop_for(verdict, &error),
            Verdict::NotSent => {
                self.stop_for(verdict, &error);
                self.polls.failed.push((asked, error));
            }
            Verdict::NotFound => {
                // It says that HeyGen is there, if no more: a wrong key gets the same answer.
                self.reached(tx)?;
                self.polls.not_found.push((asked, error));
            }
            _ if verdict.is_heygens() => {
                self.reached(tx)?;
                self.failed(tx, &asked, &error, true)?;
            }
            _ => {
                self.polls.failed.push((asked, error));
                self.judge_failure(verdict);
            }
        }
        Ok(())
    }

    fn judge_failure(&mut self, verdict: Verdict) {
        self.polls.breaker.failure(verdict);
        match self.polls.breaker.circuit() {
            // Rows that failed before prove nothing about HeyGen: they end the asking, and what is to be sent is sent.
            Circuit::Open if self.polls.breaker.worked() && self.polls.only_troubled_left() => {
                self.polls.give_up();
            }
            Circuit::Open => {
                let (_, first) = self.polls.failed[0].clone();
                self.stop(Outage::Network, first);
            }
            Circuit::Closed => self.polls.release_held(),
            Circuit::HalfOpen => {}
        }
    }

    /// Something was answered as asked, so what failed before it was not everybody's trouble.
    fn worked(&mut self, tx: &Tx<'_>) -> Result<()> {
        self.polls.witness = self.polls.witness.max(Witness::Answered);
        self.reached(tx)
    }

    fn reached(&mut self, tx: &Tx<'_>) -> Result<()> {
        self.reachable();
        self.polls.breaker.success();
        self.polls.release_held();
        for (asked, error) in std::mem::take(&mut self.polls.failed) {
            self.failed(tx, &asked, &error, true)?;
        }
        Ok(())
    }

    /// Everything was asked: what nothing contradicted by then was everybody's trouble, or the only row's.
    pub(super) fn conclude_polls(&mut self, store: &mut Store) -> Result<()> {
        self.conclude_not_found(store)?;
        if self.polls.other_account > 0 {
            self.note_other_account();
        }
        if self.polls.breaker.worked() {
            self.find_stalled(store)?;
        }
        let mut failed = std::mem::take(&mut self.polls.failed);
        let held = std::mem::take(&mut self.polls.held);
        let Some((_, first)) = failed.first().cloned() else {
            return Ok(());
        };
        failed.extend(held.into_iter().map(|asked| (asked, first.clone())));
        let breaker = &self.polls.breaker;
        let everybodys =
            self.outages.has(Outage::Network) || breaker.blames_everybody(failed.len());
        if everybodys {
            self.outage(Outage::Network, first);
        }
        self.commit(store, |run, tx| {
            let mut failed = failed.iter();
            failed.try_for_each(|(asked, error)| run.failed(tx, asked, error, !everybodys))
        })
    }

    /// A 404 counts only beside something that HeyGen answered well; where there is nothing, it is asked for something.
    fn conclude_not_found(&mut self, store: &mut Store) -> Result<()> {
        let not_found = std::mem::take(&mut self.polls.not_found);
        if not_found.is_empty() {
            return Ok(());
        }
        if self.polls.witness == Witness::Nothing
            && let Some(access) = self.access()?
        {
            let own = store.read(|tx| {
                let owners = not_found.iter().map(|(asked, _)| tx.owner(asked.row));
                owners.collect::<Result<Vec<_>>>()
            })?;
            // For rows of another account, or of nobody yet, it would prove nothing.
            if own.contains(&Some(access.account.clone())) {
                self.greet(&access);
            }
        }
        self.commit(store, |run, tx| {
            let (witness, at) = (run.polls.witness, run.heygen_now());
            not_found.iter().try_for_each(|(asked, error)| {
                run.observe(tx, asked, Observation::NotFound { error, witness, at })
            })
        })
    }

    /// Says once what renders longer than the user's own history makes likely.
    fn find_stalled(&mut self, store: &mut Store) -> Result<()> {
        let started = self.started;
        let rows = store.read(|tx| {
            let usual = tx.usual_render_times(USUAL)?;
            let p90 = usual.p90.map(Duration::from_millis);
            let now = crate::time::now();
            let before = |least| now.before(decide::stalls_after(usual.count, p90, least));
            let videos = before(decide::VIDEO_NEVER_STALLS);
            let sessions = before(decide::SESSION_NEVER_STALLS);
            tx.rendering_since_before(videos, sessions, started)
        })?;
        if rows.is_empty() {
            return Ok(());
        }
        self.commit(store, |run, tx| {
            let (now, mut rows) = (run.now, rows.into_iter());
            rows.try_for_each(|row| run.change(tx, row, |video| decide::stalled(video, now)))
        })
    }

    fn note_other_account(&mut self) {
        let count = self.polls.other_account;
        let videos = match count {
            1 => "video belongs",
            _ => "videos belong",
        };
        let message = format!(
            "{count} {videos} to another account than this key's and cannot be seen with it"
        );
        let problem = Problem::new(code::OTHER_KEY, message).with_hint("one database per account: give the right one with --db, or the right key with HEYGEN_API_KEY_FILE");
        self.outage(Outage::Account, problem);
    }

    pub(super) fn all_of_this_account(&self) -> bool {
        self.polls.everything
            && self.polls.breaker.circuit() != Circuit::Open
            && self.polls.other_account == 0
            && self.access.is_some()
    }

    fn is_of_other_account(&self, tx: &Tx<'_>, row: RowId) -> Result<bool> {
        let (owner, account) = (tx.owner(row)?, self.account()?);
        Ok(owner.is_some_and(|owner| owner != account))
    }

    fn failed(&mut self, tx: &Tx<'_>, asked: &Asked, error: &ApiError, own: bool) -> Result<()> {
        self.observe(tx, asked, Observation::Failed { error, own })
    }

    fn observe(&mut self, tx: &Tx<'_>, asked: &Asked, observation: Observation<'_>) -> Result<()> {
        let Some(video) = tx.video(asked.row)? else {
            return Ok(());
        };
        // Somebody learnt something since we asked. What ends a video is true for ever; the rest may be older than
        // what is known by now, and so may an agent's `failed`.
        let lasts = |status: &RemoteStatus| {
            status.is_completed() || (status.is_terminal() && asked.job.kind != Kind::Agent)
        };
        let ends = matches!(observation, Observation::Detail(remote) if lasts(&remote.status));
        if video.rev != asked.rev && !ends {
            return Ok(());
        }
        let account = self.account()?;
        let is_anothers = video
            .account
            .as_ref()
            .is_some_and(|owner| *owner != account);
        if is_anothers && matches!(observation, Observation::NotFound { .. }) {
            self.polls.other_account += 1;
        }
        let decision = self.observed(tx, &video, observation)?;
        let answered = matches!(observation, Observation::Detail(_) | Observation::Bulk(_));
        if answered && !decision.changed {
            self.after.seen.push(asked.row);
        }
        self.write(tx, decision)
    }

    pub(super) fn observed(
        &self,
        tx: &Tx<'_>,
        video: &Video,
        observation: Observation<'_>,
    ) -> Result<Decision> {
        let mut decision = decide::observed(video, observation, &self.account()?, self.now);
        if decision.video.video_id != video.video_id
            && let Some(id) = &decision.video.video_id
            && let Some(other) = tx.by_video_id(id)?
        {
            decide::leave_video_to(&mut decision, video, other);
        }
        Ok(decision)
    }
}
