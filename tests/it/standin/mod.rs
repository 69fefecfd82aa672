//! The stand-in as its clients see it, and what can be made to go wrong with it.

mod faults;
mod files;
mod idempotency;
mod media;
mod shapes;
mod webhooks;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::heygen::{Fault, Heygen, Host, Options, Render};

/// One answer, taken apart.
struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
    reset: bool,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends a request on a connection of its own and reads to its end; `None` when there was no answer.
fn send(url: &str, method: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Got> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    let mut head = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut bytes = Vec::new();
    let reset = stream.read_to_end(&mut bytes).is_err();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let body = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes).unwrap();
    Some(Got {
        status: head[9..12].parse().unwrap(),
        head,
        body,
        reset,
    })
}

fn api(sandbox: &Heygen, method: &str, path: &str) -> Option<Got> {
    let url = format!("{}{path}", sandbox.api_base());
    send(&url, method, &[("X-Api-Key", sandbox.key())], b"")
}

fn get(sandbox: &Heygen, path: &str) -> Got {
    api(sandbox, "GET", path).unwrap()
}

fn try_post(sandbox: &Heygen, key: &str, body: &Value) -> Option<Got> {
    let url = format!("{}/v3/videos", sandbox.api_base());
    let headers = [("X-Api-Key", sandbox.key()), ("Idempotency-Key", key)];
    send(&url, "POST", &headers, body.to_string().as_bytes())
}

fn post(sandbox: &Heygen, key: &str, body: &Value) -> Got {
    try_post(sandbox, key, body).unwrap()
}

fn avatar() -> Value {
    json!({"type": "avatar", "avatar_id": "a", "script": "Hello", "title": "Launch"})
}

fn create(sandbox: &Heygen, key: &str) -> String {
    let answer = post(sandbox, key, &avatar());
    assert_eq!(answer.status, 200);
    let id = answer.json()["data"]["video_id"].clone();
    id.as_str().unwrap().to_owned()
}

fn start() -> Heygen {
    Heygen::start(Options::default()).unwrap()
}

fn manual() -> Heygen {
    let options = Options {
        render: Render::Manual,
        ..Options::default()
    };
    Heygen::start(options).unwrap()
}

/// A completed video and the URL of its file.
fn finished(sandbox: &Heygen) -> (String, String) {
    sandbox.add_video("abc", "completed");
    let url = get(sandbox, "/v3/videos/abc").json()["data"]["video_url"].clone();
    ("abc".to_owned(), url.as_str().unwrap().to_owned())
}
