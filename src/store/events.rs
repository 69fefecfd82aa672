//! Statements on `events`.

use rusqlite::params;
use serde_json::Value;

use super::Tx;
use crate::time::Timestamp;
use crate::video::{Event, EventKind, RowId};

/// An entry to append to a timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// Facts, a JSON object.
    pub detail: serde_json::Map<String, Value>,
}

impl NewEvent {
    /// An event without details.
    pub fn new(at: Timestamp, kind: EventKind) -> Self {
        Self {
            at,
            kind,
            detail: serde_json::Map::new(),
        }
    }

    /// Adds a fact; `null` facts are left out.
    #[must_use]
    pub fn with(mut self, name: &str, fact: impl Into<Value>) -> Self {
        let fact = fact.into();
        if !fact.is_null() {
            self.detail.insert(name.to_owned(), fact);
        }
        self
    }
}

impl Tx<'_> {
    /// Appends to a video's timeline.
    pub fn append(&self, video: RowId, event: &NewEvent) -> rusqlite::Result<()> {
        let detail = Value::Object(event.detail.clone()).to_string();
        self.conn
            .prepare_cached("INSERT INTO events (video, at, kind, detail) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![video, event.at, event.kind, detail])
            .map(drop)
    }

    /// Counts a repeat of a video's latest event of this kind.
    pub fn repeat(&self, video: RowId, kind: EventKind) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached(
                "UPDATE events SET count = count + 1
                 WHERE id = (SELECT max(id) FROM events WHERE video = ?1 AND kind = ?2)",
            )?
            .execute(params![video, kind])
            .map(drop)
    }

    /// A video's timeline, oldest first.
    pub fn timeline(&self, video: RowId) -> rusqlite::Result<Vec<Event>> {
        self.conn
            .prepare_cached(
                "SELECT at, kind, count, detail FROM events WHERE video = ?1 ORDER BY id",
            )?
            .query_map([video], |row| {
                let detail: String = row.get(3)?;
                Ok(Event {
                    at: row.get(0)?,
                    kind: row.get(1)?,
                    count: row.get(2)?,
                    detail: serde_json::from_str(&detail).unwrap_or(Value::Null),
                })
            })?
            .collect()
    }
}
