//! `add --all` and `add --batch`: what the account has and no row knows becomes a row, once.

use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};

use crate::heygen::{Fault, Options};
use crate::support::{Bench, Run};

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Bench {
    /// Completed videos made elsewhere, oldest first.
    fn made_elsewhere(&self, numbers: std::ops::RangeInclusive<usize>) {
        for n in numbers {
            self.heygen
                .add_video(&format!("elsewhere-{n:04}"), "completed");
        }
    }

    fn job_elsewhere(&self, kind: &'static str, id: &str, word: &str) {
        self.heygen.add_video(id, word);
        let mut world = self.heygen.world();
        world.video_mut(id).expect("a job").kind = kind;
    }

    fn count(&self) -> usize {
        let rows = self.query("SELECT count(*) FROM videos");
        rows.parse().expect("a number")
    }

    /// A run and the paths it asked for.
    fn asking_for(&self, arguments: &str) -> (Run, Vec<String>) {
        let before = self.heygen.api_requests().len();
        let run = self.tracker(arguments);
        let requests = self.heygen.api_requests().split_off(before);
        let paths = requests.into_iter().map(|request| request.path);
        (run, paths.collect())
    }
}

#[track_caller]
fn says(run: &Run, words: &str) {
    assert!(run.stderr.contains(words), "{words:?} in\n{}", run.screen());
}

#[test]
fn what_no_row_knows_becomes_a_row_with_one_request_for_a_hundred() {
    let bench = Bench::new();
    bench.made_elsewhere(1..=1000);
    let known: Vec<String> = (480..520).map(|n| format!("elsewhere-{n:04}")).collect();
    bench.tracker(&format!("add {}", known.join(" "))).exits(0);
    let before = bench.query("SELECT group_concat(rev) FROM videos");

    let (run, paths) = bench.asking_for("add --all --assets none --tag old");
    let run = run.exits(0);
    assert_eq!(run.stdout.lines().count(), 960);
    let newest = run.stdout.lines().next();
    assert_eq!(newest, Some("41\telsewhere-1000\tcompleted"));
    says(&run, "40 ids are tracked already");
    assert_eq!(paths, ["/v3/videos"; 10]);
    assert_eq!(bench.count(), 1000);
    let known = "SELECT group_concat(rev) FROM videos WHERE id <= 40";
    assert_eq!(bench.query(known), before, "known rows stay as they are");
    let whole = "SELECT count(*) FROM videos WHERE finished AND duration > 0 AND completed_at > 0
                 AND account IS NOT NULL AND tags = '[\"old\"]'";
    assert_eq!(bench.query(whole), "960");

    let (again, paths) = bench.asking_for("add --all");
    assert_eq!((again.exits(0).stdout.as_str(), paths.len()), ("", 10));
    assert_eq!(bench.count(), 1000);
    assert!(bench.heygen.posts().is_empty());
}

#[test]
fn what_was_added_is_saved_by_the_next_check() {
    let bench = Bench::new();
    bench.made_elsewhere(1..=2);
    bench.heygen.add_video("failed-elsewhere", "failed");
    bench.heygen.add_video("renders-elsewhere", "processing");
    let run = bench
        .tracker("add --all --output-dir there --json")
        .exits(0);
    let rows = run.json();
    let status = |row: &Value| row["status"].as_str().map(str::to_owned);
    let words: Vec<_> = rows.iter().filter_map(status).collect();
    assert_eq!(words, ["processing", "failed", "completed", "completed"]);
    assert_eq!(rows[1]["failure_code"], "script_too_long");
    bench.tracker("check").exits(0);
    bench.assert_files_in(&bench.path("there"));
    assert_eq!(
        bench.query("SELECT group_concat(finished) FROM videos"),
        "0,1,1,1"
    );
}

#[test]
fn since_ends_the_list_where_the_older_ones_begin() {
    let bench = Bench::new();
    bench.made_elsewhere(1..=250);
    bench.heygen.advance(DAY);
    bench.made_elsewhere(251..=400);
    let between = bench.heygen.world().now() - DAY / 2;
    let between = DateTime::from_timestamp(between.as_secs() as i64, 0).expect("a time");
    let between = between.format("%Y-%m-%dT%H:%M:%SZ");
    let (run, paths) = bench.asking_for(&format!("add --all --since {between}"));
    assert_eq!(run.exits(0).stdout.lines().count(), 150);
    assert_eq!(paths.len(), 2, "what is older is not asked for");
    bench.tracker("add --all --since never").exits(2);
}

#[test]
fn every_kind_has_a_list_of_its_own() {
    let bench = Bench::new();
    bench.made_elsewhere(1..=1);
    bench.job_elsewhere("translation", "translated", "completed");
    bench.job_elsewhere("lipsync", "synced", "processing");
    bench.job_elsewhere("agent", "a-session", "completed");
    bench.job_elsewhere("agent", "b-session", "waiting_for_input");
    for (kind, row) in [
        ("translation", "1\ttranslated\tcompleted\n"),
        ("lipsync", "2\tsynced\trunning\n"),
        ("agent", "3\t\twaiting_for_input\n4\tv-session\tcompleted\n"),
        // The other video is the session's.
        ("video", "5\telsewhere-0001\tcompleted\n"),
    ] {
        let run = bench.tracker(&format!("add --all --kind {kind}")).exits(0);
        assert_eq!(run.stdout, row, "{kind}");
        let again = bench.tracker(&format!("add --all --kind {kind}")).exits(0);
        assert_eq!(again.stdout, "", "{kind}");
    }
    bench.tracker("check").exits(0);
    let unfinished = "SELECT group_concat(kind) FROM videos WHERE NOT finished";
    assert_eq!(bench.query(unfinished), "lipsync,agent");
    for kind in ["model", "template"] {
        let run = bench.tracker(&format!("add --all --kind {kind}")).exits(2);
        says(&run, &format!("no list of the kind {kind}"));
    }
}

/// HeyGen's list of videos has those of sessions and does not say so.
#[test]
fn the_video_of_a_session_that_is_tracked_gets_no_row_of_its_own() {
    let bench = Bench::new();
    bench
        .tracker_with(&["submit", "--prompt", "A film"])
        .exits(0);
    let session = bench.heygen.videos().pop().expect("a session");
    bench.heygen.finish(&session);
    let run = bench.tracker("add --all").exits(0);
    assert_eq!((run.stdout.as_str(), bench.count()), ("", 1));
    bench.tracker("check").exits(0);
    bench.tracker("check").exits(0);
    assert_eq!(bench.query("SELECT finished FROM videos"), "1");
}

/// Added the other way round, by hand.
#[test]
fn a_session_whose_video_has_a_row_leaves_the_files_to_it() {
    let bench = Bench::new();
    bench.job_elsewhere("agent", "a-session", "completed");
    bench.tracker("add --all").exits(0);
    bench.tracker("add a-session --kind agent").exits(0);
    let hook = "echo $TRACKER_EVENT $TRACKER_ID >> log";
    let check = ["check", "--exit-status", "--hook", hook];
    bench.tracker_with(&check).exits(0);
    let log = std::fs::read_to_string(bench.path("log")).expect("a log");
    assert!(!log.contains("failed"), "nothing is lost: {log}");
    let run = bench.tracker("check").exits(0);
    run.silent();
    let rows =
        "SELECT group_concat(status || finished || coalesce(video_id, session_id)) FROM videos";
    assert_eq!(bench.query(rows), "completed1v-session,completed1a-session");
    let shown = bench.tracker("show 2").exits(0).stdout;
    assert!(shown.contains("row 1 has its video"), "{shown}");
    assert!(bench.path("output/v-session.mp4").exists());
}

#[test]
fn a_dry_run_shows_and_writes_nothing() {
    let bench = Bench::new();
    bench.made_elsewhere(1..=3);
    let run = bench.tracker("add --all --dry-run").exits(0);
    assert_eq!(run.stdout.lines().count(), 3);
    assert!(
        run.stdout.starts_with("elsewhere-0003\t"),
        "{}",
        run.screen()
    );
    says(&run, "3 would be added; nothing was recorded");
    assert!(bench.everything().is_empty());

    bench.tracker("add elsewhere-0002").exits(0);
    let before = bench.query("SELECT group_concat(id || video_id || rev) FROM videos");
    let run = bench.tracker("add --all --dry-run --json").exits(0);
    let ids: Vec<Value> = run
        .json()
        .iter()
        .map(|row| row["video_id"].clone())
        .collect();
    assert_eq!(ids, ["elsewhere-0003", "elsewhere-0001"]);
    let after = bench.query("SELECT group_concat(id || video_id || rev) FROM videos");
    assert_eq!(after, before);
}

#[test]
fn a_page_that_fails_leaves_those_before_it_and_the_next_run_adds_the_rest() {
    let failures: [(Fault, i32, &str); 4] = [
        (Fault::status(500).times(3), 1, "run it again"),
        (Fault::status(401), 3, "check the key"),
        (Fault::html(200), 1, "run it again"),
        (Fault::retry_after(429, "3600"), 1, "run it again"),
    ];
    for (fault, code, hint) in failures {
        let bench = Bench::new();
        bench.made_elsewhere(1..=250);
        bench.heygen.fault("GET /v3/videos", fault.nth(1));
        let run = bench.tracker("add --all").exits(code);
        assert_eq!(run.stdout.lines().count(), 100, "{}", run.screen());
        says(&run, hint);
        assert_eq!(bench.count(), 100);
        let rest = bench.tracker("add --all").exits(0);
        assert_eq!(rest.stdout.lines().count(), 150);
        assert_eq!(bench.count(), 250);
    }
}

#[test]
fn a_busy_heygen_is_waited_for() {
    let bench = Bench::new();
    bench.made_elsewhere(1..=150);
    let busy = Fault::retry_after(429, "1").nth(1);
    bench.heygen.fault("GET /v3/videos", busy);
    let (run, paths) = bench.asking_for("add --all");
    assert_eq!(run.exits(0).stdout.lines().count(), 150);
    assert_eq!(paths.len(), 3);
}

#[test]
fn a_list_without_an_end_is_left() {
    let page = |next: &str| json!({"data": [{"id": "only-one", "status": "completed"}], "has_more": true, "next_token": next});
    let bench = Bench::new();
    for next in ["a", "b", "c"] {
        let turn = Fault::json(200, &page(next));
        bench.heygen.fault("GET /v3/videos", turn);
    }
    let circle = Fault::json(200, &page("b")).forever();
    bench.heygen.fault("GET /v3/videos", circle);
    let (run, paths) = bench.asking_for("add --all");
    says(&run.exits(1), "circles");
    assert!(paths.len() < 10, "{} requests", paths.len());
    assert_eq!(bench.count(), 1);
}

#[test]
fn entries_that_make_no_sense_are_counted_and_the_others_added() {
    let bench = Bench::with(Options {
        key: "hg-0123456789abcdef".to_owned(),
        ..Options::default()
    });
    let key = bench.heygen.key();
    let page = json!({"data": [
        {"id": "good-one", "status": "trashed", "title": "\u{1b}[31mred\n", "created_at": "soon", "duration": -1},
        {"status": "completed"}, {"id": null, "status": "completed"}, {"id": "", "status": "x"},
        {"id": "x".repeat(10_000), "status": "completed"}, {"id": format!("a-{key}-b"), "status": "completed"},
        7, null, "text", [], {"id": {"id": "deeper"}},
        {"id": "../../etc/passwd\n\u{202e}", "status": "completed"},
        {"id": "without-a-word"},
    ]});
    bench
        .heygen
        .fault("GET /v3/videos", Fault::json(200, &page));
    let run = bench.tracker("add --all").exits(0);
    bench.assert_decent(&run);
    assert_eq!(run.stdout.lines().count(), 3, "{}", run.screen());
    says(&run, "10 entries without a usable id left out");
    let ended = "SELECT finished FROM videos WHERE video_id = 'good-one'";
    assert_eq!(bench.query(ended), "1", "what is in the trash has ended");
    bench.assert_invariants();
}

#[test]
fn a_batch_becomes_its_videos_and_a_rejected_row_for_each_body_that_was_refused() {
    let bench = Bench::new();
    bench.made_elsewhere(1..=2);
    let made = |n: usize, id: &str| json!({"item_index": n, "status": "completed", "video_id": id, "error": null});
    let refused = |n: usize| {
        let error = json!({"code": "invalid_parameter", "message": "type is required."});
        json!({"item_index": n, "status": "failed", "video_id": null, "error": error})
    };
    let items = [
        made(0, "elsewhere-0001"),
        refused(1),
        refused(2),
        made(3, "elsewhere-0002"),
    ];
    let batch =
        json!({"data": {"batch_id": "b1", "items": items}, "has_more": false, "next_token": null});
    let route = "GET /v3/videos/batches/b1";
    bench.heygen.fault(route, Fault::json(200, &batch).times(2));
    bench.tracker("add elsewhere-0002").exits(0);
    let run = bench.tracker("add --batch b1 --tag b").exits(0);
    says(&run, "already tracked as 1: elsewhere-0002");
    assert_eq!(
        run.stdout,
        "2\telsewhere-0001\twaiting\n3\t\trejected\n4\t\trejected\n1\telsewhere-0002\twaiting\n"
    );
    let rejected = bench
        .tracker("list --status rejected --json")
        .exits(0)
        .json();
    assert_eq!(rejected.len(), 2);
    assert_eq!(rejected[0]["failure_code"], "invalid_parameter");
    assert_eq!(rejected[0]["failure_message"], "type is required.");
    assert_eq!(
        (&rejected[0]["finished"], &rejected[0]["tags"]),
        (&json!(true), &json!(["b"]))
    );

    let again = bench.tracker("add --batch b1").exits(0);
    says(&again, "already tracked as 3: batch:b1:1");
    assert_eq!(bench.count(), 4);
    bench.tracker("check").exits(0);
    assert_eq!(
        bench.query("SELECT count(*) FROM videos WHERE NOT finished"),
        "0"
    );
    bench.tracker("retry 3").exits(2);
    let shown = bench.tracker("show 3").exits(0);
    assert!(
        !shown.stdout.contains("tracker retry"),
        "{}",
        shown.screen()
    );
    let missing = bench.tracker("add --batch no-such-batch").exits(1);
    says(&missing, "ot found");
    bench.assert_invariants();
}

#[test]
fn a_batch_is_read_to_its_last_page_and_what_is_not_made_yet_waits() {
    let bench = Bench::new();
    let item = |n: usize| json!({"item_index": n, "status": "queued", "video_id": format!("of-batch-{n}")});
    let first = json!({"data": {"items": [item(0), item(1)], "has_more": true, "next_token": "t"}});
    let rest = json!({"data": {"items": [item(2), {"item_index": 3, "status": "queued", "video_id": null}, {"status": "x"}]}});
    let route = "GET /v3/videos/batches/b1";
    bench.heygen.fault(route, Fault::json(200, &first));
    bench.heygen.fault(route, Fault::json(200, &rest));
    let run = bench.tracker("add --batch b1").exits(0);
    assert_eq!(run.stdout.lines().count(), 3);
    says(&run, "1 item has no video yet");
    says(&run, "1 entry without a number left out");
}

/// See `kill_sweep`.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn whenever_it_is_killed_whole_pages_stay_and_no_row_is_doubled() {
    use crate::sweep::{PLAYS, Strikes, chosen, disturb, kill_at};
    use crate::tracer::{Act, why_not};

    if let Some(reason) = why_not() {
        crate::support::skipped(&reason);
        return;
    }
    let bench = || {
        let bench = Bench::new();
        bench.made_elsewhere(1..=220);
        bench
    };
    let calls = disturb(&bench(), "add --all", |_, _| Act::Go).calls;
    let mut strikes = Strikes::default();
    for number in chosen(calls.len(), 20) {
        let killed = (0..PLAYS).find_map(|_| {
            let bench = bench();
            let killed = kill_at(&bench, "add --all", number);
            killed.was_killed().then_some((bench, killed))
        });
        let Some((bench, killed)) = killed else {
            strikes.missed();
            continue;
        };
        strikes.hit(&killed.calls[number - 1]);
        bench.assert_decent(&killed.run);
        bench.assert_nothing_locked();
        let added = bench.tracker("add --all").exits(0).stdout.lines().count();
        assert!([0, 20, 120, 220].contains(&added), "{added} at {number}");
        assert_eq!(bench.count(), 220);
        let ids = "SELECT count(DISTINCT video_id) FROM videos WHERE status = 'completed'";
        assert_eq!(bench.query(ids), "220");
        assert_eq!(bench.tracker("add --all").exits(0).stdout, "");
    }
    strikes.conclude("killed add --all", calls.len());
}

#[test]
fn trouble_with_one_session_or_a_hook_keeps_no_video_out() {
    let bench = Bench::new();
    bench
        .tracker_with(&["submit", "--prompt", "A film"])
        .exits(0);
    let session = bench.heygen.videos().pop().expect("a session");
    bench.job_elsewhere("video", "elsewhere", "completed");
    let route = format!("GET /v3/video-agents/{session}");
    bench.heygen.fault(&route, Fault::status(404).forever());
    bench.tracker("add --all").exits(1);
    assert_eq!(bench.count(), 2);
}

#[test]
fn a_session_whose_video_has_a_row_costs_nothing_while_nothing_happens() {
    let bench = Bench::new();
    bench
        .tracker_with(&["submit", "--prompt", "A film"])
        .exits(0);
    let session = bench.heygen.videos().pop().expect("a session");
    bench.heygen.set_status(&session, "generating");
    bench.heygen.add_video("v-tracked", "processing");
    bench.tracker("add v-tracked").exits(0);
    let names_it = Fault::patch_detail(json!({"video_id": "v-tracked"}));
    let route = format!("GET /v3/video-agents/{session}");
    bench.heygen.fault(&route, names_it.forever());
    bench.tracker("check").exits(0);
    let state = "SELECT rev || ' ' || moved_at FROM videos WHERE id = 1";
    let before = bench.query(state);
    bench.tracker("check").exits(0);
    bench.tracker("check").exits(0);
    assert_eq!(bench.query(state), before);
}
