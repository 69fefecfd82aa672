//! B1 to B9: what happens to the database, and what the program makes of it.
//!
//! | file | rows |
//! |---|---|
//! | `busy` | B1: other processes at the same database |
//! | `damage` | B2: pages and rows that are not as they were written |
//! | `opening` | B3, B4: newer databases, and the first opening |
//! | `permissions` | B5: what may not be written, and what others may read |
//! | `room` | B6: full disks |
//! | `moved` | B7: moved, deleted or replaced while it is in use |
//! | `place` | B8: where the database is |
//! | `clock` | B9: clocks and time zones, and when cron last ran |

mod busy;
mod clock;
mod damage;
mod moved;
pub mod opening;
mod permissions;
mod place;
mod room;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::heygen::{Fault, Options, Render};
use rusqlite::Connection;

use crate::support::{
    BODY, Bench, Run, calls, can_mount, can_strace, end, eventually, files_below, machine_can, run,
    skipped,
};

/// Every verb that needs the database.
const VERBS: [&str; 7] = [
    "submit body.json",
    "add made-elsewhere",
    "check",
    "list",
    "show 1",
    "forget --older-than 1d",
    "doctor",
];

/// Those that change it.
const WRITERS: [&str; 4] = [
    "submit body.json",
    "add made-elsewhere",
    "check",
    "forget 1 --force",
];

/// A bench with one rendering and one queued video, and a body to submit.
fn in_use() -> Bench {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    bench.tracker("submit --queue body.json").exits(0);
    bench
}

/// Fills part of the first page of a table or index with `byte`.
fn spoil(bench: &Bench, tree: &str, bytes_of_page: std::ops::Range<usize>, byte: u8) {
    let sql = format!("SELECT rootpage FROM sqlite_schema WHERE name = '{tree}'");
    let page: usize = bench.query(&sql).parse().unwrap();
    let start = (page - 1) * 4096;
    let mut bytes = fs::read(bench.db_path()).unwrap();
    bytes[start + bytes_of_page.start..start + bytes_of_page.end].fill(byte);
    bench.file("tracker.db", bytes);
}

/// Runs the verbs; each must fail with `words` and change no byte anywhere, and nothing is asked or sent.
#[track_caller]
fn all_refuse(bench: &Bench, verbs: &[&str], words: &str) {
    let before = bench.everything();
    let requests = bench.heygen.requests().len();
    for verb in verbs {
        let refused = bench.tracker(verb).exits(1);
        assert!(
            refused.screen().contains(words),
            "{verb}: {}",
            refused.screen()
        );
        assert!(
            refused.screen().contains("hint: "),
            "{verb}: {}",
            refused.screen()
        );
        assert!(
            !refused.screen().contains("panicked"),
            "{verb}: {}",
            refused.screen()
        );
        if *verb != "doctor" {
            assert_eq!(refused.stdout, "", "{verb}");
            assert_eq!(
                refused.stderr.matches("error: ").count(),
                1,
                "{verb}: {}",
                refused.screen()
            );
        }
        assert_unchanged(&before, bench, verb);
    }
    let asked = bench.heygen.requests().split_off(requests);
    assert!(
        asked.iter().all(|request| request.path == "/v3/users/me"),
        "{asked:?}"
    );
}

#[track_caller]
fn assert_unchanged(before: &BTreeMap<PathBuf, Vec<u8>>, bench: &Bench, what: &str) {
    let after = bench.everything();
    assert!(before.keys().eq(after.keys()), "{what}: {:?}", after.keys());
    for (path, bytes) in before {
        assert!(after[path] == *bytes, "{what} changed {}", path.display());
    }
}
