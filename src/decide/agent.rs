//! An agent's session: its `failed` is often not the end, and it may wait for a person.
//!
//! Users of the API saw sessions go `failed → thinking → generating → completed`, twice in one run; whoever believed
//! the first `failed` lost a finished, paid video. Any message revives a failed session. A stop at the plan waits for
//! an answer and holds one of the account's slots meanwhile.

use std::time::Duration;

use super::{Decision, Verdict};
use crate::event::Event;
use crate::heygen::{ApiError, RemoteSession, RemoteVideo};
use crate::time::Timestamp;
use crate::video::{MessageKind, MessageState, Outcome, RemoteStatus, RowId, Urls, Video};

/// A session that has said `failed` for so long, in so many polls, means it.
const FAILED_FOR: Duration = Duration::from_secs(30 * 60);
const FAILED_POLLS: i64 = 3;
/// Most failures end by themselves before this poll; then a message is worth it.
const NUDGE_AT: i64 = 2;
const NUDGE: &str = "Please continue and finish the video.";
const PROCEED: &str = "Proceed";

pub fn wants_answer(status: &RemoteStatus) -> bool {
    matches!(status.as_str(), "waiting_for_input" | "reviewing")
}

/// A person asks a session to go on whose failure was believed: it is asked about again. `None` where there is nothing
/// to take back.
pub fn revived(video: &Video) -> Option<Decision> {
    if !video.is_failed() {
        return None;
    }
    let mut decision = Decision::change(video);
    let row = &mut decision.video;
    row.outcome = None;
    row.ended_at = None;
    row.failed_since = None;
    row.failed_polls = 0;
    Some(decision)
}

/// What a session's word means for its row; counts how long it has said `failed`.
pub(super) fn outcome(row: &mut Video, status: &RemoteStatus, now: Timestamp) -> Option<Outcome> {
    if !status.is_failed() {
        row.failed_since = None;
        row.failed_polls = 0;
        return status.outcome();
    }
    // A beginning in the future means that the clock went back: the time starts anew.
    let since = row
        .failed_since
        .filter(|since| *since <= now)
        .unwrap_or(now);
    row.failed_since = Some(since);
    row.failed_polls = row.failed_polls.saturating_add(1);
    let believed = row.failed_polls >= FAILED_POLLS && now.since(since) >= FAILED_FOR;
    believed.then_some(Outcome::Failed)
}

/// The session's video has a row of its own, which has its files, too.
pub fn leave_video_to(decision: &mut Decision, before: &Video, row: RowId) {
    let session = &mut decision.video;
    session.video_id = None;
    let progress = |video: &Video| (video.remote_status.clone(), video.progress);
    if before.video_id.is_none() && progress(session) == progress(before) {
        // That it has one moves nothing on, however often it is said.
        session.moved_at = before.moved_at.or(session.moved_at);
        session.stalled_at = before.stalled_at;
        let was_checked = Video {
            last_checked_at: session.last_checked_at,
            check_count: session.check_count,
            ..before.clone()
        };
        decision.changed = *session != was_checked;
    }
    decision.fetch.clear();
    if decision.video.is_completed() {
        decision.leave_files_to(row);
    }
}

/// The links to a row's files. A session whose video could not be asked for says nothing about them.
pub(crate) fn links<'a>(row: &'a Video, remote: &'a RemoteVideo) -> &'a Urls {
    match &remote.session {
        Some(session) if remote.urls.is_empty() && session.video_id == row.video_id => &row.urls,
        _ => &remote.urls,
    }
}

/// Takes over what a session says, and answers it where the user said so beforehand.
pub(super) fn follow(
    decision: &mut Decision,
    before: &Video,
    remote: &RemoteVideo,
    now: Timestamp,
) {
    let Some(session) = &remote.session else {
        return;
    };
    let row = &mut decision.video;
    row.progress = session.progress.or(row.progress);
    if session.video_id.is_some() {
        row.video_id.clone_from(&session.video_id);
    }
    if before.video_id.is_some() && row.video_id != before.video_id {
        decision.begin_anew();
    }
    let row = &mut decision.video;
    let moved = row.remote_status != before.remote_status
        || row.progress != before.progress
        || row.video_id != before.video_id;
    if moved || row.moved_at.is_none() {
        row.moved_at = Some(now);
        row.stalled_at = None;
    }
    if remote.status.is_failed() {
        if row.failure_message.is_none() {
            row.failure_message = Some(reason(session));
        }
        if row.failed_polls == NUDGE_AT && row.nudges_left > 0 && row.outcome.is_none() {
            row.nudges_left -= 1;
            decision
                .messages
                .push((MessageKind::Nudge, NUDGE.to_owned()));
        }
    } else if row.outcome != Some(Outcome::Failed) {
        row.failure_code = None;
        row.failure_message = None;
    }
    let row = &mut decision.video;
    if !wants_answer(&remote.status) {
        row.attention_at = None;
    } else if row.attention_at.is_none() {
        row.attention_at = Some(now);
        if row.auto_proceed {
            decision
                .messages
                .push((MessageKind::Proceed, PROCEED.to_owned()));
        } else {
            decision.event(Event::Attention {
                said: session.said.clone(),
                page: remote.video_page_url.clone(),
            });
        }
    }
}

/// A person stopped the session: nothing sets it going again, neither what was still to be said nor what would be said
/// by itself.
pub fn stopped(video: &Video, withdrawn: &[(MessageKind, &str)], now: Timestamp) -> Decision {
    let mut decision = Decision::change(video);
    decision.video.nudges_left = 0;
    decision.video.attention_at = Some(now);
    for (message, text) in withdrawn {
        decision.event(Event::Message {
            message: *message,
            text: (*text).to_owned(),
            state: MessageState::Refused,
            run_id: None,
            why: Some("the session was stopped".to_owned()),
        });
    }
    decision
}

/// What became of a message that was answered so. Unlike a submission it has no key: whatever may have arrived behind a
/// gateway is not said twice.
pub fn after_message(error: &ApiError) -> MessageState {
    match Verdict::of(error) {
        Verdict::NotAsked | Verdict::NotSent | Verdict::KeyRefused | Verdict::Busy => {
            MessageState::Unsent
        }
        verdict if verdict.leaves_outcome_open() || verdict == Verdict::Gateway => {
            MessageState::Sending
        }
        _ => MessageState::Refused,
    }
}

/// Why it failed, where neither the video nor the session gives a reason of its own.
fn reason(session: &RemoteSession) -> String {
    match (&session.error, &session.said) {
        (Some(error), _) => error.clone(),
        (None, Some(said)) => format!("the agent's last words: {said}"),
        (None, None) => "HeyGen gives no reason".to_owned(),
    }
}
