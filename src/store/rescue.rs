//! Whatever can still be read of a damaged database, in a new one.
//!
//! The old files are only read. The new database is made under another name, and gets its own when it is whole and
//! durable, so a kill leaves nothing that could be taken for a result. Rows that wait to be sent are held back: what
//! was read may be an old version of a page, and the row may have been sent since.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};
use serde::Serialize;

use super::pages::{LeafCell, Pages};
use super::{APPLICATION_ID, Tx, error, migrate};
use crate::decide::{self, Expiry};
use crate::error::Problem;
use crate::time::Timestamp;
use crate::video::RowId;

/// What is kept of the rest (outages, pauses, counts) is found out again by the next `check`.
const TABLES: [&str; 6] = ["videos", "files", "events", "hooks", "webhooks", "messages"];

/// What a rescue found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rescued {
    /// The new database.
    pub path: PathBuf,
    /// How many rows it has.
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
pub fn rescue(
    from: &Path,
    to: &Path,
    output_dir: &Path,
    now: Timestamp,
) -> Result<Rescued, Problem> {
    let pages = Pages::open(from).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => error::none(from),
        _ => error::open(from, &source),
    })?;
    let version = match pages.identity() {
        Some((application, _)) if application != i64::from(APPLICATION_ID) => {
            return Err(error::not_ours(from));
        }
        Some((_, version)) if version > migrate::LATEST => {
            return Err(error::newer(from, version, migrate::LATEST));
        }
        Some((_, version)) if version > 0 => version,
        _ => migrate::LATEST,
    };
    let io_error = |source| error::open(to, &source);
    if to.symlink_metadata().is_ok() {
        return Err(io_error(io::ErrorKind::AlreadyExists.into()));
    }
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(format!(".unfinished-{:08x}", fastrand::u32(..)));
    let unfinished = PathBuf::from(unfinished);
    let mut private = OpenOptions::new();
    private.write(true).create_new(true).mode(0o600);
    private.open(&unfinished).map_err(io_error)?;
    let _quiet = hold_writers(from);
    let made = Rescue {
        pages,
        version,
        output_dir,
        now,
    }
    .make(&unfinished)
    .map_err(|source| error::sqlite(to, &source))
    .and_then(|rescued| publish(&unfinished, to).map_err(io_error).map(|()| rescued));
    if made.is_err() {
        fs::remove_file(&unfinished).ok();
    }
    Ok(Rescued {
        path: to.to_owned(),
        ..made?
    })
}

/// Keeps others from writing while the file is read, where the damage lets SQLite do so.
fn hold_writers(path: &Path) -> Option<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).ok()?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .ok()?;
    conn.execute_batch("BEGIN IMMEDIATE").ok()?;
    Some(conn)
}

/// Replaces nothing: the second name fails where there is a file.
fn publish(made: &Path, to: &Path) -> io::Result<()> {
    File::open(made)?.sync_all()?;
    fs::hard_link(made, to)?;
    fs::remove_file(made)?;
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

struct Rescue<'a> {
    pages: Pages,
    version: i64,
    output_dir: &'a Path,
    now: Timestamp,
}

/// How the rows of a table are put into the new database.
struct TableInsert {
    name: &'static str,
    columns: usize,
    insert: String,
}

impl Rescue<'_> {
    fn make(&self, path: &Path) -> rusqlite::Result<Rescued> {
        let mut conn = Connection::open(path)?;
        // Nobody reads the file before it is whole.
        conn.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
        migrate::apply(&mut conn, self.version)?;
        let mut rescued = Rescued::default();
        conn.execute_batch("BEGIN")?;
        let targets = TABLES
            .iter()
            .map(|table| self.target(&conn, table))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        self.pages
            .each_cell(|cell| self.put(&conn, &targets, cell, &mut rescued))?;
        conn.execute_batch("COMMIT")?;
        migrate::apply(&mut conn, migrate::LATEST)?;
        self.settle(&conn, &mut rescued)?;
        Ok(rescued)
    }

    fn target(&self, conn: &Connection, name: &'static str) -> rusqlite::Result<TableInsert> {
        let mut columns = Vec::new();
        let mut values = Vec::new();
        let mut statement = conn.prepare(
            "SELECT name, CASE WHEN \"notnull\" THEN dflt_value END FROM pragma_table_xinfo(?1) WHERE hidden = 0 ORDER BY cid",
        )?;
        let mut rows = statement.query([name])?;
        while let Some(row) = rows.next()? {
            let (column, default): (String, Option<String>) = (row.get(0)?, row.get(1)?);
            let value = format!("?{}", columns.len() + 1);
            values.push(match (name, column.as_str()) {
                // A message may have gone out as well.
                ("messages", "state") => format!("iif({value} = 'unsent', 'sending', {value})"),
                ("videos", "phase") => {
                    format!("iif({value} IN ('unsent', 'sending'), 'unknown', {value})")
                }
                ("videos", "submitted_at") => format!("coalesce({value}, {})", self.now.millis()),
                ("videos", "output_dir") => {
                    let dir = self.output_dir.to_string_lossy().replace('\'', "''");
                    format!("coalesce({value}, '{dir}')")
                }
                _ => default.map_or(value.clone(), |default| {
                    format!("coalesce({value}, {default})")
                }),
            });
            columns.push(column);
        }
        let insert = format!(
            "INSERT INTO {name} ({}) VALUES ({})",
            columns.join(", "),
            values.join(", ")
        );
        Ok(TableInsert {
            name,
            columns: columns.len(),
            insert,
        })
    }

    /// Tries the tables that have as many columns: their types refuse what is another's.
    fn put(
        &self,
        conn: &Connection,
        targets: &[TableInsert],
        cell: LeafCell,
        rescued: &mut Rescued,
    ) -> rusqlite::Result<()> {
        if let [Value::Text(table), Value::Integer(last)] = &cell.local[..] {
            let sql = "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1";
            if conn.execute(sql, (table, last))? == 0 && TABLES.contains(&table.as_str()) {
                conn.execute(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)",
                    (table, last),
                )?;
            }
            return Ok(());
        }
        for target in targets
            .iter()
            .filter(|target| target.columns > 0 && target.columns == cell.local.len())
        {
            let is_video = target.name == "videos";
            let whole = cell
                .whole
                .as_ref()
                .filter(|values| !is_video || has_sound_body(values));
            // Half an entry of the timeline says nothing; the beginning of a row has the id that was paid for.
            let (values, shortened) = match whole {
                Some(values) => (values, false),
                None if is_video => (&cell.local, true),
                None => continue,
            };
            let mut values = values.clone();
            values[0] = Value::Integer(cell.rowid);
            let held = is_video && values.iter().take(5).any(is_waiting);
            if is_video {
                let older = "DELETE FROM videos WHERE id = ?1 AND rev < ?2";
                conn.execute(older, (&values[0], &values[1]))?;
            }
            match conn
                .prepare_cached(&target.insert)?
                .execute(params_from_iter(values))
            {
                Err(error) if is_misfit(&error) => continue,
                inserted => inserted?,
            };
            let row = RowId(cell.rowid);
            rescued.held.retain(|known| !is_video || *known != row);
            rescued.shortened.retain(|known| !is_video || *known != row);
            rescued.held.extend(held.then_some(row));
            rescued.shortened.extend(shortened.then_some(row));
            return Ok(());
        }
        Ok(())
    }

    /// Makes of the rows a database that the program can go on with.
    fn settle(&self, conn: &Connection, rescued: &mut Rescued) -> rusqlite::Result<()> {
        // Numbers of rows are not used again, whatever is left of them.
        conn.execute_batch(
            "BEGIN;
             INSERT INTO sqlite_sequence (name, seq) SELECT 'videos', 0
                WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'videos');
             UPDATE sqlite_sequence SET seq = max(seq, (SELECT coalesce(max(video), 0) FROM (
                SELECT video FROM files UNION ALL SELECT video FROM events UNION ALL SELECT video FROM messages)))
                WHERE name = 'videos';
             DELETE FROM files WHERE video NOT IN (SELECT id FROM videos);
             DELETE FROM events WHERE video NOT IN (SELECT id FROM videos);
             DELETE FROM hooks WHERE video NOT IN (SELECT id FROM videos);
             DELETE FROM webhooks WHERE video NOT IN (SELECT id FROM videos);
             DELETE FROM messages WHERE video NOT IN (SELECT id FROM videos);",
        )?;
        rescued.to_fetch = conn.execute(
            "INSERT INTO files (video, asset) SELECT id, 'video' FROM videos
             WHERE phase <> 'rejected' AND outcome IS NOT 'failed' AND id NOT IN (SELECT video FROM files)",
            [],
        )? as u64;
        conn.execute_batch("UPDATE videos SET phase = phase")?;
        rescued.videos = conn.query_row("SELECT count(*) FROM videos", [], |row| row.get(0))?;
        rescued.held.sort_unstable();
        rescued.shortened.sort_unstable();
        rescued.missing = conn
            .prepare(
                "SELECT before + 1, id - 1 FROM (SELECT id, lag(id, 1, 0) OVER (ORDER BY id) AS before FROM
                    (SELECT id FROM videos UNION ALL SELECT seq + 1 FROM sqlite_sequence WHERE name = 'videos'))
                 WHERE id > before + 1",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        self.say_held(conn, rescued)?;
        conn.execute_batch("COMMIT")
    }

    fn say_held(&self, conn: &Connection, rescued: &Rescued) -> rusqlite::Result<()> {
        let damaged = std::cell::RefCell::default();
        let tx = Tx {
            conn,
            path: Path::new(""),
            damaged: &damaged,
        };
        for row in &rescued.held {
            // A row that cannot be read as one is left alone by every run.
            if let Ok(Some(video)) = tx.video(*row) {
                tx.apply(&decide::expire(&video, Expiry::Rescued, self.now), self.now)
                    .ok();
            }
        }
        Ok(())
    }
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

/// It is no row of that table, or an older version of one that is there.
fn is_misfit(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch)
    )
}
