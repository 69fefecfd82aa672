//! Opening: who may create, what is checked before anything is believed.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags};

use super::{APPLICATION_ID, Store, error, leaves, migrate};
use crate::disk;
use crate::error::{Problem, Result};
use crate::locks::{self, beside};

const SETUP_PATIENCE: Duration = Duration::from_secs(60);

const SMALLEST_PAGE: u64 = 512;

#[derive(Clone, Debug)]
pub struct Identity {
    path: PathBuf,
    file: FileId,
    /// That of the write-ahead log, which stays while somebody has the database open.
    log: Option<FileId>,
}

/// Device and inode.
type FileId = (u64, u64);

/// Size, and when its content or place last changed: seconds and nanoseconds.
pub(super) type FileState = (FileId, u64, (i64, i64));

pub(super) fn state_of(path: &Path) -> Option<FileState> {
    let found = fs::metadata(path).ok()?;
    let changed = (found.ctime(), found.ctime_nsec());
    Some(((found.dev(), found.ino()), found.len(), changed))
}

fn file_id(path: &Path) -> Option<FileId> {
    state_of(path).map(|(file, _, _)| file)
}

impl Identity {
    /// Whether the files opened are still those at their paths. What `SQLITE_FCNTL_HAS_MOVED` compares, without
    /// the unsafe call: in WAL mode a database renamed away goes on accepting commits that nobody will read, and one that
    /// was overwritten by a copy would get the pages of a log that is another's.
    pub fn check(&self) -> Result<()> {
        let is_log = |log| file_id(&beside(&self.path, "-wal")) == Some(log);
        if file_id(&self.path) == Some(self.file) && self.log.is_none_or(is_log) {
            Ok(())
        } else {
            Err(error::moved(&self.path))
        }
    }
}

pub fn make_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    DirBuilder::new().recursive(true).mode(0o700).create(parent)
}

pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    disk::sync_directory(path.parent().unwrap_or(Path::new("")))
}

/// Whether the file says that it is a database of ours, of a version we know; SQLite leaves traces where it looks.
fn header_is_ours(path: &Path) -> bool {
    let header = leaves::header(path).unwrap_or_default();
    let identity = leaves::identity(&header);
    identity.is_some_and(|(application, version)| {
        version > 0 && known_schema(path, application, version).is_ok()
    })
}

/// The version of a schema, if it is ours and not from the future.
pub(super) fn known_schema(path: &Path, application: i64, version: i64) -> Result<i64> {
    if application != i64::from(APPLICATION_ID) {
        Err(error::not_ours(path))
    } else if version > migrate::LATEST {
        Err(error::newer(path, version, migrate::LATEST))
    } else {
        Ok(version)
    }
}

/// SQLite can read what nobody may write, unless a crash left a log to replay. What cannot be read either was `refused`
/// before.
fn read_only(path: &Path, refused: Problem) -> Result<Store> {
    let Ok((version, store)) = look(path) else {
        return Err(refused);
    };
    match version {
        migrate::LATEST => Ok(store),
        // Else something other than its permissions keeps it from being upgraded.
        found if error::refusal(&store.path).is_some() => {
            Err(error::older(&store.path, found, migrate::LATEST))
        }
        _ => Err(refused),
    }
}

/// The schema version of a database that is only read.
fn look(path: &Path) -> Result<(i64, Store)> {
    let path = canonical(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let looked =
        Store::connect(&path, &path, flags).and_then(|store| Ok((store.version()?, store)));
    match looked {
        // Without a write-ahead log the main file is the whole truth.
        Err(_) if no_log_beside(&path) => {
            let name = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
            let uri = format!("file:{name}?immutable=1");
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            let store = Store::connect(Path::new(&uri), &path, flags)?;
            Ok((store.version()?, store))
        }
        looked => looked,
    }
}

fn no_log_beside(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).map_or(true, |meta| meta.len() == 0)
}

pub(super) fn canonical(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => error::none(path),
        _ => error::open(path, &source),
    })
}

/// For about a minute. SQLite's own handler backs off to 100 ms, which starves whoever waits beside a busy `check`.
fn nap(naps: i32) -> bool {
    let naps = naps.unsigned_abs();
    naps < 6000 && {
        std::thread::sleep(locks::nap(naps, 10));
        true
    }
}

impl Drop for Store {
    /// The last to close a database moves the log into it: not into one that was put in its place. But a log that was
    /// only deleted holds what is nowhere else.
    fn drop(&mut self) {
        if self.identity.check().is_err() {
            let only_deleted = !beside(&self.path, "-wal").exists()
                && self.seen.is_some()
                && state_of(&self.path) == self.seen;
            self.checkpoint_on_close(only_deleted).ok();
            if only_deleted {
                // Others that have it open may end without a chance to.
                let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
                self.conn.execute_batch(checkpoint).ok();
            }
        }
    }
}

impl Store {
    /// Opens the database, creating it (mode 0600) and its directory (mode 0700) when there is none.
    pub fn create(path: &Path) -> Result<Self> {
        let io_error = |source| error::open(path, &source);
        make_directory_of(path).map_err(io_error)?;
        // An empty file is a database without tables. SQLite gives -wal and -shm the mode of this file, so
        // creating it ourselves keeps all three private whatever the umask.
        let mut private = OpenOptions::new();
        private.write(true).create_new(true).mode(0o600);
        match private.open(path) {
            // Its name must outlive a power cut, too: SQLite makes durable what is in the file.
            Ok(_) => sync_directory_of(path).map_err(io_error)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(io_error(source)),
        }
        Self::writable(path, true)
    }

    /// Opens an existing database; `no_database` where there is none.
    pub fn open(path: &Path) -> Result<Self> {
        Self::writable(path, false)
    }

    /// Opens an existing database for looking only; works on read-only directories and mounts too.
    pub fn open_for_reading(path: &Path) -> Result<Self> {
        Self::open(path).or_else(|refused| match header_is_ours(path) {
            true => read_only(path, refused),
            false => Err(refused),
        })
    }

    /// Only who creates databases may fill an empty one: for everybody else it is a history that is gone, or not begun.
    fn writable(path: &Path, may_be_empty: bool) -> Result<Self> {
        let path = canonical(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut store = Self::connect(&path, &path, flags)?;
        let version = store.version()?;
        if version == 0 && !may_be_empty {
            return Err(error::none(&path));
        }
        store.checkpoint_on_close(true)?;
        if !store.is_set_up()? {
            let locks = store.locks()?;
            let _setup = locks.setup(SETUP_PATIENCE)?;
            // Of many that start at once one sets up; the others would only queue for the write lock meanwhile.
            if !store.is_set_up()? {
                store.set_up()?;
                // A witness that is older than the database is of another one.
                if version == 0 {
                    locks.set_witness(0);
                }
            }
        }
        store.configure()?;
        store.identity.log = file_id(&beside(&path, "-wal"));
        store.seen = state_of(&path);
        store.heed_witness()?;
        Ok(store)
    }

    /// Opens the file at `path`, which SQLite knows as `target`.
    fn connect(target: &Path, path: &Path, flags: OpenFlags) -> Result<Self> {
        let io_error = |source| error::open(path, &source);
        let sqlite_error = |source| error::sqlite(path, &source);
        let meta = fs::metadata(path).map_err(io_error)?;
        if !meta.is_file() {
            return Err(io_error(io::Error::other("not a regular file")));
        }
        // Each name of a file has a write-ahead log of its own beside it: two programs would not see each other.
        if meta.nlink() > 1 {
            return Err(error::linked(path, meta.nlink()));
        }
        // SQLite takes some of these for an empty database.
        if (1..SMALLEST_PAGE).contains(&meta.len()) {
            let why = format!("it has only {} bytes", meta.len());
            return Err(error::corrupt(path, &why));
        }
        let identity = Identity {
            path: path.to_owned(),
            file: (meta.dev(), meta.ino()),
            log: None,
        };
        let conn = Connection::open_with_flags(target, flags).map_err(sqlite_error)?;
        identity.check()?;
        conn.busy_handler(Some(nap)).map_err(sqlite_error)?;
        let store = Self {
            conn,
            path: path.to_owned(),
            identity,
            read_only: flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY),
            seen: None,
            damaged: std::cell::RefCell::default(),
            locks: std::cell::OnceCell::new(),
        };
        // Closing a database that turns out not to be ours must not move its log into it.
        store.checkpoint_on_close(no_log_beside(path))?;
        Ok(store)
    }

    /// The schema version, after making sure that the database is ours and not from the future.
    fn version(&self) -> Result<i64> {
        let (application, version, tables): (i64, i64, bool) = self.tx(&self.conn).one(
            "SELECT (SELECT application_id FROM pragma_application_id),
                        (SELECT user_version FROM pragma_user_version),
                        EXISTS (SELECT 1 FROM sqlite_schema)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        match (application, version, tables) {
            (0, 0, false) => Ok(0),
            _ => known_schema(&self.path, application, version),
        }
    }

    fn checkpoint_on_close(&self, yes: bool) -> Result<()> {
        self.conn
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !yes)
            .map(drop)
            .map_err(|e| self.error(e))
    }

    fn is_set_up(&self) -> Result<bool> {
        Ok(self.version()? == migrate::LATEST && self.is_wal()?)
    }

    fn is_wal(&self) -> Result<bool> {
        Ok(self.pragma::<String>("journal_mode")? == "wal")
    }

    /// Under the set-up lock: journal mode and migrations.
    fn set_up(&mut self) -> Result<()> {
        self.version()?;
        if !self.is_wal()? && self.pragma::<String>("journal_mode = WAL")? != "wal" {
            return Err(error::pragma(&self.path, "journal_mode"));
        }
        // Migrations are applied with the durability that every later commit has.
        self.configure()?;
        migrate::apply(&mut self.conn, migrate::LATEST).map_err(|e| error::sqlite(&self.path, &e))
    }

    /// Per-connection settings, read back: SQLite silently ignores a misspelt pragma.
    fn configure(&self) -> Result<()> {
        let full = 2;
        for (pragma, wanted) in [
            ("synchronous", full),
            ("foreign_keys", 1),
            ("trusted_schema", 0),
        ] {
            let set = format!("PRAGMA {pragma} = {wanted}");
            self.conn.execute_batch(&set).map_err(|e| self.error(e))?;
            if self.pragma::<i64>(pragma)? != wanted {
                return Err(error::pragma(&self.path, pragma));
            }
        }
        Ok(())
    }

    fn pragma<T: FromSql>(&self, pragma: &str) -> Result<T> {
        self.tx(&self.conn).value(&format!("PRAGMA {pragma}"), [])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_sqlite_has_no_wal_reset_bug() {
        // https://sqlite.org/wal.html, "The WAL-reset bug": fixed in 3.51.3.
        assert!(
            rusqlite::version_number() >= 3_051_003,
            "{}",
            rusqlite::version()
        );
    }

    #[test]
    fn a_database_that_was_replaced_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let mut store = Store::create(&path).unwrap();
        fs::rename(&path, dir.path().join("away.db")).unwrap();
        let refused = store.write(|_| Ok(())).unwrap_err();
        assert!(refused.message.contains("was moved, deleted"));
        Store::create(&path).unwrap();
        let refused = store.write(|_| Ok(())).unwrap_err();
        assert!(refused.message.contains("was moved, deleted"));
    }

    #[test]
    fn another_programs_database_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.db");
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(other);
        let before = fs::read(&path).unwrap();
        for result in [Store::create(&path), Store::open_for_reading(&path)] {
            assert!(result.err().unwrap().message.contains("another program"));
        }
        assert_eq!(before, fs::read(&path).unwrap());
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let store = Store::create(&path).unwrap();
        store
            .conn
            .execute_batch(&format!("PRAGMA user_version = {}", migrate::LATEST + 1))
            .unwrap();
        drop(store);
        for result in [Store::open(&path), Store::open_for_reading(&path)] {
            assert!(
                result
                    .err()
                    .unwrap()
                    .message
                    .contains("this program knows up to")
            );
        }
    }

    #[test]
    fn garbage_is_an_error_and_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        fs::write(&path, "this is no database, but it is long enough to have a header of 100 bytes ........................").unwrap();
        let before = fs::read(&path).unwrap();
        assert!(
            Store::create(&path)
                .err()
                .unwrap()
                .message
                .contains("is damaged")
        );
        assert_eq!(before, fs::read(&path).unwrap());
    }
}
