//! What any answer means for any row: tables instead of examples.

use serde_json::json;

use super::*;
use crate::decide::REPORT_AGAIN;
use crate::heygen::ErrorKind;
use crate::video::{Asset, File, FileState, IdempotencyKey, LastError, RowId, Urls, VideoId};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Words of every kind: HeyGen's, those only bulk knows, and some nobody has heard of.
const WORDS: [&str; 9] = [
    "waiting",
    "pending",
    "processing",
    "queued",
    "completed",
    "failed",
    "Completed",
    "completed ",
    "re-rendering",
];

fn now() -> Timestamp {
    Timestamp::from_secs(1_764_000_000)
}

fn mine() -> Account {
    Account::new("https://api.heygen.com#0123456789ab".to_owned())
}

fn other() -> Account {
    Account::new("https://api.heygen.com#ba9876543210".to_owned())
}

/// A row as it is an hour after its purchase under [`mine`].
fn row(phase: Phase, word: &str) -> Video {
    let remote_status = RemoteStatus::new(word);
    let since = now().before(HOUR);
    Video {
        id: RowId(7),
        rev: 3,
        phase,
        video_id: VideoId::new("c0ffee"),
        idempotency_key: Some(IdempotencyKey::stored("key".to_owned())),
        account: Some(mine()),
        title: Some("Teaser".to_owned()),
        submitted_at: since,
        accepted_at: Some(since),
        outcome: remote_status.outcome(),
        ended_at: remote_status.is_terminal().then_some(since),
        remote_status: Some(remote_status),
        last_checked_at: Some(since),
        check_count: 1,
        output_dir: "/videos".into(),
        files: vec![file(Asset::Video, FileState::Wanted)],
        ..Video::default()
    }
}

fn file(asset: Asset, state: FileState) -> File {
    File {
        asset,
        state,
        path: None,
        part: None,
        bytes: None,
        sha256: None,
        saved_at: None,
        attempts: 0,
        first_failed_at: None,
    }
}

/// The answer to an own GET, with every field that goes with the word.
fn remote(word: &str) -> RemoteVideo {
    let status = RemoteStatus::new(word);
    let (completed, failed) = (status.is_completed(), status.is_failed());
    let when = |holds: bool, text: &str| holds.then(|| text.to_owned());
    let mut urls = Urls::default();
    let url = when(completed, "https://files.example/v?sig=1");
    urls.extend(url.map(|url| (Asset::Video, url)));
    RemoteVideo {
        session: None,
        id: VideoId::new("c0ffee").unwrap(),
        title: None,
        created_at: Some(now().before(HOUR)),
        completed_at: status.is_terminal().then(now),
        urls,
        duration: completed.then_some(3.5),
        folder_id: None,
        output_language: None,
        failure_code: when(failed, "too_long"),
        failure_message: when(failed, "Too long"),
        video_page_url: None,
        status,
    }
}

fn error(kind: ErrorKind, code: &str) -> ApiError {
    ApiError {
        code: code.to_owned(),
        message: format!("HeyGen said {code}"),
        request_id: Some("request-1".to_owned()),
        ..ApiError::with_kind(kind)
    }
}

fn not_found_error() -> ApiError {
    error(ErrorKind::Status(404), "not_found")
}

fn server_error() -> ApiError {
    error(ErrorKind::Status(500), "http_500")
}

fn trouble(operation: Operation, code: &str, notified_at: Option<Timestamp>) -> Option<LastError> {
    Some(LastError {
        operation,
        code: code.to_owned(),
        message: String::new(),
        request_id: None,
        at: now().before(MINUTE),
        notified_at,
        count: 4,
    })
}

fn sees(video: &Video, word: &str) -> Decision {
    observed(video, Observation::Detail(&remote(word)), &mine(), now())
}

fn in_bulk(video: &Video, word: &str) -> Decision {
    let word = RemoteStatus::new(word);
    observed(video, Observation::Bulk(&word), &mine(), now())
}

/// The statuses it says the row had before.
fn changed_from(decision: &Decision) -> Vec<&str> {
    let events = decision.events.iter();
    events.filter_map(|entry| entry.was.as_deref()).collect()
}

/// Its errors: the row's own, to be reported now, counted only.
fn errors(decision: &Decision) -> Vec<(bool, bool, bool)> {
    let errors = decision
        .events
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Error(failure) => Some((failure.own, failure.notify, entry.again)),
            _ => None,
        });
    errors.collect()
}

fn fails(video: &Video, error: &ApiError, at: Timestamp) -> Decision {
    observed(video, Observation::Failed { error, own: true }, &mine(), at)
}

fn not_there(video: &Video, witness: Witness, at: Timestamp) -> Decision {
    let error = not_found_error();
    let observation = Observation::NotFound {
        error: &error,
        witness,
        at,
    };
    observed(video, observation, &mine(), at)
}

/// So many 404s so far, the first at that time.
fn after_404s(mut video: Video, count: i64, first: Timestamp) -> Video {
    video.not_found_at = Some(first);
    video.not_found_count = count;
    video
}

#[test]
fn what_is_over_never_goes_back_and_everything_else_follows_heygen_s_word() {
    for before in WORDS {
        for after in WORDS {
            let video = row(Phase::Accepted, before);
            let over = matches!(before, "completed" | "failed");
            let expected = if over { before } else { after };
            for decision in [sees(&video, after), in_bulk(&video, after)] {
                assert_eq!(decision.video.status(), expected, "{before} -> {after}");
                let told = changed_from(&decision) == [before];
                assert_eq!(told, before != expected, "{before} -> {after}");
                assert_eq!(decision.events.len(), usize::from(before != expected));
                if over {
                    assert_eq!(decision.video.ended_at, video.ended_at);
                } else {
                    let ends = matches!(after, "completed" | "failed");
                    assert_eq!(
                        decision.video.ended_at,
                        ends.then(now),
                        "{before} -> {after}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_contradicts_the_end_brings_nothing_else_either() {
    for (over, contradiction) in [
        ("completed", "processing"),
        ("completed", "failed"),
        ("failed", "completed"),
        ("failed", "re-rendering"),
    ] {
        let video = row(Phase::Accepted, over);
        let decision = sees(&video, contradiction);
        assert!(!decision.changed, "{over} {contradiction}");
        assert_eq!(decision.video.failure_code, None);
        assert_eq!(decision.video.urls, Urls::default());
    }
}

#[test]
fn a_completed_row_gets_fresh_urls_and_keeps_what_an_answer_leaves_out() {
    let mut video = row(Phase::Accepted, "completed");
    video
        .urls
        .insert(Asset::Video, "https://files.example/v?sig=0".to_owned());
    video.duration = Some(9.0);
    let mut answer = remote("completed");
    answer.duration = None;
    let decision = observed(&video, Observation::Detail(&answer), &mine(), now());
    assert!(decision.changed && decision.events.is_empty());
    assert_eq!(decision.video.urls, answer.urls);
    assert_eq!(decision.video.urls_at, Some(now()));
    assert_eq!(decision.video.duration, Some(9.0));
    assert_eq!(decision.video.title.as_deref(), Some("Teaser"));
}

#[test]
fn the_same_word_again_changes_nothing_but_the_time_of_the_check() {
    let video = row(Phase::Accepted, "processing");
    let decision = in_bulk(&video, "processing");
    assert!(!decision.changed && decision.events.is_empty());
    assert_eq!(decision.video.last_checked_at, Some(now()));
    assert_eq!(decision.video.check_count, 2);
}

#[test]
fn nothing_is_built_on_the_sight_of_a_video_that_was_never_bought() {
    for phase in [
        Phase::Unsent,
        Phase::Sending,
        Phase::Rejected,
        Phase::Unknown,
    ] {
        let video = row(phase, "waiting");
        let decision = sees(&video, "completed");
        assert_eq!(decision.video, video, "{phase}");
        assert!(!decision.changed && decision.events.is_empty(), "{phase}");
    }
}

#[test]
fn a_missing_video_that_is_seen_is_back() {
    for word in WORDS {
        let mut video = row(Phase::Missing, "pending");
        video.not_found_at = Some(now().before(HOUR));
        let decision = sees(&video, word);
        assert_eq!(decision.video.phase, Phase::Accepted);
        assert_eq!(decision.video.status(), word);
        assert_eq!(decision.video.not_found_at, None);
        assert_eq!(changed_from(&decision), ["missing"]);
    }
}

#[test]
fn the_account_that_sees_a_video_is_its_account() {
    for known in [None, Some(mine()), Some(other())] {
        let mut video = row(Phase::Accepted, "pending");
        video.account = known.clone();
        let decision = in_bulk(&video, "pending");
        assert_eq!(decision.video.account, Some(mine()));
        assert_eq!(decision.changed, known != Some(mine()));
    }
}

#[test]
fn a_404_under_another_account_says_nothing() {
    let mut video = after_404s(row(Phase::Accepted, "pending"), 9, now().before(2 * HOUR));
    video.account = Some(other());
    let decision = not_there(&video, Witness::KnowsAnother, now());
    assert_eq!(decision.video, video);
    assert!(!decision.changed && decision.events.is_empty());
}

#[test]
fn missing_needs_three_404s_over_an_hour() {
    // 404s before, time since the first, whether the video is missing now.
    let table = [
        (0, Duration::ZERO, false),
        (1, HOUR, false),
        (2, HOUR - SECOND, false),
        (2, HOUR, true),
        (9, 1000 * HOUR, true),
    ];
    for (count, passed, missing) in table {
        let mut video = row(Phase::Accepted, "pending");
        if count > 0 {
            video = after_404s(video, count, now());
            video.last_error = trouble(Operation::Poll, "not_found", Some(now()));
        }
        let decision = not_there(&video, Witness::Answered, now().after(passed));
        let after = &decision.video;
        assert_eq!(after.status() == "missing", missing, "{passed:?}");
        assert_eq!(after.missing_at.is_some(), missing, "{passed:?}");
        let first = (!missing).then_some(now());
        assert_eq!(after.not_found_at, first, "{passed:?}");
        let remembered = if missing { 0 } else { count + 1 };
        assert_eq!(after.not_found_count, remembered, "{passed:?}");
        assert_eq!(after.last_error.is_none(), missing, "{passed:?}");
        let recovered = decision
            .events
            .iter()
            .any(|entry| matches!(entry.event, Event::Recovered { .. }));
        assert!(!recovered, "what was confirmed is not over");
    }
}

#[test]
fn a_404_counts_only_beside_a_good_answer() {
    let known = after_404s(row(Phase::Accepted, "pending"), 8, now().before(2 * HOUR));
    let unseen = Video {
        account: None,
        ..known.clone()
    };
    for (video, witness, counts) in [
        (&known, Witness::Nothing, false),
        (&known, Witness::Answered, true),
        (&known, Witness::KnowsAnother, true),
        (&unseen, Witness::Nothing, false),
        // The key may be another workspace's.
        (&unseen, Witness::Answered, false),
        (&unseen, Witness::KnowsAnother, true),
    ] {
        let decision = not_there(video, witness, now());
        assert_eq!(decision.video.status() == "missing", counts, "{witness:?}");
        assert_eq!(decision.video.account, video.account);
        if !counts {
            assert_eq!(decision.video.not_found_count, 8);
            assert!(decision.video.last_error.is_some());
        }
    }
}

#[test]
fn a_clock_that_went_back_starts_the_hour_anew() {
    let video = after_404s(row(Phase::Accepted, "pending"), 8, now().after(24 * HOUR));
    let first = not_there(&video, Witness::Answered, now());
    assert_eq!(first.video.not_found_at, Some(now()));
    assert_eq!(first.video.not_found_count, 1);
    assert_eq!(first.video.status(), "pending");
}

#[test]
fn seen_in_between_forgets_the_first_404() {
    let mut video = row(Phase::Accepted, "pending");
    video.not_found_at = Some(now().before(HOUR));
    let seen = in_bulk(&video, "pending");
    assert!(seen.changed);
    assert_eq!(seen.video.not_found_at, None);
}

#[test]
fn the_end_outlives_the_video_and_open_files_are_given_up() {
    for word in ["completed", "failed"] {
        let video = after_404s(row(Phase::Accepted, word), 2, now().before(HOUR));
        let decision = not_there(&video, Witness::Answered, now());
        assert_eq!(decision.video.status(), word);
        assert_eq!(decision.files, [Asset::Video]);
        assert!(decision.changed && decision.video.is_over());
        let video = after_404s(video, 2, now().before(MINUTE));
        assert!(not_there(&video, Witness::Answered, now()).files.is_empty());
    }
}

#[test]
fn a_missing_row_stays_missing_at_every_404() {
    let mut video = row(Phase::Missing, "pending");
    for hours in 0..3 {
        let decision = not_there(&video, Witness::Answered, now().after(hours * HOUR));
        assert_eq!(decision.video.status(), "missing");
        video = decision.video;
    }
}

#[test]
fn a_failed_poll_changes_nothing_but_the_last_error() {
    for word in WORDS {
        for kind in [
            ErrorKind::NotSent,
            ErrorKind::NoAnswer,
            ErrorKind::Status(403),
            ErrorKind::Status(500),
            ErrorKind::BadResponse(200),
        ] {
            let video = row(Phase::Accepted, word);
            let mut decision = fails(&video, &error(kind, "code"), now());
            let last = decision.video.last_error.take().unwrap();
            assert_eq!(decision.video, video);
            assert_eq!(
                (last.code.as_str(), last.count, last.operation),
                ("code", 1, Operation::Poll)
            );
            assert_eq!(errors(&decision), [(true, true, false)]);
        }
    }
}

#[test]
fn trouble_is_told_when_it_begins_changes_or_lasts() {
    let ago = |time: Duration| Some(now().before(time));
    let table = [
        // The trouble before, and whether the same 500 is told now.
        (None, true),
        (trouble(Operation::Poll, "http_500", ago(MINUTE)), false),
        (
            trouble(Operation::Poll, "http_500", ago(REPORT_AGAIN - SECOND)),
            false,
        ),
        (
            trouble(Operation::Poll, "http_500", ago(REPORT_AGAIN)),
            true,
        ),
        (trouble(Operation::Poll, "http_500", None), true),
        // The clock went back.
        (
            trouble(Operation::Poll, "http_500", Some(now().after(HOUR))),
            true,
        ),
        (trouble(Operation::Poll, "http_502", ago(MINUTE)), true),
        (trouble(Operation::Save, "http_500", ago(MINUTE)), true),
    ];
    for (before, tell) in table {
        let mut video = row(Phase::Accepted, "pending");
        let known = before
            .as_ref()
            .is_some_and(|e| e.code == "http_500" && e.operation == Operation::Poll);
        let told_before = before.as_ref().and_then(|e| e.notified_at);
        video.last_error = before;
        let decision = fails(&video, &server_error(), now());
        assert_eq!(errors(&decision), [(true, tell, known)]);
        let last = decision.video.last_error.unwrap();
        let said_before = told_before.filter(|_| known);
        assert_eq!(last.notified_at, said_before, "who says it notes that");
        assert_eq!(last.count, if known { 5 } else { 1 });
    }
}

#[test]
fn the_trouble_of_a_run_is_no_row_s_news() {
    let video = row(Phase::Accepted, "pending");
    let failed = observed(
        &video,
        Observation::Failed {
            error: &server_error(),
            own: false,
        },
        &mine(),
        now(),
    );
    assert!(failed.changed && errors(&failed).iter().all(|(own, ..)| !own));
    let seen = in_bulk(&failed.video, "pending");
    assert_eq!(seen.video.last_error, None);
    assert!(
        seen.events
            .iter()
            .all(|entry| matches!(entry.event, Event::Status { .. })),
        "what was not told as a row's trouble is not told to be over"
    );
}

#[test]
fn the_trouble_of_a_run_does_not_replace_a_row_s_that_was_told() {
    for operation in [Operation::Poll, Operation::Save] {
        let mut video = row(Phase::Accepted, "completed");
        video.last_error = trouble(operation, "http_500", Some(now().before(MINUTE)));
        let error = error(ErrorKind::NotSent, "network_error");
        let outage = Observation::Failed {
            error: &error,
            own: false,
        };
        let failed = observed(&video, outage, &mine(), now());
        assert_eq!(failed.video, video);
        assert!(!failed.changed && failed.events.is_empty());
    }
}

#[test]
fn a_sight_ends_the_trouble_of_asking_and_no_other() {
    let told = Some(now().before(MINUTE));
    for (operation, over) in [
        (Operation::Poll, true),
        (Operation::Save, false),
        (Operation::Send, false),
    ] {
        let mut video = row(Phase::Accepted, "completed");
        video.last_error = trouble(operation, "http_500", told);
        let decision = sees(&video, "completed");
        assert_eq!(decision.video.last_error.is_none(), over, "{operation}");
        let recovered = decision.events.iter().any(
            |entry| matches!(&entry.event, Event::Recovered { code, .. } if code == "http_500"),
        );
        assert_eq!(recovered, over, "{operation}");
    }
}

#[test]
fn error_events_carry_what_a_support_ticket_needs() {
    let video = row(Phase::Accepted, "pending");
    let decision = fails(&video, &server_error(), now());
    let [entry] = decision.events.as_slice() else {
        panic!("{:?}", decision.events)
    };
    assert!(!entry.again);
    let (kind, detail) = entry.event.stored();
    assert_eq!(kind, "error");
    let detail: serde_json::Value = serde_json::from_str(&detail).unwrap();
    for (name, fact) in [
        ("operation", json!("poll")),
        ("http_status", json!(500)),
        ("code", json!("http_500")),
        ("request_id", json!("request-1")),
    ] {
        assert_eq!(detail.get(name), Some(&fact));
    }
}

#[test]
fn files_are_fetched_waited_for_or_given_up() {
    use FileState::{Gone, Partial, Publishing, Saved, Unavailable, Wanted};
    #[derive(Debug, PartialEq)]
    enum Plan {
        Fetch,
        Wait,
        GiveUp,
        Withheld,
    }
    let (soon, late) = (HOUR - SECOND, HOUR);
    for (asset, state, url, since, plan) in [
        (Asset::Video, Wanted, true, soon, Plan::Fetch),
        (Asset::Video, Partial, true, late, Plan::Fetch),
        (Asset::Gif, Wanted, true, late, Plan::Fetch),
        (Asset::Video, Wanted, false, soon, Plan::Wait),
        (Asset::Video, Wanted, false, 1000 * HOUR, Plan::Withheld),
        (Asset::Gif, Wanted, false, soon, Plan::Wait),
        (Asset::Gif, Wanted, false, late, Plan::GiveUp),
        (Asset::Gif, Partial, false, late, Plan::GiveUp),
        (Asset::Gif, Publishing, false, late, Plan::Wait),
        (Asset::Video, Publishing, true, late, Plan::Wait),
        (Asset::Video, Saved, true, late, Plan::Wait),
        (Asset::Gif, Unavailable, true, late, Plan::Wait),
        (Asset::Video, Gone, true, late, Plan::Wait),
    ] {
        let mut video = row(Phase::Accepted, "completed");
        video.ended_at = Some(now().before(since));
        video.files = vec![file(asset, state)];
        let address = url.then(|| "https://files.example/f".to_owned());
        video.urls.extend(address.map(|address| (asset, address)));
        let plan_of = |video: &Video| {
            let mut answer = remote(video.status());
            answer.urls = video.urls.clone();
            let decision = observed(video, Observation::Detail(&answer), &mine(), now());
            let state = decision.video.file(asset).unwrap().state;
            if decision.fetch == [asset] {
                Plan::Fetch
            } else if errors(&decision) == [(true, true, false)] {
                Plan::Withheld
            } else if decision.files == [asset] && state == Unavailable {
                Plan::GiveUp
            } else {
                assert!(decision.fetch.is_empty() && decision.files.is_empty());
                Plan::Wait
            }
        };
        assert_eq!(plan_of(&video), plan, "{asset} {state} {url} {since:?}");
        video.remote_status = Some(RemoteStatus::new("processing"));
        video.outcome = None;
        assert_eq!(plan_of(&video), Plan::Wait, "not completed");
    }
}

#[test]
fn a_clock_that_went_back_gives_no_file_up() {
    let mut video = row(Phase::Accepted, "completed");
    video.ended_at = Some(now().after(24 * HOUR));
    video.files = vec![file(Asset::Gif, FileState::Wanted)];
    let mut answer = remote("completed");
    answer.urls.remove(&Asset::Video);
    let decision = observed(&video, Observation::Detail(&answer), &mine(), now());
    assert!(decision.files.is_empty());
}
