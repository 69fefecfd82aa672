//! Names, overlapping and interrupted runs, missing assets and certificates: D14, D15, D17, D19, X6 of the fault list.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::heygen::{Fault, Options};
use heygen_tracker::video::Asset;
use serde_json::json;

use crate::rendered::{Rendered, mode};
use crate::support::{BODY, Bench, Run, files_below, run, skipped};
use crate::support::{end, eventually};

const MIB: u64 = 1024 * 1024;
const ALL: &str = "--assets video,captioned,subtitle,thumbnail,gif";
const LONG: Duration = Duration::from_secs(30);

fn only(assets: &[Asset]) -> Options {
    Options {
        assets: assets.iter().map(Asset::to_string).collect(),
        ..Options::default()
    }
}

fn wait(child: Child) -> Run {
    end(child)
}

fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    run(Command::new("kill").args([signal, &pid])).exits(0);
}

#[test]
fn every_asset_is_saved_under_its_own_name() {
    let row = Rendered::with(Options::default(), ALL);
    let check = row.check("--json").exits(0);
    let told = check.json();
    let saved = told.iter().filter(|line| line["type"] == "saved");
    let paths = saved.map(|line| line["path"].as_str().expect("a path"));
    let mut paths: Vec<&Path> = paths.map(Path::new).collect();
    paths.sort();
    assert_eq!(paths, files_below(&row.out()));
    assert_eq!(told.last().expect("a summary")["saved"], 5);
    row.is_saved();
    let ends = [".captioned.mp4", ".gif", ".jpg", ".mp4", ".srt"];
    assert_eq!(row.names(), ends.map(|end| format!("{}{end}", row.id)));
}

#[test]
fn one_failing_asset_does_not_stop_the_others() {
    let row = Rendered::with(Options::default(), ALL);
    row.fault(Fault::truncate_body(20_000));
    let check = row.check("--retries 0").exits(1);
    assert_eq!(
        check.stdout.matches("saved").count(),
        4,
        "{}",
        check.screen()
    );
    row.converges();
    assert_eq!(row.ranges(), ["", "bytes=20000-"]);
}

#[test]
fn d14_hostile_ids_stay_inside_the_directory() {
    let long = "x".repeat(300);
    let ids = [
        "../../etc/x",
        "/abs",
        "a/b",
        "a\0b",
        ".",
        "..",
        "...",
        "-rf",
        "trailing.",
        "a b?c#d&e=f",
        "%2e%2e",
        "\u{1b}[2J\u{202e}",
        &long,
    ];
    let bench = Bench::new();
    let create = "POST /v3/videos";
    for id in ids {
        let answer = json!({"data": {"video_id": id, "status": "waiting"}});
        bench.heygen.fault(create, Fault::json(200, &answer));
        bench.heygen.add_video(id, "completed");
    }
    bench.submit(ids.len()).exits(0);
    bench.tracker("check").exits(0);
    let saved = files_below(&bench.path("output"));
    assert_eq!(saved.len(), ids.len(), "{saved:?}");
    let outside = files_below(bench.dir.path());
    let known = ["bodies.jsonl", "output", "tracker.db", "tracker.db-lock"];
    assert_eq!(outside, known.map(|name| bench.path(name)));
    for path in &saved {
        let name = path.file_name().unwrap().to_str().expect("plain text");
        assert!(name.len() <= 255 && !name.starts_with(['.', '-']), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_graphic()), "{name}");
    }
    bench.assert_invariants();
    bench.tracker("check").exits(0).silent();
}

#[test]
fn d14_hostile_titles_make_legal_names() {
    let titles = [
        "../../etc/x",
        "a/b\\c:d",
        "\u{1b}[31m",
        "",
        ".",
        "x. ",
        "-rf",
    ];
    let long = "ü".repeat(3000);
    let bench = Bench::new();
    let titles = titles.into_iter().chain([long.as_str()]);
    let bodies = titles.map(|title| {
        let mut body: serde_json::Value = serde_json::from_str(BODY).unwrap();
        body["title"] = title.into();
        format!("{body}\n")
    });
    bench.file("bodies.jsonl", bodies.collect::<String>());
    let template = "{title}-{id}";
    bench
        .tracker_with(&["submit", "bodies.jsonl", "--name", template])
        .exits(0);
    (1..=8).for_each(|row| bench.heygen.finish(&bench.video_id(row)));
    bench.tracker("check").exits(0);
    let saved = files_below(&bench.path("output"));
    assert_eq!(saved.len(), 8, "{saved:?}");
    for path in &saved {
        let name = path.file_name().unwrap().to_str().expect("text");
        assert!(!name.starts_with(['.', '-']) && name.len() <= 200, "{name}");
        assert!(!name.contains(['\\', ':', '\u{1b}']), "{name}");
    }
    bench.assert_invariants();
}

#[test]
fn a_name_template_is_kept_per_row() {
    let row = Rendered::with(Options::default(), "--name {id}-{title}");
    row.converges();
    assert_eq!(row.names(), ["1-Hello.mp4"]);
    let bad = row
        .bench
        .tracker("submit body.json --name {title}")
        .exits(2);
    assert!(bad.stderr.contains("{video_id}"), "{}", bad.screen());
}

#[test]
fn modes_follow_the_umask_but_a_part_is_private() {
    for (umask, expected) in [("000", 0o666), ("027", 0o640), ("077", 0o600)] {
        let row = Rendered::new();
        row.fault(Fault::truncate_body(20_000));
        row.check_after(&format!("umask {umask}")).exits(0);
        assert_eq!(mode(&row.path()), expected, "umask {umask}");
    }
    let row = Rendered::new();
    row.fault(Fault::stall_body_after(20_000, LONG));
    let mut command = Command::new("sh");
    let script = format!("umask 000; exec {} check", crate::support::TRACKER);
    row.bench.prepare(command.args(["-c", &script]));
    let mut check = command.spawn().unwrap();
    eventually("a part", || row.names() == [".part"]);
    assert_eq!(mode(&row.part()), 0o600);
    check.kill().unwrap();
    check.wait().unwrap();
    row.converges();
}

#[test]
fn a_relative_directory_is_fixed_when_the_video_is_submitted() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let here = bench.path("here");
    fs::create_dir(&here).unwrap();
    let submit = ["submit", "../body.json", "--output-dir", "videos"];
    run(bench.command(submit).current_dir(&here)).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    run(bench.command(["check"]).current_dir("/")).exits(0);
    let saved = here.join(format!("videos/{}.mp4", bench.video_id(1)));
    let bytes = fs::read(saved).expect("the file");
    assert!(bytes == bench.heygen.expected(&bench.video_id(1), Asset::Video));
    assert_eq!(files_below(&here).len(), 1);
}

#[test]
fn d15_a_file_being_fetched_is_skipped_silently() {
    let row = Rendered::new();
    row.fault(Fault::held_body_after(20_000));
    let mut first = row.start_check("");
    eventually("a part", || row.names() == [".part"]);
    row.check("").exits(0).silent();
    assert_eq!(row.ranges(), [""], "one writer");
    assert!(first.try_wait().unwrap().is_none(), "it is at it");
    row.bench.heygen.release();
    let first = wait(first).exits(0);
    assert_eq!(first.stdout.lines().count(), 1, "{}", first.screen());
    row.is_saved();
}

#[test]
fn d15_many_runs_at_once_fetch_each_file_once() {
    let row = Rendered::with(Options::default(), ALL);
    let runs: Vec<Child> = (0..6).map(|_| row.start_check("")).collect();
    let told: usize = runs
        .into_iter()
        .map(|child| wait(child).exits(0).stdout.lines().count())
        .sum();
    assert_eq!(told, 5, "each file is told by the run that saved it");
    assert_eq!(row.bench.heygen.file_requests().len(), 5);
    row.is_saved();
}

#[test]
fn d15_the_lock_of_a_killed_run_is_free() {
    let row = Rendered::new();
    row.fault(Fault::stall_body_after(20_000, LONG));
    let mut first = row.start_check("");
    eventually("a part", || row.names() == [".part"]);
    first.kill().unwrap();
    first.wait().unwrap();
    row.converges();
    assert_eq!(row.ranges().len(), 2);
}

#[test]
fn d17_a_signal_ends_a_transfer_at_once() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let row = Rendered::new();
        row.fault(Fault::stall_body_after(20_000, LONG));
        let check = row.start_check("");
        eventually("a part", || row.names() == [".part"]);
        let start = Instant::now();
        signal(&check, name);
        let check = wait(check).exits(code);
        assert!(start.elapsed() < LONG, "{name}");
        assert_eq!(check.stdout, "");
        // Whoever is slow to print it does not keep anybody waiting: then there is none.
        assert!(check.stderr.lines().count() <= 1, "{}", check.screen());
        assert_eq!(row.names(), [".part"], "{name}");
        row.converges();
    }
}

#[test]
fn d17_a_signal_between_two_tries_is_heeded() {
    let row = Rendered::new();
    row.fault(Fault::retry_after(503, "50"));
    let check = row.start_check("");
    eventually("a refusal", || row.ranges().len() == 1);
    signal(&check, "-TERM");
    wait(check).exits(143);
    row.converges();
}

#[test]
fn d17_what_was_recorded_before_the_signal_is_not_fetched_again() {
    let options = Options {
        file_size: 40 * MIB,
        ..Options::default()
    };
    let row = Rendered::with(options, "");
    // Twice the distance between two records, and one buffer: the sync is waited for by then.
    row.fault(Fault::stall_body_after(33 * MIB, LONG));
    let check = row.start_check("");
    let recorded = || {
        row.bench
            .query("SELECT coalesce(sum(part_bytes), 0) FROM files")
    };
    eventually("16 MiB", || recorded().parse::<u64>().unwrap() >= 16 * MIB);
    signal(&check, "-TERM");
    wait(check).exits(143);
    let kept = recorded();
    row.converges();
    assert_eq!(row.ranges(), [String::new(), format!("bytes={kept}-")]);
}

#[test]
fn d19_an_asset_without_a_url_is_waited_for_during_an_hour() {
    let row = Rendered::with(only(&[Asset::Video, Asset::Thumbnail]), ALL);
    let check = row.check("").exits(0);
    assert_eq!(check.stdout.lines().count(), 2, "{}", check.screen());
    row.bench.advance(Duration::from_secs(59 * 60));
    row.check("").exits(0).silent();
    assert_eq!(row.bench.query("SELECT finished FROM videos"), "0");
    row.bench.advance(Duration::from_secs(2 * 60));
    let check = row.check("").exits(0);
    assert_eq!(check.stdout.lines().count(), 3, "{}", check.screen());
    let gone = "SELECT group_concat(asset) FROM files WHERE state = 'unavailable'";
    assert_eq!(row.bench.query(gone), "captioned,subtitle,gif");
    row.is_saved();
}

#[test]
fn d19_an_asset_that_comes_late_is_saved() {
    let row = Rendered::with(Options::default(), ALL);
    let detail = format!("GET /v3/videos/{}", row.id);
    let late = Fault::patch_detail(json!({"gif_url": null, "subtitle_url": null}));
    row.bench.heygen.fault(&detail, late);
    let check = row.check("").exits(0);
    assert_eq!(check.stdout.lines().count(), 3, "{}", check.screen());
    row.bench.advance(Duration::from_secs(30 * 60));
    row.converges();
}

#[test]
fn d19_the_video_itself_is_never_given_up_and_told_after_an_hour() {
    let row = Rendered::with(only(&[]), "");
    row.check("").exits(0).silent();
    row.bench.advance(Duration::from_secs(59 * 60));
    row.check("").exits(0).silent();
    row.bench.advance(Duration::from_secs(2 * 60));
    let told = row.check("").exits(1);
    assert!(
        told.stderr.contains("still gives no link"),
        "{}",
        told.screen()
    );
    row.check("").exits(1).silent();
    assert_eq!(row.bench.query("SELECT finished FROM videos"), "0");
    row.nothing_is_kept();
}

#[test]
fn d19_trouble_is_over_when_the_file_in_trouble_is_saved() {
    let row = Rendered::with(only(&[Asset::Video]), "--assets video,gif");
    row.fault(Fault::status(503));
    row.check("--retries 0").exits(1);
    let check = row.check("").exits(0);
    assert!(check.stderr.contains("works again"), "{}", check.screen());
    assert_eq!(row.error_code(), "", "though the gif is still waited for");
    row.bench.advance(Duration::from_secs(3601));
    row.check("").exits(0);
    row.is_saved();
}

#[test]
fn d19_trouble_ends_with_the_asset_that_was_in_it() {
    let row = Rendered::with(Options::default(), "--assets video,gif");
    row.bench
        .heygen
        .fault("GET /files/{id}/gif", Fault::status(404).times(2));
    row.check("").exits(1);
    assert_eq!(row.error_code(), "download_failed");
    row.bench.advance(Duration::from_secs(3601));
    let detail = format!("GET /v3/videos/{}", row.id);
    let none = Fault::patch_detail(json!({"gif_url": null}));
    row.bench.heygen.fault(&detail, none);
    row.check("").exits(0);
    row.is_saved();
}

/// A file host with TLS and a certificate of its own for 127.0.0.1 (or another name).
struct TlsHost {
    server: Child,
    port: String,
}

impl TlsHost {
    /// Serves `dir/video`, a whole HTTP answer. `None`, with the reason printed, where there is no openssl.
    fn start(dir: &Path, subject: &str, until: &str) -> Option<Self> {
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            command.current_dir(dir).args(arguments.split_whitespace());
            command.output().is_ok_and(|output| output.status.success())
        };
        fs::write(dir.join("index"), "").unwrap();
        fs::write(
            dir.join("ca.cnf"),
            format!(
                "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\n\
                 default_md = sha256\npolicy = any\nx509_extensions = leaf\n[any]\ncommonName = supplied\n\
                 [leaf]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = {subject}\n"
            ),
        )
        .unwrap();
        let made = openssl(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout key.pem -out req.pem",
        ) && openssl(&format!(
            "ca -selfsign -batch -notext -config ca.cnf -keyfile key.pem -in req.pem -out cert.pem \
             -startdate 20200101000000Z -enddate {until}"
        ));
        if !made {
            skipped("no openssl that makes certificates");
            return None;
        }
        let mut server = Command::new("openssl")
            .current_dir(dir)
            .args("s_server -HTTP -accept 127.0.0.1:0 -cert cert.pem -key key.pem".split(' '))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let told = BufReader::new(server.stdout.take()?).lines();
        let ready = told.map_while(Result::ok).find(|l| l.starts_with("ACCEPT"));
        let port = ready?.rsplit(':').next()?.trim().to_owned();
        Some(Self { server, port })
    }
}

impl Drop for TlsHost {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

const NOT_YET: &str = "20990101000000Z";
const LONG_AGO: &str = "20200102000000Z";

/// A check that is sent to a TLS host whose certificate is for `subject` and good `until`, trusting `trusted` alone.
fn check_over_tls(row: &Rendered, subject: &str, until: &str, trusted: &str) -> Option<Run> {
    let dir = row.bench.path("tls");
    fs::create_dir(&dir).unwrap();
    let content = row.expected();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    fs::write(dir.join("video"), [head.as_bytes(), &content].concat()).unwrap();
    let host = TlsHost::start(&dir, subject, until)?;
    let url = format!("https://127.0.0.1:{}/video", host.port);
    let detail = format!("GET /v3/videos/{}", row.id);
    let elsewhere = Fault::patch_detail(json!({ "video_url": url }));
    row.bench.heygen.fault(&detail, elsewhere);
    let mut check = row.bench.command(["check", "--retries", "0"]);
    Some(run(check.env("SSL_CERT_FILE", dir.join(trusted))))
}

#[test]
fn x06_a_trusted_certificate_is_taken() {
    let row = Rendered::new();
    let Some(check) = check_over_tls(&row, "IP:127.0.0.1", NOT_YET, "cert.pem") else {
        return;
    };
    check.exits(0);
    assert_eq!(row.ranges().len(), 0, "it came over TLS");
    row.is_saved();
}

#[test]
fn x06_an_unknown_wrong_or_expired_certificate_is_refused() {
    let other = "/etc/ssl/certs/ca-certificates.crt";
    for (subject, until, trusted) in [
        ("IP:127.0.0.1", NOT_YET, other),
        ("DNS:files.example", NOT_YET, "cert.pem"),
        ("IP:127.0.0.2", NOT_YET, "cert.pem"),
        ("IP:127.0.0.1", LONG_AGO, "cert.pem"),
    ] {
        let row = Rendered::new();
        let Some(check) = check_over_tls(&row, subject, until, trusted) else {
            return;
        };
        let check = check.exits(1);
        assert!(check.stderr.contains("certificate"), "{}", check.screen());
        row.nothing_is_kept();
        row.converges();
    }
}

#[test]
fn a_half_downloaded_row_that_moves_leaves_no_part_behind() {
    let row = Rendered::partial(20_000);
    row.bench
        .tracker("download 1 --output-dir elsewhere")
        .exits(0);
    assert_eq!(row.names(), [""; 0], "nothing is left in the old directory");
    row.is_saved();
}

#[test]
fn download_prints_each_file_once() {
    let row = Rendered::new();
    row.check("--no-download").exits(0);
    let path = row.path().to_string_lossy().into_owned();
    for round in ["fetched", "there already"] {
        let run = row.bench.tracker("download 1").exits(0);
        let times = run.screen().matches(&path).count();
        assert_eq!(times, 1, "{round}: {}", run.screen());
    }
}

#[test]
fn download_of_a_failed_row_has_nothing_to_wait_for() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench
        .heygen
        .fail(&bench.video_id(1), "moderation_failed", "No.");
    bench.tracker("check");
    let run = bench.tracker("download 1").exits(1);
    assert!(run.stderr.contains("tracker show 1"), "{}", run.screen());
    assert!(!run.stderr.contains("--wait"), "{}", run.screen());
}

#[test]
fn each_row_that_is_not_fetched_whole_is_named() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    let ids = [1, 2].map(|row| bench.video_id(row));
    ids.iter().for_each(|id| bench.heygen.finish(id));
    let file = format!("GET /files/{}/video", ids[0]);
    bench.heygen.fault(&file, Fault::status(500).forever());
    let detail = format!("GET /v3/videos/{}", ids[1]);
    let no_url = Fault::patch_detail(serde_json::json!({ "video_url": null }));
    bench.heygen.fault(&detail, no_url.forever());
    let run = bench.tracker("download 1 2 --retries 0").exits(1);
    let errors = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 2, "{}", run.screen());
    for words in ["error: 1 completed", "error: 2: not everything"] {
        assert!(run.stderr.contains(words), "{}", run.screen());
    }
}

#[test]
fn two_rows_whose_template_gives_them_one_name_get_two() {
    let bench = Bench::new();
    bench.submit(11).exits(0);
    let template = "UPDATE videos SET name_template = '{title}{id}'";
    bench.db().execute_batch(template).expect("a template");
    let titles =
        "UPDATE videos SET title = 'a1' WHERE id = 1; UPDATE videos SET title = 'a' WHERE id = 11";
    for row in [1, 11] {
        let id = bench.video_id(row);
        bench.heygen.finish(&id);
        let title = if row == 1 { "a1" } else { "a" };
        let detail = format!("GET /v3/videos/{id}");
        let fault = Fault::patch_detail(serde_json::json!({ "title": title }));
        bench.heygen.fault(&detail, fault.forever());
    }
    bench.db().execute_batch(titles).expect("titles");
    bench.tracker("check --retries 0").exits(0);
    let mut names: Vec<String> = crate::support::files_below(&bench.path("output"))
        .iter()
        .map(|path| path.file_name().expect("a name").to_string_lossy().into())
        .collect();
    names.sort();
    assert!(
        names == ["a11.mp4", "a11~11.mp4"] || names == ["a11.mp4", "a11~1.mp4"],
        "{names:?}"
    );
    bench.assert_invariants();
}

#[test]
fn a_name_may_have_the_date() {
    let row = Rendered::with(Options::default(), "--name {date}_{id}");
    row.check("").exits(0);
    let day = row
        .bench
        .query("SELECT strftime('%Y-%m-%d', submitted_at / 1000, 'unixepoch') FROM videos");
    assert_eq!(row.names(), [format!("{day}_1.mp4")]);
}
