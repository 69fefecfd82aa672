//! The program from outside: the real binary, the real SQLite, and the stand-in as server and as oracle.
//!
//! | file | what it shows |
//! |---|---|
//! | `support` | a bench: a directory, a stand-in and a clean environment; how to run the program on it |
//! | `contract` | what the README names exists, and the other way round |
//! | `hooks` | hooks and stalled videos |
//! | `workflow` | the main job end to end |

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod support;

mod contract;
mod hooks;
mod workflow;
