//! Whether the disk that a directory is on is there: without it, its files would land below the mount point.
//!
//! Numbers of devices change when a machine starts anew; where a disk is mounted does not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::part::is_missing;

/// Where the file system of `dir`, or of what there is above it, is mounted; `None` when that cannot be seen now.
pub(crate) fn point(dir: &Path) -> Option<PathBuf> {
    let mut real = dir.ancestors().map(Path::canonicalize);
    let there = real
        .find(|real| !real.as_ref().is_err_and(is_missing))?
        .ok()?;
    for dir in there.ancestors() {
        if has_own_device(dir)? {
            return Some(dir.to_owned());
        }
    }
    None
}

/// Whether another file system than its parent's is there.
pub(crate) fn is_mounted(point: &Path) -> bool {
    has_own_device(point).unwrap_or_default()
}

fn has_own_device(dir: &Path) -> Option<bool> {
    let device = |path| fs::metadata(path).map(|found| found.dev()).ok();
    let own = device(dir)?;
    dir.parent()
        .map_or(Some(true), |above| Some(device(above)? != own))
}
