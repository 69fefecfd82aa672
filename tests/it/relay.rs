//! Something between the program and an honest HeyGen that says more than it was asked: answers that are repeated late,
//! strays on an idle connection. No answer may be taken for the answer to another request (fault S19).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use heygen_tracker::video::Asset;

use crate::support::{Bench, Run, run};

/// What is sent on a connection after an answer, this much later.
#[derive(Clone, Copy)]
enum Extra {
    /// The same answer again.
    Again(Duration),
    /// An error nobody asked for, then the end.
    Stray(Duration),
}

/// Passes requests on to an address and answers back, and then some.
struct Relay {
    address: SocketAddr,
}

impl Relay {
    /// `replace`: in answers, so that what follows from them comes here as well.
    fn start(upstream: &str, extra: Extra, replace: Option<(String, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let upstream = upstream.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (upstream, replace) = (upstream.clone(), replace.clone());
                thread::spawn(move || relay(stream, &upstream, extra, replace.as_ref()));
            }
        });
        Self { address }
    }

    fn base(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn relay(
    mut stream: TcpStream,
    upstream: &str,
    extra: Extra,
    replace: Option<&(String, String)>,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let writer = Arc::new(Mutex::new(stream.try_clone().ok()?));
    loop {
        let request = message(&mut stream)?;
        let mut honest = TcpStream::connect(upstream).ok()?;
        honest.write_all(&request).ok()?;
        let mut answer = message(&mut honest)?;
        if let Some((from, to)) = replace {
            answer = replaced(answer, from, to);
        }
        writer.lock().unwrap().write_all(&answer).ok()?;
        let writer = Arc::clone(&writer);
        thread::spawn(move || {
            let (Extra::Again(wait) | Extra::Stray(wait)) = extra;
            thread::sleep(wait);
            let mut stream = writer.lock().unwrap();
            match extra {
                Extra::Again(_) => stream.write_all(&answer).ok(),
                Extra::Stray(_) => {
                    let body = r#"{"error":{"code":"invalid_parameter","message":"a stray"}}"#;
                    let length = body.len();
                    let head =
                        format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {length}\r\n\r\n");
                    stream.write_all(format!("{head}{body}").as_bytes()).ok();
                    stream.shutdown(std::net::Shutdown::Both).ok()
                }
            }
        });
    }
}

/// A head and a body as long as it says.
fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut byte = [0];
    while !message.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        message.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&message).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().expect("a length"));
    let begin = message.len();
    message.resize(begin + length, 0);
    stream.read_exact(&mut message[begin..]).ok()?;
    Some(message)
}

/// Only JSON; its length is brought up to date.
fn replaced(answer: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let Ok(text) = String::from_utf8(answer.clone()) else {
        return answer;
    };
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let body = body.replace(from, to);
    let head: Vec<String> = head
        .lines()
        .map(
            |line| match line.to_ascii_lowercase().starts_with("content-length:") {
                true => format!("Content-Length: {}", body.len()),
                false => line.to_owned(),
            },
        )
        .collect();
    format!("{}\r\n\r\n{body}", head.join("\r\n")).into_bytes()
}

fn through(bench: &Bench, api: &Relay, arguments: &str) -> Run {
    let mut command = bench.command(arguments.split_whitespace());
    run(command.env("HEYGEN_API_BASE", api.base()))
}

fn authority(base: &str) -> String {
    base.trim_start_matches("http://").to_owned()
}

const EXTRAS: [Extra; 4] = [
    Extra::Again(Duration::from_millis(3)),
    Extra::Again(Duration::from_millis(50)),
    Extra::Stray(Duration::ZERO),
    Extra::Stray(Duration::from_millis(3)),
];

/// Every row has the id of the video that was made under its own key, and no video is in no row.
#[test]
fn s19_a_late_answer_is_never_another_rows_id() {
    for extra in EXTRAS {
        let bench = Bench::new();
        let api = Relay::start(&authority(&bench.heygen.api_base()), extra, None);
        let bodies: Vec<String> = (1..=40)
            .map(|n| crate::support::BODY.replace("Hello\"", &format!("Video {n}\"")))
            .collect();
        bench.file("bodies.jsonl", bodies.join("\n"));
        through(&bench, &api, "submit bodies.jsonl").exits(0);
        let billed = bench.heygen.billed();
        assert_eq!(billed.len(), 40);
        for video in billed {
            let rows = format!(
                "SELECT count(*) FROM videos WHERE idempotency_key = '{}' AND video_id = '{}'",
                video.idempotency_key.expect("a key"),
                video.video_id
            );
            assert_eq!(bench.query(&rows), "1");
        }
    }
}

/// Every file has its own video's bytes.
#[test]
fn s19_a_late_answer_is_never_another_videos_file() {
    for extra in EXTRAS {
        let bench = Bench::new();
        bench.submit(48).exits(0);
        let ids: Vec<String> = (1..=48).map(|row| bench.video_id(row)).collect();
        for id in &ids {
            bench.heygen.finish(id);
        }
        let honest = authority(&bench.heygen.files_base());
        let files = Relay::start(&honest, extra, None);
        let replace = Some((honest, files.address.to_string()));
        let api = Relay::start(&authority(&bench.heygen.api_base()), extra, replace);
        // The rows are the account's at the honest address.
        let account = "UPDATE videos SET account = replace(account, ?1, ?2)";
        let account = (account, [bench.heygen.api_base(), api.base()]);
        bench.db().execute(account.0, account.1).expect("rows");
        // A status request that got another's answer is its row's trouble for this run, and asked again by the next.
        let mut runs = Vec::new();
        while bench.query("SELECT count(*) FROM videos WHERE NOT finished") != "0" {
            runs.push(through(&bench, &api, "check"));
            assert!(runs.len() < 20, "{runs:#?}");
        }
        for id in &ids {
            let file = bench.path(&format!("output/{id}.mp4"));
            let saved = std::fs::read(file).unwrap_or_else(|e| panic!("{id}: {e}: {runs:#?}"));
            assert_eq!(saved, bench.heygen.expected(id, Asset::Video), "{id}");
        }
    }
}
