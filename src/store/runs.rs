//! Statements on `troubles`: what whole runs suffer from, told when it begins, changes and ends.

use std::time::Duration;

use rusqlite::params;

use super::Tx;
use super::row::{SqlValue, fields, noun};
use crate::error::Result;
use crate::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub kind: String,
    pub scope: String,
    pub code: String,
    pub message: String,
    pub since: Timestamp,
    /// When it was last reported, or would have been.
    pub notified_at: Timestamp,
    /// Whether that is where somebody reads it later.
    pub notified: bool,
}

impl Tx<'_> {
    pub fn troubles(&self) -> Result<Vec<Trouble>> {
        self.all(
            "SELECT kind, scope, code, message, since, notified_at, notified FROM troubles
             ORDER BY since, kind, scope",
            [],
            noun!(Trouble: kind, scope, code, message, since, notified_at, notified),
        )
    }

    pub fn has_trouble(&self, kind: &str) -> Result<bool> {
        self.exists("troubles WHERE kind = ?", [kind])
    }

    pub fn put_trouble(&self, trouble: &Trouble) -> Result<()> {
        self.upsert(
            "troubles",
            "kind, scope",
            &fields!(trouble: kind, scope, code, message, since, notified_at, notified),
        )
    }

    /// Notes that something was done now, unless it was done within `period`: `false` then. A time in the future is
    /// from a clock that ran ahead.
    pub fn mark_unless_lately(&self, name: &str, now: Timestamp, period: Duration) -> Result<bool> {
        self.changed(
            "INSERT INTO marks (name, at) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET at = excluded.at WHERE NOT (at BETWEEN ?3 AND ?2)",
            params![name, now, now.before(period)],
        )
    }

    pub fn end_trouble(&self, kind: &str, scope: &str) -> Result<bool> {
        self.changed(
            "DELETE FROM troubles WHERE kind = ?1 AND scope = ?2",
            [kind, scope],
        )
    }
}
