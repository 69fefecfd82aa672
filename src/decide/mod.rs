//! The state machine, pure: what an answer, an error or the clock means for a row.
//!
//! Each function takes the row as it was read, what was learnt, and the time, and returns a [`Decision`]: the row as
//! it should be, what its timeline gets, and what is news. The pass writes a decision compare-and-swap; when somebody
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
//!                                accepted ──404 twice, ≥ 1 h apart──▶ missing
//!                                (HeyGen's own word, verbatim;
//!                                 completed and failed are final)
//! ```

mod poll;
mod send;
mod track;

use std::time::Duration;

pub use poll::{FilePlan, Observation, observed, plan_files, stalled, stalls_after};
pub use send::{
    Due, Expiry, already_tracked, begin_send, due, expire, not_attempted, post_window, sent,
};
pub use track::{became, named_again};

use crate::heygen::ApiError;
use crate::time::Timestamp;
use crate::video::{EventKind, LastError, NewEvent, Operation, Video};

/// Trouble that lasts is told again after this long.
pub const TELL_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// What is to be done about a row.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The row as it should be; `rev` is still the one it was read with.
    pub video: Video,
    /// Whether anything but the time of the last check changed.
    pub changed: bool,
    /// What the timeline gets.
    pub events: Vec<Entry>,
    /// What is news to the user.
    pub news: Vec<News>,
    /// HeyGen does not have the video any more: its open files cannot be had.
    pub give_up_files: bool,
}

/// One change to a timeline.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A new event.
    New(NewEvent),
    /// The latest event of this kind happened once more.
    Again(EventKind),
}

/// What happened to a row, as far as a user cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// HeyGen took it.
    Sent,
    /// The status word changed; every end is one of these.
    Status {
        /// The word before.
        from: String,
    },
    /// It is in trouble.
    Trouble {
        /// Whether this is the moment to tell: it began, changed or has lasted for a day.
        tell: bool,
    },
    /// The trouble that was told is over.
    Recovered {
        /// The trouble's code.
        code: String,
    },
    /// HeyGen asked to wait with sending it.
    Postponed,
    /// It renders unusually long.
    Stalled,
}

impl Decision {
    fn new(video: &Video) -> Self {
        Self {
            video: video.clone(),
            changed: false,
            events: Vec::new(),
            news: Vec::new(),
            give_up_files: false,
        }
    }

    /// Nothing but the fact that HeyGen answered.
    fn unchanged(video: &Video) -> Self {
        Self::new(video)
    }

    fn event(&mut self, event: NewEvent) {
        self.events.push(Entry::New(event));
    }

    /// Notes a change of the shown status.
    fn status_news(&mut self, before: &Video) {
        if self.video.status() != before.status() {
            self.news.push(News::Status {
                from: before.status().to_owned(),
            });
        }
    }

    /// Notes that an operation works (again).
    fn works(&mut self, operation: Operation, now: Timestamp) {
        let over = self
            .video
            .last_error
            .take_if(|error| error.operation == operation);
        if let Some(error) = over
            && error.told_at.is_some()
        {
            self.event(
                NewEvent::new(now, EventKind::Recovered)
                    .with("operation", operation.word())
                    .with("code", error.code.as_str()),
            );
            self.news.push(News::Recovered { code: error.code });
        }
    }
}

/// A failure of one operation on one row.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What did not work.
    pub operation: Operation,
    /// As in the error envelope.
    pub code: String,
    /// One sentence, bounded, without secrets.
    pub message: String,
    /// Facts for the timeline.
    pub facts: NewEvent,
    /// Whether this is the row's own trouble; what strikes a whole run is told once for all rows.
    pub own: bool,
}

impl Failure {
    /// A failure of a request to HeyGen.
    pub fn api(operation: Operation, error: &ApiError, now: Timestamp) -> Self {
        let facts = NewEvent::new(now, EventKind::Error)
            .with("operation", operation.word())
            .with("http_status", error.http_status())
            .with("code", error.code.as_str())
            .with("message", error.message.as_str())
            .with("request_id", error.request_id.as_deref())
            .with("answer", error.excerpt.as_deref());
        Self {
            operation,
            code: error.code.clone(),
            message: error.message.clone(),
            facts,
            own: true,
        }
    }

    /// A failure that is not a request's.
    pub fn local(operation: Operation, code: &str, message: &str, now: Timestamp) -> Self {
        let facts = NewEvent::new(now, EventKind::Error)
            .with("operation", operation.word())
            .with("code", code)
            .with("message", message);
        Self {
            operation,
            code: code.to_owned(),
            message: message.to_owned(),
            facts,
            own: true,
        }
    }

    /// The same failure as part of a trouble that is told for the whole run.
    #[must_use]
    pub fn of_the_run(mut self) -> Self {
        self.own = false;
        self
    }
}

/// An operation on a row failed: the row keeps its state and gets a `last_error`.
pub fn failed(video: &Video, failure: &Failure, now: Timestamp) -> Decision {
    let mut decision = Decision::new(video);
    record_failure(&mut decision, failure, now);
    decision
}

fn record_failure(decision: &mut Decision, failure: &Failure, now: Timestamp) {
    let told_before = decision
        .video
        .last_error
        .as_ref()
        .is_some_and(|e| e.told_at.is_some());
    // What strikes everybody does not end a row's own trouble: that would be told anew, or never be over.
    if told_before && !failure.own {
        return;
    }
    let known = decision
        .video
        .last_error
        .as_ref()
        .filter(|e| e.code == failure.code && e.operation == failure.operation);
    let told_at = known.and_then(|e| e.told_at);
    // A clock that went back must not silence a trouble for longer than it would have been.
    let told_lately = told_at.is_some_and(|at| at <= now && now.since(at) < TELL_AGAIN);
    let tell = failure.own && !told_lately;
    let count = known.map_or(1, |e| e.count.saturating_add(1));
    decision.events.push(if known.is_some() {
        Entry::Again(EventKind::Error)
    } else {
        Entry::New(failure.facts.clone())
    });
    decision.video.last_error = Some(LastError {
        operation: failure.operation,
        code: failure.code.clone(),
        message: failure.message.clone(),
        at: now,
        told_at: if tell { Some(now) } else { told_at },
        count,
    });
    if failure.own {
        decision.news.push(News::Trouble { tell });
    }
    decision.changed = true;
}

/// A file was saved: whatever was wrong with the downloads of this row is over.
pub fn saved(video: &Video, now: Timestamp) -> Decision {
    let mut decision = Decision::new(video);
    decision.works(Operation::Save, now);
    decision.changed = decision.video.last_error != video.last_error;
    decision
}
