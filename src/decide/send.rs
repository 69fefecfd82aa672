//! Sending: when a row may be POSTed, and what the answer means.
//!
//! HeyGen forgets an `Idempotency-Key` after 24 h. A row whose answer never came is replayed with its key until 20 h
//! after the *first* such attempt; the four hours between are for clocks that are off and requests that are slow.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Decision, Verdict, record_failure};
use crate::error::{Problem, Result, code};
use crate::event::{Edit, Event, Failure, Rejection};
use crate::heygen::{ApiError, Created};
use crate::kind::Kind;
use crate::time::{LONGEST_WAIT, Timestamp};
use crate::video::{
    Account, IdempotencyKey, LastError, Operation, Phase, RemoteStatus, RowId, Video, VideoId,
};

/// A replay is safe for this long after the first unanswered attempt.
pub const REPLAY_WINDOW: Duration = Duration::from_secs(20 * 3600);

/// A clock that is off by more does not just drift.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// A POST that has not begun this long after its row was marked waits for the next run.
const MARK_HOLDS: Duration = Duration::from_secs(10 * 60);

/// How long to wait when HeyGen says "too many" and not for how long.
pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Of a rejected row whose answer named a video that another row has.
const ALREADY_TRACKED: &str = "already_tracked";

/// Refuses to submit a row again that has, or may get, its video, or was not submitted from here.
pub fn refuse_retry(video: &Video) -> Result<()> {
    let (id, code) = (video.id, video.failure_code.as_deref());
    let (why, hint) = match video.phase {
        Phase::Rejected if code == Some(ALREADY_TRACKED) => (
            "became a video that another row tracks",
            format!("tracker show {id} shows which"),
        ),
        _ if video.is_completed() => (
            "is completed",
            format!("tracker download {id} fetches its files again"),
        ),
        _ if !video.ended_badly() => (
            "is not finished",
            format!("tracker check {id} carries on with it"),
        ),
        _ if video.idempotency_key.is_none() => return Err(Problem::unknown_body(id)),
        _ => return Ok(()),
    };
    Err(Problem::usage(format!("{id} {why}"), hint))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Now,
    Later(Timestamp),
    /// It was submitted under another account: only that one may be charged for it, or replay its attempt.
    OtherAccount,
    /// Its key may be forgotten by HeyGen, so it is never sent by itself.
    Expired(Expiry),
    Not,
}

/// Why a row is not sent any more: for the timeline, and for whoever looks at the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    why: &'static str,
    message: &'static str,
}

const TOO_LATE: &str = "HeyGen never answered, and it is too late to ask again safely";

impl Expiry {
    pub const AGE: Self = Self {
        why: "20 hours since the first attempt without an answer",
        message: TOO_LATE,
    };
    pub const CLOCK: Self = Self {
        why: "the clock went back, so the age of the first attempt is not known",
        message: TOO_LATE,
    };
    pub const NO_REPLAY: Self = Self {
        why: "HeyGen promises no safe repetition for this kind of job",
        message: "no answer came, and for this kind of job HeyGen promises no safe repetition",
    };
    pub const UNATTENDED: Self = Self {
        why: "20 hours since this database was last in use",
        message: "this database was not in use for 20 hours, and another copy of it may have sent the row",
    };
    pub const RESTORED: Self = Self {
        why: "an older copy of the database was put back",
        message: "this row comes from a backup, and may have been sent after the backup was made",
    };
    pub const RESCUED: Self = Self {
        why: "rescued from a damaged database",
        message: "this row comes from a damaged database, and may have been sent before that",
    };
}

#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// `None` before anybody asked for the key.
    pub account: Option<&'a Account>,
    /// The later of this machine's clock and HeyGen's.
    pub now: Timestamp,
    pub outbox_seen_at: Option<Timestamp>,
    /// The newest row that came out of a backup.
    pub restored: Option<RowId>,
    /// A person asked for this row: the spacing of replays and a long absence do not hold it back.
    pub ignore_backoff: bool,
}

/// Whether `video` may be POSTed now. Nothing moves the end of the replay window.
pub fn due(video: &Video, moment: &Moment<'_>) -> Due {
    let now = moment.now;
    let replays = video.kind.strategy().replays;
    let expiry = match video.phase {
        Phase::Unsent if moment.ignore_backoff => None,
        Phase::Unsent if !replays && moment.restored >= Some(video.id) => Some(Expiry::RESTORED),
        Phase::Unsent => unattended(video, moment),
        Phase::Sending if !replays => Some(Expiry::NO_REPLAY),
        Phase::Sending => expiry(video, now),
        Phase::Accepted | Phase::Rejected | Phase::Unknown | Phase::Missing => return Due::Not,
    };
    if let Some(expiry) = expiry {
        return Due::Expired(expiry);
    }
    if let (Some(owner), Some(account)) = (&video.account, moment.account)
        && !owner.covers(account)
    {
        return Due::OtherAccount;
    }
    match video.send_after {
        Some(at) if !moment.ignore_backoff && at > now && at <= now.after(LONGEST_WAIT) => {
            Due::Later(at)
        }
        _ => Due::Now,
    }
}

/// A copy of this database (a backup was restored) may have sent the row after the last time that this one knew it
/// to be unsent. Within the window its key makes that harmless.
fn unattended(video: &Video, moment: &Moment<'_>) -> Option<Expiry> {
    let known = [
        Some(video.submitted_at),
        video.last_attempt_at,
        moment.outbox_seen_at,
    ];
    let latest = known.into_iter().flatten().max()?;
    (moment.now.since(latest) >= REPLAY_WINDOW).then_some(Expiry::UNATTENDED)
}

fn expiry(video: &Video, now: Timestamp) -> Option<Expiry> {
    let first = video.first_unanswered_at?;
    let latest = video.last_attempt_at.map_or(first, |at| at.max(first));
    if latest > now.after(CLOCK_TOLERANCE) {
        return Some(Expiry::CLOCK);
    }
    (now.since(first) >= REPLAY_WINDOW).then_some(Expiry::AGE)
}

/// When the POST of a row that is marked now may begin. A machine that sleeps or stops between the mark and the POST
/// wakes up with everything decided and nothing true any more.
pub fn post_window(video: &Video, now: Timestamp) -> RangeInclusive<Timestamp> {
    let first = video.first_unanswered_at.unwrap_or(now);
    let end = first.after(REPLAY_WINDOW).min(now.after(MARK_HOLDS));
    now.before(CLOCK_TOLERANCE)..=end
}

/// Marks a row before its POST goes out: from here to its answer, a crash leaves `sending`.
pub fn begin_send(video: &Video, account: &Account, now: Timestamp) -> Decision {
    let mut decision = Decision::change(video);
    let row = &mut decision.video;
    row.phase = Phase::Sending;
    row.account = Some(account.clone());
    row.first_unanswered_at.get_or_insert(now);
    row.last_attempt_at = Some(now);
    let key = video.idempotency_key.as_ref();
    let sending = Event::Sending {
        idempotency_key: key.map(|key| key.as_str().to_owned()),
    };
    decision.event(sending).again = video.last_attempt_at.is_some();
    decision
}

pub fn expire(video: &Video, expiry: Expiry, now: Timestamp) -> Decision {
    let mut decision = Decision::change(video);
    decision.video.phase = Phase::Unknown;
    decision.video.send_after = None;
    let Expiry { why, message } = expiry;
    // No trouble to report: the change of status is, and the row is nobody's to retry by itself.
    decision.video.last_error = Some(LastError {
        operation: Operation::Send,
        code: code::SUBMIT_UNKNOWN.to_owned(),
        message: message.to_owned(),
        request_id: video.last_error.as_ref().and_then(|e| e.request_id.clone()),
        at: now,
        notified_at: None,
        count: 1,
    });
    decision.changes(video, Event::Unknown { why });
    decision
}

/// A person asks for a row that was held back although no attempt of it is unanswered: it goes into the outbox again,
/// under its old key. `None` for any other row.
pub fn release(video: &Video) -> Option<Decision> {
    if !video.is_held() {
        return None;
    }
    let mut decision = Decision::change(video);
    let row = &mut decision.video;
    row.phase = Phase::Unsent;
    row.last_error = None;
    decision.event(Event::Edited(Edit {
        from: Some(video.status().to_owned()),
        by: Some("check"),
        ..Edit::default()
    }));
    Some(decision)
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Attempt {
    /// An earlier run's attempt is unanswered, so a refusal now says nothing about that one.
    pub unanswered_before: bool,
    pub unanswered: i64,
}

/// What the answer to a POST means.
pub fn sent(
    video: &Video,
    attempt: Attempt,
    answer: &Result<Created, ApiError>,
    account: &Account,
    now: Timestamp,
) -> Decision {
    let error = match answer {
        Ok(created) => return accepted(video, created, account, now),
        Err(error) => error,
    };
    let verdict = Verdict::of(error);
    // No attempt is unanswered but perhaps the latest: what refuses it frees the row.
    let first = !attempt.unanswered_before && attempt.unanswered == 0;
    if video.phase != Phase::Sending || verdict == Verdict::NotAsked && !first {
        return Decision::new(video);
    }
    let mut decision = Decision::change(video);
    let row = &mut decision.video;
    let wait = error.retry_after.unwrap_or(DEFAULT_RETRY_AFTER);
    if verdict.leaves_outcome_open() {
        // HeyGen may have taken it: only the same key may ask again.
        let wait = (verdict == Verdict::InProgress).then_some(wait);
        space_out(row, attempt, wait, now);
    } else if first {
        reset_attempt(row);
        // HeyGen remembers answers by key: a stored "no credit" could be replayed after the top-up.
        if verdict == Verdict::NoCredit {
            let key = video.idempotency_key.as_ref();
            row.idempotency_key = key.map(IdempotencyKey::after_refusal);
        }
    }
    if matches!(verdict, Verdict::Busy | Verdict::Declined) {
        row.send_after = Some(now.after(wait));
    }
    let own = match verdict {
        Verdict::NotAsked => return decision,
        Verdict::Refused | Verdict::NotFound => return rejected(video, first, error),
        Verdict::Unanswered | Verdict::Garbled if !video.kind.strategy().replays => {
            return unrepeatable(video, error, now);
        }
        Verdict::InProgress | Verdict::Busy => {
            let postponed = Event::Postponed {
                code: error.code.clone(),
                until: row.send_after.map(Timestamp::rfc3339),
            };
            decision.event(postponed).again = video.send_after.is_some();
            return decision;
        }
        Verdict::Unanswered | Verdict::Garbled | Verdict::Declined => true,
        // Whether the run may send at all is asked with one row first; no row is to blame.
        Verdict::NotSent
        | Verdict::Gateway
        | Verdict::KeyRefused
        | Verdict::Forbidden
        | Verdict::NoCredit => false,
    };
    let failure = Failure::api(Operation::Send, error);
    record_failure(&mut decision, Failure { own, ..failure }, now);
    decision
}

fn unrepeatable(video: &Video, error: &ApiError, now: Timestamp) -> Decision {
    let mut decision = expire(video, Expiry::NO_REPLAY, now);
    if let Some(last) = &mut decision.video.last_error {
        last.request_id = error.request_id.clone();
    }
    decision
}

/// HeyGen's answer names a video that another row tracks. `first`: that is not believed yet, since answers can be mixed
/// up on the way: the row stays `sending`, and the same key asks once more. What is said twice is believed where the
/// other row was added by hand; two submissions cannot have become one video.
pub fn already_tracked(
    video: &Video,
    created: &Created,
    other: &Video,
    attempt: Attempt,
    first: bool,
    now: Timestamp,
) -> Decision {
    if video.phase != Phase::Sending {
        return Decision::new(video);
    }
    let mut decision = Decision::change(video);
    let (id, row) = (&created.video_id, other.id);
    if first || other.idempotency_key.is_some() {
        let message = format!("HeyGen answered with video {id}, which row {row} tracks");
        let failure = Failure {
            request_id: created.request_id.clone(),
            ..Failure::local(Operation::Send, ALREADY_TRACKED, &message)
        };
        space_out(&mut decision.video, attempt, None, now);
        record_failure(&mut decision, failure, now);
        return decision;
    }
    decision.video.last_error = None;
    decision.video.first_unanswered_at = None;
    let rejection = Rejection {
        video_id: Some(id.to_string()),
        tracked_by: Some(row.0),
        ..Rejection::default()
    };
    decision.reject(video, rejection);
    let message = format!("this request became video {id}, which row {row} tracks");
    decision.video.failure_code = Some(ALREADY_TRACKED.to_owned());
    decision.video.failure_message = Some(message);
    decision
}

/// No attempt is unanswered: the clock does not bind the row. Its account stays the one it was submitted under.
fn reset_attempt(row: &mut Video) {
    row.phase = Phase::Unsent;
    row.first_unanswered_at = None;
    row.attempts = 0;
}

fn accepted(video: &Video, created: &Created, account: &Account, now: Timestamp) -> Decision {
    // Somebody recorded the answer of the same key before us.
    if matches!(
        video.phase,
        Phase::Accepted | Phase::Rejected | Phase::Missing
    ) {
        return Decision::new(video);
    }
    let mut decision = Decision::change(video);
    decision.works(Operation::Send);
    // How it ended is said by its own GET, with the reason or the links.
    let status = match created.status.is_terminal() {
        true => RemoteStatus::waiting(),
        false => created.status.clone(),
    };
    decision.accept(&created.video_id, status, now);
    let row = &mut decision.video;
    row.account = Some(account.clone());
    let text = |id: &Option<VideoId>| id.as_ref().map(VideoId::to_string);
    let (session_id, video_id) = (text(&row.session_id), text(&row.video_id));
    decision.event(Event::Accepted {
        session_id,
        video_id,
        status: Some(created.status.as_str().to_owned()),
        request_id: created.request_id.clone(),
        from: None,
        by: None,
    });
    decision
}

impl Decision {
    pub(super) fn accept(&mut self, id: &VideoId, status: RemoteStatus, now: Timestamp) {
        let row = &mut self.video;
        reset_attempt(row);
        row.phase = Phase::Accepted;
        match row.kind {
            Kind::Agent => row.session_id = Some(id.clone()),
            _ => row.video_id = Some(id.clone()),
        }
        row.remote_status = Some(status);
        row.accepted_at = Some(now);
        row.failure_code = None;
        row.failure_message = None;
        row.candidates = None;
        row.send_after = None;
    }

    pub(super) fn reject(&mut self, before: &Video, rejection: Rejection) {
        let row = &mut self.video;
        row.phase = Phase::Rejected;
        row.failure_code.clone_from(&rejection.code);
        row.failure_message.clone_from(&rejection.message);
        self.changes(before, Event::Rejected(rejection));
    }
}

fn rejected(video: &Video, first: bool, error: &ApiError) -> Decision {
    let mut decision = Decision::change(video);
    decision.works(Operation::Send);
    decision.video.send_after = None;
    if first {
        decision.video.first_unanswered_at = None;
    }
    let rejection = Rejection {
        http_status: error.http_status(),
        code: Some(error.code.clone()),
        message: Some(error.message.clone()),
        request_id: error.request_id.clone(),
        ..Rejection::default()
    };
    decision.reject(video, rejection);
    decision
}

/// An attempt that took no POST to count is one all the same, or it would never be spaced out.
fn space_out(row: &mut Video, attempt: Attempt, wait: Option<Duration>, now: Timestamp) {
    row.attempts = row.attempts.saturating_add(attempt.unanswered.max(1));
    row.send_after = Some(now.after(wait.unwrap_or(spacing(row.attempts))));
}

fn spacing(attempts: i64) -> Duration {
    let minutes = match attempts {
        ..=1 => 0,
        2..=7 => 1 << (attempts - 2),
        _ => 60,
    };
    Duration::from_secs(60 * minutes.min(60))
}

#[cfg(test)]
mod tests;
