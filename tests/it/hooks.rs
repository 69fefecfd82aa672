//! Hooks and stalled videos.

use std::time::Duration;

use crate::support::{Bench, TRACKER, eventually, run};

fn log(bench: &Bench) -> Vec<String> {
    let text = std::fs::read_to_string(bench.path("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

const LOG: &str = "cat > row.json; echo $TRACKER_EVENT $TRACKER_ID $TRACKER_STATUS \"$TRACKER_TITLE\" $TRACKER_FILE >> log";

#[test]
fn every_outcome_is_told_once_and_idle_last() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    let (one, two) = (bench.video_id(1), bench.video_id(2));
    bench.tracker_with(&["check", "--hook", LOG]).exits(0);
    assert_eq!(log(&bench), [""; 0]);
    bench.heygen.finish(&one);
    bench.heygen.fail(&two, "script_too_long", "too long");
    bench.tracker_with(&["check", "--hook", LOG]).exits(0);
    let mut told = log(&bench);
    let file = bench.path(&format!("output/{one}.mp4"));
    assert_eq!(told.pop(), Some("idle 1 completed Video 1".to_owned()));
    told.sort();
    assert_eq!(
        told,
        [
            "completed 1 completed Video 1".to_owned(),
            "failed 2 failed Video 2".to_owned(),
            format!("saved 1 completed Video 1 {}", file.display()),
        ]
    );
    let row: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(bench.path("row.json")).unwrap()).unwrap();
    assert_eq!(row["id"], 1);
    bench
        .tracker_with(&["check", "--hook", LOG])
        .exits(0)
        .silent();
    assert_eq!(log(&bench).len(), 4, "nothing is told twice");
}

#[test]
fn nothing_is_remembered_for_a_hook_that_is_not_configured() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    bench.tracker("check").exits(0);
    bench
        .tracker_with(&["check", "--hook", LOG])
        .exits(0)
        .silent();
    assert_eq!(log(&bench), [""; 0]);
}

#[test]
fn a_hook_that_fails_is_tried_again_by_later_checks_and_given_up_after_five_tries() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.heygen.fail(&bench.video_id(1), "x", "y");
    let failing = "test $TRACKER_EVENT = idle || { echo try >> log; exit 7; }";
    for tries in 1..=5 {
        let check = bench.tracker_with(&["check", "--hook", failing]).exits(1);
        let news = tries == 1 || tries == 5;
        assert_eq!(
            check.stderr.contains("exit status: 7"),
            news,
            "{}",
            check.screen()
        );
        assert_eq!(log(&bench).len(), tries);
    }
    bench
        .tracker_with(&["check", "--hook", failing])
        .exits(0)
        .silent();
    assert_eq!(log(&bench).len(), 5);
}

#[test]
fn a_hook_that_kills_the_program_is_given_up_after_five_tries() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.heygen.fail(&bench.video_id(1), "x", "y");
    let deadly = "test $TRACKER_EVENT = idle || { echo try >> log; kill -9 $PPID; }";
    let check = || bench.tracker_with(&["check", "--hook", deadly]);
    eventually("it is given up", || {
        check().stderr.contains("is not tried again")
    });
    check().exits(0).silent();
    assert_eq!(log(&bench).len(), 5);
}

#[test]
fn a_check_that_a_hook_makes_leaves_its_events_to_the_run_that_started_the_hook() {
    for is_option in [false, true] {
        let bench = Bench::new();
        bench.submit(2).exits(0);
        for id in 1..=2 {
            bench.heygen.finish(&bench.video_id(id));
        }
        let hook = format!("echo $TRACKER_EVENT $TRACKER_ID >> log; {TRACKER} check -q");
        let mut check = bench.command(["check", "1"]);
        match is_option {
            true => check.args(["--hook", &hook]),
            false => check.env("TRACKER_HOOK", &hook),
        };
        run(&mut check).exits(0);
        let mut told = log(&bench);
        told.sort();
        let all = ["completed 1", "completed 2", "idle 2", "saved 1", "saved 2"];
        assert_eq!(told, all);
    }
}

#[test]
fn a_title_is_never_part_of_a_command_line() {
    let bench = Bench::new();
    let body = r#"{"type":"avatar","avatar_id":"a","voice_id":"v","script":"s","title":"$(touch hacked); `touch hacked`\u0000"}"#;
    bench.file("body.json", body);
    bench.tracker("submit body.json").exits(0);
    bench.heygen.fail(&bench.video_id(1), "x", "y");
    bench.tracker_with(&["check", "--hook", LOG]).exits(0);
    assert!(!bench.path("hacked").exists());
    assert!(log(&bench)[0].contains("$(touch hacked); `touch hacked`"));
}

#[test]
fn a_video_that_renders_for_more_than_an_hour_is_said_to_have_stalled_once() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.advance(Duration::from_secs(59 * 60));
    bench.tracker("check").exits(0).silent();
    bench.advance(Duration::from_secs(2 * 60));
    let check = bench.tracker("check -q").exits(0);
    assert!(
        check.stdout.starts_with("1 stalled \"Video 1\": "),
        "{}",
        check.screen()
    );
    bench.tracker("check").exits(0).silent();
    let row = &bench.tracker("list --json").exits(0).json()[0];
    assert_eq!(row["stalled"], true);
    bench.heygen.finish(&bench.video_id(1));
    bench.tracker("check").exits(0);
    let row = &bench.tracker("list --json").exits(0).json()[0];
    assert_eq!(
        (&row["stalled"], &row["status"]),
        (&false.into(), &"completed".into())
    );
}

/// Item 14 of the robustness list: a kill leaves the hook running, and nobody starts it again beside itself.
#[test]
#[cfg(target_os = "linux")]
fn a_hook_that_outlives_a_killed_check_is_not_started_beside_itself() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.heygen.fail(&bench.video_id(1), "x", "y");
    let hook = "test $TRACKER_EVENT = failed || exit 0; echo begun >> log; until test -e go; do sleep 0.05; done; echo done >> log";
    let mut check = bench.command(["check", "--hook", hook]).spawn().unwrap();
    eventually("the hook begins", || log(&bench) == ["begun"]);
    check.kill().unwrap();
    check.wait().unwrap();
    bench.tracker_with(&["check", "--hook", hook]).exits(0);
    assert_eq!(log(&bench), ["begun"], "one at a time");
    bench.file("go", "");
    eventually("it ends", || {
        log(&bench).last().is_some_and(|line| line == "done")
    });
    // Nobody saw it succeed.
    eventually("a check tells it again", || {
        bench.tracker_with(&["check", "--hook", hook]).exits(0);
        log(&bench).len() == 4
    });
}
