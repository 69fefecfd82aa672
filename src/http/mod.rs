//! A small blocking HTTP/1.1 server: a thread per connection on std's listener, httparse for the heads.
//!
//! It exists because its two users need what ready-made servers do not give. The sandbox must cut, stall and reset
//! connections on purpose, so a handler speaks to the [`Wire`] itself; the webhook listener faces the internet and needs
//! a deadline on every read, bounded heads and bodies, and a cap on connections ([`Limits`]).
//!
//! Not done: TLS, HTTP/2, pipelining beyond answering in order, compression.

mod incoming;
pub mod request;
pub mod response;
pub mod server;
#[cfg(test)]
mod tests;
mod wire;

#[cfg(any(test, fuzzing))]
pub(crate) use incoming::fuzz;
pub use request::Request;
pub use response::{Payload, Response};
pub(crate) use server::lock;
pub use server::{Limits, Server};
pub use wire::Wire;
