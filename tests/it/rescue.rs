//! `tracker doctor --rescue`: what is left of a database with pages overwritten.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fastrand::Rng;
use rusqlite::Connection;

use crate::support::{BODY, Bench};

const PAGE: usize = 4096;

/// Long and short rows in every state, and some that were forgotten.
fn in_use() -> Bench {
    let bench = Bench::new();
    let bodies = |count: usize| -> String {
        let body = |n: usize| {
            let script = "word ".repeat(if n.is_multiple_of(3) { 1500 } else { n });
            BODY.replace("Hello\"", &format!("Video {n}\""))
                .replace("Hello there", &script)
                + "\n"
        };
        (1..=count).map(body).collect()
    };
    bench.file("many.jsonl", bodies(24));
    bench.tracker("submit many.jsonl").exits(0);
    for row in 1..=12 {
        bench.heygen.finish(&bench.video_id(row));
    }
    bench
        .heygen
        .fail(&bench.video_id(13), "doomed", "It was doomed");
    bench.tracker("check").exits(0);
    bench.file("queued.jsonl", bodies(5));
    bench.tracker("submit --queue queued.jsonl").exits(0);
    bench.tracker("forget 7 8 27 --force").exits(0);
    bench
        .db()
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    bench
}

/// The rows of a database: their numbers, and everything of them that a rescue leaves as it is.
fn rows(path: &Path) -> Vec<(i64, String)> {
    let db = Connection::open(path).unwrap();
    let sql = "SELECT id, concat_ws('|', iif(phase IN ('unsent', 'sending'), 'unknown', status), video_id,
        idempotency_key, account, body_hash, title, script, submitted_at, output_dir, video_url, request,
        (SELECT group_concat(concat_ws(':', asset, state, path, sha256)) FROM files WHERE video = videos.id))
        FROM videos ORDER BY id";
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn numbers(rows: &[(i64, String)]) -> BTreeSet<i64> {
    rows.iter().map(|(id, _)| *id).collect()
}

/// Rescues `bytes`, and looks at what came of it.
fn rescued(bench: &Bench, bytes: &[u8]) -> Vec<(i64, String)> {
    let (damaged, new) = (bench.file("damaged.db", bytes), bench.path("new.db"));
    for end in ["", "-wal", "-shm", "-lock"] {
        fs::remove_file(bench.path(&format!("new.db{end}"))).ok();
    }
    let run = bench.tracker("--db damaged.db doctor --rescue new.db");
    bench.assert_decent(&run);
    assert!(matches!(run.code, Some(0 | 1)), "{}", run.screen());
    assert!(
        fs::read(damaged).unwrap() == bytes,
        "the old file is as it was"
    );
    let rows = rows(&new);
    let check: String = Connection::open(&new)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    rows
}

fn overwritten(sound: &[u8], pages: &[usize], random: &mut Rng) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for page in pages {
        let at = page * PAGE;
        match random.u8(0..3) {
            0 => bytes[at..at + PAGE].fill(0),
            1 => random.fill(&mut bytes[at..at + PAGE]),
            _ => bytes[at..at + PAGE].fill(0xff),
        }
    }
    bytes
}

/// A row lies on one page, and its end perhaps on others. So each row is lost with exactly one page, and whatever is
/// overwritten, no row is lost but those of these pages.
#[test]
fn every_row_that_can_be_read_is_rescued_whatever_pages_are_overwritten() {
    let bench = in_use();
    let sound = fs::read(bench.db_path()).unwrap();
    let before = rows(&bench.db_path());
    let all = numbers(&before);
    let billed = bench.heygen.billed().len();
    assert_eq!(
        rescued(&bench, &sound),
        before,
        "a sound database is copied whole"
    );

    let mut random = Rng::with_seed(17);
    let mut lost_with = Vec::new();
    for page in 0..sound.len() / PAGE {
        let found = rescued(&bench, &overwritten(&sound, &[page], &mut random));
        // What was forgotten may be back when the list of free pages is gone.
        lost_with.push(
            all.difference(&numbers(&found))
                .copied()
                .collect::<BTreeSet<_>>(),
        );
    }
    let mut lost: Vec<i64> = lost_with.iter().flatten().copied().collect();
    lost.sort_unstable();
    assert_eq!(lost, all.iter().copied().collect::<Vec<_>>());

    for _ in 0..24 {
        let count = random.usize(2..12);
        let pages: Vec<usize> = (0..count)
            .map(|_| random.usize(0..lost_with.len()))
            .collect();
        let found = rescued(&bench, &overwritten(&sound, &pages, &mut random));
        let lost: BTreeSet<i64> = pages
            .iter()
            .flat_map(|page| &lost_with[*page])
            .copied()
            .collect();
        assert!(
            numbers(&found).is_superset(&(&all - &lost)),
            "{pages:?}: {:?} of {lost:?}",
            &all - &numbers(&found)
        );
        let check = bench.tracker("--db new.db check");
        bench.assert_decent(&check);
        assert_eq!(
            bench.heygen.billed().len(),
            billed,
            "{pages:?}: {}",
            check.screen()
        );
    }
}

#[test]
fn what_only_the_log_has_is_rescued_and_the_log_is_left_alone() {
    let bench = in_use();
    let holder = bench.db();
    holder
        .execute_batch("BEGIN; SELECT count(*) FROM videos")
        .unwrap();
    bench.tracker("submit --queue queued.jsonl").exits(0);
    let log = fs::read(bench.path("tracker.db-wal")).unwrap();
    assert!(!log.is_empty());
    let before = rows(&bench.db_path());
    bench.file("damaged.db-wal", &log);
    let found = rescued(&bench, &fs::read(bench.db_path()).unwrap());
    assert_eq!(found, before);
    assert!(fs::read(bench.path("damaged.db-wal")).unwrap() == log);
    let mut headless = fs::read(bench.db_path()).unwrap();
    headless[..PAGE].fill(0xff);
    let found = rescued(&bench, &headless);
    assert!(numbers(&found).is_superset(&numbers(&before)));
    let found = rescued(&bench, b"");
    assert!(
        found.iter().any(|(id, _)| *id == 34),
        "the log has the newest"
    );
    assert!(fs::read(bench.path("damaged.db-wal")).unwrap() == log);
}

#[test]
fn a_rescue_says_what_is_missing_and_replaces_nothing() {
    let bench = in_use();
    let run = bench.tracker("doctor --rescue new.db").exits(1);
    assert!(
        run.stdout.contains("lost, or forgotten before: 7-8, 27\n"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains(": 25, 26, 28, 29\n"), "{}", run.stdout);
    let before = fs::read(bench.path("new.db")).unwrap();
    let again = bench.tracker("doctor --rescue new.db --json").exits(1);
    let error: serde_json::Value = serde_json::from_str(&again.stderr).expect("an envelope");
    assert_eq!(error["error"]["code"], "file_exists", "{}", again.screen());
    assert_eq!(error["error"]["message"], "new.db is there already");
    assert_eq!(error["error"]["hint"], "name a new file");
    assert!(fs::read(bench.path("new.db")).unwrap() == before);
    let json = bench
        .tracker("doctor --rescue other.db --json")
        .exits(1)
        .json()
        .remove(0);
    assert_eq!(json["missing"], serde_json::json!([[7, 8], [27, 27]]));
    assert_eq!(json["held"], serde_json::json!([25, 26, 28, 29]));
    bench.tracker("forget 29 --force").exits(0);
    bench.tracker("doctor --rescue shorter.db").exits(1);
    let next = bench
        .tracker("--db shorter.db add made-elsewhere --json")
        .exits(0);
    assert_eq!(next.json()[0]["id"], 30, "no number is used again");
    bench
        .tracker("--db none.db doctor --rescue third.db")
        .exits(1);
    assert!(!bench.path("third.db").exists());
    let elsewhere = bench.path("elsewhere.db");
    Connection::open(&elsewhere)
        .unwrap()
        .execute_batch("CREATE TABLE t (x)")
        .unwrap();
    let refused = bench
        .tracker("--db elsewhere.db doctor --rescue third.db")
        .exits(1);
    assert!(
        refused.stderr.contains("another program"),
        "{}",
        refused.screen()
    );
    let beside = |end: &str| bench.path(&format!("elsewhere.db{end}")).exists();
    assert!(!beside("-wal") && !beside("-shm"), "it was opened");

    fs::create_dir(bench.path("directory")).unwrap();
    let refused = bench
        .tracker("--db directory doctor --rescue third.db")
        .exits(1);
    assert!(refused.stderr.contains("directory"), "{}", refused.screen());
    assert!(!bench.path("third.db").exists());
}

/// A leaf that counts its rows and has lost them, of a database that lacks some of today's tables.
#[test]
fn leaves_without_their_rows_are_no_rows() {
    let bench = Bench::new();
    Connection::open(bench.path("old.db"))
        .unwrap()
        .execute_batch(include_str!("frozen/v1.sql"))
        .unwrap();
    let mut bytes = fs::read(bench.path("old.db")).unwrap();
    let mut leaves = 0;
    for page in bytes.chunks_exact_mut(PAGE).skip(1) {
        if page[0] == 0x0d {
            let cells = usize::from(u16::from_be_bytes([page[3], page[4]]));
            page[8 + 2 * cells..].fill(0);
            leaves += 1;
        }
    }
    assert!(leaves > 2, "{leaves}");
    assert_eq!(rescued(&bench, &bytes), []);
}

/// Such a number of pages is not believed.
#[test]
fn a_log_that_promises_four_terabytes_is_no_reason_to_look_at_them() {
    let bench = in_use();
    let mut log = vec![0; 32 + 24 + PAGE];
    log[32 + 4..32 + 8].copy_from_slice(&0x4000_0000_u32.to_be_bytes());
    let sound = fs::read(bench.path("tracker.db")).unwrap();
    bench.file("damaged.db-wal", &log);
    let kept = rows(&bench.path("tracker.db"));
    assert_eq!(rescued(&bench, &sound), kept);
}
