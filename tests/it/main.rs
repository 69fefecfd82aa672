//! The program from outside: the real binary, the real SQLite, and the stand-in as server and as oracle.
//!
//! | file | what it shows |
//! |---|---|
//! | `support` | a bench: a directory, a stand-in and a clean environment; how to run the program on it |
//! | `hooks` | hooks and stalled videos |
//! | `listen` | webhooks: end to end, refused, at once, killed at each step |
//! | `workflow` | the main job end to end |
//! | `submit_faults` | buying when things go wrong: S1 to S18 of the fault table |
//! | `poll_faults` | what goes wrong while HeyGen is asked (faults P1 to P12) |
//! | `telling` | what is said, how often, and how a run exits |

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod support;

mod hooks;
mod listen;
mod poll_faults;
mod submit_faults;
mod telling;
mod workflow;
