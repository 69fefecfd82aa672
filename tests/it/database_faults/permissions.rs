//! B5: what may not be written, and what others may read.

use super::*;
use crate::frozen::{V1, frozen};
use std::os::unix::process::CommandExt;

/// Runs a script where `DIR` of the bench is mounted read-only.
fn on_read_only_mount(bench: &Bench, verb: &str) -> Run {
    let dir = bench.dir.path().display();
    let script = format!(
        "mount --bind {dir} {dir} && mount -o remount,bind,ro {dir} && cd {dir} && exec tracker {verb}"
    );
    bench.shell(&format!("exec unshare -m bash -c '{script}'"))
}

/// Runs a verb as a user to whom nothing belongs.
fn as_nobody(bench: &Bench, verb: &str) -> Run {
    run(bench
        .command(verb.split_whitespace())
        .env("TRACKER_OUTPUT_DIR", bench.path("theirs"))
        .uid(65534)
        .gid(65534))
}

fn can_be_nobody(bench: &Bench) -> bool {
    let mut probe = bench.command(["--version"]);
    machine_can("run the program as another user", probe.uid(65534))
}

fn set_mode(bench: &Bench, name: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn b05_on_a_read_only_mount_list_and_show_work_and_writers_say_why_not() {
    if !can_mount() {
        return;
    }
    let bench = in_use();
    let posts = bench.heygen.posts().len();
    let history = bench.tracker("list").exits(0).stdout;
    assert_eq!(on_read_only_mount(&bench, "list").exits(0).stdout, history);
    let shown = on_read_only_mount(&bench, "show 1").exits(0);
    assert!(shown.stdout.contains("Hello there"), "{}", shown.screen());
    let before = bench.everything();
    for verb in WRITERS {
        let refused = on_read_only_mount(&bench, verb).exits(1);
        assert!(
            refused.stderr.contains("tracker.db"),
            "{verb}: {}",
            refused.screen()
        );
        assert!(
            refused.stderr.contains("hint: "),
            "{verb}: {}",
            refused.screen()
        );
        assert!(
            refused.stderr.contains("Read-only file system"),
            "{verb}: {}",
            refused.screen()
        );
    }
    let doctor = on_read_only_mount(&bench, "doctor").exits(1).stdout;
    assert!(doctor.contains("Read-only file system"), "{doctor}");
    assert_eq!(bench.heygen.posts().len(), posts);
    assert_unchanged(&before, &bench, "a read-only mount");
    bench.tracker("check").exits(0).silent();
    bench.assert_invariants();
}

#[test]
fn b05_another_users_database_is_read_and_not_written() {
    let bench = in_use();
    fs::create_dir(bench.path("theirs")).unwrap();
    set_mode(&bench, "theirs", 0o777);
    set_mode(&bench, ".", 0o755);
    set_mode(&bench, "tracker.db", 0o644);
    set_mode(&bench, "tracker.db-lock", 0o644);
    if !can_be_nobody(&bench) {
        return;
    }
    let posts = bench.heygen.posts().len();
    let history = bench.tracker("list").exits(0).stdout;
    let before = bench.everything();
    // The file is not ours, the directory is not ours; then the directory is everybody's.
    for mode in [0o755, 0o777] {
        set_mode(&bench, ".", mode);
        assert_eq!(as_nobody(&bench, "list").exits(0).stdout, history);
        as_nobody(&bench, "show 1").exits(0);
        for verb in WRITERS {
            let refused = as_nobody(&bench, verb).exits(1);
            assert!(
                refused.stderr.contains("tracker.db"),
                "{verb}: {}",
                refused.screen()
            );
            assert!(
                refused.stderr.contains("hint: "),
                "{verb}: {}",
                refused.screen()
            );
        }
        assert_eq!(bench.heygen.posts().len(), posts);
    }
    for (name, bytes) in before {
        assert!(fs::read(&name).unwrap() == bytes, "{}", name.display());
    }
    // Not even readable: an error that names it and the reason, not an empty history.
    set_mode(&bench, "tracker.db", 0o600);
    for verb in ["list", "check", "doctor"] {
        let refused = as_nobody(&bench, verb).exits(1).screen();
        for said in ["tracker.db: Permission denied", "able to read it"] {
            assert!(refused.contains(said), "{verb}: {refused}");
        }
    }
    bench.assert_invariants();
}

#[test]
fn b05_an_older_schema_that_cannot_be_upgraded_is_called_that() {
    let is_said = |run: Run| {
        let screen = run.exits(1).screen();
        let said = "tracker.db has schema 1 and must be upgraded to ";
        assert!(screen.contains(said), "{screen}");
        assert!(screen.contains("copy both elsewhere"), "{screen}");
    };
    for mode in ["delete", "wal"] {
        let bench = frozen(V1);
        let journal = format!("PRAGMA journal_mode = {mode}");
        assert_eq!(bench.query(&journal), mode);
        set_mode(&bench, ".", 0o755);
        set_mode(&bench, "tracker.db", 0o644);
        let before = bench.everything();
        for verb in ["list", "show 1"] {
            if can_mount() {
                is_said(on_read_only_mount(&bench, verb));
            }
            if can_be_nobody(&bench) {
                is_said(as_nobody(&bench, verb));
            }
        }
        assert_unchanged(&before, &bench, mode);
        bench.tracker("list").exits(0);
    }
}

/// Root may be the first to look at what is another's, who must not be locked out.
#[test]
fn b05_a_new_lock_file_belongs_to_whom_the_database_belongs_to() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let bench = in_use();
    let (database, lock) = (bench.db_path(), bench.path("tracker.db-lock"));
    fs::set_permissions(&database, fs::Permissions::from_mode(0o660)).unwrap();
    if let Err(error) = std::os::unix::fs::chown(&database, Some(65534), Some(65533)) {
        return skipped(&format!("only root gives files away: {error}"));
    }
    let owner = || {
        let of = fs::metadata(&lock).unwrap();
        (of.uid(), of.gid(), of.mode() & 0o777)
    };
    let before = owner();
    bench.tracker("check").exits(0);
    assert_eq!(owner(), before, "one that is there stays as it is");
    fs::remove_file(&lock).unwrap();
    bench.tracker("check").exits(0);
    assert_eq!(owner(), (65534, 65533, 0o660));
}

#[test]
fn a_database_with_two_names_is_refused() {
    let bench = in_use();
    fs::hard_link(bench.db_path(), bench.path("other.db")).unwrap();
    all_refuse(&bench, &["check", "list"], "has 2 names (hard links)");
    fs::remove_file(bench.path("other.db")).unwrap();
    bench.tracker("check").exits(0);
}

#[test]
fn the_doctor_sends_nobody_to_the_doctor() {
    let bench = in_use();
    fs::create_dir(bench.path("tracker.db-wal")).unwrap();
    let list = bench.tracker("list").exits(1).stderr;
    assert!(list.contains("hint: tracker doctor"), "{list}");
    let doctor = bench.tracker("doctor").exits(1).stdout;
    assert!(!doctor.contains("looks closer"), "{doctor}");
    assert!(doctor.contains("hint: look at its disk"), "{doctor}");
}

#[test]
fn doctor_says_that_others_can_read_the_database() {
    use std::os::unix::fs::PermissionsExt;
    let bench = in_use();
    fs::set_permissions(bench.db_path(), fs::Permissions::from_mode(0o644)).unwrap();
    let doctor = bench.tracker("doctor").exits(0).stdout;
    assert!(
        doctor.contains("others can read it (mode 0644)"),
        "{doctor}"
    );
    assert!(doctor.contains("chmod 600"), "{doctor}");
}
