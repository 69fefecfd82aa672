//! A `tracker listen` to call, and somebody who calls it as HeyGen does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use heygen_tracker::video::Asset;
use hmac::{Hmac, KeyInit, Mac};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::{Bench, PATIENCE, eventually};

pub const SECRET: &str = "whsec_0123456789abcdef";
pub const DETAIL: &str = "GET /v3/videos/{id}";
pub const PENDING: &str = "SELECT count(*) FROM webhooks WHERE done_at IS NULL";
pub const DONE: &str = "SELECT count(*) FROM webhooks WHERE done_at IS NOT NULL";

/// A `tracker listen` that is up.
pub struct Listener {
    pub child: Child,
    pub at: Place,
    pub stderr: Receiver<String>,
    pub heard: Vec<String>,
}

/// How a listener ended.
pub struct End {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// What `listen` is run with; more can be added.
pub fn command(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = bench.command(["listen", "--addr", "127.0.0.1:0"]);
    command.args(arguments).env("HEYGEN_WEBHOOK_SECRET", SECRET);
    command
}

pub fn listen(bench: &Bench) -> Listener {
    Listener::start(&mut command(bench, &[]))
}

impl Listener {
    /// Waits until it says where it listens.
    pub fn start(command: &mut Command) -> Self {
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
    pub fn hears(&mut self, part: &str) -> String {
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
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

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        killpg(pid, signal).expect("it runs");
    }

    pub fn end(mut self, signal: Signal) -> End {
        self.signal(signal);
        self.ended()
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> End {
        let status = self.child.wait().expect("an end");
        let mut stdout = String::new();
        let pipe = self.child.stdout.as_mut().expect("a pipe");
        pipe.read_to_string(&mut stdout).expect("text");
        while let Ok(line) = self.stderr.recv_timeout(PATIENCE) {
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
pub struct Place(pub SocketAddr);

impl Place {
    /// Sends raw bytes and returns the status line's code; 0 when the connection ends without an answer.
    pub fn raw(self, bytes: &[u8]) -> u16 {
        status(&mut self.send(bytes))
    }

    pub fn send(self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.0).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may refuse before it has read everything.
        stream.write_all(bytes).ok();
        stream
    }

    /// A delivery as HeyGen makes it.
    pub fn deliver(self, body: &str) -> u16 {
        self.raw(&delivery(body, SECRET, now()))
    }
}

pub fn status(stream: &mut TcpStream) -> u16 {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok();
    line.split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

pub fn now() -> i64 {
    heygen_tracker::time::now().millis() / 1000
}

pub fn success(event: &str, video: &str) -> String {
    json!({"event_id": event, "event_type": "avatar_video.success",
           "event_data": {"video_id": video, "url": "https://evil.example/x.mp4", "callback_id": null}})
    .to_string()
}

pub fn delivery(body: &str, secret: &str, at: i64) -> Vec<u8> {
    let signature = sign(secret, body.as_bytes());
    request(
        &format!("Heygen-Signature: {signature}\r\nHeygen-Timestamp: {at}\r\n"),
        body,
    )
}

pub fn request(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /heygen HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One video that renders.
pub fn one() -> (Bench, String) {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let id = bench.video_id(1);
    (bench, id)
}

pub fn is_saved(bench: &Bench, id: &str) -> bool {
    let file = bench.path(&format!("output/{id}.mp4"));
    std::fs::read(file).is_ok_and(|bytes| bytes == bench.heygen.expected(id, Asset::Video))
}

/// Waits until so many deliveries were acted on.
#[track_caller]
pub fn acted_on(bench: &Bench, count: usize) {
    let so_many = || bench.query(DONE) == count.to_string();
    eventually(&format!("{count} deliveries acted on"), so_many);
}

#[track_caller]
pub fn none_pending(bench: &Bench) {
    eventually("nothing pending", || bench.query(PENDING) == "0");
}

pub fn own_gets(bench: &Bench, id: &str) -> usize {
    let path = format!("/v3/videos/{id}");
    let requests = bench.heygen.api_requests();
    requests
        .iter()
        .filter(|request| request.path == path)
        .count()
}

/// As HeyGen signs, worked out here: the program's own signatures are what is tested.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    let code = mac.chain_update(body).finalize().into_bytes();
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}
