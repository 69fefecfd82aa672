//! Submitting: the options of `submit` and `check` that are about submitting.

use super::*;

#[test]
fn submit_prints_one_line_per_body_and_nothing_else() {
    let bench = Bench::new();
    let submit = bench.submit(2).exits(0);
    let expected = format!(
        "1\t{}\twaiting\n2\t{}\twaiting\n",
        bench.video_id(1),
        bench.video_id(2)
    );
    assert_eq!((submit.stdout, submit.stderr), (expected, String::new()));
    ends_well(&bench);
}

#[test]
fn submit_json_is_one_video_object_per_body_even_in_trouble() {
    let bench = Bench::new();
    bench.file("two.jsonl", bodies(2));
    bench.heygen.set_reachable(Host::Api, false).expect("down");
    let submit = bench.tracker("submit --json two.jsonl").exits(0);
    let objects = submit.json();
    assert_eq!(objects.len(), 2, "{}", submit.screen());
    for (object, id) in objects.iter().zip(1..) {
        assert_eq!(object["id"], json!(id));
        assert_eq!(object["status"], json!("unsent"));
        assert_eq!(object["video_id"], json!(null));
    }
    assert!(submit.stderr.contains("do not submit again"));
    bench.heygen.set_reachable(Host::Api, true).expect("up");
    converges(&bench);
}

#[test]
fn queue_records_and_check_sends() {
    let bench = Bench::new();
    bench.file("two.jsonl", bodies(2));
    // No key is needed to write something down.
    let submit = tracker_env(
        &bench,
        "submit --queue two.jsonl",
        &[("HEYGEN_API_KEY", "")],
    )
    .exits(0);
    assert_eq!(submit.stdout, "1\t\tunsent\n2\t\tunsent\n");
    assert_eq!(submit.stderr, "");
    assert_eq!(bench.heygen.requests().len(), 0);
    bench.tracker("check").exits(0).silent();
    ends_well(&bench);
}

#[test]
fn max_active_counts_what_heygen_has_in_work() {
    let bench = queued_on(Bench::new(), 5);
    bench.tracker("check --max-active 2").exits(0).silent();
    assert_eq!(bench.heygen.billed().len(), 2);
    bench.tracker("check --max-active 2").exits(0).silent();
    assert_eq!(bench.heygen.billed().len(), 2);
    let first = bench.heygen.videos().remove(0);
    bench.heygen.finish(&first);
    bench.tracker("check --max-active 2").exits(0);
    assert_eq!(bench.heygen.billed().len(), 3, "counted fresh");
    bench.tracker("check --max-active 0").exits(0).silent();
    assert_eq!(bench.heygen.billed().len(), 3);
    converges(&bench);
}

#[test]
fn max_active_never_holds_back_a_replay() {
    let bench = unanswered();
    bench.advance(MINUTE + SECOND);
    bench.tracker("check --max-active 0").exits(0);
    assert_same_posts(&bench, 3);
    ends_well(&bench);
}

#[test]
fn if_new_submits_an_equal_body_only_when_there_is_no_good_one() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    // Equal as a JSON value: other order, other white space.
    bench.file(
        "equal.json",
        r#"{ "script":"Hello there", "title":"Hello", "voice_id":"v1", "avatar_id":"a1", "type":"avatar" }"#,
    );
    let submits = |again: bool, why: &str| {
        let before = bench.heygen.billed().len();
        bench.tracker("submit --if-new equal.json").exits(0);
        assert_eq!(
            bench.heygen.billed().len() - before,
            usize::from(again),
            "{why}"
        );
    };
    let newest = || bench.heygen.videos().pop().expect("a video");

    bench.tracker("submit body.json").exits(0);
    submits(false, "in work");
    let known = bench
        .tracker("submit --if-new equal.json equal.json")
        .exits(0);
    let line = format!("1\t{}\twaiting\n", bench.video_id(1));
    assert_eq!(known.stdout, line.repeat(2), "the row that is there");

    bench.heygen.fail(&newest(), "oops", "no");
    bench.tracker("check").exits(0);
    submits(true, "the other one failed");
    bench.heygen.finish(&newest());
    bench.tracker("check").exits(0);
    submits(false, "completed lately");
    bench.advance(24 * HOUR + SECOND);
    submits(true, "completed long ago");
    bench.tracker("submit body.json").exits(0);
    assert_eq!(
        bench.heygen.billed().len(),
        4,
        "without --if-new it is bought"
    );
    ends_well(&bench);
}

#[test]
fn if_new_sees_twins_within_one_command() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let submit = bench
        .tracker("submit --if-new body.json body.json")
        .exits(0);
    assert_eq!(submit.stdout.lines().count(), 2);
    assert_eq!(bench.heygen.billed().len(), 1);
    ends_well(&bench);
}

#[test]
fn a_request_key_names_one_submission() {
    let bench = Bench::new();
    bench.file(
        "two.jsonl",
        format!("{BODY}\n{}\n", BODY.replace("Hello", "Bye")),
    );
    bench.file("body.json", BODY);
    for dry_run in ["", " --dry-run"] {
        let two = format!("submit two.jsonl --request-key mine{dry_run}");
        let refused = bench.tracker(&two).exits(2);
        assert!(refused.stderr.contains("not 2"), "{}", refused.screen());
    }
    assert!(!bench.db_path().exists());
    for _ in 0..2 {
        bench
            .tracker("submit body.json --request-key mine")
            .exits(0);
    }
    for (arguments, why) in [
        (
            "two.json --request-key mine",
            "1 has another body under the request key mine",
        ),
        ("two.json --request-key=", "a value is required"),
    ] {
        bench.file("two.json", BODY.replace("Hello", "Bye"));
        let refused = bench.tracker(&format!("submit {arguments}")).exits(2);
        assert!(refused.stderr.contains(why), "{}", refused.screen());
    }
    assert_eq!(bench.heygen.billed().len(), 1);
    ends_well(&bench);
}

#[test]
fn a_dry_run_counts_only_what_would_be_submitted() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench
        .tracker("submit body.json --request-key mine")
        .exits(0);
    for options in ["--if-new", "--request-key mine"] {
        let dry = format!("submit body.json --dry-run {options}");
        let text = bench.tracker(&dry).exits(0);
        assert_eq!(text.stdout, "");
        for words in ["body.json: submitted before as 1", "0 would be submitted"] {
            assert!(text.stderr.contains(words), "{}", text.screen());
        }
        let json = bench.tracker(&format!("{dry} --json")).exits(0).json();
        assert_eq!(json[0]["known"], 1, "{json:?}");
        assert_eq!(json[0]["duplicates"][0], 1, "{json:?}");
    }
    assert_eq!(bench.heygen.posts().len(), 1);
}

#[test]
fn a_dry_run_counts_equal_bodies_of_one_file_as_the_run_does() {
    let bench = Bench::new();
    bench.file("same.jsonl", format!("{BODY}\n{BODY}\n"));
    for (option, count) in [("", 2), (" --if-new", 1)] {
        let dry = format!("submit same.jsonl --dry-run{option}");
        let dry = bench.tracker(&dry).exits(0);
        assert_eq!(dry.stdout.lines().count(), count, "{}", dry.screen());
        let words = format!("{count} would be submitted");
        assert!(dry.stderr.contains(&words), "{}", dry.screen());
        let skipped = dry
            .stderr
            .contains("body 2: the same body as one before it");
        assert_eq!(skipped, count == 1, "{}", dry.screen());
    }
    bench.tracker("submit same.jsonl --if-new").exits(0);
    assert_eq!(bench.heygen.billed().len(), 1);
    ends_well(&bench);
}

#[test]
fn dry_run_records_and_sends_nothing_and_names_every_twin() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let dry = tracker_env(
        &bench,
        "submit --dry-run body.json",
        &[("HEYGEN_API_KEY", "")],
    )
    .exits(0);
    assert_eq!(dry.stdout, format!("{BODY}\n"));
    assert!(!bench.db_path().exists());
    assert_eq!(bench.heygen.requests().len(), 0);

    bench.tracker("submit body.json").exits(0);
    bench.advance(24 * 400 * HOUR);
    let dry = bench
        .tracker("submit --dry-run body.json --title Hello")
        .exits(0);
    assert!(dry.stderr.contains("is 1 (waiting)"), "{}", dry.screen());
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "1");
    bench.tracker("submit --dry-run missing.json").exits(2);
    assert_eq!(bench.heygen.posts().len(), 1);
}

#[test]
fn wait_generates_polls_downloads_and_prints_the_path() {
    let bench = Bench::with(Options::default());
    let submit = bench
        .tracker_with(&[
            "submit",
            "--avatar-id",
            "a",
            "--voice-id",
            "v",
            "--script",
            "Hello there",
            "--wait",
            "--interval",
            "10ms",
        ])
        .exits(0);
    let path = bench.path(&format!("output/{}.mp4", bench.video_id(1)));
    assert_eq!(
        submit.stdout,
        format!("1\t{}\tcompleted\t{}\n", bench.video_id(1), path.display())
    );
    let sent: serde_json::Value =
        serde_json::from_slice(&bench.heygen.posts()[0].body).expect("JSON");
    assert_eq!(
        sent,
        json!({"type": "avatar", "avatar_id": "a", "voice_id": "v", "script": "Hello there"})
    );
    ends_well(&bench);
}

#[test]
fn wait_says_how_it_ended_by_its_exit_code() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench
        .tracker("submit body.json --wait --timeout 50ms --interval 10ms")
        .exits(4);
    let doomed = Bench::with(Options {
        fail_rate: 1.0,
        ..Options::default()
    });
    doomed.file("body.json", BODY);
    let submit = "submit body.json --wait --interval 10ms --request-key once";
    doomed.tracker(submit).exits(5);
    doomed.tracker(submit).exits(5);
    doomed
        .tracker("submit body.json --request-key once")
        .exits(0);
    assert_same_posts(&doomed, 1);
    converges(&bench);
}
