//! HeyGen's v3 API in the words of this program.

mod access;
mod redact;
mod retry;
mod wire;

pub use access::{ApiKey, BaseUrl, BaseUrlError, account};
pub use retry::{Backoff, RETRY_AFTER_CAP, parse_retry_after};
pub use wire::{BulkStatus, Created, Page, Problem, RemoteVideo};
