//! Submitting: answers that never come.

use super::*;

// ---- S1, S2: killed --------------------------------------------------------------------------------------------------

#[test]
fn s01_a_kill_before_the_commit_records_all_bodies_or_none_and_posts_nothing() {
    for (kill, recorded) in [
        // The shared memory, the log's header, the middle of the rows.
        ("pwrite64:signal=SIGKILL:when=1", 0),
        ("fsync:signal=SIGKILL:when=1", 0),
        ("pwrite64:signal=SIGKILL:when=14", 0),
        // Written, and not yet safe from a power cut.
        ("fsync:signal=SIGKILL:when=3", 3),
    ] {
        let bench = queued();
        bench.file("three.jsonl", bodies(3));
        let Some(killed) = tampered(&bench, kill, "submit three.jsonl") else {
            return;
        };
        assert_eq!(killed.code, None, "{kill}: {}", killed.screen());
        let rows = bench.query("SELECT count(*) FROM videos");
        assert_eq!(rows, (1 + recorded).to_string(), "{kill}");
        assert_eq!(bench.heygen.posts().len(), 0, "{kill}");
        converges(&bench);
    }
}

#[test]
fn s02_a_kill_before_the_post_sends_it_later() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let kill = "connect:signal=SIGKILL:when=1";
    let Some(killed) = tampered(&bench, kill, "submit body.json") else {
        return;
    };
    assert_eq!(killed.code, None, "{}", killed.screen());
    assert_sending(&bench, 1);
    bench.tracker("check").exits(0).silent();
    assert_same_posts(&bench, 1);
    ends_well(&bench);
}

#[test]
fn s02_a_kill_during_the_post_is_replayed_with_the_same_key_and_bytes() {
    let bench = Bench::new();
    bench.file("body.json", BODY.replace(':', " :  "));
    bench.heygen.fault(POST, Fault::stall(PATIENCE));
    let mut submit = start(&mut bench.command(["submit", "body.json"]));
    eventually("the POST", || bench.heygen.billed().len() == 1);
    submit.kill().expect("a kill");
    assert_eq!(end_of(submit).code, None);
    assert_sending(&bench, 1);
    assert_eq!(bench.heygen.billed().len(), 1, "bought, and nobody knows");
    bench.tracker("check").exits(0).silent();
    assert_same_posts(&bench, 2);
    assert_eq!(bench.video_id(1), bench.heygen.billed()[0].video_id);
    ends_well(&bench);
}

#[test]
fn s02_a_kill_before_the_answer_is_committed_is_replayed_with_the_same_key() {
    let bench = queued();
    bench.heygen.fault(POST, Fault::held());
    let mut check = start(&mut bench.command(["check"]));
    eventually("the POST", || bench.heygen.holding() == 1);
    // Somebody else writes, so that the answer is there and cannot be written down yet.
    let other = bench.db();
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    bench.heygen.release();
    eventually("the answer", || {
        bench.heygen.posts()[0].answered == Some(200)
    });
    check.kill().expect("a kill");
    assert_eq!(end_of(check).code, None);
    drop(other);
    assert_sending(&bench, 1);
    bench.tracker("check").exits(0).silent();
    assert_same_posts(&bench, 2);
    ends_well(&bench);
}

// ---- S3: the network -------------------------------------------------------------------------------------------------

/// `submit` through a base URL at which no connection can be made.
fn s03_never_connected(bench: &Bench, base: &str) {
    let submit = tracker_env(bench, "submit body.json", &[("HEYGEN_API_BASE", base)]).exits(0);
    assert_eq!(submit.stdout, "1\t\tunsent\n");
    assert!(
        submit.stderr.contains("error: cannot connect")
            && submit
                .stderr
                .contains("do not submit again: check sends it"),
        "{}",
        submit.screen()
    );
    assert_unsent(bench, 1);
    assert_eq!(row(bench, 1).error, "network_error");
    let check = tracker_env(bench, "check", &[("HEYGEN_API_BASE", base)]).exits(1);
    assert_eq!(check.stdout, "", "{}", check.screen());
    assert_unsent(bench, 1);
    // With the same key wherever HeyGen is, days later: nothing was sent, and cron kept trying.
    for _ in 0..2 {
        bench.advance(15 * HOUR);
        tracker_env(bench, "check", &[("HEYGEN_API_BASE", base)]).exits(1);
    }
    bench.tracker("check").exits(0);
    assert_same_posts(bench, 1);
    ends_well(bench);
}

#[test]
fn s03_a_refused_connection_sent_nothing() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let closed = Port::new().expect("a port");
    let base = format!("http://127.0.0.1:{closed}");
    s03_never_connected(&bench, &base);
}

#[test]
fn s03_a_name_without_an_address_sent_nothing() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    s03_never_connected(&bench, "https://heygen.invalid");
}

#[test]
fn s03_a_failed_tls_handshake_sent_nothing() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let Some((mut server, port)) = self_signed_server(bench.dir.path()) else {
        skipped("openssl cannot be run here");
        return;
    };
    s03_never_connected(&bench, &format!("https://127.0.0.1:{port}"));
    server.kill().expect("a kill");
    server.wait().expect("an end");
}

/// A TLS server whose certificate nobody trusts.
fn self_signed_server(dir: &Path) -> Option<(Child, String)> {
    let made = Command::new("openssl")
        .current_dir(dir)
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '),
        )
        .args(
            "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout k.pem -out c.pem"
                .split(' '),
        )
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut server = Command::new("openssl")
        .current_dir(dir)
        .args("s_server -accept 127.0.0.1:0 -cert c.pem -key k.pem".split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let output = BufReader::new(server.stdout.take().expect("a pipe"));
    let port = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| Some(line.strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.to_owned()))
        .expect("a port");
    Some((server, port))
}

#[test]
fn s03_the_whole_outbox_waits_while_there_is_no_network() {
    let bench = queued_on(Bench::new(), 30);
    bench.heygen.set_reachable(Host::Api, false).expect("down");
    let check = bench.tracker("check").exits(1);
    assert_eq!(check.stdout, "");
    assert_eq!(
        check.stderr.matches("error:").count(),
        1,
        "{}",
        check.screen()
    );
    bench.tracker("check").exits(1).silent();
    for id in 1..=30 {
        assert_unsent(&bench, id);
    }
    bench.heygen.set_reachable(Host::Api, true).expect("up");
    let check = bench.tracker("check").exits(0);
    assert!(
        check.stderr.contains("resolved after"),
        "told when it ends: {}",
        check.screen()
    );
    assert_eq!(bench.heygen.posts().len(), 30);
    ends_well(&bench);
}

#[test]
fn s03_an_answer_that_never_comes_is_asked_for_again_and_not_bought_again() {
    each(
        [Fault::cut_before_answer(), Fault::reset_after(0)],
        |lost| {
            let bench = Bench::new();
            bench.file("body.json", BODY);
            bench.heygen.fault(POST, lost.forever());
            let submit = bench.tracker("submit body.json").exits(0);
            assert_eq!(submit.stdout, "1\t\tsending\n");
            assert!(
                submit.stderr.contains("network_error")
                    && submit.stderr.contains("do not submit again: check"),
                "{}",
                submit.screen()
            );
            assert_sending(&bench, 1);
            assert_eq!(row(&bench, 1).error, "network_error");
            // Not due yet.
            let posts = bench.heygen.posts().len();
            bench.tracker("check");
            assert_eq!(bench.heygen.posts().len(), posts);
            bench.advance(MINUTE);
            bench.tracker("check").exits(1);
            assert_sending(&bench, 1);
            assert_same_posts(&bench, posts + 1);
            assert_eq!(bench.heygen.billed().len(), 1);
            converges(&bench);
            assert_same_posts(&bench, posts + 2);
        },
    );
}

#[test]
fn s03_a_row_in_trouble_is_told_by_check_once() {
    let bench = queued();
    bench
        .heygen
        .fault(POST, Fault::cut_before_answer().forever());
    let told = bench.tracker("check").exits(1);
    assert!(told.stderr.contains("1 sending \"Video 1\": network_error"));
    bench.advance(10 * MINUTE);
    bench.tracker("check").exits(1).silent();
    bench.heygen.clear_faults();
    bench.advance(HOUR);
    let over = bench.tracker("check").exits(0);
    assert!(over.stderr.contains("works again"), "{}", over.screen());
    ends_well(&bench);
}

// ---- S6: server errors -----------------------------------------------------------------------------------------------

#[test]
fn s06_a_server_error_may_have_bought_it() {
    each(
        [
            (Fault::status(500), "http_500"),
            (Fault::html(502), "http_502"),
            (Fault::body(503, "text/plain", ""), "http_503"),
            (Fault::status(500).after_work(), "http_500"),
            (Fault::html(504).after_work(), "http_504"),
        ],
        |(broken, code)| {
            let bench = queued();
            bench.heygen.fault(POST, broken.forever());
            let check = bench.tracker("check").exits(1);
            assert!(check.stderr.contains("1 sending"), "{}", check.screen());
            assert_sending(&bench, 1);
            let error = row(&bench, 1).error;
            assert!(error == code || error == "internal_error", "{error}");
            bench.tracker("check");
            assert_same_posts(&bench, 2);
            converges(&bench);
            assert_same_posts(&bench, 3);
        },
    );
}

#[test]
fn s06_replays_are_at_once_then_1_2_4_to_60_minutes_apart() {
    let bench = queued();
    bench.heygen.fault(POST, Fault::status(500).forever());
    bench.tracker("check").exits(1);
    let mut posts = 2;
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_same_posts(&bench, posts);
        bench.advance(minutes * MINUTE - 40 * SECOND);
        bench.tracker("check");
        assert_same_posts(&bench, posts);
        bench.advance(40 * SECOND);
        bench.tracker("check").exits(1);
        posts += 1;
    }
    // A person who names it need not wait.
    bench.tracker("check 1").exits(1);
    assert_same_posts(&bench, posts + 1);
    converges(&bench);
}

#[test]
fn s06_after_a_few_failures_the_rest_of_the_outbox_waits() {
    let bench = queued_on(Bench::new(), 60);
    bench.heygen.fault(POST, Fault::status(500).forever());
    bench.tracker("check").exits(1);
    let tried: i64 = bench
        .query("SELECT count(*) FROM videos WHERE phase = 'sending'")
        .parse()
        .expect("a number");
    assert!((1..=32).contains(&tried), "{tried} rows on the clock");
    converges(&bench);
}

// ---- S9: answers that are none ---------------------------------------------------------------------------------------

#[test]
fn s09_an_answer_that_names_no_video_is_no_answer() {
    let text = |body: &str| Fault::body(200, "application/json", body);
    each(
        [
            (Fault::html(200), "from the gateway"),
            (text(""), ""),
            (text("{\"data\":{\"video_id\":\"abc"), "abc"),
            (text("{\"data\":{\"status\":\"waiting\"}}"), "waiting"),
            (text("{\"data\":{\"video_id\":null}}"), "null"),
            (text("{\"data\":{\"video_id\":\"\"}}"), "video_id"),
            (text("{\"data\":{\"video_id\":17}}"), "17"),
            (text("{\"data\":[]}"), "[]"),
            (
                Fault::json(200, &json!({"data": {"video_id": "x".repeat(600)}})),
                "xxxxxxxx",
            ),
            (
                Fault::json(200, &json!({"error": {"code": "oops", "message": "no"}})),
                "oops",
            ),
            (Fault::truncate_body(20), ""),
            (Fault::chunked(false), ""),
            (Fault::deep_json(5000), "[[["),
        ],
        |(answer, kept)| {
            let bench = queued();
            bench.heygen.fault(POST, answer.after_work().forever());
            bench.tracker("check").exits(1);
            assert_sending(&bench, 1);
            assert_eq!(bench.video_id(1), "");
            let excerpt = bench.query(
            "SELECT coalesce(json_extract(detail, '$.answer'), '') FROM events WHERE kind = 'error'",
        );
            assert!(excerpt.contains(kept), "{kept}: {excerpt}");
            assert!(excerpt.len() <= 1100, "not bounded: {}", excerpt.len());
            assert_eq!(bench.heygen.billed().len(), 1);
            converges(&bench);
            assert_same_posts(&bench, 3);
        },
    );
}

// ---- S10: too old ----------------------------------------------------------------------------------------------------

#[track_caller]
fn s10_becomes_unknown(bench: &Bench) {
    let posts = bench.heygen.posts().len();
    let check = bench.tracker("check").exits(1);
    assert!(
        check.stdout.contains("1 unknown \"Video 1\"")
            && check.stdout.contains("add VIDEO_ID --as 1"),
        "{}",
        check.screen()
    );
    bench.tracker("check").exits(0).silent();
    assert_eq!(bench.status(1), "unknown");
    assert_eq!(bench.heygen.posts().len(), posts, "never re-sent by itself");
    bench.assert_invariants();
}

#[test]
fn s10_a_replay_is_made_within_twenty_hours_and_not_after() {
    let bench = unanswered();
    bench.advance(20 * HOUR - 2 * MINUTE);
    bench.tracker("check").exits(0);
    ends_well(&bench);

    let bench = unanswered();
    bench.advance(20 * HOUR);
    s10_becomes_unknown(&bench);
    // Naming it does not send it either.
    let named = bench.tracker("check 1").exits(0);
    assert!(named.stderr.contains("1 unknown"), "{}", named.screen());
    assert_eq!(bench.heygen.posts().len(), 2);
}

#[test]
fn s10_later_attempts_do_not_extend_the_twenty_hours() {
    let bench = unanswered();
    bench.heygen.fault(POST, Fault::status(500).forever());
    bench.advance(19 * HOUR);
    bench.tracker("check").exits(1);
    bench.advance(HOUR);
    s10_becomes_unknown(&bench);
}

#[test]
fn s10_a_clock_set_back_makes_the_age_unknowable() {
    let bench = unanswered();
    // A clock that drifts is a clock; one that is set back is none.
    bench.shift_database(4 * 60_000);
    bench.tracker("check 1").exits(0);
    ends_well(&bench);

    let bench = unanswered();
    bench.shift_database(10 * 60_000);
    s10_becomes_unknown(&bench);
    // Nobody can tell whether the clock is right now or was right then: not even asking by name sends it again.
    bench.shift_database(-10 * 60_000);
    let check = bench.tracker("check 1").exits(0);
    assert!(
        check.stderr.contains("tracker retry 1"),
        "{}",
        check.screen()
    );
    assert_same_posts(&bench, 2);
    assert_eq!(bench.status(1), "unknown");
}

#[test]
fn s10_a_clock_set_forward_counts_as_age() {
    let bench = unanswered();
    bench.shift_database(-365 * 24 * 3_600_000);
    s10_becomes_unknown(&bench);
}

#[test]
fn s10_expiry_needs_neither_key_nor_network() {
    let bench = unanswered();
    bench.advance(21 * HOUR);
    let check = tracker_env(&bench, "check", &[("HEYGEN_API_KEY", "")]).exits(1);
    assert!(check.stdout.contains("1 unknown"), "{}", check.screen());
}

#[test]
fn s10_a_submit_in_between_does_not_swallow_the_news() {
    let bench = unanswered();
    bench.advance(21 * HOUR);
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    bench.file("wait.json", BODY.replace("Hello", "Other"));
    bench
        .tracker("submit wait.json --wait --timeout 20s")
        .exits(4);
    s10_becomes_unknown(&bench);
}
