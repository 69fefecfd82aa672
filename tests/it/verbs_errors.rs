//! Each error a person meets: the message, a hint that works, the exit code, and the envelope of `--json`.

use std::time::Duration;

use crate::heygen::{Fault, Host, Options, Render};
use insta::assert_snapshot;
use serde_json::json;

use crate::support::{BODY, Bench, run};

fn shows_with_key(bench: &Bench, key: &str, arguments: &str) -> String {
    let mut command = bench.command(arguments.split_whitespace());
    let run = run(command.env("HEYGEN_API_KEY", key));
    bench.screen(&format!("tracker {arguments}"), &run)
}

/// HeyGen's next answer to a purchase.
fn refuse(bench: &Bench, status: u16, code: &str, message: &str) {
    let answer = json!({"error": {"code": code, "message": message}});
    bench
        .heygen
        .fault("POST /v3/videos", Fault::json(status, &answer));
}

#[test]
fn usage_error() {
    let bench = Bench::seeded();
    bench.submit(1).exits(0);
    assert_snapshot!(bench.shows("chekc"), @r#"
    $ tracker chekc
    --- stderr
    error: unrecognized subcommand 'chekc'

      tip: a similar subcommand exists: 'check'

    Usage: tracker [OPTIONS] <COMMAND>

    For more information, try '--help'.
    --- exit 2
    "#);
    assert_snapshot!(bench.shows("lst --json"), @r#"
    $ tracker lst --json
    --- stderr
    {"error":{"code":"usage_error","message":"unrecognized subcommand 'lst'; tip: some similar subcommands exist: 'stop', 'listen', 'list'","hint":"tracker --help lists the verbs, tracker help VERB what can follow one","request_id":null}}
    --- exit 2
    "#);
    assert_snapshot!(bench.shows("show --json"), @r#"
    $ tracker show --json
    --- stderr
    {"error":{"code":"usage_error","message":"the following required arguments were not provided: <ID>","hint":"tracker --help lists the verbs, tracker help VERB what can follow one","request_id":null}}
    --- exit 2
    "#);
    assert_snapshot!(bench.shows("list --limit many --json"), @r#"
    $ tracker list --limit many --json
    --- stderr
    {"error":{"code":"usage_error","message":"invalid value 'many' for '--limit <N>': invalid digit found in string","hint":"tracker --help lists the verbs, tracker help VERB what can follow one","request_id":null}}
    --- exit 2
    "#);
    assert_snapshot!(bench.shows("list --fields id,titel"), @r"
    $ tracker list --fields id,titel
    --- stderr
    error: --fields: unknown field `titel`; the fields are: id, video_id, status, finished, stalled, title, tags, submitted_at, created_at, completed_at, last_checked_at, duration, output_language, folder_id, failure_code, failure_message, video_url, video_page_url, path, output_dir, files, last_error, retry_of, kind, session_id, progress, data, script, avatar_id, voice_id, captioned_video_url, subtitle_url, thumbnail_url, gif_url, urls_at, audio_url, vtt_url, template_id, candidates
    --- exit 2
    ");
    assert_snapshot!(bench.shows("list --since soon --json"), @r#"
    $ tracker list --since soon --json
    --- stderr
    {"error":{"code":"usage_error","message":"--since: `soon` is not a time: use 2026-11-23, 2026-11-23T10:00 (local time), TIME, today, yesterday, or an age such as 30m, 12h, 7d or 2w","hint":null,"request_id":null}}
    --- exit 2
    "#);
    assert_snapshot!(bench.shows("list --csv --json"), @r#"
    $ tracker list --csv --json
    --- stderr
    {"error":{"code":"usage_error","message":"--csv and --wide cannot be used with --json","hint":null,"request_id":null}}
    --- exit 2
    "#);
    assert_snapshot!(bench.shows("retry 1"), @r#"
    $ tracker retry 1
    --- stderr
    error: 1 is not finished
    hint: tracker check 1 carries on with it
    --- exit 2
    "#);
    assert_snapshot!(bench.shows("forget 1 --json"), @r#"
    $ tracker forget 1 --json
    --- stderr
    {"error":{"code":"usage_error","message":"not dropped: 1 is still rendering","hint":"--force drops them all the same; HeyGen still charges for what it renders","request_id":null}}
    --- exit 2
    "#);
}

#[test]
fn invalid_body() {
    let bench = Bench::seeded();
    bench.file("bad.jsonl", format!("{BODY}\n{{\"type\":\"avatar\""));
    assert_snapshot!(bench.shows("submit bad.jsonl"), @r#"
    $ tracker submit bad.jsonl
    --- stderr
    error: bad.jsonl: is not JSON: EOF while parsing an object at line 2 column 16
    hint: nothing was recorded or sent; fix it and run it again
    --- exit 2
    "#);
    assert_snapshot!(bench.shows("submit bad.jsonl --json"), @r#"
    $ tracker submit bad.jsonl --json
    --- stderr
    {"error":{"code":"invalid_body","message":"bad.jsonl: is not JSON: EOF while parsing an object at line 2 column 16","hint":"nothing was recorded or sent; fix it and run it again","request_id":null}}
    --- exit 2
    "#);
    assert!(!bench.db_path().exists(), "nothing is recorded");
}

#[test]
fn not_found() {
    let bench = Bench::seeded();
    bench.submit(1).exits(0);
    assert_snapshot!(bench.shows("show 7"), @r#"
    $ tracker show 7
    --- stderr
    error: no video "7" here
    hint: tracker list shows what is tracked; tracker add ID tracks a video made elsewhere
    --- exit 1
    "#);
    assert_snapshot!(bench.shows("check nowhere --json"), @r#"
    $ tracker check nowhere --json
    --- stderr
    {"error":{"code":"not_found","message":"no video \"nowhere\" here","hint":"tracker list shows what is tracked; tracker add ID tracks a video made elsewhere","request_id":null}}
    --- exit 1
    "#);
}

#[test]
fn ambiguous_id() {
    let bench = Bench::seeded();
    bench.tracker("add abcd1 abcd2 --force").exits(0);
    assert_snapshot!(bench.shows("show abcd"), @r#"
    $ tracker show abcd
    --- stderr
    error: "abcd" could be any of 1 (abcd1), 2 (abcd2)
    hint: use the local number
    --- exit 1
    "#);
    assert_snapshot!(bench.shows("show abcd --json"), @r#"
    $ tracker show abcd --json
    --- stderr
    {"error":{"code":"ambiguous_id","message":"\"abcd\" could be any of 1 (abcd1), 2 (abcd2)","hint":"use the local number","request_id":null}}
    --- exit 1
    "#);
}

#[test]
fn no_database() {
    let bench = Bench::seeded();
    assert_snapshot!(bench.shows("list"), @r#"
    $ tracker list
    --- stderr
    no videos yet (DIR/tracker.db)
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("check"), @r#"
    $ tracker check
    --- stderr
    error: there is no database at DIR/tracker.db
    hint: tracker submit or tracker add creates one; cron may see another environment: give --db PATH or TRACKER_DB
    --- exit 1
    "#);
    assert_snapshot!(bench.shows("check --json"), @r#"
    $ tracker check --json
    --- stderr
    {"error":{"code":"no_database","message":"there is no database at DIR/tracker.db","hint":"tracker submit or tracker add creates one; cron may see another environment: give --db PATH or TRACKER_DB","request_id":null}}
    --- exit 1
    "#);
    assert_snapshot!(bench.shows("show 1"), @r#"
    $ tracker show 1
    --- stderr
    error: there is no database at DIR/tracker.db
    hint: tracker submit or tracker add creates one; cron may see another environment: give --db PATH or TRACKER_DB
    --- exit 1
    "#);
}

#[test]
fn auth_error() {
    let bench = Bench::seeded();
    bench.file("body.json", BODY);
    // Empty is not set.
    let without_key = |arguments| shows_with_key(&bench, "", arguments);
    assert_snapshot!(without_key("submit body.json"), @r#"
    $ tracker submit body.json
    --- stderr
    error: no HeyGen API key found
    hint: set HEYGEN_API_KEY, or put the key in a file of mode 0600 and name it in HEYGEN_API_KEY_FILE; cron does not see your shell's variables
    --- exit 3
    "#);
    assert!(!bench.db_path().exists(), "nothing is recorded");
    assert_snapshot!(without_key("submit body.json --json"), @r#"
    $ tracker submit body.json --json
    --- stderr
    {"error":{"code":"auth_error","message":"no HeyGen API key found","hint":"set HEYGEN_API_KEY, or put the key in a file of mode 0600 and name it in HEYGEN_API_KEY_FILE; cron does not see your shell's variables","request_id":null}}
    --- exit 3
    "#);
    let refused = |arguments| shows_with_key(&bench, "revoked", arguments);
    assert_snapshot!(refused("submit body.json"), @r#"
    $ tracker submit body.json
    --- stdout
    1		unsent
    --- stderr
    error: The API key is missing or wrong.
    hint: check the key: tracker doctor shows which one is used
    warning: it is recorded but not sent yet; do not submit again: check sends it
    --- exit 3
    "#);
    assert_eq!(bench.status(1), "unsent");
    assert_snapshot!(refused("check --json"), @r#"
    $ tracker check --json
    --- stdout
    {"error":{"code":"auth_error","hint":"check the key: tracker doctor shows which one is used","message":"The API key is missing or wrong.","request_id":"sandbox-2"},"id":null,"type":"error"}
    {"type":"summary","sent":0,"polled":0,"changed":0,"saved":0,"failed":0,"errors":1,"unfinished":1,"requests":1,"next_check_seconds":60}
    --- exit 3
    "#);
}

#[test]
fn a_refused_key_ends_a_submission_with_an_error_for_programs_too() {
    let bench = Bench::seeded();
    bench.file("body.json", BODY);
    let shown = shows_with_key(&bench, "revoked", "submit body.json --json");
    let mut lines = shown.lines();
    let error = lines.find_map(|line| line.strip_prefix(r#"{"error":"#));
    let error = error.expect("an error");
    assert!(error.starts_with(r#"{"code":"auth_error""#), "{error}");
    assert!(shown.contains("--- exit 3"), "{shown}");
    assert_eq!(bench.status(1), "unsent");
}

#[test]
fn waiting_with_a_refused_key_ends_with_one_error_unless_the_key_works_in_the_end() {
    const WAIT: &str = "submit body.json --json --wait --interval 100ms --timeout";
    let bench = Bench::seeded();
    bench.file("body.json", BODY);
    let shown = shows_with_key(&bench, "revoked", &format!("{WAIT} 15s"));
    assert_eq!(shown.matches("{\"error\":").count(), 1, "{shown}");
    assert!(shown.contains("--- exit 3"), "{shown}");

    // Many rounds, said once.
    let wait = format!("{} 15s", WAIT.replace(" --json", ""));
    let shown = shows_with_key(&bench, "revoked", &wait);
    assert_eq!(shown.matches("error: ").count(), 1, "{shown}");
    assert!(shown.contains("--- exit 3"), "{shown}");

    let bench = Bench::with(Options {
        render: Render::After(Duration::ZERO),
        ..Options::default()
    });
    bench.file("body.json", BODY);
    bench.heygen.fault("POST /v3/videos", Fault::status(401));
    let run = bench.tracker(&format!("{WAIT} 60s")).exits(0);
    assert!(!run.stderr.contains("error"), "{}", run.screen());
    assert_eq!(bench.status(1), "completed");
}

#[test]
fn other_key() {
    let bench = Bench::with(Options {
        render: Render::Manual,
        seed: Some(1),
        other_keys: vec!["of-another-account".to_owned()],
        ..Options::default()
    });
    bench.submit(1).exits(0);
    let other = |arguments| shows_with_key(&bench, "of-another-account", arguments);
    assert_snapshot!(other("check"), @r#"
    $ tracker check
    --- stderr
    error: 1 video belongs to another account than this key's and cannot be seen with it
    hint: one database per account: give the right one with --db, or the right key with HEYGEN_API_KEY_FILE
    --- exit 1
    "#);
    assert_snapshot!(other("check --json"), @r#"
    $ tracker check --json
    --- stdout
    {"error":{"code":"other_key","hint":"one database per account: give the right one with --db, or the right key with HEYGEN_API_KEY_FILE","message":"1 video belongs to another account than this key's and cannot be seen with it","request_id":null},"id":null,"type":"error"}
    {"type":"summary","sent":0,"polled":0,"changed":0,"saved":0,"failed":0,"errors":1,"unfinished":1,"requests":1,"next_check_seconds":60}
    --- exit 1
    "#);
}

#[test]
fn database_newer() {
    let bench = Bench::seeded();
    bench.submit(1).exits(0);
    bench
        .db()
        .execute_batch("PRAGMA user_version = 4711")
        .unwrap();
    assert_snapshot!(bench.shows("list"), @r#"
    $ tracker list
    --- stderr
    error: DIR/tracker.db has schema 4711, this program knows up to 5
    hint: install the newer tracker; the file was not touched
    --- exit 1
    "#);
    assert_snapshot!(bench.shows("check --json"), @r#"
    $ tracker check --json
    --- stderr
    {"error":{"code":"database_newer","message":"DIR/tracker.db has schema 4711, this program knows up to 5","hint":"install the newer tracker; the file was not touched","request_id":null}}
    --- exit 1
    "#);
}

#[test]
fn database_error() {
    let bench = Bench::seeded();
    bench.file(
        "tracker.db",
        "this is no database, however long it is looked at\n".repeat(99),
    );
    assert_snapshot!(bench.shows("list"), @r#"
    $ tracker list
    --- stderr
    error: the database DIR/tracker.db is damaged: file is not a database
    hint: nothing is repaired or replaced; keep a copy, then rescue what is readable: tracker --db DIR/tracker.db doctor --rescue DIR/tracker.db.rescued
    --- exit 1
    "#);
    assert_snapshot!(bench.shows("check --json"), @r#"
    $ tracker check --json
    --- stderr
    {"error":{"code":"database_error","message":"the database DIR/tracker.db is damaged: file is not a database","hint":"nothing is repaired or replaced; keep a copy, then rescue what is readable: tracker --db DIR/tracker.db doctor --rescue DIR/tracker.db.rescued","request_id":null}}
    --- exit 1
    "#);
}

#[test]
fn file_exists() {
    let bench = Bench::seeded();
    bench.submit(1).exits(0);
    let id = bench.video_id(1);
    bench.heygen.finish(&id);
    std::fs::create_dir(bench.path("output")).unwrap();
    bench.file(&format!("output/{id}.mp4"), "somebody's");
    assert_snapshot!(bench.shows("check"), @r#"
    $ tracker check
    --- stderr
    error: 1 completed "Video 1": file_exists: DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4 exists with other content (tracker show 1)
    --- exit 1
    "#);
    assert_snapshot!(bench.shows("check 1 --json"), @r#"
    $ tracker check 1 --json
    --- stdout
    {"error":{"code":"file_exists","hint":"tracker show 1","message":"DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4 exists with other content","request_id":null},"id":1,"type":"error"}
    {"type":"summary","sent":0,"polled":1,"changed":0,"saved":0,"failed":0,"errors":1,"unfinished":1,"requests":1,"next_check_seconds":60}
    --- exit 1
    "#);
}

#[test]
fn network_error() {
    let bench = Bench::seeded();
    bench.file("body.json", BODY);
    bench.heygen.set_reachable(Host::Api, false).unwrap();
    assert_snapshot!(bench.shows("submit body.json"), @r#"
    $ tracker submit body.json
    --- stdout
    1		unsent
    --- stderr
    error: cannot connect (API): Connection refused (os error 111)
    hint: check the connection; the next check carries on
    warning: it is recorded but not sent yet; do not submit again: check sends it
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("check"), @r#"
    $ tracker check
    --- exit 1
    "#);
    assert_snapshot!(bench.shows("check --json"), @r#"
    $ tracker check --json
    --- stdout
    {"error":{"code":"network_error","hint":"check the connection; the next check carries on","message":"cannot connect (API): Connection refused (os error 111)","request_id":null},"id":null,"type":"error"}
    {"type":"summary","sent":0,"polled":0,"changed":0,"saved":0,"failed":0,"errors":1,"unfinished":1,"requests":3,"next_check_seconds":60}
    --- exit 1
    "#);
}

#[test]
fn refused_by_heygen() {
    let bench = Bench::seeded();
    bench.file("body.json", BODY);
    refuse(&bench, 402, "insufficient_credit", "Insufficient credits");
    assert_snapshot!(bench.shows("submit body.json"), @r#"
    $ tracker submit body.json
    --- stdout
    1		unsent
    --- stderr
    error: Insufficient credits
    hint: 100 usd (wallet) left; add credit at app.heygen.com; the next check sends what waits
    warning: it is recorded but not sent yet; do not submit again: check sends it
    --- exit 0
    "#);
    refuse(&bench, 400, "invalid_parameter", "no such avatar");
    assert_snapshot!(bench.shows("submit body.json --json"), @r#"
    $ tracker submit body.json --json
    --- stdout
    {"id":2,"video_id":null,"status":"rejected","finished":true,"stalled":false,"title":"Hello","tags":[],"submitted_at":"TIME","created_at":null,"completed_at":null,"last_checked_at":null,"duration":null,"output_language":null,"folder_id":null,"failure_code":"invalid_parameter","failure_message":"no such avatar","video_url":null,"video_page_url":null,"path":null,"output_dir":"DIR/output","files":[{"asset":"video","state":"wanted","path":null,"bytes":null,"sha256":null,"saved_at":null}],"last_error":null,"retry_of":null,"kind":"video","session_id":null,"progress":null,"data":null}
    --- stderr
    warning: 2 has the same body as 1 (unsent, submitted just now); --if-new skips such a body
    error: 2 rejected: invalid_parameter: no such avatar
    hint: fix what it says: tracker retry 2 with other fields, or submit another body
    --- exit 1
    "#);
}

/// What HeyGen's support asks for, wherever a failure is shown: of a row, and of the whole run.
#[test]
fn a_failure_names_heygen_s_request() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.tracker("submit body.json --queue").exits(0);
    let request_ids = |bench: &Bench| -> Vec<serde_json::Value> {
        let lines = bench.tracker("check --json").exits(1).json();
        let errors = lines.iter().filter(|line| line["type"] == "error");
        errors
            .map(|line| line["error"]["request_id"].clone())
            .collect()
    };
    refuse(&bench, 402, "insufficient_credit", "Insufficient credits");
    assert_eq!(request_ids(&bench), ["sandbox-1"]);
    bench
        .heygen
        .fault("POST /v3/videos", Fault::status(500).times(2));
    let ids = request_ids(&bench);
    let last = ids[0].as_str().expect("a request id");
    assert!(ids.len() == 1 && last.starts_with("sandbox-"), "{ids:?}");
    let ticket = bench.tracker("show 1 --json").exits(0).json();
    assert_eq!(ticket[0]["last_error"]["request_id"], last);
    let shown = bench.tracker("show 1").exits(0).stdout;
    assert!(shown.contains(&format!("request id   {last}\n")), "{shown}");
}
