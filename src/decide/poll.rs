//! Polling: what HeyGen's word about a video means. Only HeyGen's own word changes a status.

use std::time::Duration;

use super::{Decision, agent, record_failure};
use crate::event::{Event, Failure};
use crate::heygen::{ApiError, RemoteVideo};
use crate::kind::Kind;
use crate::time::Timestamp;
use crate::video::{Account, Operation, Phase, RemoteStatus, Video};

/// One 404 can be a hiccup: what is believed is so many of them, over so long a time of HeyGen's own clock.
const MISSING_AFTER: Duration = Duration::from_secs(3600);
const MISSING_NEEDS: i64 = 3;

/// A `missing` row is asked for again with the others for so long.
pub const MISSING_ASKED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

const USUAL_NEEDS: u64 = 20;

pub const VIDEO_NEVER_STALLS: Duration = Duration::from_secs(3600);

/// Healthy sessions were seen quiet for up to five minutes.
pub const SESSION_NEVER_STALLS: Duration = Duration::from_secs(1800);

#[derive(Clone, Copy, Debug)]
pub enum Observation<'a> {
    Detail(&'a RemoteVideo),
    Bulk(&'a RemoteStatus),
    /// Its own GET was answered with HeyGen's own 404.
    NotFound {
        error: &'a ApiError,
        witness: Witness,
        at: Timestamp,
    },
    /// `own`: not with all others, for which it is reported once.
    Failed {
        error: &'a ApiError,
        own: bool,
    },
}

/// What else the run that met a 404 proves. A wrong key or base URL, or a HeyGen in trouble, also answers 404.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Witness {
    #[default]
    Nothing,
    /// HeyGen answered another request well under this key.
    Answered,
    /// HeyGen knows another of our videos under this key.
    KnowsAnother,
}

pub fn observed(
    video: &Video,
    observation: Observation<'_>,
    account: &Account,
    now: Timestamp,
) -> Decision {
    match observation {
        Observation::Detail(remote) => seen(video, Some(remote), &remote.status, account, now),
        Observation::Bulk(status) => seen(video, None, status, account, now),
        Observation::NotFound { error, witness, at } => {
            not_found(video, error, witness, at, account, now)
        }
        Observation::Failed { error, own } => {
            let mut decision = Decision::new(video);
            let failure = Failure::api(Operation::Poll, error);
            record_failure(&mut decision, Failure { own, ..failure }, now);
            decision
        }
    }
}

fn seen(
    video: &Video,
    remote: Option<&RemoteVideo>,
    status: &RemoteStatus,
    account: &Account,
    now: Timestamp,
) -> Decision {
    let mut decision = Decision::new(video);
    // There is no video to see; a race with something stranger than we know. Nothing may be built on it.
    if !matches!(video.phase, Phase::Accepted | Phase::Missing) {
        return decision;
    }
    decision.works(Operation::Poll);
    let ended = video.outcome.is_some();
    let row = &mut decision.video;
    row.account = Some(account.clone());
    row.not_found_at = None;
    row.not_found_count = 0;
    row.missing_at = None;
    row.phase = Phase::Accepted;
    if !ended {
        row.remote_status = Some(status.clone());
        row.outcome = match row.kind {
            Kind::Agent => agent::outcome(row, status, now),
            _ => status.outcome(),
        };
        if row.outcome.is_some() {
            row.ended_at = Some(now);
            row.stalled_at = None;
        }
    }
    // What contradicts the end is older than it, or nonsense: nothing of it is taken.
    let stale = ended && video.remote_status.as_ref() != Some(status);
    if let Some(remote) = remote
        && !stale
    {
        take_over(row, remote, now);
        agent::follow(&mut decision, video, remote, now);
    }
    decision.report_status(video, status);
    decision.changed = decision.video != *video;
    decision.video.last_checked_at = Some(now);
    decision.video.check_count = video.check_count.saturating_add(1);
    if remote.is_some() {
        decision.fetch = super::to_fetch(&decision.video);
        if !stale {
            decision.judge_files(now);
        }
    }
    decision
}

impl Decision {
    fn report_status(&mut self, before: &Video, status: &RemoteStatus) {
        let was = self.status_before(before);
        let row = &self.video;
        let new_word = row.remote_status != before.remote_status;
        // A session says `failed` for a while before it is believed.
        let ends_late = before.outcome.is_none() && row.outcome.is_some() && !new_word;
        let word = before.remote_status.as_ref().map(RemoteStatus::as_str);
        let change = Event::Status {
            from: word.map(str::to_owned),
            to: status.as_str().to_owned(),
            failure_code: row.failure_code.clone(),
            failure_message: row.failure_message.clone(),
        };
        if before.phase == Phase::Missing {
            let was = was.clone().filter(|_| !new_word);
            self.event(Event::Found { there_again: true }).was = was;
        }
        if new_word || ends_late {
            let was = was.or_else(|| ends_late.then(|| before.status().to_owned()));
            self.event(change).was = was;
        }
    }
}

/// Everything HeyGen says about a video, as it stands now. What it leaves out now and said before is kept.
fn take_over(row: &mut Video, remote: &RemoteVideo, now: Timestamp) {
    fn newer<T: Clone>(mine: &mut Option<T>, theirs: &Option<T>) {
        if theirs.is_some() {
            mine.clone_from(theirs);
        }
    }
    if !row.title_edited {
        newer(&mut row.title, &remote.title);
    }
    newer(&mut row.created_at, &remote.created_at);
    newer(&mut row.completed_at, &remote.completed_at);
    newer(&mut row.duration, &remote.duration);
    newer(&mut row.folder_id, &remote.folder_id);
    newer(&mut row.output_language, &remote.output_language);
    newer(&mut row.failure_code, &remote.failure_code);
    newer(&mut row.failure_message, &remote.failure_message);
    newer(&mut row.video_page_url, &remote.video_page_url);
    let links = agent::links(row, remote);
    if row.urls != *links {
        row.urls = links.clone();
        row.urls_at = Some(now);
    }
}

fn not_found(
    video: &Video,
    error: &ApiError,
    witness: Witness,
    at: Timestamp,
    account: &Account,
    now: Timestamp,
) -> Decision {
    let mut decision = Decision::new(video);
    let counts = match &video.account {
        // A video of another account is not there for this one, and that says nothing about it.
        Some(owner) if owner != account => return decision,
        Some(_) => witness >= Witness::Answered,
        // Nobody has seen it yet: that the key is the right one is proven by another of our videos only.
        None => witness >= Witness::KnowsAnother,
    };
    let row = &mut decision.video;
    if counts {
        // A first 404 in the future means that the clock went back: the hour starts anew.
        let first = video.not_found_at.filter(|first| *first <= at);
        row.not_found_at = first.or(Some(at));
        row.not_found_count = match first {
            Some(_) => video.not_found_count.saturating_add(1),
            None => 1,
        };
    }
    let believed = row.not_found_count >= MISSING_NEEDS
        && row
            .not_found_at
            .is_some_and(|first| at.since(first) >= MISSING_AFTER);
    if video.phase != Phase::Accepted || !counts || !believed {
        record_failure(&mut decision, Failure::api(Operation::Poll, error), now);
        return decision;
    }
    // What is said is the end, not a recovery.
    decision.drop_error(Operation::Poll);
    decision.video.not_found_at = None;
    decision.video.not_found_count = 0;
    decision.video.last_checked_at = Some(now);
    if video.is_completed() || video.is_failed() {
        // Ended rows never go back; but what is not saved by now is lost.
        decision.give_up_files();
    } else {
        decision.video.phase = Phase::Missing;
        decision.video.missing_at = Some(now);
    }
    decision.changes(
        video,
        Event::Missing {
            first_404_at: video.not_found_at.map(Timestamp::rfc3339),
            request_id: error.request_id.clone(),
        },
    );
    decision.changed = true;
    decision
}

/// After how long rendering a video counts as stalled: three times what nine of ten of the user's own videos took.
/// `least`: however fast the others were.
pub fn stalls_after(finished: u64, p90: Option<Duration>, least: Duration) -> Duration {
    let usual = p90.filter(|_| finished >= USUAL_NEEDS);
    usual.map_or(least, |p90| p90.saturating_mul(3).max(least))
}

pub fn stalled(video: &Video, now: Timestamp) -> Decision {
    if !video.is_rendering() || video.stalled_at.is_some() {
        return Decision::new(video);
    }
    let mut decision = Decision::change(video);
    decision.video.stalled_at = Some(now);
    decision.event(Event::Stalled);
    decision
}
#[cfg(test)]
mod tests;
