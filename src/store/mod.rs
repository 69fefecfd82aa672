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
//! Writers queue for SQLite's one write lock through a busy handler that looks every millisecond, for at most 30 s.
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
mod listing;
mod migrate;
mod open;
mod row;
mod runs;
mod stats;
mod videos;
mod webhooks;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

pub use error::StoreError;
pub use health::{Pulse, schema_version, sqlite_version};
pub use hooks::DueHook;
pub use listing::{Filter, Found};
pub use open::Identity;
pub use runs::Trouble;
pub use stats::{Month, RenderTimes, Stats};
pub use videos::{Added, NewVideo, OpenWork, UnfinishedRow};
pub use webhooks::{PendingWebhook, Taken};

use crate::locks::Locks;

/// `PRAGMA application_id` of our databases: "HGTr" in ASCII.
pub const APPLICATION_ID: i32 = 0x4847_5472;

/// An open database.
pub struct Store {
    conn: Connection,
    path: PathBuf,
    identity: Identity,
    read_only: bool,
    /// Opened once: where locks belong to the process, closing a second handle would drop them all.
    locks: OnceCell<Locks>,
}

/// The statements that can run inside [`Store::read`] and [`Store::write`].
pub struct Tx<'a> {
    conn: &'a Connection,
}

impl Store {
    /// Opens the database, creating it (mode 0600) and its directory (mode 0700) when there is none.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        open::create(path)
    }

    /// Opens an existing database for reading and writing.
    ///
    /// # Errors
    /// [`StoreError::NoDatabase`] when there is no file at `path`; nothing is created.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        open::existing(path)
    }

    /// Opens an existing database for looking only; works on read-only directories and mounts too.
    pub fn open_for_reading(path: &Path) -> Result<Self, StoreError> {
        open::for_reading(path)
    }

    /// The canonical path of the database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock file that belongs to this database.
    pub fn locks(&self) -> Result<Locks, StoreError> {
        if let Some(locks) = self.locks.get() {
            return Ok(locks.clone());
        }
        let locks = Locks::open(&self.path).map_err(|source| StoreError::Lock {
            path: crate::locks::lock_path(&self.path),
            source,
        })?;
        Ok(self.locks.get_or_init(|| locks).clone())
    }

    /// What tells this database file from one put in its place; can be asked from any thread.
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Runs `look` on a consistent snapshot.
    pub fn read<T>(
        &self,
        look: impl FnOnce(&Tx<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let snapshot = self
            .conn
            .unchecked_transaction()
            .map_err(|e| self.error(e))?;
        look(&Tx { conn: &snapshot }).map_err(|e| self.error(e))
    }

    /// Runs `change` in one transaction that is durable when this returns; an error rolls all of it back.
    ///
    /// # Errors
    /// [`StoreError::Moved`] when the file is no longer where it was opened: the commit then went into a file that
    /// nobody will read, and nothing may be built on it.
    pub fn write<T>(
        &mut self,
        change: impl FnOnce(&Tx<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.write_checked(|tx| change(tx).map(Ok)).map(
            |never: Result<T, std::convert::Infallible>| match never {
                Ok(value) => value,
                Err(impossible) => match impossible {},
            },
        )
    }

    /// Like [`Store::write`], for changes that may be called off: an inner `Err` rolls back and is handed on.
    pub fn write_checked<T, E>(
        &mut self,
        change: impl FnOnce(&Tx<'_>) -> rusqlite::Result<Result<T, E>>,
    ) -> Result<Result<T, E>, StoreError> {
        if self.read_only {
            return Err(StoreError::ReadOnly {
                path: self.path.clone(),
            });
        }
        let result = (|| {
            let transaction = self
                .conn
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcome = change(&Tx { conn: &transaction })?;
            if outcome.is_ok() {
                transaction.commit()?;
            }
            Ok(outcome)
        })();
        let outcome = result.map_err(|e| self.error(e))?;
        self.identity.check()?;
        Ok(outcome)
    }

    /// SQLite's own integrity check: `Ok(None)` when all is well, else its first complaints.
    pub fn integrity_check(&self) -> Result<Option<String>, StoreError> {
        let complaints: Vec<String> = self
            .conn
            .prepare("PRAGMA integrity_check(10)")
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| row.get(0))?
                    .collect::<rusqlite::Result<_>>()
            })
            .map_err(|e| self.error(e))?;
        Ok((complaints != ["ok"]).then(|| complaints.join("; ")))
    }

    fn error(&self, source: rusqlite::Error) -> StoreError {
        StoreError::from_sqlite(&self.path, source)
    }
}
