//! Litestream copies the database while it is used; the machine is lost; another one goes on with the copy.

use std::path::Path;
use std::process::Command;

use super::Daemon;
use crate::support::{Bench, Run, clients, end, eventually, run, start};

/// `tracker ARGUMENTS` on the other machine.
fn elsewhere(bench: &Bench, arguments: &str) -> Run {
    run(&mut command_elsewhere(bench, arguments))
}

fn command_elsewhere(bench: &Bench, arguments: &str) -> Command {
    let mut command = bench.command(arguments.split_whitespace());
    command.env("TRACKER_DB", bench.path("elsewhere/tracker.db"));
    command
}

fn litestream(bench: &Bench, program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    bench.prepare(command.args(arguments));
    command
}

#[test]
fn what_litestream_restores_goes_on_and_submits_nothing_twice() {
    let Some(clients) = clients() else { return };
    let program = clients.join("bin/litestream");
    let bench = Bench::new();
    let replica = format!("file://{}", bench.path("replica").display());
    bench.submit(1).exits(0);
    let database = bench.db_path();
    let database = database.to_str().expect("text");
    let mut replicate = litestream(&bench, &program, &["replicate", database, &replica]);
    let mut replicate = Daemon::start(&mut replicate, &bench.path("litestream.log"));

    // Load, and rows that wait to be sent by a check.
    for _ in 0..10 {
        bench.tracker("submit --queue bodies.jsonl").exits(0);
        bench.tracker("submit bodies.jsonl").exits(0);
    }
    for row in [1, 3] {
        bench.heygen.finish(&bench.video_id(row));
    }
    bench.tracker("check 1 3").exits(0);
    let restore = || {
        let to = bench.path("elsewhere/tracker.db");
        std::fs::remove_dir_all(bench.path("elsewhere")).ok();
        let to = to.to_str().expect("text").to_owned();
        run(&mut litestream(
            &bench,
            &program,
            &["restore", "-o", &to, &replica],
        ))
    };
    let saved = "SELECT count(*) FROM files WHERE state = 'saved'";
    eventually("it is copied", || {
        restore().code == Some(0) && {
            let copy = rusqlite::Connection::open(bench.path("elsewhere/tracker.db")).unwrap();
            copy.query_row(saved, [], |row| row.get::<_, i64>(0))
                .is_ok_and(|count| count == 2)
        }
    });
    // These are too late for the copy, or are not.
    bench.tracker("submit bodies.jsonl").exits(0);
    replicate.kill();
    restore().exits(0);

    let doctor = elsewhere(&bench, "doctor").exits(0);
    assert!(
        doctor.stdout.contains("check would work"),
        "{}",
        doctor.screen()
    );
    // The old machine is not as dead as was thought.
    let (posts, queued) = (
        bench.heygen.posts().len(),
        "SELECT count(*) FROM videos WHERE phase = 'unsent'",
    );
    assert_eq!(bench.query(queued), "10");
    let both = [
        start(&mut command_elsewhere(&bench, "check")),
        bench.start("check"),
    ];
    for check in both {
        end(check).exits(0);
    }
    assert_eq!(bench.query(queued), "0");
    assert_eq!(bench.heygen.billed().len(), 22, "one for each row");
    assert_eq!(
        bench.heygen.posts().len() - posts,
        20,
        "both did send: the key is what protects"
    );
    elsewhere(&bench, "check").exits(0).silent();
    bench.assert_invariants();
}
