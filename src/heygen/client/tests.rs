//! The client against a scripted server on a plain listener.

use super::*;
use crate::kind::Kind;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use std::time::Instant;

const KEY: &str = "sk_V2_0123456789abcdef==";
const GOOD: &str = r#"{"data":{"id":"v1","status":"completed"}}"#;

/// What the server does with one request.
enum Act {
    /// Answers and keeps the connection.
    Answer(Vec<u8>),
    /// Answers, possibly with less than it promised, and closes.
    Cut(Vec<u8>),
    /// Sends this and then nothing, until the client is gone.
    Stall(Vec<u8>),
    /// Sends a word, thinks for this long, then answers.
    Think(&'static str, Duration, Vec<u8>),
}

/// A scripted server: one act per request, over as many connections as it takes.
struct Server {
    base: BaseUrl,
    requests: Receiver<Vec<u8>>,
    accepted: Receiver<()>,
}

impl Server {
    fn new(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (to_requests, requests) = channel();
        let (to_accepted, accepted) = channel();
        thread::spawn(move || play(&listener, script, &to_requests, &to_accepted));
        Self {
            base: BaseUrl::parse(&format!("http://{address}")).unwrap(),
            requests,
            accepted,
        }
    }

    fn answering(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Self {
        Self::new(vec![Act::Answer(answer(status, headers, body))])
    }

    fn client(&self) -> Client {
        client(&self.base)
    }

    /// The next request the server read, as text.
    fn request(&self) -> String {
        let bytes = self.requests.recv_timeout(Duration::from_secs(5)).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

fn play(
    listener: &TcpListener,
    script: Vec<Act>,
    requests: &Sender<Vec<u8>>,
    accepted: &Sender<()>,
) {
    let mut connection: Option<TcpStream> = None;
    for act in script {
        let (mut stream, request) = loop {
            let mut stream = connection.take().unwrap_or_else(|| {
                accepted.send(()).ok();
                listener.accept().unwrap().0
            });
            if let Some(request) = read_request(&mut stream) {
                break (stream, request);
            }
        };
        requests.send(request).ok();
        // A client that has seen enough closes early; that is its right.
        match act {
            Act::Answer(bytes) => {
                stream.write_all(&bytes).ok();
                connection = Some(stream);
            }
            Act::Cut(bytes) => {
                stream.write_all(&bytes).ok();
            }
            Act::Stall(bytes) => {
                stream.write_all(&bytes).ok();
                io::copy(&mut stream, &mut io::sink()).ok();
            }
            Act::Think(interim, time, bytes) => {
                stream.write_all(interim.as_bytes()).ok();
                thread::sleep(time);
                stream.write_all(&bytes).ok();
            }
        }
    }
    // Not closed before the client has decided whether to keep it.
    if let Some(mut stream) = connection {
        io::copy(&mut stream, &mut io::sink()).ok();
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.extend(body);
    Some(request)
}

fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut answer = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    answer
}

fn client(base: &BaseUrl) -> Client {
    client_with(base, Timeouts::default())
}

/// Waits long for an answer to begin, but not for it to go on.
fn client_with_short_reads(base: &BaseUrl) -> Client {
    let timeouts = Timeouts {
        per_read: Duration::from_millis(200),
        ..Timeouts::default()
    };
    client_with(base, timeouts)
}

fn client_with(base: &BaseUrl, timeouts: Timeouts) -> Client {
    Client::new(base, Secret::new(KEY).unwrap(), timeouts, None)
}

fn v1() -> VideoId {
    VideoId::new("v1").unwrap()
}

/// The error of asking a server that answers like this.
fn error_of(status: &str, headers: &str, body: impl AsRef<[u8]>) -> ApiError {
    let server = Server::answering(status, headers, body);
    server.client().video(&v1()).unwrap_err()
}

#[test]
fn a_post_carries_the_body_byte_for_byte_and_each_header_once() {
    let server = Server::answering(
        "200 OK",
        "X-Request-Id: req-7\r\n",
        r#"{"data":{"video_id":"v1","status":"waiting"}}"#,
    );
    let body = "{ \"title\":\"\u{e9}\\u00e9\",  \"n\":1.0 }\n";
    let key = IdempotencyKey::stored("key-1".to_owned());
    let created = server
        .client()
        .create(Kind::Video, None, body.as_bytes(), &key)
        .unwrap();
    assert_eq!(created.video_id, v1());
    assert_eq!(created.request_id.as_deref(), Some("req-7"));

    let request = server.request();
    let (head, sent) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(sent, body);
    let host = server.base.authority();
    let mut lines: Vec<_> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /v3/videos HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "accept-encoding: identity".to_owned(),
            "accept: application/json".to_owned(),
            format!("content-length: {}", body.len()),
            "content-type: application/json".to_owned(),
            format!("host: {host}"),
            "idempotency-key: key-1".to_owned(),
            concat!("user-agent: heygen-tracker/", env!("CARGO_PKG_VERSION")).to_owned(),
            format!("x-api-key: {KEY}"),
        ]
    );
}

#[test]
fn a_large_body_arrives_whole() {
    let server = Server::answering("200 OK", "", r#"{"data":{"video_id":"v1"}}"#);
    let body = "x".repeat(1_000_000);
    let key = IdempotencyKey::random();
    server
        .client()
        .create(Kind::Video, None, body.as_bytes(), &key)
        .unwrap();
    assert!(server.request().ends_with(&format!("\r\n\r\n{body}")));
}

#[test]
fn paths_and_queries_cannot_be_changed_by_ids_and_tokens() {
    let list = answer("200 OK", "", r#"{"data":[]}"#);
    let server = Server::new(vec![
        Act::Answer(answer("404 Not Found", "", "")),
        Act::Answer(list.clone()),
        Act::Answer(list.clone()),
        Act::Answer(list),
    ]);
    let client = server.client();
    let odd = VideoId::new("../a b?c#d,e/\u{e9}").unwrap();
    assert_eq!(client.video(&odd).unwrap_err().http_status(), Some(404));
    client.jobs(Kind::Video, "/v3/videos", None).unwrap();
    client
        .jobs(Kind::Agent, "/v3/video-agents", Some("a=b&c"))
        .unwrap();
    let other = VideoId::new("v-2_").unwrap();
    client
        .statuses(Kind::Video, &[&v1(), &odd, &other])
        .unwrap();
    assert!(client.statuses(Kind::Video, &[&odd]).unwrap().is_empty());
    let first_lines = [
        "/v3/videos/..%2Fa%20b%3Fc%23d%2Ce%2F%C3%A9",
        "/v3/videos?limit=100",
        "/v3/video-agents?limit=100&token=a%3Db%26c",
        "/v3/videos/statuses?video_ids=v1,v-2_",
    ];
    for line in first_lines {
        assert_eq!(
            server.request().lines().next().unwrap(),
            format!("GET {line} HTTP/1.1")
        );
    }
}

#[test]
fn one_connection_serves_many_requests() {
    let acts = || Act::Answer(answer("200 OK", "", GOOD));
    let refusal = Act::Answer(answer("500 Oops", "", "{}"));
    let server = Server::new(vec![acts(), refusal, acts()]);
    let client = server.client();
    assert!(client.video(&v1()).is_ok());
    assert!(client.clone().video(&v1()).is_err());
    assert!(client.video(&v1()).is_ok());
    assert_eq!(server.accepted.try_iter().count(), 1);
}

#[test]
fn a_chunked_answer_is_read() {
    let body = format!("{:x}\r\n{GOOD}\r\n0\r\n\r\n", GOOD.len());
    let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let server = Server::new(vec![Act::Answer(bytes.into_bytes())]);
    assert_eq!(server.client().video(&v1()).unwrap().id, v1());
}

#[test]
fn without_a_connection_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = BaseUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let error = client(&base)
        .create(Kind::Video, None, b"{}", &IdempotencyKey::random())
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotSent);
    assert_eq!(error.code, "network_error");
    assert!(
        error.message.starts_with("cannot connect (127.0.0.1:"),
        "{error}"
    );
}

#[test]
fn without_a_tls_handshake_nothing_was_sent() {
    // Closed, answered with something else, or not answered at all.
    for (bytes, code) in [
        (None, "network_error"),
        (Some("HTTP/1.1 200 OK\r\n\r\n"), "network_error"),
        (Some(""), "timeout"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            if let Some(bytes) = bytes {
                stream.write_all(bytes.as_bytes()).unwrap();
                io::copy(&mut stream, &mut io::sink()).ok();
            }
        });
        let timeouts = Timeouts {
            connect: Duration::from_millis(300),
            ..Timeouts::default()
        };
        let base = BaseUrl::parse(&base).unwrap();
        let error = client_with(&base, timeouts)
            .create(Kind::Video, None, b"{}", &IdempotencyKey::random())
            .unwrap_err();
        assert_eq!(
            (error.kind, error.code.as_str()),
            (ErrorKind::NotSent, code),
            "{error}"
        );
        server.join().unwrap();
    }
}

#[test]
fn a_lost_answer_is_not_a_request_that_was_not_sent() {
    let cut = Server::new(vec![Act::Cut(Vec::new())]);
    let error = cut
        .client()
        .create(Kind::Video, None, b"{}", &IdempotencyKey::random())
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoAnswer);
    assert_eq!(error.code, "network_error");

    let silent = Server::new(vec![Act::Stall(Vec::new())]);
    let timeouts = Timeouts {
        response: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let error = client_with(&silent.base, timeouts)
        .create(Kind::Video, None, b"{}", &IdempotencyKey::random())
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoAnswer);
    assert_eq!(error.code, "timeout");

    let garbage = Server::new(vec![Act::Cut(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec())]);
    let error = garbage.client().video(&v1()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoAnswer);
    assert_eq!(error.code, "network_error");
}

#[test]
fn an_error_after_a_reused_connection_counts_as_sent() {
    let server = Server::new(vec![
        Act::Answer(answer("200 OK", "", GOOD)),
        Act::Cut(Vec::new()),
    ]);
    let client = server.client();
    client.video(&v1()).unwrap();
    let error = client.video(&v1()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoAnswer);
    assert_eq!(error.code, "network_error");
}

#[test]
fn an_answer_cut_short_is_no_answer() {
    let promised =
        format!("HTTP/1.1 200 OK\r\nX-Request-Id: r\r\nContent-Length: 999\r\n\r\n{GOOD}");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"data\"".to_owned();
    for bytes in [promised, chunked] {
        let server = Server::new(vec![Act::Cut(bytes.into_bytes())]);
        let error = server.client().video(&v1()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoAnswer, "{error}");
        assert_eq!(error.code, "network_error");
        assert!(error.excerpt.unwrap().starts_with("{\"data\""));
    }
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{".to_vec();
    let server = Server::new(vec![Act::Stall(head)]);
    let begun = Instant::now();
    let error = client_with_short_reads(&server.base)
        .video(&v1())
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoAnswer, "{error}");
    assert_eq!(error.code, "timeout");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn thinking_longer_than_the_time_out_per_read_is_allowed() {
    for interim in ["", "HTTP/1.1 102 Processing\r\n\r\n"] {
        let good = answer("200 OK", "", GOOD);
        let slow = Act::Think(interim, Duration::from_millis(400), good);
        let server = Server::new(vec![slow]);
        let answer = client_with_short_reads(&server.base).video(&v1());
        assert!(answer.is_ok(), "{interim}");
    }
}

#[test]
fn a_status_stands_even_if_its_body_does_not() {
    let bytes = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 999\r\n\r\n<ht".to_vec();
    for act in [Act::Cut(bytes.clone()), Act::Stall(bytes)] {
        let server = Server::new(vec![act]);
        let error = client_with_short_reads(&server.base)
            .video(&v1())
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Status(503));
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    }
}

#[test]
fn redirects_are_answers() {
    for status in ["301 M", "302 F", "303 S", "307 T", "308 P"] {
        let server = Server::answering(status, "Location: https://evil.example/x?sig=1\r\n", "");
        let error = server
            .client()
            .create(Kind::Video, None, b"{}", &IdempotencyKey::random())
            .unwrap_err();
        let number: u16 = status[..3].parse().unwrap();
        assert_eq!(error.kind, ErrorKind::Status(number));
        assert_eq!(error.code, format!("http_{number}"));
        assert_eq!(
            error.message,
            format!(
                "HTTP {number} from HeyGen: a redirect to evil.example, which is never followed"
            )
        );
    }
    let error = error_of("302 Found", "Location: /elsewhere?sig=1\r\n", "");
    assert_eq!(
        error.message,
        "HTTP 302 from HeyGen: a redirect, which is never followed"
    );
}

#[test]
fn a_gateway_page_is_reported_by_its_status() {
    let error = error_of(
        "502 Bad Gateway",
        "Content-Type: text/html; charset=utf-8\r\n",
        "<html>no</html>",
    );
    assert_eq!(error.kind, ErrorKind::Status(502));
    assert_eq!(error.code, "http_502");
    assert_eq!(error.message, "HTTP 502 from HeyGen (text/html, 15 bytes)");
    let error = error_of("500 Oops", "", "");
    assert_eq!(
        error.message,
        "HTTP 500 from HeyGen (no content type, 0 bytes)"
    );
}

#[test]
fn an_envelope_speaks_for_itself() {
    let error = error_of(
        "400 Bad Request",
        "X-Request-Id: req-9\r\n",
        r#"{"error":{"code":"invalid_parameter","message":"bad avatar_id"}}"#,
    );
    assert_eq!(error.kind, ErrorKind::Status(400));
    assert_eq!(error.code, "invalid_parameter");
    assert_eq!(error.to_string(), "bad avatar_id");
    assert_eq!(error.request_id.as_deref(), Some("req-9"));
}

#[test]
fn success_that_brings_nothing_usable_is_a_bad_response() {
    let table = [
        (
            "200 OK",
            "<html>",
            "bad_response",
            "HeyGen answered HTTP 200 with something that is not a JSON object (no content type, 6 bytes)",
        ),
        (
            "204 No Content",
            "",
            "bad_response",
            "HeyGen answered HTTP 204 with something that is not a JSON object (no content type, 0 bytes)",
        ),
        (
            "200 OK",
            r#"{"error":{"code":"busy","message":"later"}}"#,
            "busy",
            "later",
        ),
        (
            "200 OK",
            r#"{"error":{"code":"so busy"}}"#,
            "bad_response",
            "HeyGen answered HTTP 200 with an error envelope (no content type, 28 bytes)",
        ),
    ];
    for (status, body, code, message) in table {
        let error = error_of(status, "", body);
        let number: u16 = status[..3].parse().unwrap();
        assert_eq!(error.kind, ErrorKind::BadResponse(number));
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            (code, message)
        );
        assert_eq!(error.excerpt.as_deref().unwrap_or_default(), body);
    }
}

#[test]
fn an_endless_answer_is_refused_within_bounds() {
    let error = error_of("200 OK", "", vec![b' '; 11 * 1024 * 1024]);
    assert_eq!(error.kind, ErrorKind::BadResponse(200));
    assert!(error.message.contains("more than 4 MiB"), "{error}");
    assert_eq!(error.excerpt.unwrap().len(), MAX_EXCERPT);
    let error = error_of("500 Oops", "", vec![b' '; 11 * 1024 * 1024]);
    assert_eq!(error.kind, ErrorKind::Status(500));
}

#[test]
fn the_key_and_signatures_are_in_no_error() {
    let echo = format!("{KEY} https://f/v.mp4?X-Amz-Signature=0badcafe");
    let envelope = format!(r#"{{"error":{{"code":"{KEY}","message":"{echo}"}}}}"#);
    let headers =
        format!("X-Request-Id: {KEY}\r\nContent-Type: {KEY}\r\nLocation: https://{KEY}/\r\n");
    for status in [
        "200 OK",
        "302 Found",
        "400 Bad Request",
        "401 Unauthorized",
        "500 Oops",
    ] {
        for body in [envelope.as_str(), echo.as_str(), ""] {
            let said = format!("{:?}", error_of(status, &headers, body));
            assert!(!said.contains("0123456789abcdef"), "{said}");
            assert!(!said.contains("0badcafe"), "{said}");
        }
    }
    let client = client(&BaseUrl::parse(BaseUrl::DEFAULT).unwrap());
    assert_eq!(format!("{client:?}"), r#"Client("https://api.heygen.com")"#);
}

#[test]
fn whoami_wants_json_without_an_error() {
    let ask = |status, body| Server::answering(status, "", body).client().whoami();
    assert!(ask("200 OK", r#"{"data":{"email":"a@b"}}"#).is_ok());
    assert!(ask("200 OK", "<html>log in to the hotel</html>").is_err());
    let refused = ask("401 Unauthorized", r#"{"error":{"code":"unauthorized"}}"#).unwrap_err();
    assert_eq!(refused.http_status(), Some(401));
    assert_eq!(refused.code, "auth_error");
}

#[test]
fn only_plain_short_ids_fit_a_bulk_request() {
    let (just, long) = ("a".repeat(64), "a".repeat(65));
    let table = [
        ("abc-DEF_09", true),
        (&just, true),
        (&long, false),
        ("a,b", false),
        ("a b", false),
        ("\u{e9}", false),
        ("a.b", false),
    ];
    for (id, fits) in table {
        assert_eq!(fits_bulk(&VideoId::new(id).unwrap()), fits, "{id}");
    }
}

#[test]
fn interim_answers_are_not_the_answer() {
    for interim in ["100 Continue\r\n", "103 Early Hints\r\nLink: </x>\r\n"] {
        let mut bytes = format!("HTTP/1.1 {interim}\r\n").into_bytes();
        bytes.extend(answer("200 OK", "", GOOD));
        let server = Server::new(vec![Act::Answer(bytes)]);
        assert!(server.client().video(&v1()).is_ok(), "{interim}");
    }
}

/// A server that goes on and on, a byte at a time, is left in bounded time: in its headers and in its body.
#[test]
fn an_answer_that_drips_ends_in_bounded_time() {
    for begin in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = BaseUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                read_request(&mut stream);
                stream.write_all(begin.as_bytes()).ok();
                let drip = if begin.is_empty() {
                    "HTTP/1.1 200 OK\r\nX: "
                } else {
                    ""
                };
                let drip = drip.bytes().chain(std::iter::repeat(b' '));
                for byte in drip {
                    if stream.write_all(&[byte]).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            }
        });
        let timeouts = Timeouts {
            connect: Duration::from_secs(1),
            response: Duration::from_millis(300),
            per_read: Duration::from_millis(200),
        };
        let started = Instant::now();
        let error = client_with(&base, timeouts)
            .video(&VideoId::new("v1").unwrap())
            .unwrap_err();
        assert_eq!(error.code, "timeout", "{error}");
        assert!(started.elapsed() < Duration::from_secs(5), "{error}");
    }
}
