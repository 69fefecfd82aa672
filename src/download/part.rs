//! The part file: bytes on their way to becoming a file, under a random hidden name in the final directory.
//!
//! The ledger's record and the disk agree at every instant in this sense: no part exists that the record does not name,
//! and the first `bytes` of a recorded part are durable. More may be there; a missing or different part is started afresh.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::content::HEAD;
use super::error::{DownloadError, DownloadResult, Next};
use super::range::{self, Whole};
use super::{BUFFER, FileRequest, Ledger, hex};
use crate::video::{Part, RowId};

/// After this many new bytes the beginning is made durable and recorded. Twice this is what a crash can cost.
const CHECKPOINT: u64 = 16 * 1024 * 1024;
/// The same after this long: a slow line must not lose what a fast one would have recorded.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(3);
const SUFFIX: &str = ".part";

pub(super) struct PartFile<'a> {
    ledger: &'a dyn Ledger,
    path: PathBuf,
    /// Shared with the thread that syncs: a second descriptor may be one too many (`ulimit -n`).
    pub(super) file: Arc<File>,
    hash: Sha256,
    /// What the file holds, as it would be recorded; its name and validators never change.
    pub(super) now: Part,
    recorded: u64,
    recorded_at: Instant,
    /// A beginning on its way to the disk while more is being received, to be recorded when it is there.
    syncing: Option<(JoinHandle<io::Result<()>>, Part)>,
    /// A failed fsync is reported once and its pages then count as clean, so a later success proves nothing (fsync(2)).
    sync_failed: bool,
}

impl<'a> PartFile<'a> {
    fn new(request: &FileRequest<'a>, file: File, hash: Sha256, now: Part) -> Self {
        Self {
            ledger: request.ledger,
            path: request.dir.join(&now.name),
            file: Arc::new(file),
            hash,
            recorded: now.bytes,
            now,
            recorded_at: Instant::now(),
            syncing: None,
            sync_failed: false,
        }
    }

    /// A new, empty part. Recorded before it is created: a crash in between leaves a record of nothing, not a file
    /// nobody knows.
    pub(super) fn create(request: &FileRequest<'a>, whole: Whole) -> DownloadResult<Self> {
        let random = Uuid::new_v4().simple().to_string();
        let FileRequest { stem, row, .. } = request;
        let name = format!(".{stem}.{row}-{}{SUFFIX}", &random[..12]);
        let path = request.dir.join(&name);
        let hash = Sha256::new();
        let now = Part {
            name,
            bytes: 0,
            sha256: hex(hash.clone()),
            etag: whole.etag,
            total: whole.length,
        };
        request.ledger.part(Some(&now))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        match options.open(&path) {
            Ok(file) => Ok(Self::new(request, file, hash, now)),
            Err(error) => {
                request.ledger.part(None)?;
                Err(DownloadError::disk("create", &path)(error))
            }
        }
    }

    /// The recorded part, cut back to what was recorded; `None` when it is not that file any more or could not be
    /// resumed anyway.
    pub(super) fn reopen(request: &FileRequest<'a>) -> DownloadResult<Option<Self>> {
        let may_resume = |recorded: &&Part| {
            let strong = recorded.etag.as_deref().is_some_and(range::is_strong);
            let ours = is_part_of(&recorded.name, request.row, Some(request.stem));
            strong && recorded.bytes > 0 && ours
        };
        let Some(recorded) = request.part.as_ref().filter(may_resume) else {
            return Ok(None);
        };
        let path = request.dir.join(&recorded.name);
        let mut file = match open_own(&path, true) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            // Another user's, of whom only a beginning is lost.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
            Err(error) => return Err(DownloadError::disk("open", &path)(error)),
        };
        let mut read = || -> io::Result<Option<Sha256>> {
            let total = recorded.total.unwrap_or(u64::MAX);
            if !(recorded.bytes..=total).contains(&file.metadata()?.len()) {
                return Ok(None);
            }
            let hash = beginning(&mut file, recorded.bytes, &recorded.sha256)?;
            if hash.is_some() {
                file.set_len(recorded.bytes)?;
                file.seek(SeekFrom::Start(recorded.bytes))?;
            }
            Ok(hash)
        };
        let hash = read().map_err(DownloadError::disk("read", &path))?;
        Ok(hash.map(|hash| Self::new(request, file, hash, recorded.clone())))
    }

    pub(super) fn head(&self) -> DownloadResult<Vec<u8>> {
        let wanted = usize::try_from(self.now.bytes).map_or(HEAD, |bytes| bytes.min(HEAD));
        let mut head = vec![0; wanted];
        let read = self.file.read_at(&mut head, 0);
        head.truncate(read.map_err(DownloadError::disk("read", &self.path))?);
        Ok(head)
    }

    /// Appends; every 16 MiB, or few seconds, what is there is made durable in the background, and recorded when it is.
    pub(super) fn write(&mut self, bytes: &[u8]) -> DownloadResult<()> {
        let found = self.file.metadata();
        let found = found.map_err(DownloadError::disk("look at", &self.path))?;
        // Cut shorter by another program, it would get a hole here and its right length again.
        if found.len() != self.now.bytes {
            return Err(self.meddled());
        }
        let written = self.file.write_all(bytes);
        written.map_err(DownloadError::disk("write", &self.path))?;
        self.hash.update(bytes);
        self.now.bytes += bytes.len() as u64;
        // Without a validator nothing could be resumed from it.
        if self.now.etag.is_none() {
            return Ok(());
        }
        let pending = self.now.bytes - self.recorded;
        // A disk slower than the network is waited for: no more than two steps are ever at stake.
        let wait = pending >= 2 * CHECKPOINT;
        let due = pending >= CHECKPOINT || self.recorded_at.elapsed() >= CHECKPOINT_EVERY;
        match &self.syncing {
            Some((thread, _)) if wait || thread.is_finished() => self.synced(),
            None if due => {
                let file = Arc::clone(&self.file);
                match thread::Builder::new().spawn(move || file.sync_data()) {
                    Ok(thread) => self.syncing = Some((thread, self.so_far())),
                    // No thread to be had: in the foreground, then.
                    Err(_) => self.record()?,
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn so_far(&self) -> Part {
        Part {
            sha256: hex(self.hash.clone()),
            ..self.now.clone()
        }
    }

    /// Waits for the sync under way, if any, and records what it made durable.
    fn synced(&mut self) -> DownloadResult<()> {
        let Some((thread, beginning)) = self.syncing.take() else {
            return Ok(());
        };
        let result = thread.join();
        let result = result.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        self.note(result, &beginning)
    }

    fn record(&mut self) -> DownloadResult<()> {
        self.synced()?;
        let result = self.file.sync_data();
        self.note(result, &self.so_far())
    }

    fn note(&mut self, sync: io::Result<()>, durable: &Part) -> DownloadResult<()> {
        self.checked(sync)?;
        self.ledger.part(Some(durable))?;
        self.recorded = durable.bytes;
        self.recorded_at = Instant::now();
        Ok(())
    }

    fn checked(&mut self, sync: io::Result<()>) -> DownloadResult<()> {
        self.sync_failed |= sync.is_err();
        sync.map_err(DownloadError::disk("sync", &self.path))
    }

    /// Nothing of it may be resumed: it is not what it was taken for.
    pub(super) fn distrust(&mut self) {
        self.now.etag = None;
    }

    fn meddled(&mut self) -> DownloadError {
        self.distrust();
        DownloadError::meddled(&self.path)
    }

    /// Complete: durable, with a final file's permissions. Returns its digest.
    pub(super) fn seal(&mut self, mode: fs::Permissions) -> DownloadResult<String> {
        self.synced()?;
        match self.file.set_permissions(mode) {
            // FAT and its kind have no permissions to set.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            result => result.map_err(DownloadError::disk("set permissions of", &self.path))?,
        }
        let result = self.file.sync_all();
        self.checked(result)?;
        // Only what was written here is published: the name must still lead to it, and to it alone.
        match is_under(&self.file, &self.path, self.now.bytes) {
            Ok(false) => Err(self.meddled()),
            found => found.map_err(DownloadError::disk("look at", &self.path)),
        }?;
        Ok(hex(self.hash.clone()))
    }

    /// Leaves as much as can be resumed, recorded exactly, and returns why it ended; the ledger failing comes first.
    pub(super) fn end(mut self, error: DownloadError) -> DownloadError {
        if error.next == Next::Unrecorded {
            return error;
        }
        if self.now.etag.is_none() || self.now.bytes == 0 {
            return self.discard().err().unwrap_or(error);
        }
        // A failed write may have added a piece that is not in the hash.
        if self.file.set_len(self.now.bytes).is_ok() && !self.sync_failed {
            match self.record() {
                Ok(()) => return error,
                Err(error) if error.next == Next::Unrecorded => return error,
                Err(_) => {}
            }
        }
        if self.recorded == 0 {
            return self.discard().err().unwrap_or(error);
        }
        // Only what an earlier sync covered is trusted. If it cannot be cut back now, `reopen` does.
        self.file.set_len(self.recorded).ok();
        error
    }

    fn discard(&self) -> DownloadResult<()> {
        discard_in(&self.path)?;
        self.ledger.part(None)
    }
}

/// Removes the part file `part_name` of `dir`. Only a regular file that is named like a part of this row is touched;
/// links are never followed, a missing file is fine.
pub(crate) fn discard(dir: &Path, part_name: &str, row: RowId) -> DownloadResult<()> {
    if is_part_of(part_name, row, None) {
        discard_in(&dir.join(part_name))?;
    }
    Ok(())
}

fn discard_in(path: &Path) -> DownloadResult<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => fs::remove_file(path),
        found => found.map(drop),
    };
    match removed {
        Err(error) if is_missing(&error) => Ok(()),
        result => result.map_err(DownloadError::disk("remove", path)),
    }
}

/// Whether a part's recorded name is one that this row would give it: `.STEM.ROW-RANDOM.part`. Names of earlier
/// versions, `.STEM.RANDOM.part`, say nothing about the row; with `stem` they must at least begin with it.
pub(super) fn is_part_of(name: &str, row: RowId, stem: Option<&str>) -> bool {
    let inner = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(SUFFIX));
    let Some((start, end)) = inner.and_then(|inner| inner.rsplit_once('.')) else {
        return false;
    };
    let ours = match end.split_once('-') {
        Some((number, _)) => number == row.to_string(),
        None => stem.is_none_or(|stem| stem == start),
    };
    ours && !name.contains(['/', '\0'])
}

pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Opens a regular file that nobody else has a name for; `None` when there is no such file. Never follows a link and
/// never waits for a FIFO.
pub(super) fn open_own(path: &Path, write: bool) -> io::Result<Option<File>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.nlink() == 1 => {}
        Ok(_) => return Ok(None),
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    }
    let file = OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)?;
    // Looked at again through the descriptor: the name may have changed hands since.
    let found = file.metadata()?;
    Ok((found.is_file() && found.nlink() == 1).then_some(file))
}

/// Whether `path` is the name, and the only one, of the open `file`, and that has exactly `bytes` bytes.
pub(super) fn is_under(file: &File, path: &Path, bytes: u64) -> io::Result<bool> {
    let named = match fs::symlink_metadata(path) {
        Err(error) if is_missing(&error) => return Ok(false),
        found => found?,
    };
    let open = file.metadata()?;
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino())
        && open.nlink() == 1
        && open.len() == bytes)
}

/// The hash of the first `bytes` bytes of `file`, if this is their digest.
pub(super) fn beginning(file: &mut File, bytes: u64, sha256: &str) -> io::Result<Option<Sha256>> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut left = bytes;
    while left > 0 {
        let wanted = usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER));
        file.read_exact(&mut buffer[..wanted])?;
        hash.update(&buffer[..wanted]);
        left -= wanted as u64;
    }
    Ok((hex(hash.clone()) == sha256).then_some(hash))
}

pub(super) fn is_whole(file: &mut File, bytes: u64, sha256: &str) -> io::Result<bool> {
    Ok(file.metadata()?.len() == bytes && beginning(file, bytes, sha256)?.is_some())
}
