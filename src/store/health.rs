//! How the database and what drives it are doing, for `doctor` and for the notes about a cron that seems dead.

use super::{Filter, Store, Tx, migrate};
use crate::error::Result;
use crate::time::Timestamp;
use crate::video::RowId;

/// The [mark](Tx::mark_unless_lately) of a run over everything unfinished. A submission is none: cron may be dead.
pub const CHECKED: &str = "checked";

impl Store {
    /// What the schema lacks or has otherwise than this program makes it.
    pub fn schema_faults(&self) -> Result<Vec<String>> {
        const SCHEMA: &str = "SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'";
        type Object = (String, String, String);
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let mut fresh = rusqlite::Connection::open_in_memory().map_err(|e| self.error(e))?;
        migrate::apply(&mut fresh, migrate::LATEST).map_err(|e| self.error(e))?;
        let wanted: Vec<Object> = self.tx(&fresh).all(SCHEMA, [], read)?;
        let found: Vec<Object> = self.tx(&self.conn).all(SCHEMA, [], read)?;
        let missing = wanted.iter().filter(|object| !found.contains(object));
        Ok(missing
            .map(|(kind, name, _)| {
                let there = found.iter().any(|(_, other, _)| other == name);
                let how = if there { "not what it was" } else { "missing" };
                format!("the {kind} {name} is {how}")
            })
            .collect())
    }

    /// Rows that cannot be read or written, with what is wrong, at most `limit`. Costs a look at every row.
    pub fn damaged_rows(&self, limit: usize) -> Result<Vec<(RowId, String)>> {
        self.pages(&Filter::default(), 0, |_| Ok(true))?;
        self.read(|tx| {
            let sql = "SELECT id FROM videos NOT INDEXED WHERE rev = 9223372036854775807";
            for row in tx.values(sql, [])? {
                tx.set_damaged(row, "rev is at its maximum, so no change can be recorded");
            }
            Ok(())
        })?;
        Ok(self.damaged().into_iter().take(limit).collect())
    }
}

impl Tx<'_> {
    /// When the unfinished row that waits longest was recorded, by our clock: `submitted_at` of an added row is when it
    /// was made elsewhere. Rows are numbered as they are recorded, so the lowest number has waited longest.
    pub fn waiting_since(&self) -> Result<Option<Timestamp>> {
        self.value_if_any(
            "SELECT at FROM events WHERE video = (
                SELECT min(id) FROM videos INDEXED BY videos_unfinished WHERE finished = 0)
             ORDER BY id LIMIT 1",
            [],
        )
    }

    /// The latest run of `check` or `listen`, or answer about an unfinished row: somebody works on them. A failed
    /// attempt is a sign too.
    pub fn last_sign(&self) -> Result<Option<Timestamp>> {
        self.value(
            "SELECT max(at) FROM (SELECT at FROM marks WHERE name = ?1 UNION ALL
                SELECT last_checked_at FROM videos INDEXED BY videos_unfinished WHERE finished = 0)",
            [CHECKED],
        )
    }

    /// The latest time among the last `recent` events and the unfinished rows: if it lies in the future, a clock was
    /// or is wrong.
    pub fn newest_time(&self, recent: u32) -> Result<Option<Timestamp>> {
        self.value(
            "SELECT max(at) FROM (
                SELECT at FROM (SELECT at FROM events ORDER BY id DESC LIMIT ?)
                UNION ALL SELECT last_checked_at FROM videos INDEXED BY videos_unfinished
                          WHERE finished = 0)",
            [recent],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewVideo;
    use crate::video::{Outcome, RemoteStatus, Video, VideoId};
    use std::path::PathBuf;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn new(id: &str) -> NewVideo {
        let video = Video {
            video_id: VideoId::new(id),
            submitted_at: at(5),
            output_dir: format!("/out/{id}").into(),
            ..Video::default()
        };
        NewVideo {
            video,
            ..NewVideo::default()
        }
    }

    fn look(store: &Store) -> [Option<Timestamp>; 3] {
        let look = |tx: &Tx<'_>| Ok([tx.waiting_since()?, tx.last_sign()?, tx.newest_time(9)?]);
        store.read(look).unwrap()
    }

    #[test]
    fn only_unfinished_rows_have_a_pulse() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(&dir.path().join("t.db")).unwrap();
        assert_eq!(look(&store), [None; 3]);
        store
            .write(|tx| {
                let done = tx.insert(&new("done"), at(100))?;
                let mut video = tx.video(done)?.unwrap();
                video.remote_status = Some(RemoteStatus::new("completed"));
                video.outcome = Some(Outcome::Completed);
                video.last_checked_at = Some(at(900));
                assert!(tx.update(&video)?);
                tx.insert(&new("a"), at(200))?;
                tx.insert(&new("b"), at(300))
            })
            .unwrap();
        assert_eq!(look(&store), [Some(at(200)), None, Some(at(300))]);
        let unfinished = Filter {
            unfinished: true,
            ..Filter::default()
        };
        let dirs = store.read(|tx| tx.output_dirs(&unfinished, 9)).unwrap();
        assert_eq!(dirs, [PathBuf::from("/out/a"), PathBuf::from("/out/b")]);
        store
            .write(|tx| {
                let id = tx.by_video_id(&VideoId::new("b").unwrap())?.unwrap();
                let mut video = tx.video(id)?.unwrap();
                video.last_checked_at = Some(at(400));
                assert!(tx.update(&video)?);
                Ok(())
            })
            .unwrap();
        assert_eq!(look(&store), [Some(at(200)), Some(at(400)), Some(at(400))]);
    }
}
