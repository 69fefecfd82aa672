//! Other programs of the same user read the database while it is used.

use std::process::Command;
use std::time::Duration;

use super::{Daemon, listens};
use crate::heygen::{Options, Port, Render};
use crate::support::{Bench, clients, end, eventually, machine_can, run};

/// Two hundred videos that are ready to be fetched.
fn busy() -> Bench {
    let bench = Bench::with(Options {
        render: Render::Manual,
        latency: Duration::from_millis(5),
        ..Options::default()
    });
    bench.rendering(200);
    for row in 1..=200 {
        bench.heygen.finish(&bench.video_id(row));
    }
    bench
}

/// Has `read` look at the database for as long as a check of all of it takes.
fn read_beside_a_check(bench: &Bench, mut read: impl FnMut() -> i64) {
    let mut check = bench.start("check");
    let mut seen = Vec::new();
    while check.try_wait().unwrap().is_none() {
        seen.push(read());
    }
    let check = end(check).exits(0);
    assert_eq!(check.stderr, "");
    assert!(seen.is_sorted() && seen.len() > 2, "{seen:?}");
    assert_eq!(read(), 200);
    bench.assert_invariants();
}

const SAVED: &str = "SELECT count(*) FROM files WHERE state = 'saved'";

#[test]
fn the_sqlite3_shell_reads_beside_a_check() {
    if !machine_can("run sqlite3", Command::new("sqlite3").arg("-version")) {
        return;
    }
    let bench = busy();
    // Somebody who began to read before it and does not end keeps what there was then.
    let reader = bench.db();
    reader
        .execute_batch("BEGIN; SELECT * FROM videos LIMIT 1")
        .unwrap();
    read_beside_a_check(&bench, || {
        let mut shell = Command::new("sqlite3");
        bench.prepare(shell.args(["-readonly", "tracker.db", SAVED]));
        run(&mut shell)
            .exits(0)
            .stdout
            .trim()
            .parse()
            .expect("a count")
    });
    let of_before: i64 = reader.query_row(SAVED, [], |row| row.get(0)).unwrap();
    assert_eq!(of_before, 0);
}

#[test]
fn datasette_reads_beside_a_check() {
    let Some(clients) = clients() else { return };
    let bench = busy();
    let port = Port::new().expect("a port");
    let mut datasette = Command::new(clients.join("bin/datasette"));
    bench.prepare(datasette.args(["serve", "tracker.db", "--port", &port.to_string()]));
    let _datasette = Daemon::start(&mut datasette, &bench.path("datasette.log"));
    eventually("Datasette listens", || listens(&port));
    let query = SAVED.replace(' ', "+").replace('\'', "%27");
    let url = format!("http://127.0.0.1:{port}/tracker.csv?sql={query}");
    read_beside_a_check(&bench, || {
        let answer = ureq::get(&url)
            .call()
            .expect("an answer")
            .body_mut()
            .read_to_string()
            .expect("text");
        answer
            .lines()
            .nth(1)
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("{answer}"))
    });
}
