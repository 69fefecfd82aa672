//! The program from outside: the real binary, the real SQLite, and the stand-in as server and as oracle.
//!
//! | file | what it shows |
//! |---|---|
//! | `support` | a bench: a directory, a stand-in and a clean environment; how to run the program on it |
//! | `contract` | what the README names exists, and the other way round |
//! | `hooks` | hooks and stalled videos |
//! | `submit_faults` | buying when things go wrong: S1 to S18 of the fault table |
//! | `poll_faults` | what goes wrong while HeyGen is asked (faults P1 to P12) |
//! | `telling` | what is said, how often, and how a run exits |
//! | `rendered` | a bench with one rendered video, and what must be true once its files are saved |
//! | `workflow` | the main job end to end |
//! | `download_faults` | D1–D9, X1, X2: hosts and networks that misbehave during a download |
//! | `download_disk` | D10–D13, D18, D20: disks, directories and file names that are not as they should be |
//! | `download_runs` | D14, D15, D17, D19, X6: names, overlapping and interrupted runs, certificates |

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod rendered;
mod support;

mod contract;
mod download_disk;
mod download_faults;
mod download_runs;
mod hooks;
mod poll_faults;
mod submit_faults;
mod telling;
mod workflow;
