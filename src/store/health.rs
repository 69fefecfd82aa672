//! How the database and what drives it are doing, for `doctor` and for the notes about a cron that seems dead.

use std::path::PathBuf;
use std::time::Duration;

use super::{Filter, Store, Tx, migrate};
use crate::error::Result;
use crate::time::Timestamp;
use crate::video::RowId;

/// The [mark](Tx::mark_unless_lately) of a run over everything unfinished. A submission is none: cron may be dead.
pub const CHECKED: &str = "checked";

/// Signs that somebody is working on the unfinished rows. A failed attempt is a sign too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// When the unfinished row that waits longest was recorded, by our clock; `None` when none is unfinished.
    pub waiting_since: Option<Timestamp>,
    /// The latest run of `check` or `listen`, or answer about an unfinished row.
    pub last_sign: Option<Timestamp>,
}

pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

impl Store {
    /// Commits something, since only that tells whether a change can be committed.
    pub fn check_writable(&mut self, now: Timestamp) -> Result<()> {
        self.write(|tx| {
            tx.mark_unless_lately("doctor", now, Duration::ZERO)
                .map(drop)
        })
    }

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
        self.read(|tx| {
            let mut below = None;
            loop {
                let page = tx.list(&Filter::default(), below, 1000)?;
                let Some(last) = page.last() else { break };
                below = Some(last.id);
            }
            tx.all(
                "SELECT id FROM videos NOT INDEXED WHERE rev = 9223372036854775807",
                [],
                |row| {
                    let why = "rev is at its maximum, so no change can be recorded";
                    tx.set_damaged(row.get(0)?, why);
                    Ok(())
                },
            )
        })?;
        Ok(self.damaged().into_iter().take(limit).collect())
    }
}

impl Tx<'_> {
    /// `submitted_at` of an added row is when it was made elsewhere; its first event is when we heard of it. Rows are
    /// numbered as they are recorded, so the lowest number has waited longest.
    pub fn waiting_since(&self) -> Result<Option<Timestamp>> {
        self.value_if_any(
            "SELECT at FROM events WHERE video = (
                SELECT min(id) FROM videos INDEXED BY videos_unfinished WHERE finished = 0)
             ORDER BY id LIMIT 1",
            [],
        )
    }

    pub fn pulse(&self) -> Result<Pulse> {
        Ok(Pulse {
            waiting_since: self.waiting_since()?,
            last_sign: self.value(
                "SELECT max(at) FROM (SELECT at FROM marks WHERE name = ?1 UNION ALL
                    SELECT last_checked_at FROM videos INDEXED BY videos_unfinished WHERE finished = 0)",
                [CHECKED],
            )?,
        })
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

    pub fn unfinished_output_dirs(&self, limit: u32) -> Result<Vec<PathBuf>> {
        let dirs: Vec<String> = self.values(
            "SELECT DISTINCT output_dir FROM videos INDEXED BY videos_unfinished
             WHERE finished = 0 ORDER BY output_dir LIMIT ?",
            [limit],
        )?;
        Ok(dirs.into_iter().map(PathBuf::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewVideo;
    use crate::video::{Outcome, RemoteStatus, VideoId};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn new(id: &str) -> NewVideo {
        NewVideo {
            request: None,
            body_hash: None,
            account: None,
            video_id: VideoId::new(id),
            title: None,
            script: None,
            avatar_id: None,
            voice_id: None,
            tags: Vec::new(),
            submitted_at: at(5),
            output_dir: format!("/out/{id}").into(),
            name_template: None,
            assets: Vec::new(),
            retry_of: None,
            ..NewVideo::default()
        }
    }

    fn look(store: &Store) -> (Pulse, Option<Timestamp>) {
        store
            .read(|tx| Ok((tx.pulse()?, tx.newest_time(9)?)))
            .unwrap()
    }

    #[test]
    fn only_unfinished_rows_have_a_pulse() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(&dir.path().join("t.db")).unwrap();
        store.check_writable(at(1)).unwrap();
        assert_eq!(look(&store), (Pulse::default(), None));
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
        let unseen = Pulse {
            waiting_since: Some(at(200)),
            last_sign: None,
        };
        assert_eq!(look(&store), (unseen, Some(at(300))));
        let dirs = store.read(|tx| tx.unfinished_output_dirs(9)).unwrap();
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
        let seen = Pulse {
            last_sign: Some(at(400)),
            ..unseen
        };
        assert_eq!(look(&store), (seen, Some(at(400))));
    }
}
