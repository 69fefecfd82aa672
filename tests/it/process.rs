//! T1 to T5: text that wants to be obeyed, arguments nobody can spell, outputs that are closed, and cron.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::heygen::{Fault, Options, Render};
use serde_json::json;

use crate::support::{BODY, Bench, Run, can_mount, end, files_below, machine_can, run, start};

/// Terminal control in every spelling: ANSI, OSC 8 and 52, C1, bidi, line ends, NUL's neighbours.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;pwned\u{7}\u{1b}]52;c;cm0gLXJm\u{1b}\\\u{9b}31mred\u{202e}evil\u{2066}\r\nfake 1 saved\tx\u{8}\u{7f}\u{0085}\u{2028}";

/// Nothing a terminal would obey.
#[track_caller]
fn assert_sanitized(run: &Run, what: &str) {
    for text in [&run.stdout, &run.stderr] {
        let bad = text.chars().find(|c| {
            (c.is_control() && !matches!(c, '\n' | '\t'))
                || matches!(*c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
        });
        assert_eq!(bad, None, "{what}: {text:?}");
        assert!(
            !text.lines().any(|line| line.starts_with("fake 1 saved")),
            "{what}: {text}"
        );
    }
    assert!(!run.stderr.contains("panicked"), "{what}: {}", run.screen());
}

/// Four rows whose texts all come from `text`: failed, rejected, completed with a file, and an odd status word.
fn bench_with_texts(text: &str) -> Bench {
    let bench = Bench::new();
    let body: serde_json::Value = serde_json::from_str(BODY).unwrap();
    let mut body = body.as_object().unwrap().clone();
    body.insert("title".to_owned(), json!(text));
    body.insert("script".to_owned(), json!(text));
    let body = serde_json::Value::from(body).to_string();
    bench.file("bodies.jsonl", format!("{body}\n{body}\n{body}\n"));
    bench
        .tracker_with(&["submit", "bodies.jsonl", "--tag", "t\u{1b}[31m"])
        .exits(0);
    bench.heygen.fault(
        "POST /v3/videos",
        Fault::json(
            422,
            &json!({"error": {"code": "invalid_parameter", "message": text}}),
        ),
    );
    bench
        .tracker_with(&[
            "submit",
            "--avatar-id",
            "a",
            "--voice-id",
            "v",
            "--script",
            "x",
            "--title",
            "y",
        ])
        .exits(1);
    let ids: Vec<String> = (1..=3).map(|row| bench.video_id(row)).collect();
    bench.heygen.fail(&ids[0], text, text);
    bench.heygen.finish(&ids[1]);
    for id in &ids[1..] {
        bench.heygen.fault(
            &format!("GET /v3/videos/{id}"),
            Fault::patch_detail(json!({"title": text, "folder_id": text})).forever(),
        );
    }
    // A status word is a word; a megabyte is garbage, which P2 is about.
    let word = (text.len() > 1000).then_some("odd");
    bench.heygen.set_status(&ids[2], word.unwrap_or(text));
    bench
}

const LOOKS: [&str; 8] = [
    "list",
    "list --color always",
    "list --search pwned",
    "list --stats",
    "show 1",
    "show 2 --color always",
    "show 4",
    "list -s rejected,failed,completed",
];

#[test]
fn t01_hostile_text_is_shown_escaped_and_kept_raw() {
    let bench = bench_with_texts(HOSTILE);
    let check = bench.tracker("check -v").exits(0);
    assert_sanitized(&check, "check");
    assert!(check.stdout.contains("1 failed"), "{}", check.screen());
    for look in LOOKS {
        let look_run = bench.tracker(look).exits(0);
        // What the program itself colours is not the server's.
        let stripped = Run {
            stdout: without_colors(&look_run.stdout),
            ..look_run
        };
        assert_sanitized(&stripped, look);
    }
    assert_eq!(
        bench.query("SELECT failure_message FROM videos WHERE id = 1"),
        HOSTILE
    );
    assert_eq!(
        bench.query("SELECT title FROM videos WHERE id = 2"),
        HOSTILE
    );
    let shown = &bench.tracker("show 1 --json").exits(0).json()[0];
    assert_eq!(shown["failure_message"], HOSTILE);
    assert_eq!(shown["title"], HOSTILE);
    let listed = bench.tracker("list --json").exits(0);
    assert_sanitized(&listed, "list --json");
    assert_eq!(listed.json()[2]["title"], HOSTILE);
    let csv = bench
        .tracker("list --csv --fields id,failure_message")
        .exits(0);
    let mut reader = csv::Reader::from_reader(csv.stdout.as_bytes());
    assert_eq!(reader.records().count(), 4, "{}", csv.screen());
    let tsv = bench.tracker("list").exits(0);
    assert!(
        tsv.stdout.lines().all(|line| line.split('\t').count() == 7),
        "{}",
        tsv.screen()
    );
    bench.assert_invariants();
}

fn without_colors(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = after.find('m').expect("a colour");
        assert!(
            after[..end].chars().all(|c| c.is_ascii_digit() || c == ';'),
            "{after:?}"
        );
        rest = &after[end + 1..];
    }
    plain + rest
}

#[test]
fn t02_a_title_of_a_megabyte_does_not_fill_the_screen() {
    let wide = "界".repeat(350_000);
    let marks = format!("a{}", "\u{301}".repeat(500_000));
    let joined = "👩\u{200d}👩\u{200d}👧\u{200b}".repeat(60_000);
    for text in [&wide, &marks, &joined, &"x".repeat(1 << 20)] {
        let bench = bench_with_texts(text);
        let check = bench.tracker("check -v").exits(0);
        assert!(check.stdout.len() < 20_000, "{}", check.stdout.len());
        for columns in ["1", "20", "80"] {
            for look in ["list --color always", "list -s failed --color never"] {
                let mut command = bench.command(look.split_whitespace());
                let listed = run(command.env("COLUMNS", columns)).exits(0);
                assert!(!listed.stderr.contains("panicked"), "{}", listed.stderr);
            }
        }
        // Whoever asks for everything gets what was typed; of what a server says only a bound is kept.
        let shown = bench.tracker("show 3 --json").exits(0).json().remove(0);
        assert_eq!(shown["script"], **text);
        let title = shown["title"].as_str().unwrap();
        let kept = title.trim_end_matches('…');
        assert!(
            text.starts_with(kept) && kept.len() >= 100,
            "{} bytes",
            kept.len()
        );
        bench.tracker("show 1").exits(0);
        bench.assert_invariants();
    }
}

// --- T3 ---------------------------------------------------------------------------------------------------------

fn bytes(text: &[u8]) -> OsString {
    OsString::from_vec(text.to_vec())
}

#[test]
fn t03_arguments_that_are_not_utf8_work_or_are_refused_by_name() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let odd = bytes(b"odd\xff");
    for (arguments, codes) in [
        (vec![OsStr::new("check"), &odd], [1, 2]),
        (vec![OsStr::new("show"), &odd], [1, 2]),
        (
            vec![OsStr::new("list"), OsStr::new("--search"), &odd],
            [0, 2],
        ),
        (vec![OsStr::new("list"), OsStr::new("--tag"), &odd], [0, 2]),
        (vec![OsStr::new("add"), &odd], [1, 2]),
        (vec![OsStr::new("submit"), &odd], [1, 2]),
        (
            vec![OsStr::new("submit"), OsStr::new("--script"), &odd],
            [2, 2],
        ),
        (
            vec![
                OsStr::new("submit"),
                OsStr::new("bodies.jsonl"),
                OsStr::new("--output-dir"),
                &odd,
            ],
            [2, 2],
        ),
        (vec![odd.as_os_str()], [2, 2]),
    ] {
        let run = run(&mut bench.command(&arguments));
        assert!(
            codes.contains(&run.code.unwrap_or(-1)),
            "{arguments:?}: {}",
            run.screen()
        );
        assert!(!run.stderr.contains("panicked"), "{}", run.screen());
        assert!(
            run.code == Some(0) || run.stderr.contains("error: "),
            "{}",
            run.screen()
        );
    }
    assert_eq!(bench.heygen.billed().len(), 1);
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "1");
    bench.assert_invariants();
}

#[test]
fn t03_paths_that_are_not_utf8_work_or_are_refused_by_name() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let odd = bench.dir.path().join(bytes(b"\xffodd"));
    fs::create_dir(&odd).unwrap();
    fs::copy(bench.path("body.json"), odd.join("body.json")).unwrap();

    // A database and a body file may be anywhere.
    let at =
        |arguments: &[&OsStr]| run(bench.command(arguments).env("TRACKER_DB", odd.join("t.db")));
    let body = odd.join("body.json");
    at(&[OsStr::new("submit"), body.as_os_str()]).exits(0);
    assert!(odd.join("t.db").exists());
    at(&[OsStr::new("check")]).exits(0);
    at(&[OsStr::new("list")]).exits(0);
    at(&[OsStr::new("doctor")]).exits(0);
    at(&[
        OsStr::new("submit"),
        OsStr::new("--db"),
        odd.join("flag.db").as_os_str(),
        OsStr::new("body.json"),
    ])
    .exits(0);
    assert!(odd.join("flag.db").exists());

    // The output directory is recorded as text.
    let refused = run(bench.command(["submit", "../body.json"]).current_dir(&odd)).exits(2);
    assert!(
        refused.stderr.contains("is not valid UTF-8"),
        "{}",
        refused.screen()
    );
    assert!(refused.stderr.contains("hint: "), "{}", refused.screen());
    assert!(!bench.db_path().exists());
    assert_eq!(bench.heygen.billed().len(), 2);

    // Variables.
    for (name, codes) in [
        ("HEYGEN_API_KEY", [3, 3]),
        ("HEYGEN_API_BASE", [2, 2]),
        ("TRACKER_NAME", [2, 2]),
        ("COLUMNS", [0, 0]),
        ("TERM", [0, 0]),
        ("LANG", [0, 0]),
        ("TRACKER_OUTPUT_DIR", [2, 2]),
    ] {
        let run = run(bench
            .command(["submit", "body.json"])
            .env(name, bytes(b"\xff")));
        assert!(
            codes.contains(&run.code.unwrap_or(-1)),
            "{name}: {}",
            run.screen()
        );
        assert!(
            run.code == Some(0) || run.stderr.contains("UTF-8"),
            "{name}: {}",
            run.screen()
        );
    }
    run(bench.command(["list"]).env("HOME", &odd)).exits(0);
}

#[test]
fn t03_an_error_about_a_path_that_is_not_utf8_is_readable() {
    let bench = Bench::new();
    let mut command = bench.command(["check", "--json"]);
    let refused = run(command.env(
        "TRACKER_DB",
        bench.dir.path().join(bytes(b"\xff\x1b[2J.db")),
    ))
    .exits(1);
    let envelope: serde_json::Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(envelope["error"]["code"], "no_database");
    let mut command = bench.command(["check"]);
    let refused = run(command.env(
        "TRACKER_DB",
        bench.dir.path().join(OsStr::from_bytes(b"\xff\x1b[2J.db")),
    ))
    .exits(1);
    assert_sanitized(&refused, "a path with an escape sequence");
}

// --- T4 ---------------------------------------------------------------------------------------------------------

/// Fifty finished rows: more than a pipe holds with `show --json`.
fn with_history() -> Bench {
    let bench = Bench::with(Options {
        render: Render::After(std::time::Duration::ZERO),
        file_size: 3000,
        ..Options::default()
    });
    bench.submit(50).exits(0);
    bench
}

#[test]
fn t04_a_reader_that_has_seen_enough_is_no_error() {
    let bench = with_history();
    bench.tracker("check --no-download").exits(0);
    for (verb, left) in [
        ("list", 1),
        ("list --json", 1),
        ("list --csv", 1),
        ("show 1", 1),
        ("--help", 1),
        ("check -v", 0),
        ("check --json", 0),
        ("doctor", 0),
        ("list", 0),
    ] {
        let quiet = bench.shell(&format!("set -o pipefail; tracker {verb} 2>err | head -{left} >/dev/null; echo ${{PIPESTATUS[0]}}")).exits(0);
        assert_eq!(
            quiet.stdout,
            "0\n",
            "{verb}: {}",
            fs::read_to_string(bench.path("err")).unwrap()
        );
        let said = fs::read_to_string(bench.path("err")).unwrap();
        assert!(!said.contains("error"), "{verb}: {said}");
    }
    // The check whose reader went away saved everything all the same.
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "50"
    );
    bench.assert_invariants();
}

#[test]
fn t04_a_full_disk_behind_stdout_is_told_and_loses_nothing() {
    let bench = with_history();
    for verb in [
        "check -v",
        "list",
        "list --json",
        "show 1",
        "doctor",
        "--help",
    ] {
        let mut command = bench.command(verb.split_whitespace());
        command.stdout(Stdio::from(
            fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        ));
        let told = Run::from(command.stderr(Stdio::piped()).output().unwrap()).exits(1);
        assert!(
            told.stderr
                .contains("cannot write the output: No space left"),
            "{verb}: {}",
            told.screen()
        );
        assert!(
            !told.stderr.contains("panicked"),
            "{verb}: {}",
            told.screen()
        );
    }
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "50"
    );
    bench.assert_invariants();
}

#[test]
fn t04_closed_descriptors_do_not_end_up_in_the_database() {
    let bench = with_history();
    // SQLite must never get descriptor 0, 1 or 2.
    for closed in [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "2>/dev/full"] {
        let run = bench.shell(&format!(
            "tracker check -v {closed}; tracker show no-such-row {closed}; tracker list {closed}"
        ));
        assert!(
            run.code.is_some_and(|code| code <= 1),
            "{closed}: {}",
            run.screen()
        );
        assert!(
            !run.stderr.contains("panicked"),
            "{closed}: {}",
            run.screen()
        );
    }
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "50"
    );
    bench.assert_invariants();
}

#[test]
fn t04_submit_into_a_closed_pipe_has_recorded_and_sent() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let code = bench
        .shell("tracker submit body.json | true; echo ${PIPESTATUS[0]}")
        .exits(0);
    assert_eq!(code.stdout, "0\n");
    assert_eq!(bench.heygen.billed().len(), 1);
    assert_eq!(bench.status(1), "waiting");
    bench.assert_invariants();
}

// --- T5 ---------------------------------------------------------------------------------------------------------

#[test]
fn t05_an_empty_environment_says_what_is_missing() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let bare = |verb: &str| run(bench.command(verb.split_whitespace()).env_clear());
    for verb in ["check", "list"] {
        let refused = bare(verb).exits(2);
        assert!(
            refused.stderr.contains("HOME is not set"),
            "{}",
            refused.screen()
        );
    }
    let refused = bare("submit body.json --db t.db").exits(3);
    assert!(
        refused.stderr.contains("no HeyGen API key found"),
        "{}",
        refused.screen()
    );
    assert!(
        refused
            .stderr
            .contains("cron does not see your shell's variables"),
        "{}",
        refused.screen()
    );
    bare("--help").exits(0);
    bare("--version").exits(0);
    // All that cron needs: a database with --db, and a key file.
    bench.submit(1).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    let key = bench.file("key", bench.heygen.key());
    let mut cron = bench.command(["check", "--db", "tracker.db"]);
    cron.env_clear()
        .env("HEYGEN_API_BASE", bench.heygen.api_base())
        .env("HEYGEN_API_KEY_FILE", key)
        .env("LANG", "C");
    let check = run(&mut cron).exits(0);
    assert!(
        check.stdout.starts_with("1 saved \"Video 1\""),
        "{}",
        check.screen()
    );
    bench.assert_invariants();
}

#[test]
fn t05_lang_c_prints_the_same() {
    let bench = Bench::new();
    bench.file("body.json", BODY.replace("Hello\"", "Grüße 界\""));
    bench.tracker("submit body.json").exits(0);
    let plain = bench.tracker("list").exits(0).stdout;
    assert!(plain.contains("Grüße 界"));
    let in_c = run(bench.command(["list"]).env("LANG", "C").env("LC_ALL", "C")).exits(0);
    assert_eq!(in_c.stdout, plain);
}

#[test]
fn t05_sixty_four_descriptors_are_enough() {
    let bench = with_history();
    let check = bench.shell("ulimit -n 64; tracker check").exits(0);
    assert_eq!(check.stderr, "");
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "50"
    );
    bench.assert_invariants();
}

#[test]
fn t05_too_few_descriptors_are_told_and_nothing_is_lost() {
    let bench = with_history();
    for descriptors in [4, 8, 12, 24] {
        let check = bench.shell(&format!(
            "ulimit -n {descriptors}; timeout 200 tracker check --retries 0"
        ));
        assert!(
            check.code.is_some_and(|code| code <= 1),
            "{descriptors}: {}",
            check.screen()
        );
        assert!(
            !check.stderr.contains("panicked"),
            "{descriptors}: {}",
            check.screen()
        );
    }
    bench.advance(std::time::Duration::from_secs(3700));
    bench.tracker("check").exits(0);
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "50"
    );
    bench.assert_invariants();
}

#[test]
fn t05_a_limit_on_file_size_is_an_error_like_a_full_disk() {
    let bench = Bench::with(Options {
        render: Render::After(std::time::Duration::ZERO),
        file_size: 3_000_000,
        ..Options::default()
    });
    bench.submit(1).exits(0);
    let check = bench
        .shell("ulimit -f 1024; tracker check --retries 0")
        .exits(1);
    assert!(check.stderr.contains("error: "), "{}", check.screen());
    assert_eq!(bench.query("SELECT status FROM videos"), "completed");
    let finished: Vec<_> = files_below(&bench.path("output"))
        .into_iter()
        .filter(|path| !path.file_name().unwrap().as_bytes().starts_with(b"."))
        .collect();
    assert_eq!(finished, [] as [std::path::PathBuf; 0]);
    // A database that may not grow is no reason to die, either.
    let submit = bench
        .shell("ulimit -f 16; tracker submit bodies.jsonl")
        .exits(1);
    assert!(submit.stderr.contains("tracker.db"), "{}", submit.screen());
    assert_eq!(bench.heygen.billed().len(), 1);
    bench.tracker("check").exits(0);
    bench.assert_invariants();
}

#[test]
fn t05_final_files_have_the_mode_of_the_umask() {
    for (umask, mode) in [("000", 0o666), ("022", 0o644), ("077", 0o600)] {
        let bench = Bench::new();
        bench.submit(1).exits(0);
        let id = bench.video_id(1);
        bench.heygen.finish(&id);
        bench
            .shell(&format!("umask {umask}; tracker check"))
            .exits(0);
        let meta = fs::metadata(bench.path(&format!("output/{id}.mp4"))).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{umask}");
        bench.assert_invariants();
    }
}

#[test]
fn t05_a_working_directory_that_is_gone_matters_to_submit_only() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    let gone = |verb: &str| {
        bench.shell(&format!(
            "mkdir gone; cd gone; rmdir ../gone; exec tracker {verb}"
        ))
    };
    gone("check").exits(0);
    gone("list").exits(0);
    gone("show 1").exits(0);
    let refused = gone("submit ../bodies.jsonl");
    assert_ne!(refused.code, Some(0), "{}", refused.screen());
    assert!(!refused.stderr.contains("panicked"), "{}", refused.screen());
    bench.assert_invariants();
}

#[test]
fn t05_without_proc_and_dev_tty_nothing_is_missed() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    let check = bench
        .shell("exec unshare -m bash -c 'mount -t tmpfs tmpfs /proc && exec setsid tracker check'")
        .exits(0);
    assert!(check.stdout.starts_with("1 saved"), "{}", check.screen());
    let child = start(&mut bench.command(["list"]));
    end(child).exits(0);
    bench.assert_invariants();
}

// --- the tests themselves -------------------------------------------------------------------------------------------

/// `nohup cargo test &` and some CI start the tests with signals ignored, and what is ignored is inherited.
#[test]
fn tests_that_send_signals_need_nobody_to_heed_them() {
    let tests = std::env::current_exe().expect("this program");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP INT QUIT TERM; exec \"$0\" \"$@\""]);
    command.arg(tests).args([
        "--exact",
        "download_runs::d17_a_signal_ends_a_transfer_at_once",
        "listen_faults::sigterm_drains_and_ends_with_0_and_sigint_with_130",
    ]);
    let ran = run(&mut command).exits(0);
    assert!(ran.stdout.contains("2 passed"), "{}", ran.screen());
}

/// Memory that is not to be had may end the program at any allocation; the next run finds everything as it was.
#[test]
fn t05_nothing_is_lost_when_there_is_no_memory() {
    let bench = Bench::new();
    bench.submit(3).exits(0);
    for row in 1..=2 {
        bench.heygen.finish(&bench.video_id(row));
    }
    bench.file("body.json", BODY);
    let mut ended = BTreeSet::new();
    for mebibytes in (8..=400).step_by(28) {
        bench.tracker("submit body.json --queue").exits(0);
        let kibibytes = mebibytes * 1024;
        let check = bench.shell(&format!("ulimit -v {kibibytes}; timeout 200 tracker check"));
        assert_ne!(check.code, Some(124), "it hangs: {}", check.screen());
        ended.insert(check.code);
    }
    assert!(ended.len() > 1, "some had too little: {ended:?}");
    bench.tracker("check").exits(0);
    assert_eq!(
        bench.query("SELECT count(*) FROM videos WHERE video_id IS NULL"),
        "0"
    );
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "2"
    );
    let rows: usize = bench.query("SELECT count(*) FROM videos").parse().unwrap();
    assert_eq!(bench.heygen.billed().len(), rows);
    bench.assert_invariants();
}

/// What a computer without a battery believes until somebody tells it the time, and worse.
#[test]
#[cfg(target_os = "linux")]
fn t05_a_clock_before_1970_is_no_panic() {
    const SHIM: &str = "#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, \"clock_gettime\");
    int result = real(clock, time);
    if (clock == CLOCK_REALTIME) time->tv_sec -= 65L * 365 * 86400;
    return result;
}";
    let bench = Bench::new();
    bench.file("shim.c", SHIM);
    let mut compile = Command::new("cc");
    let arguments = ["-shared", "-fPIC", "-o", "shim.so", "shim.c", "-ldl"];
    bench.prepare(compile.args(arguments));
    if !machine_can("compile C", &mut compile) {
        return;
    }
    let then = |arguments: &str| {
        let mut command = bench.command(arguments.split_whitespace());
        let run = run(command.env("LD_PRELOAD", bench.path("shim.so")));
        bench.assert_decent(&run);
        assert!(
            run.code.is_some_and(|code| code <= 1),
            "{arguments}: {}",
            run.screen()
        );
        run
    };
    bench.file("body.json", BODY);
    then("submit body.json --queue");
    for verb in [
        "list",
        "list --stats",
        "show 1",
        "check",
        "check",
        "list --json",
        "gallery -o g.html",
    ] {
        then(verb);
    }
    let doctor = then("doctor").screen();
    assert!(
        doctor.contains("196") && doctor.contains("the clock is wrong"),
        "{doctor}"
    );
    bench.tracker("check 1");
    assert_eq!(
        bench.heygen.billed().len(),
        1,
        "{}",
        bench.tracker("show 1").stdout
    );
    bench.assert_invariants();
}
