//! What `list` selects, and how much of it.

use std::time::Duration;

use crate::support::{BODY, Bench, Run, well_before_midnight};

const DAY: Duration = Duration::from_secs(86400);

/// Submits one body and fails it with that message, or leaves it in work.
fn video(bench: &Bench, title: &str, script: &str, flags: &str) {
    let mut body: serde_json::Value = serde_json::from_str(BODY).unwrap();
    body["title"] = title.into();
    body["script"] = script.into();
    bench.file("body.json", body.to_string());
    bench
        .tracker(&format!("submit body.json --queue {flags}"))
        .exits(0);
}

/// Ten days of history: 1 is the oldest and failed, 2 was rejected, 3 and 4 wait.
fn history() -> Bench {
    let bench = Bench::new();
    video(&bench, "100% sure", "one", "--tag old,launch");
    bench.tracker("check").exits(0);
    bench
        .heygen
        .fail(&bench.video_id(1), "no_face", "No face in the picture");
    bench.tracker("check").exits(0);
    bench.advance(5 * DAY);
    video(&bench, "1000 sure", "snake_case", "--tag launch");
    bench
        .db()
        .execute(
            "UPDATE videos SET phase = 'rejected', rev = rev + 1 WHERE id = 2",
            [],
        )
        .expect("a row");
    bench.advance(5 * DAY);
    video(&bench, "Third", "snakeXcase", "--tag old");
    video(&bench, "Fourth", "four", "");
    bench
}

fn ids(run: Run) -> String {
    let run = run.exits(0);
    let ids: Vec<&str> = run
        .stdout
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    ids.join(" ")
}

#[test]
fn filters() {
    well_before_midnight();
    let bench = history();
    for (flags, expected) in [
        ("", "4 3 2 1"),
        ("-s failed", "1"),
        ("--status failed,rejected", "2 1"),
        ("-s failed -s unsent", "4 3 1"),
        ("--unfinished", "4 3"),
        ("--since 6d", "4 3 2"),
        ("--until 6d", "1"),
        ("--since 6d --until 1h", "2"),
        ("--until 2000-01-01", ""),
        ("--until today", "4 3 2 1"),
        ("--until yesterday", "2 1"),
        ("--since 2000-01-01T10:00", "4 3 2 1"),
        ("--tag launch", "2 1"),
        ("--tag old,launch", "1"),
        ("--tag old --unfinished", "3"),
        // What LIKE would take for any text, and for any character.
        ("--search 100%", "1"),
        ("--search 100", "2 1"),
        ("--search e_c", "2"),
        ("--search E_C", "2"),
        ("--search face", "1"),
        ("--search nowhere", ""),
    ] {
        let run = bench.tracker(&format!("list {flags}"));
        assert_eq!(ids(run), expected, "list {flags}");
    }
}

#[test]
fn days_are_whole_and_local() {
    let bench = Bench::new();
    video(&bench, "Late", "s", "");
    // 23:30 in UTC is the next day in Berlin.
    bench
        .db()
        .execute("UPDATE videos SET submitted_at = 1767310200000", [])
        .expect("a row");
    let list = |zone: &str, flags: &str| {
        let arguments = format!("list {flags}");
        let mut command = bench.command(arguments.split_whitespace());
        ids(crate::support::run(command.env("TZ", zone)))
    };
    for (zone, day) in [("UTC", "2026-01-01"), ("Europe/Berlin", "2026-01-02")] {
        if zone != "UTC" && !std::path::Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
            crate::support::skipped("no time zones here");
            return;
        }
        assert_eq!(
            list(zone, &format!("--since {day} --until {day}")),
            "1",
            "{zone}"
        );
    }
    assert_eq!(list("Europe/Berlin", "--until 2026-01-01"), "");
    assert_eq!(list("UTC", "--since 2026-01-02"), "");
}

#[test]
fn thirty_are_shown_and_the_rest_is_announced() {
    let bench = Bench::new();
    bench.rendering(35);
    let run = bench.tracker("list").exits(0);
    assert_eq!(run.stdout.lines().count(), 30);
    assert_eq!(run.stderr, "showing 30 of 35; -L 0 for all\n");
    for (flags, shown, said) in [
        ("-L 0", 35, ""),
        ("-L 35", 35, ""),
        ("-L 34", 34, "showing 34 of 35; -L 0 for all\n"),
        ("-L 2 --json", 2, "showing 2 of 35; -L 0 for all\n"),
        ("-L 2 -q", 2, ""),
        ("-L 2 --csv", 3, "showing 2 of 35; -L 0 for all\n"),
    ] {
        let run = bench.tracker(&format!("list {flags}")).exits(0);
        assert_eq!(
            (run.stdout.lines().count(), run.stderr.as_str()),
            (shown, said),
            "list {flags}"
        );
    }
}

#[test]
fn a_reader_that_wants_one_line_gets_it_quietly() {
    let bench = Bench::new();
    bench.rendering(2000);
    let run = bench
        .shell("set -o pipefail; tracker list -L 0 | head -1")
        .exits(0);
    assert!(run.stdout.starts_with("2000\t"), "{}", run.screen());
    assert_eq!(run.stderr, "");
}

#[test]
fn if_new_finds_what_was_bought_before_however_it_is_written() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    let reordered = r#"{ "script": "Hello there", "title": "Hel\u006co", "voice_id": "v1",
                         "avatar_id": "a1", "type": "avatar" }"#;
    bench.file("same.json", reordered);
    bench.file("other.json", BODY.replace("there", "you"));
    let buy = |file: &str| {
        let run = bench.tracker(&format!("submit {file} --if-new")).exits(0);
        let row = run.stdout.split('\t').next().unwrap_or_default();
        row.to_owned()
    };
    assert_eq!(
        (buy("body.json"), buy("same.json")),
        ("1".into(), "1".into()),
        "in work"
    );
    assert_eq!(buy("other.json"), "2");

    bench.heygen.finish(&bench.video_id(1));
    bench.heygen.fail(&bench.video_id(2), "x", "y");
    bench.tracker("check").exits(0);
    assert_eq!(buy("same.json"), "1", "just made");
    assert_eq!(buy("other.json"), "3", "a failed one is no video");
    bench.advance(Duration::from_secs(25 * 3600));
    assert_eq!(buy("same.json"), "4", "made long ago");
    assert_eq!(bench.heygen.billed().len(), 4);
    let twins = &bench
        .tracker("submit same.json --dry-run --json")
        .exits(0)
        .json()[0]["duplicates"];
    assert_eq!(*twins, serde_json::json!([4, 1]));
}

#[test]
fn a_label_is_the_same_whichever_verb_it_is_given_to() {
    let bench = Bench::new();
    let tags = |row: i64| bench.query(&format!("SELECT tags FROM videos WHERE id = {row}"));
    bench.file("body.json", BODY);
    let submit = ["submit", "body.json", "--queue", "--tag", " a, b c,"];
    bench.tracker_with(&submit).exits(0);
    assert_eq!(tags(1), r#"["a","b c"]"#);
    for tag in ["a", " b c ", "a,b c,", "b c, a"] {
        let found = ids(bench.tracker_with(&["list", "--tag", tag]));
        assert_eq!(found, "1", "{tag:?}");
    }
    bench
        .db()
        .execute("UPDATE videos SET phase = 'rejected'", [])
        .expect("a row");
    let retry = ["retry", "1", "--queue", "--tag", "d , e", "--tag", "f,"];
    bench.tracker_with(&retry).exits(0);
    assert_eq!(tags(2), r#"["d","e","f"]"#);
    bench
        .tracker_with(&["add", "made-elsewhere", "--tag", ", a ,b"])
        .exits(0);
    assert_eq!(tags(3), r#"["a","b"]"#);
    bench
        .tracker_with(&["edit", "3", "--tag", "c,, a", "--untag", " b,"])
        .exits(0);
    assert_eq!(tags(3), r#"["a","c"]"#);
    // A variable that is not set must not become every row.
    for verb in [
        "submit body.json",
        "retry 1 --again",
        "add other-one",
        "edit 3",
        "list",
        "gallery",
    ] {
        let mut arguments: Vec<&str> = verb.split(' ').collect();
        arguments.extend(["--tag", ""]);
        let refused = bench.tracker_with(&arguments).exits(2);
        assert!(
            refused.stderr.contains("there is no label in it"),
            "{verb}: {}",
            refused.screen()
        );
    }
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "3");
}

#[test]
fn a_long_text_is_searched_for_as_well() {
    let bench = Bench::new();
    let script = "Snow ".repeat(24_000);
    video(&bench, "Long", &script, "");
    video(&bench, "Short", "Snow", "");
    // A little less than Linux allows one argument.
    let search = |text: &str| ids(bench.tracker_with(&["list", "--search", text]));
    assert_eq!(search(&script.trim_end().to_uppercase()), "1");
    assert_eq!(search(&script.replace("w S", "w T")), "");
    let gallery = [
        "gallery",
        "--output",
        "page.html",
        "--search",
        script.trim_end(),
    ];
    bench.tracker_with(&gallery).exits(0);
    let html = std::fs::read_to_string(bench.path("page.html")).expect("the page");
    assert_eq!(html.matches("<article").count(), 1);
}

#[test]
fn the_beginning_of_a_session_s_id_names_its_row() {
    let bench = Bench::new();
    bench.tracker("submit --prompt Tea").exits(0);
    let session = bench.query("SELECT session_id FROM videos");
    let shown = bench
        .tracker(&format!("show {} --json", &session[..31]))
        .exits(0);
    assert_eq!(shown.json()[0]["session_id"], session.as_str());
}
