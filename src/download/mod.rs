//! From a URL to a verified file under its final name.

pub mod name;

use sha2::{Digest, Sha256};

/// Lower-case hexadecimal.
fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .fold(String::with_capacity(64), |hex, byte| {
            hex + &format!("{byte:02x}")
        })
}
