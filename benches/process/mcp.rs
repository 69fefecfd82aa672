//! An agent asks for a finished video again and again: no request, and how long it waits.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::heygen::Options;

use crate::Scale;
use crate::measure::{self, millis};
use crate::stage::{Stage, id};

pub(crate) fn run(scale: Scale) {
    let stage = Stage::new(Options::default());
    stage.rendering(10, "processing");
    stage.heygen.finish(&id(1));
    measure::run(&mut stage.tracker("check"));
    let mut server = stage.tracker("mcp");
    server.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = server.spawn().expect("a server");
    let mut stdin = server.stdin.take().expect("its stdin");
    let mut lines = BufReader::new(server.stdout.take().expect("its stdout")).lines();
    let mut ask = |message: Value| {
        writeln!(stdin, "{message}").expect("a reader");
        if message.get("id").is_some() {
            let line = lines.next().expect("an answer").expect("a line");
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(answer["id"], message["id"], "{answer}");
            assert!(answer["result"]["isError"] != true, "{answer}");
        }
    };
    let client = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}});
    ask(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": client}));
    ask(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    let before = stage.heygen.api_requests().len();
    let calls = scale.of(1_001, 11);
    let get_video = |number: usize| {
        let call = json!({"name": "get_video", "arguments": {"video_id": id(1)}});
        let started = Instant::now();
        ask(json!({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}));
        started.elapsed()
    };
    let mut times: Vec<Duration> = (1..=calls).map(get_video).collect();
    times.sort();
    println!(
        "\nmcp: get_video of a finished row, {calls} times: median {:.2} ms, slowest {:.2} ms, {} requests",
        millis(times[calls / 2]),
        times.last().map_or(0.0, |slowest| millis(*slowest)),
        stage.heygen.api_requests().len() - before,
    );
    drop(stdin);
    server.wait().expect("its end");
}
