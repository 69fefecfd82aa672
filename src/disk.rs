//! What every file that must outlive a power cut needs of its directory.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Makes the names in `dir` durable: without it a power cut may undo a rename although the file's bytes are safe.
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    let is_here = dir.as_os_str().is_empty();
    let dir = if is_here { Path::new(".") } else { dir };
    match File::open(dir)?.sync_all() {
        // File systems of virtual machines and networks have no such operation.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}
