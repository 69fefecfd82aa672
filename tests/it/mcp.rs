//! `tracker mcp`: what a client sees on its pipe, what HeyGen is asked, and what is left when either goes away.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::heygen::{Fault, Options};
use crate::support::{BODY, Bench, PATIENCE, clients, end, eventually, run};
use crate::sweep::chosen;

const READING: [&str; 3] = ["get_video", "list_videos", "get_stats"];
const FREE: [&str; 3] = ["check_videos", "download_video", "track_video"];
const SPENDING: [&str; 3] = ["submit_video", "retry_video", "reply_to_agent"];

/// A client of the protocol that keeps everything it is sent.
struct Client {
    server: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// All lines so far.
    seen: Vec<Value>,
    last_id: u64,
}

impl Client {
    /// Connected, without a handshake.
    fn raw(command: &mut Command) -> Self {
        let mut server = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let stdin = server.stdin.take();
        let stdout = server.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            server,
            stdin,
            lines,
            seen: Vec::new(),
            last_id: 0,
        }
    }

    /// Connected, with the handshake of the clients in use.
    fn new(bench: &Bench, arguments: &str) -> Self {
        Self::of(&mut bench.command(["mcp"].into_iter().chain(arguments.split_whitespace())))
    }

    fn of(command: &mut Command) -> Self {
        let mut client = Self::raw(command);
        let answer = client.ask("initialize", hello("2025-06-18"));
        assert_eq!(
            answer["result"]["protocolVersion"], "2025-06-18",
            "{answer}"
        );
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("not closed");
        stdin
            .write_all(bytes)
            .and_then(|()| stdin.flush())
            .expect("the server reads");
    }

    fn send(&mut self, message: &Value) {
        self.write(format!("{message}\n").as_bytes());
    }

    /// Sends a request and returns its number.
    fn request(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Starts a tool.
    fn start(&mut self, tool: &str, arguments: Value) -> u64 {
        self.request("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Waits for the answer to a request; what else comes is kept.
    #[track_caller]
    fn answer(&mut self, id: u64) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.iter().position(|line| line["id"] == id) {
                return self.seen[at].clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|error| {
                panic!("no answer to {id}: {error}; so far {:?}", self.seen)
            });
            let line = serde_json::from_str(&line);
            self.seen
                .push(line.expect("nothing but protocol on stdout"));
        }
    }

    #[track_caller]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        self.answer(id)
    }

    /// The result of a tool, which may be an error.
    #[track_caller]
    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.start(tool, arguments);
        self.answer(id)["result"].clone()
    }

    /// The structure of a tool's result.
    #[track_caller]
    fn get(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments);
        assert_ne!(result["isError"], true, "{tool}: {result}");
        result["structuredContent"].clone()
    }

    /// The code of a tool's error.
    #[track_caller]
    fn refused(&mut self, tool: &str, arguments: Value) -> String {
        let error = self.error(tool, arguments);
        error["code"].as_str().expect("a code").to_owned()
    }

    #[track_caller]
    fn error(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], true, "{tool}: {result}");
        let text = result["content"][0]["text"].as_str().expect("text");
        let error: Value = serde_json::from_str(text).expect("JSON");
        assert!(
            error["message"].is_string() && error.get("hint").is_some(),
            "{result}"
        );
        error
    }

    #[track_caller]
    fn tools(&mut self) -> Vec<Value> {
        let answer = self.ask("tools/list", json!({}));
        answer["result"]["tools"].as_array().expect("tools").clone()
    }

    /// Goes away and waits for the server's end.
    fn leave(&mut self) -> Option<i32> {
        self.stdin = None;
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.server.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < until, "the server outlives its client");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

fn hello(version: &str) -> Value {
    json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}})
}

fn body() -> Value {
    serde_json::from_str(BODY).expect("JSON")
}

fn named(script: &str) -> Value {
    let mut body = body();
    body["script"] = script.into();
    body
}

fn names(tools: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// How many processes a process has started that have not ended.
fn children(of: u32) -> usize {
    let found = run(Command::new("ps").args(["-o", "stat=", "--ppid", &of.to_string()]));
    found
        .stdout
        .lines()
        .filter(|state| !state.starts_with('Z'))
        .count()
}

#[test]
fn every_version_in_use_is_greeted_in_its_own_words() {
    let bench = Bench::new();
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut client = Client::raw(&mut bench.command(["mcp"]));
        let answer = client.ask("initialize", hello(version));
        assert_eq!(answer["result"]["protocolVersion"], version);
        assert_eq!(answer["result"]["serverInfo"]["name"], "heygen-tracker");
        assert!(
            answer["result"]["instructions"]
                .as_str()
                .unwrap()
                .contains("next_check_seconds")
        );
        assert_eq!(client.leave(), Some(0));
    }
    // One that is not known yet gets the newest that has this handshake.
    let mut client = Client::raw(&mut bench.command(["mcp"]));
    let answer = client.ask("initialize", hello("2031-01-01"));
    assert!(
        answer["result"]["protocolVersion"].as_str().unwrap() >= "2025-11-25",
        "{answer}"
    );
    assert_eq!(client.leave(), Some(0));
}

/// From 2026-07-28 on nobody says `initialize`: each request says who asks.
#[test]
fn a_client_of_the_newer_protocol_is_served_without_a_handshake() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let who = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                     "io.modelcontextprotocol/clientCapabilities": {}});
    let mut client = Client::raw(&mut bench.command(["mcp"]));
    let found = client.ask("server/discover", json!({"_meta": who}))["result"].clone();
    let versions = found["supportedVersions"].as_array().expect("versions");
    assert!(versions.contains(&json!("2026-07-28")), "{found}");
    let tools = client.ask("tools/list", json!({"_meta": who}));
    let tools = tools["result"]["tools"].as_array().expect("tools").clone();
    assert_eq!(tools.len(), READING.len() + FREE.len());
    let mut call = json!({"name": "get_video", "arguments": {"id": 1}, "_meta": who});
    let got = client.ask("tools/call", call.clone());
    assert_eq!(
        got["result"]["structuredContent"]["video"]["id"], 1,
        "{got}"
    );
    call["_meta"] = json!({});
    let refused = client.ask("tools/call", call);
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn a_check_tells_how_far_it_is_to_whoever_asks_for_that() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    for id in [1, 2] {
        bench.heygen.finish(&bench.video_id(id));
    }
    let mut client = Client::new(&bench, "");
    let params =
        json!({"name": "check_videos", "arguments": {}, "_meta": {"progressToken": "mine"}});
    let answer = client.ask("tools/call", params);
    let told = client.seen.iter();
    let told: Vec<&Value> = told
        .filter(|line| line["method"] == "notifications/progress")
        .map(|line| &line["params"])
        .collect();
    assert!(told.iter().all(|line| line["progressToken"] == "mine"));
    let saved = |line: &&&Value| {
        line["message"]
            .as_str()
            .is_some_and(|m| m.contains("saved"))
    };
    assert_eq!(told.iter().filter(saved).count(), 2, "{told:?}");
    let steps: Vec<f64> = told
        .iter()
        .map(|line| line["progress"].as_f64().expect("a number"))
        .collect();
    assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?}");
    assert_eq!(
        client.seen.last(),
        Some(&answer),
        "progress comes before the answer"
    );
    let told = told.len();
    client.get("check_videos", json!({}));
    let again = client
        .seen
        .iter()
        .filter(|line| line["method"] == "notifications/progress");
    assert_eq!(again.count(), told, "nobody asked");
}

#[test]
fn every_tool_says_what_it_does_takes_and_answers() {
    let bench = Bench::new();
    let mut reader = Client::new(&bench, "");
    let mut expected = [READING.as_slice(), &FREE].concat();
    expected.sort_unstable();
    assert_eq!(names(&reader.tools()), expected);

    let mut spender = Client::new(&bench, "--allow-submit");
    let tools = spender.tools();
    expected.extend(SPENDING);
    for name in expected {
        let tool = tools.iter().find(|tool| tool["name"] == name);
        let tool = tool.unwrap_or_else(|| panic!("no {name}"));
        assert!(tool["description"].as_str().unwrap().len() > 40, "{tool}");
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert_eq!(tool["outputSchema"]["type"], "object", "{tool}");
        let hints = &tool["annotations"];
        assert!(hints["title"].is_string(), "{tool}");
        assert_eq!(tool["title"], hints["title"], "{tool}");
        for hint in ["destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(hints[hint].is_boolean(), "{name}: {hint}");
        }
        assert_eq!(hints["readOnlyHint"], READING.contains(&name), "{tool}");
    }
}

/// What the owner of the machine allows is not raised by leaving the option out.
#[test]
fn the_environment_bounds_what_agents_submit() {
    let bench = Bench::new();
    let mut server = bench.command(["mcp", "--allow-submit"]);
    let mut client = Client::of(server.env("TRACKER_MAX_PER_DAY", "1"));
    let sent = client.get("submit_video", json!({"body": body()}));
    assert_eq!(sent["left_today"], 0);
    let again = json!({"body": body(), "allow_duplicate": true});
    client.ask(
        "tools/call",
        json!({"name": "submit_video", "arguments": again}),
    );
    assert_eq!(bench.heygen.posts().len(), 1);
}

#[test]
fn every_tool_works_and_no_answer_has_a_key_or_a_signed_url() {
    crate::support::well_before_midnight();
    let bench = Bench::new();
    bench.heygen.add_video("feed1234", "completed");
    let mut client = Client::new(&bench, "--allow-submit");
    let trial = client.get("submit_video", json!({"body": body(), "dry_run": true}));
    assert_eq!(
        (&trial["video"], &trial["left_today"]),
        (&Value::Null, &json!(10))
    );
    assert_eq!(bench.heygen.posts().len(), 0);

    let trial = client.call("submit_video", json!({"body": body(), "dry_run": true}));
    let said = trial["content"][0]["text"].as_str().expect("text");
    assert!(
        said.ends_with("10 more can be submitted, 10 in any 24 hours"),
        "{said}"
    );
    let sent = client.get("submit_video", json!({"body": body(), "tags": ["t"]}));
    assert_eq!(
        (&sent["video"]["id"], &sent["left_today"]),
        (&json!(1), &json!(9))
    );
    // The same body is not paid for again unless that is said.
    assert_eq!(
        client.get("submit_video", json!({"body": body()}))["video"]["id"],
        1
    );
    let again = json!({"body": body(), "allow_duplicate": true});
    assert_eq!(client.get("submit_video", again)["video"]["id"], 2);

    bench.heygen.finish(&bench.video_id(1));
    bench
        .heygen
        .fail(&bench.video_id(2), "RENDERING_FAILED", "no luck");
    let checked = client.get("check_videos", json!({}));
    assert_eq!(checked["saved"].as_array().unwrap().len(), 1, "{checked}");
    assert_eq!(
        (&checked["unfinished"], &checked["next_check_seconds"]),
        (&json!(0), &Value::Null)
    );

    let known = client.get("submit_video", json!({"body": body()}));
    assert_eq!(known["video"]["status"], "completed", "{known}");
    let url = known["video"]["files"][0]["url"].as_str();
    assert!(
        url.is_some_and(|url| url.starts_with("file:///")),
        "{known}"
    );

    let before = bench.heygen.requests().len();
    for id in [
        json!({"id": 1}),
        json!({"videoId": bench.video_id(1)}),
        json!({"video_id": bench.video_id(1)}),
    ] {
        let video = client.get("get_video", id);
        assert_eq!(
            (&video["video"]["id"], &video["tracked"]),
            (&json!(1), &json!(true))
        );
        assert!(
            video["video"]["path"].as_str().unwrap().ends_with(".mp4"),
            "{video}"
        );
        let url = video["video"]["files"][0]["url"].as_str().unwrap();
        let end = url.strip_prefix("file:///").expect("a local file");
        assert!(std::path::Path::new("/").join(end).is_file(), "{url}");
    }
    let told = client.get("get_video", json!({"id": 1, "timeline": true}));
    assert!(!told["timeline"].as_array().unwrap().is_empty(), "{told}");
    let page = client.get("list_videos", json!({"limit": 1}));
    assert_eq!(page["videos"][0]["id"], 2);
    let next = client.get(
        "list_videos",
        json!({"limit": 1, "cursor": page["next_cursor"]}),
    );
    assert_eq!(next["videos"][0]["id"], 1);
    // As on the command line: a date includes that day.
    for (until, videos) in [("today", 2), ("yesterday", 0)] {
        let listed = client.get("list_videos", json!({"until": until}));
        assert_eq!(
            listed["videos"].as_array().unwrap().len(),
            videos,
            "{until}"
        );
    }
    for (word, videos) in [("Completed", 1), (" FAILED", 1), ("processing", 0)] {
        let listed = client.get("list_videos", json!({"status": [word]}));
        assert_eq!(listed["videos"].as_array().unwrap().len(), videos, "{word}");
    }
    let unknown = client.error("list_videos", json!({"status": ["complete"]}));
    assert_eq!(unknown["message"], "no video is \"complete\"");
    assert_eq!(unknown["hint"], "the status words here: completed, failed");
    // As there, too: without the spaces around them.
    bench.tracker("edit 1 --tag spring").exits(0);
    for tags in [json!([" spring"]), json!(["t, spring"])] {
        let listed = client.get("list_videos", json!({"tags": tags}));
        assert_eq!(listed["videos"][0]["id"], 1, "{listed}");
    }
    let empty = client.refused("list_videos", json!({"tags": [""]}));
    assert_eq!(empty, "usage_error");
    assert_eq!(client.get("get_stats", json!({}))["stats"]["videos"], 2);
    let read = client.ask("resources/read", json!({"uri": "tracker://videos/1"}));
    assert!(
        read["result"]["contents"][0]["text"]
            .as_str()
            .unwrap()
            .contains("completed"),
        "{read}"
    );
    assert_eq!(
        bench.heygen.requests().len(),
        before,
        "what is finished is not asked for"
    );

    let elsewhere = client.get("get_video", json!({"id": "feed1234"}));
    assert_eq!(
        (&elsewhere["tracked"], &elsewhere["video"]["status"]),
        (&json!(false), &json!("completed"))
    );
    client.get("track_video", json!({"video_id": "feed1234"}));
    client.get("check_videos", json!({"ids": ["feed1234"]}));
    let files = client.get("download_video", json!({"id": 1, "assets": ["captioned"]}));
    assert_eq!(files["videos"][0]["id"], 1);
    let retried = client.get("retry_video", json!({"id": 2}));
    assert_eq!(retried["video"]["retry_of"], 2, "{retried}");
    assert_eq!(bench.heygen.billed().len(), 3);

    let everything = format!("{:?}", client.seen);
    assert!(!everything.contains("Signature="), "a presigned URL");
    assert!(!everything.contains(bench.heygen.key()), "the key");
    assert_eq!(client.leave(), Some(0));
    bench.assert_invariants();
}

#[test]
fn every_kind_is_listed_and_tracked_and_an_unknown_row_names_its_candidates() {
    let bench = Bench::new();
    let agents = "POST /v3/video-agents";
    bench
        .heygen
        .fault(agents, Fault::cut_before_answer().forever());
    let lost = ["submit", "--prompt", "Lost"];
    bench.tracker_with(&lost).exits(0);
    bench.heygen.clear_faults();
    let made = bench.heygen.videos().pop().expect("a session");

    let mut client = Client::new(&bench, "");
    client.get("check_videos", json!({"ids": [1]}));
    let video = client.get("get_video", json!({"id": 1}));
    assert_eq!(video["video"]["status"], "unknown", "{video}");
    let candidates = &video["video"]["candidates"];
    assert_eq!(candidates[0]["video_id"], made.as_str(), "{video}");

    let elsewhere = json!({"video_id": "session-of-another", "kind": "agent"});
    let tracked = client.get("track_video", elsewhere);
    assert_eq!(tracked["videos"][0]["session_id"], "session-of-another");
    client.get("track_video", json!({"video_id": "feed1234"}));
    let listed = client.get("list_videos", json!({"kind": ["agent"]}));
    assert_eq!(listed["videos"].as_array().expect("a list").len(), 2);
    let code = client.refused("list_videos", json!({"kind": ["film"]}));
    assert_eq!(code, "usage_error");
}

#[test]
fn what_a_model_can_mend_is_a_result_with_a_code() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let mut client = Client::new(&bench, "--allow-submit --max-per-day 1");
    assert_eq!(
        client.refused("download_video", json!({"id": 99})),
        "not_found"
    );
    assert_eq!(
        client.refused("submit_video", json!({"body": named("more")})),
        "cap_reached"
    );
    client.refused("list_videos", json!({"cursor": "x"}));
    client.refused("list_videos", json!({"since": "soonish"}));
    client.refused("check_videos", json!({"ids": ["--db=/etc/passwd"]}));
    client.refused("submit_video", json!({"body": {}}));
    let before = bench.heygen.requests().len();
    assert_eq!(client.refused("get_video", json!({"id": 99})), "not_found");
    for (tool, arguments) in [
        // Ignored, this would submit.
        (
            "submit_video",
            json!({"body": named("new"), "dryRun": true}),
        ),
        ("submit_video", json!({"body": "text"})),
        ("get_video", json!({"id": true})),
        ("track_video", json!({"video_id": "/etc/passwd"})),
        ("track_video", json!({"video_id": "-"})),
        ("get_stats", json!({"since": "7d"})),
    ] {
        assert_eq!(client.refused(tool, arguments), "usage_error", "{tool}");
    }
    // What no command line can hold.
    for text in ["x".repeat(200_000), "x\0y".to_owned()] {
        for (tool, arguments) in [
            (
                "submit_video",
                json!({"body": named("new"), "request_key": text}),
            ),
            ("check_videos", json!({"ids": [text]})),
            ("retry_video", json!({"id": text})),
        ] {
            let error = client.error(tool, arguments);
            assert_eq!(error["code"], "usage_error", "{tool}: {error}");
            let message = error["message"].as_str().unwrap_or_default();
            assert!(message.contains("too long or contains a NUL"), "{error}");
            assert!(error["hint"].is_string(), "{error}");
        }
    }
    assert_eq!(bench.heygen.requests().len(), before);
    assert_eq!(bench.heygen.posts().len(), 1);
    // What no model should send is an error of the protocol, and the server goes on.
    assert!(
        client.ask("tools/call", json!({"name": "forget", "arguments": {}}))["error"].is_object()
    );
    assert!(client.ask("ping", json!({}))["result"].is_object());
}

#[test]
fn what_could_not_be_done_for_a_row_is_an_error() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let mut client = Client::new(&bench, "--allow-submit");
    let error = client.error("download_video", json!({"id": 1}));
    assert_eq!(error["code"], "download_failed", "{error}");
    let message = error["message"].as_str().expect("a text");
    assert!(message.contains("nothing to download"), "{error}");

    bench
        .tracker_with(&["submit", "--prompt", "A film"])
        .exits(0);
    let session = bench.query("SELECT session_id FROM videos WHERE id = 2");
    let refused = json!({"error": {"code": "invalid_parameter", "message": "no such plan"}});
    for (fault, said) in [
        (Fault::json(400, &refused), "no such plan"),
        (Fault::cut_before_answer(), "do not repeat it"),
    ] {
        bench.heygen.set_status(&session, "waiting_for_input");
        client.get("check_videos", json!({"ids": [2]}));
        let route = format!("POST /v3/video-agents/{session}");
        bench.heygen.fault(&route, fault);
        let error = client.error("reply_to_agent", json!({"id": 2, "text": "Yes"}));
        assert_eq!(error["code"], "reply_failed", "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    bench.heygen.set_status(&session, "waiting_for_input");
    client.get("check_videos", json!({"ids": [2]}));
    let taken = client.get("reply_to_agent", json!({"id": 2, "text": "Go on"}));
    assert_eq!(taken["videos"][0]["status"], "thinking", "{taken}");
}

#[test]
fn with_a_refused_key_a_model_hears_what_is_recorded() {
    let bench = Bench::new();
    bench
        .tracker_with(&["submit", "--prompt", "A film"])
        .exits(0);
    let session = bench.query("SELECT session_id FROM videos");
    bench.heygen.set_status(&session, "waiting_for_input");
    bench.tracker("check").exits(0);
    for route in [
        "POST /v3/videos",
        &format!("GET /v3/video-agents/{session}"),
    ] {
        bench.heygen.fault(route, Fault::status(401));
    }
    let mut client = Client::new(&bench, "--allow-submit");
    for (tool, arguments, recorded) in [
        ("submit_video", json!({"body": body()}), "recorded as row 2"),
        (
            "reply_to_agent",
            json!({"id": 1, "text": "Yes"}),
            "the reply is recorded",
        ),
    ] {
        let error = client.error(tool, arguments);
        assert_eq!(error["code"], "auth_error", "{error}");
        let hint = error["hint"].as_str().expect("a hint");
        assert!(hint.starts_with(recorded), "{error}");
        assert!(hint.contains("check_videos"), "{error}");
    }
    assert_eq!(bench.status(2), "unsent");
    assert_eq!(bench.query("SELECT state FROM messages"), "unsent");
}

#[test]
fn without_a_key_everything_works_that_needs_none() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let mut command = bench.command(["mcp", "--allow-submit"]);
    let mut client = Client::of(command.env_remove("HEYGEN_API_KEY"));
    assert_eq!(client.get("get_video", json!({"id": 1}))["video"]["id"], 1);
    assert_eq!(client.get("list_videos", json!({}))["videos"][0]["id"], 1);
    assert_eq!(client.get("get_stats", json!({}))["stats"]["videos"], 1);
    client.get("track_video", json!({"video_id": "feed1234"}));
    client.get("submit_video", json!({"body": body(), "dry_run": true}));
    for (tool, arguments) in [
        ("check_videos", json!({})),
        ("submit_video", json!({"body": named("new")})),
        ("get_video", json!({"id": "not-tracked-here"})),
    ] {
        assert_eq!(client.refused(tool, arguments), "auth_error", "{tool}");
    }
    assert_eq!(bench.heygen.posts().len(), 1);
}

#[test]
fn noise_and_haste_are_survived() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let mut client = Client::new(&bench, "");
    let garbage = vec![b'x'; 1_000_000];
    client.write(&garbage);
    client.write(b"\n{\"jsonrpc\":\"2.0\",\n\xff\xfe\n[]\n");
    let ids: Vec<u64> = (0..200)
        .map(|n| match n % 2 {
            0 => client.request("ping", json!({})),
            _ => client.start("get_video", json!({"id": 1})),
        })
        .collect();
    for id in ids {
        let answer = client.answer(id);
        assert!(answer["result"].is_object(), "{answer}");
    }
    // Half a line, and nobody there any more.
    client.write(b"{\"jsonrpc\":\"2.0\",\"id\":9");
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn a_cancelled_check_ends_and_reads_never_wait_for_it() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench
        .heygen
        .fault("GET /v3/videos/{id}", Fault::stall(PATIENCE).forever());
    bench
        .heygen
        .fault("GET /v3/videos/statuses", Fault::stall(PATIENCE).forever());
    bench.heygen.allow_unused();
    let mut client = Client::new(&bench, "");
    let server = client.server.id();
    let before = bench.heygen.api_requests().len();
    let check = client.start("check_videos", json!({}));
    eventually("HeyGen is asked", || {
        bench.heygen.api_requests().len() > before
    });
    assert!(client.ask("ping", json!({}))["result"].is_object());
    assert_eq!(client.get("list_videos", json!({}))["videos"][0]["id"], 1);
    assert_eq!(children(server), 1);
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": check}}));
    eventually("the run has ended", || children(server) == 0);
    bench.heygen.clear_faults();
    client.get("check_videos", json!({}));
    // A client that leaves in the middle of a check takes it along.
    bench
        .heygen
        .fault("GET /v3/videos/statuses", Fault::stall(PATIENCE).forever());
    bench
        .heygen
        .fault("GET /v3/videos/{id}", Fault::stall(PATIENCE).forever());
    let before = bench.heygen.api_requests().len();
    client.start("check_videos", json!({"ids": [1]}));
    eventually("HeyGen is asked", || {
        bench.heygen.api_requests().len() > before
    });
    let left = Instant::now();
    assert_eq!(client.leave(), Some(0));
    assert!(left.elapsed() < PATIENCE / 2, "{:?}", left.elapsed());
    bench.heygen.clear_faults();
    bench.assert_invariants();
}

#[test]
fn without_allow_submit_nothing_is_ever_submitted() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    bench
        .heygen
        .fail(&bench.video_id(2), "RENDERING_FAILED", "no luck");
    let posts = bench.heygen.posts().len();
    let mut client = Client::new(&bench, "");
    for arguments in [
        json!({}),
        json!({"id": 2}),
        json!({"id": 2, "allow_duplicate": true, "body": body()}),
        json!({"ids": [1, 2]}),
        json!({"video_id": "feed1234", "body": body()}),
    ] {
        for tool in [READING.as_slice(), &FREE, &SPENDING].concat() {
            let id = client.start(tool, arguments.clone());
            let answer = client.answer(id);
            assert!(
                !SPENDING.contains(&tool) || answer["error"].is_object(),
                "{tool}: {answer}"
            );
        }
    }
    assert_eq!(bench.heygen.posts().len(), posts);
    assert_eq!(bench.heygen.billed().len(), 2);
}

#[test]
fn what_is_held_back_is_not_submitted_because_an_agent_asks_about_it() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.tracker("submit body.json --queue").exits(0);
    Client::new(&bench, "").get("get_video", json!({"id": 1}));
    assert_eq!(bench.status(1), "unsent");
    // Nobody worked on the queue: another copy of it may have.
    bench.advance(Duration::from_secs(30 * 3600));
    for allowed in ["", "--allow-submit"] {
        let mut client = Client::new(&bench, allowed);
        for ids in [json!([1]), json!([1, 1]), json!([])] {
            client.get("check_videos", json!({"ids": ids}));
            assert_eq!(bench.status(1), "unknown");
        }
        let answer = client.get("check_videos", json!({"ids": [1]}));
        let error = &answer["errors"][0]["error"];
        assert_eq!(error["code"], "submit_unknown", "{answer}");
        assert!(error["hint"].as_str().unwrap().contains("app.heygen.com"));
    }
    assert_eq!(bench.heygen.posts().len(), 0);
}

#[test]
fn a_client_that_dies_and_asks_again_by_its_key_pays_once() {
    for server_dies in [false, true] {
        let bench = Bench::new();
        let lost = Fault::held().and(Fault::cut_before_answer());
        bench.heygen.fault("POST /v3/videos", lost);
        let asked = json!({"body": body(), "request_key": "mine"});
        let mut client = Client::new(&bench, "--allow-submit");
        client.start("submit_video", asked.clone());
        eventually("it was sent", || bench.heygen.holding() == 1);
        assert_paid_once_however_it_ends(&bench, client, server_dies, &asked);
    }
}

/// The server or its client goes away; another asks for the same until HeyGen's answer is known.
#[track_caller]
fn assert_paid_once_however_it_ends(
    bench: &Bench,
    mut client: Client,
    server_dies: bool,
    asked: &Value,
) {
    if server_dies {
        client.server.kill().expect("a server");
    } else {
        client.leave();
    }
    drop(client);
    bench.heygen.release();

    let mut client = Client::new(bench, "--allow-submit");
    assert_eq!(client.get("submit_video", asked.clone())["video"]["id"], 1);
    eventually("HeyGen's answer is known", || {
        bench.shift_database(-120_000);
        client.get("check_videos", json!({"no_download": true}));
        !bench.video_id(1).is_empty()
    });
    assert_eq!(client.get("submit_video", asked.clone())["video"]["id"], 1);
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "1");
    assert_eq!(bench.heygen.billed().len(), 1);
    bench.assert_invariants();
}

/// Whichever of the two goes, and at whichever moment: 200 moments, to a little after the answer, in a full sweep.
#[test]
fn a_submission_cut_off_at_any_moment_is_paid_for_once() {
    let asked = json!({"body": body(), "request_key": "mine"});
    let bench = Bench::new();
    let mut client = Client::new(&bench, "--allow-submit");
    let started = Instant::now();
    client.get("submit_video", asked.clone());
    let whole = started.elapsed();

    let mut answered = 0;
    for moment in chosen(200, 10) {
        let bench = Bench::new();
        let mut client = Client::new(&bench, "--allow-submit");
        let started = Instant::now();
        client.start("submit_video", asked.clone());
        thread::sleep((whole * moment as u32 / 150).saturating_sub(started.elapsed()));
        answered += usize::from(!bench.heygen.billed().is_empty());
        assert_paid_once_however_it_ends(&bench, client, moment.is_multiple_of(2), &asked);
    }
    println!("{answered} had been accepted when they were cut off");
}

#[test]
fn the_cap_holds_for_submissions_at_once() {
    let bench = Bench::with(Options::default());
    // So that all eight meet a database that is there.
    bench.tracker("add feed1234").exits(0);
    let runs: Vec<Child> = (0..8)
        .map(|n| {
            let body = named(&format!("script {n}")).to_string();
            let file = bench.file(&format!("{n}.json"), body);
            let file = file.to_str().expect("text").to_owned();
            crate::support::start(&mut bench.command([
                "submit",
                "--json",
                "--max-per-day",
                "5",
                &file,
            ]))
        })
        .collect();
    let runs: Vec<_> = runs.into_iter().map(end).collect();
    let refused: Vec<_> = runs.iter().filter(|run| run.code != Some(0)).collect();
    assert_eq!(refused.len(), 3, "{runs:?}");
    assert!(
        refused.iter().all(|run| run.stderr.contains("cap_reached")),
        "{runs:?}"
    );
    assert_eq!(bench.heygen.billed().len(), 5);
}

/// Python's and the inspector's.
#[test]
fn the_official_clients_list_and_call_every_tool() {
    let Some(clients) = clients() else { return };
    let bench = Bench::with(Options::default());
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let tracker = crate::support::TRACKER;
    let mut python = Command::new(clients.join("bin/python"));
    python.arg(source.join("mcp_client.py")).arg(tracker);
    bench.prepare(&mut python);
    run(&mut python).exits(0);

    let inspector = clients.join("node_modules/.bin/mcp-inspector");
    let path = format!("{}/bin:/usr/bin:/bin", clients.display());
    let inspect = |arguments: &[&str]| {
        let mut command = Command::new(&inspector);
        command.args(["--cli", tracker, "mcp", "--allow-submit"]);
        bench.prepare(command.args(arguments));
        command.env("PATH", &path);
        for name in ["TRACKER_DB", "HEYGEN_API_BASE", "HEYGEN_API_KEY"] {
            let value = command.get_envs().find(|(key, _)| *key == name);
            let value = value
                .and_then(|(_, value)| value)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            command.args(["-e", &format!("{name}={value}")]);
        }
        run(&mut command)
    };
    let listed = inspect(&["--method", "tools/list"]).exits(0);
    assert!(listed.stdout.contains("submit_video"));
    let script = format!("body={}", named("inspected"));
    for arguments in [
        vec!["get_stats"],
        vec!["list_videos"],
        vec!["check_videos"],
        vec!["get_video", "id=1"],
        vec!["download_video", "id=1"],
        vec!["track_video", "video_id=feed1234"],
        vec!["retry_video", "id=1", "dry_run=true"],
        vec!["submit_video", &script, "dry_run=true"],
    ] {
        let mut all = vec!["--method", "tools/call", "--tool-name", arguments[0]];
        for argument in &arguments[1..] {
            all.extend(["--tool-arg", argument]);
        }
        let answered = inspect(&all);
        // A completed video is not retried: that comes as a result, too, and the inspector takes it; since its version 2
        // it exits with a code of its own then.
        let refused = answered.stdout.contains("\"isError\": true");
        assert_eq!(
            refused,
            arguments[0] == "retry_video",
            "{}",
            answered.screen()
        );
        let structured = answered.stdout.contains("structuredContent");
        assert_eq!(structured, !refused, "{}", answered.screen());
        let ends = if refused { &[0, 5][..] } else { &[0] };
        assert!(
            answered.code.is_some_and(|code| ends.contains(&code)),
            "{}",
            answered.screen()
        );
    }
}
