//! HeyGen's v3 API in the words of this program.

mod retry;

pub use retry::{Backoff, RETRY_AFTER_CAP, parse_retry_after};
