//! What `check` says, how often, and how it exits: trouble is news once, nothing is news never.

use std::fs;
use std::time::Duration;

use crate::heygen::{Fault, Host, Options, Render};
use serde_json::{Value, json};

use crate::support::{Asked, BODY, Bench, Run, end, eventually, files_below, run};

const BULK: &str = "GET /v3/videos/statuses";
const OWN: &str = "GET /v3/videos/{id}";
const HOUR: Duration = Duration::from_secs(3600);

fn rendering(count: usize) -> Bench {
    let bench = Bench::new();
    bench.rendering(count);
    bench
}

/// Scripts a fault for the next GET of one row, which has to be over for bulk to lead to it.
fn fault(bench: &Bench, row: i64, fault: Fault) {
    bench
        .heygen
        .fault(&format!("GET /v3/videos/{}", bench.video_id(row)), fault);
}

fn finish(bench: &Bench, row: i64) {
    bench.heygen.finish(&bench.video_id(row));
}

fn fail(bench: &Bench, row: i64) {
    bench
        .heygen
        .fail(&bench.video_id(row), "too_long", "Too long");
}

/// `tracker ARGUMENTS` where cron knows no key.
fn without_key(bench: &Bench, arguments: &str) -> Run {
    let mut command = bench.command(arguments.split_whitespace());
    run(command.env_remove("HEYGEN_API_KEY"))
}

fn asked(bulk: usize, own: usize) -> Asked {
    Asked { bulk, own }
}

/// Asserts how each line begins, and that there is no other.
#[track_caller]
fn says(run: &Run, stdout: &str, stderr: &str) {
    for (text, beginnings) in [(&run.stdout, stdout), (&run.stderr, stderr)] {
        let all_begin = text
            .lines()
            .zip(beginnings.lines())
            .all(|(line, beginning)| line.starts_with(beginning));
        let as_many = text.lines().count() == beginnings.lines().count();
        assert!(all_begin && as_many, "{}", run.screen());
    }
}

/// The names of an object's fields, sorted.
fn names(object: &Value) -> Vec<&str> {
    let object = object.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

/// The lines of one type.
fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

#[test]
fn a_row_s_trouble_is_told_when_it_begins_changes_lasts_and_ends() {
    let bench = rendering(2);
    bench.tracker("check").exits(0).silent();
    finish(&bench, 1);
    let garbage = || fault(&bench, 1, Fault::html(200));
    let refused = || fault(&bench, 1, Fault::status(403));

    garbage();
    let began = bench.tracker("check").exits(1);
    says(&began, "", "error: 1 queued \"Video 1\": bad_response: ");
    garbage();
    bench.tracker("check").exits(1).silent();

    refused();
    let changed = bench.tracker("check").exits(1);
    says(&changed, "", "error: 1 queued \"Video 1\": forbidden: ");
    bench.advance(23 * HOUR);
    refused();
    bench.tracker("check").exits(1).silent();
    bench.advance(HOUR);
    refused();
    let lasted = bench.tracker("check").exits(1);
    says(&lasted, "", "error: 1 queued \"Video 1\": forbidden: ");
    refused();
    bench.tracker("check").exits(1).silent();

    let over = bench.tracker("check").exits(0);
    says(
        &over,
        "1 saved \"Video 1\": ",
        "1 works again \"Video 1\": no forbidden any more",
    );
    bench.tracker("check").exits(0).silent();
    bench.assert_invariants();
}

#[test]
fn an_outage_in_between_does_not_make_a_row_s_trouble_news_again() {
    let bench = rendering(2);
    bench.tracker("check").exits(0);
    finish(&bench, 1);
    fault(&bench, 1, Fault::html(200));
    bench.tracker("check").exits(1);
    let reachable = |yes| {
        bench
            .heygen
            .set_reachable(Host::Api, yes)
            .expect("the port");
    };
    reachable(false);
    says(
        &bench.tracker("check").exits(1),
        "",
        "error: cannot connect\nhint: ",
    );
    reachable(true);
    fault(&bench, 1, Fault::html(200));
    says(&bench.tracker("check").exits(1), "", "resolved after ");
    let over = bench.tracker("check").exits(0);
    says(
        &over,
        "1 saved",
        "1 works again \"Video 1\": no bad_response any more",
    );
}

#[test]
fn trouble_that_was_told_is_told_again_to_whoever_asks() {
    for (arguments, told) in [
        ("check", false),
        ("check -q", false),
        ("check -v", true),
        ("check 1", true),
        ("check --json", true),
    ] {
        let bench = rendering(1);
        bench
            .heygen
            .fault("* /v3/videos/{id}", Fault::html(200).times(2));
        bench.tracker("check").exits(1);
        let check = bench.tracker(arguments).exits(1);
        if arguments.ends_with("--json") {
            assert_eq!(of_type(&check.json(), "error").len(), 1);
            assert_eq!(check.stderr, "");
        } else {
            let lines = check.stderr.lines().count();
            assert_eq!(lines, usize::from(told), "{arguments}: {}", check.screen());
        }
    }
}

#[test]
fn a_run_s_trouble_is_told_when_it_begins_lasts_and_ends() {
    let bench = rendering(2);
    let began = without_key(&bench, "check").exits(3);
    says(&began, "", "error: no HeyGen API key found\nhint: ");
    without_key(&bench, "check").exits(3).silent();
    without_key(&bench, "check -q").exits(3).silent();
    for chatty in ["check -v", "check 1"] {
        let told = without_key(&bench, chatty).exits(3);
        says(&told, "", "error: no HeyGen API key found\nhint: ");
    }
    bench.advance(23 * HOUR);
    without_key(&bench, "check").exits(3).silent();
    bench.advance(HOUR);
    let lasted = without_key(&bench, "check").exits(3);
    says(&lasted, "", "error: no HeyGen API key found\nhint: ");
    without_key(&bench, "check").exits(3).silent();
    assert_eq!(bench.heygen.api_requests().len(), 1, "only the purchase");

    let over = bench.tracker("check").exits(0);
    says(&over, "", "resolved after 1d 00h: no HeyGen API key found");
    bench.tracker("check").exits(0).silent();
}

#[test]
fn a_run_s_trouble_that_changes_is_told() {
    let bench = rendering(2);
    let down = |status| {
        bench.heygen.clear_faults();
        bench.heygen.fault(BULK, Fault::html(status).forever());
        bench.heygen.fault(OWN, Fault::html(status).forever());
    };
    down(503);
    let began = bench.tracker("check").exits(1);
    says(&began, "", "error: HTTP 503\nhint: ");
    down(502);
    let changed = bench.tracker("check").exits(1);
    says(&changed, "", "error: HTTP 502\nhint: ");
    bench.heygen.clear_faults();
    let over = bench.tracker("check -q").exits(0);
    over.silent();
    bench.tracker("check").exits(0).silent();
}

#[test]
fn silence_when_nothing_changed() {
    let bench = rendering(3);
    finish(&bench, 1);
    bench.tracker("check").exits(0);
    let events = bench.query("SELECT count(*) FROM events");
    for arguments in ["check", "check -q", "check -v", "check 1"] {
        bench.tracker(arguments).exits(0).silent();
    }
    assert_eq!(bench.query("SELECT count(*) FROM events"), events);
}

#[test]
fn verbose_tells_steps_and_quiet_tells_only_what_needs_a_person() {
    let bench = Bench::new();
    bench.file("body.json", crate::support::BODY);
    bench.tracker("submit --queue body.json").exits(0);
    let sent = bench.tracker("check -v").exits(0);
    says(&sent, "1 sent \"Hello\"", "");
    bench.heygen.set_status(&bench.video_id(1), "processing");
    let step = bench.tracker("check -v").exits(0);
    says(&step, "1 processing \"Hello\"", "");
    finish(&bench, 1);
    let saved = bench.tracker("check -v").exits(0);
    says(&saved, "1 completed \"Hello\"\n1 saved \"Hello\": ", "");

    bench.submit(3).exits(0);
    finish(&bench, 2);
    fail(&bench, 3);
    fault(&bench, 2, Fault::html(200));
    let quiet = bench.tracker("check -q").exits(1);
    says(
        &quiet,
        "3 failed \"Video 2\": too_long: Too long (tracker show 3)",
        "error: 2 waiting \"Video 1\": bad_response",
    );
    bench.tracker("check -q").exits(0).silent();
    assert_eq!(bench.status(2), "completed");
    bench.assert_invariants();
}

#[test]
fn json_lines_have_the_documented_fields() {
    let bench = rendering(4);
    bench.tracker("submit --queue bodies.jsonl").exits(0);
    finish(&bench, 1);
    fail(&bench, 2);
    finish(&bench, 3);
    fault(&bench, 3, Fault::html(200));
    let check = bench.tracker("check --json").exits(1);
    assert_eq!(check.stderr, "");
    let lines = check.json();
    let ids = [1, 2, 4, 5].map(|row| bench.video_id(row));

    let sent = of_type(&lines, "sent");
    assert_eq!(
        sent,
        [&json!({"type": "sent", "id": 5, "video_id": ids[3], "status": "waiting"})]
    );
    let mut changes = of_type(&lines, "change");
    changes.sort_by_key(|change| change["id"].as_i64());
    let change = |id: usize, video: usize, to: &str, why: [Value; 2]| {
        let [code, message] = why;
        json!({"type": "change", "id": id, "video_id": ids[video], "from": "waiting", "to": to,
            "failure_code": code, "failure_message": message})
    };
    let none = || [Value::Null, Value::Null];
    let expected = [
        change(1, 0, "completed", none()),
        change(2, 1, "failed", ["too_long", "Too long"].map(Value::from)),
        change(4, 2, "queued", none()),
    ];
    assert_eq!(changes, expected.iter().collect::<Vec<_>>());

    let [saved] = of_type(&lines, "saved")[..] else {
        panic!("{}", check.screen())
    };
    let path = bench.path(&format!("output/{}.mp4", ids[0]));
    assert_eq!(
        names(saved),
        ["asset", "bytes", "id", "path", "sha256", "type", "video_id"]
    );
    assert_eq!(
        (&saved["id"], &saved["asset"]),
        (&json!(1), &json!("video"))
    );
    assert_eq!(saved["path"], path.to_str().expect("UTF-8"));
    assert_eq!(
        saved["bytes"],
        std::fs::metadata(path).expect("the file").len()
    );
    assert_eq!(saved["sha256"].as_str().map(str::len), Some(64));

    let [error] = of_type(&lines, "error")[..] else {
        panic!("{}", check.screen())
    };
    assert_eq!(names(error), ["error", "id", "type"]);
    assert_eq!(
        names(&error["error"]),
        ["code", "hint", "message", "request_id"]
    );
    assert_eq!(
        (&error["id"], &error["error"]["code"]),
        (&json!(3), &json!("bad_response"))
    );

    let summary = json!({"type": "summary", "sent": 1, "polled": 3, "changed": 3, "saved": 1, "failed": 1,
        "errors": 1, "unfinished": 3, "requests": 5, "next_check_seconds": 60});
    assert_eq!(lines.last(), Some(&summary));
    assert_eq!(lines.len(), 1 + 3 + 1 + 1 + 1, "{}", check.screen());
}

#[test]
fn json_of_an_idle_check_is_the_summary() {
    let bench = rendering(1);
    finish(&bench, 1);
    bench.tracker("check").exits(0);
    let summary = json!({"type": "summary", "sent": 0, "polled": 0, "changed": 0, "saved": 0, "failed": 0,
        "errors": 0, "unfinished": 0, "requests": 0, "next_check_seconds": null});
    assert_eq!(bench.tracker("check --json").exits(0).json(), [summary]);
}

#[test]
fn json_tells_a_run_s_trouble_without_a_row() {
    let bench = rendering(2);
    let lines = without_key(&bench, "check --json").exits(3).json();
    let [error] = of_type(&lines, "error")[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(
        (&error["id"], &error["error"]["code"]),
        (&Value::Null, &json!("auth_error"))
    );
    assert_eq!(
        names(&error["error"]),
        ["code", "hint", "message", "request_id"]
    );
    assert_eq!(lines.last().map(|line| &line["errors"]), Some(&json!(1)));
}

#[test]
fn json_puts_the_run_s_own_end_on_stderr() {
    let bench = rendering(1);
    let check = bench.tracker("check nobody --json").exits(1);
    assert_eq!(check.stdout, "");
    let envelope: Value = serde_json::from_str(&check.stderr).expect("one line of JSON");
    assert_eq!(names(&envelope), ["error"]);
    assert_eq!(
        names(&envelope["error"]),
        ["code", "hint", "message", "request_id"]
    );
    assert_eq!(envelope["error"]["code"], "not_found");
}

#[test]
fn a_bad_end_is_data_unless_the_exit_status_is_asked_for() {
    for (arguments, code) in [
        ("check", 0),
        ("check --exit-status", 5),
        ("check 1 --exit-status", 5),
        ("check --wait", 5),
    ] {
        let bench = rendering(1);
        fail(&bench, 1);
        let check = bench.tracker(arguments).exits(code);
        says(&check, "1 failed \"Video 1\": ", "");
        // Long over: only whoever names it hears of it.
        bench.tracker("check --exit-status").exits(0).silent();
        bench.tracker("check 1").exits(0).silent();
        for named in ["check 1 --exit-status", "check 1 --wait"] {
            let again = bench.tracker(named).exits(5);
            says(&again, "", "1 failed before (tracker show 1)");
        }
    }
}

#[test]
fn every_bad_end_counts() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.heygen.forget_video(&bench.video_id(1));
    for _ in 0..2 {
        bench.tracker("check --exit-status").exits(1);
        bench.advance(HOUR);
    }
    bench.tracker("check --exit-status").exits(5);
    assert_eq!(bench.status(1), "missing");

    bench.heygen.fault("POST /v3/videos", Fault::status(400));
    bench.submit(1);
    assert_eq!(bench.status(2), "rejected");
    let requests = bench.heygen.api_requests().len();
    bench.tracker("check 2 --exit-status").exits(5);
    assert_eq!(
        bench.heygen.api_requests().len(),
        requests,
        "there is nothing to ask for"
    );
}

#[test]
fn of_several_exit_codes_the_first_of_3_1_4_5_wins() {
    type Stage = fn(&Bench);
    let nothing: Stage = |_| {};
    let failed: Stage = |bench| fail(bench, 1);
    let garbage: Stage = |bench| {
        fail(bench, 1);
        finish(bench, 2);
        fault(bench, 2, Fault::html(200));
    };
    let garbage_and_refused: Stage = |bench| {
        fail(bench, 1);
        finish(bench, 2);
        finish(bench, 3);
        fault(bench, 2, Fault::html(200));
        fault(bench, 3, Fault::status(401));
    };
    for (stage, arguments, code) in [
        (nothing, "check --wait --timeout 0s", 4),
        (failed, "check --wait --timeout 0s", 4),
        (failed, "check 1 --wait --timeout 0s", 5),
        (garbage, "check --exit-status", 1),
        (garbage, "check --wait --timeout 0s", 1),
        (garbage_and_refused, "check --jobs 1 --exit-status", 3),
        (garbage_and_refused, "check --jobs 1 --wait --timeout 0s", 3),
    ] {
        // With no time to wait, a machine that is busy may not even hear the first answers: then that is all it says.
        for again in (0..5).rev() {
            let bench = rendering(3);
            stage(&bench);
            let run = bench.tracker(arguments);
            if run.code == Some(4) && code != 4 && again > 0 {
                bench.heygen.allow_unused();
                continue;
            }
            run.exits(code);
            break;
        }
    }
}

#[test]
fn wait_goes_on_until_everything_is_saved_and_forgets_trouble_that_was_cured() {
    let bench = rendering(2);
    finish(&bench, 1);
    fault(&bench, 1, Fault::html(200));
    let waiting = bench
        .command(["check", "--wait", "--interval", "20ms"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program runs");
    eventually("the row completes", || bench.status(1) == "completed");
    finish(&bench, 2);
    let waited = end(waiting).exits(0);
    assert_eq!(waited.stdout.lines().count(), 2, "{}", waited.screen());
    assert!(
        waited.stderr.contains("error: 1 waiting"),
        "{}",
        waited.screen()
    );
    bench.assert_invariants();
}

#[test]
fn wait_for_one_video_leaves_the_others_alone() {
    let bench = rendering(3);
    finish(&bench, 2);
    let (check, requests) = bench.asking("check 2 --wait --interval 20ms");
    says(&check.exits(0), "2 saved \"Video 2\": ", "");
    assert_eq!(requests, asked(0, 1));
}

#[test]
fn wait_gives_up_in_time() {
    let bench = rendering(1);
    let (check, requests) = bench.asking("check --wait --timeout 5s --interval 50ms");
    check.exits(4);
    assert!(requests.own >= 2, "{requests:?}");
}

#[test]
fn many_that_are_waited_for_are_asked_about_at_once() {
    let bench = rendering(5);
    let (check, requests) = bench.asking("check 1 2 3 4 --wait --timeout 5s --interval 50ms");
    check.exits(4);
    assert_eq!(requests.own, 4, "a person asked: {requests:?}");
    assert!(requests.bulk >= 2, "{requests:?}");
    // A key that may not ask for many may ask for each.
    let forbidden = Fault::json(
        403,
        &json!({"error": {"code": "forbidden", "message": "not this"}}),
    );
    bench
        .heygen
        .fault("GET /v3/videos/statuses", forbidden.forever());
    let (check, requests) = bench.asking("check 1 2 3 --wait --timeout 3s --interval 50ms");
    check.exits(4);
    assert!(requests.own >= 6, "{requests:?}");
}

/// However long the pause between the rounds was to be.
#[test]
fn wait_looks_once_more_before_it_gives_up() {
    let bench = rendering(1);
    let before = bench.heygen.api_requests().len();
    let waiting = crate::support::start(&mut bench.command([
        "check",
        "--wait",
        "--timeout",
        "10s",
        "--interval",
        "1h",
    ]));
    eventually("the first round is over", || {
        bench.heygen.api_requests().len() > before
            && bench.query("SELECT last_checked_at IS NOT NULL FROM videos") == "1"
    });
    let between = bench.heygen.api_requests().len();
    finish(&bench, 1);
    // A machine that is held up may not get the file home in what is left.
    let ended = end(waiting);
    assert!(
        [Some(0), Some(4)].contains(&ended.code),
        "{}",
        ended.screen()
    );
    assert!(bench.heygen.api_requests().len() > between);
}

#[test]
fn an_id_is_a_number_an_exact_id_or_a_unique_beginning() {
    let bench = rendering(4);
    let ids = ["abcd-one", "abcd-one-more", "wxyz", "1234abcd"];
    for (row, id) in (1..).zip(ids) {
        bench.heygen.add_video(id, "processing");
        bench
            .db()
            .execute("UPDATE videos SET video_id = ?1 WHERE id = ?2", (id, row))
            .expect("a new id");
    }
    for (id, row) in [
        ("3", 3),
        ("abcd-one", 1),
        ("abcd-one-", 2),
        ("abcd-one-more", 2),
        ("wxyz", 3),
        ("1234a", 4),
    ] {
        let before = bench.heygen.api_requests().len();
        bench.tracker(&format!("check {id}")).exits(0);
        let requests = bench.heygen.api_requests().split_off(before);
        let paths: Vec<&str> = requests
            .iter()
            .map(|request| request.path.as_str())
            .collect();
        assert_eq!(
            paths,
            [format!("/v3/videos/{}", bench.video_id(row))],
            "{id}"
        );
    }
    for (id, code, words) in [
        (
            "abcd",
            "ambiguous_id",
            vec!["1 (abcd-one)", "2 (abcd-one-more)"],
        ),
        ("wxy", "not_found", vec!["wxy"]),
        ("99", "not_found", vec!["99"]),
        ("1234", "not_found", vec!["1234"]),
        ("wxyz-", "not_found", vec!["wxyz-"]),
        ("3 nobody", "not_found", vec!["nobody"]),
    ] {
        let (check, requests) = bench.asking(&format!("check {id}"));
        let check = check.exits(1);
        assert!(
            check.stderr.starts_with("error: ") && check.stderr.contains("\nhint: "),
            "{}",
            check.screen()
        );
        assert!(
            words.iter().all(|word| check.stderr.contains(word)),
            "{}",
            check.screen()
        );
        assert_eq!(requests, asked(0, 0), "{id}");
        let json: Value =
            serde_json::from_str(&bench.tracker(&format!("check {id} --json")).stderr)
                .expect("an envelope");
        assert_eq!(json["error"]["code"], code, "{id}");
    }
}

#[test]
fn a_row_named_twice_is_asked_once() {
    let bench = rendering(2);
    let (check, requests) = bench.asking(&format!("check 1 {} 1", bench.video_id(1)));
    check.exits(0);
    assert_eq!(requests, asked(0, 1));
}

#[test]
fn named_finished_rows_are_asked_for_fresh_urls() {
    let bench = rendering(1);
    finish(&bench, 1);
    bench.tracker("check").exits(0);
    bench.advance(8 * 24 * HOUR);
    let old = bench.query("SELECT video_url FROM videos");
    let (check, requests) = bench.asking("check 1");
    check.exits(0).silent();
    assert_eq!(requests, asked(0, 1));
    assert_ne!(bench.query("SELECT video_url FROM videos"), old);
    assert_eq!(bench.heygen.file_requests().len(), 1, "it is saved already");
}

#[test]
fn a_missing_video_that_is_back_is_found_by_name_only() {
    let bench = rendering(1);
    bench
        .db()
        .execute("UPDATE videos SET phase = 'missing', rev = rev + 1", [])
        .expect("a missing row");
    let (check, requests) = bench.asking("check");
    check.exits(0).silent();
    assert_eq!(requests, asked(0, 0));

    let back = bench.tracker("check 1 -v --exit-status").exits(0);
    says(&back, "1 pending \"Video 1\"", "");
    finish(&bench, 1);
    says(
        &bench.tracker("check").exits(0),
        "1 saved \"Video 1\": ",
        "",
    );
    bench.assert_invariants();
}

#[test]
fn without_a_database_nothing_is_created() {
    let bench = Bench::new();
    for arguments in [
        "check -v",
        "check 1",
        "check --wait",
        "check -v --db deep/down/tracker.db",
    ] {
        let check = bench.tracker(arguments).exits(1);
        assert_eq!(check.stdout, "");
        let path = if arguments.ends_with(".db") {
            "deep/down/tracker.db"
        } else {
            "tracker.db"
        };
        assert!(
            check.stderr.contains(path) && check.stderr.contains("--db"),
            "{}",
            check.screen()
        );
    }
    let json: Value =
        serde_json::from_str(&bench.tracker("check --json").exits(1).stderr).expect("an envelope");
    assert_eq!(json["error"]["code"], "no_database");
    assert_eq!(files_below(bench.dir.path()), [] as [std::path::PathBuf; 0]);
    assert_eq!(bench.heygen.api_requests().len(), 0);
}

#[test]
fn one_row_is_one_own_get() {
    let bench = rendering(1);
    let (check, requests) = bench.asking("check");
    check.exits(0).silent();
    assert_eq!(requests, asked(0, 1));
}

#[test]
fn two_hundred_rows_of_which_fifty_are_done_are_fifty_two_requests() {
    let bench = Bench::with(Options {
        render: Render::Manual,
        file_size: 4096,
        ..Options::default()
    });
    bench.rendering(200);
    for row in (1..=200).step_by(4) {
        finish(&bench, row);
    }
    let (check, requests) = bench.asking("check");
    assert_eq!(check.exits(0).stdout.lines().count(), 50);
    assert_eq!(requests, asked(2, 50));
    let (check, requests) = bench.asking("check");
    check.exits(0).silent();
    assert_eq!(
        requests,
        asked(2, 0),
        "what is saved is not asked for again"
    );
    bench.assert_invariants();
}

#[test]
fn with_nothing_unfinished_neither_network_nor_key_is_needed() {
    let bench = rendering(1);
    finish(&bench, 1);
    bench.tracker("check").exits(0);
    bench
        .heygen
        .set_reachable(Host::Api, false)
        .expect("a closed port");
    let requests = bench.heygen.requests().len();
    without_key(&bench, "check").exits(0).silent();
    without_key(&bench, "check --wait --exit-status")
        .exits(0)
        .silent();
    assert_eq!(bench.heygen.requests().len(), requests);
}

// ---- What the database cannot remember ------------------------------------------------------------------------------

#[test]
fn a_database_that_is_missing_is_said_to_cron_once_a_day() {
    let bench = Bench::new();
    let place = bench.path("deep/er/tracker.db");
    let marker = bench.path("deep/er/tracker.db-missing");
    let cron = || run(bench.command(["check"]).env("TRACKER_DB", &place));
    let check = cron().exits(1);
    assert!(
        check.stderr.contains("there is no database at"),
        "{}",
        check.screen()
    );
    assert!(!place.exists(), "only submit and add make one");
    cron().exits(1).silent();
    let verbose = run(bench.command(["check", "-v"]).env("TRACKER_DB", &place)).exits(1);
    assert!(!verbose.stderr.is_empty(), "a person is always answered");
    let file = fs::File::options().write(true).open(&marker).unwrap();
    let written = file.metadata().unwrap().modified().unwrap();
    file.set_modified(written - Duration::from_secs(24 * 3600))
        .unwrap();
    assert_eq!(cron().exits(1).stderr, check.stderr, "a day later");

    // What is wrong with a database that is there is said each time.
    let text = "no database, however long it is looked at";
    fs::write(&place, text.repeat(99)).unwrap();
    for _ in 0..2 {
        let check = cron().exits(1);
        assert!(check.stderr.contains("is damaged"), "{}", check.screen());
    }

    // Once it works, the next time is news.
    fs::remove_file(&place).unwrap();
    cron().exits(1);
    bench.file("body.json", BODY);
    let submit = ["submit", "body.json"];
    run(bench.command(submit).env("TRACKER_DB", &place)).exits(0);
    cron().exits(0).silent();
    assert!(!marker.exists());
}

/// A false all-clear: what was said at a terminal only was not said where cron's mail is read.
#[test]
fn trouble_of_a_row_is_resolved_only_where_it_was_said() {
    let bench = rendering(2);
    finish(&bench, 1);
    fault(&bench, 1, Fault::html(200).forever());
    if bench.terminal_shows(80, "check").is_none() {
        return;
    }
    bench.heygen.clear_faults();
    let over = bench.tracker("check").exits(0);
    assert_eq!(over.stderr, "", "nobody was told of it by mail");
}

#[test]
fn trouble_that_was_said_at_a_terminal_is_news_to_cron() {
    let bench = rendering(2);
    finish(&bench, 1);
    fault(&bench, 1, Fault::html(200).forever());
    if bench.terminal_shows(80, "check").is_none() {
        return;
    }
    let first = bench.tracker("check").exits(1);
    assert_eq!(
        first.stderr.matches("error: ").count(),
        1,
        "{}",
        first.screen()
    );
    bench.tracker("check").exits(1).silent();
}

#[test]
fn a_named_video_that_failed_before_is_the_reason_that_is_given_for_the_exit_code() {
    let bench = rendering(1);
    fail(&bench, 1);
    bench.tracker("check").exits(0);
    let again = bench.tracker("check 1 --exit-status").exits(5);
    says(&again, "", "1 failed before (tracker show 1)");
}
