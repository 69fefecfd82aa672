//! Whether the disk that a directory is on is there: without it, its files would land below the mount point.
//!
//! Numbers of devices change when a machine starts anew; where a disk is mounted does not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the file system of `dir`, or of what there is above it, is mounted; `None` when that is the root.
pub(crate) fn point(dir: &Path) -> Option<PathBuf> {
    let there = dir.ancestors().find_map(|dir| dir.canonicalize().ok())?;
    let point = there.ancestors().find(|dir| is_mounted(dir))?;
    point.parent().map(|_| point.to_owned())
}

/// Whether another file system than its parent's is there.
pub(crate) fn is_mounted(point: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    match (device(point), point.parent()) {
        (Some(own), Some(parent)) => device(parent).is_some_and(|its| its != own),
        (found, None) => found.is_some(),
        (None, _) => false,
    }
}
