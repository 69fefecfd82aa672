//! Every kind of job through the program: what is submitted, how it goes on, and what becomes of it.

use std::time::Duration;

use serde_json::json;

use crate::heygen::Fault;
use crate::support::{BODY, Bench};

const LOG: &str = "echo $TRACKER_EVENT $TRACKER_ID $TRACKER_KIND >> log";
const MINUTE: Duration = Duration::from_secs(60);

fn log(bench: &Bench) -> Vec<String> {
    let text = std::fs::read_to_string(bench.path("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A bench with one agent, and its session.
fn agent(options: &[&str]) -> (Bench, String) {
    let bench = Bench::new();
    let arguments = [&["submit", "--prompt", "A film about tea"], options].concat();
    bench.tracker_with(&arguments).exits(0);
    let session = bench.query("SELECT session_id FROM videos");
    bench.heygen.set_status(&session, "thinking");
    (bench, session)
}

/// It waits for an answer, which is recorded and could not be sent.
fn agent_with_an_unsent_reply() -> (Bench, String) {
    let (bench, session) = agent(&[]);
    bench.heygen.set_status(&session, "waiting_for_input");
    check(&bench);
    let route = format!("GET /v3/video-agents/{session}");
    bench.heygen.fault(&route, Fault::status(401));
    bench.tracker("reply 1 Yes").exits(3);
    (bench, session)
}

fn check(bench: &Bench) -> String {
    let run = bench.tracker_with(&["check", "--hook", LOG]).exits(0);
    run.stdout + &run.stderr
}

fn messages(bench: &Bench, session: &str) -> Vec<String> {
    let mut world = bench.heygen.world();
    world.video_mut(session).unwrap().messages.clone()
}

#[test]
fn a_session_that_fails_and_recovers_is_one_file_and_one_line() {
    let (bench, session) = agent(&[]);
    let mut said = String::new();
    for (word, per_cent) in [
        ("thinking", 0),
        ("failed", 0),
        ("failed", 0),
        ("thinking", 0),
        ("generating", 2),
        ("generating", 97),
        ("failed", 97),
        ("failed", 97),
        ("generating", 98),
        ("completed", 100),
    ] {
        bench.heygen.set_status(&session, word);
        let progress = Fault::patch_detail(json!({ "progress": per_cent }));
        bench.heygen.clear_faults();
        bench
            .heygen
            .fault("GET /v3/video-agents/{id}", progress.forever());
        said += &check(&bench);
        assert_eq!(bench.status(1), word);
        bench.advance(MINUTE);
    }
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("saved") && !said.contains("failed"), "{said}");
    assert_eq!(
        log(&bench),
        ["completed 1 agent", "saved 1 agent", "idle 1 agent"]
    );
    let path = bench.query("SELECT path FROM files WHERE state = 'saved'");
    assert_eq!(
        std::fs::read(path).unwrap(),
        bench.heygen.expected(&session, "video")
    );
    assert_eq!(bench.query("SELECT progress FROM videos"), "100");
    assert_eq!(check(&bench), "");
}

#[test]
fn a_session_that_stays_failed_is_said_once_after_half_an_hour_and_three_polls() {
    let (bench, session) = agent(&[]);
    bench.heygen.set_status(&session, "failed");
    for _ in 0..4 {
        assert_eq!(check(&bench), "", "it may recover");
        let show = bench.tracker("show 1").stdout;
        assert!(
            show.starts_with("status       failed (may recover)\n"),
            "{show}"
        );
        assert_eq!(bench.query("SELECT finished FROM videos"), "0");
        bench.advance(9 * MINUTE);
    }
    let said = check(&bench);
    assert_eq!(said.matches("failed").count(), 1, "{said}");
    assert!(said.contains("script_too_long"), "{said}");
    assert_eq!(check(&bench), "");
    assert_eq!(log(&bench), ["failed 1 agent", "idle 1 agent"]);
    bench.tracker("check 1 --exit-status").exits(5);
    let show = bench.tracker("show 1").stdout;
    assert!(show.starts_with("status       failed\n"), "{show}");

    // A person takes it back.
    let reply = bench.tracker_with(&["reply", "1", "Please go on"]).exits(0);
    assert!(
        reply.stderr.contains("took the reply"),
        "{}",
        reply.screen()
    );
    assert_eq!(messages(&bench, &session), ["Please go on"]);
    bench.heygen.finish(&session);
    assert!(check(&bench).contains("saved"));
}

#[test]
fn two_polls_are_too_few_to_believe_a_failure() {
    let (bench, session) = agent(&[]);
    bench.heygen.set_status(&session, "failed");
    check(&bench);
    bench.advance(60 * MINUTE);
    bench
        .db()
        .execute("UPDATE videos SET stalled_at = 1", [])
        .unwrap();
    assert_eq!(check(&bench), "");
    assert_eq!(bench.query("SELECT finished FROM videos"), "0");
    assert!(check(&bench).contains("failed"));
}

#[test]
fn a_session_that_waits_is_said_once_and_answered_once() {
    let (bench, session) = agent(&[]);
    bench.heygen.set_status(&session, "waiting_for_input");
    let said = check(&bench);
    assert!(
        said.contains("Shall I proceed?") && said.contains("tracker reply 1"),
        "{said}"
    );
    assert_eq!(check(&bench), "");
    assert_eq!(log(&bench), ["attention 1 agent"]);
    let reply = bench.tracker_with(&["reply", "1", "Yes, in blue"]).exits(0);
    assert!(reply.stdout.contains("thinking"), "{}", reply.screen());
    assert_eq!(messages(&bench, &session), ["Yes, in blue"]);
    let again = bench.tracker_with(&["reply", "1", "Yes, in blue"]).exits(2);
    assert!(again.stderr.contains("nobody waits"), "{}", again.screen());
    assert_eq!(messages(&bench, &session).len(), 1);
    assert!(bench.tracker("show 1").stdout.contains("Yes, in blue"));
}

#[test]
fn an_unanswered_reply_is_never_repeated() {
    let (bench, session) = agent(&[]);
    bench.heygen.set_status(&session, "waiting_for_input");
    check(&bench);
    bench.heygen.fault(
        &format!("POST /v3/video-agents/{session}"),
        Fault::cut_before_answer(),
    );
    bench.tracker_with(&["reply", "1", "Yes"]).exits(1);
    for _ in 0..3 {
        bench.advance(MINUTE);
        check(&bench);
    }
    assert_eq!(messages(&bench, &session), ["Yes"]);
    assert_eq!(bench.query("SELECT state FROM messages"), "sending");
}

#[test]
fn a_reply_that_failed_says_so_to_programs_and_when_quiet() {
    let refused = json!({"error": {"code": "invalid_parameter", "message": "no such plan"}});
    for (fault, state, said) in [
        (
            Fault::json(400, &refused),
            "refused",
            "refused: no such plan",
        ),
        (Fault::cut_before_answer(), "sending", "no answer came"),
    ] {
        for option in ["--json", "--quiet"] {
            let (bench, session) = agent(&[]);
            bench.heygen.set_status(&session, "waiting_for_input");
            check(&bench);
            let route = format!("POST /v3/video-agents/{session}");
            bench.heygen.fault(&route, fault.clone());
            let run = bench.tracker_with(&["reply", "1", "Yes", option]).exits(1);
            if option == "--quiet" {
                assert!(run.stdout.contains(said), "{}", run.screen());
                continue;
            }
            let lines = run.json();
            let line = lines.iter().find(|line| line["type"] == "message");
            let line = line.unwrap_or_else(|| panic!("no line: {}", run.screen()));
            assert_eq!(
                (&line["id"], &line["message"]),
                (&json!(1), &json!("reply"))
            );
            assert_eq!(line["state"], state);
            assert!(line["why"].is_string(), "{line}");
        }
    }
}

#[test]
fn a_reply_that_waits_says_so_to_programs() {
    let (bench, session) = agent(&[]);
    bench.heygen.set_status(&session, "waiting_for_input");
    check(&bench);
    let route = format!("GET /v3/video-agents/{session}");
    bench.heygen.fault(&route, Fault::status(401));
    let run = bench
        .tracker_with(&["reply", "1", "Yes", "--json"])
        .exits(3);
    let lines = run.json();
    let line = lines.iter().find(|line| line["type"] == "message");
    assert_eq!(line.expect("a line")["state"], "unsent", "{}", run.screen());
    assert!(run.stderr.contains("do not repeat it"), "{}", run.screen());
}

#[test]
fn the_plan_is_agreed_to_once_for_each_stop() {
    let (bench, session) = agent(&["--auto-proceed"]);
    for stops in 1..=2 {
        bench.heygen.set_status(&session, "waiting_for_input");
        check(&bench);
        bench.heygen.set_status(&session, "waiting_for_input");
        assert_eq!(check(&bench), "");
        assert_eq!(messages(&bench, &session), vec!["Proceed"; stops]);
        bench.heygen.set_status(&session, "generating");
        check(&bench);
    }
    assert!(log(&bench).is_empty(), "nobody is bothered");
}

#[test]
fn a_failed_session_is_nudged_as_often_as_was_said() {
    let (bench, session) = agent(&["--nudge", "1"]);
    for _ in 0..3 {
        for _ in 0..3 {
            bench.heygen.set_status(&session, "failed");
            check(&bench);
        }
        bench.heygen.set_status(&session, "thinking");
        check(&bench);
    }
    assert_eq!(messages(&bench, &session).len(), 1);
    assert_eq!(bench.query("SELECT nudges_left FROM videos"), "0");
}

#[test]
fn an_agent_whose_submission_was_not_answered_is_unknown_at_once() {
    let bench = Bench::new();
    bench
        .heygen
        .fault("POST /v3/video-agents", Fault::cut_before_answer());
    bench.tracker_with(&["submit", "--prompt", "Tea"]);
    assert_eq!(bench.status(1), "unknown");
    bench.advance(60 * MINUTE);
    bench.tracker("check").exits(0);
    assert_eq!(bench.heygen.posts().len(), 1);
}

#[test]
fn a_translation_into_two_languages_is_two_rows_with_their_files() {
    let bench = Bench::new();
    let assets = "video,audio,subtitle,vtt,gif";
    bench
        .tracker(&format!(
            "submit --translate https://example.com/v.mp4 --to German,French --assets {assets}"
        ))
        .exits(0);
    assert_eq!(bench.heygen.posts().len(), 2);
    for row in [1, 2] {
        bench.heygen.finish(&bench.video_id(row));
    }
    bench.tracker("check").exits(0);
    for row in [1, 2] {
        let id = bench.video_id(row);
        for end in ["mp4", "m4a", "srt", "vtt"] {
            let path = bench.path(&format!("output/{id}.{end}"));
            assert!(path.exists(), "{}", path.display());
        }
        assert_eq!(
            bench.query("SELECT count(*) FROM files WHERE video = 1"),
            "4"
        );
    }
    assert_eq!(
        bench.query("SELECT group_concat(output_language) FROM videos"),
        "German,French"
    );
    bench.tracker("check").exits(0).silent();
}

#[test]
fn unfinished_translations_are_asked_for_a_hundred_at_a_time() {
    let bench = Bench::new();
    bench
        .tracker("submit --translate https://example.com/v.mp4 --to German")
        .exits(0);
    bench
        .db()
        .execute_batch(
            "WITH RECURSIVE further (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM further WHERE n < 250)
             INSERT INTO videos (kind, phase, remote_status, video_id, account, submitted_at, accepted_at, output_dir)
             SELECT kind, phase, remote_status, printf('%032x', n), account, submitted_at, accepted_at, output_dir
             FROM videos, further WHERE id = 1",
        )
        .unwrap();
    for row in 2..=250 {
        let id = format!("{row:032x}");
        bench.heygen.add_video(&id, "pending");
        bench.heygen.world().video_mut(&id).unwrap().kind = "translation";
    }
    let (run, asked) = bench.asking("check");
    run.exits(0);
    assert_eq!((asked.bulk, asked.own), (3, 0));
}

#[test]
fn lipsyncs_models_and_templates_end_as_files() {
    let bench = Bench::new();
    bench.file(
        "lipsync.json",
        r#"{"video":{"type":"url","url":"u"},"audio":{"type":"url","url":"a"}}"#,
    );
    bench.file("model.json", r#"{"prompt":"a cat","duration":5}"#);
    bench.file("template.json", r#"{"variables":{},"title":"Filled in"}"#);
    for arguments in [
        "submit --kind lipsync lipsync.json",
        "submit --kind model model.json",
        "submit --template t1 template.json",
    ] {
        bench.tracker(arguments).exits(0);
    }
    for row in 1..=3 {
        bench.heygen.finish(&bench.video_id(row));
    }
    bench.tracker("check").exits(0);
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "3"
    );
    assert_eq!(
        bench.query("SELECT group_concat(kind) FROM videos"),
        "lipsync,model,template"
    );
}

#[test]
fn equal_bodies_of_two_kinds_are_no_duplicates() {
    let bench = Bench::new();
    bench.file("body.json", r#"{"prompt":"a cat","variables":{}}"#);
    bench
        .tracker("submit --kind agent body.json --queue")
        .exits(0);
    let other = bench
        .tracker("submit --kind model body.json --queue")
        .exits(0);
    assert!(!other.stderr.contains("same body"), "{}", other.screen());
    let same = bench
        .tracker("submit --kind agent body.json --queue --if-new")
        .exits(0);
    assert!(
        same.stderr.contains("not submitted again"),
        "{}",
        same.screen()
    );
    bench
        .tracker("submit --template a body.json --queue")
        .exits(0);
    let other = bench
        .tracker("submit --template b body.json --queue")
        .exits(0);
    assert!(!other.stderr.contains("same body"), "{}", other.screen());
}

#[test]
fn a_language_heygen_does_not_know_is_rejected_with_its_words() {
    let bench = Bench::new();
    let run = bench
        .tracker("submit --translate https://example.com/v.mp4 --to German,Klingon")
        .exits(1);
    assert!(
        run.stderr.contains("Unsupported language: Klingon"),
        "{}",
        run.screen()
    );
    assert_eq!(bench.status(2), "rejected");
    assert_ne!(bench.status(1), "rejected");
}

#[test]
fn what_heygen_would_not_understand_is_refused_before_anything_is_recorded() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.file("long.txt", "x".repeat(10_001));
    bench.file(
        "two.json",
        r#"{"video":{},"output_languages":["German","French"]}"#,
    );
    for (arguments, why) in [
        (
            &["submit", "--kind", "film", "body.json"][..],
            "translation",
        ),
        (&["submit", "--kind", "agent", "body.json"], "prompt"),
        (&["submit", "--prompt", ""], "empty prompt"),
        (&["submit", "--prompt", "@long.txt"], "10001 characters"),
        (&["submit", "--kind", "template", "body.json"], "--template"),
        (&["submit", "--kind", "video", "--prompt", "x"], "--prompt"),
        (&["submit", "--nudge", "2", "body.json"], "--nudge"),
        (&["submit", "--auto-proceed", "body.json"], "--auto-proceed"),
        (
            &["submit", "--kind", "translation", "two.json"],
            "2 output_languages",
        ),
        (&["submit", "--translate", "https://x"], "--to"),
        // An option that would be ignored, and another video submitted than was meant.
        (&["submit", "--to", "German", "body.json"], "--translate"),
        (
            &["submit", "--kind", "agent", "a.json", "--style-id", "s"],
            "cannot be used with '--style-id <ID>'",
        ),
        (
            &["submit", "--style-id", "s", "--script", "x"],
            "'--style-id <ID>' cannot be used with '--script",
        ),
        (
            &["submit", "--orientation", "portrait", "body.json"],
            "--prompt",
        ),
        (
            &["submit", "--orientation", "portrait", "--to", "German"],
            "cannot be used with",
        ),
        (
            &["submit", "body.json", "--assets", "video,none"],
            "none goes with no other",
        ),
        (
            &[
                "submit",
                "--translate",
                "v",
                "--to",
                "German",
                "--script",
                "x",
            ],
            "--script",
        ),
        (&["add", "feed1234", "--since", "7d"], "--since"),
    ] {
        let run = bench.tracker_with(arguments).exits(2);
        assert!(run.stderr.contains(why), "{why}: {}", run.screen());
    }
    assert!(!bench.db_path().exists());
    assert!(bench.heygen.posts().is_empty());
}

#[test]
fn a_reply_or_a_stop_that_makes_no_sense_is_refused() {
    let (bench, session) = agent(&[]);
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    check(&bench);
    for (arguments, why) in [
        (&["reply", "2", "Yes"][..], "no agent's session"),
        (&["reply", "1", "Yes"], "thinking: nobody waits"),
        (&["reply", "1", " "], "empty"),
        (&["stop", "2"], "no agent's session"),
    ] {
        let run = bench.tracker_with(arguments).exits(2);
        assert!(run.stderr.contains(why), "{why}: {}", run.screen());
    }
    bench.tracker("submit --prompt Tea --queue").exits(0);
    let sql = "UPDATE videos SET phase = 'rejected' WHERE id = 3";
    for (why, hint) in [
        (
            "3 is an agent that HeyGen has not answered yet (unsent)",
            "hint: tracker check 3",
        ),
        (
            "3 is an agent without a session (rejected)",
            "hint: tracker show 3",
        ),
    ] {
        for arguments in [&["reply", "3", "Yes"][..], &["stop", "3"]] {
            let run = bench.tracker_with(arguments).exits(2);
            assert!(
                run.stderr.contains(why) && run.stderr.contains(hint),
                "{}",
                run.screen()
            );
        }
        bench.db().execute(sql, []).expect("a row");
    }
    assert!(messages(&bench, &session).is_empty());
}

#[test]
fn a_stopped_session_ends_badly_in_its_own_word_and_can_be_retried() {
    let (bench, session) = agent(&["--nudge", "2"]);
    let run = bench.tracker(&format!("stop {}", &session[..31])).exits(0);
    assert!(run.stdout.contains("cancelled"), "{}", run.screen());
    assert_eq!(bench.query("SELECT outcome FROM videos"), "failed");
    bench.tracker("check 1 --exit-status").exits(5);
    bench.tracker("stop 1").exits(2);
    assert!(bench.tracker("list --failed").stdout.contains("cancelled"));
    bench.tracker("retry --failed").exits(0);
    assert_eq!(
        bench.query("SELECT kind || ' ' || nudges_left FROM videos WHERE id = 2"),
        "agent 2"
    );
}

#[test]
fn jobs_made_elsewhere_are_tracked_by_what_their_files_call_them() {
    let bench = Bench::new();
    bench.file("session.json", r#"{"data":{"session_id":"sess-0001"}}"#);
    bench.file(
        "ids.json",
        r#"{"data":{"video_translation_ids":["tran-0001","tran-0002"]}}"#,
    );
    bench.file("lip.json", r#"{"data":{"lipsync_id":"lips-0001"}}"#);
    bench.tracker("add session.json ids.json lip.json").exits(0);
    bench.tracker("add --kind model model-0001").exits(0);
    bench.tracker("add --kind agent sess-0002").exits(0);
    assert_eq!(
        bench.query(
            "SELECT group_concat(kind || ' ' || coalesce(session_id, video_id)) FROM videos"
        ),
        "agent sess-0001,translation tran-0001,translation tran-0002,lipsync lips-0001,\
         model model-0001,agent sess-0002"
    );
    let again = bench.tracker("add session.json").exits(0);
    assert!(
        again.stderr.contains("already tracked as 1"),
        "{}",
        again.screen()
    );
}

/// A run says what needs a person although its results are others: no later run would.
#[test]
fn a_question_is_said_by_whichever_run_hears_it() {
    for verb in [
        "add --all",
        "submit body.json --wait --timeout 1s --interval 10ms",
    ] {
        let (bench, session) = agent(&[]);
        bench.file("body.json", r#"{"prompt": "A film about coffee"}"#);
        let mut exit = 0;
        let arguments = if verb.starts_with("submit") {
            exit = 4;
            let waits = Fault::patch_detail(json!({"status": "waiting_for_input"}));
            let route = "GET /v3/video-agents/{id}";
            bench.heygen.fault(route, waits.forever());
            format!("{verb} --kind agent")
        } else {
            bench.heygen.set_status(&session, "waiting_for_input");
            verb.to_owned()
        };
        let run = bench.tracker(&arguments).exits(exit);
        assert!(run.stderr.contains("(tracker reply "), "{}", run.screen());
    }
}

/// `check` sends what is recorded; another verb sends what it is about.
#[test]
fn a_reply_that_waits_is_sent_by_check_and_not_beside_another_submission() {
    let (bench, session) = agent_with_an_unsent_reply();
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    bench.tracker("check 2").exits(0);
    bench.tracker("download 2 --assets video").exits(1);
    assert!(messages(&bench, &session).is_empty());
    bench.tracker("check").exits(0);
    assert_eq!(messages(&bench, &session), ["Yes"]);
}

#[test]
fn what_was_still_to_be_said_does_not_set_a_stopped_session_going_again() {
    let (bench, session) = agent_with_an_unsent_reply();
    let stop = bench.tracker("stop 1").exits(0);
    assert!(
        stop.stderr.contains("is not sent any more"),
        "{}",
        stop.screen()
    );
    bench.tracker("check").exits(0);
    assert!(messages(&bench, &session).is_empty());
    assert_eq!(bench.query("SELECT state FROM messages"), "refused");
}

/// A stop that does not arrive takes nothing back.
#[test]
fn a_stop_that_fails_leaves_what_is_still_to_be_said() {
    let (bench, session) = agent_with_an_unsent_reply();
    let stop = format!("POST /v3/video-agents/{session}/stop");
    let refused = json!({"error": {"code": "invalid_parameter", "message": "not now"}});
    bench.heygen.fault(&stop, Fault::json(400, &refused));
    bench.tracker("stop 1").exits(1);
    bench.tracker("check").exits(0);
    assert_eq!(messages(&bench, &session), ["Yes"]);
}

/// Nor does a stop that may have arrived.
#[test]
fn a_stop_whose_answer_is_lost_is_one() {
    let (bench, session) = agent_with_an_unsent_reply();
    let stop = format!("POST /v3/video-agents/{session}/stop");
    bench.heygen.fault(&stop, Fault::cut_before_answer());
    let lost = bench.tracker("stop 1").exits(1);
    assert!(
        lost.stderr.contains("tracker stop 1 again"),
        "{}",
        lost.screen()
    );
    bench.tracker("check").exits(0);
    assert!(messages(&bench, &session).is_empty());
}

/// HeyGen may say other things for a while.
#[test]
fn nobody_nudges_a_session_that_was_stopped() {
    let (bench, session) = agent(&["--nudge", "2"]);
    let route = format!("GET /v3/video-agents/{session}");
    for said in ["thinking", "failed", "failed", "failed"] {
        let says = Fault::patch_detail(json!({"status": said}));
        bench.heygen.fault(&route, says);
    }
    bench.tracker("stop 1").exits(0);
    for _ in 0..3 {
        bench.advance(MINUTE);
        check(&bench);
    }
    assert!(messages(&bench, &session).is_empty());
}

/// Another run was faster, or is at it.
#[test]
fn a_reply_that_another_run_sends_is_not_passed_over_in_silence() {
    let (bench, session) = agent(&[]);
    bench.heygen.set_status(&session, "waiting_for_input");
    check(&bench);
    // What the other run writes before it sends.
    bench
        .db()
        .execute_batch(
            "CREATE TRIGGER faster AFTER INSERT ON messages
             BEGIN UPDATE messages SET state = 'sending' WHERE id = new.id; END",
        )
        .expect("a trigger");
    let reply = bench.tracker("reply 1 Yes").exits(1);
    assert!(
        reply.stderr.contains("another run sent the reply"),
        "{}",
        reply.screen()
    );
    assert!(messages(&bench, &session).is_empty());
}
