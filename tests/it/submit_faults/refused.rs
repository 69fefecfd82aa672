//! Submitting: answers that say no.

use super::*;

// ---- S4, S5: not now -------------------------------------------------------------------------------------------------

#[test]
fn s04_in_progress_is_asked_again_later_with_the_same_key() {
    let bench = queued();
    bench.heygen.fault(POST, Fault::status(409).times(2));
    for posts in 1..=2 {
        bench.tracker("check").exits(0).silent();
        assert_eq!(bench.heygen.posts().len(), posts);
        bench.tracker("check").exits(0).silent();
        assert_eq!(bench.heygen.posts().len(), posts, "not at once");
        bench.advance(MINUTE + SECOND);
    }
    bench.tracker("check").exits(0).silent();
    assert_same_posts(&bench, 3);
    ends_well(&bench);
}

#[test]
fn s04_in_progress_after_a_lost_answer_leaves_the_row_sending() {
    let bench = queued();
    bench.heygen.fault(POST, Fault::cut_before_answer());
    bench.heygen.fault(POST, Fault::status(409));
    bench.tracker("check").exits(0).silent();
    assert_sending(&bench, 1);
    assert_same_posts(&bench, 2);
    converges(&bench);
    assert_same_posts(&bench, 3);
}

#[test]
fn s05_after_a_429_nothing_is_sent_before_its_time() {
    let date = heygen_tracker::time::now()
        .after(600 * SECOND)
        .to_chrono()
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    each(
        [
            ("600", 600 * SECOND),
            (date.as_str(), 599 * SECOND),
            ("999999999999999999999999", HOUR),
        ],
        |(retry_after, wait)| {
            let bench = queued_on(Bench::new(), 3);
            bench
                .heygen
                .fault(POST, Fault::retry_after(429, retry_after).times(3));
            bench.tracker("check").exits(0).silent();
            let posts = bench.heygen.posts().len();
            for id in 1..=3 {
                assert_unsent(&bench, id);
            }
            let left = send_after(&bench, 1);
            assert!(
                left <= wait + SECOND && left + 2 * MINUTE > wait,
                "{retry_after}: {left:?}"
            );
            // The whole account waits: new rows, named rows, all runs.
            bench.file("body.json", BODY);
            let submit = bench.tracker("submit body.json").exits(0);
            assert!(submit.stderr.contains("do not submit again"));
            bench.tracker("check 1").exits(0);
            bench.advance(wait - 3 * MINUTE);
            bench.tracker("check").exits(0).silent();
            assert_eq!(bench.heygen.posts().len(), posts, "{retry_after}");
            bench.heygen.clear_faults();
            bench.advance(3 * MINUTE + 5 * SECOND);
            bench.tracker("check").exits(0).silent();
            ends_well(&bench);
        },
    );
}

#[test]
fn s05_a_short_wait_is_waited_for_within_the_run() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.heygen.fault(POST, Fault::retry_after(429, "1"));
    let submit = bench.tracker("submit body.json").exits(0);
    assert!(submit.stdout.ends_with("\twaiting\n"));
    assert_eq!(submit.stderr, "");
    assert_same_posts(&bench, 2);
    let posts = bench.heygen.posts();
    assert!(posts[1].at - posts[0].at >= SECOND);
    ends_well(&bench);
}

#[test]
fn s05_garbage_for_a_time_is_a_minute() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let garbage = Fault::retry_after(429, "soon, I hope").forever();
    bench.heygen.fault(POST, garbage);
    bench.tracker("submit body.json").exits(0);
    assert_unsent(&bench, 1);
    let left = send_after(&bench, 1);
    assert!(left > 10 * SECOND && left <= MINUTE, "{left:?}");
    converges(&bench);
}

#[test]
fn s05_a_pause_from_a_clock_that_ran_ahead_does_not_outlast_the_next_one() {
    let bench = queued_on(Bench::new(), 2);
    bench
        .heygen
        .fault(POST, Fault::retry_after(429, "600").times(4));
    bench.tracker("check").exits(0).silent();
    let before = bench.heygen.posts().len();
    // The clock was a year ahead and is right again: that pause means nothing, the next one does.
    bench.shift_database(365 * 24 * 3_600_000);
    bench.tracker("check").exits(0).silent();
    let posts = bench.heygen.posts().len();
    assert!(posts > before, "held back by a time that will not come");
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    assert_eq!(bench.heygen.posts().len(), posts, "sent during a pause");
    bench.heygen.allow_unused();
    converges(&bench);
}

#[test]
fn s05_a_hundred_bodies_drip_into_a_plan_of_ten() {
    let bench = Bench::with(plan_of(10, 60));
    bench.file("hundred.jsonl", bodies(100));
    let submit = bench.tracker("submit --assets none hundred.jsonl").exits(0);
    assert_eq!(submit.stdout.lines().count(), 100);
    assert_eq!(
        submit.stderr,
        "warning: all 100 are recorded, 10 sent; do not submit again: check sends the rest\n"
    );
    let mut rounds = 0;
    while bench.query("SELECT count(*) FROM videos WHERE finished = 0") != "0" {
        rounds += 1;
        assert!(rounds <= 12, "does not drip");
        // During the pause nothing is sent, and nothing is said.
        let posts = bench.heygen.posts().len();
        bench.tracker("check").exits(0).silent();
        assert_eq!(bench.heygen.posts().len(), posts);
        for id in bench.heygen.videos() {
            bench.heygen.finish(&id);
        }
        bench.advance(MINUTE + SECOND);
        bench.tracker("check").exits(0).silent();
    }
    assert_eq!(bench.heygen.billed().len(), 100);
    bench.assert_invariants();
}

// ---- S7: refused bodies ----------------------------------------------------------------------------------------------

#[test]
fn s07_a_refused_body_is_rejected_and_said_once() {
    each(
        [
            (400, "invalid_parameter"),
            (404, "not_found"),
            (413, "too_large"),
            (422, "unprocessable"),
        ],
        |(status, code)| {
            let bench = queued_on(Bench::new(), 2);
            let refusal = json!({"error": {"code": code, "message": "no such avatar"}});
            bench.heygen.fault(POST, Fault::json(status, &refusal));
            let check = bench.tracker("check").exits(0);
            assert_eq!(check.stderr, "");
            assert_eq!(check.stdout.lines().count(), 1, "{}", check.screen());
            assert!(
                check.stdout.contains(&format!("{code}: no such avatar")),
                "{}",
                check.screen()
            );
            let refused = "SELECT failure_code || ' ' || failure_message FROM videos WHERE phase = 'rejected'";
            assert_eq!(bench.query(refused), format!("{code} no such avatar"));
            bench.tracker("check").exits(0).silent();
            assert_eq!(bench.heygen.posts().len(), 2);
            converges(&bench);
            assert_eq!(bench.heygen.posts().len(), 2, "not sent again");
        },
    );
}

#[test]
fn s07_submit_exits_1_when_a_body_is_refused_and_sends_the_others() {
    let bench = Bench::new();
    bench.file("two.jsonl", format!("{{\"type\":\"hologram\"}}\n{BODY}"));
    let submit = bench.tracker("submit two.jsonl").exits(1);
    let statuses: Vec<_> = submit
        .stdout
        .lines()
        .map(|line| line.rsplit('\t').next().expect("a status"))
        .collect();
    assert_eq!(statuses, ["rejected", "waiting"], "{}", submit.screen());
    assert!(
        submit
            .stderr
            .contains("error: 1 rejected: invalid_parameter: type must be one of"),
        "{}",
        submit.screen()
    );
    bench.tracker("check").exits(0).silent();
    ends_well(&bench);
}

// ---- S8: the key is refused ------------------------------------------------------------------------------------------

#[test]
fn s08_a_refused_key_stops_the_run_and_the_next_one_tries_one_row_first() {
    let wrong = [("HEYGEN_API_KEY", "wrong-key")];
    let bench = Bench::new();
    bench.file("bodies.jsonl", bodies(40));
    let submit = tracker_env(&bench, "submit bodies.jsonl", &wrong).exits(3);
    assert!(
        submit
            .stderr
            .contains("all 40 are recorded, 0 sent; do not submit again"),
        "{}",
        submit.screen()
    );
    let tried = bench.heygen.posts().len();
    assert!(tried <= 16, "{tried} POSTs with a refused key");
    tracker_env(&bench, "check", &wrong).exits(3);
    assert_eq!(bench.heygen.posts().len(), tried + 1, "one row first");
    for id in 1..=40 {
        assert_unsent(&bench, id);
    }
    // Neither account nor clock: another key may send them after days in which cron kept trying.
    for _ in 0..5 {
        bench.advance(19 * HOUR);
        tracker_env(&bench, "check", &wrong).exits(3);
    }
    let tried = bench.heygen.posts().len() - 1;
    let check = bench.tracker("check").exits(0);
    assert!(
        check.stderr.contains("resolved after"),
        "{}",
        check.screen()
    );
    assert_eq!(bench.heygen.posts().len(), tried + 1 + 40);
    ends_well(&bench);
}

#[test]
fn s08_a_forbidden_post_waits_like_a_refused_key() {
    let bench = queued_on(Bench::new(), 5);
    bench.heygen.fault(POST, Fault::status(403).forever());
    let check = bench.tracker("check").exits(3);
    assert_eq!(
        check.stderr.matches("error:").count(),
        1,
        "told once for all"
    );
    let tried = bench.heygen.posts().len();
    bench.tracker("check").exits(3).silent();
    assert_eq!(bench.heygen.posts().len(), tried + 1);
    for id in 1..=5 {
        assert_unsent(&bench, id);
    }
    converges(&bench);
}

#[test]
fn without_a_key_nothing_is_recorded() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let submit = tracker_env(&bench, "submit body.json", &[("HEYGEN_API_KEY", "")]).exits(3);
    assert_eq!(submit.stdout, "");
    assert!(
        submit.stderr.contains("HEYGEN_API_KEY"),
        "{}",
        submit.screen()
    );
    assert!(!bench.db_path().exists());
    assert_eq!(bench.heygen.requests().len(), 0);
}

// ---- S11: another account --------------------------------------------------------------------------------------------

#[test]
fn s11_only_the_account_of_the_lost_answer_replays_it() {
    let bench = Bench::with(Options {
        render: Render::Manual,
        other_keys: vec!["second-key".to_owned()],
        ..Options::default()
    });
    let bench = queued_on(bench, 2);
    // Row 1 loses its answer; row 2 is refused for the moment and stays free.
    bench
        .heygen
        .fault(POST, Fault::cut_before_answer().times(2));
    bench.tracker("check --max-active 1").exits(1);
    bench.advance(2 * MINUTE);
    let free = bench.query("SELECT id FROM videos WHERE phase = 'unsent'");
    let tied = bench.query("SELECT id FROM videos WHERE phase = 'sending'");

    let second = [("HEYGEN_API_KEY", "second-key")];
    let check = tracker_env(&bench, "check", &second).exits(1);
    assert!(
        check.stderr.contains("another key or base URL"),
        "{}",
        check.screen()
    );
    assert_sending(&bench, tied.parse().expect("a row"));
    let free: i64 = free.parse().expect("a row");
    assert_unsent(&bench, free);
    assert_eq!(
        bench.heygen.billed().len(),
        1,
        "both belong to the first key"
    );
    tracker_env(&bench, "check", &second).exits(1).silent();

    let other_base = bench.heygen.api_base().replace("127.0.0.1", "localhost");
    let elsewhere = [("HEYGEN_API_BASE", other_base.as_str())];
    let posts = bench.heygen.posts().len();
    tracker_env(&bench, "check", &elsewhere).exits(1);
    assert_eq!(bench.heygen.posts().len(), posts);

    bench.tracker("check");
    assert_eq!(bench.status(tied.parse().expect("a row")), "waiting");
    assert_eq!(bench.heygen.billed().len(), 2);
    bench.assert_invariants();
}

// ---- S13: redirects --------------------------------------------------------------------------------------------------

#[test]
fn s13_a_redirected_post_is_not_followed() {
    each([301, 302, 303, 307, 308], |status| {
        let bench = queued();
        let target = format!("{}/v3/videos", bench.heygen.files_base());
        bench
            .heygen
            .fault(POST, Fault::redirect(status, &target).forever());
        let check = bench.tracker("check").exits(1);
        assert!(check.stderr.contains("redirect"), "{}", check.screen());
        assert_sending(&bench, 1);
        assert_same_posts(&bench, 2);
        assert_eq!(bench.heygen.file_requests().len(), 0);
        converges(&bench);
    });
}

// ---- S17: no credit --------------------------------------------------------------------------------------------------

#[test]
fn s17_after_a_402_the_row_waits_under_a_new_key() {
    let bench = queued();
    let old = row(&bench, 1).key;
    // HeyGen remembers its refusal: the old key would be refused for a day.
    bench.heygen.fault(POST, Fault::status(402).remembered());
    let check = bench.tracker("check").exits(1);
    assert!(
        check.stderr.contains("hint: add credit"),
        "{}",
        check.screen()
    );
    assert_unsent(&bench, 1);
    let new = row(&bench, 1).key;
    assert_ne!(new, old);
    let check = bench.tracker("check").exits(0);
    assert!(
        check.stderr.contains("resolved after"),
        "{}",
        check.screen()
    );
    let posts = bench.heygen.posts();
    let keys: Vec<_> = posts.iter().map(key_of).collect();
    assert_eq!(keys, [old, new]);
    assert_eq!(posts[0].body, posts[1].body);
    ends_well(&bench);
}

#[test]
fn s17_without_credit_each_run_tries_one_row() {
    let bench = queued_on(Bench::new(), 40);
    bench.heygen.fault(POST, Fault::status(402).forever());
    let check = bench.tracker("check").exits(1);
    assert_eq!(
        check.stderr.matches("error:").count(),
        1,
        "{}",
        check.screen()
    );
    let tried = bench.heygen.posts().len();
    assert!(tried <= 16, "{tried} POSTs without credit");
    bench.tracker("check").exits(1).silent();
    assert_eq!(bench.heygen.posts().len(), tried + 1);
    converges(&bench);
}

#[test]
fn s17_a_402_after_a_lost_answer_keeps_the_key() {
    let bench = unanswered();
    let key = row(&bench, 1).key;
    bench.heygen.fault(POST, Fault::status(402));
    bench.advance(MINUTE + SECOND);
    bench.tracker("check").exits(1);
    assert_sending(&bench, 1);
    assert_eq!(row(&bench, 1).key, key);
    converges(&bench);
    assert_same_posts(&bench, 4);
}

// ---- S18: a replay is refused ----------------------------------------------------------------------------------------

#[test]
fn s18_a_replay_refused_for_the_moment_stays_sending() {
    each(
        [(401, 3), (402, 1), (403, 3), (409, 0), (429, 0)],
        |(status, exit)| {
            let bench = unanswered();
            bench.heygen.fault(POST, Fault::retry_after(status, "60"));
            bench.advance(MINUTE + SECOND);
            bench.tracker("check").exits(exit);
            assert_sending(&bench, 1);
            converges(&bench);
            assert_same_posts(&bench, 4);
        },
    );
}

#[test]
fn s18_a_replay_whose_body_is_refused_is_rejected_and_needs_a_look() {
    each([400, 404, 413, 422], |status| {
        let bench = unanswered();
        bench.heygen.fault(POST, Fault::status(status));
        bench.advance(MINUTE + SECOND);
        let check = bench.tracker("check").exits(1);
        assert!(check.stdout.contains("1 rejected"), "{}", check.screen());
        assert_eq!(bench.status(1), "rejected");
        bench.tracker("check").exits(0).silent();
        assert_same_posts(&bench, 3);
        bench.assert_invariants();
    });
}

#[test]
fn s18_the_first_try_is_lost_and_the_second_of_the_same_run_is_refused() {
    each([401, 402, 403, 409, 429], |status| {
        let bench = queued();
        let key = row(&bench, 1).key;
        bench.heygen.fault(POST, Fault::cut_before_answer());
        bench.heygen.fault(POST, Fault::retry_after(status, "60"));
        bench.tracker("check");
        assert_sending(&bench, 1);
        assert_eq!(row(&bench, 1).key, key, "{status}");
        converges(&bench);
        assert_same_posts(&bench, 3);
    });
}
