//! Kernel locks: who sends a row, who saves its files, who sets up the database.
//!
//! All locks are byte ranges of one file beside the database, `<database>-lock`, which holds nothing but a witness of
//! how far the database had come, and is never removed. The kernel frees them when the process ends, however it ends.
//! On Linux they are open-file-description locks (`fcntl(2)`): they belong to this one [`File`], not to the process, so
//! no other file handle closed in this process can drop them. Elsewhere they are POSIX record locks, which is the same
//! as long as this file is opened once per process, as it is.
//!
//! A row's two locks are two bytes in two regions, so that locking a run of rows stays one range in the kernel.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;

use crate::error::{Problem, Result};
use crate::video::RowId;

/// What a row is locked for. Each has a region of its own, which begins at this power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Send = 40,
    Save = 41,
    /// By the hook's number.
    Hook = 42,
}

const SETUP: libc::off_t = 0;
const QUEUE: libc::off_t = 1;

/// The witness: where it lies, and what it begins with.
const WITNESS_AT: u64 = 8;
const WITNESS: [u8; 8] = *b"witness:";

/// How far the database had come when that was last written beside it; 0 where it never was.
pub(crate) fn witness(database: &Path) -> i64 {
    let mut look = OpenOptions::new();
    look.read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    look.open(beside(database, "-lock"))
        .map_or(0, |file| witness_in(&file))
}

fn witness_in(file: &File) -> i64 {
    let mut found = [0; 16];
    let read = file.read_exact_at(&mut found, WITNESS_AT);
    let (mark, number) = found.split_at(WITNESS.len());
    match number.try_into() {
        Ok(number) if read.is_ok() && mark == WITNESS => i64::from_be_bytes(number),
        _ => 0,
    }
}

#[derive(Clone, Debug)]
pub struct Locks {
    file: Arc<File>,
    path: Arc<Path>,
}

#[derive(Debug)]
#[must_use = "a lock that is dropped at once protects nothing"]
pub struct Guard {
    file: Arc<File>,
    offset: libc::off_t,
}

impl Locks {
    /// Opens the lock file of the database at `database`, creating it for those who may use the database.
    pub fn open(database: &Path) -> Result<Self> {
        let path = beside(database, "-lock");
        let is_new = !path.exists();
        let locks = Self::at(&path)?;
        if is_new && let Ok(owner) = fs::metadata(database) {
            // As SQLite does with its log: a check by root must not lock out whose database it is.
            let given = fchown(&*locks.file, Some(owner.uid()), Some(owner.gid()));
            if given.is_ok() {
                let mode = Permissions::from_mode(owner.mode() & 0o660 | 0o600);
                locks.file.set_permissions(mode).ok();
            }
        }
        Ok(locks)
    }

    fn at(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .map_err(|source| Problem::lock(path, &source))?;
        Ok(Self {
            file: Arc::new(file),
            path: path.into(),
        })
    }

    /// A lock that a command can hold on to ([`Guard::hand_on`]) when this process is killed. Where locks belong to
    /// the process that is not to be had.
    pub fn try_apart(&self, purpose: Purpose, row: RowId) -> Result<Option<Guard>> {
        let apart = cfg!(target_os = "linux").then(|| Self::at(&self.path));
        apart
            .unwrap_or_else(|| Ok(self.clone()))?
            .try_row(purpose, row)
    }

    pub(crate) fn witness(&self) -> i64 {
        witness_in(&self.file)
    }

    /// Notes how far the database has come. Whether that succeeds matters only after somebody puts a backup back.
    pub fn set_witness(&self, number: i64) {
        if number == self.witness() {
            return;
        }
        let bytes = [WITNESS, number.to_be_bytes()].concat();
        self.file.write_all_at(&bytes, WITNESS_AT).ok();
    }

    pub fn try_row(&self, purpose: Purpose, row: RowId) -> Result<Option<Guard>> {
        let base: libc::off_t = 1 << purpose as u32;
        self.try_byte(base.saturating_add(row.0))
    }

    /// Takes the lock under which the database is created and migrated.
    pub fn setup(&self, patience: Duration) -> Result<Guard> {
        self.wait_for(SETUP, patience)?
            .ok_or_else(|| Problem::lock(&self.path, &io::ErrorKind::TimedOut.into()))
    }

    /// Waits to be the next to ask for the database's write lock. Hundreds that asked at once would spend their time
    /// on asking. `None`: whoever is the next takes too long; ask beside it.
    pub(crate) fn queue(&self) -> Result<Option<Guard>> {
        self.wait_for(QUEUE, QUEUE_PATIENCE)
    }

    /// Waits up to `patience`, anew whenever the database has got further: that there are many is no reason to give up.
    fn wait_for(&self, byte: libc::off_t, patience: Duration) -> Result<Option<Guard>> {
        let (mut deadline, mut seen) = (Instant::now() + patience, [0; 16]);
        for naps in 0.. {
            if let Some(guard) = self.try_byte(byte)? {
                return Ok(Some(guard));
            }
            let before = std::mem::take(&mut seen);
            self.file.read_exact_at(&mut seen, WITNESS_AT).ok();
            if seen != before {
                deadline = Instant::now() + patience;
            } else if Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(nap(naps, 250));
        }
        Ok(None)
    }

    fn try_byte(&self, offset: libc::off_t) -> Result<Option<Guard>> {
        match set_lock(&self.file, offset, libc::F_WRLCK) {
            Ok(()) => Ok(Some(Guard {
                file: Arc::clone(&self.file),
                offset,
            })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(errno) => Err(Problem::lock(&self.path, &errno.into())),
        }
    }
}

impl Guard {
    /// Whether commands that are started from now on hold the lock as well, for as long as they run.
    pub fn hand_on(&self, yes: bool) {
        let flag = if yes {
            FdFlag::empty()
        } else {
            FdFlag::FD_CLOEXEC
        };
        fcntl(&*self.file, FcntlArg::F_SETFD(flag)).ok();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Freeing a lock we hold cannot fail; if it did, the end of the process would free it.
        set_lock(&self.file, self.offset, libc::F_UNLCK).ok();
    }
}

/// Who is stopped while it is the next holds nobody up for longer.
const QUEUE_PATIENCE: Duration = Duration::from_secs(10);

/// How long to sleep before looking again whether something is free: the longer the longer it takes, up to about
/// `most` milliseconds, since many that look often leave no processor to the one they wait for; never in step.
pub(crate) fn nap(naps: u32, most: u32) -> Duration {
    Duration::from_millis(u64::from(naps.clamp(1, most))).mul_f64(0.5 + fastrand::f64())
}

/// `<database>-lock` and the like, in the manner of SQLite's own `-wal` and `-shm`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the C types differ between systems"
)]
fn set_lock(file: &File, offset: libc::off_t, kind: libc::c_int) -> Result<(), Errno> {
    let range = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset,
        l_len: 1,
        l_pid: 0,
    };
    #[cfg(target_os = "linux")]
    let command = FcntlArg::F_OFD_SETLK(&range);
    #[cfg(not(target_os = "linux"))]
    let command = FcntlArg::F_SETLK(&range);
    fcntl(file, command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_held_by_one_handle_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("t.db");
        let (one, two) = (
            Locks::open(&database).unwrap(),
            Locks::open(&database).unwrap(),
        );
        let guard = one.try_row(Purpose::Send, RowId(7)).unwrap();
        assert!(guard.is_some());
        if cfg!(target_os = "linux") {
            assert!(two.try_row(Purpose::Send, RowId(7)).unwrap().is_none());
        }
        assert!(two.try_row(Purpose::Save, RowId(7)).unwrap().is_some());
        assert!(two.try_row(Purpose::Send, RowId(8)).unwrap().is_some());
        drop(guard);
        assert!(two.try_row(Purpose::Send, RowId(7)).unwrap().is_some());
    }

    #[test]
    fn freeing_one_row_keeps_its_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("t.db");
        let (one, two) = (
            Locks::open(&database).unwrap(),
            Locks::open(&database).unwrap(),
        );
        let mut guards: Vec<_> = (1..=3)
            .map(|id| one.try_row(Purpose::Send, RowId(id)).unwrap())
            .collect();
        drop(guards.remove(1));
        if cfg!(target_os = "linux") {
            assert!(two.try_row(Purpose::Send, RowId(1)).unwrap().is_none());
            assert!(two.try_row(Purpose::Send, RowId(3)).unwrap().is_none());
        }
        assert!(two.try_row(Purpose::Send, RowId(2)).unwrap().is_some());
    }
}
