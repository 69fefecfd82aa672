//! The state machine, pure: what an answer, an error or the clock means for a row.
//!
//! Each function takes the row as it was read, what was learnt, and the time, and returns a [`Decision`]: the row as
//! it should be, with its files, what happened, and what can be fetched. The pass writes a decision compare-and-swap; when somebody
//! else was faster it reads the row again and decides again, so everything here must be right for *any* current row.
//!
//! ```text
//!            POST answered: not now           (unanswered, replayed ≤ 20 h)
//!   unsent ◀──────────────────────┐      ┌───────────────┐
//!      │   attempt committed      │      ▼               │
//!      └────────────────────────▶ sending ───────────────┘
//!                                 │  │  │
//!          body refused           │  │  │  too old, or the clock cannot tell
//!   rejected ◀────────────────────┘  │  └──────────────────▶ unknown
//!                     video id       ▼
//!                                accepted ──three 404s over ≥ 1 h──▶ missing
//!                                (HeyGen's own word, verbatim;
//!                                 completed and failed are final,
//!                                 but for an agent that is asked to go on)
//! ```

mod agent;
mod blame;
mod files;
mod lost;
mod poll;
mod send;
mod track;
mod verdict;

use std::time::Duration;

pub(crate) use agent::links;
pub use agent::{after_message, leave_video_to, revived, stopped, wants_answer};
pub use blame::{Breaker, Circuit};
pub(crate) use files::{FileFact, file, to_fetch, want_again};
pub(crate) use lost::{Trace, looked, may_be, may_begin, trace};
pub use poll::{
    MISSING_ASKED_FOR, Observation, SESSION_NEVER_STALLS, VIDEO_NEVER_STALLS, Witness, observed,
    stalled, stalls_after,
};
pub use send::{
    Attempt, CLOCK_TOLERANCE, DEFAULT_RETRY_AFTER, Due, Expiry, Moment, REPLAY_WINDOW,
    already_tracked, begin_send, due, expire, post_window, refuse_retry, release, sent,
};
pub use track::{became, edited, named_again, refusal, refused_elsewhere};
pub use verdict::Verdict;

pub use crate::event::Entry;
use crate::event::{Event, Failure};
use crate::heygen::ApiError;
use crate::time::Timestamp;
use crate::video::{Asset, LastError, MessageKind, Operation, Video};

pub const REPORT_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// What is to be done about a row, and what happened to it. The store writes all of it at once.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The row as it should be, with its files; `rev` and `finished` are still those it was read with.
    pub video: Video,
    pub changed: bool,
    pub files: Vec<Asset>,
    pub events: Vec<Entry>,
    pub fetch: Vec<Asset>,
    pub messages: Vec<(MessageKind, String)>,
    pub stale_parts: Vec<String>,
}

impl Decision {
    fn new(video: &Video) -> Self {
        Self {
            video: video.clone(),
            ..Self::default()
        }
    }

    fn change(video: &Video) -> Self {
        Self {
            changed: true,
            ..Self::new(video)
        }
    }

    fn event(&mut self, event: Event) -> &mut Entry {
        let at = self.events.len();
        self.events.push(Entry::new(event));
        &mut self.events[at]
    }

    fn changes(&mut self, before: &Video, event: Event) {
        let was = self.status_before(before);
        self.event(event).was = was;
    }

    fn status_before(&self, before: &Video) -> Option<String> {
        (self.video.status() != before.status()).then(|| before.status().to_owned())
    }

    pub fn finishes(&self) -> bool {
        !self.video.finished && self.video.is_over()
    }

    fn works(&mut self, operation: Operation) {
        if let Some(error) = self.drop_error(operation)
            && error.notified_at.is_some()
        {
            self.event(Event::Recovered {
                operation,
                code: error.code,
            });
        }
    }

    /// Drops the row's error without a word: it is not over, but understood.
    fn drop_error(&mut self, operation: Operation) -> Option<LastError> {
        let error = &mut self.video.last_error;
        let dropped = error.take_if(|error| error.operation == operation);
        self.changed |= dropped.is_some();
        dropped
    }
}

impl Failure {
    pub fn api(operation: Operation, error: &ApiError) -> Self {
        Self {
            http_status: error.http_status(),
            request_id: error.request_id.clone(),
            answer: error.excerpt.clone(),
            ..Self::local(operation, &error.code, &error.message)
        }
    }

    pub fn local(operation: Operation, code: &str, message: &str) -> Self {
        Self {
            operation,
            http_status: None,
            code: code.to_owned(),
            message: message.to_owned(),
            request_id: None,
            answer: None,
            asset: None,
            own: true,
            notify: false,
        }
    }
}

pub fn happened(video: &Video, event: Event) -> Decision {
    let mut decision = Decision::new(video);
    decision.event(event);
    decision
}

fn record_failure(decision: &mut Decision, mut failure: Failure, now: Timestamp) {
    let last = decision.video.last_error.as_ref();
    // An outage must not overwrite the row's own error, or that error would be reported again after the outage.
    if !failure.own && last.is_some_and(|error| error.notified_at.is_some()) {
        return;
    }
    let known = last.filter(|e| e.code == failure.code && e.operation == failure.operation);
    let notified_at = known.and_then(|e| e.notified_at);
    // A clock that went back must not silence an error for longer than it would have been.
    let told_lately = notified_at.is_some_and(|at| at <= now && now.since(at) < REPORT_AGAIN);
    failure.notify = failure.own && !told_lately;
    let again = known.is_some();
    decision.video.last_error = Some(LastError {
        operation: failure.operation,
        code: failure.code.clone(),
        message: failure.message.clone(),
        request_id: failure.request_id.clone(),
        at: now,
        notified_at,
        count: known.map_or(1, |e| e.count.saturating_add(1)),
    });
    decision.event(Event::Error(failure)).again = again;
    decision.changed = true;
}
