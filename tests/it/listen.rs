//! `listen`: webhooks from the stand-in, from strangers and from a broken network, and kills at every step.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use heygen_tracker::sandbox::{Fault, Options, Render, Webhook};
use heygen_tracker::video::Asset;
use heygen_tracker::webhook::Secret;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::{Bench, can_strace, eventually, files_below, run};

const SECRET: &str = "whsec_0123456789abcdef";
const DETAIL: &str = "GET /v3/videos/{id}";
const PENDING: &str = "SELECT count(*) FROM webhooks WHERE done_at IS NULL";
const DONE: &str = "SELECT count(*) FROM webhooks WHERE done_at IS NOT NULL";

// ---- a listener, and somebody who calls it ---------------------------------------------------------------------

/// A `tracker listen` that is up.
struct Listener {
    child: Child,
    at: Place,
    stderr: Receiver<String>,
    heard: Vec<String>,
}

/// How a listener ended.
struct End {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// What `listen` is run with; more can be added.
fn command(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = bench.command(["listen", "--addr", "127.0.0.1:0"]);
    command.args(arguments).env("HEYGEN_WEBHOOK_SECRET", SECRET);
    command
}

fn listen(bench: &Bench) -> Listener {
    Listener::start(&mut command(bench, &[]))
}

impl Listener {
    /// Waits until it says where it listens.
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group: strace and what it traces are killed together.
            .process_group(0)
            .spawn()
            .expect("listen starts");
        let pipe = child.stderr.take().expect("a pipe");
        let (sender, stderr) = channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                sender.send(line).ok();
            }
        });
        let mut listener = Self {
            child,
            at: Place(([127, 0, 0, 1], 0).into()),
            stderr,
            heard: Vec::new(),
        };
        let line = listener.hears("listening on http://");
        let place = line.split("http://").nth(1).expect("a URL");
        let (address, _) = place.split_once('/').expect("a path");
        listener.at = Place(address.parse().expect("an address"));
        listener
    }

    /// Waits for a line on stderr.
    #[track_caller]
    fn hears(&mut self, part: &str) -> String {
        loop {
            match self.stderr.recv_timeout(Duration::from_secs(20)) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(_) => panic!("{part:?} was never said: {:?}", self.heard),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        killpg(pid, signal).expect("it runs");
    }

    fn end(mut self, signal: Signal) -> End {
        self.signal(signal);
        self.ended()
    }

    /// Waits for its end.
    fn ended(&mut self) -> End {
        let status = self.child.wait().expect("an end");
        let mut stdout = String::new();
        let pipe = self.child.stdout.as_mut().expect("a pipe");
        pipe.read_to_string(&mut stdout).expect("text");
        while let Ok(line) = self.stderr.recv_timeout(Duration::from_secs(5)) {
            self.heard.push(line);
        }
        End {
            code: status.code(),
            stdout,
            stderr: self.heard.join("\n"),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGKILL);
            self.child.wait().ok();
        }
    }
}

/// Where it listens.
#[derive(Clone, Copy)]
struct Place(SocketAddr);

impl Place {
    /// Sends raw bytes and returns the status line's code; 0 when the connection ends without an answer.
    fn raw(self, bytes: &[u8]) -> u16 {
        status(&mut self.send(bytes))
    }

    fn send(self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.0).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        // It may refuse before it has read everything.
        stream.write_all(bytes).ok();
        stream
    }

    /// A delivery as HeyGen makes it.
    fn deliver(self, body: &str) -> u16 {
        self.raw(&delivery(body, SECRET, now()))
    }
}

fn status(stream: &mut TcpStream) -> u16 {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok();
    line.split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

fn now() -> i64 {
    heygen_tracker::time::now().millis() / 1000
}

fn success(event: &str, video: &str) -> String {
    json!({"event_id": event, "event_type": "avatar_video.success",
           "event_data": {"video_id": video, "url": "https://evil.example/x.mp4", "callback_id": null}})
    .to_string()
}

fn delivery(body: &str, secret: &str, at: i64) -> Vec<u8> {
    let signature = Secret::new(secret).unwrap().sign(body.as_bytes());
    request(
        &format!("Heygen-Signature: {signature}\r\nHeygen-Timestamp: {at}\r\n"),
        body,
    )
}

fn request(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /heygen HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One video that renders.
fn one() -> (Bench, String) {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let id = bench.video_id(1);
    (bench, id)
}

fn is_saved(bench: &Bench, id: &str) -> bool {
    let file = bench.path(&format!("output/{id}.mp4"));
    std::fs::read(file).is_ok_and(|bytes| bytes == bench.heygen.expected(id, Asset::Video))
}

/// Waits until so many deliveries were acted on.
#[track_caller]
fn acted_on(bench: &Bench, count: usize) {
    let so_many = || bench.query(DONE) == count.to_string();
    eventually(&format!("{count} deliveries acted on"), so_many);
}

#[track_caller]
fn none_pending(bench: &Bench) {
    eventually("nothing pending", || bench.query(PENDING) == "0");
}

fn own_gets(bench: &Bench, id: &str) -> usize {
    let path = format!("/v3/videos/{id}");
    let requests = bench.heygen.api_requests();
    requests
        .iter()
        .filter(|request| request.path == path)
        .count()
}

// ---- the main job ----------------------------------------------------------------------------------------------

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn from_the_end_of_a_video_to_a_file_on_disk() {
    let port = free_port();
    let mut webhook = Webhook::new(&format!("http://127.0.0.1:{port}/heygen"), SECRET).unwrap();
    webhook.duplicates = 2;
    let bench = Bench::with(Options {
        render: Render::Manual,
        webhook: Some(webhook),
        ..Options::default()
    });
    bench.submit(2).exits(0);
    let (one, two) = (bench.video_id(1), bench.video_id(2));
    // Nobody listens yet: HeyGen tries again.
    bench.heygen.finish(&one);
    eventually("a delivery", || !bench.heygen.deliveries().is_empty());
    let address = format!("127.0.0.1:{port}");
    let mut again = bench.command([
        "listen",
        "--addr",
        &address,
        "--hook",
        "echo $TRACKER_EVENT $TRACKER_ID >> log",
    ]);
    let listener = Listener::start(again.env("HEYGEN_WEBHOOK_SECRET", SECRET));
    bench.heygen.fail(&two, "script_too_long", "Too long");
    eventually("both ends", || {
        is_saved(&bench, &one) && bench.status(2) == "failed"
    });
    // Each event once, then its duplicates.
    eventually("all duplicates", || {
        let heard = bench.heygen.deliveries();
        heard.iter().filter(|d| d.status == Some(200)).count() == 6
    });
    acted_on(&bench, 2);
    let count = |outcome: &str| {
        bench.query(&format!(
            "SELECT count FROM webhook_counts WHERE outcome = '{outcome}'"
        ))
    };
    assert_eq!(
        (count("accepted"), count("duplicate")),
        ("2".into(), "4".into())
    );
    eventually("all hooks", || {
        let log = std::fs::read_to_string(bench.path("log")).unwrap_or_default();
        ["completed 1", "saved 1", "failed 2", "idle "]
            .iter()
            .all(|line| log.contains(line))
    });
    let end = listener.end(Signal::SIGTERM);
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stdout.contains("1 saved \"Video 1\""), "{}", end.stdout);
    assert!(
        end.stdout.contains("2 failed \"Video 2\": script_too_long"),
        "{}",
        end.stdout
    );
    bench.tracker("check").exits(0).silent();
    bench.assert_invariants();
}

#[test]
fn two_hundred_deliveries_at_once_are_all_accounted_for() {
    let bench = Bench::new();
    bench.rendering(200);
    let ids: Vec<String> = (1..=200).map(|row| bench.video_id(row)).collect();
    for id in &ids {
        bench.heygen.finish(id);
    }
    let listener = listen(&bench);
    thread::scope(|scope| {
        for (n, id) in ids.iter().enumerate() {
            let at = listener.at;
            scope.spawn(move || {
                assert_eq!(at.deliver(&success(&format!("e{n}"), id)), 200);
            });
        }
    });
    acted_on(&bench, 200);
    assert_eq!(
        bench.query("SELECT count(*) FROM videos WHERE finished = 0"),
        "0"
    );
    for id in &ids {
        assert!(is_saved(&bench, id), "{id}");
        assert_eq!(own_gets(&bench, id), 1, "{id}");
    }
    assert_eq!(listener.end(Signal::SIGTERM).code, Some(0));
    bench.assert_invariants();
}

/// An event is a signal, never the truth.
#[test]
fn a_delivery_that_says_too_much_is_not_believed() {
    let (bench, id) = one();
    let listener = listen(&bench);
    assert_eq!(listener.at.deliver(&success("e1", &id)), 200);
    acted_on(&bench, 1);
    assert_eq!(bench.status(1), "pending");
    assert_eq!(files_below(&bench.path("output")).len(), 0);
    bench.heygen.finish(&id);
    let fail =
        json!({"event_type": "avatar_video.fail", "event_data": {"video_id": id, "msg": "no"}});
    assert_eq!(listener.at.deliver(&fail.to_string()), 200);
    eventually("the file", || is_saved(&bench, &id));
    assert_eq!(bench.status(1), "completed");
}

#[test]
fn what_is_no_news_of_a_video_here_is_acknowledged_and_counted() {
    let (bench, id) = one();
    let mut listener = Listener::start(&mut command(&bench, &["-v"]));
    for (body, said) in [
        (success("e1", "somebody-elses"), "not tracked here"),
        (
            json!({"event_type": "video_agent.success", "event_data": null}).to_string(),
            "about no video",
        ),
        (success("e2", &id), "avatar_video.success about 1"),
        (success("e2", &id), "again"),
    ] {
        assert_eq!(listener.at.deliver(&body), 200, "{body}");
        listener.hears(said);
    }
    assert_eq!(bench.query("SELECT count(*) FROM webhooks"), "1");
    assert_eq!(
        bench.query("SELECT group_concat(outcome || ' ' || count, ', ' ORDER BY outcome) FROM webhook_counts"),
        "accepted 1, duplicate 1, other_event 1, unknown_video 1"
    );
    acted_on(&bench, 1);
    assert_eq!(own_gets(&bench, &id), 1);
}

// ---- strangers -------------------------------------------------------------------------------------------------

#[test]
fn what_is_not_from_heygen_is_refused_with_one_line_and_leaves_nothing() {
    let (bench, id) = one();
    bench.heygen.finish(&id);
    let body = success("e1", &id);
    let good = Secret::new(SECRET).unwrap().sign(body.as_bytes());
    let at = now();
    let signed = |body: &str| String::from_utf8(delivery(body, SECRET, at)).unwrap();
    let cases = [
        (
            "forged",
            String::from_utf8(delivery(&body, "whsec_other", at)).unwrap(),
            401,
        ),
        (
            "unsigned",
            String::from_utf8(request(&format!("Heygen-Timestamp: {at}\r\n"), &body)).unwrap(),
            401,
        ),
        ("another body", signed(&body).replace("e1", "e2"), 401),
        (
            "stale",
            String::from_utf8(delivery(&body, SECRET, at - 400)).unwrap(),
            401,
        ),
        (
            "from the future",
            String::from_utf8(delivery(&body, SECRET, at + 400)).unwrap(),
            401,
        ),
        (
            "untimed",
            String::from_utf8(request(&format!("Heygen-Signature: {good}\r\n"), &body)).unwrap(),
            401,
        ),
        ("malformed", signed("{not json"), 400),
        ("no event", signed("{}"), 400),
        (
            "oversized",
            signed(&format!("{{\"x\":\"{}\"}}", "x".repeat(300_000))),
            413,
        ),
        (
            "oversized in chunks",
            format!(
                "POST /heygen HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n50000\r\n{}\r\n0\r\n\r\n",
                "x".repeat(0x50000)
            ),
            413,
        ),
        (
            "headers",
            format!("POST /heygen HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000)),
            431,
        ),
        ("no HTTP", "hello\r\n\r\n".to_owned(), 400),
        (
            "method",
            "PUT /heygen HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
            405,
        ),
        ("path", signed(&body).replace("/heygen", "/other"), 404),
    ];
    let mut listener = listen(&bench);
    for (name, request, status) in &cases {
        assert_eq!(listener.at.raw(request.as_bytes()), *status, "{name}");
        let line = listener.hears("refused");
        assert!(line.contains(&format!(": {status}, ")), "{name}: {line}");
    }
    let end = listener.end(Signal::SIGTERM);
    let refusals = end.stderr.lines().filter(|line| line.contains("refused"));
    assert_eq!(refusals.count(), cases.len(), "{}", end.stderr);
    for secret in [id.as_str(), "event_data", "evil.example", SECRET, &good] {
        assert!(!end.stderr.contains(secret), "{}", end.stderr);
    }
    for table in ["webhooks", "webhook_counts"] {
        assert_eq!(bench.query(&format!("SELECT count(*) FROM {table}")), "0");
    }
    assert_eq!(own_gets(&bench, &id), 0);
}

#[test]
fn who_drips_is_cut_off_and_holds_nobody_up() {
    let (bench, id) = one();
    bench.heygen.finish(&id);
    let mut listener = listen(&bench);
    let slow = delivery(&success("slow", &id), SECRET, now());
    let drippers: Vec<_> = (0..20)
        .map(|_| {
            let (mut stream, slow) = (listener.at.send(&slow[..40]), slow.clone());
            thread::spawn(move || {
                for byte in &slow[40..] {
                    if stream.write_all(&[*byte]).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(100));
                }
            })
        })
        .collect();
    assert_eq!(listener.at.deliver(&success("e1", &id)), 200);
    eventually("the file", || is_saved(&bench, &id));
    for _ in 0..drippers.len() {
        listener.hears(": 408, it came too slowly");
    }
    for dripper in drippers {
        dripper.join().unwrap();
    }
    assert_eq!(bench.query("SELECT count(*) FROM webhooks"), "1");
}

#[test]
fn a_replay_costs_one_poll_at_most() {
    let (bench, id) = one();
    bench.heygen.finish(&id);
    let listener = listen(&bench);
    let body = success("e1", &id);
    assert_eq!(listener.at.deliver(&body), 200);
    acted_on(&bench, 1);
    // The time is not signed: whoever saw a delivery can send it again with another one.
    for at in [now(), now() + 100, now() - 100] {
        assert_eq!(listener.at.raw(&delivery(&body, SECRET, at)), 200);
    }
    // A week later it is forgotten; the video is finished, and nobody is asked.
    bench.shift_database(-8 * 24 * 3600 * 1000);
    assert_eq!(listener.at.deliver(&success("e2", "unknown")), 200);
    assert_eq!(bench.query("SELECT count(*) FROM webhooks"), "0");
    assert_eq!(listener.at.deliver(&body), 200);
    acted_on(&bench, 1);
    assert_eq!(own_gets(&bench, &id), 1);
}

#[test]
fn who_asks_whether_it_is_alive_is_answered() {
    let (bench, _) = one();
    let mut listener = Listener::start(&mut command(&bench, &["--path", "/hooks/heygen"]));
    for (request, status) in [
        ("OPTIONS /hooks/heygen", 204),
        ("GET /health", 200),
        ("HEAD /health", 200),
        ("GET /hooks/heygen", 405),
        ("GET /", 404),
    ] {
        let request = format!("{request} HTTP/1.1\r\nConnection: close\r\n\r\n");
        // Whatever the database does.
        let db = bench.db();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(listener.at.raw(request.as_bytes()), status, "{request}");
    }
    listener.hears("405");
    listener.hears("404");
}

// ---- kills -----------------------------------------------------------------------------------------------------

/// A listener that is killed at a system call.
fn killed_at(bench: &Bench, call: &str) -> Listener {
    let trace = format!("trace={call}");
    let kill = format!("inject={call}:signal=SIGKILL:when=1");
    let arguments = "listen --addr 127.0.0.1:0";
    let log = bench.path("strace.log");
    let mut traced = bench.strace(&[&trace, &kill], &log, arguments);
    Listener::start(traced.env("HEYGEN_WEBHOOK_SECRET", SECRET))
}

/// What comes next finishes the work: another `listen`, or a `check`.
fn recovers(bench: &Bench, id: &str, by_listen: bool) {
    if by_listen {
        let listener = listen(bench);
        none_pending(bench);
        assert!(is_saved(bench, id));
        assert_eq!(listener.end(Signal::SIGTERM).code, Some(0));
    } else {
        bench.tracker("check").exits(0);
        assert!(is_saved(bench, id));
        // The delivery is of no use any more; the next listener sees that without asking anybody.
        let before = bench.heygen.requests().len();
        let listener = listen(bench);
        none_pending(bench);
        drop(listener);
        assert_eq!(bench.heygen.requests().len(), before);
    }
    bench.tracker("check").exits(0).silent();
    bench.assert_invariants();
}

#[test]
fn killed_between_commit_and_answer() {
    if !can_strace() {
        return;
    }
    for by_listen in [true, false] {
        let (bench, id) = one();
        bench.heygen.finish(&id);
        // The answer is the first thing it ever sends.
        let mut listener = killed_at(&bench, "sendto");
        assert_eq!(listener.at.deliver(&success("e1", &id)), 0);
        assert_ne!(listener.ended().code, Some(0));
        assert_eq!(bench.query(PENDING), "1");
        assert_eq!(own_gets(&bench, &id), 0);
        if by_listen {
            // HeyGen had no answer: it delivers again.
            let listener = listen(&bench);
            assert_eq!(listener.at.deliver(&success("e1", &id)), 200);
            none_pending(&bench);
            assert_eq!(bench.query("SELECT count(*) FROM webhooks"), "1");
        }
        recovers(&bench, &id, by_listen);
    }
}

#[test]
fn killed_between_answer_and_action() {
    if !can_strace() {
        return;
    }
    for by_listen in [true, false] {
        let (bench, id) = one();
        bench.heygen.finish(&id);
        // The first thing it connects to is HeyGen.
        let mut listener = killed_at(&bench, "connect");
        assert_eq!(listener.at.deliver(&success("e1", &id)), 200);
        assert_ne!(listener.ended().code, Some(0));
        assert_eq!(bench.query(PENDING), "1");
        assert_eq!(own_gets(&bench, &id), 0);
        recovers(&bench, &id, by_listen);
    }
}

#[test]
fn killed_while_it_acts() {
    let hold = Duration::from_secs(60);
    for (route, fault) in [
        (DETAIL, Fault::delay(hold)),
        ("GET /files", Fault::stall_body_after(1000, hold)),
    ] {
        for by_listen in [true, false] {
            let (bench, id) = one();
            bench.heygen.finish(&id);
            bench.heygen.fault(route, fault.clone());
            let listener = listen(&bench);
            assert_eq!(listener.at.deliver(&success("e1", &id)), 200);
            let reached = || match route {
                DETAIL => own_gets(&bench, &id) > 0,
                _ => !bench.heygen.file_requests().is_empty(),
            };
            eventually(route, reached);
            listener.end(Signal::SIGKILL);
            assert_eq!(bench.query(PENDING), "1");
            recovers(&bench, &id, by_listen);
        }
    }
}

#[test]
fn killed_between_action_and_its_record() {
    for by_listen in [true, false] {
        let (bench, id) = one();
        bench.heygen.finish(&id);
        // Hooks are the last of the pass.
        let mut listener = Listener::start(&mut command(&bench, &["--hook", "kill -9 $PPID"]));
        assert_eq!(listener.at.deliver(&success("e1", &id)), 200);
        assert_eq!(listener.ended().code, None);
        assert_eq!(
            (bench.query(PENDING), bench.query(DONE)),
            ("1".into(), "0".into())
        );
        assert!(is_saved(&bench, &id));
        if by_listen {
            recovers(&bench, &id, true);
        }
        bench.assert_invariants();
    }
}

// ---- side by side, and the end -----------------------------------------------------------------------------------

#[test]
fn deliveries_are_answered_at_once_while_a_download_stalls() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    let (one, two) = (bench.video_id(1), bench.video_id(2));
    bench.heygen.finish(&one);
    bench.heygen.finish(&two);
    let hold = Duration::from_secs(60);
    bench
        .heygen
        .fault("GET /files", Fault::stall_body_after(1000, hold));
    let listener = listen(&bench);
    assert_eq!(listener.at.deliver(&success("e1", &one)), 200);
    eventually("a download", || !bench.heygen.file_requests().is_empty());
    let started = Instant::now();
    assert_eq!(listener.at.deliver(&success("e2", &two)), 200);
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(bench.query(PENDING), "2");
    // SIGTERM does not wait for the download; it is resumed by whoever comes next.
    assert_eq!(listener.end(Signal::SIGTERM).code, Some(0));
    bench.tracker("check").exits(0);
    assert!(is_saved(&bench, &one) && is_saved(&bench, &two));
    bench.assert_invariants();
}

#[test]
fn listen_and_check_side_by_side_save_every_file_once() {
    let bench = Bench::new();
    bench.rendering(60);
    let ids: Vec<String> = (1..=60).map(|row| bench.video_id(row)).collect();
    let listener = listen(&bench);
    let checks = thread::scope(|scope| {
        let checks: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let runs = (0..8).map(|_| bench.tracker("check --json").exits(0));
                    runs.map(|run| run.stdout).collect::<String>()
                })
            })
            .collect();
        for (n, id) in ids.iter().enumerate() {
            bench.heygen.finish(id);
            assert_eq!(listener.at.deliver(&success(&format!("e{n}"), id)), 200);
        }
        let texts = checks.into_iter().map(|check| check.join().unwrap());
        texts.collect::<String>()
    });
    none_pending(&bench);
    bench.tracker("check").exits(0);
    let end = listener.end(Signal::SIGTERM);
    let saved = |text: &str, mark: &str| text.lines().filter(|line| line.contains(mark)).count();
    assert_eq!(
        saved(&end.stdout, " saved ") + saved(&checks, "\"type\":\"saved\""),
        60
    );
    assert!(ids.iter().all(|id| is_saved(&bench, id)));
    bench.assert_invariants();
}

/// A delivery that has arrived is committed and answered before the end.
#[test]
fn sigterm_drains_and_ends_with_0_and_sigint_with_130() {
    for (signal, code) in [(Signal::SIGTERM, 0), (Signal::SIGINT, 130)] {
        let (bench, id) = one();
        let mut listener = listen(&bench);
        let Place(address) = listener.at;
        // Its commit has to wait.
        let busy = bench.db();
        busy.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut waiting = listener
            .at
            .send(&delivery(&success("e1", &id), SECRET, now()));
        waiting
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        assert!(
            waiting.read(&mut [0]).is_err(),
            "no answer before the commit"
        );
        listener.signal(signal);
        eventually("a closed port", || TcpStream::connect(address).is_err());
        busy.execute_batch("COMMIT").unwrap();
        waiting
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        assert_eq!(status(&mut waiting), 200);
        let end = listener.ended();
        assert_eq!(end.code, Some(code), "{}", end.stderr);
        assert_eq!(bench.query("SELECT count(*) FROM webhooks"), "1");
    }
}

#[test]
fn a_database_that_cannot_be_written_is_no_2xx() {
    let (bench, id) = one();
    let mut listener = listen(&bench);
    std::fs::rename(bench.db_path(), bench.path("away.db")).unwrap();
    let answer = listener.at.deliver(&success("e1", &id));
    assert!(answer == 503 || answer == 0, "{answer}");
    let end = listener.ended();
    assert_eq!(end.code, Some(1));
    assert!(
        end.stderr.contains("was moved, deleted or replaced"),
        "{}",
        end.stderr
    );
}

// ---- starting ----------------------------------------------------------------------------------------------------

#[test]
fn without_a_secret_it_does_not_start() {
    let (bench, _) = one();
    let refused = bench.tracker("listen --addr 127.0.0.1:0").exits(3);
    assert_eq!(refused.stdout, "");
    assert!(
        refused
            .stderr
            .starts_with("error: no webhook secret found\nhint: set HEYGEN_WEBHOOK_SECRET "),
        "{}",
        refused.screen()
    );
    bench.file("empty", "\n");
    for (name, value, part) in [
        (
            "HEYGEN_WEBHOOK_SECRET",
            "two words",
            "from HEYGEN_WEBHOOK_SECRET cannot",
        ),
        (
            "HEYGEN_WEBHOOK_SECRET_FILE",
            "empty",
            "characters no secret has",
        ),
        ("HEYGEN_WEBHOOK_SECRET_FILE", "absent", "No such file"),
    ] {
        let mut command = bench.command(["listen", "--addr", "127.0.0.1:0", "--json"]);
        let refused = run(command.env(name, value)).exits(3);
        assert!(refused.stderr.contains(part), "{}", refused.screen());
        assert!(
            refused.stderr.contains("\"code\":\"auth_error\""),
            "{}",
            refused.screen()
        );
        assert!(
            !refused.stderr.contains("two words"),
            "{}",
            refused.screen()
        );
    }
}

#[test]
fn the_secret_comes_from_a_file_or_a_credential_and_goes_nowhere() {
    let (bench, id) = one();
    bench.heygen.finish(&id);
    let secret = format!("{SECRET}\n");
    bench.file("heygen-webhook-secret", &secret);
    for (name, value) in [
        (
            "HEYGEN_WEBHOOK_SECRET_FILE",
            bench.path("heygen-webhook-secret"),
        ),
        ("CREDENTIALS_DIRECTORY", bench.dir.path().to_owned()),
    ] {
        let mut command = bench.command(["listen", "--addr", "127.0.0.1:0", "-vv"]);
        let mut listener = Listener::start(command.env(name, value));
        assert_eq!(listener.at.deliver(&success(name, &id)), 200);
        assert_eq!(
            listener
                .at
                .raw(&delivery(&success(name, &id), "whsec_x", now())),
            401
        );
        listener.hears("401");
        none_pending(&bench);
        let end = listener.end(Signal::SIGTERM);
        assert!(!(end.stdout + &end.stderr).contains(SECRET));
    }
    for (file, bytes) in bench.everything() {
        let mut parts = bytes.windows(SECRET.len());
        let is_its_place = file.ends_with("heygen-webhook-secret");
        let found = parts.any(|part| part == SECRET.as_bytes());
        assert_eq!(found, is_its_place, "{}", file.display());
    }
}

#[test]
fn what_cannot_work_is_said_at_the_start() {
    let (bench, _) = one();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = bench.command(["listen", "--addr", &address]);
    command.env("HEYGEN_WEBHOOK_SECRET", SECRET);
    let refused = run(&mut command).exits(1);
    assert!(
        refused
            .stderr
            .starts_with(&format!("error: cannot listen on {address}: ")),
        "{}",
        refused.screen()
    );
    assert!(refused.stderr.contains("--addr"), "{}", refused.screen());

    let mut command = bench.command(["listen", "--addr", "0.0.0.0:0"]);
    command
        .env("HEYGEN_WEBHOOK_SECRET", SECRET)
        .env_remove("HEYGEN_API_KEY");
    let listener = Listener::start(&mut command);
    let end = listener.end(Signal::SIGTERM);
    assert!(
        end.stderr.contains("put a reverse proxy with TLS in front"),
        "{}",
        end.stderr
    );
    assert!(
        end.stderr
            .contains("no HeyGen API key found: deliveries are recorded"),
        "{}",
        end.stderr
    );

    let empty = Bench::new();
    let mut command = empty.command(["listen", "--addr", "127.0.0.1:0"]);
    let refused = run(command.env("HEYGEN_WEBHOOK_SECRET", SECRET)).exits(1);
    assert!(
        refused.stderr.contains("there is no database at"),
        "{}",
        refused.screen()
    );
    for path in ["heygen", "/a b", "/a?b"] {
        bench.tracker_with(&["listen", "--path", path]).exits(2);
    }
}
