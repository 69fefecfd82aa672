//! Logs that are moved, as logrotate does it, while something is appended to them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Daemon;
use crate::listener::{Place, SECRET, acted_on, success};
use crate::support::{Bench, TRACKER, eventually};

#[test]
fn a_log_that_is_moved_or_cut_off_under_listen_loses_no_line() {
    let bench = Bench::new();
    bench.submit(3).exits(0);
    let log = bench.path("listen.log");
    let mut shell = Command::new("sh");
    let script = r#"exec "$0" listen --addr 127.0.0.1:0 >> listen.log 2>&1"#;
    bench.prepare(shell.args(["-c", script, TRACKER]));
    shell.env("HEYGEN_WEBHOOK_SECRET", SECRET);
    let _listen = Daemon::start(&mut shell, &bench.path("shell.log"));
    let mut place = None;
    eventually("it listens", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let address = text
            .split_once("listening on http://")
            .and_then(|(_, rest)| rest.split_once('/'));
        place = address.map(|(address, _)| Place(address.parse().expect("an address")));
        place.is_some()
    });
    let place = place.expect("a place");
    let end = |row: i64| {
        let id = bench.video_id(row);
        bench.heygen.finish(&id);
        assert_eq!(place.deliver(&success(&format!("e{row}"), &id)), 200);
        acted_on(&bench, usize::try_from(row).expect("a count"));
    };
    // It is said after it was done.
    let written = |log: &Path, row: i64| {
        eventually("the line", || {
            let text = fs::read_to_string(log).unwrap_or_default();
            text.contains(&format!("{row} saved "))
        });
    };
    end(1);
    written(&log, 1);
    let moved = bench.path("listen.log.1");
    fs::rename(&log, &moved).unwrap();
    end(2);
    written(&moved, 2);
    // What `copytruncate` does.
    let copy = fs::read_to_string(&moved).unwrap();
    fs::File::options()
        .write(true)
        .open(&moved)
        .unwrap()
        .set_len(0)
        .unwrap();
    end(3);
    eventually("the last line", || {
        let all = format!("{copy}{}", fs::read_to_string(&moved).unwrap());
        (1..=3).all(|row| all.matches(&format!("{row} saved ")).count() == 1)
    });
    let rest = fs::read(&moved).unwrap();
    assert!(!rest.contains(&0), "it goes on at the new end");
    assert!(!log.exists());
}
