//! Statements on `events`.

use rusqlite::params;
use serde_json::Value;

use super::Tx;
use crate::error::Problem;
use crate::video::{Event, EventKind, NewEvent, RowId};

impl Tx<'_> {
    /// Appends to a video's timeline.
    pub fn append(&self, video: RowId, event: &NewEvent) -> Result<(), Problem> {
        let detail = Value::Object(event.detail.clone()).to_string();
        self.run(
            "INSERT INTO events (video, at, kind, detail) VALUES (?1, ?2, ?3, ?4)",
            params![video, event.at, event.kind, detail],
        )
    }

    /// Counts a repeat of a video's latest event of this kind.
    pub fn repeat(&self, video: RowId, kind: EventKind) -> Result<(), Problem> {
        self.run(
            "UPDATE events SET count = count + 1
                 WHERE id = (SELECT max(id) FROM events WHERE video = ?1 AND kind = ?2)",
            params![video, kind],
        )
    }

    /// A video's timeline, oldest first.
    pub fn timeline(&self, video: RowId) -> Result<Vec<Event>, Problem> {
        self.all(
            "SELECT at, kind, count, detail FROM events WHERE video = ?1 ORDER BY id",
            [video],
            |row| {
                let detail: String = row.get(3)?;
                Ok(Event {
                    at: row.get(0)?,
                    kind: row.get(1)?,
                    count: row.get(2)?,
                    detail: serde_json::from_str(&detail).unwrap_or(Value::Null),
                })
            },
        )
    }
}
