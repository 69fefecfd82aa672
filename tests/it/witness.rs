//! A database that is older than what its lock file says: somebody put a backup back.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::{BODY, Bench, eventually, machine_can};

fn backup(bench: &Bench) -> Vec<u8> {
    bench.query("PRAGMA wal_checkpoint(TRUNCATE)");
    fs::read(bench.db_path()).unwrap()
}

fn put_back(bench: &Bench, backup: &[u8]) {
    for end in ["-wal", "-shm"] {
        fs::remove_file(bench.path(&format!("tracker.db{end}"))).ok();
    }
    bench.file("tracker.db", backup);
}

fn doctor_speaks_of_a_backup(bench: &Bench) -> bool {
    let doctor = bench.tracker("doctor").exits(0);
    doctor.stdout.contains("was a backup put back?")
}

#[test]
fn a_backup_that_is_put_back_is_said_and_what_no_key_protects_waits_for_a_person() {
    let bench = Bench::new();
    bench
        .tracker_with(&["submit", "--queue", "--prompt", "A film about tea"])
        .exits(0);
    bench
        .tracker_with(&[
            "submit",
            "--queue",
            "--script",
            "Hi",
            "--avatar-id",
            "a",
            "--voice-id",
            "v",
        ])
        .exits(0);
    assert!(!doctor_speaks_of_a_backup(&bench));
    let old = backup(&bench);
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 2);

    put_back(&bench, &old);
    // What is recorded before anybody checks is no reason to forget it.
    bench
        .tracker_with(&["submit", "--queue", "--prompt", "A film about coffee"])
        .exits(0);
    let check = bench.tracker("check").exits(1);
    assert_eq!(bench.status(1), "unknown", "{}", check.screen());
    let again = [
        "submit",
        "--queue",
        "--if-new",
        "--prompt",
        "A film about tea",
    ];
    let again = bench.tracker_with(&again).exits(0);
    assert!(again.stdout.starts_with("1\t"), "{}", again.screen());
    // Nor does waiting for what is there already submit it.
    let billed = bench.heygen.billed().len();
    let again = [
        "submit",
        "--wait",
        "--if-new",
        "--prompt",
        "A film about tea",
    ];
    bench.tracker_with(&again).exits(5);
    assert_eq!(bench.status(1), "unknown");
    assert_eq!(bench.heygen.billed().len(), billed);
    assert_eq!(bench.status(2), "waiting", "its key makes that harmless");
    assert_eq!(bench.status(3), "thinking");
    assert_eq!(bench.heygen.billed().len(), 3, "{}", check.screen());
    assert!(
        bench
            .tracker("show 1")
            .stdout
            .contains("comes from a backup")
    );
    assert!(doctor_speaks_of_a_backup(&bench));
    bench.assert_invariants();
}

#[test]
fn no_witness_and_a_strange_one_are_harmless() {
    let bench = Bench::new();
    bench
        .tracker_with(&["submit", "--queue", "--prompt", "A film about tea"])
        .exits(0);
    let old = backup(&bench);
    bench.tracker("add made-elsewhere").exits(0);
    fs::remove_file(bench.path("tracker.db-lock")).unwrap();
    put_back(&bench, &old);
    assert!(!doctor_speaks_of_a_backup(&bench));
    bench.file("tracker.db-lock", [0xff; 64]);
    assert!(!doctor_speaks_of_a_backup(&bench));
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 1);
    // A history that begins anew beside the lock file of another one is no backup.
    for end in ["", "-wal", "-shm"] {
        fs::remove_file(bench.path(&format!("tracker.db{end}"))).ok();
    }
    bench.tracker("add made-elsewhere").exits(0);
    assert!(!doctor_speaks_of_a_backup(&bench));
}

#[test]
fn a_backup_that_is_put_back_beside_a_run_that_waits_is_noticed_by_it() {
    let mut shell = Command::new("sqlite3");
    if !machine_can("run the sqlite3 shell", shell.arg("-version")) {
        return;
    }
    let bench = Bench::new();
    bench
        .tracker_with(&["submit", "--queue", "--prompt", "A film about tea"])
        .exits(0);
    bench
        .shell("sqlite3 -cmd '.timeout 60000' tracker.db '.backup old.db'")
        .exits(0);
    let mut wait = bench
        .command(["check", "--wait", "--interval", "100ms", "--timeout", "4m"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("check --wait");
    eventually("it was sent", || bench.status(1) == "thinking");
    bench
        .shell("sqlite3 -cmd '.timeout 60000' tracker.db '.restore old.db'")
        .exits(0);
    let ended = wait.wait().expect("its end");
    assert_eq!(ended.code(), Some(1));
    assert_eq!(bench.status(1), "unknown");
    assert_eq!(bench.heygen.billed().len(), 1);
}

#[test]
fn a_copy_that_is_put_over_a_database_in_use_gets_nothing_of_its_log() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let old = backup(&bench);
    let mut wait = bench.command(["check", "--wait", "--interval", "100ms", "--timeout", "4m"]);
    wait.stdout(Stdio::null()).stderr(Stdio::piped());
    let asked = bench.heygen.api_requests().len();
    let wait = wait.spawn().expect("check --wait");
    eventually("it asks", || bench.heygen.api_requests().len() > asked);
    // The same inode, as with cp.
    put_back(&bench, &old);
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    bench.heygen.finish(&bench.video_id(1));
    let ended = wait.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("was moved, deleted or replaced"), "{said}");
    assert_eq!(ended.status.code(), Some(1));

    assert_eq!(bench.query("PRAGMA integrity_check"), "ok");
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "2");
    bench.tracker("check").exits(0);
    assert_eq!(bench.status(1), "completed");
}

#[test]
fn a_log_that_is_deleted_under_a_run_that_alone_has_the_database_loses_nothing() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    let mut wait = bench.command(["check", "--wait", "--interval", "100ms", "--timeout", "4m"]);
    wait.stdout(Stdio::null()).stderr(Stdio::null());
    let asked = bench.heygen.api_requests().len();
    let mut wait = wait.spawn().expect("check --wait");
    eventually("it asks", || bench.heygen.api_requests().len() > asked);
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    fs::remove_file(bench.path("tracker.db-wal")).expect("its log");
    bench.heygen.finish(&bench.heygen.videos()[0]);
    assert_eq!(wait.wait().expect("its end").code(), Some(1));
    bench.tracker("check").exits(0);
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "3");
    assert_eq!(bench.query("PRAGMA integrity_check"), "ok");
}
