//! Sending: when a row may be POSTed, and what the answer means.
//!
//! HeyGen forgets an `Idempotency-Key` after 24 h. A row whose answer never came is replayed with its key until 20 h
//! after the *first* such attempt; the four hours between are for clocks that are off and requests that are slow.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Decision, record_failure};
use crate::event::{Event, Failure};
use crate::heygen::{ApiError, Created, ErrorKind};
use crate::time::Timestamp;
use crate::video::{
    Account, IdempotencyKey, LastError, Operation, Phase, RemoteStatus, RowId, Video,
};

/// A replay is safe for this long after the first unanswered attempt.
const REPLAY_WINDOW: Duration = Duration::from_secs(20 * 3600);

/// A clock this much behind the last attempt has been set back by more than it drifts.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// A POST that has not begun this long after its row was marked waits for the next run.
const MARK_HOLDS: Duration = Duration::from_secs(10 * 60);

/// Nothing is ever put off by more than this, so a longer wait means that the clock was set back.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How long to wait when HeyGen says "too many" and not for how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Whether a row may be POSTed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// Not before this.
    Later(Timestamp),
    /// An attempt under another account is unanswered; only that account may replay it.
    OtherAccount,
    /// An attempt is unanswered and too old, or the clock cannot tell how old: never re-sent by itself.
    Expired(Expiry),
    /// Not a row that waits to be sent.
    Not,
}

/// Why a row cannot be replayed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key may be forgotten by now.
    Age,
    /// The clock went backwards.
    Clock,
}

/// Whether `video` may be POSTed now; `eager` ignores the spacing of replays (a named ID), never the window.
pub fn due(video: &Video, account: Option<&Account>, eager: bool, now: Timestamp) -> Due {
    if !matches!(video.phase, Phase::Unsent | Phase::Sending) {
        return Due::Not;
    }
    if video.phase == Phase::Sending {
        if let Some(expiry) = expiry(video, now) {
            return Due::Expired(expiry);
        }
        if account.is_some() && video.account.as_ref() != account {
            return Due::OtherAccount;
        }
    }
    match video.send_after {
        Some(at) if !eager && at > now && at <= now.after(LONGEST_WAIT) => Due::Later(at),
        _ => Due::Now,
    }
}

fn expiry(video: &Video, now: Timestamp) -> Option<Expiry> {
    let first = video.first_unanswered_at?;
    let latest = video.last_attempt_at.map_or(first, |at| at.max(first));
    if latest > now.after(CLOCK_TOLERANCE) {
        return Some(Expiry::Clock);
    }
    (now.since(first) >= REPLAY_WINDOW).then_some(Expiry::Age)
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
    let mut decision = Decision::new(video);
    let row = &mut decision.video;
    row.phase = Phase::Sending;
    row.account = Some(account.clone());
    row.first_unanswered_at.get_or_insert(now);
    row.last_attempt_at = Some(now);
    let key = video.idempotency_key.as_ref();
    let sending = Event::Sending {
        idempotency_key: key.map(|key| key.as_str().to_owned()),
    };
    decision.again(sending, video.last_attempt_at.is_some());
    decision.changed = true;
    decision
}

/// An unanswered attempt became too old to be replayed.
pub fn expire(video: &Video, expiry: Expiry, now: Timestamp) -> Decision {
    let mut decision = Decision::new(video);
    decision.video.phase = Phase::Unknown;
    decision.video.send_after = None;
    // Not told as trouble: the change of status is, and the row is nobody's to retry by itself.
    decision.video.last_error = Some(LastError {
        operation: Operation::Send,
        code: "submit_unknown".to_owned(),
        message: "HeyGen never answered, and it is too late to ask again safely".to_owned(),
        at: now,
        told_at: None,
        count: 1,
    });
    decision.event(Event::Unknown {
        was: decision.status_before(video),
        why: match expiry {
            Expiry::Age => "20 hours since the first attempt without an answer",
            Expiry::Clock => "the clock went back, so the age of the first attempt is not known",
        },
    });
    decision.changed = true;
    decision
}

/// What the answer to a POST means.
///
/// * `fresh`: no attempt was unanswered before this one, so an answer that refuses unties the row again.
/// * `posts`: how many POSTs this answer took.
/// * `spare`: the key the row gets where HeyGen may replay a stored refusal under the old one.
pub fn sent(
    video: &Video,
    fresh: bool,
    posts: i64,
    answer: &Result<Created, ApiError>,
    account: &Account,
    spare: IdempotencyKey,
    now: Timestamp,
) -> Decision {
    match answer {
        Ok(created) => accepted(video, created, account, now),
        Err(error) => match meaning(error) {
            Meaning::NeverLeft => not_now(video, fresh, error, None, now),
            Meaning::Unanswered => unanswered(video, posts, error, now),
            Meaning::BodyRefused => rejected(video, fresh, error),
            Meaning::NotNow => {
                // HeyGen remembers answers by key: a stored "no credit" could be replayed after the top-up.
                let key = (fresh && error.http_status() == Some(402)).then_some(spare);
                not_now(video, fresh, error, key, now)
            }
        },
    }
}

/// The run ended before the POST that a row was marked for.
pub fn not_attempted(video: &Video, fresh: bool) -> Decision {
    let mut decision = Decision::new(video);
    if fresh && video.phase == Phase::Sending {
        untie(&mut decision.video);
        decision.changed = true;
    }
    decision
}

/// HeyGen answered with the id of a video that another row tracks: the request became that video.
pub fn already_tracked(video: &Video, created: &Created, by: RowId) -> Decision {
    let mut decision = Decision::new(video);
    if video.phase != Phase::Sending {
        return decision;
    }
    decision.works(Operation::Send);
    decision.video.phase = Phase::Rejected;
    decision.video.failure_code = Some("already_tracked".to_owned());
    decision.video.failure_message = Some(format!(
        "this request became video {}, which row {by} tracks",
        created.video_id
    ));
    decision.event(Event::Rejected {
        was: decision.status_before(video),
        http_status: None,
        code: None,
        message: None,
        request_id: None,
        video_id: Some(created.video_id.as_str().to_owned()),
        tracked_by: Some(by.0),
    });
    decision.changed = true;
    decision
}

/// No attempt is unanswered: neither account nor clock binds the row.
fn untie(row: &mut Video) {
    row.phase = Phase::Unsent;
    row.account = None;
    row.first_unanswered_at = None;
    row.attempts = 0;
}

enum Meaning {
    /// Not one byte of the request went out.
    NeverLeft,
    /// HeyGen may or may not have charged.
    Unanswered,
    /// Final.
    BodyRefused,
    /// HeyGen did not charge, and may later.
    NotNow,
}

fn meaning(error: &ApiError) -> Meaning {
    match error.kind {
        ErrorKind::NotSent => Meaning::NeverLeft,
        ErrorKind::NoAnswer { .. } | ErrorKind::BadResponse(_) => Meaning::Unanswered,
        ErrorKind::Status(status) => match status {
            400 | 404 | 413 | 422 => Meaning::BodyRefused,
            // 408 and 425 are a gateway's; they say nothing about what happened behind it.
            408 | 425 => Meaning::Unanswered,
            400..500 => Meaning::NotNow,
            _ => Meaning::Unanswered,
        },
    }
}

fn accepted(video: &Video, created: &Created, account: &Account, now: Timestamp) -> Decision {
    let mut decision = Decision::new(video);
    match video.phase {
        Phase::Unsent | Phase::Sending | Phase::Unknown => {}
        // Somebody recorded the answer of the same key before us.
        Phase::Accepted | Phase::Rejected | Phase::Missing => return decision,
    }
    decision.works(Operation::Send);
    let row = &mut decision.video;
    row.phase = Phase::Accepted;
    row.video_id = Some(created.video_id.clone());
    // How it ended is said by its own GET, with the reason or the links.
    row.remote_status = Some(if created.status.is_terminal() {
        RemoteStatus::waiting()
    } else {
        created.status.clone()
    });
    row.account = Some(account.clone());
    row.accepted_at = Some(now);
    row.first_unanswered_at = None;
    row.attempts = 0;
    row.send_after = None;
    decision.event(Event::Accepted {
        video_id: created.video_id.as_str().to_owned(),
        status: Some(created.status.as_str().to_owned()),
        request_id: created.request_id.clone(),
        from: None,
        by: None,
    });
    decision.changed = true;
    decision
}

fn rejected(video: &Video, fresh: bool, error: &ApiError) -> Decision {
    let mut decision = Decision::new(video);
    if video.phase != Phase::Sending {
        return decision;
    }
    decision.works(Operation::Send);
    let row = &mut decision.video;
    row.phase = Phase::Rejected;
    row.failure_code = Some(error.code.clone());
    row.failure_message = Some(error.message.clone());
    row.send_after = None;
    if fresh {
        row.first_unanswered_at = None;
    }
    decision.event(Event::Rejected {
        was: decision.status_before(video),
        http_status: error.http_status(),
        code: Some(error.code.clone()),
        message: Some(error.message.clone()),
        request_id: error.request_id.clone(),
        video_id: None,
        tracked_by: None,
    });
    decision.changed = true;
    decision
}

/// HeyGen may have taken it: only the same key may ask again.
fn unanswered(video: &Video, posts: i64, error: &ApiError, now: Timestamp) -> Decision {
    let mut decision = Decision::new(video);
    if video.phase != Phase::Sending {
        return decision;
    }
    let row = &mut decision.video;
    // An answer that took no POST to count is one all the same, or it would never be spaced out.
    row.attempts = row.attempts.saturating_add(posts.max(1));
    row.send_after = Some(now.after(spacing(row.attempts)));
    record_failure(&mut decision, Failure::api(Operation::Send, error), now);
    decision
}

/// HeyGen did not take it, and it may be tried again later.
fn not_now(
    video: &Video,
    fresh: bool,
    error: &ApiError,
    key: Option<IdempotencyKey>,
    now: Timestamp,
) -> Decision {
    let mut decision = Decision::new(video);
    if video.phase != Phase::Sending {
        return decision;
    }
    let row = &mut decision.video;
    if fresh {
        untie(row);
    }
    if let Some(key) = key {
        row.idempotency_key = Some(key);
    }
    let status = error.http_status();
    row.send_after = match status {
        // Whether the run may send at all is asked with one row first; no row is to blame.
        None | Some(401..=403) => row.send_after,
        Some(429) => Some(now.after(error.retry_after.unwrap_or(DEFAULT_RETRY_AFTER))),
        Some(_) => Some(now.after(error.retry_after.unwrap_or(spacing(2)))),
    };
    decision.changed = true;
    if matches!(status, Some(409 | 429)) {
        let postponed = Event::Postponed {
            code: error.code.clone(),
            until: decision.video.send_after.map(Timestamp::rfc3339),
        };
        decision.again(postponed, video.send_after.is_some());
    } else {
        let failure = Failure::api(Operation::Send, error);
        let of_the_run = matches!(status, None | Some(401..=403));
        let failure = if of_the_run {
            failure.of_the_run()
        } else {
            failure
        };
        record_failure(&mut decision, failure, now);
    }
    decision
}

/// Pauses between replays: at once, then 1, 2, 4 … 60 minutes.
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
