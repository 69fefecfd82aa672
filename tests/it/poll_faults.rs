//! What goes wrong while HeyGen is asked: the rows of the fault table's section "Poll", each to its clean end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::heygen::{Fault, Host, Options, Render};
use heygen_tracker::video::Asset;
use serde_json::{Value, json};

use crate::support::{Asked, Bench, Run, end, eventually};

const BULK: &str = "GET /v3/videos/statuses";
const OWN: &str = "GET /v3/videos/{id}";
const MINUTE: Duration = Duration::from_secs(60);

/// A bench with `count` videos in the making.
fn rendering(count: usize) -> Bench {
    let bench = Bench::new();
    bench.rendering(count);
    bench
}

/// A bench with `count` videos that HeyGen has finished and nobody has asked about since.
fn finished(count: usize) -> Bench {
    let bench = rendering(count);
    finish_all(&bench);
    bench
}

fn finish_all(bench: &Bench) {
    for id in bench.heygen.videos() {
        bench.heygen.finish(&id);
    }
}

/// How often a row's own GET was made.
fn own_gets(bench: &Bench, row: i64) -> usize {
    let path = format!("/v3/videos/{}", bench.video_id(row));
    let requests = bench.heygen.api_requests();
    requests
        .iter()
        .filter(|request| request.path == path)
        .count()
}

fn own(bench: &Bench, row: i64) -> String {
    format!("GET /v3/videos/{}", bench.video_id(row))
}

fn count(bench: &Bench, condition: &str) -> String {
    bench.query(&format!("SELECT count(*) FROM videos WHERE {condition}"))
}

fn asked(bulk: usize, own: usize) -> Asked {
    Asked { bulk, own }
}

/// The lines that begin with `error: `.
fn errors(run: &Run) -> Vec<&str> {
    run.stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect()
}

/// Without faults everything ends as if nothing had happened: all completed, all saved, then silence.
fn converges(bench: &Bench) {
    finish_all(bench);
    bench.tracker("check").exits(0);
    assert_eq!(count(bench, "status <> 'completed' OR NOT finished"), "0");
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state <> 'saved'"),
        "0"
    );
    assert_eq!(count(bench, "error_code IS NOT NULL"), "0");
    let (idle, requests) = bench.asking("check");
    idle.exits(0).silent();
    assert_eq!(requests, asked(0, 0));
    bench.assert_invariants();
}

#[test]
fn p01_unknown_status_words_are_kept_verbatim_and_asked_again() {
    let bench = rendering(3);
    let words = ["re-rendering (v2)", "Completed", "не готово"];
    for (row, word) in (1..).zip(words) {
        bench.heygen.set_status(&bench.video_id(row), word);
    }
    for _ in 0..2 {
        let (check, requests) = bench.asking("check");
        check.exits(0).silent();
        assert_eq!(requests, asked(1, 0));
        assert_eq!([1, 2, 3].map(|row| bench.status(row)), words);
        assert_eq!(count(&bench, "finished"), "0");
    }
    let one = bench.asking("check 1");
    one.0.exits(0).silent();
    assert_eq!(one.1, asked(0, 1));
    converges(&bench);
}

#[test]
fn p02_answers_that_cannot_be_used_leave_the_row_and_the_others_go_on() {
    let bench = finished(8);
    let envelope = json!({"error": {"code": "internal_error", "message": "Something broke"}});
    let unusable = [
        Fault::patch_detail(json!({"status": null})),
        Fault::patch_detail(json!({"status": 7})),
        Fault::patch_detail(json!({"status": ""})),
        Fault::patch_detail(json!({"id": "somebody-elses"})),
        Fault::body(200, "application/json", "{\"data\": {\"id\""),
        Fault::html(200),
        Fault::json(200, &envelope),
    ];
    for (row, fault) in (1..).zip(unusable) {
        bench.heygen.fault(&own(&bench, row), fault);
    }
    let (check, requests) = bench.asking("check");
    let check = check.exits(1);
    assert_eq!(
        requests,
        asked(1, 8),
        "garbage is not asked for again at once"
    );
    assert_eq!(errors(&check).len(), 7, "{}", check.screen());
    assert_eq!(check.stdout.lines().count(), 1, "{}", check.screen());
    assert_eq!(bench.status(8), "completed");
    assert_eq!(
        count(&bench, "status = 'waiting' AND error_operation = 'poll'"),
        "7"
    );
    assert_eq!(count(&bench, "error_code = 'bad_response'"), "6");
    assert_eq!(count(&bench, "error_code = 'internal_error'"), "1");
    converges(&bench);
}

#[test]
fn p02_the_only_row_s_garbage_is_its_own_trouble() {
    let bench = finished(1);
    bench.heygen.fault(OWN, Fault::html(200));
    let check = bench.tracker("check").exits(1);
    assert_eq!(errors(&check).len(), 1, "{}", check.screen());
    assert!(
        check
            .stderr
            .starts_with("error: 1 waiting \"Video 1\": bad_response: "),
        "{}",
        check.screen()
    );
    assert_eq!(bench.status(1), "waiting");
    converges(&bench);
}

/// A captive portal or a gateway's login page is everybody's trouble, not every row's.
#[test]
fn p02_garbage_for_everybody_is_one_trouble() {
    for fault in [
        Fault::html(200),
        Fault::redirect(302, "https://login.example/"),
    ] {
        let bench = rendering(100);
        bench
            .heygen
            .fault("* /v3/videos/{id}", fault.clone().forever());
        bench.heygen.fault(BULK, fault.forever());
        let (check, requests) = bench.asking("check");
        let check = check.exits(1);
        assert_eq!(errors(&check).len(), 1, "{}", check.screen());
        assert!(requests.own <= 20, "{requests:?}");
        bench.heygen.clear_faults();
        converges(&bench);
    }
}

#[test]
fn p03_completed_without_a_url_is_completed_and_asked_again() {
    let bench = Bench::with(Options {
        render: Render::Manual,
        gets_without_urls: 2,
        ..Options::default()
    });
    bench.rendering(1);
    finish_all(&bench);
    for _ in 0..2 {
        let (check, requests) = bench.asking("check");
        check.exits(0).silent();
        assert_eq!(requests, asked(0, 1));
        assert_eq!(bench.status(1), "completed");
        assert_eq!(count(&bench, "finished"), "0");
        assert_eq!(bench.query("SELECT state FROM files"), "wanted");
    }
    let saved = bench.tracker("check").exits(0);
    assert!(
        saved.stdout.starts_with("1 saved \"Video 1\": "),
        "{}",
        saved.screen()
    );
    converges(&bench);
}

#[test]
fn p04_missing_needs_two_404s_an_hour_apart() {
    let bench = rendering(2);
    bench.heygen.forget_video(&bench.video_id(1));

    let (first, requests) = bench.asking("check");
    let first = first.exits(1);
    assert_eq!(
        requests,
        asked(1, 1),
        "the bulk answer is a hint, the row's own GET decides"
    );
    assert!(
        first
            .stderr
            .starts_with("error: 1 waiting \"Video 1\": not_found: "),
        "{}",
        first.screen()
    );
    assert_eq!(first.stdout, "");

    bench.stalled_already();
    bench.advance(59 * MINUTE);
    bench.tracker("check").exits(1).silent();
    assert_eq!(bench.status(1), "waiting");

    bench.advance(2 * MINUTE);
    let second = bench.tracker("check").exits(0);
    assert_eq!(
        second.stdout,
        "1 missing \"Video 1\": HeyGen does not have it any more (tracker show 1)\n"
    );
    assert_eq!(
        second.stderr, "",
        "a trouble that was confirmed is not over"
    );
    assert_eq!(bench.status(1), "missing");
    assert_eq!(
        bench.query("SELECT error_code FROM videos WHERE id = 1"),
        ""
    );

    let asked_before = own_gets(&bench, 1);
    bench.heygen.finish(&bench.video_id(2));
    bench.tracker("check").exits(0);
    bench.tracker("check").exits(0).silent();
    assert_eq!(own_gets(&bench, 1), asked_before, "missing is finished");
    bench.assert_invariants();
}

#[test]
fn p04_a_sight_in_between_starts_the_hour_anew() {
    let bench = rendering(1);
    bench.heygen.fault(OWN, Fault::status(404));
    bench.tracker("check").exits(1);
    bench.advance(40 * MINUTE);
    bench.tracker("check").exits(0);
    bench.heygen.fault(OWN, Fault::status(404).times(2));
    bench.advance(40 * MINUTE);
    bench.tracker("check").exits(1);
    bench.advance(40 * MINUTE);
    bench.tracker("check").exits(1);
    assert_eq!(bench.status(1), "pending");
    converges(&bench);
}

#[test]
fn p04_saved_files_and_the_end_stay_when_heygen_forgets() {
    let bench = finished(1);
    bench.tracker("check").exits(0);
    let id = bench.video_id(1);
    let bytes = bench.heygen.expected(&id, Asset::Video);
    bench.heygen.forget_video(&id);
    bench.tracker("check 1").exits(1);
    bench.advance(30 * MINUTE);
    bench.tracker("check 1").exits(1);
    bench.advance(31 * MINUTE);
    bench.tracker("check 1").exits(0);
    assert_eq!(bench.status(1), "completed");
    assert!(std::fs::read(bench.path(&format!("output/{id}.mp4"))).expect("the file") == bytes);
    bench.tracker("check").exits(0).silent();
}

/// Nobody would ever look again: a paid video that was never fetched is worth a line, even with `-q`.
#[test]
fn p04_a_completed_video_that_is_gone_before_it_was_saved_is_told() {
    let bench = finished(1);
    bench.tracker("check --no-download").exits(0).silent();
    bench.heygen.forget_video(&bench.video_id(1));
    for _ in 0..2 {
        bench.tracker("check").exits(1);
        bench.advance(31 * MINUTE);
    }
    let check = bench.tracker("check -q").exits(0);
    assert_eq!(
        check.stdout,
        "1 unavailable \"Video 1\": HeyGen has no video file for it\n"
    );
    assert_eq!(bench.status(1), "completed");
    assert_eq!(bench.query("SELECT state FROM files"), "unavailable");
    bench.tracker("check").exits(0).silent();
    bench.assert_invariants();
}

#[test]
fn p05_a_key_refused_in_the_middle_ends_the_requests_and_keeps_what_was_learnt() {
    let bench = finished(4);
    bench.heygen.fault(OWN, Fault::status(401).nth(1));
    let (check, requests) = bench.asking("check --jobs 1");
    let check = check.exits(3);
    assert_eq!(requests, asked(1, 2));
    assert_eq!(errors(&check).len(), 1, "{}", check.screen());
    assert_eq!(bench.status(1), "completed");
    assert_eq!(
        count(&bench, "status = 'waiting' AND rev = 0 OR id = 1"),
        "4"
    );
    converges(&bench);
}

#[test]
fn p05_403_to_bulk_ends_the_requests() {
    let bench = rendering(3);
    bench.heygen.fault(BULK, Fault::status(403).times(2));
    let (check, requests) = bench.asking("check");
    let check = check.exits(3);
    assert_eq!(requests, asked(1, 0));
    assert_eq!(errors(&check).len(), 1, "{}", check.screen());
    bench.tracker("check").exits(3).silent();
    let cured = bench.tracker("check").exits(0);
    assert!(
        cured.stderr.contains("resolved after "),
        "{}",
        cured.screen()
    );
    bench.tracker("check").exits(0).silent();
    converges(&bench);
}

#[test]
fn p05_403_to_one_video_is_that_row_s_trouble() {
    let bench = finished(3);
    bench.heygen.fault(&own(&bench, 2), Fault::status(403));
    let (check, requests) = bench.asking("check");
    let check = check.exits(1);
    assert_eq!(requests, asked(1, 3));
    assert!(
        check.stderr.starts_with("error: 2 waiting \"Video 2\": "),
        "{}",
        check.screen()
    );
    assert_eq!(count(&bench, "finished"), "2");
    assert_eq!(bench.status(2), "waiting");
    converges(&bench);
}

#[test]
fn p06_one_row_of_many_fails_and_only_that_row_differs() {
    let bench = finished(6);
    bench
        .heygen
        .fault(&own(&bench, 1), Fault::html(500).times(3));
    bench
        .heygen
        .fault(&own(&bench, 2), Fault::drop_request().times(3));
    bench
        .heygen
        .fault(&own(&bench, 3), Fault::body(200, "text/plain", "?"));
    let (check, requests) = bench.asking("check");
    let check = check.exits(1);
    assert_eq!(requests, asked(1, 3 + 3 + 1 + 3));
    assert_eq!(errors(&check).len(), 3, "{}", check.screen());
    assert_eq!(
        count(&bench, "status = 'waiting' AND error_code IS NOT NULL"),
        "3"
    );
    assert_eq!(count(&bench, "finished AND id > 3"), "3");
    converges(&bench);
}

#[test]
fn p06_a_hiccup_is_cured_within_the_run() {
    let bench = rendering(2);
    bench.heygen.fault(BULK, Fault::status(502));
    let (check, requests) = bench.asking("check");
    check.exits(0).silent();
    assert_eq!(requests, asked(2, 0));
    converges(&bench);
}

/// Rows that HeyGen cannot answer for must not keep the others from being asked, nor new ones from being sent.
#[test]
fn p06_rows_that_always_fail_do_not_starve_the_rest() {
    let bench = finished(7);
    for row in 1..=5 {
        bench
            .heygen
            .fault(&own(&bench, row), Fault::status(500).forever());
    }
    bench.tracker("submit --queue bodies.jsonl").exits(0);
    for _ in 0..2 {
        bench.tracker("check --jobs 2").exits(1);
    }
    assert_eq!(count(&bench, "id IN (6, 7) AND finished"), "2");
    assert_eq!(bench.heygen.billed().len(), 2);
    bench.heygen.clear_faults();
    converges(&bench);
}

#[test]
fn p06_an_outage_in_the_middle_ends_the_requests() {
    let bench = finished(60);
    bench.tracker("submit --queue bodies.jsonl").exits(0);
    bench
        .heygen
        .fault(OWN, Fault::drop_request().nth(2).forever());
    let (check, requests) = bench.asking("check --jobs 2");
    check.exits(1);
    assert_eq!(requests.bulk, 1);
    // Two that work, four that fail for good, and what was under way.
    assert!(requests.own <= 2 + (4 + 2) * 3, "{requests:?}");
    assert_eq!(
        bench.heygen.posts().len(),
        1,
        "nothing is sent into an outage"
    );
    assert_eq!(count(&bench, "status = 'completed'"), "2");
    bench.heygen.clear_faults();
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 2);
    converges(&bench);
}

#[test]
fn p07_after_a_429_nothing_is_asked_before_its_time_and_then_one_by_one() {
    let bench = Bench::with(Options {
        render: Render::Manual,
        latency: Duration::from_millis(60),
        ..Options::default()
    });
    bench.rendering(9);
    finish_all(&bench);
    bench.heygen.fault(OWN, Fault::retry_after(429, "1"));
    let (check, requests) = bench.asking("check --jobs 3");
    check.exits(0);
    assert_eq!(requests, asked(1, 10));
    let gets = own_arrivals(&bench);
    let (under_way, later) = gets.split_at(3);
    assert!(
        later[0] - under_way[0] >= Duration::from_secs(1),
        "{gets:?}"
    );
    for pair in later.windows(2) {
        assert!(
            pair[1] - pair[0] >= Duration::from_millis(60),
            "two at once: {gets:?}"
        );
    }
    converges(&bench);
}

/// When the own GETs arrived, in order.
fn own_arrivals(bench: &Bench) -> Vec<Instant> {
    let requests = bench.heygen.api_requests().into_iter();
    requests
        .filter(|request| request.method == "GET" && !request.path.ends_with("/statuses"))
        .map(|request| request.at)
        .collect()
}

#[test]
fn p07_a_429_longer_than_the_run_s_patience_ends_it_and_keeps_what_was_learnt() {
    let bench = finished(5);
    bench
        .heygen
        .fault(OWN, Fault::retry_after(429, "120").nth(2));
    let (check, requests) = bench.asking("check --jobs 1");
    let check = check.exits(1);
    assert_eq!(requests, asked(1, 3), "no request before its time");
    assert_eq!(errors(&check).len(), 1, "{}", check.screen());
    assert_eq!(count(&bench, "status = 'completed'"), "2");
    assert_eq!(count(&bench, "status = 'waiting' AND rev = 0"), "3");
    converges(&bench);
}

#[test]
fn p08_a_bulk_endpoint_that_is_no_help_means_own_gets() {
    let shape = json!({"data": {"videos": []}});
    for fault in [
        Fault::status(404),
        Fault::status(405),
        Fault::html(200),
        Fault::json(200, &shape),
        Fault::json(200, &json!({"data": []})),
        Fault::json(
            200,
            &json!({"data": [{"video_id": null, "status": "processing"}, 7, null]}),
        ),
    ] {
        let bench = rendering(3);
        bench.heygen.fault(BULK, fault);
        let (check, requests) = bench.asking("check");
        check.exits(0).silent();
        assert_eq!(requests, asked(1, 3));
        assert_eq!(count(&bench, "check_count = 1"), "3");
        converges(&bench);
    }
}

#[test]
fn p08_ids_that_bulk_leaves_out_get_own_gets() {
    let bench = rendering(3);
    let lines = |id: String| json!({"data": [{"video_id": id, "status": "processing"}, {"video_id": "else", "status": "failed"}]});
    bench
        .heygen
        .fault(BULK, Fault::json(200, &lines(bench.video_id(2))));
    let (check, requests) = bench.asking("check");
    check.exits(0).silent();
    assert_eq!(requests, asked(1, 2));
    assert_eq!(
        [1, 2, 3].map(|row| bench.status(row)),
        ["pending", "processing", "pending"]
    );
    converges(&bench);
}

#[test]
fn p08_when_bulk_alone_is_down_one_own_get_finds_out_and_the_rest_follow() {
    let bench = rendering(3);
    bench.heygen.fault(BULK, Fault::html(503).times(3));
    let (check, requests) = bench.asking("check");
    check.exits(0).silent();
    assert_eq!(requests, asked(3, 3));
    converges(&bench);
}

#[test]
fn p08_when_everything_is_down_one_own_get_decides_for_all() {
    for fault in [Fault::html(503), Fault::drop_request()] {
        let bench = rendering(1000);
        bench
            .heygen
            .fault("* /v3/videos/{id}", fault.clone().forever());
        bench.heygen.fault(BULK, fault.forever());
        let (check, requests) = bench.asking("check --jobs 2");
        let check = check.exits(1);
        assert!(
            requests.bulk <= 2 * 3,
            "only what was under way: {requests:?}"
        );
        assert_eq!(requests.own, 3, "one GET and its repetitions");
        assert_eq!(errors(&check).len(), 1, "{}", check.screen());
        assert_eq!(count(&bench, "status = 'waiting'"), "1000");
        bench.heygen.clear_faults();
        bench.tracker("check").exits(0);
        bench.tracker("check").exits(0).silent();
        bench.assert_invariants();
    }
}

/// The bulk answer and one row's own GET break for the same reason; that row must not decide for all for ever.
#[test]
fn p08_one_row_that_breaks_everything_it_is_part_of_does_not_stop_the_others_for_ever() {
    let bench = rendering(2);
    bench.heygen.fault(BULK, Fault::status(500).forever());
    bench
        .heygen
        .fault(&own(&bench, 2), Fault::status(500).forever());
    bench.heygen.finish(&bench.video_id(1));
    let done = || bench.status(1) == "completed";
    let tries = (0..16).take_while(|_| {
        bench.tracker("check").exits(1);
        !done()
    });
    assert!(tries.count() < 16);
    bench.heygen.clear_faults();
    converges(&bench);
}

#[test]
fn p09_an_older_answer_changes_nothing_about_what_is_over() {
    for rows in [1, 2] {
        let bench = rendering(rows);
        for id in bench.heygen.videos() {
            bench.heygen.set_status(&id, "processing");
        }
        let route = if rows == 1 { OWN } else { BULK };
        bench.heygen.fault(route, Fault::held());
        let mut slow = bench
            .command(["check"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        eventually("a request", || bench.heygen.holding() == 1);
        finish_all(&bench);
        bench.tracker("check").exits(0);
        assert_eq!(
            count(&bench, "status = 'completed' AND finished"),
            rows.to_string()
        );
        let asks = slow.try_wait().expect("a child").is_none();
        assert!(asks, "it has no answer yet");
        bench.heygen.release();
        let slow = end(slow);
        slow.exits(0).silent();
        assert_eq!(
            count(&bench, "status = 'completed' AND finished"),
            rows.to_string()
        );
        converges(&bench);
    }
}

#[test]
fn p10_no_network_is_one_line_however_many_rows() {
    let bench = rendering(250);
    bench
        .heygen
        .set_reachable(Host::Api, false)
        .expect("a closed port");
    let down = bench.tracker("check").exits(1);
    assert_eq!(errors(&down).len(), 1, "{}", down.screen());
    assert!(down.stderr.lines().count() <= 2, "{}", down.screen());
    assert_eq!(down.stdout, "");
    assert_eq!(count(&bench, "status = 'waiting'"), "250");
    bench.tracker("check").exits(1).silent();
    bench
        .heygen
        .set_reachable(Host::Api, true)
        .expect("the same port");
    let up = bench.tracker("check").exits(0);
    assert_eq!(up.stdout, "");
    assert_eq!(up.stderr.lines().count(), 1, "{}", up.screen());
    assert!(up.stderr.contains("resolved after "), "{}", up.screen());
    bench.tracker("check").exits(0).silent();
    assert_eq!(count(&bench, "error_code IS NOT NULL"), "0");
    bench.assert_invariants();
}

#[test]
fn p10_rows_that_were_asked_about_in_vain_know_it() {
    let bench = rendering(3);
    bench
        .heygen
        .set_reachable(Host::Api, false)
        .expect("a closed port");
    bench.tracker("check").exits(1);
    assert_eq!(
        count(
            &bench,
            "error_code = 'network_error' AND error_operation = 'poll'"
        ),
        "3"
    );
    bench
        .heygen
        .set_reachable(Host::Api, true)
        .expect("the same port");
    converges(&bench);
}

#[test]
fn p11_a_huge_failure_message_is_bounded_harmless_and_told_once() {
    let bench = rendering(2);
    let hostile = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{9b}31m\u{202e}gnp.exe ".repeat(1 << 16);
    assert!(hostile.len() > 1 << 20);
    bench
        .heygen
        .fail(&bench.video_id(1), "bad\u{1b}[31mcode", &hostile);
    let (check, requests) = bench.asking("check");
    let check = check.exits(0);
    assert_eq!(requests, asked(1, 1));
    assert_eq!(check.stderr, "");
    assert_eq!(check.stdout.lines().count(), 1, "{}", check.screen());
    assert!(
        check.stdout.starts_with("1 failed \"Video 1\": "),
        "{}",
        check.screen()
    );
    assert!(check.stdout.len() < 4096, "{} bytes", check.stdout.len());
    let line = check.stdout.trim_end_matches('\n');
    assert!(
        !line.chars().any(|c| c.is_control() || c == '\u{202e}'),
        "{line:?}"
    );

    let kept: usize = bench
        .query("SELECT length(failure_message) FROM videos WHERE id = 1")
        .parse()
        .expect("a length");
    assert!((1000..=64 * 1024).contains(&kept), "{kept}");
    assert!(hostile.starts_with(
        &bench.query("SELECT substr(failure_message, 1, 1000) FROM videos WHERE id = 1")
    ));

    let (again, requests) = bench.asking("check");
    again.exits(0).silent();
    assert_eq!(requests, asked(0, 1), "only the other row is asked about");
    bench.assert_invariants();
}

#[test]
fn p12_another_account_s_rows_are_left_alone_and_told_in_one_line() {
    let bench = Bench::with(Options {
        render: Render::Manual,
        other_keys: vec!["another-key".to_owned()],
        ..Options::default()
    });
    bench.rendering(12);
    let with_other_key = |arguments: &str| {
        let mut command = bench.command(arguments.split_whitespace());
        crate::support::run(command.env("HEYGEN_API_KEY", "another-key"))
    };
    for (hours, news) in [(0, 1), (2, 0), (2, 0), (24, 1)] {
        bench.advance(hours * 60 * MINUTE);
        let before = bench.heygen.api_requests().len();
        let check = with_other_key("check").exits(1);
        assert_eq!(bench.asked_since(before), asked(1, 0));
        assert_eq!(check.stdout, "");
        assert_eq!(errors(&check).len(), news, "{}", check.screen());
        if news == 1 {
            assert!(
                check.stderr.contains("--db") && check.stderr.contains("HEYGEN_API_KEY_FILE"),
                "{}",
                check.screen()
            );
        }
        assert_eq!(
            count(
                &bench,
                "status = 'waiting' AND error_code IS NULL AND not_found_at IS NULL"
            ),
            "12"
        );
    }
    let json = with_other_key("check --json").exits(1).json();
    let codes: Vec<&Value> = json
        .iter()
        .filter(|line| line["type"] == "error")
        .map(|line| &line["error"]["code"])
        .collect();
    assert_eq!(codes, ["other_key"]);
    let cured = bench.tracker("check").exits(0);
    assert!(
        cured.stderr.contains("resolved after "),
        "{}",
        cured.screen()
    );
    converges(&bench);
}

/// What a gateway, a proxy or a wrong base URL answers in HeyGen's place.
fn pages() -> Vec<Fault> {
    vec![
        Fault::html(404),
        Fault::body(404, "text/plain", ""),
        Fault::json(404, &json!({})),
        Fault::json(
            404,
            &json!({"error": {"code": 404, "message": "Not Found"}}),
        ),
    ]
}

#[test]
fn p04b_hours_of_a_gateway_s_404_pages_make_nothing_missing() {
    for page in pages() {
        for count in [1, 6] {
            let bench = rendering(count);
            bench.heygen.fault(BULK, page.clone().forever());
            bench.heygen.fault(OWN, page.clone().forever());
            for _ in 0..5 {
                let (check, requests) = bench.asking("check");
                check.exits(1);
                assert!(requests.own <= 1, "one own GET decides for all");
                bench.advance(31 * MINUTE);
            }
            assert_eq!(self::count(&bench, "phase = 'accepted'"), count.to_string());
            bench.heygen.clear_faults();
            converges(&bench);
        }
    }
}

#[test]
fn p04b_another_workspace_s_key_says_nothing_about_rows_never_seen() {
    let bench = Bench::with(Options {
        render: Render::Manual,
        other_keys: vec!["another-key".to_owned()],
        ..Options::default()
    });
    bench.heygen.add_video("added-video-1", "processing");
    bench.heygen.add_video("added-video-2", "processing");
    bench.tracker("add added-video-1 added-video-2").exits(0);
    for _ in 0..5 {
        let mut command = bench.command(["check"]);
        crate::support::run(command.env("HEYGEN_API_KEY", "another-key")).exits(1);
        bench.advance(31 * MINUTE);
    }
    assert_eq!(count(&bench, "phase = 'accepted'"), "2");
    converges(&bench);
}

#[test]
fn p04_a_missing_row_is_asked_for_again_and_found() {
    let bench = rendering(3);
    let path = own(&bench, 1);
    let id = bench.video_id(1);
    bench.heygen.forget_video(&id);
    for _ in 0..3 {
        bench.tracker("check");
        bench.advance(31 * MINUTE);
    }
    assert_eq!(bench.status(1), "missing");
    let (check, requests) = bench.asking("check");
    check.exits(0);
    assert_eq!(requests, asked(1, 0), "{path} is asked in bulk alone");
    bench.heygen.add_video(&id, "processing");
    bench.tracker("check").exits(0);
    assert_eq!(bench.status(1), "processing");
    converges(&bench);
}

#[test]
fn p04_a_video_that_is_gone_alone_needs_heygen_to_answer_something_else() {
    let bench = rendering(1);
    bench.heygen.forget_video(&bench.video_id(1));
    bench
        .heygen
        .fault("GET /v3/users/me", Fault::html(404).times(4));
    for _ in 0..4 {
        bench.tracker("check").exits(1);
        bench.advance(31 * MINUTE);
    }
    assert_eq!(bench.status(1), "waiting");
    for _ in 0..3 {
        bench.tracker("check");
        bench.advance(31 * MINUTE);
    }
    assert_eq!(bench.status(1), "missing");
}
