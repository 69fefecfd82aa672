//! Databases of earlier schema versions. A shipped migration is never edited, and what it made still opens.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use crate::database_faults::opening::schema;
use crate::support::{Bench, calls, can_strace, end, run};

/// One row in each state, as version 1 wrote them.
pub const V1: &str = include_str!("frozen/v1.sql");

/// As version 3 wrote them, a row in each phase among them; row 10 was forgotten.
const V3: &str = include_str!("frozen/v3.sql");

pub fn frozen(sql: &str) -> Bench {
    let bench = Bench::new();
    let db = Connection::open(bench.db_path()).unwrap();
    db.execute_batch(sql).unwrap();
    drop(db);
    bench
}

#[test]
fn version_1_opens_with_every_row_and_becomes_what_a_fresh_database_is() {
    let bench = frozen(V1);
    let listed = bench.tracker("list --fields id,status,title").exits(0);
    assert_eq!(
        listed.stdout,
        "7\tunsent\tqueued\n6\tsending\tsending\n5\trejected\trejected\n4\twaiting\trendering\n3\tfailed\tfailed\n\
         2\tcompleted\tcompleted\n1\tcompleted\tsaved\n"
    );
    for row in 1..=7 {
        bench.tracker(&format!("show {row}")).exits(0);
        bench.tracker(&format!("show {row} --json")).exits(0);
    }
    assert_eq!(bench.query("PRAGMA integrity_check"), "ok");

    let fresh = Bench::new();
    fresh.tracker("add video-one").exits(0);
    assert_eq!(schema(&bench.db()), schema(&fresh.db()));
    for pragma in ["user_version", "application_id", "journal_mode"] {
        let ask = format!("PRAGMA {pragma}");
        assert_eq!(bench.query(&ask), fresh.query(&ask), "{pragma}");
    }
}

#[test]
fn version_1_goes_on_with_its_work() {
    let bench = frozen(V1);
    // A key of days ago is sent by nobody but a person.
    bench
        .db()
        .execute_batch("UPDATE videos SET submitted_at = strftime('%s', 'now') * 1000 WHERE id = 7")
        .unwrap();
    bench.tracker("check");
    // What was queued lately is sent, and what was sent long ago is not sent again.
    assert_eq!(bench.heygen.billed().len(), 1);
    assert_eq!(bench.status(6), "unknown");
    assert_eq!(bench.status(3), "failed");
    assert_eq!(bench.status(5), "rejected");
    assert_eq!(
        fs::read_dir(bench.dir.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name() == "output")
            .count(),
        0
    );
    bench.assert_invariants();
}

#[test]
fn version_3_keeps_what_is_in_its_tables_and_becomes_what_a_fresh_database_is() {
    let bench = frozen(V3);
    let tables = |db: &Connection, column: &str| {
        ["files", "events", "hooks", "webhooks", "pauses", "troubles"].map(|table| {
            let sql = format!("SELECT count(*) || ' ' || max({column}) FROM {table}");
            db.query_row(&sql, [], |row| row.get::<_, String>(0))
                .unwrap()
        })
    };
    let before = tables(&bench.db(), "rowid");
    let listed = bench.tracker("list --fields id,status,title").exits(0);
    assert_eq!(
        listed.stdout,
        "9\tmissing\tmissing\n8\tunknown\tunknown\n7\tunsent\tqueued\n6\tsending\tsending\n\
         5\trejected\trejected\n4\twaiting\trendering\n3\tfailed\tfailed\n2\tcompleted\tcompleted\n\
         1\tcompleted\tsaved\n"
    );
    assert_eq!(tables(&bench.db(), "rowid"), before);
    assert_eq!(
        bench.query("SELECT group_concat(coalesce(outcome, '-'), ' ') FROM (SELECT outcome FROM videos ORDER BY id)"),
        "completed completed failed - - - - - -"
    );
    assert_eq!(
        bench.query(
            "SELECT group_concat(finished, '') FROM (SELECT finished FROM videos ORDER BY id)"
        ),
        "101010011"
    );
    assert_eq!(
        bench.query("SELECT error_notified_at FROM videos WHERE id = 8"),
        "1764080000000"
    );
    for check in ["integrity_check", "foreign_key_check"] {
        let complaint = bench.db().query_row(&format!("PRAGMA {check}"), [], |row| {
            row.get::<_, String>(0)
        });
        assert!(
            matches!(complaint.as_deref(), Ok("ok") | Err(_)),
            "{complaint:?}"
        );
    }
    // The number of a row that was forgotten is not used again: its kernel locks are named by it.
    bench.tracker("add video-one").exits(0);
    assert_eq!(bench.query("SELECT max(id) FROM videos"), "11");
    bench
        .db()
        .execute_batch("INSERT INTO hooks (video, event, at) VALUES (1, 'saved', 0)")
        .unwrap();
    assert_eq!(bench.query("SELECT max(id) FROM hooks"), "3");

    let fresh = Bench::new();
    fresh.tracker("add video-one").exits(0);
    assert_eq!(schema(&bench.db()), schema(&fresh.db()));
}

#[test]
fn version_3_goes_on_with_its_work() {
    let bench = frozen(V3);
    // A key of days ago is sent by nobody but a person.
    bench
        .db()
        .execute_batch("UPDATE videos SET submitted_at = strftime('%s', 'now') * 1000 WHERE id = 7")
        .unwrap();
    bench.tracker("check");
    assert_eq!(bench.heygen.billed().len(), 1);
    for (row, status) in [
        (6, "unknown"),
        (8, "unknown"),
        (9, "missing"),
        (3, "failed"),
        (5, "rejected"),
    ] {
        assert_eq!(bench.status(row), status);
    }
    bench.assert_invariants();
}

#[test]
fn b04_eight_programs_migrate_at_once() {
    for round in 0..6 {
        let bench = frozen(V1);
        let verbs = ["list", "add video-one", "show 1", "add video-two"];
        let opens: Vec<_> = (0..8)
            .map(|n| bench.start(verbs[n % verbs.len()]))
            .collect();
        for open in opens {
            let opened = end(open).exits(0);
            assert!(
                !opened.stderr.contains("error"),
                "round {round}: {}",
                opened.screen()
            );
        }
        assert_eq!(bench.query("SELECT count(*) FROM videos"), "9");
        assert_eq!(bench.query("PRAGMA integrity_check"), "ok");
    }
}

#[test]
fn b04_killed_at_any_write_of_a_migration() {
    if !can_strace() {
        return;
    }
    let whole = frozen(V1);
    let log = whole.path("calls");
    run(&mut whole.strace(&["trace=pwrite64,fdatasync"], &log, "add video-one")).exits(0);
    for name in ["pwrite64", "fdatasync"] {
        for n in 1..=calls(&log, name) {
            let bench = frozen(V1);
            let (trace, kill) = (
                format!("trace={name}"),
                format!("inject={name}:signal=SIGKILL:when={n}"),
            );
            let killed =
                run(&mut bench.strace(&[&trace, &kill], Path::new("/dev/null"), "add video-one"));
            assert_eq!(killed.code, None, "{kill}: {}", killed.screen());
            bench.tracker("add video-one").exits(0);
            assert_eq!(bench.query("SELECT count(*) FROM videos"), "8", "{kill}");
            assert!(schema(&bench.db()) == schema(&whole.db()), "{kill}");
            assert_eq!(bench.query("PRAGMA integrity_check"), "ok", "{kill}");
        }
    }
}
