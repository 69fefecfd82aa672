//! Whose word an answer is, whose row it is, and how old a key may be.

use serde_json::Value;

use super::*;

/// What stands between this machine and HeyGen says with a status: anything but HeyGen's own envelope.
fn pages(status: u16) -> Vec<Fault> {
    vec![
        Fault::html(status),
        Fault::body(status, "text/plain", ""),
        Fault::json(status, &json!({})),
        Fault::json(
            status,
            &json!({"message": "no Route matched with those values"}),
        ),
        Fault::json(
            status,
            &json!({"error": {"code": status, "message": "Not Found"}}),
        ),
        Fault::json(status, &json!({"error": "not found"})),
    ]
}

fn keys(bench: &Bench) -> String {
    bench.query("SELECT group_concat(idempotency_key) FROM videos")
}

fn with_key(bench: &Bench, arguments: &str, key: &str) -> Run {
    tracker_env(bench, arguments, &[("HEYGEN_API_KEY", key)])
}

fn two_accounts() -> Bench {
    Bench::with(Options {
        render: Render::Manual,
        other_keys: vec!["second-key".to_owned()],
        ..Options::default()
    })
}

#[test]
fn s07b_a_gateway_s_page_ends_no_row_and_stops_the_queue() {
    each(pages(404), |page| {
        let bench = queued_on(Bench::new(), 50);
        let before = keys(&bench);
        bench.heygen.fault(POST, page.forever());
        let check = bench.tracker("check").exits(1);
        assert_eq!(check.stdout, "", "{}", check.screen());
        assert_eq!(check.stderr.matches("error:").count(), 1, "one outage");
        assert!(bench.heygen.posts().len() <= 3, "the queue stops");
        for id in 1..=50 {
            assert_unsent(&bench, id);
        }
        bench.tracker("check").exits(1).silent();
        assert!(bench.heygen.posts().len() <= 4, "one row first");
        assert_eq!(keys(&bench), before);
        converges(&bench);
    });
}

#[test]
fn s07b_a_replay_that_meets_a_page_keeps_its_key() {
    each([400, 402, 403, 404, 413, 422], |status| {
        for page in pages(status) {
            let bench = queued();
            bench
                .heygen
                .fault(POST, Fault::cut_before_answer().times(2));
            bench.tracker("check").exits(1);
            assert_sending(&bench, 1);
            let before = keys(&bench);
            bench.advance(2 * MINUTE);
            bench.heygen.fault(POST, page.forever());
            bench.tracker("check").exits(1);
            assert_sending(&bench, 1);
            assert_eq!(keys(&bench), before, "{status}");
            assert_eq!(bench.heygen.billed().len(), 1, "the lost answer's");
            converges(&bench);
        }
    });
}

#[test]
fn s04_in_progress_on_a_first_post_means_that_heygen_knows_the_key() {
    let bench = queued();
    bench.heygen.fault(POST, Fault::status(409));
    bench.tracker("check").exits(0).silent();
    assert_sending(&bench, 1);
    // Its 20 hours run.
    bench.advance(21 * HOUR);
    bench.tracker("check").exits(1);
    assert_eq!(bench.status(1), "unknown");
    assert_eq!(bench.heygen.posts().len(), 1);
}

#[test]
fn s20_a_restored_backup_submits_nothing_by_itself_once_its_keys_may_be_forgotten() {
    let bench = queued_on(Bench::new(), 3);
    let backup = std::fs::read(bench.db_path()).expect("the backup");
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 3);
    let restore = || {
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(bench.path(&format!("tracker.db{suffix}"))).ok();
        }
        bench.file("tracker.db", &backup);
    };

    // Within the window the same keys make it harmless.
    restore();
    bench.advance(10 * HOUR);
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 3, "answered as before");

    restore();
    bench.advance(30 * HOUR);
    let posts = bench.heygen.posts().len();
    let check = bench.tracker("check").exits(1);
    assert_eq!(bench.heygen.posts().len(), posts, "{}", check.screen());
    assert_eq!(bench.heygen.billed().len(), 3);
    for id in 1..=3 {
        assert_eq!(bench.status(id), "unknown");
    }
    assert!(
        bench
            .tracker("show 1")
            .exits(0)
            .stdout
            .contains("another copy"),
        "show says why"
    );
    bench.tracker("check").exits(0).silent();
    let hint = "not there: tracker check 2 submits it";
    let show = bench.tracker("show 2").exits(0);
    assert!(show.stdout.contains(hint), "{}", show.screen());
    // A person says so.
    let check = bench.tracker("check 2").exits(0);
    assert_eq!(
        check.stderr,
        "warning: 2 was held back; it is submitted now\n"
    );
    assert_eq!(bench.status(2), "waiting");
    assert_eq!(bench.heygen.posts().len(), posts + 1);
}

#[test]
fn s20_a_refusal_for_want_of_credit_is_followed_by_the_same_key_in_every_copy() {
    let bench = queued();
    let backup = std::fs::read(bench.db_path()).expect("the backup");
    for _ in 0..2 {
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(bench.path(&format!("tracker.db{suffix}"))).ok();
        }
        bench.file("tracker.db", &backup);
        bench.heygen.fault(POST, Fault::status(402));
        bench.tracker("check").exits(1);
        bench.tracker("check").exits(0);
        assert_eq!(bench.status(1), "waiting");
    }
    assert_eq!(bench.heygen.billed().len(), 1);
}

#[test]
fn s20_a_clock_that_is_days_behind_holds_back_nothing_that_is_submitted_now() {
    let bench = Bench::new();
    let ahead = heygen_tracker::time::now().after(48 * HOUR);
    let date = ahead.to_chrono().format("%a, %d %b %Y %H:%M:%S GMT");
    let ahead = Fault::set_header("Date", &date.to_string());
    bench
        .heygen
        .fault("GET /v3/users/me", ahead.clone().forever());
    bench.heygen.fault(POST, ahead.forever());
    bench.submit(3).exits(0);
    for id in 1..=3 {
        assert_eq!(bench.status(id), "waiting");
    }
}

#[test]
fn s20_a_queue_that_is_worked_on_may_take_days() {
    let bench = queued_on(Bench::new(), 2);
    bench.heygen.fault(POST, Fault::status(402).forever());
    for _ in 0..4 {
        bench.tracker("check").exits(1);
        bench.advance(15 * HOUR);
    }
    bench.heygen.clear_faults();
    bench.tracker("check").exits(0);
    ends_well(&bench);
}

fn unanswered_for_five_minutes() -> Bench {
    let bench = queued();
    bench
        .heygen
        .fault(POST, Fault::cut_before_answer().times(2));
    bench.tracker("check").exits(1);
    bench.advance(5 * MINUTE);
    bench
}

#[test]
fn s20_a_clock_that_stands_still_replays_no_forgotten_key() {
    let bench = unanswered_for_five_minutes();
    // By HeyGen's clock a day has passed.
    let tomorrow = heygen_tracker::time::now().after(25 * HOUR);
    let date = tomorrow.to_chrono().format("%a, %d %b %Y %H:%M:%S GMT");
    let posts = bench.heygen.posts().len();
    let ahead = || Fault::set_header("Date", &date.to_string());
    bench.heygen.fault("GET /v3/users/me", ahead().forever());
    let check = bench.tracker("check").exits(1);
    assert_eq!(bench.status(1), "unknown", "{}", check.screen());
    assert_eq!(bench.heygen.posts().len(), posts);
    assert!(
        check.stderr.starts_with("warning: this machine's clock is"),
        "{}",
        check.screen()
    );
}

#[test]
fn s20_the_clock_of_what_stands_between_says_nothing_about_a_key() {
    let bench = unanswered_for_five_minutes();
    let gateway = Fault::html(502).header("Date", "Fri, 01 Jan 2038 00:00:00 GMT");
    bench.heygen.fault("GET /v3/users/me", gateway.forever());
    let fresh = BODY.replace("Hello", "Fresh");
    bench.file("fresh.json", fresh);
    bench.tracker("submit fresh.json").exits(0);
    assert_eq!(bench.status(2), "waiting", "its key is new");
    let posts = bench.heygen.posts().len();
    bench.tracker("check 1").exits(1);
    assert_sending(&bench, 1);
    assert_eq!(bench.heygen.posts().len(), posts);
    bench.heygen.clear_faults();
    bench.tracker("check 1").exits(0);
    assert_eq!(bench.status(1), "waiting");
    ends_well(&bench);
}

#[test]
fn s20_where_nobody_says_what_time_it_is_our_clock_counts() {
    let bench = unanswered_for_five_minutes();
    bench
        .heygen
        .fault("GET /v3/users/me", Fault::html(404).forever());
    bench.tracker("check").exits(0);
    assert_eq!(bench.status(1), "waiting");
    ends_well(&bench);
}

#[test]
fn s11_a_queued_row_is_submitted_only_by_the_account_it_was_recorded_under() {
    let bench = queued_on(two_accounts(), 2);
    let other = with_key(&bench, "check", "second-key").exits(1);
    assert!(other.stderr.contains("another key"), "{}", other.screen());
    assert_eq!(bench.heygen.posts().len(), 0);
    with_key(&bench, "check", "second-key").exits(1).silent();
    with_key(&bench, "check 1", "second-key").exits(1);
    assert_eq!(bench.heygen.posts().len(), 0);
    let own = bench.tracker("check").exits(0);
    assert!(own.stderr.contains("after"), "it is over: {}", own.screen());
    assert!(
        bench
            .heygen
            .billed()
            .iter()
            .all(|bill| bill.key != "second-key")
    );
    ends_well(&bench);
}

#[test]
fn s11_a_row_recorded_without_a_key_belongs_to_the_first_account_that_sends_it() {
    let bench = two_accounts();
    bench.file("body.json", BODY);
    with_key(&bench, "submit --queue body.json", "").exits(0);
    assert_eq!(bench.query("SELECT account FROM videos"), "");
    bench.heygen.fault(POST, Fault::status(402));
    with_key(&bench, "check", "second-key").exits(1);
    assert_unsent(&bench, 1);
    let account = bench.query("SELECT account FROM videos");
    assert_ne!(account, "");
    bench.tracker("check").exits(1);
    assert_eq!(bench.query("SELECT account FROM videos"), account);
    assert_eq!(bench.heygen.billed().len(), 0);
    with_key(&bench, "check", "second-key").exits(0);
    assert_eq!(bench.heygen.billed()[0].key, "second-key");
}

#[test]
fn an_answer_that_names_another_row_s_video_is_asked_for_once_more() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let first = bench.video_id(1);
    bench.file("body.json", BODY);
    let stray = json!({"data": {"video_id": first, "status": "waiting"}});
    bench.heygen.fault(POST, Fault::json(200, &stray));
    bench.tracker("submit body.json").exits(0);
    assert_eq!(bench.status(2), "waiting");
    assert_ne!(bench.video_id(2), first);
    let keys: Vec<String> = bench.heygen.posts()[1..]
        .iter()
        .map(|post| key_of(post).to_owned())
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    ends_well(&bench);
}

#[test]
fn an_outage_of_one_account_is_not_over_because_another_one_works() {
    let bench = two_accounts();
    bench.rendering(1);
    bench.file("body.json", BODY);
    with_key(&bench, "submit body.json", "second-key").exits(0);
    bench.file("queue.json", BODY.replace("Hello\"", "Queued\""));
    bench.tracker("submit --queue queue.json").exits(0);
    bench.heygen.fault(POST, Fault::status(402));
    bench.tracker("check").exits(1);
    let count = "SELECT count(*) FROM troubles WHERE kind = 'credit'";
    assert_eq!(bench.query(count), "1");
    bench.file("more.json", BODY.replace("Hello\"", "More\""));
    let submit = with_key(&bench, "submit more.json", "second-key").exits(0);
    assert!(!submit.stderr.contains("after"), "{}", submit.screen());
    assert_eq!(bench.query(count), "1");
    let check = bench.tracker("check");
    assert!(check.stderr.contains("after"), "{}", check.screen());
    assert_eq!(bench.query(count), "0");
}

/// The JSON of one row, for what a script sees.
fn shown(bench: &Bench, id: i64) -> Value {
    let show = bench.tracker(&format!("show {id} --json")).exits(0);
    serde_json::from_str(&show.stdout).expect("JSON")
}

#[test]
fn a_row_that_may_have_been_submitted_says_so_whatever_its_status_is() {
    let bench = queued();
    bench
        .heygen
        .fault(POST, Fault::cut_before_answer().times(2));
    bench.tracker("check").exits(1);
    bench.advance(2 * MINUTE);
    bench.heygen.fault(POST, Fault::status(400));
    bench.tracker("check").exits(1);
    assert_eq!(shown(&bench, 1)["status"], "rejected");
    assert_eq!(
        bench.query("SELECT first_unanswered_at IS NOT NULL FROM videos"),
        "1"
    );
    bench.tracker("retry --failed").exits(0);
    assert_eq!(
        bench.query("SELECT count(*) FROM videos"),
        "1",
        "not by itself"
    );
}
