//! The program from outside: the real binary, the real SQLite, and the stand-in as server and as oracle.
//!
//! | file | what it shows |
//! |---|---|
//! | `support` | a bench: a directory, a stand-in and a clean environment; how to run the program on it |
//! | `workflow` | the main job end to end |
//! | `database_faults` | B1 to B9: locked, damaged, newer, full, read-only and moved databases |
//! | `process` | T1 to T5: hostile text and arguments, closed outputs, cron's environment |
//! | `security` | X1 to X6: where the key and signatures go, file modes, hostile servers |
//! | `frozen` | databases of earlier schema versions still open |

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod support;

mod database_faults;
mod frozen;
mod process;
mod security;
mod workflow;
