//! B2: pages and rows that are not as they were written.

use super::*;

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
