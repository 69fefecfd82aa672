//! Whatever can still be read of a damaged database, in a new one.
//!
//! The old files are only read. The new database is made under another name, and gets its own when it is whole and
//! durable, so a kill leaves nothing that could be taken for a result. Rows that wait to be sent are held back: what
//! was read may be an old version of a page, and the row may have been sent since.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use serde::Serialize;

use super::leaves::{self, LeafRow, Leaves};
use super::open::{canonical, known_schema, sync_directory_of};
use super::{Tx, error, migrate};
use crate::decide::{self, Expiry};
use crate::error::{Problem, Result, code};
use crate::locks::beside;
use crate::time::Timestamp;
use crate::video::RowId;

/// What is kept of the rest (outages, pauses, counts) is found out again by the next `check`.
const TABLES: [&str; 6] = ["videos", "files", "events", "hooks", "webhooks", "messages"];

#[derive(Clone, Debug, Default, Serialize)]
pub struct Rescued {
    pub path: PathBuf,
    pub videos: u64,
    /// Rows that were not finished being sent: a person has to say what becomes of them.
    pub held: Vec<RowId>,
    /// Rows of which only the beginning could be read.
    pub shortened: Vec<RowId>,
    /// Rows without any record of their files, whose videos are fetched (again).
    pub to_fetch: u64,
    /// First and last of the numbers that no row has: they are lost, or were forgotten.
    pub missing: Vec<(RowId, RowId)>,
}

/// Copies what can be read of the database `from` into a new one, `to`. `output_dir`: for rows that lost theirs.
pub fn rescue(from: &Path, to: &Path, output_dir: &Path, now: Timestamp) -> Result<Rescued> {
    let io_error = |source| error::open(to, &source);
    if to.symlink_metadata().is_ok() {
        let message = format!("{} is there already", to.display());
        return Err(Problem::new(code::FILE_EXISTS, message).with_hint("name a new file"));
    }
    canonical(from)?;
    let header = leaves::header(from).map_err(|source| error::open(from, &source))?;
    // What is not ours SQLite must not even open; the copy is asked again, for what only the log has.
    schema_of(from, leaves::identity(&header))?;
    let dir = beside(to, &format!(".unfinished-{:08x}", fastrand::u32(..)));
    DirBuilder::new()
        .mode(0o700)
        .create(&dir)
        .map_err(io_error)?;
    let rescue = Rescue {
        from,
        to,
        output_dir,
        now,
        damaged: RefCell::default(),
    };
    let made = rescue.make(&dir);
    fs::remove_dir_all(&dir).ok();
    made
}

/// The version of the schema that its rows are read by.
fn schema_of(from: &Path, identity: Option<(i64, i64)>) -> Result<i64> {
    let version = identity.map(|(application, version)| known_schema(from, application, version));
    let version = version.transpose()?.filter(|version| *version > 0);
    Ok(version.unwrap_or(migrate::LATEST))
}

/// Keeps others from writing while the file is read, where the damage lets SQLite do so.
fn hold_writers(path: &Path) -> Option<Connection> {
    // SQLite would remove the log of an empty file.
    fs::metadata(path).ok().filter(|found| found.len() > 0)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).ok()?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .ok()?;
    conn.execute_batch("BEGIN IMMEDIATE").ok()?;
    Some(conn)
}

struct Rescue<'a> {
    from: &'a Path,
    to: &'a Path,
    output_dir: &'a Path,
    now: Timestamp,
    damaged: RefCell<BTreeMap<RowId, String>>,
}

impl Rescue<'_> {
    fn make(&self, dir: &Path) -> Result<Rescued> {
        let io_error = |source| error::open(self.to, &source);
        let _quiet = hold_writers(self.from);
        let leaves = Leaves::copy(self.from, dir).map_err(io_error)?;
        let version = schema_of(self.from, leaves::identity(&leaves.first))?;
        let new = dir.join("new");
        let private = File::create_new(&new).map_err(io_error)?;
        let rescued = self.fill(&new, &leaves, version)?;
        let publish = || {
            private.set_permissions(Permissions::from_mode(0o600))?;
            private.sync_all()?;
            // Replaces nothing: the second name fails where there is a file.
            fs::hard_link(&new, self.to)?;
            fs::remove_file(&new)?;
            sync_directory_of(self.to)
        };
        publish().map_err(io_error)?;
        Ok(rescued)
    }

    fn fill(&self, new: &Path, leaves: &Leaves, version: i64) -> Result<Rescued> {
        let sqlite_error = |source| error::sqlite(self.to, &source);
        let mut conn = Connection::open(new).map_err(sqlite_error)?;
        // Nobody reads the file before it is whole.
        conn.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
            .and_then(|()| migrate::apply(&mut conn, version))
            .map_err(sqlite_error)?;
        let mut rescued = Rescued {
            path: self.to.to_owned(),
            ..Rescued::default()
        };
        self.copy(&self.tx(&conn), leaves, &mut rescued)?;
        migrate::apply(&mut conn, migrate::LATEST).map_err(sqlite_error)?;
        self.settle(&self.tx(&conn), &mut rescued)?;
        Ok(rescued)
    }

    fn tx<'a>(&'a self, conn: &'a Connection) -> Tx<'a> {
        Tx {
            conn,
            path: self.to,
            damaged: &self.damaged,
        }
    }

    fn copy(&self, tx: &Tx<'_>, leaves: &Leaves, rescued: &mut Rescued) -> Result<()> {
        tx.run("BEGIN", [])?;
        tx.run(
            "INSERT INTO sqlite_sequence (name, seq)
             SELECT name, 0 FROM sqlite_schema WHERE sql LIKE '%AUTOINCREMENT%'",
            [],
        )?;
        let inserters = TABLES.iter().map(|table| self.inserter(tx, table));
        let inserters = inserters.collect::<Result<Vec<_>>>()?;
        let failed = |source: rusqlite::Error| error::sqlite(self.to, &source);
        leaves.each_row(failed, |row| put(tx, &inserters, row, rescued))?;
        tx.run("COMMIT", [])
    }

    fn inserter(&self, tx: &Tx<'_>, table: &'static str) -> Result<Inserter> {
        let columns: Vec<(String, Option<String>)> = tx.all(
            "SELECT name, CASE WHEN \"notnull\" THEN dflt_value END FROM pragma_table_xinfo(?1)
             WHERE hidden = 0 ORDER BY cid",
            [table],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let value = |(index, (column, default)): (usize, &(String, Option<String>))| {
            let value = format!("?{}", index + 1);
            match (column.as_str(), default) {
                ("phase", _) => {
                    format!("iif({value} IN ('unsent', 'sending'), 'unknown', {value})")
                }
                // A message may have gone out as well.
                ("state", _) => format!("iif({value} = 'unsent', 'sending', {value})"),
                ("submitted_at", _) => format!("coalesce({value}, {})", self.now.millis()),
                ("output_dir", _) => {
                    let dir = self.output_dir.to_string_lossy().replace('\'', "''");
                    format!("coalesce({value}, '{dir}')")
                }
                (_, Some(default)) => format!("coalesce({value}, {default})"),
                (_, None) => value,
            }
        };
        let values: Vec<String> = columns.iter().enumerate().map(value).collect();
        let insert = format!("INSERT INTO {table} VALUES ({})", values.join(", "));
        Ok((table, columns.len(), insert))
    }

    fn settle(&self, tx: &Tx<'_>, rescued: &mut Rescued) -> Result<()> {
        tx.run("BEGIN", [])?;
        // Numbers of rows are not used again, whatever is left of them.
        tx.run(
            "UPDATE sqlite_sequence SET seq = max(seq, (SELECT coalesce(max(video), 0) FROM (
                SELECT video FROM files UNION ALL SELECT video FROM events UNION ALL SELECT video FROM messages)))
             WHERE name = 'videos'",
            [],
        )?;
        for table in &TABLES[1..] {
            let orphans = format!("DELETE FROM {table} WHERE video NOT IN (SELECT id FROM videos)");
            tx.run(&orphans, [])?;
        }
        rescued.to_fetch = tx.query(
            "INSERT INTO files (video, asset) SELECT id, 'video' FROM videos
             WHERE phase <> 'rejected' AND outcome IS NOT 'failed' AND id NOT IN (SELECT video FROM files)",
            |insert| insert.execute([]),
        )? as u64;
        tx.run("UPDATE videos SET phase = phase", [])?;
        rescued.videos = tx.value("SELECT count(*) FROM videos", [])?;
        rescued.held.sort_unstable();
        rescued.shortened.sort_unstable();
        rescued.missing = tx.all(
            "SELECT before + 1, id - 1 FROM (SELECT id, lag(id, 1, 0) OVER (ORDER BY id) AS before FROM
                (SELECT id FROM videos UNION ALL SELECT seq + 1 FROM sqlite_sequence WHERE name = 'videos'))
             WHERE id > before + 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        for row in &rescued.held {
            // A row that cannot be read as one is left alone by every run.
            if let Ok(Some(video)) = tx.video(*row) {
                let held = decide::expire(&video, Expiry::RESCUED, self.now);
                tx.apply(&held, self.now).ok();
            }
        }
        tx.run("COMMIT", [])
    }
}

/// A table, how many columns it has, and what inserts a row.
type Inserter = (&'static str, usize, String);

/// Tries the tables that have as many columns: their types refuse what is another's.
fn put(tx: &Tx<'_>, inserters: &[Inserter], row: LeafRow, rescued: &mut Rescued) -> Result<()> {
    let mut values = row.values;
    if let [Value::Text(table), Value::Integer(last)] = &values[..] {
        let sql = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
        return tx.run(sql, (table, last));
    }
    for (table, columns, insert) in inserters {
        if values.is_empty() || *columns != values.len() {
            continue;
        }
        let is_video = *table == "videos";
        let whole = row.whole && (!is_video || has_sound_body(&values));
        // Half an entry of the timeline says nothing; the beginning of a row has the id that was paid for.
        if !whole && !is_video {
            continue;
        }
        let held = values.iter().take(5).any(is_waiting);
        values[0] = Value::Integer(row.rowid);
        if is_video {
            let older = "DELETE FROM videos WHERE id = ?1 AND rev < ?2";
            tx.run(older, (&values[0], &values[1]))?;
        }
        match tx.run(insert, params_from_iter(&values)) {
            // It is no row of that table, or an older version of one that is there.
            Err(problem) if problem.one_row => continue,
            inserted => inserted?,
        }
        if is_video {
            let id = RowId(row.rowid);
            for (list, belongs) in [(&mut rescued.held, held), (&mut rescued.shortened, !whole)] {
                list.retain(|known| *known != id);
                list.extend(belongs.then_some(id));
            }
        }
        break;
    }
    Ok(())
}

fn is_waiting(value: &Value) -> bool {
    matches!(value, Value::Text(phase) if phase == "unsent" || phase == "sending")
}

/// The request is the last value: whatever is amiss in a long row, what would be sent again is JSON.
fn has_sound_body(values: &[Value]) -> bool {
    match values.last() {
        Some(Value::Text(body)) => {
            serde_json::from_str::<&serde_json::value::RawValue>(body).is_ok()
        }
        _ => true,
    }
}
