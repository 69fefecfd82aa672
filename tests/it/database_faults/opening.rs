//! B3, B4: newer databases, and the first opening.

use super::*;

#[test]
fn b03_a_newer_schema_is_refused_and_left_alone() {
    let bench = in_use();
    bench
        .db()
        .execute_batch("PRAGMA user_version = 99")
        .unwrap();
    all_refuse(&bench, &VERBS, "has schema 99, this program knows up to ");
    let refused = bench.tracker("check --json").exits(1);
    assert!(
        refused.stderr.contains(r#""code":"database_newer""#),
        "{}",
        refused.screen()
    );
}

#[test]
fn b03_the_log_of_a_newer_program_is_left_for_it() {
    let bench = in_use();
    let newer = bench.db();
    newer
        .execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 99")
        .unwrap();
    // What a crash of the newer program leaves.
    let crashed = Bench::new();
    for end in ["", "-wal"] {
        fs::copy(
            bench.path(&format!("tracker.db{end}")),
            crashed.path(&format!("tracker.db{end}")),
        )
        .unwrap();
    }
    let (main, log) = (
        fs::read(crashed.db_path()).unwrap(),
        fs::read(crashed.path("tracker.db-wal")).unwrap(),
    );
    assert!(!log.is_empty());
    for verb in ["check", "list", "doctor"] {
        let refused = crashed.tracker(verb).exits(1);
        assert!(
            refused.screen().contains("has schema 99"),
            "{}",
            refused.screen()
        );
        assert!(fs::read(crashed.db_path()).unwrap() == main, "{verb}");
        assert!(
            fs::read(crashed.path("tracker.db-wal")).unwrap() == log,
            "{verb}"
        );
    }
}

#[test]
fn b04_eight_first_opens_at_once() {
    for round in 0..12 {
        let bench = Bench::new();
        bench.file("body.json", BODY);
        let opens: Vec<_> = (0..8)
            .map(|n| match n % 2 {
                0 => bench.start(&format!("add video-number-{n}")),
                _ => bench.start("submit --queue body.json"),
            })
            .collect();
        for open in opens {
            let opened = end(open).exits(0);
            assert!(
                !opened.stderr.contains("error"),
                "round {round}: {}",
                opened.screen()
            );
        }
        assert_eq!(bench.query("SELECT count(*) FROM videos"), "8");
        bench.assert_invariants();
    }
}

#[test]
fn b04_killed_at_any_write_of_the_first_open() {
    if !can_strace() {
        return;
    }
    let fresh = Bench::new();
    let log = fresh.path("calls");
    run(&mut fresh.strace(
        &["trace=pwrite64,fdatasync,fsync,ftruncate"],
        &log,
        "add video-one",
    ))
    .exits(0);
    let fresh_schema = schema(&fresh.db());
    let mut kills = 0;
    for name in ["pwrite64", "fdatasync", "fsync", "ftruncate"] {
        for n in 1..=calls(&log, name) {
            let bench = Bench::new();
            bench.heygen.add_video("video-one", "processing");
            let kill = format!("inject={name}:signal=SIGKILL:when={n}");
            let trace = format!("trace={name}");
            let killed =
                run(&mut bench.strace(&[&trace, &kill], Path::new("/dev/null"), "add video-one"));
            assert_eq!(killed.code, None, "{kill}: {}", killed.screen());
            kills += 1;
            let check = bench.tracker("check");
            let begun = check.code == Some(0) && check.stderr.is_empty();
            assert!(
                begun || check.stderr.contains("there is no database"),
                "{kill}: {}",
                check.screen()
            );
            bench.tracker("add video-one").exits(0);
            assert_eq!(bench.query("SELECT count(*) FROM videos"), "1", "{kill}");
            assert!(schema(&bench.db()) == fresh_schema, "{kill}");
            bench.assert_invariants();
        }
    }
    assert!(kills > 10, "{kills}");
}

/// Everything that was ever declared in a database.
pub fn schema(db: &Connection) -> Vec<(String, Option<String>)> {
    db.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}
