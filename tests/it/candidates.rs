//! Submissions whose answer never came: what they may have become is looked for, and only a person says that it is so.

use std::time::Duration;

use heygen_tracker::sandbox::RenderState;
use serde_json::{Value, json};

use crate::heygen::Fault;
use crate::support::{BODY, Bench, Run};

const POST: &str = "POST /v3/videos";
const LIST: &str = "GET /v3/videos";
const HOUR: Duration = Duration::from_secs(3600);
/// HeyGen may have forgotten the key by now.
const TOO_LATE: Duration = Duration::from_secs(21 * 3600);

/// Lets time pass, for what was made at HeyGen, too.
fn pass(bench: &Bench, time: Duration) {
    bench.advance(time);
    for job in bench.heygen.world().videos.values_mut() {
        job.created -= time;
    }
}

/// A video of this title that another program made, `minutes` after the latest.
fn made_elsewhere(bench: &Bench, id: &str, title: &str, minutes: i64) {
    let mut world = bench.heygen.world();
    let created = world
        .videos
        .values()
        .next_back()
        .map_or(world.now(), |job| job.created);
    let job = world.insert(id, RenderState::Rendering);
    let shift = Duration::from_secs(60 * minutes.unsigned_abs());
    job.created = if minutes < 0 {
        created - shift
    } else {
        created + shift
    };
    job.body = json!({ "title": title });
}

/// A submission that HeyGen takes (or, `drop`, does not) without saying so.
fn lose(bench: &Bench, drop: bool) {
    bench.file("body.json", BODY);
    let lost = if drop {
        Fault::drop_request()
    } else {
        Fault::cut_before_answer()
    };
    bench.heygen.fault(POST, lost.forever());
    bench.tracker("submit body.json").exits(0);
    bench.heygen.clear_faults();
    assert_eq!(bench.status(1), "sending");
}

fn candidates(bench: &Bench, row: i64) -> Value {
    let shown = bench.tracker(&format!("show {row} --json")).exits(0).json();
    shown[0]["candidates"].clone()
}

fn says(run: &Run, what: &str) {
    assert!(
        run.screen().contains(what),
        "{what:?} is not in {}",
        run.screen()
    );
}

fn lists(bench: &Bench) -> usize {
    let requests = bench.heygen.api_requests();
    requests
        .iter()
        .filter(|request| request.path == "/v3/videos" && request.method == "GET")
        .count()
}

#[test]
fn a_lost_submission_finds_its_video_among_others_that_are_close() {
    let bench = Bench::new();
    for number in 0..150 {
        made_elsewhere(&bench, &format!("long-ago-{number:03}"), "Hello", -60 * 24);
    }
    lose(&bench, false);
    let id = bench.heygen.billed()[0].video_id.clone();
    made_elsewhere(&bench, "same-title-too-early", "Hello", -30);
    made_elsewhere(&bench, "other-title-same-time", "Hello!", 30);
    pass(&bench, TOO_LATE);
    let take = format!("tracker add {id} --as 1");

    let check = bench.tracker("check").exits(1);
    says(
        &check,
        &format!("1 unknown \"Hello\": HeyGen may have made it; if it is this one: {take};"),
    );
    assert_eq!(lists(&bench), 1, "no further back than the first attempt");
    let named = bench.tracker("check 1").exits(0);
    says(&named, &take);
    let line = &bench.tracker("check 1 --json").exits(0).json();
    assert!(line.iter().all(|line| line["type"] != "error"), "{line:?}");
    assert!(!named.screen().contains("same-title") && !named.screen().contains("other-title"));
    assert_eq!(candidates(&bench, 1)[0]["command"], take);
    assert_eq!(candidates(&bench, 1).as_array().map(Vec::len), Some(1));
    says(&bench.tracker("show 1").exits(0), &format!("    {take}\n"));

    bench
        .tracker(take.strip_prefix("tracker ").expect("a command"))
        .exits(0);
    assert_eq!(candidates(&bench, 1), Value::Null);
    bench.heygen.finish(&id);
    bench.tracker("check").exits(0);
    assert_eq!(
        (bench.status(1), bench.video_id(1)),
        ("completed".to_owned(), id)
    );
    assert_eq!(bench.heygen.billed().len(), 1);
    bench.assert_files();
}

#[test]
fn what_another_row_takes_is_no_candidate_any_more() {
    let bench = Bench::new();
    lose(&bench, false);
    pass(&bench, TOO_LATE);
    bench.tracker("check").exits(1);
    assert_eq!(candidates(&bench, 1).as_array().map(Vec::len), Some(1));
    let id = bench.heygen.billed()[0].video_id.clone();
    bench.tracker(&format!("add {id}")).exits(0);
    assert_eq!(candidates(&bench, 1), json!([]));
    says(
        &bench.tracker("check 1").exits(0),
        "retry 1 is as safe as it gets",
    );
}

#[test]
fn all_of_the_account_is_added_but_what_an_unanswered_submission_may_have_become() {
    let bench = Bench::new();
    lose(&bench, false);
    let id = bench.heygen.billed()[0].video_id.clone();
    made_elsewhere(&bench, "other-title-same-time", "Hello!", 0);
    for dry_run in [" --dry-run", ""] {
        let all = bench.tracker(&format!("add --all{dry_run}")).exits(0);
        says(
            &all,
            "1 job left out that the unanswered submission of 1 may have created; tracker check 1 finds out",
        );
        assert!(!all.stdout.contains(&id), "{}", all.stdout);
    }
    assert_eq!(
        bench.query("SELECT group_concat(video_id) FROM videos"),
        "other-title-same-time"
    );
    pass(&bench, TOO_LATE);
    let take = format!("tracker add {id} --as 1");
    says(&bench.tracker("check").exits(1), &take);
    bench.tracker(&take["tracker ".len()..]).exits(0);
    let again = bench.tracker("add --all").exits(0);
    assert!(!again.screen().contains("left out"), "{}", again.screen());
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "2");
    assert_eq!(bench.heygen.billed().len(), 1);
}

#[test]
fn nothing_found_is_an_answer_after_an_hour_and_a_list_that_fails_is_none() {
    let bench = Bench::new();
    lose(&bench, true);
    pass(&bench, TOO_LATE);
    bench.heygen.fault(LIST, Fault::status(404).forever());
    says(
        &bench.tracker("check -v").exits(1),
        "HeyGen's list cannot be read",
    );
    says(
        &bench.tracker("check 1").exits(0),
        "found at app.heygen.com",
    );
    assert_eq!(candidates(&bench, 1), Value::Null);
    bench.heygen.clear_faults();
    says(
        &bench.tracker("check 1").exits(0),
        "tracker retry 1 is as safe as it gets",
    );
    assert_eq!(candidates(&bench, 1), json!([]));
}

#[test]
fn a_lost_agent_session_is_found_at_once_or_looked_for_later() {
    let bench = Bench::new();
    bench.file("agent.json", r#"{"prompt": "A film"}"#);
    let post = "POST /v3/video-agents";
    bench.heygen.fault(post, Fault::drop_request());
    bench.tracker("submit agent.json --kind agent").exits(0);
    assert_eq!(bench.status(1), "unknown", "never repeated");
    says(
        &bench.tracker("check 1").exits(0),
        "HeyGen does not list it so far",
    );
    pass(&bench, HOUR);
    says(
        &bench.tracker("check 1").exits(0),
        "tracker retry 1 is as safe as it gets",
    );

    let bench = Bench::new();
    bench.file("agent.json", r#"{"prompt": "A film"}"#);
    bench.heygen.fault(post, Fault::cut_before_answer());
    let lost = bench.tracker("submit agent.json --kind agent").exits(0);
    let session = bench.heygen.billed()[0].video_id.clone();
    says(&lost, &format!("tracker add {session} --as 1"));
    bench.tracker(&format!("add {session} --as 1")).exits(0);
    assert_eq!(
        bench.query("SELECT session_id FROM videos WHERE id = 1"),
        session
    );
    bench.heygen.finish(&session);
    bench.tracker("check").exits(0);
    assert_eq!(bench.status(1), "completed");
}

#[test]
fn a_refusal_does_not_answer_an_earlier_attempt() {
    let bench = Bench::new();
    lose(&bench, false);
    let refusal = json!({"error": {"code": "invalid_parameter", "message": "no such avatar"}});
    bench.heygen.fault(POST, Fault::json(400, &refusal));
    bench.advance(HOUR);
    bench.tracker("check").exits(1);
    assert_eq!(bench.status(1), "rejected");
    let shown = bench.tracker("show 1").exits(0);
    says(&shown, "unanswered");
    says(&shown, "an earlier one has none");
    says(
        &bench.tracker("check 1").exits(0),
        "an earlier attempt has no answer",
    );
    let again = bench.tracker("submit body.json --if-new").exits(1);
    says(&again, "1: an attempt of it has no answer");
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "1");
    says(
        &bench.tracker("retry 1 --dry-run").exits(0),
        "1: an attempt of it has no answer",
    );
    let id = bench.heygen.billed()[0].video_id.clone();
    bench.tracker(&format!("add {id} --as 1")).exits(0);
    bench.heygen.finish(&id);
    bench.tracker("check").exits(0);
    assert_eq!(
        (bench.status(1), bench.heygen.billed().len()),
        ("completed".to_owned(), 1)
    );
}

/// A list that says less than usual is no proof that nothing was made.
#[test]
fn what_the_list_leaves_out_speaks_against_no_job() {
    let bench = Bench::new();
    lose(&bench, true);
    pass(&bench, TOO_LATE);
    let undated = json!({"data": [{"id": "undated-1", "status": "completed"}], "has_more": true, "next_token": "2"});
    let older = json!({"data": [{"id": "undated-2", "status": "completed"}], "has_more": false});
    bench.heygen.fault(LIST, Fault::json(200, &undated));
    bench.heygen.fault(LIST, Fault::json(200, &older));
    bench.tracker("check").exits(1);
    let found = candidates(&bench, 1);
    let ids: Vec<_> = found
        .as_array()
        .expect("candidates")
        .iter()
        .map(|found| &found["video_id"])
        .collect();
    assert_eq!(ids, ["undated-1", "undated-2"]);
}
