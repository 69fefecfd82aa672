//! Every kind of job, from its body to its files.

use serde_json::{Value, json};

use crate::heygen::Fault;
use crate::support::{Bench, Run};

/// Each kind, a body it takes, and where it is sent.
pub fn kinds() -> [(&'static str, Value, &'static str); 5] {
    let link = json!({"type": "url", "url": "https://example.com/v.mp4"});
    [
        (
            "agent",
            json!({"prompt": "A film about the sea"}),
            "/v3/video-agents",
        ),
        (
            "translation",
            json!({"video": link, "output_languages": ["French"]}),
            "/v3/video-translations",
        ),
        (
            "lipsync",
            json!({"video": link, "audio": link}),
            "/v3/lipsyncs",
        ),
        ("model", json!({"prompt": "Waves"}), "/v3/models/videos"),
        ("template", json!({"variables": {}}), "/v3/templates/t1"),
    ]
}

fn submit(bench: &Bench, kind: &str, body: &Value) -> crate::support::Run {
    bench.file("body.json", body.to_string());
    bench.tracker(&submit_arguments(kind))
}

/// How `body.json` is submitted.
pub fn submit_arguments(kind: &str) -> String {
    match kind {
        "template" => "submit --template t1 body.json".to_owned(),
        kind => format!("submit --kind {kind} body.json"),
    }
}

/// HeyGen's id of the only job.
fn job(bench: &Bench) -> String {
    bench.heygen.videos().pop().expect("a job")
}

#[test]
fn every_kind_is_submitted_once_asked_about_and_saved() {
    for (kind, body, path) in kinds() {
        let bench = Bench::new();
        submit(&bench, kind, &body).exits(0);
        assert_eq!(bench.query("SELECT kind FROM videos"), kind);
        let posts = bench.heygen.posts();
        assert_eq!(posts.len(), 1, "{kind}");
        assert_eq!(posts[0].path, path);
        assert!(posts[0].header("Idempotency-Key").is_some(), "{kind}");
        bench.tracker("check").exits(0).silent();
        bench.heygen.finish(&job(&bench));
        let mut saved = bench.tracker("check").exits(0);
        if !saved.stdout.contains("saved") {
            // A session first, then its video.
            saved = bench.tracker("check").exits(0);
        }
        assert!(
            saved.stdout.contains("1 saved"),
            "{kind}: {}",
            saved.screen()
        );
        assert_eq!(bench.query("SELECT finished FROM videos"), "1", "{kind}");
        bench.tracker("check").exits(0).silent();
        assert_eq!(bench.heygen.billed().len(), 1, "{kind}");
    }
}

#[test]
fn what_heygen_does_not_make_of_a_kind_is_said_and_never_waited_for() {
    let bench = Bench::new();
    submit(&bench, "model", &json!({"prompt": "Waves"})).exits(0);
    bench.heygen.finish(&job(&bench));
    bench.tracker("check").exits(0);
    let why = "1: HeyGen makes no audio for the kind model";
    for quiet in ["", " --quiet"] {
        let download = format!("download 1 --assets video,audio{quiet}");
        let download = bench.tracker(&download).exits(1);
        let error = format!("error: {why}\nhint: leave it out\n");
        assert!(download.stderr.contains(&error), "{}", download.screen());
    }
    let download = bench.tracker("download 1 --assets video,audio --json");
    let line = download.exits(1).json().remove(0);
    assert_eq!((&line["type"], &line["id"]), (&"error".into(), &1.into()));
    assert_eq!(line["error"]["code"], "download_failed");
    assert_eq!(line["error"]["message"], why);
    assert_eq!(bench.query("SELECT finished FROM videos"), "1");
}

/// The promise of `Idempotency-Key` is known for some kinds only; the others are never sent twice.
#[test]
fn an_unanswered_submission_is_repeated_only_where_heygen_promises_to_replay_it() {
    for (kind, body, path) in kinds() {
        let bench = Bench::new();
        bench
            .heygen
            .fault(&format!("POST {path}"), Fault::cut_before_answer());
        submit(&bench, kind, &body);
        bench.advance(std::time::Duration::from_secs(300));
        bench.tracker("check");
        let replays = ["model", "template"].contains(&kind);
        let posts = bench.heygen.posts().len();
        assert_eq!(posts > 1, replays, "{kind}: {posts} POSTs");
        assert_eq!(bench.heygen.billed().len(), 1, "{kind}");
    }
}

#[test]
fn a_session_that_failed_and_goes_on_is_not_given_up() {
    let bench = Bench::new();
    bench
        .tracker_with(&["submit", "--prompt", "A film"])
        .exits(0);
    let session = job(&bench);
    let accepted = "SELECT detail ->> 'session_id' FROM events WHERE kind = 'accepted' AND detail ->> 'video_id' IS NULL";
    assert_eq!(bench.query(accepted), session);
    bench.heygen.set_status(&session, "failed");
    bench.tracker("check").exits(0).silent();
    assert_eq!(bench.query("SELECT finished FROM videos"), "0");
    bench.heygen.set_status(&session, "thinking");
    bench.tracker("check").exits(0).silent();
    bench.heygen.finish(&session);
    let mut said = bench.tracker("check").exits(0).stdout;
    said.push_str(&bench.tracker("check").exits(0).stdout);
    assert!(said.contains("1 saved"), "{said}");
}

/// Whatever HeyGen says about asking for it: a placeholder need not even be a video's id.
#[test]
fn a_session_that_failed_ends_its_row_although_its_video_cannot_be_had() {
    for status in [400, 403, 404, 418, 500, 200] {
        let bench = Bench::new();
        bench
            .tracker_with(&["submit", "--prompt", "A film"])
            .exits(0);
        bench.heygen.set_status(&job(&bench), "failed");
        let names_one = Fault::patch_detail(json!({"video_id": "placeholder"}));
        bench
            .heygen
            .fault("GET /v3/video-agents/{id}", names_one.forever());
        bench
            .heygen
            .fault("GET /v3/videos/{id}", Fault::status(status).forever());
        for _ in 0..4 {
            bench.tracker("check").exits(0);
            bench.advance(std::time::Duration::from_secs(900));
        }
        assert_eq!(bench.status(1), "failed", "{status}");
        assert_eq!(bench.query("SELECT finished FROM videos"), "1");
    }
}

/// A session that is completed; what its video is asked for is answered like this for good.
fn completed_session(answer: Fault) -> Bench {
    let bench = Bench::new();
    bench
        .tracker_with(&["submit", "--prompt", "A film"])
        .exits(0);
    bench.heygen.finish(&job(&bench));
    bench.tracker("check --no-download").exits(0);
    bench.heygen.fault("GET /v3/videos/{id}", answer.forever());
    bench
}

#[test]
fn a_session_whose_video_is_refused_for_a_week_ends_its_row() {
    for status in [400, 403] {
        let bench = completed_session(Fault::status(status));
        bench
            .heygen
            .fault("GET /files/{id}/video", Fault::status(status).forever());
        let mut lines = Vec::new();
        for _ in 0..=20 {
            let hook = "echo $TRACKER_EVENT >> log";
            let check = ["check", "--json", "--exit-status", "--hook", hook];
            lines.push(bench.tracker_with(&check));
            bench.advance(std::time::Duration::from_secs(9 * 3600));
        }
        let given_up = lines.iter().filter(|run| run.code == Some(5));
        let given_up: Vec<_> = given_up.flat_map(Run::json).collect();
        assert_eq!(given_up[0]["type"], "unavailable", "{given_up:?}");
        let log = std::fs::read_to_string(bench.path("log")).expect("a log");
        assert_eq!(log, "failed\nidle\n", "{status}");
        bench.tracker("check 1 --exit-status").exits(5);
        assert_eq!(bench.query("SELECT state FROM files"), "unavailable");
        assert_eq!(bench.query("SELECT finished FROM videos"), "1", "{status}");
    }
}

#[test]
fn the_links_to_a_session_s_video_outlive_a_refusal_to_name_them() {
    let bench = completed_session(Fault::status(403));
    let check = bench.tracker("check").exits(0);
    assert!(check.stdout.contains("1 saved"), "{}", check.screen());
}

#[test]
fn another_video_of_a_session_has_all_the_patience_that_a_first_one_has() {
    let bench = completed_session(Fault::default());
    bench
        .heygen
        .fault("GET /files/{id}/video", Fault::status(403).forever());
    for _ in 0..2 {
        bench.tracker("check").exits(1);
    }
    assert_eq!(bench.query("SELECT attempts FROM files"), "2");
    bench.heygen.add_video("another-video", "completed");
    let moves_on = Fault::patch_detail(json!({ "video_id": "another-video" }));
    bench
        .heygen
        .fault("GET /v3/video-agents/{id}", moves_on.forever());
    bench.tracker("check").exits(1);
    assert_eq!(bench.query("SELECT attempts FROM files"), "1");
}

#[test]
fn a_session_that_moves_on_to_another_video_gets_that_under_its_own_name() {
    for tracked in [false, true] {
        let bench = Bench::new();
        let assets = "video,thumbnail";
        bench
            .tracker_with(&["submit", "--prompt", "A film", "--assets", assets])
            .exits(0);
        let session = job(&bench);
        let other = "another-video";
        bench.heygen.add_video(other, "completed");
        if tracked {
            bench
                .tracker(&format!("add {other} --assets none"))
                .exits(0);
        }
        bench.heygen.finish(&session);
        // Between the first look at it and the second, which a refused link causes.
        bench
            .heygen
            .fault("GET /files/{id}/video", Fault::status(403));
        let moves_on = Fault::patch_detail(json!({ "video_id": other }));
        bench
            .heygen
            .fault("GET /v3/video-agents/{id}", moves_on.nth(1).forever());
        for _ in 0..3 {
            let check = bench.tracker("check").exits(0);
            assert_eq!(check.stderr, "", "{}", check.screen());
        }
        let saved = bench.query("SELECT count(*) FROM files WHERE state = 'saved'");
        let wanted = if tracked { 0 } else { 2 };
        assert_eq!(saved, wanted.to_string());
        let files = crate::support::files_below(&bench.path("output"));
        assert_eq!(files.len(), wanted, "{files:?}");
        for file in files {
            let name = file.file_stem().expect("a name");
            assert_eq!(name, other);
        }
        assert_eq!(bench.query("SELECT finished FROM videos WHERE id = 1"), "1");
        bench.assert_invariants();
    }
}

#[test]
fn a_field_that_an_agent_does_not_know_is_refused_by_name() {
    let bench = Bench::new();
    let run = submit(&bench, "agent", &json!({"prompt": "A film", "script": "x"})).exits(1);
    assert!(
        run.stderr.contains("script: extra fields"),
        "{}",
        run.screen()
    );
    assert_eq!(bench.status(1), "rejected");
}

#[test]
fn a_session_that_waits_is_said_once_and_answered_once() {
    let bench = Bench::new();
    bench
        .tracker_with(&["submit", "--prompt", "A film"])
        .exits(0);
    let session = job(&bench);
    bench.heygen.set_status(&session, "waiting_for_input");
    let said = bench.tracker("check");
    let screen = said.screen();
    assert!(
        screen.contains("1 ") && screen.contains("reply"),
        "{screen}"
    );
    bench.tracker("check").silent();
    let shown = bench.tracker("show 1").exits(0);
    let hint = "hint         `tracker reply 1 TEXT` answers it";
    assert!(shown.stdout.contains(hint), "{}", shown.screen());
    bench.tracker_with(&["reply", "1", "Go ahead"]).exits(0);
    bench.tracker("check");
    let told = bench.heygen.posts();
    let told = told.iter().filter(|post| post.path.ends_with(&session));
    assert_eq!(told.count(), 1);
}

#[test]
fn a_bad_end_without_a_reason_is_said_without_one() {
    let bench = Bench::new();
    submit(&bench, "model", &json!({"prompt": "A film"})).exits(0);
    bench.heygen.set_status(&job(&bench), "cancelled");
    let run = bench.tracker("check").exits(0);
    assert_eq!(run.stdout, "1 cancelled (tracker show 1)\n");
}
