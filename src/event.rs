//! What can happen to a row. Decided once; the timeline, the printed sentence, the JSON line, the hook and the tally
//! are all made from it.

use serde::Serialize;
use serde_json::Value;

use crate::time::Timestamp;
use crate::video::{Asset, HookEvent, MessageKind, MessageState, Operation, Video};

/// The timeline stores it as its kind and the other fields that are not null.
///
/// `was` is the status shown before, where the shown status changed; the timeline has it in earlier entries.
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
    /// HeyGen asked to wait with sending it.
    Postponed {
        code: String,
        until: Option<String>,
    },
    Rejected {
        #[serde(skip)]
        was: Option<String>,
        http_status: Option<u16>,
        code: Option<String>,
        message: Option<String>,
        request_id: Option<String>,
        video_id: Option<String>,
        tracked_by: Option<i64>,
    },
    Unknown {
        #[serde(skip)]
        was: Option<String>,
        why: &'static str,
    },
    /// HeyGen's own status word changed.
    Status {
        #[serde(skip)]
        was: Option<String>,
        from: Option<String>,
        to: String,
        failure_code: Option<String>,
        failure_message: Option<String>,
    },
    Missing {
        #[serde(skip)]
        was: Option<String>,
        first_404_at: Option<String>,
        request_id: Option<String>,
    },
    #[serde(rename = "missing")]
    Found {
        #[serde(skip)]
        was: Option<String>,
        there_again: bool,
    },
    Stalled,
    /// A session waits for a person.
    Attention {
        said: Option<String>,
        page: Option<String>,
    },
    /// A message to a session, and what became of it.
    Message {
        message: MessageKind,
        text: String,
        state: MessageState,
        run_id: Option<String>,
        why: Option<String>,
    },
    /// Durable under its final name.
    Saved(SavedFile),
    /// The same, by finishing what an earlier run left.
    Repaired(SavedFile),
    /// A finished part is gone.
    #[serde(rename = "repaired")]
    Lost {
        asset: Asset,
        what: &'static str,
    },
    /// Not waited for any more.
    Unavailable {
        asset: Asset,
        why: Option<String>,
    },
    /// A saved file was found missing or changed.
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
    /// The user changed something about the row.
    Edited(Edit),
    Hook {
        event: HookEvent,
        tries: i64,
        error: Option<String>,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Edit {
    /// The status shown before.
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

/// A failure of one operation on one row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    pub operation: Operation,
    pub http_status: Option<u16>,
    /// As in the error envelope.
    pub code: String,
    /// One sentence, bounded, without secrets.
    pub message: String,
    pub request_id: Option<String>,
    /// The beginning of an answer that made no sense.
    pub answer: Option<String>,
    pub asset: Option<Asset>,
    /// The row's own; what strikes a whole run is reported once for all rows.
    #[serde(skip)]
    pub own: bool,
    /// This is the moment to report it: it began, changed or has lasted for a day.
    #[serde(skip)]
    pub notify: bool,
}

/// How loudly an event is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Not at all.
    Silent,
    /// Only with `-v`.
    Step,
    /// One line, unless `-q`.
    Outcome,
    /// Needs a person.
    Bad,
    /// On stderr, when it is time.
    Error { notify: bool },
    /// On stderr.
    Recovered,
}

impl Event {
    /// Its kind and its facts, as the timeline keeps them.
    pub fn stored(&self) -> (String, String) {
        let mut facts = match serde_json::to_value(self) {
            Ok(Value::Object(facts)) => facts,
            Ok(_) | Err(_) => serde_json::Map::new(),
        };
        let kind = match facts.remove("kind") {
            Some(Value::String(kind)) => kind,
            Some(_) | None => String::new(),
        };
        facts.retain(|_, fact| !fact.is_null());
        (kind, Value::Object(facts).to_string())
    }

    /// The status shown before, when this changed it.
    pub fn status_before(&self) -> Option<&str> {
        match self {
            Self::Rejected { was, .. }
            | Self::Unknown { was, .. }
            | Self::Status { was, .. }
            | Self::Missing { was, .. }
            | Self::Found { was, .. } => was.as_deref(),
            _ => None,
        }
    }

    /// What the user's command is given of it; `video` is the row afterwards.
    pub fn hook(&self, video: &Video) -> Option<HookEvent> {
        match self {
            Self::Stalled => Some(HookEvent::Stalled),
            Self::Attention { .. } => Some(HookEvent::Attention),
            Self::Saved(_) | Self::Repaired(_) => Some(HookEvent::Saved),
            _ if self.status_before().is_none() => None,
            _ if video.ended_badly() => Some(HookEvent::Failed),
            _ => video.is_completed().then_some(HookEvent::Completed),
        }
    }

    /// The saved file it is about.
    pub fn saved_path(&self) -> Option<&str> {
        match self {
            Self::Saved(file) | Self::Repaired(file) => Some(&file.path),
            _ => None,
        }
    }

    /// `video` is the row afterwards.
    pub fn severity(&self, video: &Video) -> Severity {
        match self {
            // How it ended is what matters, not which entry says so.
            _ if self.status_before().is_some() && video.ended_badly() => Severity::Bad,
            _ if self.status_before().is_some() => Severity::Step,
            Self::Accepted { by: None, .. } | Self::Postponed { .. } => Severity::Step,
            Self::Stalled | Self::Attention { .. } => Severity::Bad,
            Self::Message {
                state: MessageState::Sent,
                ..
            } => Severity::Step,
            Self::Message { .. } => Severity::Outcome,
            Self::Saved(_) | Self::Repaired(_) | Self::Lost { .. } => Severity::Outcome,
            // Without the video itself there is nothing left of what was paid for.
            Self::Unavailable {
                asset: Asset::Video,
                ..
            } => Severity::Bad,
            Self::Unavailable { .. } => Severity::Outcome,
            Self::Error(failure) if failure.own => Severity::Error {
                notify: failure.notify,
            },
            Self::Recovered { .. } => Severity::Recovered,
            Self::Recorded
            | Self::Sending { .. }
            | Self::Accepted { .. }
            | Self::Rejected { .. }
            | Self::Unknown { .. }
            | Self::Status { .. }
            | Self::Missing { .. }
            | Self::Found { .. }
            | Self::Gone { .. }
            | Self::Error(_)
            | Self::Edited(_)
            | Self::Hook { .. } => Severity::Silent,
        }
    }
}

/// One entry of a row's timeline, as it was stored: entries of older versions have other facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineEntry {
    /// When it happened first.
    pub at: Timestamp,
    pub kind: String,
    /// How often it happened in a row.
    pub count: i64,
    /// A JSON object.
    pub detail: Value,
}
