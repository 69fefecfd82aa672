//! B1 to B9: what happens to the database, and what the program makes of it.

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

// --- B1 ---------------------------------------------------------------------------------------------------------

#[test]
fn b01_a_write_lock_held_for_two_seconds_is_waited_for_before_any_post() {
    let bench = in_use();
    let posts = bench.heygen.posts().len();
    let other = bench.db();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let held = Instant::now();
    let mut check = bench.start("check");
    while held.elapsed() < Duration::from_secs(2) {
        assert!(check.try_wait().unwrap().is_none(), "{:?}", end(check));
        assert_eq!(
            bench.heygen.posts().len(),
            posts,
            "not before its row says so"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    other.execute_batch("ROLLBACK").unwrap();
    end(check).exits(0).silent();
    assert_eq!(bench.heygen.posts().len(), posts + 1);
    bench.assert_invariants();
}

#[test]
fn b01_a_write_lock_held_for_ever_is_given_up_and_nothing_is_half_done() {
    if !can_strace() {
        return;
    }
    let bench = in_use();
    let posts = bench.heygen.posts().len();
    let rows = bench.query("SELECT count(*) FROM videos");
    let other = bench.db();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for verb in WRITERS {
        // The patience is counted in naps; these take no time.
        let naps = "inject=clock_nanosleep:retval=0";
        let log = Path::new("/dev/null");
        let gave_up = run(&mut bench.strace(&["trace=clock_nanosleep", naps], log, verb)).exits(1);
        assert!(
            gave_up.stderr.contains("is locked by another process"),
            "{}",
            gave_up.screen()
        );
        assert!(gave_up.stderr.contains("hint: "), "{}", gave_up.screen());
        assert_eq!(bench.heygen.posts().len(), posts, "{verb}");
    }
    // Looking waits for nobody.
    bench.tracker("list").exits(0);
    bench.tracker("show 1").exits(0);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(bench.query("SELECT count(*) FROM videos"), rows);
    bench.tracker("check").exits(0).silent();
    assert_eq!(bench.heygen.posts().len(), posts + 1);
    bench.assert_invariants();
}

#[test]
fn b01_submit_goes_ahead_beside_a_check_that_waits_for_heygen() {
    let bench = in_use();
    bench
        .heygen
        .fault("GET /v3/videos/{id}", Fault::delay(Duration::from_secs(3)));
    let mut check = bench.start("check");
    eventually("the check asks", || {
        bench
            .heygen
            .requests()
            .iter()
            .any(|request| request.method == "GET")
    });
    bench.tracker("submit body.json").exits(0);
    bench.tracker("list").exits(0);
    assert!(
        check.try_wait().unwrap().is_none(),
        "submit waited for the check"
    );
    end(check).exits(0).silent();
    assert_eq!(bench.heygen.billed().len(), 3);
    bench.assert_invariants();
}

#[test]
fn b01_submit_is_not_starved_by_a_check_that_writes_much() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let ids: Vec<String> = (0..3000).map(|n| format!("elsewhere-{n}")).collect();
    for id in &ids {
        bench.heygen.add_video(id, "processing");
    }
    bench.file("ids.json", serde_json::json!({ "data": ids.iter().map(|id| serde_json::json!({ "id": id })).collect::<Vec<_>>() }).to_string());
    bench.tracker("add ids.json").exits(0);
    let mut check = bench.start("check --no-download");
    // What is starved ends with the check and not before it.
    let mut beside = 0;
    while check.try_wait().unwrap().is_none() {
        bench.tracker("submit --queue body.json").exits(0);
        beside += usize::from(check.try_wait().unwrap().is_none());
    }
    end(check).exits(0);
    assert!(beside > 0);
    assert_eq!(
        bench.query("SELECT count(*) FROM videos WHERE remote_status = 'processing'"),
        "3000"
    );
    bench.assert_invariants();
}

// --- B2, B3 -----------------------------------------------------------------------------------------------------

#[test]
fn b02_a_garbage_header_is_named_and_left_alone() {
    let bench = in_use();
    let mut bytes = fs::read(bench.db_path()).unwrap();
    bytes[..64].fill(b'x');
    bench.file("tracker.db", bytes);
    all_refuse(&bench, &VERBS, "tracker.db is damaged");
}

#[test]
fn b02_a_truncated_database_is_named_and_left_alone() {
    let bench = in_use();
    let bytes = fs::read(bench.db_path()).unwrap();
    for length in [1, 99, 512, 4096, bytes.len() / 2, bytes.len() - 4096] {
        bench.file("tracker.db", &bytes[..length]);
        all_refuse(&bench, &["check", "doctor"], "tracker.db is damaged");
    }
}

#[test]
fn b02_a_database_truncated_to_nothing_is_not_taken_for_an_empty_history() {
    let bench = in_use();
    bench.file("tracker.db", "");
    fs::remove_file(bench.path("tracker.db-lock")).unwrap();
    all_refuse(
        &bench,
        &["check", "show 1", "forget --older-than 1d", "doctor"],
        "tracker.db",
    );
}

#[test]
fn b02_a_flipped_page_is_named_and_left_alone() {
    let bench = in_use();
    spoil(&bench, "videos", 0..4096, 0xff);
    all_refuse(
        &bench,
        &["check", "list", "show 1", "doctor"],
        "tracker.db is damaged",
    );
}

#[test]
fn b02_damage_only_an_index_has_is_found_by_doctor() {
    let bench = in_use();
    spoil(&bench, "events_by_video", 4088..4096, 0x55);
    all_refuse(&bench, &["doctor"], "tracker.db");
}

#[test]
fn b02_another_programs_database_is_left_alone() {
    let bench = in_use();
    for damage in [
        "PRAGMA application_id = 252006674",
        "PRAGMA application_id = 0",
    ] {
        bench.db().execute_batch(damage).unwrap();
        all_refuse(&bench, &VERBS, "is a database of another program");
    }
}

#[test]
fn b02_the_hint_rescues_what_is_readable() {
    let bench = in_use();
    spoil(&bench, "events_by_video", 0..4096, 0xff);
    let refused = bench.tracker("show 1").exits(1);
    let hint = refused.stderr.split("readable: tracker ").nth(1);
    let recipe = hint.unwrap_or_else(|| panic!("{}", refused.stderr));
    bench.tracker(recipe).exits(0);
    fs::rename(bench.path("tracker.db.rescued"), bench.db_path()).unwrap();
    bench.tracker("check").exits(0).silent();
    // What was queued may have been sent after what could be read of it was written.
    assert_eq!(
        (bench.heygen.billed().len(), bench.status(2)),
        (1, "unknown".to_owned())
    );
    bench.tracker("check 2").exits(0);
    assert_eq!(bench.heygen.billed().len(), 2);
    bench.assert_invariants();
}

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

// --- B4 ---------------------------------------------------------------------------------------------------------

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

// --- Damaged rows, many at once -----------------------------------------------------------------------------------

#[test]
fn a_damaged_row_is_named_and_left_alone_and_the_others_go_on() {
    // What it takes, and how the reason is told.
    for (damage, why) in [
        ("tags = '[1]'", "invalid type"),
        ("title = CAST(x'ff' AS TEXT)", "UTF-8"),
        ("video_id = printf('%600d', 1)", "video_id"),
    ] {
        let bench = Bench::new();
        bench.submit(2).exits(0);
        let db = bench.db();
        db.execute_batch(&format!("UPDATE videos SET {damage} WHERE id = 1"))
            .unwrap();
        bench.heygen.finish(&bench.video_id(2));
        let checked = bench.tracker("check").exits(0);
        assert!(
            checked.stderr.contains("row 1 cannot be read"),
            "{damage}: {}",
            checked.screen()
        );
        assert!(
            checked.stderr.contains(why),
            "{damage}: {}",
            checked.screen()
        );
        assert_eq!(
            bench.query("SELECT finished FROM videos WHERE id = 2"),
            "1",
            "{damage}"
        );
        // Cron runs each minute; this is said once a day.
        bench.tracker("check").exits(0).silent();
        let listed = bench.tracker("list --fields id").exits(0);
        assert_eq!(listed.stdout, "2\n", "{damage}");
        assert!(
            listed.stderr.contains("row 1 cannot be read"),
            "{damage}: {}",
            listed.screen()
        );
        bench.tracker("show 2").exits(0);
        let shown = bench.tracker("show 1").exits(1);
        assert!(
            shown.stderr.contains("row 1 cannot be read"),
            "{damage}: {}",
            shown.screen()
        );
        let doctor = bench.tracker("doctor").exits(1);
        assert!(
            doctor.stdout.contains("row 1"),
            "{damage}: {}",
            doctor.screen()
        );
    }
}

#[test]
fn what_cannot_be_recorded_of_one_row_stops_no_other() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    let db = bench.db();
    db.execute_batch("UPDATE videos SET rev = 9223372036854775807 WHERE id = 1")
        .unwrap();
    for row in [1, 2] {
        bench.heygen.finish(&bench.video_id(row));
    }
    let checked = bench.tracker("check");
    assert!(checked.stderr.contains("row 1"), "{}", checked.screen());
    assert_eq!(
        bench.query("SELECT finished FROM videos WHERE id = 2"),
        "1",
        "{}",
        checked.screen()
    );
}

#[test]
fn what_cannot_be_marked_as_sending_is_not_sent() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.tracker("submit --queue body.json").exits(0);
    bench.tracker("submit --queue body.json").exits(0);
    bench
        .db()
        .execute_batch("UPDATE videos SET rev = 9223372036854775807 WHERE id = 1")
        .unwrap();
    let checked = bench.tracker("check");
    assert!(checked.stderr.contains("row 1"), "{}", checked.screen());
    assert_eq!(bench.heygen.posts().len(), 1, "{}", checked.screen());
    let phases = bench.query("SELECT group_concat(phase) FROM videos ORDER BY id");
    assert_eq!(phases, "unsent,accepted");
}

#[test]
fn four_hundred_submits_at_once_are_all_recorded() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let submits: Vec<_> = (0..400)
        .map(|_| bench.start("submit --queue body.json"))
        .collect();
    for submit in submits {
        end(submit).exits(0);
    }
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "400");
}

// --- B5 ---------------------------------------------------------------------------------------------------------

/// Runs a script where `DIR` of the bench is mounted read-only.
fn on_read_only_mount(bench: &Bench, verb: &str) -> Run {
    let dir = bench.dir.path().display();
    let script = format!(
        "mount --bind {dir} {dir} && mount -o remount,bind,ro {dir} && cd {dir} && exec tracker {verb}"
    );
    bench.shell(&format!("exec unshare -m bash -c '{script}'"))
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
    }
    on_read_only_mount(&bench, "doctor").exits(1);
    assert_eq!(bench.heygen.posts().len(), posts);
    assert_unchanged(&before, &bench, "a read-only mount");
    bench.tracker("check").exits(0).silent();
    bench.assert_invariants();
}

#[test]
fn b05_another_users_database_is_read_and_not_written() {
    let bench = in_use();
    let path = |mode: u32, name: &str| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let as_nobody = |verb: &str| {
        use std::os::unix::process::CommandExt;
        run(bench
            .command(verb.split_whitespace())
            .env("TRACKER_OUTPUT_DIR", bench.path("theirs"))
            .uid(65534)
            .gid(65534))
    };
    fs::create_dir(bench.path("theirs")).unwrap();
    path(0o777, "theirs");
    path(0o755, ".");
    path(0o644, "tracker.db");
    path(0o644, "tracker.db-lock");
    let mut probe = bench.command(["--version"]);
    std::os::unix::process::CommandExt::uid(&mut probe, 65534);
    if !machine_can("run the program as another user", &mut probe) {
        return;
    }
    let posts = bench.heygen.posts().len();
    let history = bench.tracker("list").exits(0).stdout;
    let before = bench.everything();
    // The file is not ours, the directory is not ours; then the directory is everybody's.
    for mode in [0o755, 0o777] {
        path(mode, ".");
        assert_eq!(as_nobody("list").exits(0).stdout, history);
        as_nobody("show 1").exits(0);
        for verb in WRITERS {
            let refused = as_nobody(verb).exits(1);
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
    // Not even readable: an error that names it, not an empty history.
    path(0o600, "tracker.db");
    for verb in ["list", "check"] {
        let refused = as_nobody(verb).exits(1);
        assert!(
            refused.stderr.contains("tracker.db"),
            "{verb}: {}",
            refused.screen()
        );
        assert!(
            !refused.stderr.contains("there is no database"),
            "{}",
            refused.screen()
        );
    }
    bench.assert_invariants();
}

// --- B6 ---------------------------------------------------------------------------------------------------------

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
fn b06_no_room_at_any_write_of_submit() {
    if !can_strace() {
        return;
    }
    let bench = in_use();
    let log = bench.path("calls");
    run(&mut bench.strace(&["trace=pwrite64"], &log, "submit body.json")).exits(0);
    bench.tracker("check").exits(0);
    let count = calls(&log, "pwrite64");
    assert!(count > 10, "{count}");
    let mut failures = 0;
    for n in 1..=count {
        // Once, and every third time from then on.
        let plus = if n % 3 == 0 { "+" } else { "" };
        let fault = format!("inject=pwrite64:error=ENOSPC:when={n}{plus}");
        let rows = || -> usize {
            let rows = bench.query("SELECT count(*) FROM videos");
            rows.parse().unwrap()
        };
        let before = rows();
        let mut full = bench.strace(
            &["trace=pwrite64", &fault],
            Path::new("/dev/null"),
            "submit body.json",
        );
        let submit = run(&mut full);
        let bought = bench.heygen.billed().split_off(before).pop();
        if submit.code != Some(0) {
            failures += 1;
            let submit = submit.exits(1);
            assert!(
                submit.stderr.contains("tracker.db"),
                "{fault}: {}",
                submit.screen()
            );
            assert!(
                submit.stderr.contains("hint: "),
                "{fault}: {}",
                submit.screen()
            );
            assert_eq!(submit.stdout, "", "{fault}");
            if let Some(bought) = bought {
                // S15: it is known from the row, or from what was said.
                assert_eq!(rows(), before + 1, "{fault}: bought and not recorded");
                let told = submit.stderr.contains(&bought.video_id)
                    && submit.stderr.contains(&bought.idempotency_key.unwrap());
                let recorded = bench.video_id(before as i64 + 1) == bought.video_id;
                assert!(told || recorded, "{fault}: {}", submit.screen());
            }
        } else {
            assert_eq!(rows(), before + 1, "{fault}: {}", submit.screen());
        }
        // There is room again.
        bench.tracker("check").exits(0);
        assert_eq!(bench.heygen.billed().len(), rows(), "{fault}");
    }
    bench.assert_invariants();
    assert!(failures > 4, "{failures}");
}

#[test]
fn b06_a_full_disk_under_the_database_is_said_to_cron_once_a_day_and_when_it_is_over() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let steps = bench.shell(
        "exec unshare -m bash -c '
            export TRACKER_DB=disk/tracker.db; mkdir disk
            mount -t tmpfs -o size=2m tmpfs disk || exit 9
            tracker submit body.json >/dev/null
            cat /dev/zero > disk/filler 2>/dev/null
            for run in first second; do tracker check 2>$run; echo $?; done
            touch -d \"25 hours ago\" disk/tracker.db-full
            tracker check 2>third; echo $?
            rm disk/filler
            for run in fourth fifth; do tracker check 2>$run; echo $?; done
            ls disk'",
    );
    let said = |run: &str| fs::read_to_string(bench.path(run)).unwrap_or_default();
    let lines: Vec<&str> = steps.stdout.lines().collect();
    let (codes, files) = lines.split_at(5);
    assert_eq!(codes, ["1", "1", "1", "0", "0"], "{}", steps.screen());
    assert!(said("first").contains("no room left"), "{}", said("first"));
    assert_eq!(said("second"), "");
    assert_eq!(said("third"), said("first"), "a day later");
    assert_eq!(
        said("fourth"),
        "resolved: there is room for the database again\n"
    );
    assert_eq!(said("fifth"), "");
    assert!(!files.contains(&"tracker.db-full"), "{files:?}");
}

#[test]
fn b06_a_disk_of_any_size_loses_nothing() {
    if !can_mount() {
        return;
    }
    let (mut refused, mut took) = (0, 0);
    for size in (16..=480).step_by(16) {
        let bench = Bench::with(Options {
            render: Render::After(Duration::ZERO),
            file_size: 10_000,
            ..Options::default()
        });
        bench.file("body.json", BODY);
        let steps = bench.shell(&format!(
            "exec unshare -m bash -c '
                export TRACKER_DB=disk/tracker.db; mkdir disk kept
                mount -t tmpfs -o size={size}k tmpfs disk || exit 9
                tracker submit body.json >/dev/null 2>first; echo $?
                tracker check >/dev/null 2>second; echo $?
                mount -o remount,size=64m disk
                if [ -s disk/tracker.db ]; then tracker check 1 --wait --timeout 20s --interval 50ms >/dev/null 2>third; echo $?; else echo 0; fi
                cp disk/tracker.db* kept'"
        ));
        let codes: Vec<&str> = steps.stdout.lines().collect();
        let said = |file: &str| fs::read_to_string(bench.path(file)).unwrap_or_default();
        assert_eq!(codes.len(), 3, "{size}: {}", steps.screen());
        match codes[0] {
            "0" => took += 1,
            "1" => {
                refused += 1;
                assert!(
                    said("first").contains("tracker.db"),
                    "{size}: {}",
                    said("first")
                );
                assert!(
                    said("first").contains("hint: "),
                    "{size}: {}",
                    said("first")
                );
            }
            other => panic!("{size}: {other}: {}", said("first")),
        }
        assert!(["0", "1"].contains(&codes[1]), "{size}: {}", said("second"));
        assert!(
            codes[2] == "0"
                || ["there is no database", "no video \"1\" here"]
                    .iter()
                    .any(|nothing| said("third").contains(nothing)),
            "{size}: {}",
            said("third")
        );
        let kept = Connection::open(bench.path("kept/tracker.db")).unwrap();
        let ask = |sql: &str| -> i64 { kept.query_row(sql, [], |row| row.get(0)).unwrap_or(0) };
        let integrity: String = kept
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(integrity, "ok", "{size}");
        assert_eq!(
            ask("SELECT count(*) FROM videos"),
            bench.heygen.billed().len() as i64,
            "{size}"
        );
        assert_eq!(
            ask("SELECT count(*) FROM videos WHERE finished = 0"),
            0,
            "{size}"
        );
        assert_eq!(
            files_below(&bench.path("output")).len(),
            bench.heygen.billed().len(),
            "{size}"
        );
    }
    assert!(
        refused > 0 && took > 0,
        "the sweep must cross the border: {refused} {took}"
    );
}

// --- B7 ---------------------------------------------------------------------------------------------------------

/// Starts a check whose poll takes a while, and does something to the database meanwhile.
#[track_caller]
fn check_while(bench: &Bench, meanwhile: impl FnOnce()) -> Run {
    let posts = bench.heygen.posts().len();
    bench.heygen.fault(
        "GET /v3/videos/{id}",
        Fault::delay(Duration::from_millis(700)),
    );
    bench.heygen.finish(&bench.video_id(1));
    let check = bench.start("check");
    eventually("the check asks", || {
        bench
            .heygen
            .requests()
            .iter()
            .any(|request| request.method == "GET")
    });
    meanwhile();
    let check = end(check).exits(1);
    assert!(
        check
            .stderr
            .contains("was moved, deleted or replaced while it was in use"),
        "{}",
        check.screen()
    );
    assert!(check.stderr.contains("hint: "), "{}", check.screen());
    assert_eq!(
        bench.heygen.posts().len(),
        posts,
        "no POST whose answer nobody could read"
    );
    assert_eq!(files_below(&bench.path("output")), [] as [PathBuf; 0]);
    check
}

fn move_database(bench: &Bench, to: &str) {
    fs::create_dir_all(bench.path(to)).unwrap();
    for end in ["", "-wal", "-shm", "-lock"] {
        let name = format!("tracker.db{end}");
        fs::rename(bench.path(&name), bench.path(to).join(&name)).unwrap();
    }
}

#[test]
fn b07_a_database_moved_meanwhile_is_noticed_and_put_back() {
    let bench = in_use();
    check_while(&bench, || move_database(&bench, "away"));
    assert!(!bench.db_path().exists(), "nothing is created in its place");
    for end in ["", "-wal", "-shm", "-lock"] {
        let name = format!("tracker.db{end}");
        fs::rename(bench.path("away").join(&name), bench.path(&name)).ok();
    }
    bench.tracker("check").exits(0);
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 2);
    assert_eq!(bench.status(1), "completed");
    bench.assert_invariants();
}

#[test]
fn b07_a_database_deleted_meanwhile_is_noticed_and_not_recreated() {
    let bench = in_use();
    check_while(&bench, || {
        for end in ["", "-wal", "-shm"] {
            fs::remove_file(bench.path(&format!("tracker.db{end}"))).unwrap();
        }
    });
    assert!(!bench.db_path().exists());
    let check = bench.tracker("check").exits(1);
    assert!(
        check.stderr.contains("there is no database"),
        "{}",
        check.screen()
    );
}

#[test]
fn b07_a_database_replaced_meanwhile_is_noticed_and_the_new_one_is_left_alone() {
    let bench = in_use();
    let other = in_use();
    check_while(&bench, || {
        move_database(&bench, "away");
        fs::copy(other.db_path(), bench.db_path()).unwrap();
    });
    assert!(fs::read(bench.db_path()).unwrap() == fs::read(other.db_path()).unwrap());
    assert_eq!(bench.query("PRAGMA integrity_check"), "ok");
}

// --- B8 ---------------------------------------------------------------------------------------------------------

#[test]
fn b08_without_home_nobody_guesses_where_the_database_is() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let before = bench.everything();
    for verb in VERBS.iter().filter(|verb| **verb != "doctor") {
        let refused = run(bench
            .command(verb.split_whitespace())
            .env_remove("HOME")
            .env_remove("TRACKER_DB")
            .env("XDG_DATA_HOME", "relative/is/ignored"))
        .exits(2);
        assert!(
            refused.stderr.contains("HOME is not set"),
            "{verb}: {}",
            refused.screen()
        );
        assert!(
            refused.stderr.contains("--db PATH or TRACKER_DB"),
            "{verb}: {}",
            refused.screen()
        );
    }
    assert_unchanged(&before, &bench, "no HOME");
    assert!(!bench.path("relative").exists());
    assert_eq!(bench.heygen.posts().len(), 0);
}

#[test]
fn b08_only_submit_and_add_create_a_database() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let place = "deep/er/tracker.db";
    let tracker = |verb: &str| bench.tracker(&format!("--db {place} {verb}"));
    for (verb, code, words) in [
        ("check -v", 1, "there is no database at"),
        ("check --wait", 1, "there is no database at"),
        ("show 1", 1, "there is no database at"),
        ("forget 1", 1, "there is no database at"),
        ("forget --older-than 1d", 1, "there is no database at"),
        ("doctor", 0, "to be created by the first submit"),
        ("list", 0, "no videos yet"),
        ("list --stats", 0, ""),
        ("submit --dry-run body.json", 0, ""),
        ("submit no-such-file.json", 2, "no such file"),
    ] {
        let run = tracker(verb).exits(code);
        assert!(run.screen().contains(words), "{verb}: {}", run.screen());
        if code != 0 || verb == "list" {
            assert!(
                run.screen()
                    .contains(if code == 2 { "no-such-file" } else { place }),
                "{verb}: {}",
                run.screen()
            );
        }
        assert!(!bench.path("deep").exists(), "{verb}");
    }
    let keyless = run(bench
        .command(["submit", "body.json", "--db", place])
        .env_remove("HEYGEN_API_KEY"))
    .exits(3);
    assert!(
        keyless.stderr.contains("cron does not see"),
        "{}",
        keyless.screen()
    );
    assert!(!bench.path("deep").exists());
    let json = bench
        .tracker(&format!("--json --db {place} check"))
        .exits(1);
    assert!(
        json.stderr.contains(r#""code":"no_database""#),
        "{}",
        json.screen()
    );
    assert_eq!(bench.heygen.posts().len(), 0);

    tracker("submit body.json").exits(0);
    bench.tracker("--db an/other.db add elsewhere").exits(0);
    assert!(bench.path(place).exists() && bench.path("an/other.db").exists());
    assert!(!bench.db_path().exists(), "no stray database");
}

#[test]
fn b08_places_are_taken_in_order() {
    let bench = Bench::new();
    let place = |flag: Option<&str>, set: &[(&str, &str)]| {
        let mut command = bench.command(["add", "elsewhere"]);
        command.env_remove("TRACKER_DB");
        command.args(flag.map(|path| ["--db", path]).into_iter().flatten());
        for (name, value) in set {
            command.env(name, bench.path(value));
        }
        run(&mut command).exits(0);
    };
    place(None, &[]);
    assert!(
        bench
            .path(".local/share/heygen-tracker/tracker.db")
            .exists()
    );
    place(None, &[("XDG_DATA_HOME", "xdg")]);
    assert!(bench.path("xdg/heygen-tracker/tracker.db").exists());
    place(
        None,
        &[("XDG_DATA_HOME", "unused"), ("TRACKER_DB", "variable.db")],
    );
    assert!(bench.path("variable.db").exists());
    place(
        Some("flag.db"),
        &[
            ("XDG_DATA_HOME", "unused"),
            ("TRACKER_DB", "unused/variable.db"),
        ],
    );
    assert!(bench.path("flag.db").exists());
    assert!(!bench.path("unused").exists());
}

// --- B9 ---------------------------------------------------------------------------------------------------------

const YEAR: i64 = 365 * 24 * 3600 * 1000;

#[test]
fn b09_a_clock_that_is_off_by_a_year_changes_no_outcome_and_no_order() {
    for year in [YEAR, -YEAR] {
        let bench = Bench::new();
        bench.submit(2).exits(0);
        bench.tracker("check").exits(0).silent();
        bench.shift_database(year);
        bench.file("body.json", BODY);
        bench.tracker("submit body.json").exits(0);
        for row in 1..=3 {
            bench.heygen.finish(&bench.video_id(row));
        }
        let check = bench.tracker("check").exits(0);
        assert_eq!(check.stderr, "");
        bench.tracker("check").exits(0).silent();
        let list = bench.tracker("list --fields id,status").exits(0);
        assert_eq!(
            list.stdout,
            "3\tcompleted\n2\tcompleted\n1\tcompleted\n",
            "{}",
            list.screen()
        );
        let show = bench.tracker("show 1 --json").exits(0);
        let kinds: Vec<String> = show.json()[0]["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            kinds.first().map(String::as_str),
            Some("recorded"),
            "{kinds:?}"
        );
        assert_eq!(kinds.last().map(String::as_str), Some("saved"), "{kinds:?}");
        bench.tracker("show 1").exits(0);
        bench.tracker("list --stats").exits(0);
        bench.assert_invariants();
    }
}

#[test]
fn b09_any_time_zone_records_the_same_instants() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    bench.tracker("check").exits(0);
    let in_zone = |zone: Option<&str>, verb: &str| {
        let mut command = bench.command(verb.split_whitespace());
        match zone {
            Some(zone) => command.env("TZ", zone),
            None => command.env_remove("TZ"),
        };
        run(&mut command).exits(0).stdout
    };
    let utc = in_zone(Some("UTC"), "list --json");
    let zones = [
        "",
        "Asia/Kathmandu",
        "No/Such_Zone",
        ":/nonexistent",
        "EST5EDT,M3.2.0,M11.1.0",
        "\u{1}ü",
        "-",
    ];
    for zone in zones.into_iter().map(Some).chain([None]) {
        assert_eq!(in_zone(zone, "list --json"), utc, "{zone:?}");
        assert_eq!(
            in_zone(zone, "list"),
            in_zone(Some("UTC"), "list"),
            "{zone:?}"
        );
        in_zone(zone, "show 1");
        in_zone(zone, "list --since 2020-01-01 --until 2099-12-31");
        in_zone(zone, "check");
    }
    bench.assert_invariants();
}

#[test]
fn b09_an_hour_that_does_not_exist_or_exists_twice_is_no_trouble() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let at = |instant: &str| {
        let millis = chrono::DateTime::parse_from_rfc3339(instant)
            .unwrap()
            .timestamp_millis();
        bench
            .db()
            .execute("UPDATE videos SET submitted_at = ?1", [millis])
            .unwrap();
    };
    // 02:30 is skipped on 29 March 2026 in Berlin, and is there twice on 25 October.
    for (instant, since, until) in [
        (
            "2026-03-29T01:40:00Z",
            "2026-03-29T02:30",
            "2026-03-29T04:00",
        ),
        ("2026-10-25T00:30:00Z", "2026-10-25", "2026-10-25"),
        ("2026-10-25T01:30:00Z", "2026-10-25", "2026-10-25T03:30"),
    ] {
        at(instant);
        let listed = run(bench
            .command(["list", "--since", since, "--until", until])
            .env("TZ", "Europe/Berlin"))
        .exits(0);
        assert!(
            listed.stdout.starts_with("1\t"),
            "{instant}: {}",
            listed.screen()
        );
    }
}

// --- what doctor and every verb say of the file itself ----------------------------------------------------------

#[test]
fn a_database_with_two_names_is_refused() {
    let bench = in_use();
    fs::hard_link(bench.db_path(), bench.path("other.db")).unwrap();
    all_refuse(&bench, &["check", "list"], "has 2 names (hard links)");
    fs::remove_file(bench.path("other.db")).unwrap();
    bench.tracker("check").exits(0);
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

/// Only `check` and `listen` are signs of life: a cron that is dead is noticed beside daily submits.
#[test]
fn a_submit_is_no_sign_that_cron_runs() {
    let bench = in_use();
    bench.tracker("check").exits(0);
    let speaks = || {
        bench
            .tracker("list")
            .exits(0)
            .stderr
            .contains("is cron running?")
    };
    assert!(!speaks());
    bench.advance(Duration::from_secs(2 * 3600));
    bench.tracker("submit body.json").exits(0);
    assert!(speaks());
    bench.tracker("check").exits(0);
    assert!(!speaks());
}
