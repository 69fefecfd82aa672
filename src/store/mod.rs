//! The durable record: one SQLite database, and every SQL statement of the program.
//!
//! # Shape
//! [`Store`] owns the one connection of this process and belongs to the main thread; worker threads never see it.
//! All statements are typed methods of [`Tx`], one file per table, run inside [`Store::read`] or [`Store::write`].
//! No transaction is ever held across network or file I/O.
//!
//! # Durability
//! WAL with `synchronous=FULL`: when [`Store::write`] returns, the change survives a power cut, and readers never
//! block writers. Callers group: everything that arrived since the last commit goes into the next one.
//!
//! # Concurrency
//! Writers queue for SQLite's one write lock: one of them asks for it, for about a minute, the others wait for their turn
//! to ask ([`Locks::queue`]).
//! Changes of state are compare-and-swap on `videos.rev` (see [`Tx::update`]), so an old answer never overwrites a
//! newer one. Creating, switching to WAL and migrating happen under a kernel lock ([`crate::locks`]), because SQLite's
//! busy handler is not asked while the journal mode changes.
//!
//! # Compatibility
//! `application_id` tells our databases from others, `user_version` is the number of migrations applied. A newer or
//! foreign database is refused untouched; a damaged one is an error naming the file and is never recreated.

mod error;
mod events;
mod files;
mod health;
mod hooks;
mod leaves;
mod listing;
mod messages;
mod migrate;
mod open;
mod rescue;
mod row;
mod runs;
mod stats;
mod videos;
mod webhooks;
mod witness;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::types::FromSql;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, params_from_iter};

pub use error::{corrupt, is_for_doctor};
pub use health::CHECKED;
pub use hooks::DueHook;
pub use listing::Filter;
pub(crate) use messages::OutgoingMessage;
pub use migrate::LATEST as SCHEMA_VERSION;
pub use open::{Identity, make_directory_of};
pub use rescue::{Rescued, rescue};
pub use runs::Trouble;
pub use stats::{Group, RenderTimes, Stats};
pub use videos::{Asked, NewVideo, OpenWork};
pub use webhooks::{PendingWebhook, Taken};

pub use rusqlite::version as sqlite_version;

use crate::error::{Problem, Result};
use crate::locks::Locks;
use crate::video::RowId;
use row::Column;

/// `PRAGMA application_id` of our databases: "HGTr" in ASCII.
pub const APPLICATION_ID: i32 = 0x4847_5472;

pub struct Store {
    conn: Connection,
    path: PathBuf,
    identity: Identity,
    read_only: bool,
    /// The database file as this program alone left it; `None` once somebody else changed it.
    seen: Option<open::FileState>,
    damaged: RefCell<BTreeMap<RowId, String>>,
    /// Opened once: where locks belong to the process, closing a second handle would drop them all.
    locks: OnceCell<Locks>,
}

pub struct Tx<'a> {
    conn: &'a Connection,
    path: &'a Path,
    damaged: &'a RefCell<BTreeMap<RowId, String>>,
}

impl Store {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn locks(&self) -> Result<Locks> {
        if let Some(locks) = self.locks.get() {
            return Ok(locks.clone());
        }
        let locks = Locks::open(&self.path)?;
        Ok(self.locks.get_or_init(|| locks).clone())
    }

    /// What tells this database file from one put in its place; can be asked from any thread.
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    pub fn read<T>(&self, look: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        let snapshot = self
            .conn
            .unchecked_transaction()
            .map_err(|e| self.error(e))?;
        look(&self.tx(&snapshot)).map_err(|problem| self.reason(problem))
    }

    /// Runs `change` in one transaction that is durable when this returns; an error rolls all of it back. It is an error,
    /// too, when the file is no longer where it was opened: the commit then went into one that nobody will read.
    pub fn write<T>(&mut self, change: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        if self.read_only {
            return Err(error::read_only(&self.path));
        }
        self.identity.check()?;
        // That it cannot queue is no reason not to write.
        let locks = self.locks().ok();
        let next = locks
            .as_ref()
            .and_then(|locks| locks.queue().ok().flatten());
        let transaction = self.begin(locks.as_ref())?;
        drop(next);
        let is_same = open::state_of(&self.path) == self.seen;
        let tx = self.tx(&transaction);
        let value = change(&tx).map_err(|problem| self.reason(problem))?;
        // What cannot be read here is told better by the commit and by the look at the file.
        let newest_event = tx.newest_event();
        transaction.commit().map_err(|e| self.error(e))?;
        self.identity.check()?;
        self.seen = is_same.then(|| open::state_of(&self.path)).flatten();
        if let (Some(locks), Ok(newest)) = (locks, newest_event) {
            locks.set_witness(newest);
        }
        Ok(value)
    }

    /// The rows that were to be read since the database was opened and could not be, with the reason. They are left
    /// alone, as if they were not there: the others go on.
    pub fn damaged(&self) -> Vec<(RowId, String)> {
        self.damaged.borrow().clone().into_iter().collect()
    }

    pub fn integrity_check(&self) -> Result<Option<String>> {
        let complaints: Vec<String> = self
            .tx(&self.conn)
            .values("PRAGMA integrity_check(10)", [])?;
        Ok((complaints != ["ok"]).then(|| complaints.join("; ")))
    }

    fn tx<'a>(&'a self, conn: &'a Connection) -> Tx<'a> {
        Tx {
            conn,
            path: &self.path,
            damaged: &self.damaged,
        }
    }

    fn error(&self, source: rusqlite::Error) -> Problem {
        self.reason(error::sqlite(&self.path, &source))
    }

    /// A database that is being replaced looks damaged.
    fn reason(&self, problem: Problem) -> Problem {
        self.identity.check().err().unwrap_or(problem)
    }
}

impl Tx<'_> {
    /// Runs `change` so that an error undoes what it did, and nothing that was done before it in this transaction.
    /// `Ok(Err(_))` is a fault of one row's ([`Problem::one_row`]): whoever records many rows goes on with the next.
    pub fn apart<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<Result<T>> {
        self.run("SAVEPOINT apart", [])?;
        let outcome = change();
        if outcome.is_err() {
            // Fails only where the whole transaction was rolled back, which the outcome then says.
            self.run("ROLLBACK TO apart", []).ok();
        }
        match outcome {
            Err(problem) if !problem.one_row => Err(problem),
            outcome => self.run("RELEASE apart", []).map(|()| outcome),
        }
    }
}

#[cfg(test)]
thread_local! {
    /// What was asked, for the test that no plan depends on statistics.
    static QUERIES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Tx<'_> {
    fn query<T>(
        &self,
        sql: &str,
        run: impl FnOnce(&mut CachedStatement<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        #[cfg(test)]
        QUERIES.with_borrow_mut(|queries| queries.push(sql.to_owned()));
        let prepared = self.conn.prepare_cached(sql);
        let result = prepared.and_then(|mut statement| run(&mut statement));
        result.map_err(|source| error::sqlite(self.path, &source))
    }

    fn run(&self, sql: &str, params: impl Params) -> Result<()> {
        self.changed(sql, params).map(drop)
    }

    fn changed(&self, sql: &str, params: impl Params) -> Result<bool> {
        self.query(sql, |statement| Ok(statement.execute(params)? > 0))
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.query(sql, |statement| statement.query_row(params, map))
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.query(sql, |statement| statement.query_map(params, map)?.collect())
    }

    fn value<T: FromSql>(&self, sql: &str, params: impl Params) -> Result<T> {
        self.one(sql, params, |row| row.get(0))
    }

    fn value_if_any<T: FromSql>(&self, sql: &str, params: impl Params) -> Result<Option<T>> {
        self.query(sql, |statement| {
            statement.query_row(params, |row| row.get(0)).optional()
        })
    }

    fn values<T: FromSql>(&self, sql: &str, params: impl Params) -> Result<Vec<T>> {
        self.all(sql, params, |row| row.get(0))
    }

    fn exists(&self, from: &str, params: impl Params) -> Result<bool> {
        self.value(&format!("SELECT EXISTS (SELECT 1 FROM {from})"), params)
    }

    /// Writes a row whether it is there or not; the columns of `key` say which one.
    fn upsert(&self, table: &str, key: &str, columns: &[Column<'_>]) -> Result<()> {
        let set = columns
            .iter()
            .map(|(name, _)| format!("{name} = excluded.{name}"));
        let set = set.collect::<Vec<_>>().join(", ");
        let insert = insert_into(table, columns);
        let sql = format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {set}");
        self.run(&sql, values(columns))
    }

    /// Like [`Tx::all`], leaving out rows that cannot be read; their first column is the row's number. Also tells how
    /// many there were with them.
    fn readable<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<(Vec<T>, Option<RowId>, usize)> {
        let (mut last, mut count) = (None, 0);
        let found = self.all(sql, params, |row| {
            let id: RowId = row.get(0)?;
            (last, count) = (Some(id), count + 1);
            match map(row) {
                Ok(value) => Ok(Some(value)),
                Err(error) if error::is_one_rows(None, &error) => {
                    self.set_damaged(id, error::in_words(&error));
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })?;
        Ok((found.into_iter().flatten().collect(), last, count))
    }

    fn set_damaged(&self, row: RowId, why: impl Into<String>) {
        self.damaged.borrow_mut().insert(row, why.into());
    }
}

fn insert_into(table: &str, columns: &[Column<'_>]) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let (marks, names) = (vec!["?"; names.len()].join(", "), names.join(", "));
    format!("INSERT INTO {table} ({names}) VALUES ({marks})")
}

fn values(columns: &[Column<'_>]) -> impl Params {
    params_from_iter(columns.iter().map(|(_, value)| value))
}
