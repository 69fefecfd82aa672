//! A database that is older than what its lock file says: somebody put a backup back.

use std::fs;

use crate::support::Bench;

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
