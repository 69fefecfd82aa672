//! `listen` killed at every step, beside downloads and checks, and at its end.

use std::io::Read;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::heygen::Fault;
use nix::sys::signal::Signal;

use crate::listener::{
    DETAIL, DONE, Listener, PENDING, Place, SECRET, delivery, is_saved, listen, none_pending, now,
    one, own_gets, status, success,
};
use crate::support::{Bench, PATIENCE, can_strace, eventually};

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
    let hold = PATIENCE;
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
        // The record of the action, and nothing else, cannot be written: it ends right before.
        let stop = "CREATE TRIGGER stop BEFORE UPDATE OF done_at ON webhooks BEGIN SELECT raise(ABORT, 'stop'); END";
        bench.db().execute_batch(stop).unwrap();
        let mut listener = listen(&bench);
        assert_eq!(listener.at.deliver(&success("e1", &id)), 200);
        assert_eq!(listener.ended().code, Some(1));
        bench.db().execute_batch("DROP TRIGGER stop").unwrap();
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
    let hold = PATIENCE;
    bench
        .heygen
        .fault("GET /files", Fault::stall_body_after(1000, hold));
    let listener = listen(&bench);
    assert_eq!(listener.at.deliver(&success("e1", &one)), 200);
    eventually("a download", || !bench.heygen.file_requests().is_empty());
    let started = Instant::now();
    assert_eq!(listener.at.deliver(&success("e2", &two)), 200);
    assert!(started.elapsed() < hold / 2, "{:?}", started.elapsed());
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

/// Whether the other side has taken everything that was sent to it off its connection.
#[cfg(target_os = "linux")]
fn was_read(stream: &TcpStream) -> bool {
    let here = stream.local_addr().expect("an address").port();
    let there = stream.peer_addr().expect("an address").port();
    // `sl local_address rem_address st tx_queue:rx_queue …`, in hexadecimal digits, once for each side.
    let queues = |from: u16, to: u16| -> Option<(String, String)> {
        let text = std::fs::read_to_string("/proc/net/tcp").ok()?;
        let mut lines = text.lines().map(|line| line.split_whitespace());
        lines.find_map(|mut fields| {
            let ends = |field: &str, port: u16| field.ends_with(&format!(":{port:04X}"));
            let is_it = ends(fields.nth(1)?, from) && ends(fields.next()?, to);
            let (sent, received) = fields.nth(1)?.split_once(':')?;
            is_it.then(|| (sent.to_owned(), received.to_owned()))
        })
    };
    let nothing = "00000000";
    let sent = queues(here, there).is_some_and(|(sent, _)| sent == nothing);
    sent && queues(there, here).is_some_and(|(_, received)| received == nothing)
}

/// There it cannot be seen; it does not take long.
#[cfg(not(target_os = "linux"))]
fn was_read(_: &TcpStream) -> bool {
    thread::sleep(std::time::Duration::from_secs(3));
    true
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
        eventually("it has the delivery", || was_read(&waiting));
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
        waiting.set_read_timeout(Some(PATIENCE)).unwrap();
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

// ---- what holds up others --------------------------------------------------------------------------------------

/// A file that drips is its own video's trouble: the events behind it are acted on.
#[test]
fn t08_a_file_that_drips_holds_up_no_other_event() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    let (slow, other) = (bench.video_id(1), bench.video_id(2));
    bench.heygen.finish(&slow);
    bench.heygen.finish(&other);
    let file = format!("GET /files/{slow}/video");
    let stall = Fault::stall_body_after(1000, Duration::from_secs(300));
    bench.heygen.fault(&file, stall.forever());
    let listener = listen(&bench);
    assert_eq!(listener.at.deliver(&success("e1", &slow)), 200);
    eventually("the slow file", || !bench.heygen.file_requests().is_empty());
    assert_eq!(listener.at.deliver(&success("e2", &other)), 200);
    eventually("the other file", || is_saved(&bench, &other));
    assert!(!is_saved(&bench, &slow));
    listener.end(Signal::SIGKILL);
    bench.heygen.clear_faults();
    bench.tracker("check").exits(0);
    bench.assert_invariants();
}

/// Lines that nobody reads are dropped and counted; HeyGen's deliveries are received all the same.
#[test]
fn t08_refusals_that_nobody_reads_about_freeze_nothing() {
    let (bench, id) = one();
    bench.heygen.finish(&id);
    let mut child = crate::listener::command(&bench, &[])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("listen starts");
    let mut stderr = child.stderr.take().expect("a pipe");
    let mut said = Vec::new();
    let mut byte = [0];
    while !(said.ends_with(b"\n") && String::from_utf8_lossy(&said).contains("listening on")) {
        stderr.read_exact(&mut byte).expect("a line");
        said.push(byte[0]);
    }
    let text = String::from_utf8(said).expect("text");
    let (_, address) = text.split_once("http://").expect("a URL");
    let (address, _) = address.split_once('/').expect("a path");
    let at = Place(address.parse().expect("an address"));
    // A pipe holds 64 KiB.
    for _ in 0..1500 {
        assert_eq!(at.raw(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), 404);
    }
    assert_eq!(at.deliver(&success("e1", &id)), 200);
    eventually("the file", || is_saved(&bench, &id));
    let (sender, heard) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        let lines = std::io::BufRead::lines(std::io::BufReader::new(stderr));
        for line in lines.map_while(Result::ok) {
            if line.contains("lines were dropped") {
                sender.send(line).ok();
            }
        }
    });
    let dropped = heard.recv_timeout(PATIENCE);
    child.kill().expect("it runs");
    child.wait().expect("an end");
    reader.join().expect("all lines");
    assert!(dropped.is_ok(), "it is said how many");
}
