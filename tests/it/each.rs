//! `submit --each`: one body for many people, from the table to the file of each.

use crate::support::{Bench, run};

const BODY: &str = r#"{"type":"avatar","avatar_id":"a1","voice_id":"v1","title":"For {{first_name}}","script":"Hi {{first_name}}"}"#;
const PEOPLE: &str =
    "\u{feff}email;first_name\nann@x.example;Ann\nbob@x.example;\"Bob \"\"B\"\"\"\n";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.file("people.csv", PEOPLE);
    bench
}

#[test]
fn a_table_becomes_a_video_for_each_line_and_the_line_stays_with_it() {
    let bench = bench();
    let submit =
        "submit body.json --each people.csv --tag list,{{first_name}} --name {{email}}-{id}";
    bench.tracker(submit).exits(0);
    assert_eq!(bench.heygen.billed().len(), 2);
    let show = &bench.tracker("show 2 --json").exits(0).json()[0];
    assert_eq!(show["request"]["script"], "Hi Bob \"B\"");
    assert_eq!(show["title"], "For Bob \"B\"");
    assert_eq!(show["tags"], serde_json::json!(["list", "Bob \"B\""]));
    assert_eq!(show["data"]["email"], "bob@x.example");
    let found = bench.tracker("list --search ann@x --csv --fields id,data.email");
    assert_eq!(
        found.exits(0).stdout.replace('\r', ""),
        "id,data.email\n1,ann@x.example\n"
    );

    bench.heygen.finish(&bench.video_id(1));
    let mut check = bench.command(["check"]);
    check.env(
        "TRACKER_HOOK",
        "echo \"$TRACKER_EVENT $TRACKER_DATA\" >> hooks",
    );
    let run = run(&mut check).exits(0);
    assert!(
        run.stdout.contains("output/ann@x.example-1.mp4"),
        "{}",
        run.screen()
    );
    let hooks = std::fs::read_to_string(bench.path("hooks")).expect("a hook");
    let line = r#"saved {"email":"ann@x.example","first_name":"Ann"}"#;
    assert!(hooks.contains(line), "{hooks}");
}

#[test]
fn the_same_table_with_more_lines_submits_only_those() {
    let bench = bench();
    let submit = "submit body.json --each people.csv --if-new";
    bench.tracker(submit).exits(0);
    // The same name is not the same person.
    bench.file("people.csv", format!("{PEOPLE}carl@x.example;Ann\n"));
    let run = bench.tracker(submit).exits(0);
    assert_eq!(run.stdout.lines().count(), 3, "{}", run.screen());
    assert_eq!(bench.heygen.billed().len(), 3);
}

#[test]
fn what_does_not_fit_is_named_with_its_line_and_nothing_is_recorded() {
    let bench = bench();
    bench.file("short.csv", "email,first_name\na@x,Ann\nb@x\n");
    bench.file("empty.csv", "email,first_name\na@x,Ann\nb@x,\n");
    bench.file("other.csv", "email,name\na@x,Ann\n");
    bench.file("two.jsonl", format!("{BODY}\n{BODY}\n"));
    for (arguments, word) in [
        (
            "submit body.json --each short.csv",
            "short.csv, line 3: has 1 cells",
        ),
        (
            "submit body.json --each empty.csv",
            "empty.csv, line 3: \"first_name\" is empty",
        ),
        (
            "submit body.json --each other.csv",
            "other.csv, line 2: there is no column \"first_name\"",
        ),
        (
            "submit two.jsonl --each people.csv",
            "--each takes one body, not 2",
        ),
        (
            "submit body.json --each people.csv --request-key k",
            "--request-key names one submission, not 2",
        ),
        (
            "submit body.json --each people.csv --request-key k --dry-run",
            "--request-key names one submission, not 2",
        ),
        ("submit body.json --each nowhere.csv", "no such file"),
        ("submit - --each -", "standard input"),
        ("submit body.json --allow-empty", "--each"),
        (
            "submit --avatar-id a --voice-id v --script {first_name} --each people.csv --dry-run",
            "every line would get the same video",
        ),
    ] {
        let run = bench.tracker(arguments).exits(2);
        assert!(run.stderr.contains(word), "{}", run.screen());
    }
    assert!(!bench.db_path().exists());
    bench
        .tracker("submit body.json --each empty.csv --allow-empty")
        .exits(0);
}

#[test]
fn labels_of_a_table_are_separated_like_those_that_are_typed() {
    let bench = bench();
    bench.file(
        "people.csv",
        "first_name;groups\nAnn;\"new, north \"\nBob;\n",
    );
    let submit = "submit body.json --each people.csv --allow-empty --queue --tag {{groups}},list";
    bench.tracker(submit).exits(0);
    let tags = |row: i64| bench.query(&format!("SELECT tags FROM videos WHERE id = {row}"));
    assert_eq!(tags(1), r#"["new","north","list"]"#);
    assert_eq!(tags(2), r#"["list"]"#);
}

#[test]
fn a_dry_run_shows_how_many_the_first_body_and_the_longest_script() {
    let bench = bench();
    let script = [
        "--script",
        "Hello {{first_name}}",
        "--avatar-id",
        "a",
        "--voice-id",
        "v",
    ];
    let mut arguments = vec!["submit", "--each", "people.csv", "--dry-run"];
    arguments.extend(script);
    let run = bench.tracker_with(&arguments).exits(0);
    assert!(
        run.stdout.contains("Hello Ann") && !run.stdout.contains("Bob"),
        "{}",
        run.screen()
    );
    for word in [
        "2 would be submitted",
        "2 lines",
        "longest script has 13 characters (people.csv, line 3)",
    ] {
        assert!(run.stderr.contains(word), "{}", run.screen());
    }
    assert!(!bench.db_path().exists());

    arguments.retain(|argument| *argument != "--dry-run");
    bench.tracker_with(&arguments).exits(0);
    arguments.push("--dry-run");
    let run = bench.tracker_with(&arguments).exits(0);
    assert!(
        run.stderr
            .contains("bodies not shown that are in rows already: 1"),
        "{}",
        run.screen()
    );
}

#[test]
fn ten_thousand_lines_are_recorded_in_one_transaction() {
    let bench = bench();
    let lines: String = (0..10_000)
        .map(|n| format!("p{n}@x.example,P{n}\n"))
        .collect();
    bench.file("people.csv", format!("email,first_name\n{lines}"));
    bench
        .tracker("submit body.json --each people.csv --queue -q")
        .exits(0);
    assert_eq!(
        bench.query("SELECT count(DISTINCT body_hash) FROM videos"),
        "10000"
    );
}

#[test]
fn a_retry_keeps_the_line_of_its_original() {
    let bench = bench();
    bench.tracker("submit body.json --each people.csv").exits(0);
    bench.heygen.fail(&bench.video_id(2), "no_face", "No face");
    bench.tracker("check").exits(0);
    bench.tracker("retry 2").exits(0);
    let show = &bench.tracker("show 3 --json").exits(0).json()[0];
    assert_eq!(show["data"]["email"], "bob@x.example");
}
