//! What sets things up: `doctor`, `completions`, `man`, `sandbox`.

use std::io::{BufRead as _, BufReader};

use insta::assert_snapshot;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Bench, end, run};

#[test]
fn doctor() {
    let bench = Bench::seeded();
    assert_snapshot!(bench.shows("doctor"), @r#"
    $ tracker doctor
    --- stdout
    tracker VERSION, SQLite SQLITE
    ok    key       HEYGEN_API_KEY, accepted by http://API
    BAD   database  DIR/tracker.db
                    there is no database at DIR/tracker.db
                    hint: tracker submit or tracker add creates one; cron may see another environment: give --db PATH or TRACKER_DB
    ok    output    DIR/output (videos submitted from here), to be created
    ok    clock     TIME
    check would not work
    --- exit 1
    "#);
    bench.submit(1).exits(0);
    assert_snapshot!(bench.shows("doctor"), @r#"
    $ tracker doctor
    --- stdout
    tracker VERSION, SQLite SQLITE
    ok    key       HEYGEN_API_KEY, accepted by http://API
    ok    database  DIR/tracker.db, SIZE, schema 4, 1 of 1 videos unfinished
    ok    output    DIR/output, to be created
    ok    clock     TIME
    check would work
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("doctor --json"), @r#"
    $ tracker doctor --json
    --- stdout
    {"ok":true,"version":"VERSION","sqlite_version":"SQLITE","key":{"ok":true,"source":"HEYGEN_API_KEY","base_url":"http://API","error":null},"database":{"ok":true,"path":"DIR/tracker.db","schema":4,"bytes":SIZE,"videos":1,"unfinished":1,"error":null},"output_dirs":[{"ok":true,"path":"DIR/output","exists":false,"unfinished":true,"error":null}],"clock":{"ok":true,"now":"TIME","error":null}}
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
    let mut sandbox = bench.start("sandbox --render-time 0s");
    let out = BufReader::new(sandbox.stdout.take().expect("stdout"));
    let exports: Vec<String> = out.lines().take(3).map(|line| line.unwrap()).collect();
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
    kill(Pid::from_raw(sandbox.id() as i32), Signal::SIGINT).expect("a signal");
    end(sandbox);
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
        ("TRACKER_DB", "nowhere.db"),
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
