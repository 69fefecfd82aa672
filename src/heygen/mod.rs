//! HeyGen's v3 API in the words of this program.
//!
//! `client` has one function per endpoint. The rest is pure: `wire` reads their JSON, `redact` keeps key and signatures
//! out of every text.
//!
//! The client never retries and never follows a redirect: whether a POST may be sent again is decided where the row is known.

mod access;
mod balance;
mod client;
mod error;
mod redact;
mod retry;
mod wire;

pub use crate::net::Timeouts;
pub use access::{BaseUrl, account};
pub use balance::{Balance, Funds};
pub use client::{Client, MAX_BULK, fits_bulk};
pub use error::{ApiError, ErrorKind};
pub use retry::Backoff;
#[cfg(any(test, fuzzing))]
pub(crate) use wire::fuzz;
pub use wire::{BatchItem, BulkStatuses, Created, ErrorBody, Page, RemoteSession, RemoteVideo};
