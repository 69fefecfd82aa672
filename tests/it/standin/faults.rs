//! What goes wrong goes wrong as scripted.

use std::io::{self, ErrorKind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::support::eventually;

#[test]
fn skips_and_counts_choose_the_requests() {
    let sandbox = start();
    sandbox.add_video("abc", "completed");
    sandbox.fault("GET /v3/videos/{id}", Fault::status(500).nth(1).times(2));
    sandbox.fault("GET /v3/videos/abc", Fault::retry_after(429, "soon").nth(3));
    let statuses: Vec<_> = (0..5)
        .map(|_| get(&sandbox, "/v3/videos/abc").status)
        .collect();
    assert_eq!(statuses, [200, 500, 500, 429, 200]);
}

#[test]
fn answers_can_be_replaced_or_patched() {
    let sandbox = start();
    sandbox.add_video("abc", "completed");
    let fault = |fault| {
        sandbox.fault("GET /v3/videos/{id}", fault);
        get(&sandbox, "/v3/videos/abc")
    };
    let patched = fault(Fault::patch_detail(json!({"status": "polishing"}))).json();
    assert_eq!(
        (&patched["data"]["status"], &patched["data"]["id"]),
        (&json!("polishing"), &json!("abc"))
    );
    assert_eq!(
        fault(Fault::html(502)).header("Content-Type"),
        Some("text/html")
    );
    assert_eq!(fault(Fault::json(200, &json!([1]))).json(), json!([1]));
    let moved = fault(Fault::redirect(302, "http://127.0.0.1:1/"));
    assert_eq!(
        (moved.status, moved.header("Location")),
        (302, Some("http://127.0.0.1:1/"))
    );
    let huge = fault(Fault::huge_json(100_000));
    assert_eq!(huge.json()["data"].as_array().unwrap().len(), 50_000);
    assert!(fault(Fault::deep_json(1000)).body.len() > 2000);
}

#[test]
fn bodies_break_as_scripted() {
    let sandbox = start();
    let (id, url) = finished(&sandbox);
    let expected = sandbox.expected(&id, "video");
    let fault = |fault| {
        sandbox.fault("GET /files", fault);
        send(&url, "GET", &[("Range", "bytes=0-")], b"").unwrap()
    };
    let truncated = fault(Fault::truncate_body(1000));
    assert_eq!(truncated.header("Content-Length"), Some("65536"));
    assert!(!truncated.reset && truncated.body == expected[..1000]);
    let reset = fault(Fault::reset_after(1000));
    assert!(reset.reset && reset.body.len() <= 1000);
    let longer = fault(Fault::longer_body(3));
    assert_eq!(longer.header("Content-Length"), Some("65536"));
    assert_eq!(longer.body.len(), 65539);
    let closed = fault(Fault::no_length_close());
    assert!(closed.header("Content-Length").is_none() && closed.body == expected);
    let chunked = fault(Fault::chunked(true));
    assert!(chunked.body.starts_with(b"4000\r\n") && chunked.body.ends_with(b"\r\n0\r\n\r\n"));
    assert!(!fault(Fault::chunked(false)).body.ends_with(b"0\r\n\r\n"));
    let both = fault(Fault::no_length_close().and(Fault::truncate_body(10)));
    assert!(both.header("Content-Length").is_none() && both.body == expected[..10]);
    let short = fault(Fault::set_header("Content-Length", "7"));
    assert_eq!(
        (short.header("Content-Length"), short.body.len()),
        (Some("7"), 65536)
    );
}

#[test]
fn ranges_and_tags_lie_as_scripted() {
    let sandbox = start();
    let (_, url) = finished(&sandbox);
    let fault = |fault| {
        sandbox.fault("GET /files/abc", fault);
        send(
            &url,
            "GET",
            &[("Range", "bytes=100-199"), ("If-Range", "\"a\"")],
            b"",
        )
        .unwrap()
    };
    let tag = || Fault::etag(Some("\"a\""));
    let honest = fault(tag());
    assert_eq!((honest.status, honest.body.len()), (206, 100));
    assert_eq!(fault(Fault::etag(Some("W/\"a\""))).status, 200);
    assert_eq!(fault(Fault::etag(None)).header("ETag"), None);
    assert_eq!(fault(tag().and(Fault::ignore_range())).status, 200);
    let elsewhere = fault(tag().and(Fault::as_if_range("bytes=5-9")));
    assert_eq!(elsewhere.header("Content-Range"), Some("bytes 5-9/65536"));
    let lie = fault(tag().and(Fault::content_range("bytes 5-9/10")));
    assert_eq!(
        (lie.header("Content-Range"), lie.body.len()),
        (Some("bytes 5-9/10"), 100)
    );
    assert_eq!(fault(Fault::relabel(206)).body.len(), 65536);
    assert!(fault(Fault::status(404)).body.starts_with(b"<?xml"));
}

#[test]
fn silence_lasts_as_long_as_scripted() {
    let sandbox = start();
    let (_, url) = finished(&sandbox);
    let pause = Duration::from_millis(100);
    sandbox.fault("GET /files", Fault::stall(pause));
    sandbox.fault("GET /files", Fault::delay(pause));
    sandbox.fault("GET /files", Fault::stall_body_after(10, pause));
    for length in [None, Some(65536), Some(65536)] {
        let started = Instant::now();
        let got = send(&url, "GET", &[], b"").map(|got| got.body.len());
        assert_eq!(got, length);
        assert!(started.elapsed() >= pause);
    }
    sandbox.fault("GET /v3/users/me", Fault::drip(Duration::from_micros(100)));
    assert_eq!(get(&sandbox, "/v3/users/me").status, 200);
}

#[test]
fn what_is_held_goes_on_when_it_is_released() {
    let sandbox = start();
    let (_, url) = finished(&sandbox);
    let file = || send(&url, "GET", &[], b"").map(|got| got.body.len());
    for fault in [Fault::held(), Fault::held_body_after(10)] {
        sandbox.fault("GET /files", fault.clone());
        thread::scope(|scope| {
            let waits = scope.spawn(file);
            eventually("it is held", || sandbox.holding() == 1);
            assert_eq!(file(), Some(65536), "nobody else is");
            assert!(!waits.is_finished());
            sandbox.release();
            assert_eq!(waits.join().unwrap(), Some(65536));
        });
        assert_eq!(sandbox.holding(), 0);
        // Who comes late is not held; who was told to hold again, is.
        sandbox.fault("GET /files", fault.clone().nth(1));
        sandbox.release();
        assert_eq!((file(), file()), (Some(65536), Some(65536)));
        sandbox.fault("GET /files", fault);
        thread::scope(|scope| {
            let waits = scope.spawn(file);
            eventually("it is held", || sandbox.holding() == 1);
            sandbox.clear_faults();
            assert_eq!(waits.join().unwrap(), Some(65536));
        });
    }
    let lost = Fault::held().and(Fault::cut_before_answer());
    sandbox.fault("GET /files", lost);
    thread::scope(|scope| {
        let waits = scope.spawn(file);
        eventually("it is held", || sandbox.holding() == 1);
        sandbox.release();
        assert_eq!(waits.join().unwrap(), None);
    });
}

#[test]
fn endless_headers_outlast_the_client() {
    let sandbox = start();
    sandbox.fault("GET /v3/users/me", Fault::endless_headers());
    let address = sandbox.api_base().replace("http://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /v3/users/me HTTP/1.1\r\n\r\n")
        .unwrap();
    let mut bytes = vec![0; 1024 * 1024];
    stream.read_exact(&mut bytes).unwrap();
    assert!(!bytes.windows(4).any(|four| four == b"\r\n\r\n"));
}

#[test]
fn a_port_can_be_closed_and_opened_again() {
    let sandbox = start();
    sandbox.add_video("abc", "completed");
    sandbox.set_reachable(Host::Api, false).unwrap();
    assert!(TcpStream::connect(sandbox.api_base().replace("http://", "")).is_err());
    sandbox.set_reachable(Host::Api, true).unwrap();
    assert_eq!(get(&sandbox, "/v3/videos/abc").status, 200);
}

/// A child has every file of its parent until it is the program that it is to be.
#[test]
fn a_port_is_closed_and_opened_while_children_are_started() {
    let sandbox = start();
    let address = sandbox.api_base().replace("http://", "");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    Command::new("true").status().unwrap();
                }
            });
        }
        let often: io::Result<()> = (0..100).try_for_each(|_| {
            sandbox.set_reachable(Host::Api, false)?;
            let refused = TcpStream::connect(&address).is_err();
            sandbox.set_reachable(Host::Api, true)?;
            refused.then_some(()).ok_or(ErrorKind::AddrInUse.into())
        });
        over.store(true, Ordering::Relaxed);
        often.unwrap();
    });
}

#[test]
#[should_panic(expected = "fault on GET /v3/videos/{id}: 2 unused")]
fn an_unused_fault_fails_the_test() {
    let sandbox = start();
    sandbox.fault("GET /v3/videos/{id}", Fault::status(500).times(2));
}

#[test]
fn an_unused_fault_can_be_excused() {
    let sandbox = start();
    sandbox.fault("GET /v3/videos", Fault::status(500).forever());
    drop(sandbox);
    let sandbox = start();
    sandbox.fault("GET /v3/videos", Fault::status(500));
    sandbox.allow_unused();
}
