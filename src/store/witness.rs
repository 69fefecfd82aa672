//! A witness of how far the database had come, beside it in the lock file: a backup that is put back is older.
//!
//! It is the number of the newest event, which only ever grows. It is written after a commit and never synced: a kill
//! or a power cut leaves an older witness, and no witness (the lock file was moved away) says nothing.

use rusqlite::params;

use super::{Result, Store, Tx};
use crate::locks;
use crate::time::{self, Timestamp};
use crate::video::RowId;

impl Store {
    /// An older database that was put in this one's place is marked as that, before anybody believes it.
    pub(crate) fn heed_witness(&mut self) -> Result<()> {
        let here = self.read(|tx| tx.newest_event())?;
        match here < locks::witness(&self.path) {
            true => self.write(|_| Ok(())),
            false => Ok(()),
        }
    }

    /// After a commit. `goes_back`: the database is an older one than the witness speaks of.
    pub(super) fn note_witness(&mut self, newest_event: i64, goes_back: bool) {
        if (goes_back || newest_event > self.witnessed)
            && let Ok(locks) = self.locks()
        {
            locks.set_witness(newest_event);
            self.witnessed = newest_event;
        }
    }
}

impl Tx<'_> {
    pub(super) fn newest_event(&self) -> Result<i64> {
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";
        Ok(self.value_if_any(sql, [])?.unwrap_or(0))
    }

    /// Looks at the witness first of all in a transaction, since what is written would bring the numbers up to it: the
    /// database may be put back at any moment. Says whether it was.
    pub(super) fn mark_if_restored(&self, witness: i64) -> Result<bool> {
        if self.newest_event()? >= witness {
            return Ok(false);
        }
        self.run(
            "INSERT INTO marks (name, at) SELECT 'restored ' || coalesce(max(seq), 0), ?1
             FROM sqlite_sequence WHERE name = 'videos' ON CONFLICT (name) DO UPDATE SET at = excluded.at",
            params![time::now()],
        )?;
        Ok(true)
    }

    /// When an older database was put in this one's place, and the newest row it had: newer ones were recorded here.
    pub fn restored(&self) -> Result<Option<(Timestamp, RowId)>> {
        let sql = "SELECT at, CAST(substr(name, 10) AS INTEGER) AS last FROM marks WHERE name LIKE 'restored %'
             ORDER BY last DESC LIMIT 1";
        Ok(self
            .all(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?
            .pop())
    }
}
