use rusqlite::params;
use serde_json::Value;

use super::Tx;
use crate::decide::Entry;
use crate::error::Result;
use crate::event::TimelineEntry;
use crate::time::Timestamp;
use crate::video::RowId;

impl Tx<'_> {
    /// Appends to a video's timeline, or counts a repeat of its latest event of this kind.
    pub fn append(&self, video: RowId, entry: &Entry, now: Timestamp) -> Result<()> {
        let (kind, detail) = entry.event.stored();
        if entry.again {
            return self.run(
                "UPDATE events SET count = count + 1
                 WHERE id = (SELECT max(id) FROM events WHERE video = ?1 AND kind = ?2)",
                params![video, kind],
            );
        }
        self.run(
            "INSERT INTO events (video, at, kind, detail) VALUES (?1, ?2, ?3, ?4)",
            params![video, now, kind, detail],
        )
    }

    pub fn retries_forgotten(&self, original: RowId) -> Result<usize> {
        self.value(
            "SELECT count(*) FROM events WHERE video = ? AND kind = 'retry_forgotten'",
            [original],
        )
    }

    pub fn timeline(&self, video: RowId) -> Result<Vec<TimelineEntry>> {
        self.all(
            "SELECT at, kind, count, detail FROM events WHERE video = ?1 ORDER BY id",
            [video],
            |row| {
                let detail: String = row.get(3)?;
                Ok(TimelineEntry {
                    at: row.get(0)?,
                    kind: row.get(1)?,
                    count: row.get(2)?,
                    detail: serde_json::from_str(&detail).unwrap_or(Value::Null),
                })
            },
        )
    }
}
