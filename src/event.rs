//! What can happen to a row. Decided once; the timeline, the printed sentence, the JSON line, the hook and the tally
//! are all made from it.

use serde::Serialize;
use serde_json::Value;

use crate::time::Timestamp;
use crate::video::{Asset, HookEvent, MessageKind, MessageState, Operation, Video};

/// The timeline stores it as its kind and the other fields that are not null.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    Recorded,
    Sending {
        idempotency_key: Option<String>,
    },
    Accepted {
        session_id: Option<String>,
        video_id: Option<String>,
        status: Option<String>,
        request_id: Option<String>,
        from: Option<String>,
        by: Option<&'static str>,
    },
    Postponed {
        code: String,
        until: Option<String>,
    },
    Rejected(Rejection),
    Unknown {
        why: &'static str,
    },
    Candidates {
        ids: Vec<String>,
    },
    Status {
        from: Option<String>,
        to: String,
        failure_code: Option<String>,
        failure_message: Option<String>,
    },
    Missing {
        first_404_at: Option<String>,
        request_id: Option<String>,
    },
    #[serde(rename = "missing")]
    Found {
        there_again: bool,
    },
    Stalled,
    Attention {
        said: Option<String>,
        page: Option<String>,
    },
    Message {
        message: MessageKind,
        text: String,
        state: MessageState,
        run_id: Option<String>,
        why: Option<String>,
    },
    Saved(SavedFile),
    /// The same, by finishing what an earlier run left.
    Repaired(SavedFile),
    #[serde(rename = "repaired")]
    Lost {
        asset: Asset,
        what: &'static str,
    },
    Unavailable {
        asset: Asset,
        why: Option<String>,
        /// Another row has it: nothing is lost.
        #[serde(skip)]
        elsewhere: bool,
    },
    Gone {
        asset: Asset,
        why: &'static str,
        path: Option<String>,
    },
    Error(Failure),
    Recovered {
        operation: Operation,
        code: String,
    },
    Edited(Edit),
    RetryForgotten {
        retry: i64,
    },
    Hook {
        event: HookEvent,
        tries: i64,
        error: Option<String>,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rejection {
    pub http_status: Option<u16>,
    pub code: Option<String>,
    pub message: Option<String>,
    pub request_id: Option<String>,
    pub video_id: Option<String>,
    pub tracked_by: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Edit {
    pub from: Option<String>,
    pub by: Option<&'static str>,
    pub output_dir: Option<String>,
    pub title: Option<String>,
    pub tags: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SavedFile {
    pub asset: Asset,
    pub path: String,
    pub bytes: u64,
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    pub operation: Operation,
    pub http_status: Option<u16>,
    pub code: String,
    pub message: String,
    pub request_id: Option<String>,
    pub answer: Option<String>,
    pub asset: Option<Asset>,
    /// The row's own; what strikes a whole run is reported once for all rows.
    #[serde(skip)]
    pub own: bool,
    /// This is the moment to report it: it began, changed or has lasted for a day.
    #[serde(skip)]
    pub notify: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Silent,
    /// Only with `-v`.
    Step,
    /// One line, unless `-q`.
    Outcome,
    /// Needs a person.
    Bad,
    /// On stderr, when it is time.
    Error {
        notify: bool,
    },
    /// On stderr.
    Recovered,
}

impl Event {
    pub fn stored(&self) -> (String, String) {
        let Ok(Value::Object(mut facts)) = serde_json::to_value(self) else {
            return Default::default();
        };
        let kind = match facts.remove("kind") {
            Some(Value::String(kind)) => kind,
            _ => String::new(),
        };
        facts.retain(|_, fact| !fact.is_null());
        (kind, Value::Object(facts).to_string())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub event: Event,
    /// The latest event of this kind happened once more: the timeline counts it.
    pub again: bool,
    /// The status shown before, where this changed it; the timeline has it in earlier entries.
    pub was: Option<String>,
}

impl Entry {
    pub fn new(event: Event) -> Self {
        Self {
            event,
            again: false,
            was: None,
        }
    }

    /// What the user's command is given of it, and the file; `video` is the row afterwards.
    pub fn hook(&self, video: &Video) -> Option<(HookEvent, Option<&str>)> {
        let event = match &self.event {
            Event::Saved(file) | Event::Repaired(file) => {
                return Some((HookEvent::Saved, Some(&file.path)));
            }
            Event::Stalled => HookEvent::Stalled,
            Event::Attention { .. } => HookEvent::Attention,
            _ if self.loses_the_video(video) => HookEvent::Failed,
            _ if self.was.is_none() => return None,
            _ if video.ended_badly() => HookEvent::Failed,
            _ if video.is_completed() => HookEvent::Completed,
            _ => return None,
        };
        Some((event, None))
    }

    /// Nothing is left of what was paid for.
    pub fn loses_the_video(&self, video: &Video) -> bool {
        let asset = Asset::Video;
        matches!(&self.event, Event::Unavailable { asset: lost, elsewhere: false, .. } if *lost == asset)
            && video.is_completed()
    }

    pub fn severity(&self, video: &Video) -> Severity {
        match &self.event {
            // How it ended is what matters, not which entry says so.
            _ if self.was.is_some() && video.ended_badly() => Severity::Bad,
            _ if self.was.is_some() => Severity::Step,
            Event::Accepted { by: None, .. } | Event::Postponed { .. } => Severity::Step,
            Event::Message { state, .. } if *state == MessageState::Sent => Severity::Step,
            Event::Stalled | Event::Attention { .. } | Event::Candidates { .. } => Severity::Bad,
            Event::Message { .. } => Severity::Bad,
            _ if self.loses_the_video(video) => Severity::Bad,
            Event::Unavailable { .. } => Severity::Outcome,
            Event::Saved(_) | Event::Repaired(_) | Event::Lost { .. } => Severity::Outcome,
            Event::Error(Failure { own, notify, .. }) if *own => {
                Severity::Error { notify: *notify }
            }
            Event::Recovered { .. } => Severity::Recovered,
            _ => Severity::Silent,
        }
    }
}

/// One entry of a row's timeline, as it was stored: entries of older versions have other facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineEntry {
    pub at: Timestamp,
    pub kind: String,
    pub count: i64,
    pub detail: Value,
}
