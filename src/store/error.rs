use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the database could not be used. Every variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no file at this path, or an empty one.
    #[error("there is no database at {}", path.display())]
    NoDatabase {
        /// The path looked at.
        path: PathBuf,
    },
    /// A SQLite database of another program.
    #[error("{} is a database of another program", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer version of this program.
    #[error("{} has schema {found}, this program knows up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// Older than this program and not writable, so it cannot be brought up to date.
    #[error("{} has schema {found} and must be upgraded to {known}, but cannot be written", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// SQLite says that the file is not a database or is damaged.
    #[error("the database {} is damaged: {detail}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// Another process held the write lock for the whole of our patience.
    #[error("the database {} is locked by another process", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// No room left on the device.
    #[error("no room left for the database {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// It can be read but not written.
    #[error("the database {} cannot be written", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file was moved, deleted or replaced while we had it open.
    #[error("the database {} was moved, deleted or replaced while it was in use", path.display())]
    Moved {
        /// Where it was.
        path: PathBuf,
    },
    /// The lock file cannot be used.
    #[error("the lock file {} cannot be used: {source}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file system refused.
    #[error("cannot open the database {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A setting did not take: this build of SQLite is not what the program needs.
    #[error("the database {} does not accept the setting {pragma}", path.display())]
    Pragma {
        /// The file.
        path: PathBuf,
        /// Its name.
        pragma: &'static str,
    },
    /// Anything else SQLite says.
    #[error("the database {} failed: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Its words.
        source: rusqlite::Error,
    },
}

impl StoreError {
    pub(super) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let extended = source.sqlite_error().map(|error| error.extended_code);
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt {
                path,
                detail: source.to_string(),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            // The shared-memory file cannot be made longer: SQLite's word for a full disk when it opens the log.
            _ if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => Self::Full { path },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
            _ => Self::Sqlite { path, source },
        }
    }
}
