//! From a URL to a verified file under its final name.

mod client;
mod error;
pub mod name;
mod range;
mod surplus;

pub use client::{FileClient, FileTimeouts};
pub use error::{BadContent, BadUrl, DownloadError, LedgerError, Occupant, Place, Trouble};

use sha2::{Digest, Sha256};

/// Lower-case hexadecimal.
fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .fold(String::with_capacity(64), |hex, byte| {
            hex + &format!("{byte:02x}")
        })
}
