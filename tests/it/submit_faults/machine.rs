//! Submitting: what this machine does: overlapping runs, the disk, bad bodies.

use std::collections::BTreeSet;

use super::*;

// ---- S12: two at once ------------------------------------------------------------------------------------------------

#[test]
fn s12_two_checks_send_each_row_once() {
    let bench = queued_on(
        Bench::with(Options {
            render: Render::Manual,
            latency: Duration::from_millis(100),
            ..Options::default()
        }),
        40,
    );
    let checks: Vec<Child> = (0..3)
        .map(|_| start(&mut bench.command(["check"])))
        .collect();
    for check in checks {
        end_of(check).exits(0).silent();
    }
    assert_eq!(bench.heygen.posts().len(), 40);
    ends_well(&bench);
}

#[test]
fn s12_a_check_beside_a_submit_in_flight_skips_it_silently() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.heygen.fault(POST, Fault::held());
    let submit = start(&mut bench.command(["submit", "body.json"]));
    eventually("the POST", || bench.heygen.holding() == 1);
    assert_eq!(bench.status(1), "sending");
    bench.tracker("check").exits(0).silent();
    bench.tracker("check 1").exits(0);
    assert_eq!(bench.heygen.posts()[0].answered, None, "still in flight");
    bench.heygen.release();
    let submit = end_of(submit).exits(0);
    assert!(
        submit.stdout.ends_with("\twaiting\n"),
        "{}",
        submit.screen()
    );
    assert_same_posts(&bench, 1);
    ends_well(&bench);
}

#[test]
fn s12_an_expired_row_that_somebody_is_sending_is_left_to_them() {
    let bench = queued();
    bench.heygen.fault(POST, Fault::held());
    let sender = start(&mut bench.command(["check"]));
    eventually("the POST", || bench.heygen.holding() == 1);
    bench.advance(21 * HOUR);
    bench.tracker("check").exits(0).silent();
    bench.heygen.release();
    end_of(sender).exits(0).silent();
    ends_well(&bench);
}

// ---- S14, S15: the disk and the database -----------------------------------------------------------------------------

#[test]
fn s14_a_full_disk_records_nothing_and_posts_nothing() {
    let bench = Bench::new();
    let Some(disk) = SmallDisk::mount(&bench, 4096) else {
        return;
    };
    bench.file("one.json", BODY);
    bench.file("many.jsonl", bodies(100));
    disk.tracker(&bench, "submit --assets none one.json")
        .exits(0);
    // No room to open it, no room for a log, no room for so many rows.
    for kib in [0, 4, 36, 100] {
        disk.fill_but(kib);
        let submit = disk.tracker(&bench, "submit many.jsonl").exits(1);
        assert_eq!(submit.stdout, "", "{kib}: {}", submit.screen());
        assert!(
            submit.stderr.contains("no room left") && !submit.stderr.contains("do not submit"),
            "{kib}: {}",
            submit.screen()
        );
        assert_eq!(bench.heygen.posts().len(), 1, "{kib}");
        disk.make_room();
        assert_eq!(disk.query("SELECT count(*) FROM videos"), 1, "{kib}");
    }
    disk.tracker(&bench, "submit --assets none many.jsonl")
        .exits(0);
    assert_eq!(bench.heygen.billed().len(), 101);
}

#[test]
fn s14_a_failing_write_records_nothing_and_posts_nothing() {
    let bench = queued();
    bench.file("three.jsonl", bodies(3));
    for inject in [
        "pwrite64:error=ENOSPC:when=1+",
        "pwrite64:error=ENOSPC:when=9+",
        "pwrite64:error=EIO:when=14",
        "fsync:error=EIO:when=1+",
        "fsync:error=EIO:when=3",
    ] {
        let Some(submit) = tampered(&bench, inject, "submit three.jsonl") else {
            return;
        };
        let submit = submit.exits(1);
        assert_eq!(submit.stdout, "", "{inject}: {}", submit.screen());
        assert_eq!(bench.heygen.posts().len(), 0, "{inject}");
        assert_eq!(bench.query("SELECT count(*) FROM videos"), "1", "{inject}");
    }
    converges(&bench);
}

/// The database refuses the answer to a POST and nothing else, as a disk that fills up in between would.
fn refuse_answers(bench: &Bench) {
    bench
        .db()
        .execute_batch(
            "CREATE TRIGGER full BEFORE UPDATE OF phase ON videos WHEN NEW.phase = 'accepted'
             BEGIN SELECT RAISE(ABORT, 'no room'); END",
        )
        .expect("a trigger");
}

/// A person can find the video, and the key that asks for it again.
#[track_caller]
fn assert_purchase_is_told(bench: &Bench, run: &Run) {
    let bill = bench.heygen.billed().pop().expect("a bill");
    let key = bill.idempotency_key.expect("a key");
    assert!(
        run.stderr.contains(&bill.video_id)
            && run.stderr.contains(&key)
            && run.stderr.contains("do not submit again"),
        "{}",
        run.screen()
    );
}

#[test]
fn s15_an_answer_that_cannot_be_written_is_told_and_asked_for_again() {
    let bench = queued();
    refuse_answers(&bench);
    let check = bench.tracker("check").exits(1);
    assert_purchase_is_told(&bench, &check);
    assert_sending(&bench, 1);
    bench.db().execute_batch("DROP TRIGGER full").expect("room");
    converges(&bench);
    assert_same_posts(&bench, 2);
}

#[test]
fn s15_a_submit_that_recorded_its_rows_exits_0_whatever_happens_to_the_answers() {
    let bench = queued();
    bench.tracker("check").exits(0);
    refuse_answers(&bench);
    bench.file("body.json", BODY);
    let submit = bench.tracker("submit body.json").exits(0);
    assert_purchase_is_told(&bench, &submit);
    assert_eq!(submit.stdout, "2\t\tsending\n", "{}", submit.screen());
    assert!(submit.stderr.contains("error: "), "{}", submit.screen());
    bench.db().execute_batch("DROP TRIGGER full").expect("room");
    converges(&bench);
}

#[test]
fn s15_a_database_moved_away_during_the_post_is_noticed_and_carried_on_from() {
    let bench = queued();
    bench.heygen.fault(POST, Fault::held());
    let check = start(&mut bench.command(["check"]));
    eventually("the POST", || bench.heygen.holding() == 1);
    let away = bench.path("away.db");
    std::fs::rename(bench.db_path(), &away).expect("a move");
    bench.heygen.release();
    let check = end_of(check).exits(1);
    assert_purchase_is_told(&bench, &check);
    assert!(!bench.db_path().exists(), "no stray database");
    std::fs::rename(&away, bench.db_path()).expect("a move back");
    converges(&bench);
}

#[test]
fn s15_a_database_replaced_during_the_post_gets_nothing() {
    let bench = queued();
    std::fs::copy(bench.db_path(), bench.path("copy.db")).expect("a copy");
    bench.heygen.fault(POST, Fault::held());
    let check = start(&mut bench.command(["check"]));
    eventually("the POST", || bench.heygen.holding() == 1);
    std::fs::rename(bench.path("copy.db"), bench.db_path()).expect("a replacement");
    bench.heygen.release();
    let check = end_of(check).exits(1);
    assert_purchase_is_told(&bench, &check);
    // The copy is from before the POST and has the same key: what is sent again is not bought again.
    converges(&bench);
}

#[test]
fn s15_a_database_moved_away_before_the_post_stops_it() {
    let bench = queued_on(Bench::new(), 40);
    // The first one goes alone.
    bench.heygen.fault(POST, Fault::held().nth(1).times(16));
    let check = start(&mut bench.command(["check"]));
    eventually("the POSTs", || bench.heygen.holding() == 16);
    std::fs::rename(bench.db_path(), bench.path("away.db")).expect("a move");
    bench.heygen.release();
    end_of(check).exits(1);
    assert_eq!(bench.heygen.posts().len(), 17);
    // Until then the same key is refused as in progress.
    eventually("HeyGen has done with all of them", || {
        bench
            .heygen
            .posts()
            .iter()
            .all(|post| post.answered.is_some())
    });
    std::fs::rename(bench.path("away.db"), bench.db_path()).expect("a move back");
    converges(&bench);
}

#[test]
fn s15_a_disk_that_fills_up_during_the_post_loses_nothing() {
    let bench = Bench::new();
    let Some(disk) = SmallDisk::mount(&bench, 512) else {
        return;
    };
    bench.file("body.json", BODY);
    bench.heygen.fault(POST, Fault::held());
    let submit = start(&mut disk.command(&bench, "submit --assets none body.json"));
    eventually("the POST", || bench.heygen.holding() == 1);
    disk.fill_but(0);
    bench.heygen.release();
    let submit = end_of(submit);
    disk.make_room();
    assert_eq!(submit.code, Some(0), "{}", submit.screen());
    assert_purchase_is_told(&bench, &submit);
    assert_eq!(
        disk.query("SELECT count(*) FROM videos WHERE phase = 'sending'"),
        1
    );
    disk.tracker(&bench, "check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 1);
    assert_eq!(
        disk.query("SELECT count(*) FROM videos WHERE phase = 'accepted'"),
        1
    );
}

#[test]
fn s15_a_read_only_database_is_noticed_before_the_post() {
    let bench = Bench::new();
    let Some(disk) = SmallDisk::mount(&bench, 1024) else {
        return;
    };
    bench.file("body.json", BODY);
    disk.tracker(&bench, "submit --queue body.json").exits(0);
    disk.remount("ro");
    for command in ["submit body.json", "check"] {
        let refused = disk.tracker(&bench, command).exits(1);
        assert_eq!(refused.stdout, "", "{}", refused.screen());
    }
    disk.remount("rw");
    assert_eq!(bench.heygen.posts().len(), 0);
    assert_eq!(disk.query("SELECT count(*) FROM videos"), 1);
}

// ---- S16: bad bodies -------------------------------------------------------------------------------------------------

#[test]
fn s15_a_worker_that_panics_ends_the_run_with_an_error_and_the_next_check_carries_on() {
    if !can_strace() {
        return;
    }
    let bench = Bench::new();
    bench.file("body.json", BODY);
    // Of each thread the first: the worker's makes the keys of a hash map, which panics without.
    let random = ["trace=getrandom", "inject=getrandom:error=EIO:when=1"];
    let log = bench.path("log");
    let ended = run(&mut bench.strace(&random, &log, "submit body.json --json"));
    let log = std::fs::read_to_string(log).expect("a log");
    let struck: BTreeSet<_> = log
        .lines()
        .filter(|line| line.contains("INJECTED"))
        .map(|line| line.split(' ').next())
        .collect();
    assert!(struck.len() > 1, "no worker was struck: {log}");
    assert!(ended.stderr.contains("panicked"), "{}", ended.screen());
    // It is recorded.
    assert_eq!(ended.code, Some(0), "{}", ended.screen());
    assert!(
        ended.stderr.contains("internal_error"),
        "{}",
        ended.screen()
    );
    assert!(
        ended.stderr.contains("do not submit it again"),
        "{}",
        ended.screen()
    );
    bench.assert_nothing_locked();
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 1);
    bench.assert_invariants();
}

#[test]
fn s16_one_bad_body_means_none_is_recorded_and_its_place_is_named() {
    let bench = Bench::new();
    let long = format!("{{\"script\":\"{}\"}}", "x".repeat(50 * 1024 * 1024));
    let mixed = format!("{BODY}\n{BODY}\n[1]\n{BODY}");
    let array = format!("[{BODY}, null]");
    for (name, body, place) in [
        ("empty.json", &b""[..], "empty.json: is empty"),
        ("blank.json", b" \n\n", "blank.json: is empty"),
        ("number.json", b"7", "number.json: is not a JSON object"),
        ("string.json", b"\"x\"", "string.json: is not a JSON object"),
        ("none.json", b"[]", "none.json: is an empty array"),
        ("hollow.json", b"{}", "hollow.json: is an empty object"),
        ("nan.json", b"{\"a\":NaN}", "nan.json: is not JSON"),
        ("cut.json", b"{\"a\":", "cut.json: is not JSON"),
        (
            "latin.json",
            b"{\"a\":\"\xe9\"}",
            "latin.json: is not UTF-8",
        ),
        ("long.json", long.as_bytes(), "long.json: is 52428"),
        ("mixed.jsonl", mixed.as_bytes(), "mixed.jsonl, body 3"),
        ("array.json", array.as_bytes(), "array.json, element 2"),
    ] {
        bench.file(name, body);
        bench.file("good.json", BODY);
        let submit = bench.tracker(&format!("submit good.json {name}")).exits(2);
        assert_eq!(submit.stdout, "");
        assert!(submit.stderr.contains(place), "{}", submit.screen());
    }
    let missing = bench.tracker("submit good.json missing.json").exits(2);
    assert!(missing.stderr.contains("missing.json"));
    bench.tracker("submit").exits(2);
    assert!(!bench.db_path().exists());
    assert_eq!(bench.heygen.requests().len(), 0);
}

#[test]
fn s16_bodies_go_out_as_they_were_typed() {
    let bench = Bench::new();
    let typed = [
        r#"{ "type":"avatar", "avatar_id" : "a", "n": 1.50, "big":12345678901234567890123, "a":1, "a":2 }"#,
        "{\"type\":\"avatar\",\r\n\t\"avatar_id\":\"\\u00e9\\/\u{1f3ac}\"}",
    ];
    bench.file("typed.json", typed.join("\n"));
    bench.tracker("submit typed.json").exits(0);
    let mut sent: Vec<String> = bench
        .heygen
        .posts()
        .iter()
        .map(|post| String::from_utf8_lossy(&post.body).into_owned())
        .collect();
    sent.sort();
    let mut typed = typed.map(str::to_owned).to_vec();
    typed.sort();
    assert_eq!(sent, typed);
    ends_well(&bench);
}
