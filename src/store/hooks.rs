//! Statements on `hooks`: what the user's command has yet to be told.

use rusqlite::params;

use super::Tx;
use super::row::noun;
use crate::error::Result;
use crate::time::Timestamp;
use crate::video::{HookEvent, RowId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueHook {
    /// Its number; also names its kernel lock.
    pub id: RowId,
    /// The row it tells of; for `idle` the row that finished last.
    pub video: RowId,
    pub event: HookEvent,
    pub file: Option<String>,
    pub tries: i64,
}

impl Tx<'_> {
    pub fn hook(
        &self,
        video: RowId,
        event: HookEvent,
        file: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        self.run(
            "INSERT INTO hooks (video, event, file, at) VALUES (?1, ?2, ?3, ?4)",
            params![video, event, file, now],
        )
    }

    pub fn due_hooks(&self, limit: u32) -> Result<Vec<DueHook>> {
        self.all(
            "SELECT id, video, event, file, tries FROM hooks ORDER BY tries, id LIMIT ?1",
            [limit],
            noun!(DueHook: id, video, event, file, tries),
        )
    }

    pub fn has_hooks(&self) -> Result<bool> {
        self.exists("hooks", [])
    }

    /// Counts a try before it is made, so that a hook that kills the program is not tried for ever. `false` when
    /// the hook is no longer due.
    pub fn hook_tried(&self, hook: RowId) -> Result<bool> {
        self.changed("UPDATE hooks SET tries = tries + 1 WHERE id = ?1", [hook])
    }

    pub fn hook_over(&self, hook: RowId) -> Result<()> {
        self.run("DELETE FROM hooks WHERE id = ?1", [hook])
    }
}
