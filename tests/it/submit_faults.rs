//! Buying when things go wrong: the rows S1 to S18 of the fault table, each through the real binary.
//!
//! Every test ends with [`converges`]: once the fault is gone, `check` brings every row to the same end as if nothing
//! had happened, with one bill each.

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use heygen_tracker::sandbox::{Fault, Host, Options, Recorded, Render};
use heygen_tracker::time::Timestamp;
use serde_json::json;

use crate::support::{BODY, Bench, Run, TRACKER, eventually, run};

const POST: &str = "POST /v3/videos";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

// ---- helpers -------------------------------------------------------------------------------------------------------

/// A bench with one body in the outbox that nobody has tried to send.
fn queued() -> Bench {
    queued_on(Bench::new(), 1)
}

fn queued_on(bench: Bench, count: usize) -> Bench {
    bench.file("queue.jsonl", bodies(count));
    bench.tracker("submit --queue queue.jsonl").exits(0);
    assert_eq!(bench.heygen.posts().len(), 0, "--queue sends nothing");
    bench
}

/// A plan with room for so many videos at once.
fn plan_of(slots: usize, retry_after: u32) -> Options {
    Options {
        render: Render::Manual,
        max_rendering: Some(slots),
        retry_after,
        ..Options::default()
    }
}

fn bodies(count: usize) -> String {
    (1..=count)
        .map(|n| BODY.replace("Hello\"", &format!("Video {n}\"")) + "\n")
        .collect()
}

/// Runs `tracker ARGUMENTS` with some variables set otherwise.
fn tracker_env(bench: &Bench, arguments: &str, variables: &[(&str, &str)]) -> Run {
    run(bench
        .command(arguments.split_whitespace())
        .envs(variables.iter().copied()))
}

fn start(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

fn end_of(child: Child) -> Run {
    child.wait_with_output().expect("the program ends").into()
}

/// Runs the cases of one test side by side: most of their time is pauses between tries.
fn each<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| test(case));
        }
    });
}

/// What the database says about a row's purchase.
#[derive(Debug, PartialEq)]
struct Row {
    status: String,
    key: String,
    /// Whether an unanswered attempt ties the row to an account and to the clock.
    tied: bool,
    error: String,
}

fn row(bench: &Bench, id: i64) -> Row {
    let ask = |column| bench.query(&format!("SELECT {column} FROM videos WHERE id = {id}"));
    let (account, clock) = (ask("account"), ask("first_unanswered_at"));
    let status = bench.status(id);
    if matches!(status.as_str(), "unsent" | "sending") {
        assert_eq!(account.is_empty(), clock.is_empty(), "tied in part");
    }
    Row {
        status,
        key: ask("idempotency_key"),
        tied: !clock.is_empty(),
        error: ask("error_code"),
    }
}

/// The row waits as if nothing had been tried: no attempt may have bought it.
#[track_caller]
fn assert_unsent(bench: &Bench, id: i64) {
    let row = row(bench, id);
    assert_eq!(
        (row.status.as_str(), row.tied),
        ("unsent", false),
        "{row:?}"
    );
}

/// HeyGen may have charged for the row, so only its key may ask again.
#[track_caller]
fn assert_sending(bench: &Bench, id: i64) {
    let row = row(bench, id);
    assert_eq!(
        (row.status.as_str(), row.tied),
        ("sending", true),
        "{row:?}"
    );
}

fn key_of(post: &Recorded) -> &str {
    post.header("Idempotency-Key")
        .expect("every POST has a key")
}

/// There were `count` POSTs so far, and all were the very same request as the database holds for row 1.
#[track_caller]
fn assert_same_posts(bench: &Bench, count: usize) {
    let posts = bench.heygen.posts();
    assert_eq!(posts.len(), count, "POSTs");
    let key = bench.query("SELECT idempotency_key FROM videos WHERE id = 1");
    let body = bench.query("SELECT request FROM videos WHERE id = 1");
    for post in &posts {
        assert_eq!(key_of(post), key);
        assert_eq!(String::from_utf8_lossy(&post.body), body);
    }
}

fn send_after(bench: &Bench, id: i64) -> Duration {
    let millis: i64 = bench
        .query(&format!("SELECT send_after FROM videos WHERE id = {id}"))
        .parse()
        .expect("a time");
    Timestamp::from_millis(millis).since(heygen_tracker::time::now())
}

/// The fault is over: one `check` sends what waits, the next saves the files, and then nothing is left to do.
#[track_caller]
fn converges(bench: &Bench) {
    bench.heygen.clear_faults();
    bench.advance(HOUR + SECOND);
    bench.tracker("check").exits(0);
    ends_well(bench);
}

/// Everything is sent and paid for once; rendering ends; everything is saved.
#[track_caller]
fn ends_well(bench: &Bench) {
    let rows = "SELECT count(*) FROM videos WHERE phase NOT IN ('rejected', 'unknown')";
    assert_eq!(
        bench.query("SELECT count(*) FROM videos WHERE phase IN ('unsent', 'sending')"),
        "0",
        "something still waits to be sent"
    );
    assert_eq!(bench.heygen.billed().len().to_string(), bench.query(rows));
    for id in bench.heygen.videos() {
        bench.heygen.finish(&id);
    }
    bench.tracker("check").exits(0);
    assert_eq!(
        bench.query("SELECT count(*) FROM videos WHERE finished = 0"),
        "0"
    );
    bench.tracker("check").exits(0).silent();
    bench.assert_invariants();
}

/// Says on the real stderr, past the test harness, that (a part of) a test was not run.
fn skip(why: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {why}").ok();
}

/// Runs the program under strace with a system call tampered with; `None`, loudly, where strace cannot be run.
fn tampered(bench: &Bench, inject: &str, arguments: &str) -> Option<Run> {
    let works = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        skip(&format!(
            "strace cannot be run here, so {inject} was not tried"
        ));
        return None;
    }
    let call = inject.split(':').next().expect("a system call");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={call}"))
        .arg("-e")
        .arg(format!("inject={inject}"))
        .arg(TRACKER)
        .args(arguments.split_whitespace());
    bench.prepare(&mut command);
    Some(run(&mut command))
}

/// A file system of its own in the bench's directory, with the database in it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, loudly, where that is not allowed.
    fn mount(bench: &Bench, kib: u32) -> Option<Self> {
        let place = bench.path("disk");
        std::fs::create_dir(&place).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(&place)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            skip("a tmpfs cannot be mounted here (not root?)");
            return None;
        }
        Some(Self(place))
    }

    fn db(&self) -> PathBuf {
        self.0.join("tracker.db")
    }

    fn query(&self, sql: &str) -> i64 {
        rusqlite::Connection::open(self.db())
            .and_then(|db| db.query_row(sql, [], |row| row.get(0)))
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// Takes all the room there is but this much.
    fn fill_but(&self, kib: u64) {
        let mut file = std::fs::File::create(self.filler()).expect("a file");
        let full = std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("no more room");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let length = file.metadata().expect("its length").len();
        file.set_len(length - kib * 1024).expect("some room");
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("room");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn remount(&self, how: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(&self.0)
            .status()
            .expect("mount");
        assert!(status.success());
    }

    fn tracker(&self, bench: &Bench, arguments: &str) -> Run {
        run(&mut self.command(bench, arguments))
    }

    fn command(&self, bench: &Bench, arguments: &str) -> Command {
        let mut command = bench.command(arguments.split_whitespace());
        command.env("TRACKER_DB", self.db());
        command
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a child that a failed test left behind may still use it.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

// ---- S1, S2: killed ------------------------------------------------------------------------------------------------

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
    bench.heygen.fault(POST, Fault::stall(20 * SECOND));
    let mut submit = start(&mut bench.command(["submit", "body.json"]));
    eventually("the POST", || bench.heygen.posts().len() == 1);
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
    bench.heygen.fault(POST, Fault::delay(SECOND));
    let mut check = start(&mut bench.command(["check"]));
    eventually("the POST", || bench.heygen.posts().len() == 1);
    // Somebody else writes, so that the answer is there and cannot be written down yet.
    let other = bench.db();
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
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

// ---- S3: the network -----------------------------------------------------------------------------------------------

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
    // Under any other account, at any time: nothing was sent.
    bench.advance(30 * HOUR);
    bench.tracker("check").exits(0);
    assert_same_posts(bench, 1);
    ends_well(bench);
}

#[test]
fn s03_a_refused_connection_sent_nothing() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", closed.local_addr().expect("an address"));
    drop(closed);
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
        skip("openssl cannot be run here");
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
        check.stderr.contains("over after"),
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
                    && submit
                        .stderr
                        .contains("do not submit again: check sends it"),
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

// ---- S4, S5: not now -----------------------------------------------------------------------------------------------

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
        .after(120 * SECOND)
        .to_chrono()
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    each(
        [
            ("120", 120 * SECOND),
            (date.as_str(), 119 * SECOND),
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
                left <= wait + SECOND && left + 5 * SECOND > wait,
                "{retry_after}: {left:?}"
            );
            // The whole account waits: new rows, named rows, all runs.
            bench.file("body.json", BODY);
            let submit = bench.tracker("submit body.json").exits(0);
            assert!(submit.stderr.contains("do not submit again"));
            bench.tracker("check 1").exits(0);
            bench.advance(wait - 10 * SECOND);
            bench.tracker("check").exits(0).silent();
            assert_eq!(bench.heygen.posts().len(), posts, "{retry_after}");
            bench.heygen.clear_faults();
            bench.advance(15 * SECOND);
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
    assert!(left > 50 * SECOND && left <= MINUTE, "{left:?}");
    converges(&bench);
}

#[test]
fn s05_a_pause_from_a_clock_that_ran_ahead_does_not_outlast_the_next_one() {
    let bench = queued_on(Bench::new(), 2);
    bench
        .heygen
        .fault(POST, Fault::retry_after(429, "600").times(4));
    bench.tracker("check").exits(0).silent();
    // The clock was a year ahead and is right again: that pause means nothing, the next one does.
    bench.shift_database(365 * 24 * 3_600_000);
    bench.tracker("check").exits(0).silent();
    let posts = bench.heygen.posts().len();
    assert!(posts > 2, "held back by a time that will not come");
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

// ---- S6: server errors ---------------------------------------------------------------------------------------------

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
        bench.advance(minutes * MINUTE - 10 * SECOND);
        bench.tracker("check");
        assert_same_posts(&bench, posts);
        bench.advance(10 * SECOND);
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

// ---- S7: refused bodies --------------------------------------------------------------------------------------------

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

// ---- S8: the key is refused ----------------------------------------------------------------------------------------

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
    // Neither account nor clock: another key may send them a month later.
    bench.advance(700 * HOUR);
    let check = bench.tracker("check").exits(0);
    assert!(check.stderr.contains("over after"), "{}", check.screen());
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

// ---- S9: answers that are none -------------------------------------------------------------------------------------

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

// ---- S10: too old --------------------------------------------------------------------------------------------------

/// A row that was bought, and nobody here knows.
fn unanswered() -> Bench {
    let bench = queued();
    bench
        .heygen
        .fault(POST, Fault::cut_before_answer().times(2));
    bench.tracker("check").exits(1);
    assert_sending(&bench, 1);
    bench
}

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
    bench.advance(20 * HOUR - 10 * SECOND);
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
        .tracker("submit wait.json --wait --timeout 0s")
        .exits(4);
    s10_becomes_unknown(&bench);
}

// ---- S11: another account ------------------------------------------------------------------------------------------

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
    let bills = bench.heygen.billed();
    assert_eq!(bills.len(), 2);
    assert_eq!(bills[1].key, "second-key", "row {free} belongs to nobody");
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

// ---- S12: two at once ----------------------------------------------------------------------------------------------

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
    bench.heygen.fault(POST, Fault::delay(2 * SECOND));
    let submit = start(&mut bench.command(["submit", "body.json"]));
    eventually("the POST", || bench.heygen.posts().len() == 1);
    assert_eq!(bench.status(1), "sending");
    bench.tracker("check").exits(0).silent();
    bench.tracker("check 1").exits(0);
    assert_eq!(bench.heygen.posts()[0].answered, None, "still in flight");
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
    bench.heygen.fault(POST, Fault::delay(SECOND));
    let sender = start(&mut bench.command(["check"]));
    eventually("the POST", || bench.heygen.posts().len() == 1);
    bench.advance(21 * HOUR);
    bench.tracker("check").exits(0).silent();
    end_of(sender).exits(0).silent();
    ends_well(&bench);
}

// ---- S13: redirects ------------------------------------------------------------------------------------------------

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

// ---- S14, S15: the disk and the database ---------------------------------------------------------------------------

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
    bench.heygen.fault(POST, Fault::delay(SECOND));
    let check = start(&mut bench.command(["check"]));
    eventually("the POST", || bench.heygen.posts().len() == 1);
    let away = bench.path("away.db");
    std::fs::rename(bench.db_path(), &away).expect("a move");
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
    bench.heygen.fault(POST, Fault::delay(SECOND));
    let check = start(&mut bench.command(["check"]));
    eventually("the POST", || bench.heygen.posts().len() == 1);
    std::fs::rename(bench.path("copy.db"), bench.db_path()).expect("a replacement");
    let check = end_of(check).exits(1);
    assert_purchase_is_told(&bench, &check);
    // The copy is from before the POST and has the same key: what is sent again is not bought again.
    converges(&bench);
}

#[test]
fn s15_a_database_moved_away_before_the_post_stops_it() {
    let bench = queued_on(Bench::new(), 40);
    bench.heygen.fault(POST, Fault::delay(SECOND).times(16));
    let check = start(&mut bench.command(["check"]));
    eventually("the POSTs", || bench.heygen.posts().len() == 16);
    std::fs::rename(bench.db_path(), bench.path("away.db")).expect("a move");
    end_of(check).exits(1);
    assert_eq!(bench.heygen.posts().len(), 16);
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
    bench.heygen.fault(POST, Fault::delay(SECOND));
    let submit = start(&mut disk.command(&bench, "submit --assets none body.json"));
    eventually("the POST", || bench.heygen.posts().len() == 1);
    disk.fill_but(0);
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

// ---- S16: bad bodies -----------------------------------------------------------------------------------------------

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
        ("bom.json", b"\xef\xbb\xbf{\"a\":1}", "byte order mark"),
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

// ---- S17: no credit ------------------------------------------------------------------------------------------------

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
    assert!(check.stderr.contains("over after"), "{}", check.screen());
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

// ---- S18: a replay is refused --------------------------------------------------------------------------------------

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

// ---- options -------------------------------------------------------------------------------------------------------

#[test]
fn submit_prints_one_line_per_body_and_nothing_else() {
    let bench = Bench::new();
    let submit = bench.submit(2).exits(0);
    let expected = format!(
        "1\t{}\twaiting\n2\t{}\twaiting\n",
        bench.video_id(1),
        bench.video_id(2)
    );
    assert_eq!((submit.stdout, submit.stderr), (expected, String::new()));
    ends_well(&bench);
}

#[test]
fn submit_json_is_one_video_object_per_body_even_in_trouble() {
    let bench = Bench::new();
    bench.file("two.jsonl", bodies(2));
    bench.heygen.set_reachable(Host::Api, false).expect("down");
    let submit = bench.tracker("submit --json two.jsonl").exits(0);
    let objects = submit.json();
    assert_eq!(objects.len(), 2, "{}", submit.screen());
    for (object, id) in objects.iter().zip(1..) {
        assert_eq!(object["id"], json!(id));
        assert_eq!(object["status"], json!("unsent"));
        assert_eq!(object["video_id"], json!(null));
    }
    assert!(submit.stderr.contains("do not submit again"));
    bench.heygen.set_reachable(Host::Api, true).expect("up");
    converges(&bench);
}

#[test]
fn queue_records_and_check_sends() {
    let bench = Bench::new();
    bench.file("two.jsonl", bodies(2));
    // No key is needed to write something down.
    let submit = tracker_env(
        &bench,
        "submit --queue two.jsonl",
        &[("HEYGEN_API_KEY", "")],
    )
    .exits(0);
    assert_eq!(submit.stdout, "1\t\tunsent\n2\t\tunsent\n");
    assert_eq!(submit.stderr, "");
    assert_eq!(bench.heygen.requests().len(), 0);
    bench.tracker("check").exits(0).silent();
    ends_well(&bench);
}

#[test]
fn max_active_counts_what_heygen_has_in_work() {
    let bench = queued_on(Bench::new(), 5);
    bench.tracker("check --max-active 2").exits(0).silent();
    assert_eq!(bench.heygen.billed().len(), 2);
    bench.tracker("check --max-active 2").exits(0).silent();
    assert_eq!(bench.heygen.billed().len(), 2);
    let first = bench.heygen.videos().remove(0);
    bench.heygen.finish(&first);
    bench.tracker("check --max-active 2").exits(0);
    assert_eq!(bench.heygen.billed().len(), 3, "counted fresh");
    bench.tracker("check --max-active 0").exits(0).silent();
    assert_eq!(bench.heygen.billed().len(), 3);
    converges(&bench);
}

#[test]
fn max_active_never_holds_back_a_replay() {
    let bench = unanswered();
    bench.advance(MINUTE + SECOND);
    bench.tracker("check --max-active 0").exits(0);
    assert_same_posts(&bench, 3);
    ends_well(&bench);
}

#[test]
fn if_new_buys_an_equal_body_only_when_there_is_no_good_one() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    // Equal as a JSON value: other order, other white space.
    bench.file(
        "equal.json",
        r#"{ "script":"Hello there", "title":"Hello", "voice_id":"v1", "avatar_id":"a1", "type":"avatar" }"#,
    );
    let buys = |again: bool, why: &str| {
        let before = bench.heygen.billed().len();
        bench.tracker("submit --if-new equal.json").exits(0);
        assert_eq!(
            bench.heygen.billed().len() - before,
            usize::from(again),
            "{why}"
        );
    };
    let newest = || bench.heygen.videos().pop().expect("a video");

    bench.tracker("submit body.json").exits(0);
    buys(false, "in work");
    let known = bench
        .tracker("submit --if-new equal.json equal.json")
        .exits(0);
    let line = format!("1\t{}\twaiting\n", bench.video_id(1));
    assert_eq!(known.stdout, line.repeat(2), "the row that is there");

    bench.heygen.fail(&newest(), "oops", "no");
    bench.tracker("check").exits(0);
    buys(true, "the other one failed");
    bench.heygen.finish(&newest());
    bench.tracker("check").exits(0);
    buys(false, "completed lately");
    bench.advance(24 * HOUR + SECOND);
    buys(true, "completed long ago");
    bench.tracker("submit body.json").exits(0);
    assert_eq!(
        bench.heygen.billed().len(),
        4,
        "without --if-new it is bought"
    );
    ends_well(&bench);
}

#[test]
fn if_new_sees_twins_within_one_command() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let submit = bench
        .tracker("submit --if-new body.json body.json")
        .exits(0);
    assert_eq!(submit.stdout.lines().count(), 2);
    assert_eq!(bench.heygen.billed().len(), 1);
    ends_well(&bench);
}

#[test]
fn dry_run_records_and_sends_nothing_and_names_every_twin() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let dry = tracker_env(
        &bench,
        "submit --dry-run body.json",
        &[("HEYGEN_API_KEY", "")],
    )
    .exits(0);
    assert_eq!(dry.stdout, format!("{BODY}\n"));
    assert!(!bench.db_path().exists());
    assert_eq!(bench.heygen.requests().len(), 0);

    bench.tracker("submit body.json").exits(0);
    bench.advance(24 * 400 * HOUR);
    let dry = bench
        .tracker("submit --dry-run body.json --title Hello")
        .exits(0);
    assert!(dry.stderr.contains("is 1 (waiting)"), "{}", dry.screen());
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "1");
    bench.tracker("submit --dry-run missing.json").exits(2);
    assert_eq!(bench.heygen.posts().len(), 1);
}

#[test]
fn wait_generates_polls_downloads_and_prints_the_path() {
    let bench = Bench::with(Options::default());
    let submit = bench
        .tracker_with(&[
            "submit",
            "--avatar-id",
            "a",
            "--voice-id",
            "v",
            "--script",
            "Hello there",
            "--wait",
            "--interval",
            "10ms",
        ])
        .exits(0);
    let path = bench.path(&format!("output/{}.mp4", bench.video_id(1)));
    assert_eq!(
        submit.stdout,
        format!("1\t{}\tcompleted\t{}\n", bench.video_id(1), path.display())
    );
    let sent: serde_json::Value =
        serde_json::from_slice(&bench.heygen.posts()[0].body).expect("JSON");
    assert_eq!(
        sent,
        json!({"type": "avatar", "avatar_id": "a", "voice_id": "v", "script": "Hello there"})
    );
    ends_well(&bench);
}

#[test]
fn wait_says_how_it_ended_by_its_exit_code() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench
        .tracker("submit body.json --wait --timeout 50ms --interval 10ms")
        .exits(4);
    let doomed = Bench::with(Options {
        fail_every: Some(1),
        ..Options::default()
    });
    doomed.file("body.json", BODY);
    doomed
        .tracker("submit body.json --wait --interval 10ms")
        .exits(5);
    converges(&bench);
}
