//! HeyGen's v3 API in the words of this program.
//!
//! | file | |
//! |---|---|
//! | `access` | base URL and API key: what may be configured |
//! | `balance` | what an account has left (pure) |
//! | `client` | one function per endpoint; one request each, never repeated here |
//! | `transport` | whether a request was handed to a connection at all |
//! | `wire` | their JSON, read liberally (pure) |
//! | `error` | what a failure means for a purchase (pure) |
//! | `redact` | no key and no signature in any text (pure) |
//! | `retry` | when to try again (pure) |
//!
//! The client never retries and never follows a redirect: whether a POST may be sent again is decided where the row is known.

mod access;
mod balance;
mod client;
mod error;
mod redact;
mod retry;
mod transport;
mod wire;

pub use crate::net::Timeouts;
pub use access::{BaseUrl, BaseUrlError, account};
pub use balance::{Balance, Funds};
pub use client::{Client, MAX_BULK, fits_bulk};
pub use error::{ApiError, ErrorKind};
pub use retry::Backoff;
#[cfg(any(test, fuzzing))]
pub(crate) use wire::fuzz;
pub use wire::{BatchItem, BulkStatus, Created, ErrorBody, Page, RemoteSession, RemoteVideo};
