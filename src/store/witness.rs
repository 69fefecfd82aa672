//! A witness of how far the database had come, beside it in the lock file: a backup that is put back is older.
//!
//! It is the number of the newest event, which only ever grows. It is written after a commit and never synced: a kill
//! or a power cut leaves an older witness, and no witness (the lock file was moved away) says nothing.

use rusqlite::{Transaction, TransactionBehavior, params};

use super::{Result, Store, Tx};
use crate::locks::{self, Locks};
use crate::time::{self, Timestamp};
use crate::video::RowId;

impl Store {
    /// An older database that was put in this one's place is marked as that, before anybody believes it.
    pub(crate) fn heed_witness(&mut self) -> Result<()> {
        let here = self.read(|tx| tx.newest_event())?;
        let opened = self.locks.get();
        match here < opened.map_or_else(|| locks::witness(&self.path), Locks::witness) {
            true => self.write(|_| Ok(())),
            false => Ok(()),
        }
    }

    /// Looks at the witness first of all in a transaction, since what is written would bring the numbers up to it: the
    /// database may be put back at any moment. The mark is committed by itself, or it would be one of the new rows, too.
    pub(super) fn begin(&self, locks: Option<&Locks>) -> Result<Transaction<'_>> {
        let begin = || {
            Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)
                .map_err(|e| self.error(e))
        };
        let transaction = begin()?;
        let Some(locks) = locks else {
            return Ok(transaction);
        };
        let tx = self.tx(&transaction);
        let here = tx.newest_event().map_err(|problem| self.reason(problem))?;
        if here >= locks.witness() {
            return Ok(transaction);
        }
        tx.mark_restored().map_err(|problem| self.reason(problem))?;
        transaction.commit().map_err(|e| self.error(e))?;
        locks.set_witness(here);
        begin()
    }
}

impl Tx<'_> {
    pub(super) fn newest_event(&self) -> Result<i64> {
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";
        Ok(self.value_if_any(sql, [])?.unwrap_or(0))
    }

    fn mark_restored(&self) -> Result<()> {
        self.run(
            "INSERT INTO marks (name, at) SELECT 'restored ' || coalesce(max(seq), 0), ?1
             FROM sqlite_sequence WHERE name = 'videos' ON CONFLICT (name) DO UPDATE SET at = excluded.at",
            params![time::now()],
        )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Entry;
    use crate::event::Event;
    use crate::store::NewVideo;

    /// By whoever writes next, not only by whoever noticed that it was put back.
    #[test]
    fn the_witness_follows_a_database_that_was_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tracker.db");
        let mut store = Store::create(&path).unwrap();
        let now = Timestamp::from_secs(1);
        let row = store
            .write(|tx| tx.insert(&NewVideo::default(), now))
            .unwrap();
        let event = |tx: &Tx<'_>| tx.append(row, &Entry::new(Event::Stalled), now);
        for _ in 0..5 {
            store.write(event).unwrap();
        }
        let before = locks::witness(&path);
        store
            .write(|tx| {
                tx.run(
                    "UPDATE sqlite_sequence SET seq = 2 WHERE name = 'events'",
                    [],
                )
            })
            .unwrap();
        store.locks().unwrap().set_witness(before);

        drop(Store::open(&path).unwrap());
        assert_eq!(locks::witness(&path), 2);
        assert!(store.read(|tx| tx.restored()).unwrap().is_some());
        store
            .write(|tx| tx.run("DELETE FROM events WHERE id > 2", []))
            .unwrap();
        store.write(event).unwrap();
        assert_eq!(locks::witness(&path), 3);
    }
}
