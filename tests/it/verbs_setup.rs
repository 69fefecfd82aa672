//! What sets things up: `doctor`, `completions`, `man`, `sandbox`.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use insta::assert_snapshot;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::documents::page;
use crate::heygen::{Options, Render};
use crate::support::{Bench, TRACKER, end, machine_can, run, start};

#[test]
fn doctor() {
    let bench = Bench::seeded();
    assert_snapshot!(bench.shows("doctor"), @r#"
    $ tracker doctor
    --- stdout
    tracker VERSION, SQLite SQLITE
    ok    key       HEYGEN_API_KEY, accepted by http://API
    ok    balance   100 usd (wallet) left
    ok    database  DIR/tracker.db, to be created by the first submit or add
    ok    output    DIR/output (videos submitted from here), to be created
    ok    clock     TIME
    check would work
    --- exit 0
    "#);
    bench.submit(1).exits(0);
    assert_snapshot!(bench.shows("doctor"), @r#"
    $ tracker doctor
    --- stdout
    tracker VERSION, SQLite SQLITE
    ok    key       HEYGEN_API_KEY, accepted by http://API
    ok    balance   100 usd (wallet) left
    ok    database  DIR/tracker.db, SIZE, schema 5, 1 of 1 videos unfinished
    ok    output    DIR/output, to be created
    ok    clock     TIME
    check would work
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("doctor --json"), @r#"
    $ tracker doctor --json
    --- stdout
    {"ok":true,"version":"VERSION","sqlite_version":"SQLITE","key":{"ok":true,"source":"HEYGEN_API_KEY","base_url":"http://API","error":null},"balance":{"billing_type":"wallet","plan":null,"auto_reload":false,"left":[{"of":"wallet","amount":100.0,"unit":"usd","resets_at":null}],"used_up":false},"database":{"ok":true,"path":"DIR/tracker.db","schema":5,"bytes":SIZE,"videos":1,"unfinished":1,"error":null},"output_dirs":[{"ok":true,"path":"DIR/output","exists":false,"unfinished":true,"error":null}],"clock":{"ok":true,"now":"TIME","error":null}}
    --- exit 0
    "#);
}

#[test]
fn what_is_generated() {
    let bench = Bench::seeded();
    assert_snapshot!(bench.shell_shows("tracker completions bash | head -1"), @r#"
    $ tracker completions bash | head -1
    --- stdout
    _tracker() {
    --- exit 0
    "#);
    assert_snapshot!(bench.shell_shows("tracker completions fish | head -1"), @r#"
    $ tracker completions fish | head -1
    --- stdout
    # Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
    --- exit 0
    "#);
    assert_snapshot!(bench.shell_shows("tracker completions zsh | head -1"), @r#"
    $ tracker completions zsh | head -1
    --- stdout
    #compdef tracker
    --- exit 0
    "#);
    assert_snapshot!(bench.shell_shows("tracker man | grep ^.TH"), @r#"
    $ tracker man | grep ^.TH
    --- stdout
    .TH tracker 1  "tracker VERSION" 
    --- exit 0
    "#);
    assert_snapshot!(bench.shell_shows("tracker man check | grep ^.TH"), @r#"
    $ tracker man check | grep ^.TH
    --- stdout
    .TH tracker-check 1  "tracker VERSION" 
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("--version"), @r#"
    $ tracker --version
    --- stdout
    tracker VERSION
    --- exit 0
    "#);
}

#[test]
fn sandbox_prints_exports_that_work() {
    let bench = Bench::seeded();
    let (exports, sandbox) = sandbox(&bench, "--render-time 0s");
    let names: Vec<_> = exports
        .iter()
        .filter_map(|line| line.split('=').next())
        .collect();
    assert_eq!(
        names,
        [
            "export HEYGEN_API_BASE",
            "export HEYGEN_API_KEY",
            "export TRACKER_DB"
        ]
    );
    let script = "tracker submit --avatar-id a --voice-id v --script Hello && tracker check";
    let pasted = format!("{}\n{script}", exports.join("\n"));
    let run = bench.shell(&pasted).exits(0);
    assert!(run.stdout.contains("1 saved"), "{}", run.screen());
    let nothing_here = bench.heygen.requests().is_empty() && !bench.db_path().exists();
    assert!(nothing_here, "it is a world of its own");
    interrupt(sandbox);
}

#[test]
fn doctor_exits_1_when_check_would_not_work() {
    let bench = Bench::seeded();
    bench.submit(1).exits(0);
    let doctor = |variable: &str, value: &str| {
        let mut command = bench.command(["doctor", "--json"]);
        let run = run(command.env(variable, value));
        (run.code, run.json()[0]["ok"] == true)
    };
    assert_eq!(
        doctor("HEYGEN_API_KEY", bench.heygen.key()),
        (Some(0), true)
    );
    for (variable, value) in [
        ("HEYGEN_API_KEY", "revoked"),
        ("HEYGEN_API_KEY", ""),
        ("HEYGEN_API_BASE", "http://127.0.0.1:1"),
        ("HEYGEN_API_BASE", "http://heygen.example"),
        ("TRACKER_DB", "bodies.jsonl"),
    ] {
        assert_eq!(
            doctor(variable, value),
            (Some(1), false),
            "{variable}={value}"
        );
    }
    // A file stands where the row's files shall go.
    bench.file("output", "");
    assert_eq!(doctor("TZ", "UTC"), (Some(1), false));
}

#[test]
fn help_names_every_verb_those_for_setting_up_under_a_heading_of_their_own() {
    let bench = Bench::seeded();
    let help = bench.tracker("help").exits(0).stdout;
    let (everyday, setup) = help.split_once("\nSetting up:\n").expect("a heading");
    for verb in ["submit", "edit", "open", "help"] {
        assert!(everyday.contains(&format!("\n  {verb} ")), "{help}");
    }
    for verb in ["listen", "sandbox", "completions", "mcp", "man"] {
        assert!(setup.contains(&format!("  {verb} ")), "{help}");
        assert!(!everyday.contains(&format!("\n  {verb} ")), "{help}");
    }
    let fits = help.lines().all(|line| line.chars().count() <= 80);
    assert!(fits && help.lines().count() < 24, "{help}");
    let verb = bench.tracker("help submit").exits(0).stdout;
    assert_eq!(verb, bench.tracker("submit --help").exits(0).stdout);
    bench.tracker("help nothing").exits(2);
}

/// Headings of help sections, each with its long flags.
fn flags_under(help: &str, heading: &str) -> Vec<String> {
    let section = help
        .split(&format!("\n{heading}:\n"))
        .nth(1)
        .unwrap_or_default();
    section
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split("--").nth(1)?.split([' ', '.']).next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn options_stand_under_the_heading_they_belong_to() {
    let bench = Bench::seeded();
    for verb in ["submit", "retry"] {
        let help = bench.tracker(&format!("{verb} --help")).exits(0).stdout;
        let body = ["avatar-id", "voice-id", "script", "title"];
        assert_eq!(flags_under(&help, "Body"), body, "{verb}");
        let files = ["output-dir", "assets", "name"];
        assert_eq!(flags_under(&help, "Files"), files, "{verb}");
        assert_eq!(
            flags_under(&help, "Waiting"),
            ["timeout", "interval"],
            "{verb}"
        );
        let options = flags_under(&help, "Options");
        let (own, of_all) = options.split_at(options.len() - 6);
        let last = ["db", "json", "quiet", "verbose", "color", "help"];
        assert_eq!(of_all, last, "{verb}");
        assert!(own.contains(&"request-key".to_owned()), "{help}");
    }
    let retry = bench.tracker("retry --help").exits(0).stdout;
    assert!(
        !retry.contains("TRACKER_") || !retry.contains("TRACKER_OUTPUT_DIR"),
        "{retry}"
    );
}

#[test]
fn every_verb_has_a_page_of_its_own_in_the_directory_of_all() {
    let bench = Bench::new();
    bench
        .shell("mkdir pages && tracker man --all pages")
        .exits(0)
        .silent();
    let missing = bench.shell(
        r"grep -ho 'tracker.-[a-z]*(1)' pages/tracker.1 | tr -d '\\()' | sed 's/1$/.1/' | while read page; do
              grep -q ^.TH.${page%.1} pages/$page || echo $page; done",
    );
    missing.exits(0).silent();
    for page in ["tracker.1", "tracker-submit.1", "tracker-mcp.1"] {
        assert!(bench.path("pages").join(page).exists(), "{page}");
    }
    let nowhere = bench.tracker("man --all nowhere").exits(1);
    assert!(nowhere.stderr.contains("nowhere"), "{}", nowhere.stderr);
}

#[test]
fn output_that_cannot_be_written_is_no_reason_to_speak_of_submitting() {
    let bench = Bench::seeded();
    for arguments in ["--help", "help submit", "man", "completions bash"] {
        let run = bench.shell(&format!("tracker {arguments} > /dev/full"));
        assert_eq!(run.code, Some(1), "{}", run.screen());
        assert!(run.stderr.contains("No space left"), "{}", run.screen());
        assert!(!run.stderr.contains("submit again"), "{}", run.screen());
    }
}

#[test]
fn what_people_mistype_is_refused_with_a_hint_and_nothing_is_recorded() {
    let bench = Bench::seeded();
    bench.file("body.json", crate::support::BODY);
    bench.file("file", "");
    std::fs::create_dir(bench.path("dir")).expect("a directory");
    for (arguments, word) in [
        (&["submit", "~/body.json"][..], "did not expand its ~"),
        (
            &["submit", "body.json", "--output-dir=~/videos"],
            "did not expand its ~",
        ),
        (
            &["--db=~/tracker.db", "submit", "body.json"],
            "did not expand its ~",
        ),
        (&["submit", "dir"], "is a directory"),
        (
            &["submit", "body.json", "--output-dir", "file"],
            "is not a directory",
        ),
        (
            &["submit", "body.json", "--output-dir", "file/below"],
            "is not a directory",
        ),
        (&["submit", "body.json", "--interval", "1s"], "--wait"),
        (&["check", "--timeout", "1s"], "--wait"),
        (
            &["submit", "body.json", "--queue", "--interval", "1s"],
            "--queue",
        ),
        (&["submit", "body.json", "--to", "German"], "--to"),
        (&["submit", "body.json", "--style-id", "s"], "--style-id"),
        (
            &["submit", "body.json", "--orientation", "portrait"],
            "--orientation",
        ),
        (&["add", "0123456789", "--since", "1d"], "--since"),
        (&["gallery", "--output=~/page.html"], "did not expand its ~"),
        (&["add", "dir"], "is not a video id"),
        (&["list", "--wide", "--json"], "--wide"),
        (&["list", "--wide", "--csv"], "--wide"),
        (&["list", "--wide", "--fields", "id"], "--wide"),
        (&["list", "--wide", "--stats"], "--wide"),
    ] {
        let run = bench.tracker_with(arguments).exits(2);
        assert!(run.stderr.contains(word), "{}", run.screen());
        assert!(!bench.db_path().exists() && !bench.path("~").exists());
    }
    let crontab = run(bench.command(["check"]).env("TRACKER_DB", "~/tracker.db")).exits(2);
    assert!(
        crontab.stderr.contains("did not expand its ~"),
        "{}",
        crontab.screen()
    );
    bench.file("bom.json", format!("\u{feff}{}", crate::support::BODY));
    bench
        .tracker("submit bom.json --output-dir dir/../videos")
        .exits(0);
    assert_eq!(
        bench.query("SELECT output_dir FROM videos"),
        bench.path("videos").to_str().unwrap()
    );
    let three = bench.video_id(1)[..3].to_owned();
    let run = bench.tracker(&format!("show x{}", &three[..2])).exits(1);
    assert!(
        run.stderr.contains("at least 4 characters"),
        "{}",
        run.screen()
    );
}

#[test]
fn list_takes_status_words_in_any_case_and_names_those_there_are() {
    crate::support::well_before_midnight();
    let bench = Bench::seeded();
    bench.submit(2).exits(0);
    let run = bench.tracker("list -s WAITING").exits(0);
    assert_eq!(run.stdout.lines().count(), 2, "{}", run.screen());
    let run = bench.tracker("list -s wating").exits(0);
    assert!(
        run.stderr.contains("words here: waiting"),
        "{}",
        run.screen()
    );
    let run = bench.tracker("list -s failed").exits(0);
    assert!(!run.stderr.contains("words here"), "{}", run.screen());
    for since in ["today", "yesterday", "2w"] {
        let run = bench.tracker(&format!("list --since {since}")).exits(0);
        assert_eq!(run.stdout.lines().count(), 2, "{}", run.screen());
    }
}

/// What the stand-in prints until it serves, and the stand-in.
fn sandbox(bench: &Bench, arguments: &str) -> (Vec<String>, Child) {
    let mut sandbox = bench.start(&format!("sandbox {arguments}"));
    let out = BufReader::new(sandbox.stdout.take().expect("stdout"));
    let exports = out.lines().take(3).map(|line| line.unwrap());
    (exports.collect(), sandbox)
}

fn interrupt(sandbox: Child) {
    kill(Pid::from_raw(sandbox.id() as i32), Signal::SIGTERM).expect("a signal");
    end(sandbox);
}

#[test]
fn sandbox_has_slots_and_can_be_slow() {
    let bench = Bench::new();
    let (exports, sandbox) = sandbox(
        &bench,
        "--slots 2 --render-time 1h --throttle 100000 --file-size 50000",
    );
    let value = |line: usize| exports[line].split_once('=').expect("a value").1;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let answers: Vec<_> = (0..3)
        .map(|_| {
            let post = agent.post(format!("{}/v3/videos", value(0)));
            let body = r#"{"type":"avatar","avatar_id":"a"}"#;
            let answer = post.header("X-Api-Key", value(1)).send(body).unwrap();
            let pause = answer.headers().get("Retry-After").cloned();
            let pause = pause.map(|pause| pause.to_str().unwrap().to_owned());
            (answer.status().as_u16(), pause)
        })
        .collect();
    let refused = (429, Some("1".to_owned()));
    assert_eq!(answers, [(200, None), (200, None), refused]);
    interrupt(sandbox);

    let (exports, sandbox) = self::sandbox(
        &bench,
        "--render-time 0s --throttle 100000 --file-size 50000",
    );
    let started = Instant::now();
    let script = "tracker submit --avatar-id a --voice-id v --script Hello && tracker check";
    let run = bench.shell(&format!("{}\n{script}", exports.join("\n")));
    assert!(run.stdout.contains("1 saved"), "{}", run.screen());
    assert!(started.elapsed() >= Duration::from_millis(500));
    interrupt(sandbox);
}

/// What differs from run to run: ids, and where the demo worked.
fn without_ids(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let id = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        // An agent's video has a v before.
        out.push_str(if matches!(id.len(), 31 | 32) {
            "ID"
        } else {
            id
        });
        out.push_str(&word[id.len()..]);
    }
    out
}

#[test]
fn the_demo_says_what_is_so_and_ends_as_the_readme_says() {
    let bench = Bench::new();
    let mut probe = Command::new("script");
    if !machine_can(
        "pretend to be a terminal",
        probe.args(["-qec", "true", "/dev/null"]),
    ) {
        return;
    }
    let mut terminal = Command::new("script");
    terminal.args([
        "-qec",
        &format!("stty cols 80 rows 24; TMPDIR=/tmp {TRACKER} --color never demo"),
        "/dev/null",
    ]);
    bench.prepare(&mut terminal);
    let demo = run(terminal.env("TERM", "xterm").env("SHELL", "/bin/sh")).exits(0);
    let screen = demo.stdout.replace('\r', "");
    let place = screen
        .split_whitespace()
        .find(|word| word.starts_with("/tmp/heygen-tracker-demo-") && !word.ends_with("output"))
        .expect("its directory");
    let place = place.split("/output").next().expect("its directory");
    std::fs::remove_dir_all(place).expect("its directory");

    let (_, end) = page("README.md")
        .split_once("it ends like this:\n\n```text\n")
        .expect("the end");
    let (end, _) = end.split_once("```\n").expect("the end of it");
    let (shown, promised) = (without_ids(&screen), without_ids(end));
    assert!(
        shown.ends_with(&promised),
        "README:\n{promised}\nthe demo:\n{shown}"
    );
    // At a terminal `check` says how things stand, so the demo must not say that it says nothing.
    for untrue in ["nothing to say", "no output", "bought"] {
        assert!(!screen.contains(untrue), "{untrue}: {screen}");
    }
}

#[test]
fn a_demo_with_a_step_that_fails_ends_with_that() {
    let bench = Bench::new();
    let demo = &|name: &str, instead: Option<&str>, why: &str| {
        let (copy, next) = (bench.path(name), bench.path(name).with_extension("next"));
        // By another process: one that a test of another thread starts would hold a file that is still written open.
        run(Command::new("cp").arg(TRACKER).arg(&copy)).exits(0);
        let mut command = Command::new(&copy);
        bench.prepare(command.arg("demo"));
        let mut demo = start(command.env("TMPDIR", bench.dir.path()));
        let mut lines = BufReader::new(demo.stdout.take().expect("stdout")).lines();
        assert!(lines.any(|line| line.unwrap().contains("seconds later")));
        match instead {
            None => std::fs::remove_file(&copy).expect("gone"),
            Some(script) => {
                std::fs::write(&next, format!("#!/bin/sh\n{script}\n")).expect("a program");
                std::fs::set_permissions(&next, Permissions::from_mode(0o755)).expect("runs");
                std::fs::rename(next, &copy).expect("another program");
            }
        }
        let shown: Vec<String> = lines.map(|line| line.unwrap()).collect();
        let run = end(demo).exits(1);
        assert!(run.stderr.contains(why), "{name}: {}", run.screen());
        let last = shown.last().map(String::as_str);
        assert_eq!(last, Some("$ tracker check"), "{name}: {shown:?}");
    };
    std::thread::scope(|scope| {
        for (name, instead, why) in [
            ("gone", None, "cannot run this program"),
            ("failing", Some("exit 1"), "tracker check ended with exit"),
            (
                "killed",
                Some("kill -9 $$"),
                "tracker check ended with signal",
            ),
        ] {
            scope.spawn(move || demo(name, instead, why));
        }
    });
}

#[test]
fn a_tilde_that_nothing_expands_is_named_where_a_key_is_missing() {
    let bench = Bench::seeded();
    bench.submit(1).exits(0);
    for (verb, variable) in [
        ("check 1", "HEYGEN_API_KEY_FILE"),
        ("check 1", "HEYGEN_CONFIG_DIR"),
        ("listen", "HEYGEN_WEBHOOK_SECRET_FILE"),
    ] {
        let mut crontab = bench.command(verb.split(' '));
        if verb == "check 1" {
            crontab.env_remove("HEYGEN_API_KEY");
        }
        let run = run(crontab.env(variable, "~/heygen")).exits(3);
        let expected = "did not expand its ~";
        assert!(
            run.stderr.contains(expected),
            "{variable}: {}",
            run.screen()
        );
    }
}

#[test]
fn headings_of_the_first_screen_are_styled_as_those_of_a_verb() {
    let bench = Bench::seeded();
    let styled = |arguments: &str| {
        let mut command = bench.command(arguments.split(' '));
        run(command.env("CLICOLOR_FORCE", "1")).exits(0).stdout
    };
    let verb = styled("help list");
    let heading = |help: &str, words: &str| {
        let line = help.lines().find(|line| line.contains(words));
        line.expect("a heading")
            .split_once(words)
            .map(|(style, _)| style.to_owned())
    };
    let style = heading(&verb, "Options:");
    assert_ne!(style.as_deref(), Some(""), "{verb}");
    let first = styled("--help");
    for words in ["Commands:", "Setting up:", "Options:"] {
        assert_eq!(heading(&first, words), style, "{first}");
    }
}

#[test]
fn the_recipe_for_scripts_ends_a_script_whose_video_failed() {
    let mut lines = page("docs/recipes.md").lines();
    let recipe = lines.find(|line| line.starts_with("path=$(")).expect("it");
    for (fail_rate, code) in [(0.0, 0), (1.0, 5)] {
        let bench = Bench::with(Options {
            render: Render::After(Duration::ZERO),
            fail_rate,
            ..Options::default()
        });
        bench.file("body.json", crate::support::BODY);
        bench.file("script", format!("{recipe}\ntest -f \"$path\"\n"));
        let run = bench.shell("bash script");
        assert_eq!(run.code, Some(code), "{}", run.screen());
    }
}

#[test]
fn what_another_client_made_is_added_as_what_it_is() {
    let bench = Bench::seeded();
    bench.file("made.jsonl", "{\"data\":{\"session_id\":\"session-1\",\"video_id\":null}}\n{\"video_translation_id\":\"translation-1\"}\n{\"id\":\"video-number-1\"}\n");
    bench.tracker("add made.jsonl").exits(0);
    bench
        .tracker("add lipsync-number-1 --kind lipsync")
        .exits(0);
    let listed = bench
        .tracker("list --fields id,kind,session_id")
        .exits(0)
        .stdout;
    assert_eq!(
        listed,
        "4\tlipsync\t\n3\tvideo\t\n2\ttranslation\t\n1\tagent\tsession-1\n"
    );
    let run = bench.tracker("add made.jsonl").exits(0);
    assert!(
        run.stderr.contains("already tracked as 1"),
        "{}",
        run.screen()
    );
    bench.tracker("add something-else --kind song").exits(2);
}
