//! From a complete part file to the final name: never replacing, and the same again after a crash.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::fcntl::OFlag;

use super::error::{DownloadError, DownloadResult};
use super::part::{self, is_missing, is_under, is_whole};
use crate::disk;
use crate::video::RowId;

/// A complete file, durable under its part name and about to get, or already having, its final one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    /// The part file's name within the directory of `path`.
    pub(crate) part_name: String,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub sha256: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// The final name already has exactly this content; it is durable now and no part is left.
    Adopted,
    Published,
    /// Neither is there; no part is left, the download starts again.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDisk {
    Intact,
    Missing,
    Changed,
}

/// Whether `path` is a regular file of `bytes` bytes with this digest. Follows no link; reads the file only if its
/// size is right. That it cannot be looked at says nothing about it.
pub(crate) fn verify(path: &Path, bytes: u64, sha256: &str) -> io::Result<OnDisk> {
    let matches = || -> io::Result<bool> {
        let found = fs::symlink_metadata(path)?;
        if !found.is_file() || found.len() != bytes {
            return Ok(false);
        }
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(path)?;
        is_whole(&mut file, bytes, sha256)
    };
    match matches() {
        Ok(true) => Ok(OnDisk::Intact),
        Ok(false) => Ok(OnDisk::Changed),
        Err(error) if is_missing(&error) => Ok(OnDisk::Missing),
        // It became shorter while it was read.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(OnDisk::Changed),
        Err(error) => Err(error),
    }
}

impl Finished {
    fn verify(&self) -> DownloadResult<OnDisk> {
        verify(&self.path, self.bytes, &self.sha256)
            .map_err(DownloadError::disk("read", &self.path))
    }
}

/// Finishes what a crash, or a taken final name, left behind once `finished` was recorded. `replace`: a regular file
/// with other content may go.
pub(crate) fn recover(
    dir: &Path,
    row: RowId,
    finished: &Finished,
    replace: bool,
) -> DownloadResult<Recovered> {
    if finished.verify()? == OnDisk::Intact {
        return adopt(dir, row, finished).map(|()| Recovered::Adopted);
    }
    let Some(part) = complete_part(dir, row, finished)? else {
        part::discard(dir, &finished.part_name, row)?;
        return Ok(Recovered::Lost);
    };
    place(dir, row, &part, finished, replace).map(|()| Recovered::Published)
}

fn complete_part(dir: &Path, row: RowId, finished: &Finished) -> DownloadResult<Option<File>> {
    if !part::is_part_of(&finished.part_name, row, None) {
        return Ok(None);
    }
    let path = dir.join(&finished.part_name);
    let complete = || -> io::Result<Option<File>> {
        let Some(mut file) = part::open_own(&path, false)? else {
            return Ok(None);
        };
        let whole = is_whole(&mut file, finished.bytes, &finished.sha256)?;
        Ok(whole.then_some(file))
    };
    complete().map_err(DownloadError::disk("read", &path))
}

/// Gives the complete `part` its final name, or finds that name already has the same content. A crash before the rename
/// leaves the part, one after it the final file; `recover` tells them apart by the digest.
pub(super) fn place(
    dir: &Path,
    row: RowId,
    part: &File,
    finished: &Finished,
    replace: bool,
) -> DownloadResult<()> {
    let path = dir.join(&finished.part_name);
    let is_ours = |name: &Path| {
        is_under(part, name, finished.bytes).map_err(DownloadError::disk("look at", name))
    };
    if !is_ours(&path)? {
        return Err(DownloadError::meddled(&path));
    }
    let renamed = match rename_new(&path, &finished.path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match finished.verify()? {
            OnDisk::Intact => return adopt(dir, row, finished),
            // Atomic: at every instant the name has the old file or the new one.
            OnDisk::Changed if replace && is_regular(&finished.path) => {
                fs::rename(&path, &finished.path)
            }
            OnDisk::Changed | OnDisk::Missing => return Err(DownloadError::taken(&finished.path)),
        },
        renamed => renamed,
    };
    renamed.map_err(DownloadError::disk("rename to", &finished.path))?;
    // Whatever came under the part's name between the look at it and its renaming must not keep the final one.
    if !is_ours(&finished.path)? {
        rename_new(&finished.path, &path)
            .map_err(DownloadError::disk("rename back", &finished.path))?;
        return Err(DownloadError::meddled(&path));
    }
    sync_dir(dir)
}

fn is_regular(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// The final name is right, but perhaps not durable yet, and the part may still be there.
fn adopt(dir: &Path, row: RowId, finished: &Finished) -> DownloadResult<()> {
    File::open(&finished.path)
        .and_then(|file| file.sync_all())
        .map_err(DownloadError::disk("sync", &finished.path))?;
    part::discard(dir, &finished.part_name, row)?;
    sync_dir(dir)
}

/// Renames without replacing; `AlreadyExists` when the new name is taken.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // Not every file system knows the flag, nor every kernel the call.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => link_and_unlink(from, to),
        result => Ok(result?),
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    link_and_unlink(from, to)
}

/// Never replaces, either, where there are links. A crash in between leaves both names, and `recover` adopts the final one.
fn link_and_unlink(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        // No links at all, as where a bucket or a virtual machine's folder is mounted: a look has to do.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::Unsupported
            ) =>
        {
            look_and_rename(from, to)
        }
        linked => linked,
    }
}

/// Replaces what comes under the new name between the look at it and the renaming.
pub(super) fn look_and_rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

/// What is under a final name: `None`, or the size of a regular file; anything else is in the way.
pub(super) fn size_under(path: &Path) -> DownloadResult<Option<u64>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found.len())),
        Ok(_) => Err(DownloadError::taken(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DownloadError::disk("look at", path)(error)),
    }
}

/// Creates `dir` and what is missing above it, durably.
pub(super) fn create_dir(dir: &Path) -> DownloadResult<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    fs::create_dir_all(dir).map_err(DownloadError::disk("create directory", dir))?;
    missing
        .into_iter()
        .filter_map(Path::parent)
        .try_for_each(sync_dir)
}

fn sync_dir(dir: &Path) -> DownloadResult<()> {
    disk::sync_directory(dir).map_err(DownloadError::disk("sync directory", dir))
}

/// What any program here would create a file with: 0666 & ~umask. The mask is read from `/proc/self/status` (Linux 4.7,
/// proc(5)): umask(2) can only be read by changing it, which other threads would notice. Elsewhere 022 is assumed.
pub(super) fn final_mode() -> Permissions {
    static MODE: OnceLock<u32> = OnceLock::new();
    let mode = MODE.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("Umask:"))
            .and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok());
        0o666 & !mask.unwrap_or(0o022)
    });
    Permissions::from_mode(*mode)
}
