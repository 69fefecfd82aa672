//! Nothing waits for what it does not need: hooks, downloads and requests that hang, and threads that cannot be had.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::heygen::Fault;
use crate::listener;
use crate::support::{BODY, Bench, can_strace, end, eventually, run};

const LONG: Duration = Duration::from_secs(120);

fn completed() -> Bench {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    bench
}

#[test]
fn a_hook_that_forgets_its_own_row_leaves_nothing_to_record() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    for row in [1, 2] {
        bench.heygen.finish(&bench.video_id(row));
    }
    let check = bench.shell(
        "tracker check --hook 'test $TRACKER_EVENT != saved || tracker forget $TRACKER_ID; echo $TRACKER_EVENT >> log'",
    );
    let check = check.exits(0);
    assert_eq!(
        check.stderr.replace("dropped", ""),
        check.stderr,
        "{}",
        check.screen()
    );
    let log = std::fs::read_to_string(bench.path("log")).unwrap();
    assert_eq!(
        log.lines().filter(|event| *event == "saved").count(),
        2,
        "{log}"
    );
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "0");
}

#[test]
fn a_hook_that_hangs_holds_up_no_other_video_of_listen() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    let (one, two) = (bench.video_id(1), bench.video_id(2));
    let hook = "test $TRACKER_ID = 2 || { echo $$ > pid; exec sleep 100; }";
    let listener = listener::Listener::start(&mut listener::command(&bench, &["--hook", hook]));
    bench.heygen.finish(&one);
    assert_eq!(listener.at.deliver(&listener::success("1", &one)), 200);
    eventually("the hook runs", || bench.path("pid").exists());
    bench.heygen.finish(&two);
    assert_eq!(listener.at.deliver(&listener::success("2", &two)), 200);
    eventually("the other video is saved", || {
        listener::is_saved(&bench, &two)
    });
    let pid = std::fs::read_to_string(bench.path("pid")).unwrap();
    listener.end(Signal::SIGTERM);
    gone(&pid);
}

/// The process is no more, or a zombie that nobody has waited for yet.
#[track_caller]
fn gone(pid: &str) {
    let pid = pid.trim();
    eventually("the hook ended", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
}

#[test]
fn a_hook_ends_with_its_check() {
    let bench = completed();
    let check = bench.command(["check", "--hook", HANGS]);
    ends_with(&bench, check);
}

/// The hook is there already, and the check does not know it yet.
#[test]
fn a_hook_that_was_just_started_ends_with_its_check() {
    if !can_strace() {
        return;
    }
    let bench = completed();
    // Not the first one of each thread: what ends the check is quick.
    let late = "inject=clone,clone3,vfork:delay_exit=3000000:when=2+";
    let mut check = bench.strace(
        &["trace=clone,clone3,vfork", late],
        &bench.path("log"),
        "check",
    );
    check.args(["--hook", HANGS]);
    ends_with(&bench, check);
}

const HANGS: &str = "echo $$ $PPID > pid; exec sleep 100";

#[track_caller]
fn ends_with(bench: &Bench, mut check: Command) {
    let check = crate::support::start(&mut check);
    eventually("the hook runs", || {
        std::fs::read_to_string(bench.path("pid")).is_ok_and(|pids| pids.ends_with('\n'))
    });
    let pids = std::fs::read_to_string(bench.path("pid")).unwrap();
    let (hook, tracker) = pids.trim().split_once(' ').unwrap();
    kill(Pid::from_raw(tracker.parse().unwrap()), Signal::SIGTERM).unwrap();
    // The hook has the same stderr, so this lasts as long as the hook does.
    let signalled = Instant::now();
    end(check).exits(143);
    assert!(
        signalled.elapsed() < Duration::from_secs(100),
        "it was left behind"
    );
    gone(hook);
}

#[track_caller]
fn in_time(bench: &Bench, arguments: &str) {
    let started = Instant::now();
    bench.tracker(arguments).exits(4);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(100), "{arguments}: {took:?}");
}

#[test]
fn waiting_ends_in_time_whatever_hangs() {
    let bench = completed();
    bench.heygen.allow_unused();
    bench
        .heygen
        .fault("GET /v3/videos/{id}", Fault::stall(LONG).forever());
    in_time(&bench, "check 1 --wait --timeout 1s");
    bench.heygen.clear_faults();
    bench.heygen.fault(
        "GET /files/{id}/video",
        Fault::stall_body_after(1000, LONG).forever(),
    );
    in_time(&bench, "check --wait --timeout 1s");
    bench.heygen.clear_faults();
    bench.tracker("check").exits(0);
    bench.assert_invariants();
}

/// What the run asks for itself, too: HeyGen's clock, before a submission is repeated.
#[test]
fn waiting_for_a_submission_ends_in_time_though_nothing_is_answered() {
    let bench = Bench::new();
    bench.heygen.allow_unused();
    for path in ["POST /v3/videos", "GET /v3/users/me"] {
        bench.heygen.fault(path, Fault::stall(LONG).forever());
    }
    bench.file("body.json", BODY);
    let started = Instant::now();
    let submit = bench
        .tracker("submit body.json --wait --timeout 20s")
        .exits(4);
    let took = started.elapsed();
    assert!(
        took < Duration::from_secs(100),
        "{took:?} {}",
        submit.screen()
    );
    assert_eq!(bench.status(1), "sending");
    bench.tracker("check --wait --timeout 1s").exits(4);
    assert!(started.elapsed() < took + Duration::from_secs(100));
    assert_eq!(bench.heygen.posts().len(), 1, "no clock, no repetition");
}

#[test]
fn an_answer_that_drips_ends_with_the_waiting_too() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench
        .heygen
        .fault("POST /v3/videos", Fault::cut_before_answer().times(2));
    bench.tracker("submit body.json").exits(0);
    bench.advance(Duration::from_secs(120));
    // Its headers are there in time, the rest for a minute.
    let drip = Fault::drip(Duration::from_millis(20));
    let long = Fault::body(200, "application/json", " ".repeat(3000));
    bench
        .heygen
        .fault("GET /v3/users/me", long.and(drip).forever());
    let started = Instant::now();
    bench.tracker("check --wait --timeout 6s").exits(4);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(45), "{took:?}");
    assert_eq!(bench.status(1), "sending");
    bench.heygen.clear_faults();
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 1);
}

/// What was to be sent was not, for no other reason than the time.
#[test]
fn a_connection_that_is_not_there_at_the_deadline_is_no_outage() {
    let bench = Bench::new();
    // Nobody answers the handshake.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("https://{}", silent.local_addr().unwrap());
    let tracker = |arguments| {
        let mut command = bench.command(str::split_whitespace(arguments));
        run(command.env("HEYGEN_API_BASE", &base))
    };
    bench.file("body.json", BODY);
    tracker("submit --queue body.json").exits(0);
    bench.advance(Duration::from_secs(2 * 3600));
    let check = tracker("check --wait --timeout 3s").exits(4);
    assert!(!check.stderr.contains("error"), "{}", check.screen());
    assert_eq!(bench.query("SELECT count(*) FROM troubles"), "0");
    assert_eq!(bench.status(1), "unsent");
}

/// For this kind of job HeyGen promises no safe repetition: what is cut off would be nobody knows what.
#[test]
fn an_agent_is_not_submitted_by_a_check_that_cannot_wait_for_the_answer() {
    let bench = Bench::new();
    let agent = "POST /v3/video-agents";
    bench.heygen.fault(agent, Fault::stall(LONG).forever());
    bench.heygen.allow_unused();
    let submit = ["submit", "--queue", "--prompt", "A film about tea"];
    bench.tracker_with(&submit).exits(0);
    bench.tracker("check --wait --timeout 2s").exits(4);
    bench.tracker("check 1 --wait --timeout 2s").exits(4);
    assert_eq!(
        (bench.status(1).as_str(), bench.heygen.posts().len()),
        ("unsent", 0)
    );
    bench.heygen.clear_faults();
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 1);
    // Whoever submits it now wants it submitted now.
    let submit = ["submit", "--prompt", "Tea", "--wait", "--timeout", "12s"];
    bench.tracker_with(&submit).exits(4);
    assert_eq!(bench.heygen.billed().len(), 2);
}

#[test]
fn an_agent_is_not_answered_by_a_check_that_cannot_wait_for_the_answer() {
    let bench = Bench::new();
    let submit = ["submit", "--auto-proceed", "--prompt", "A film about tea"];
    bench.tracker_with(&submit).exits(0);
    let session = bench.query("SELECT session_id FROM videos");
    bench.heygen.set_status(&session, "waiting_for_input");
    let message = format!("POST /v3/video-agents/{session}");
    bench.heygen.fault(&message, Fault::stall(LONG).forever());
    bench.heygen.allow_unused();
    in_time(&bench, "check --wait --timeout 12s");
    assert_eq!(bench.query("SELECT state FROM messages"), "unsent");
    bench.heygen.clear_faults();
    bench.tracker("check").exits(0);
    assert_eq!(bench.query("SELECT state FROM messages"), "sent");
}

#[test]
fn the_last_round_sends_nothing_and_forgets_no_trouble_of_sending() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.tracker("submit --queue body.json").exits(0);
    let refuse = Fault::status(402).forever();
    bench.heygen.fault("POST /v3/videos", refuse);
    bench
        .tracker("check --wait --timeout 20s --interval 1h")
        .exits(1);
    assert_eq!(bench.heygen.posts().len(), 1);
}

#[test]
fn a_round_that_is_cut_off_records_what_it_learnt() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    bench.heygen.forget_video(&bench.video_id(2));
    bench.file("body.json", BODY.replace("Hello", "Queued"));
    bench.tracker("submit --queue body.json").exits(0);
    let refuse = Fault::status(402).forever();
    bench.heygen.fault("POST /v3/videos", refuse);
    let stall = Fault::stall_body_after(1000, LONG).forever();
    bench.heygen.fault("GET /files/{id}/video", stall);
    bench.tracker("check --wait --timeout 20s").exits(1);
    let count = "SELECT not_found_count FROM videos WHERE id = 2";
    assert_eq!(bench.query(count), "1");
    assert_eq!(bench.query("SELECT kind FROM troubles"), "credit");
}

#[test]
fn a_reader_that_stalls_holds_up_no_answer() {
    let bench = Bench::new();
    bench.submit(40).exits(0);
    for row in 1..=40 {
        bench
            .heygen
            .fail(&bench.video_id(row), "x", &"y".repeat(4000));
    }
    // A pipe holds 64 KiB, and nobody reads.
    let mut check = crate::support::start(&mut bench.command(["check", "--json"]));
    eventually("every answer is recorded", || {
        bench.query("SELECT count(*) FROM videos WHERE finished") == "40"
    });
    let (Some(mut out), Some(err)) = (check.stdout.take(), check.stderr.take()) else {
        panic!("two pipes")
    };
    drop(err);
    let mut lines = String::new();
    std::io::Read::read_to_string(&mut out, &mut lines).unwrap();
    assert_eq!(
        lines
            .lines()
            .filter(|line| line.contains("\"change\""))
            .count(),
        40
    );
    assert!(check.wait().unwrap().success());
}

#[test]
fn with_sixteen_descriptors_a_check_goes_on() {
    let bench = Bench::new();
    bench.submit(5).exits(0);
    for row in 1..=5 {
        bench.heygen.finish(&bench.video_id(row));
    }
    let check = bench.shell("ulimit -n 16; timeout 60 tracker check");
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "5",
        "{}",
        check.screen()
    );
}

/// `from`: the first thread that cannot be had.
fn without_threads(from: usize) {
    let bench = Bench::new();
    bench.submit(3).exits(0);
    for row in [1, 2, 3] {
        bench.heygen.finish(&bench.video_id(row));
    }
    let refuse = format!("inject=clone,clone3:error=EAGAIN:when={from}+");
    let log = bench.path("strace");
    let run = |arguments| {
        let run = run(&mut bench.strace(&["trace=clone,clone3", &refuse], &log, arguments));
        assert!(!run.stderr.contains("panicked"), "{}", run.screen());
        run.exits(0)
    };
    run("check");
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "3"
    );
    let body = r#"{"type":"avatar","avatar_id":"a","voice_id":"v","script":"s"}"#;
    bench.file("body.json", body);
    run("submit body.json");
    assert_eq!(bench.status(4), "waiting");
    bench.assert_invariants();
}

#[test]
fn without_any_further_thread_everything_is_done_by_the_first() {
    if can_strace() {
        without_threads(1);
        without_threads(3);
    }
}

#[test]
fn a_file_that_is_refused_for_a_day_is_given_up_and_its_row_finishes() {
    let bench = Bench::new();
    bench.file(
        "body.json",
        r#"{"type":"avatar","avatar_id":"a","voice_id":"v","script":"s"}"#,
    );
    bench
        .tracker("submit body.json --assets video,gif")
        .exits(0);
    bench.heygen.finish(&bench.video_id(1));
    bench
        .heygen
        .fault("GET /files/{id}/gif", Fault::status(403).forever());
    for _ in 1..20 {
        bench.tracker("check").exits(1);
        bench.advance(Duration::from_secs(2 * 3600));
    }
    let check = bench.tracker("check").exits(0);
    assert!(
        check.stdout.contains("tracker download 1"),
        "{}",
        check.screen()
    );
    bench.tracker("check").exits(0).silent();
    bench.heygen.clear_faults();
    bench.tracker("download 1").exits(0);
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "2"
    );
    bench.assert_invariants();
}
