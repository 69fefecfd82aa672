//! Statements on `events`.

use rusqlite::params;
use serde_json::Value;

use super::Tx;
use crate::video::{Event, EventKind, NewEvent, RowId};

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
