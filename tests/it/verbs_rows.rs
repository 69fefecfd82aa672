//! What `add`, `retry` and `forget` do to rows, and what they refuse.

use std::io::Write as _;
use std::process::Stdio;

use crate::heygen::{Fault, Options};
use crate::support::{BODY, Bench, Run, TRACKER, end, run, start};

impl Bench {
    /// A row in that phase, some of which take hours in real life.
    fn row_in(&self, phase: &str) -> i64 {
        self.file("body.json", BODY);
        // Only what was sent knows its account.
        let queue = if phase == "sending" { "" } else { "--queue" };
        self.tracker(&format!("submit body.json {queue}")).exits(0);
        let row = self.query("SELECT max(id) FROM videos").parse().unwrap();
        let video_id = (phase == "missing").then(|| format!("gone-away-{row}"));
        self.db()
            .execute(
                "UPDATE videos SET phase = ?1, video_id = ?2, remote_status = NULL, outcome = NULL, accepted_at = NULL,
                        first_unanswered_at = iif(?1 = 'sending', submitted_at, NULL), rev = rev + 1
                 WHERE id = ?3",
                rusqlite::params![phase, video_id, row],
            )
            .expect("a row");
        row
    }

    /// One that failed and one that is completed and saved.
    fn failed_and_completed(&self) -> (i64, i64) {
        self.submit(2).exits(0);
        self.heygen.fail(&self.video_id(1), "no_face", "No face");
        self.heygen.finish(&self.video_id(2));
        self.tracker("check").exits(0);
        (1, 2)
    }

    fn rows(&self) -> String {
        self.query("SELECT count(*) FROM videos")
    }

    /// `INPUT | tracker ARGUMENTS`.
    fn piped(&self, input: &str, arguments: &str) -> Run {
        let mut command = self.command(arguments.split_whitespace());
        let mut child = start(command.stdin(Stdio::piped()));
        let mut stdin = child.stdin.take().expect("stdin");
        stdin.write_all(input.as_bytes()).expect("a reader");
        drop(stdin);
        end(child)
    }
}

/// What stands on stderr holds each of these.
#[track_caller]
fn says(run: &Run, words: &[&str]) {
    for word in words {
        assert!(run.stderr.contains(word), "{word:?} in\n{}", run.screen());
    }
}

#[test]
fn add_reads_what_scripts_write() {
    let bench = Bench::new();
    bench.file(
        "pending-video.json",
        r#"{"videoId": "unix", "createdAt": 1700000000, "script": "Hi"}"#,
    );
    bench.file(
        "video-result.json",
        r#"{"videoId": "iso", "createdAt": "2024-02-29T10:00:00.000Z", "avatarId": "a", "voiceId": "v", "url": 1}"#,
    );
    let run = bench.tracker("add pending-video.json video-result.json --json");
    let rows = run.exits(0).json();
    assert_eq!(rows[0]["submitted_at"], "2023-11-14T22:13:20Z");
    assert_eq!(rows[1]["submitted_at"], "2024-02-29T10:00:00Z");
    let show = &bench.tracker("show unix --json").exits(0).json()[0];
    assert_eq!(
        (&show["script"], &show["request"]),
        (&"Hi".into(), &serde_json::Value::Null)
    );
    assert_eq!(bench.heygen.requests().len(), 0, "no network");
}

#[test]
fn add_reads_what_the_official_client_prints() {
    for (printed, ids, skipped) in [
        (r#"{"data": {"video_id": "one"}}"#, "one", None),
        (r#"{"data": {"id": "one", "title": "T"}}"#, "one", None),
        (
            r#"{"data": [{"id": "one"}, {"id": null}, {"id": "two"}]}"#,
            "one two",
            Some("1 entry"),
        ),
        (
            r#"{"data": {"items": [{"video_id": "one"}, {"video_id": null}, null]}}"#,
            "one",
            Some("2 entries"),
        ),
        (
            "{\"video_id\": \"one\"}\n{\"video_id\": \"two\"}\n",
            "one two",
            None,
        ),
    ] {
        let bench = Bench::new();
        let run = bench.piped(printed, "add - --tag launch").exits(0);
        let added: Vec<&str> = run
            .stdout
            .lines()
            .filter_map(|line| line.split('\t').nth(1))
            .collect();
        assert_eq!(added.join(" "), ids, "{printed}");
        match skipped {
            Some(count) => says(&run, &[count, "without a video id skipped"]),
            None => assert_eq!(run.stderr, ""),
        }
        let tagged = bench.tracker("list --tag launch").exits(0);
        assert_eq!(tagged.stdout.lines().count(), added.len());
    }
}

#[test]
fn add_records_nothing_when_anything_is_bad() {
    let bench = Bench::new();
    bench.file("good.json", r#"{"videoId": "good"}"#);
    for (bad, place) in [
        ("", "bad.json"),
        ("not JSON", "bad.json"),
        (r#"{"error": {"code": "unauthorized"}}"#, "no video id"),
        (r#"{"data": [{"id": "a"}, {"id": 7}]}"#, "data[1].id"),
        (r#"{"videoId": "a", "createdAt": "yesterday"}"#, "createdAt"),
        ("{\"id\": \"a\"}\n{}\n", "value 2"),
    ] {
        bench.file("bad.json", bad);
        let run = bench.tracker("add good.json bad.json").exits(2);
        says(&run, &["error: ", "hint: ", place]);
        assert!(!bench.db_path().exists(), "{bad}");
    }
    bench.tracker("add good.json no-such-file.json").exits(2);
    assert!(!bench.db_path().exists());
}

#[test]
fn add_of_a_known_id_changes_nothing_and_says_so() {
    let bench = Bench::new();
    bench.tracker("add video-one --tag first").exits(0);
    let before = bench.tracker("show 1 --json").exits(0).stdout;
    let run = bench.tracker("add video-one --tag second --output-dir elsewhere --assets gif");
    says(&run.exits(0), &["already tracked as 1: video-one"]);
    assert_eq!(bench.tracker("show 1 --json").exits(0).stdout, before);
    assert_eq!(bench.rows(), "1");
}

#[test]
fn what_was_added_is_downloaded_like_any_other() {
    let bench = Bench::new();
    bench.heygen.add_video("made-elsewhere", "completed");
    bench
        .tracker("add made-elsewhere --output-dir videos --name clip-{id}")
        .exits(0);
    let check = bench.tracker("check").exits(0);
    assert!(
        check.stdout.contains("videos/clip-1.mp4"),
        "{}",
        check.screen()
    );
    bench.assert_files_in(&bench.path("videos"));
    assert_eq!(bench.heygen.billed().len(), 0);
}

#[test]
fn add_as_tells_what_became_of_an_unknown_or_sending_row() {
    for phase in ["unknown", "sending"] {
        let bench = Bench::new();
        let row = bench.row_in(phase);
        bench.heygen.add_video("found-video", "completed");
        let posts = bench.heygen.posts().len();
        let add = || bench.tracker(&format!("add found-video --as {row}"));
        add().exits(0);
        says(&add().exits(0), &["already tracked as 1"]);
        bench.tracker("check").exits(0);
        assert_eq!(
            (bench.status(row), bench.rows()),
            ("completed".into(), "1".into())
        );
        assert!(bench.path("output/found-video.mp4").exists());
        assert_eq!(bench.heygen.posts().len(), posts, "it is not bought again");
    }
}

#[test]
fn add_as_is_for_nothing_else() {
    let bench = Bench::new();
    let (failed, completed) = bench.failed_and_completed();
    let unknown = bench.row_in("unknown");
    for row in [failed, completed] {
        let run = bench
            .tracker(&format!("add other-video --as {row}"))
            .exits(2);
        says(&run, &["only a row with an unanswered attempt", "hint: "]);
    }
    let taken = bench.video_id(completed);
    let run = bench
        .tracker(&format!("add {taken} --as {unknown}"))
        .exits(2);
    says(&run, &["is tracked already, as 2"]);
    bench
        .tracker(&format!("add video-a video-b --as {unknown}"))
        .exits(2);
    bench.tracker("add other-video --as 99").exits(1);
    assert_eq!(bench.status(unknown), "unknown");
}

#[test]
fn a_missing_row_comes_back_when_it_is_added_again() {
    let bench = Bench::new();
    let row = bench.row_in("missing");
    let id = bench.video_id(row);
    bench.tracker("check").exits(0).silent();
    bench.heygen.add_video(&id, "completed");
    let run = bench.tracker(&format!("add {id}")).exits(0);
    says(&run, &["1 was missing; tracker check asks for it again"]);
    bench.tracker("check").exits(0);
    assert_eq!(bench.status(row), "completed");
}

#[test]
fn retry_buys_what_ended_without_a_video_once() {
    for phase in ["failed", "rejected", "missing", "unknown"] {
        let bench = Bench::new();
        let row = if phase == "failed" {
            bench.failed_and_completed().0
        } else {
            bench.row_in(phase)
        };
        let before = bench.heygen.billed().len();
        let retry = format!("retry {row} --json");
        let new = &bench.tracker(&retry).exits(0).json()[0];
        assert_eq!(
            (&new["retry_of"], &new["status"]),
            (&row.into(), &"waiting".into()),
            "{phase}"
        );
        let again = &bench.tracker(&retry).exits(0).json()[0];
        assert_eq!(again["id"], new["id"], "{phase}");
        assert_eq!(bench.heygen.billed().len(), before + 1, "{phase}");
        assert_eq!(bench.status(row), phase, "the old row stays as it was");
        bench.assert_invariants();
    }
}

#[test]
fn retry_refuses_what_has_or_will_have_a_video() {
    let bench = Bench::new();
    let (_, completed) = bench.failed_and_completed();
    let unsent = bench.row_in("unsent");
    let sending = bench.row_in("sending");
    let posts = bench.heygen.posts().len();
    for (row, hint) in [
        (completed, "download"),
        (unsent, "check"),
        (sending, "check"),
    ] {
        // One that may not be bought again keeps back the others, too.
        let run = bench.tracker(&format!("retry 1 {row}")).exits(2);
        says(&run, &[&format!("hint: tracker {hint} {row}")]);
    }
    bench.tracker("add made-elsewhere").exits(0);
    bench.heygen.add_video("made-elsewhere", "failed");
    bench.tracker("check made-elsewhere").exits(0);
    says(
        &bench.tracker("retry made-elsewhere").exits(2),
        &["made elsewhere", "hint: "],
    );
    assert_eq!(
        (bench.heygen.posts().len(), bench.rows()),
        (posts, "5".into())
    );
}

#[test]
fn what_became_a_video_of_another_row_is_not_to_be_retried() {
    let bench = Bench::new();
    bench.tracker("add made-by-hand").exits(0);
    bench.heygen.add_video("made-by-hand", "processing");
    let answer = serde_json::json!({"data": {"video_id": "made-by-hand"}});
    let answer = Fault::json(200, &answer).times(2);
    bench.heygen.fault("POST /v3/videos", answer);
    bench.file("body.json", BODY);
    let submit = bench.tracker("submit body.json").exits(1);
    says(&submit, &["hint: tracker show 2 shows which\n"]);
    let show = bench.tracker("show 2").exits(0).stdout;
    assert!(
        show.contains("row 1") && show.contains("hint  ") && !show.contains("tracker retry"),
        "{show}"
    );
    let hint = "hint: tracker show 2 shows which";
    says(&bench.tracker("retry 2").exits(2), &[hint]);
    says(
        &bench.tracker("retry --failed").exits(0),
        &["nothing failed"],
    );
    assert_eq!(bench.rows(), "2");
}

#[test]
fn retry_failed_takes_every_failed_and_rejected_row_once() {
    let bench = Bench::new();
    bench.failed_and_completed();
    bench.row_in("rejected");
    bench.row_in("unknown");
    bench.row_in("missing");
    let dry = bench.tracker("retry --failed --dry-run").exits(0);
    assert_eq!(
        (dry.stdout.lines().count(), bench.rows()),
        (2, "5".into()),
        "{}",
        dry.screen()
    );
    let originals = |run: Run| -> Vec<i64> {
        let rows = run.exits(0).json();
        rows.iter()
            .filter_map(|row| row["retry_of"].as_i64())
            .collect()
    };
    let mut bought = originals(bench.tracker("retry --failed --json"));
    bought.sort_unstable();
    assert_eq!(bought, [1, 3]);
    assert_eq!(originals(bench.tracker("retry --failed --json")), [0; 0]);
    assert_eq!(bench.heygen.billed().len(), 4);
}

/// Or HeyGen would answer the next retry with the video of the one before.
#[test]
fn the_key_of_a_forgotten_retry_is_not_used_again() {
    let bench = Bench::new();
    let (failed, _) = bench.failed_and_completed();
    let retry = format!("retry {failed}");
    bench.tracker(&retry).exits(0);
    let first = bench.query("SELECT max(id) FROM videos");
    let id = bench.video_id(first.parse().unwrap());
    bench.heygen.fail(&id, "internal", "no luck");
    bench.tracker("check").exits(0);
    // Although it cannot be read.
    bench.query("UPDATE videos SET tags = '[1]' WHERE id = 3 RETURNING 1");
    bench.tracker(&format!("forget {first} --force")).exits(0);
    bench.tracker(&retry).exits(0);
    let second = bench.query("SELECT max(id) FROM videos");
    assert_ne!(bench.video_id(second.parse().unwrap()), id);
    assert_eq!(bench.heygen.billed().len(), 4);
}

#[test]
fn retry_failed_takes_whatever_list_calls_failed() {
    let bench = Bench::new();
    let words = ["failed", "canceled", "trashed", "deleted", "expired"];
    bench.submit(words.len() + 2).exits(0);
    for (row, word) in (1..).zip(words) {
        bench.heygen.set_status(&bench.video_id(row), word);
    }
    bench.heygen.finish(&bench.video_id(6));
    bench.tracker("check").exits(0);
    let listed = bench.tracker("list --failed").exits(0).stdout;
    let dry = bench.tracker("retry --failed --dry-run").exits(0).stdout;
    for run in [listed, dry] {
        assert_eq!(run.lines().count(), words.len(), "{run}");
    }
}

#[test]
fn retry_takes_the_old_rows_settings_and_flags_override_them() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench
        .tracker("submit body.json --tag old --output-dir videos --name {id} --assets video,gif")
        .exits(0);
    bench.heygen.fail(&bench.video_id(1), "x", "y");
    bench.tracker("check").exits(0);
    bench.file("shorter.txt", "Hi");
    let assets = "SELECT group_concat(asset, ' ') FROM (SELECT asset FROM files WHERE video = 2 ORDER BY asset)";

    bench.tracker("retry 1 --queue").exits(0);
    let same = &bench.tracker("show 2 --json").exits(0).json()[0];
    assert_eq!(same["request"]["script"], "Hello there");
    assert_eq!(same["tags"], serde_json::json!(["old"]));
    assert_eq!(same["output_dir"], bench.path("videos").to_str().unwrap());
    assert_eq!(bench.query(assets), "gif video");
    assert_eq!(
        bench.query("SELECT name_template FROM videos WHERE id = 2"),
        "{id}"
    );

    bench.tracker("forget 2 --force").exits(0);
    bench.tracker("retry 1 --script @shorter.txt --title Again --tag new --output-dir other --assets video").exits(0);
    let row = bench.query("SELECT max(id) FROM videos");
    let other = &bench.tracker(&format!("show {row} --json")).exits(0).json()[0];
    assert_eq!(
        other["request"],
        serde_json::json!({"type": "avatar", "avatar_id": "a1", "voice_id": "v1", "title": "Again", "script": "Hi"})
    );
    assert_eq!(other["tags"], serde_json::json!(["new"]));
    assert_eq!(other["output_dir"], bench.path("other").to_str().unwrap());
    assert_eq!(other["files"].as_array().map(Vec::len), Some(1));
}

#[test]
fn forget_refuses_what_may_still_bring_a_paid_video() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    bench.heygen.finish(&bench.video_id(2));
    bench.tracker("check --no-download").exits(0);
    for (row, why) in [
        (1, "is still rendering"),
        (2, "is not saved yet"),
        (bench.row_in("unsent"), "is still to be sent"),
        (bench.row_in("sending"), "may have been created and charged"),
        (bench.row_in("unknown"), "is unknown"),
    ] {
        let run = bench.tracker(&format!("forget {row}")).exits(2);
        says(&run, &[&format!("{row} {why}"), "hint: --force"]);
    }
    let (rejected, missing) = (bench.row_in("rejected"), bench.row_in("missing"));
    bench.tracker(&format!("forget {rejected} 1")).exits(2);
    assert_eq!(bench.rows(), "7", "all or none");
    bench
        .tracker(&format!("forget {rejected} {missing}"))
        .exits(0);
    bench.tracker("forget 1 2 3 4 5 --force --dry-run").exits(0);
    assert_eq!(bench.rows(), "5");
    bench.tracker("forget 1 2 3 4 5 --force").exits(0);
    assert_eq!(bench.rows(), "0");
    assert_eq!(
        bench.heygen.videos().len(),
        3,
        "nothing is deleted at HeyGen"
    );
}

#[test]
fn forget_older_than_drops_old_finished_rows_and_no_file() {
    let bench = Bench::new();
    bench.failed_and_completed();
    bench.row_in("unsent");
    bench.row_in("unknown");
    bench.advance(std::time::Duration::from_secs(8 * 86400));
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    bench.heygen.fail(&bench.video_id(5), "x", "y");
    bench.tracker("check 5").exits(0);
    let saved = bench.path(&format!("output/{}.mp4", bench.video_id(2)));
    bench.tracker("forget --older-than 7d --dry-run").exits(0);
    assert_eq!(bench.rows(), "5");
    let run = bench.tracker("forget --older-than 7d").exits(0);
    assert_eq!(run.stdout.lines().count(), 2, "{}", run.screen());
    assert_eq!(
        bench.query("SELECT min(id) || '-' || max(id) FROM videos"),
        "3-5"
    );
    assert!(saved.exists());
    says(
        &bench.tracker("forget --older-than 7d").exits(0),
        &["no finished video is that old"],
    );
}

#[test]
fn the_same_retry_again_is_the_same_row_and_another_one_is_refused() {
    let bench = Bench::new();
    bench.failed_and_completed();
    bench.tracker("retry 1 --script Shorter").exits(0);
    let again = bench.tracker("retry 1 --script Shorter").exits(0);
    assert!(again.stdout.starts_with("3\t"), "{}", again.screen());
    for arguments in [
        "retry 1",
        "retry 1 --script Other",
        "retry 1 --script Other --dry-run",
    ] {
        let run = bench.tracker(arguments).exits(2);
        says(&run, &["1 was already retried as 3", "--again"]);
    }
    let dry = bench.tracker("retry 1 --script Shorter --dry-run").exits(0);
    let words = "the body of 1: submitted before as 3";
    says(&dry, &[words, "0 would be submitted"]);
    let body = bench.query("SELECT request FROM videos WHERE id = 1");
    bench.file("body.json", body);
    bench
        .tracker("submit body.json --request-key mine")
        .exits(0);
    let dry = bench
        .tracker("retry 1 --again --request-key mine --dry-run")
        .exits(0);
    says(&dry, &["the body of 1: submitted before as 4"]);
    bench.tracker("forget 4 --force").exits(0);
    assert_eq!(bench.rows(), "3");
    bench.tracker("retry 1 --script Shorter --again").exits(0);
    bench.tracker("retry 1 --script Other --again").exits(0);
    assert_eq!((bench.rows(), bench.heygen.billed().len()), ("5".into(), 6));
    bench.assert_invariants();
}

#[test]
fn a_retry_after_a_restore_is_the_same_submission() {
    let bench = Bench::new();
    bench.failed_and_completed();
    let backup = "PRAGMA wal_checkpoint(TRUNCATE)";
    bench.query(backup);
    std::fs::copy(bench.db_path(), bench.path("backup")).expect("a backup");
    bench.tracker("retry 1").exits(0);
    let id = bench.video_id(3);
    bench.query(backup);
    std::fs::copy(bench.path("backup"), bench.db_path()).expect("a restore");
    assert_eq!(bench.rows(), "2");
    bench.tracker("retry 1").exits(0);
    assert_eq!((bench.video_id(3), bench.heygen.billed().len()), (id, 3));
}

#[test]
fn a_dry_run_of_retry_names_no_row_as_its_own_duplicate() {
    let bench = Bench::new();
    bench.failed_and_completed();
    let dry = bench.tracker("retry --failed --dry-run").exits(0);
    assert!(!dry.stderr.contains("the same body"), "{}", dry.screen());
}

#[test]
fn retry_and_add_as_do_not_both_take_an_unknown_row() {
    let bench = Bench::new();
    let row = bench.row_in("unknown");
    bench.tracker(&format!("retry {row}")).exits(0);
    let run = bench
        .tracker(&format!("add found-at-heygen --as {row}"))
        .exits(2);
    says(&run, &["was retried as 2", "a row of its own"]);

    // Whichever of two that run at once comes first, the other sees it.
    for _ in 0..8 {
        let row = bench.row_in("unknown");
        bench
            .tracker(&format!("forget {} --force", row - 1))
            .exits(0);
        let retry = bench.start(&format!("retry {row} --queue"));
        let add = bench.start(&format!("add found-{row}-at-heygen --as {row}"));
        let codes = (end(retry).code, end(add).code);
        assert!(
            matches!(codes, (Some(0), Some(2)) | (Some(2), Some(0))),
            "{codes:?}"
        );
    }
}

#[test]
fn what_is_no_id_is_not_added() {
    let bench = Bench::new();
    for typed in [".", "..", "short", "not an id"] {
        let run = bench.tracker_with(&["add", typed]).exits(2);
        says(&run, &["hint: "]);
    }
    assert!(!bench.db_path().exists());
    bench.tracker("add short --force").exits(0);
}

#[test]
fn a_body_submitted_before_is_pointed_out() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    for quiet in ["", "-q"] {
        let run = bench.tracker(&format!("submit body.json {quiet}")).exits(0);
        says(
            &run,
            &["has the same body as", "(waiting, submitted ", "--if-new"],
        );
    }
    let run = bench.tracker("submit body.json --if-new").exits(0);
    assert!(!run.stderr.contains("same body"), "{}", run.screen());
    assert_eq!(bench.rows(), "3");
    for id in 1..=3 {
        bench
            .heygen
            .fail(&bench.video_id(id), "RENDERING_FAILED", "no luck");
    }
    bench.tracker("check").exits(0);
    for option in ["", "--if-new"] {
        let submit = format!("submit body.json --queue {option}");
        let run = bench.tracker(&submit).exits(0);
        says(&run, &["has the same body as 3 (failed, submitted "]);
        assert!(!run.stderr.contains("--if-new"), "{}", run.screen());
        let newest = bench.query("SELECT max(id) FROM videos");
        bench.tracker(&format!("forget {newest} --force")).exits(0);
    }
}

#[test]
fn edit_changes_title_and_labels_here_and_nothing_at_heygen() {
    let bench = Bench::new();
    bench.failed_and_completed();
    let requests = bench.heygen.requests().len();
    let edit = ["edit", "2", "--title", "Final cut", "--tag", "launch,draft"];
    let run = bench.tracker_with(&edit).exits(0);
    says(&run, &["changed here only"]);
    assert_eq!(run.stdout, "2\tlaunch,draft\tFinal cut\n");
    bench.tracker("edit 2 --untag draft --tag launch").exits(0);
    let show = &bench.tracker("show 2 --json").exits(0).json()[0];
    assert_eq!(
        (&show["title"], &show["tags"]),
        (&"Final cut".into(), &serde_json::json!(["launch"]))
    );
    assert_eq!(bench.heygen.requests().len(), requests);
    bench.tracker("edit 2").exits(2);
    bench.tracker("edit 99 --tag x").exits(1);
    let beginning = &bench.video_id(2)[..31];
    bench
        .tracker(&format!("edit {beginning} --tag last"))
        .exits(0);
}

#[test]
fn open_hands_the_file_or_the_page_to_the_desktop() {
    let bench = Bench::new();
    let (failed, completed) = bench.failed_and_completed();
    bench.file(
        "script",
        "#!/bin/sh\necho \"$1 ${HEYGEN_API_KEY-no key}\" > opened\n",
    );
    // By another process: a child that another test starts just now would hold what is written here, and nothing can run
    // what somebody may write to.
    bench
        .shell("cp script xdg-open && chmod 755 xdg-open")
        .exits(0);
    let open = |arguments: String| {
        let mut command = bench.command(arguments.split_whitespace());
        run(command.env(
            "PATH",
            format!("{}:/usr/bin:/bin", bench.dir.path().display()),
        ))
    };
    let opened = || std::fs::read_to_string(bench.path("opened")).expect("it was called");
    open(format!("open {completed}")).exits(0).silent();
    let file = bench.path(&format!("output/{}.mp4", bench.video_id(completed)));
    assert_eq!(opened(), format!("{} no key\n", file.display()));
    open(format!("open {completed} --web")).exits(0).silent();
    let page = bench.query("SELECT video_page_url FROM videos WHERE id = 2");
    assert_eq!(opened(), format!("{page} no key\n"));
    says(
        &open(format!("open {failed}")).exits(2),
        &["has no saved file", "hint: "],
    );
    bench.query("DELETE FROM files WHERE video = 2 RETURNING 1");
    let hint =
        "hint: tracker download 2 --assets video fetches it; tracker open 2 --web opens its page\n";
    says(&open(format!("open {completed}")).exits(2), &[hint]);
    for page in [
        "file:///etc/passwd",
        "http://127.0.0.1.example/",
        "http://127.0.0.1:8080/",
        "https://app.heygen.com/\u{202e}4pm",
    ] {
        bench
            .db()
            .execute("UPDATE videos SET video_page_url = ? WHERE id = 2", [page])
            .expect("a row");
        open(format!("open {completed} --web")).exits(2);
    }
    let hint = "hint: tracker download 2 --assets video fetches it\n";
    says(&open(format!("open {completed}")).exits(2), &[hint]);
    bench.tracker("download 2").exits(0);
    let mut without = bench.command(["open", "2", "--json"]);
    let without = run(without.env("PATH", "/nowhere")).exits(1);
    assert_eq!(without.stdout, "");
    let error: serde_json::Value = serde_json::from_str(&without.stderr).expect("JSON");
    assert_eq!(error["error"]["code"], "file_error");
    assert!(
        error["error"]["hint"].to_string().contains(".mp4"),
        "{error}"
    );
}

/// Whatever is asked for, not only the body.
#[test]
fn a_second_retry_with_other_labels_or_another_directory_is_refused() {
    let bench = Bench::new();
    bench.failed_and_completed();
    bench.tracker("retry 1 --tag x --output-dir there").exits(0);
    for same in [
        "retry 1 --tag x --output-dir there",
        "retry 1 --tag x",
        "retry 1",
    ] {
        let again = bench.tracker(same).exits(0);
        assert!(
            again.stdout.starts_with("3\t"),
            "{same}: {}",
            again.screen()
        );
    }
    for other in [
        "--tag y",
        "--tag x,y",
        "--output-dir elsewhere",
        "--assets none",
        "--name {id}",
    ] {
        let refused = bench.tracker(&format!("retry 1 {other}")).exits(2);
        let names_it = refused.stderr.contains("already retried as 3");
        assert!(names_it, "{other}: {}", refused.screen());
        bench
            .tracker(&format!("retry 1 {other} --dry-run"))
            .exits(2);
    }
    assert_eq!((bench.rows(), bench.heygen.billed().len()), ("3".into(), 3));
    bench.tracker("retry 1 --tag y --again").exits(0);
    assert_eq!(bench.rows(), "4");
}

#[test]
fn an_edited_title_stays_whatever_heygen_says_later() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    bench.tracker("edit 1 --title Mine").exits(0);
    bench.tracker("edit 2 --tag t").exits(0);
    bench.query("UPDATE videos SET title = 'Old' WHERE id = 2 RETURNING 1");
    for row in 1..=2 {
        bench.heygen.finish(&bench.video_id(row));
    }
    bench.tracker("check").exits(0);
    let titles = bench.query("SELECT group_concat(title, '|') FROM videos");
    assert_eq!(
        titles, "Mine|Video 2",
        "HeyGen's replaces only what nobody edited"
    );
}

#[test]
fn what_waits_for_another_key_is_said_by_list_show_and_doctor() {
    let bench = Bench::with(Options {
        other_keys: vec!["second-key".to_owned()],
        ..Options::default()
    });
    bench.file("body.json", BODY);
    bench.tracker("submit --queue body.json").exits(0);
    let words = "belongs to another account";
    let asked_with = |key: &str, arguments: &str| {
        let mut command = bench.command(arguments.split_whitespace());
        run(command.env("HEYGEN_API_KEY", key)).exits(0).stdout
    };
    let doctor = asked_with("second-key", "doctor");
    assert!(doctor.contains("of that account sends them"), "{doctor}");
    for verb in ["show 1", "doctor"] {
        let said = |key| {
            asked_with(key, verb)
                .replace("belong to", "belongs to")
                .contains(words)
        };
        assert_eq!(
            (said("second-key"), said(bench.heygen.key())),
            (true, false),
            "{verb}"
        );
    }
    if let Some(list) = bench.terminal_shows(100, "list") {
        assert!(!list.contains(words), "{list}");
        let other = "list; HEYGEN_API_KEY=second-key $TRACKER list".replace("$TRACKER", TRACKER);
        let list = bench.terminal_shows(100, &other).unwrap();
        assert!(list.contains(words), "{list}");
    }
}
