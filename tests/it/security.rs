//! X1 to X6: where the key and the signatures go, who may read the files, and servers that mean harm.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::heygen::{Fault, Options, Port, Recorded, Render};
use rusqlite::types::Value;
use serde_json::json;

use crate::support::{
    BODY, Bench, Run, TRACKER, end, eventually, files_below, machine_can, run, start,
};

const KEY: &str = "hg-S3CRET-key-0123456789";

fn bench() -> Bench {
    bench_with_files_of(64 * 1024)
}

fn bench_with_files_of(file_size: u64) -> Bench {
    Bench::with(Options {
        render: Render::Manual,
        key: KEY.to_owned(),
        file_size,
        ..Options::default()
    })
}

// --- X1, X2 -----------------------------------------------------------------------------------------------------

#[track_caller]
fn assert_no_credentials(request: &Recorded) {
    for name in [
        "X-Api-Key",
        "Authorization",
        "Cookie",
        "Proxy-Authorization",
    ] {
        assert_eq!(
            request.header(name),
            None,
            "{} {}",
            request.method,
            request.path
        );
    }
    assert!(!format!("{request:?}").contains(KEY), "{request:?}");
}

#[test]
fn x01_the_file_host_and_whoever_it_redirects_to_never_see_the_key() {
    let bench = bench();
    bench.file("body.json", BODY);
    bench
        .tracker("submit body.json --assets video,captioned,subtitle,thumbnail,gif")
        .exits(0);
    bench.tracker("submit body.json").exits(0);
    let (one, two) = (bench.video_id(1), bench.video_id(2));
    bench.heygen.finish(&one);
    bench.heygen.finish(&two);
    // Refused once, so that a fresh URL is fetched; and sent back to the API's own host.
    bench
        .heygen
        .fault(&format!("GET /files/{one}/video"), Fault::status(403));
    let trap = format!("{}/v3/videos/trap?Signature=x", bench.heygen.api_base());
    bench.heygen.fault(
        &format!("GET /files/{two}/video"),
        Fault::redirect(302, &trap).forever(),
    );
    bench.tracker("check --retries 0");
    let files = bench.heygen.file_requests();
    assert!(files.len() >= 7, "{files:?}");
    files.iter().for_each(assert_no_credentials);
    let redirected: Vec<Recorded> = bench
        .heygen
        .api_requests()
        .into_iter()
        .filter(|r| r.path.contains("trap"))
        .collect();
    assert!(!redirected.is_empty(), "the redirect was followed");
    redirected.iter().for_each(assert_no_credentials);
    assert!(
        bench
            .heygen
            .api_requests()
            .iter()
            .any(|request| request.header("X-Api-Key") == Some(KEY))
    );
    bench.assert_invariants();
}

#[test]
fn x01_a_redirecting_api_does_not_get_the_key_carried_along() {
    let bench = bench();
    bench.submit(1).exits(0);
    let target = format!("{}/elsewhere", bench.heygen.files_base());
    for route in ["POST /v3/videos", "GET /v3/videos/{id}"] {
        for status in [301, 302, 303, 307, 308] {
            bench.heygen.fault(route, Fault::redirect(status, &target));
            let run = if route.starts_with("POST") {
                bench.tracker("submit bodies.jsonl")
            } else {
                bench.tracker("check 1")
            };
            assert!(!run.screen().contains("panicked"), "{}", run.screen());
        }
    }
    assert_eq!(
        bench.heygen.file_requests().len(),
        0,
        "no redirect of the API is followed"
    );
    bench.heygen.allow_unused();
    bench.assert_invariants();
}

#[test]
fn x02_a_base_url_without_tls_is_refused_before_anything_is_recorded_or_sent() {
    let bench = bench();
    bench.submit(1).exits(0);
    let requests = bench.heygen.requests().len();
    // This address reaches the stand-in, and yet is none that surely stays on this machine.
    let reaching = bench.heygen.api_base().replace("127.0.0.1", "0.0.0.0");
    for base in [
        reaching.as_str(),
        "http://api.heygen.com",
        "http://127.0.0.1.example.com",
        "ftp://127.0.0.1",
        "https://user:pw@api.heygen.com",
    ] {
        for verb in [
            "submit bodies.jsonl",
            "check",
            "check 1",
            "submit bodies.jsonl --wait",
        ] {
            let refused = run(bench
                .command(verb.split_whitespace())
                .env("HEYGEN_API_BASE", base))
            .exits(2);
            assert!(
                refused.stderr.starts_with("error: HEYGEN_API_BASE: "),
                "{base} {verb}: {}",
                refused.screen()
            );
            assert!(refused.stderr.contains("hint: "), "{}", refused.screen());
            assert!(
                !refused.screen().contains("user:pw"),
                "{}",
                refused.screen()
            );
        }
    }
    assert_eq!(bench.heygen.requests().len(), requests);
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "1");
    bench.assert_invariants();
}

#[test]
fn x02_a_file_url_without_tls_is_refused_before_anything_is_sent() {
    let bench = bench();
    bench.submit(1).exits(0);
    let id = bench.video_id(1);
    bench.heygen.finish(&id);
    let reaching = bench.heygen.files_base().replace("127.0.0.1", "0.0.0.0");
    for url in [
        format!("{reaching}/files/{id}/video"),
        "http://files.heygen.ai/x".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1/x".to_owned(),
        "x".to_owned(),
    ] {
        bench.heygen.fault(
            "GET /v3/videos/{id}",
            Fault::patch_detail(json!({ "video_url": url })).forever(),
        );
        let refused = bench.tracker("check 1 --retries 0").exits(1);
        assert!(
            refused.stderr.contains("error: "),
            "{url}: {}",
            refused.screen()
        );
        assert_eq!(bench.heygen.file_requests().len(), 0, "{url}");
        assert_eq!(files_below(&bench.path("output")).len(), 0, "{url}");
        bench.heygen.clear_faults();
    }
    bench.tracker("check").exits(0);
    bench.assert_invariants();
}

// --- X3 ---------------------------------------------------------------------------------------------------------

/// What may hold signed URLs.
const URL_COLUMNS: [&str; 6] = [
    "video_url",
    "captioned_video_url",
    "subtitle_url",
    "thumbnail_url",
    "gif_url",
    "video_page_url",
];

#[track_caller]
fn assert_no_secrets(text: &str, what: &str) {
    for secret in [KEY, "Signature=", "s1gnature"] {
        assert!(!text.contains(secret), "{what}: {secret} in {text}");
    }
}

/// Every value outside the URL columns, and no key in any byte of any file.
fn assert_clean_database(bench: &Bench) {
    let db = bench.db();
    for table in ["videos", "files", "events", "troubles", "pauses"] {
        let mut statement = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let names: Vec<String> = statement
            .column_names()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for (index, name) in names.iter().enumerate() {
                if let Value::Text(text) = row.get(index).unwrap()
                    && !URL_COLUMNS.contains(&name.as_str())
                {
                    assert_no_secrets(&text, &format!("{table}.{name}"));
                }
            }
        }
    }
    for (path, bytes) in bench.everything() {
        let found = bytes
            .windows(KEY.len())
            .any(|window| window == KEY.as_bytes());
        assert!(!found, "the key is in {}", path.display());
    }
}

#[test]
fn x03_key_and_signatures_are_in_no_output_and_nowhere_in_the_database() {
    let bench = bench();
    let mut runs: Vec<(String, Run)> = Vec::new();
    let mut say = |verb: &str| {
        let run = bench.tracker(verb);
        assert!(!run.stderr.contains("panicked"), "{}", run.screen());
        runs.push((verb.to_owned(), run));
    };
    bench.submit(6).exits(0);
    let ids: Vec<String> = (1..=6).map(|row| bench.video_id(row)).collect();
    ids.iter().for_each(|id| bench.heygen.finish(id));
    let signed = format!(
        "https://files.heygen.ai/x.mp4?Expires=1&Signature=s1gnature&Key-Pair-Id=k and your key {KEY} is bad"
    );
    let envelope =
        |code: &str| json!({"error": {"code": code, "message": signed, "doc_url": signed}});
    // A server that repeats what it was sent, everywhere it can.
    for status in [400, 401, 402, 403, 404, 422, 429, 500, 503] {
        bench.heygen.fault(
            "POST /v3/videos",
            Fault::json(status, &envelope("oops")).header("X-Request-Id", KEY),
        );
        say("submit bodies.jsonl --json -v");
        bench.heygen.clear_faults();
        bench.heygen.fault(
            "GET /v3/videos/{id}",
            Fault::json(status, &envelope(KEY)).forever(),
        );
        bench.heygen.fault(
            "GET /v3/videos/statuses",
            Fault::json(status, &envelope(&signed)).forever(),
        );
        say("check -vv");
        say("check --json 1");
        say("doctor");
        bench.heygen.clear_faults();
    }
    for fault in [
        Fault::body(200, "text/html", signed.clone()),
        Fault::json(200, &json!({"data": {"id": signed, "status": "pending"}})),
        Fault::redirect(302, "https://h/x?Signature=s1gnature"),
    ] {
        bench
            .heygen
            .fault("GET /v3/videos/{id}", fault.clone().forever());
        bench.heygen.fault("POST /v3/videos", fault);
        say("check 1 -vv");
        say("submit bodies.jsonl");
        bench.heygen.clear_faults();
    }
    // Files that cannot be had: the signed URL is what failed.
    let to_nowhere = format!("{}/files/x?Signature=s1gnature", bench.heygen.files_base());
    for fault in [
        Fault::status(403),
        Fault::status(500),
        Fault::html(200),
        Fault::truncate_body(10),
        Fault::cut_before_answer(),
        Fault::redirect(302, &to_nowhere),
        Fault::redirect(302, "http://example.com/?Signature=s1gnature"),
    ] {
        bench.heygen.fault("GET /files", fault.forever());
        say("check -vv --retries 0");
        say("check 2 --json --retries 0");
        bench.heygen.clear_faults();
    }
    for url in [
        "http://example.com/f?Signature=s1gnature",
        "https://127.0.0.1:1/f?Signature=s1gnature",
    ] {
        bench.heygen.fault(
            "GET /v3/videos/{id}",
            Fault::patch_detail(json!({"video_url": url})).forever(),
        );
        say("check 3 -vv --retries 0");
        bench.heygen.clear_faults();
    }
    say("list");
    say("list --stats");
    say("list --json");
    say("doctor --json");
    say("show 99 --json");
    for (verb, run) in &runs {
        let urls_allowed = verb.starts_with("list --json");
        if urls_allowed {
            assert!(!run.screen().contains(KEY), "{verb}: {}", run.screen());
        } else {
            assert_no_secrets(&run.screen(), verb);
        }
    }
    assert_clean_database(&bench);
    bench.heygen.allow_unused();
    bench.assert_invariants();
}

/// A server that echoes the key wherever text comes from it: nothing of that is stored or shown.
#[test]
fn x07_a_key_that_heygen_echoes_is_masked() {
    let bench = bench();
    bench.submit(2).exits(0);
    let told = format!("a {KEY} b");
    let patch = json!({
        "title": told, "folder_id": told, "output_language": told, "status": told,
        "video_page_url": format!("https://app.heygen.com/{KEY}"),
        "gif_url": format!("https://files.heygen.ai/{KEY}.gif"),
    });
    bench
        .heygen
        .fault("GET /v3/videos/{id}", Fault::patch_detail(patch).forever());
    let bulk = json!({"data": [{"video_id": bench.video_id(1), "status": KEY},
                               {"video_id": bench.video_id(2), "status": KEY}]});
    bench
        .heygen
        .fault("GET /v3/videos/statuses", Fault::json(200, &bulk).forever());
    let mut screens = Vec::new();
    for verb in [
        "check 1 -vv",
        "check --json",
        "list --json",
        "show 1 --json",
        "show 1",
        "list",
    ] {
        screens.push(bench.tracker(verb).screen());
    }
    assert!(screens[3].contains("***"), "{}", screens[3]);
    // An id with the key in it is none.
    let made = json!({"data": {"video_id": format!("v-{KEY}"), "status": "waiting"}});
    bench
        .heygen
        .fault("POST /v3/videos", Fault::json(200, &made).forever());
    screens.push(bench.tracker("submit bodies.jsonl -v").screen());
    for screen in screens {
        assert!(!screen.contains(KEY), "{screen}");
    }
    assert_clean_database(&bench);
    bench.heygen.allow_unused();
}

/// What HeyGen says of a wrong key stays readable, although the key is one of its words.
#[test]
fn x07_a_key_that_is_a_word_does_not_eat_the_message() {
    let bench = bench();
    bench.submit(1).exits(0);
    let message = "The API key is missing or wrong.";
    let refusal = json!({"error": {"code": "unauthorized", "message": message}});
    bench
        .heygen
        .fault("GET /v3/videos/{id}", Fault::json(401, &refusal));
    let mut command = bench.command(["check", "1"]);
    let run = run(command.env("HEYGEN_API_KEY", "wrong")).exits(3);
    assert!(run.stderr.contains(message), "{}", run.screen());
}

#[test]
fn x03_show_prints_signatures_in_its_url_fields_only() {
    let bench = bench();
    bench.submit(1).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    bench.tracker("check").exits(0);
    let shown = bench.tracker("show 1 --json").exits(0).json().remove(0);
    for (name, value) in shown.as_object().unwrap() {
        if !name.ends_with("_url") {
            assert_no_secrets(&value.to_string(), name);
        }
    }
    assert!(shown["video_url"].as_str().unwrap().contains("Signature="));
    assert_clean_database(&bench);
}

#[test]
fn x03_the_key_is_never_an_argument() {
    let bench = bench();
    let refused = bench.tracker_with(&["check", "--api-key", KEY]).exits(2);
    assert!(!refused.screen().contains(KEY), "{}", refused.screen());
    let bad = format!("{KEY} {KEY}");
    let refused = run(bench
        .command(["submit", "--avatar-id", "a", "--script", "x"])
        .env("HEYGEN_API_KEY", &bad))
    .exits(3);
    assert!(!refused.screen().contains(KEY), "{}", refused.screen());
    let file = bench.file("key", &bad);
    let refused = run(bench
        .command(["submit", "--avatar-id", "a", "--script", "x"])
        .env_remove("HEYGEN_API_KEY")
        .env("HEYGEN_API_KEY_FILE", file))
    .exits(3);
    assert!(!refused.screen().contains(KEY), "{}", refused.screen());
}

// --- X4 ---------------------------------------------------------------------------------------------------------

#[test]
fn x04_whatever_the_umask_only_the_owner_reads_what_is_ours() {
    for umask in ["000", "022", "077"] {
        let bench = bench_with_files_of(3_000_000);
        bench.file("body.json", BODY);
        let place = |verb: &str| format!("umask {umask}; exec tracker --db new/tracker.db {verb}");
        bench.shell(&place("submit body.json")).exits(0);
        let id = &bench.heygen.videos()[0];
        bench.heygen.finish(id);
        bench
            .heygen
            .fault("GET /files", Fault::held_body_after(2_000_000));
        let mut check = Command::new("bash");
        bench.prepare(check.args([
            "-c",
            &place("check").replace("tracker --db", &format!("{TRACKER} --db")),
        ]));
        let check = start(&mut check);
        let part = || files_below(&bench.path("output")).pop();
        eventually("a part file", || part().is_some());
        let mut ours = files_below(&bench.path("new"));
        assert_eq!(
            ours.len(),
            4,
            "database, log, index of the log, lock: {ours:?}"
        );
        ours.extend(part());
        for path in ours {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "umask {umask}: {}", path.display());
        }
        let directory = fs::metadata(bench.path("new"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(directory, 0o700, "umask {umask}");
        bench.heygen.release();
        end(check).exits(0);
    }
}

// --- X5 ---------------------------------------------------------------------------------------------------------

/// Runs the program and measures its largest resident size in KiB.
fn measured(bench: &Bench, verb: &str) -> (Run, u64) {
    let mut time = Command::new("/usr/bin/time");
    bench.prepare(
        time.args(["-q", "-f", "%M", "-o", "peak", TRACKER])
            .args(verb.split_whitespace()),
    );
    let run = run(&mut time);
    let peak = fs::read_to_string(bench.path("peak")).unwrap();
    (run, peak.trim().parse().unwrap())
}

/// The API answers of 10 MiB the program accepts, parsed, and then some; the attacks below are 1 GiB.
const ENOUGH: u64 = 200 * 1024;

#[test]
fn x05_answers_without_end_are_cut_off_in_bounded_memory() {
    if !machine_can(
        "measure memory",
        Command::new("/usr/bin/time").args(["-f", "%M", "true"]),
    ) {
        return;
    }
    type Attack = fn() -> Fault;
    let attacks: [(&str, Attack); 5] = [
        ("header bomb", Fault::endless_headers),
        ("endless JSON", || Fault::huge_json(1 << 30)),
        ("endless error", || {
            Fault::huge_json(1 << 30).and(Fault::relabel(500))
        }),
        ("deep JSON", || Fault::deep_json(1_000_000)),
        ("one long string", || {
            Fault::body(
                200,
                "application/json",
                format!(r#"{{"data":{{"id":"{}"#, "x".repeat(20 << 20)),
            )
        }),
    ];
    for (attack, fault) in attacks {
        let bench = bench();
        bench.submit(3).exits(0);
        bench.heygen.fault("GET /v3/videos/{id}", fault().forever());
        bench
            .heygen
            .fault("GET /v3/videos/statuses", fault().forever());
        bench.heygen.fault("POST /v3/videos", fault().forever());
        for (verb, code) in [
            ("check", 1),
            ("check 1", 1),
            ("submit bodies.jsonl", 0),
            ("doctor", 0),
        ] {
            let (run, peak) = measured(&bench, verb);
            assert_eq!(run.code, Some(code), "{attack} {verb}: {}", run.screen());
            assert!(
                !run.stderr.contains("panicked"),
                "{attack}: {}",
                run.screen()
            );
            assert!(
                run.screen().len() < 10_000,
                "{attack}: {} bytes said",
                run.screen().len()
            );
            assert!(peak < ENOUGH, "{attack} {verb}: {peak} KiB");
        }
        // What is kept of it is bounded, too.
        let size = fs::metadata(bench.db_path()).unwrap().len();
        assert!(size < 1 << 20, "{attack}: {size}");
        bench.heygen.clear_faults();
        bench.advance(Duration::from_secs(3700));
        bench.tracker("check");
        bench.tracker("check").exits(0);
        bench.assert_invariants();
    }
}

#[test]
fn x05_a_file_without_end_and_headers_without_end_are_errors() {
    let bench = bench();
    bench.submit(1).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    bench
        .heygen
        .fault("GET /files", Fault::endless_headers().forever());
    let check = bench.tracker("check --retries 0").exits(1);
    assert!(check.stderr.contains("error: "), "{}", check.screen());
    bench.heygen.clear_faults();
    bench.tracker("check").exits(0);
    bench.assert_invariants();
}

// --- X6 ---------------------------------------------------------------------------------------------------------

#[test]
fn x06_a_self_signed_certificate_is_refused_and_gets_neither_key_nor_body() {
    if !machine_can("serve TLS", Command::new("openssl").arg("version")) {
        return;
    }
    let bench = bench();
    bench.shell("openssl req -x509 -newkey rsa:2048 -nodes -keyout tls.key -out tls.crt -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1").exits(0);
    let log = bench.file("tls.log", "");
    let mut server = Command::new("openssl");
    bench.prepare(server.args([
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-cert",
        "tls.crt",
        "-key",
        "tls.key",
    ]));
    let mut server = server
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(&log).unwrap();
    eventually("openssl listens", || said().contains("ACCEPT 127.0.0.1:"));
    let port = said()
        .split_once("ACCEPT 127.0.0.1:")
        .unwrap()
        .1
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();
    let base = format!("https://localhost:{port}");
    let secure = |verb: &str| {
        run(bench
            .command(verb.split_whitespace())
            .env("HEYGEN_API_BASE", &base))
    };

    bench.file("body.json", BODY);
    let submit = secure("submit body.json").exits(0);
    assert!(submit.stdout.contains("unsent"), "{}", submit.screen());
    assert!(submit.stderr.contains("certificate"), "{}", submit.screen());
    secure("check").exits(1);
    secure("doctor").exits(1);
    for switch in ["--insecure", "-k", "--no-verify"] {
        secure(&format!("check {switch}")).exits(2);
    }
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(
        !said().contains(KEY) && !said().contains("avatar_id"),
        "{}",
        said()
    );
    assert_eq!(bench.status(1), "unsent");
    // The same row under a certificate-less loopback server: nothing bound it to the other one.
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.billed().len(), 1);
    assert_clean_database(&bench);
    bench.assert_invariants();
}

/// A key file that others can read is a warning, and no more.
#[test]
fn x04_a_key_file_that_others_can_read_is_said_by_doctor() {
    use std::os::unix::fs::PermissionsExt;
    let bench = bench();
    bench.submit(1).exits(0);
    let key = bench.file("key", KEY);
    for (mode, warned) in [(0o600, false), (0o644, true)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = bench.command(["doctor"]);
        command
            .env_remove("HEYGEN_API_KEY")
            .env("HEYGEN_API_KEY_FILE", &key);
        let doctor = run(&mut command).exits(0);
        let said = doctor.screen().contains("can be read by other users");
        assert_eq!(said, warned, "{mode:o}: {}", doctor.screen());
    }
}

// ---- X8: proxies -----------------------------------------------------------------------------------------------

/// A HeyGen that is not on this machine, and a proxy that says so; runs `tracker check 1`.
fn by_proxy(bench: &Bench, variables: &[(&str, &str)]) -> Run {
    let mut command = bench.command(["check", "1"]);
    command.env("HEYGEN_API_BASE", "https://heygen.invalid");
    run(command.envs(variables.iter().copied()))
}

#[test]
fn x08_a_proxy_that_cannot_be_used_is_an_error_that_names_its_variable() {
    let bench = bench();
    bench.submit(1).exits(0);
    for value in ["ftp://user:s3cret@proxy.example:1", "http://", "not s3cret"] {
        for variable in ["HTTPS_PROXY", "all_proxy"] {
            let refused = by_proxy(&bench, &[(variable, value)]).exits(2);
            assert!(refused.stderr.contains(variable), "{}", refused.screen());
            assert!(!refused.stderr.contains("s3cret"), "{}", refused.screen());
        }
    }
}

#[test]
fn x08_a_proxy_that_refuses_is_named() {
    let bench = bench();
    bench.submit(1).exits(0);
    let nobody = Port::new().unwrap();
    let address = format!("127.0.0.1:{nobody}");
    let named = format!("{address} of HTTPS_PROXY");
    for scheme in ["http", "socks5h"] {
        let proxy = format!("{scheme}://user:s3cret@{address}");
        let refused = by_proxy(&bench, &[("HTTPS_PROXY", &proxy)]).exits(1);
        assert!(refused.stderr.contains(&named), "{}", refused.screen());
        assert!(!refused.stderr.contains("s3cret"), "{}", refused.screen());
        let direct = [
            ("HTTPS_PROXY", proxy.as_str()),
            ("NO_PROXY", " heygen.invalid"),
        ];
        let direct = by_proxy(&bench, &direct).exits(1);
        assert!(!direct.stderr.contains(&named), "{}", direct.screen());
    }
}

/// The name goes to the proxy, and to nobody else.
#[test]
fn x08_a_socks_proxy_is_spoken_to() {
    use std::io::{Read, Write};
    let bench = bench();
    bench.submit(1).exits(0);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("socks5h://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeting = [0; 2];
        stream.read_exact(&mut greeting).unwrap();
        let mut methods = vec![0; usize::from(greeting[1])];
        stream.read_exact(&mut methods).unwrap();
        stream.write_all(&[5, 0]).unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let mut name = vec![0; usize::from(head[4])];
        stream.read_exact(&mut name).unwrap();
        String::from_utf8(name).unwrap()
    });
    by_proxy(&bench, &[("ALL_PROXY", &proxy)]).exits(1);
    assert_eq!(asked.join().unwrap(), "heygen.invalid");
}
