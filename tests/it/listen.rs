//! `listen`: webhooks from the stand-in, from strangers, and what it needs to start.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use heygen_tracker::http::{Limits, Request, Response, Server, Wire};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::heygen::{Options, Render, Webhook};
use crate::listener::{
    Listener, SECRET, acted_on, command, delivery, is_saved, listen, none_pending, now, one,
    own_gets, request, sign, success,
};
use crate::support::{Bench, eventually, files_below, run};

// ---- the main job ----------------------------------------------------------------------------------------------

/// What stands between HeyGen and the program: it loses the first delivery, and counts those that were answered 200.
struct Relay {
    server: Server,
    target: Arc<Mutex<Option<SocketAddr>>>,
    heard: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
}

impl Relay {
    fn start() -> Self {
        let target = Arc::<Mutex<Option<SocketAddr>>>::default();
        let (heard, lost) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (to, counted, missed) = (target.clone(), heard.clone(), lost.clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pass_on = move |request: &Request, wire: &mut Wire<'_>| {
            let Some(target) = *to.lock().unwrap() else {
                missed.fetch_add(1, Ordering::Relaxed);
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            };
            let mut post = ureq::post(format!("http://{target}{}", request.path));
            for name in ["Heygen-Event-Id", "Heygen-Timestamp", "Heygen-Signature"] {
                post = post.header(name, request.header(name).unwrap());
            }
            let status = post
                .send(&request.body[..])
                .map_or(502, |answer| answer.status().as_u16());
            if status == 200 {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            wire.send(Response::new(status))
        };
        let server = Server::start(listener, Limits::default(), pass_on, |_, _| {});
        Self {
            server: server.unwrap(),
            target,
            heard,
            lost,
        }
    }
}

#[test]
fn from_the_end_of_a_video_to_a_file_on_disk() {
    let relay = Relay::start();
    let url = format!("http://{}/heygen", relay.server.address());
    let mut webhook = Webhook::new(&url, SECRET).unwrap();
    webhook.duplicates = 2;
    let bench = Bench::with(Options {
        render: Render::Manual,
        webhook: Some(webhook),
        ..Options::default()
    });
    bench.submit(2).exits(0);
    let (one, two) = (bench.video_id(1), bench.video_id(2));
    let mut again = bench.command([
        "listen",
        "--addr",
        "127.0.0.1:0",
        "--hook",
        "echo $TRACKER_EVENT $TRACKER_ID >> log",
    ]);
    let listener = Listener::start(again.env("HEYGEN_WEBHOOK_SECRET", SECRET));
    // What does not arrive HeyGen delivers again, for some seconds.
    bench.heygen.finish(&one);
    eventually("a delivery", || relay.lost.load(Ordering::Relaxed) > 0);
    *relay.target.lock().unwrap() = Some(listener.at.0);
    bench.heygen.fail(&two, "script_too_long", "Too long");
    eventually("both ends", || {
        is_saved(&bench, &one) && bench.status(2) == "failed"
    });
    // Each event once, then its duplicates.
    eventually("all duplicates", || {
        relay.heard.load(Ordering::Relaxed) >= 6
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
    let body = success("e1", &id);
    let (good, at) = (sign(SECRET, body.as_bytes()), now());
    // A proxy in between signs in a way of its own.
    let headers = format!(
        "Signature: sig1=:cHJveHk=:\r\nX-Heygen-Signature: {good}\r\nHeygen-Timestamp: {at}\r\n"
    );
    assert_eq!(listener.at.raw(&request(&headers, &body)), 200);
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
    let good = sign(SECRET, body.as_bytes());
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
