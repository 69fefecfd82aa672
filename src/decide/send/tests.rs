//! The table of answers, and the clock.

use super::*;
use crate::decide::Entry;
use crate::heygen::ErrorKind;
use crate::video::{Asset, File, FileState, RemoteStatus, RowId, VideoId};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn noon() -> Timestamp {
    Timestamp::from_secs(1_764_000_000)
}

fn mine() -> Account {
    Account::new("https://api.heygen.com#mine".to_owned())
}

fn other() -> Account {
    Account::new("https://api.heygen.com#other".to_owned())
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::stored(text.to_owned())
}

/// A row as `submit` writes it.
fn unsent() -> Video {
    Video {
        id: RowId(1),
        idempotency_key: Some(key("first")),
        submitted_at: noon(),
        output_dir: "/output".into(),
        files: vec![File {
            asset: Asset::Video,
            state: FileState::Wanted,
            path: None,
            part: None,
            bytes: None,
            sha256: None,
            saved_at: None,
            attempts: 0,
            first_failed_at: None,
        }],
        ..Video::default()
    }
}

/// The same, marked at noon for its first POST.
fn sending() -> Video {
    begin_send(&unsent(), &mine(), noon()).video
}

fn error(kind: ErrorKind, retry_after: Option<Duration>) -> ApiError {
    ApiError {
        retry_after,
        ..ApiError::with_kind(kind)
    }
}

/// The same from something in front of HeyGen.
fn page(status: u16) -> ApiError {
    ApiError {
        own_word: false,
        ..ApiError::with_kind(ErrorKind::Status(status))
    }
}

fn answered(video: &Video, fresh: bool, answer: &Result<Created, ApiError>) -> Decision {
    let open = matches!(answer, Err(error) if Verdict::of(error).leaves_outcome_open());
    let attempt = Attempt {
        unanswered_before: !fresh,
        unanswered: i64::from(open),
    };
    sent(video, attempt, answer, &mine(), noon())
}

fn at<'a>(account: Option<&'a Account>, ignore_backoff: bool, now: Timestamp) -> Moment<'a> {
    Moment {
        account,
        now,
        outbox_seen_at: None,
        restored: None,
        ignore_backoff,
    }
}

fn created() -> Created {
    Created {
        video_id: VideoId::new("v1").unwrap(),
        status: RemoteStatus::waiting(),
        request_id: None,
    }
}

#[test]
fn each_answer_to_a_first_post_and_to_a_replay() {
    use ErrorKind::{BadResponse, NoAnswer, NotSent, Status};
    use Phase::{Rejected, Sending, Unsent};
    // answer; after a first POST: phase, key; after a replay: phase (its key never changes)
    let table = [
        (NotSent, Unsent, "first", Sending),
        (NoAnswer, Sending, "first", Sending),
        (BadResponse(200), Sending, "first", Sending),
        (Status(302), Sending, "first", Sending),
        (Status(307), Sending, "first", Sending),
        (Status(400), Rejected, "first", Rejected),
        (Status(401), Unsent, "first", Sending),
        (Status(402), Unsent, "another", Sending),
        (Status(403), Unsent, "first", Sending),
        (Status(404), Rejected, "first", Rejected),
        (Status(405), Unsent, "first", Sending),
        (Status(408), Sending, "first", Sending),
        (Status(409), Sending, "first", Sending),
        (Status(413), Rejected, "first", Rejected),
        (Status(418), Unsent, "first", Sending),
        (Status(422), Rejected, "first", Rejected),
        (Status(425), Sending, "first", Sending),
        (Status(429), Unsent, "first", Sending),
        (Status(500), Sending, "first", Sending),
        (Status(503), Sending, "first", Sending),
        (Status(599), Sending, "first", Sending),
        (Status(999), Sending, "first", Sending),
    ];
    for (kind, phase, new_key, replayed) in table {
        let first = answered(&sending(), true, &Err(error(kind, None))).video;
        assert_eq!(first.phase, phase, "{kind:?}");
        let new_key = match new_key {
            "another" => key("first").after_refusal(),
            same => key(same),
        };
        assert_eq!(first.idempotency_key, Some(new_key), "{kind:?}");
        // What ties a row to account and clock is that HeyGen may have charged for it.
        let tied = phase == Sending;
        assert_eq!(first.first_unanswered_at.is_some(), tied, "{kind:?}");
        assert_eq!(first.account, Some(mine()), "{kind:?}");

        let replay = answered(&sending(), false, &Err(error(kind, None))).video;
        assert_eq!(replay.phase, replayed, "{kind:?}");
        assert_eq!(replay.idempotency_key, Some(key("first")), "{kind:?}");
        assert_eq!(replay.first_unanswered_at, Some(noon()), "{kind:?}");
        assert_eq!(replay.account, Some(mine()), "{kind:?}");
    }
}

#[test]
fn an_accepted_id_is_recorded_whatever_became_of_the_row() {
    let unknown = expire(&sending(), Expiry::AGE, noon()).video;
    for video in [unsent(), sending(), unknown] {
        let decision = answered(&video, false, &Ok(created()));
        assert_eq!(decision.video.phase, Phase::Accepted);
        assert_eq!(decision.video.video_id, Some(created().video_id));
        assert_eq!(decision.video.account, Some(mine()));
        assert_eq!(decision.video.first_unanswered_at, None);
        let sent = |entry: &Entry| matches!(entry.event, Event::Accepted { .. });
        assert!(decision.events.iter().any(sent));
    }
}

#[test]
fn an_answer_that_comes_late_changes_nothing_that_is_decided() {
    let accepted = answered(&sending(), true, &Ok(created())).video;
    let refused = Err(error(ErrorKind::Status(400), None));
    let rejected = answered(&sending(), true, &refused).video;
    let broken = Err(error(ErrorKind::Status(500), None));
    let busy = Err(error(ErrorKind::Status(429), None));
    for video in [accepted, rejected] {
        for answer in [&refused, &broken, &busy, &Ok(created())] {
            let decision = answered(&video, true, answer);
            assert_eq!(decision.video, video);
            assert!(!decision.changed && decision.events.is_empty());
        }
    }
}

#[test]
fn how_long_a_row_waits_after_each_answer() {
    use ErrorKind::{NotSent, Status};
    let now = |wait| Some(noon().after(wait));
    // answer, Retry-After, earliest next try
    let table = [
        (NotSent, None, None),
        (Status(401), Some(MINUTE), None),
        (Status(402), None, None),
        (Status(403), None, None),
        (Status(409), None, now(MINUTE)),
        (Status(409), Some(5 * MINUTE), now(5 * MINUTE)),
        (Status(429), None, now(MINUTE)),
        (Status(429), Some(Duration::ZERO), now(Duration::ZERO)),
        (Status(429), Some(LONGEST_WAIT), now(LONGEST_WAIT)),
        (Status(500), None, now(Duration::ZERO)),
    ];
    for (kind, retry_after, wanted) in table {
        let video = answered(&sending(), true, &Err(error(kind, retry_after))).video;
        assert_eq!(video.send_after, wanted, "{kind:?} {retry_after:?}");
    }
}

#[test]
fn replays_are_at_once_then_1_2_4_to_60_minutes_apart() {
    let broken = Err(error(ErrorKind::Status(500), None));
    let mut video = sending();
    let mut minutes = Vec::new();
    for _ in 0..9 {
        video = answered(&video, false, &broken).video;
        let wait = video.send_after.unwrap().since(noon());
        minutes.push(wait.as_secs() / 60);
    }
    assert_eq!(minutes, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    let early = Err(error(ErrorKind::Status(425), None));
    let spaced = answered(&video, false, &early).video;
    assert!(spaced.attempts > video.attempts, "425 is spaced out, too");
    video.attempts = i64::MAX;
    let video = answered(&video, false, &broken).video;
    assert_eq!(video.send_after, Some(noon().after(HOUR)));
}

#[test]
fn only_rows_that_wait_are_due() {
    for phase in Phase::ALL {
        let video = Video {
            kind: crate::kind::Kind::Video,
            session_id: None,
            template_id: None,
            progress: None,
            phase: *phase,
            ..sending()
        };
        let waits = matches!(phase, Phase::Unsent | Phase::Sending);
        let wanted = if waits { Due::Now } else { Due::Not };
        assert_eq!(
            due(&video, &at(Some(&mine()), false, noon())),
            wanted,
            "{phase}"
        );
    }
}

#[test]
fn a_replay_belongs_to_its_account_a_first_post_to_nobody() {
    let table = [
        (unsent(), Some(other()), Due::Now),
        (sending(), Some(mine()), Due::Now),
        (sending(), Some(other()), Due::OtherAccount),
        (sending(), None, Due::Now),
    ];
    for (video, account, wanted) in table {
        assert_eq!(due(&video, &at(account.as_ref(), true, noon())), wanted);
    }
    // Too old is too old, whoever asks.
    let late = noon().after(20 * HOUR);
    let due = due(&sending(), &at(Some(&other()), false, late));
    assert_eq!(due, Due::Expired(Expiry::AGE));
}

#[test]
fn a_replay_is_possible_for_twenty_hours_of_a_clock_that_goes_forward() {
    let second = Duration::from_secs(1);
    let again = |at| begin_send(&sending(), &mine(), at).video;
    let ahead = |by| noon().after(by);
    let table = [
        (sending(), noon(), Due::Now),
        (sending(), ahead(20 * HOUR - second), Due::Now),
        (sending(), ahead(20 * HOUR), Due::Expired(Expiry::AGE)),
        (sending(), ahead(9000 * HOUR), Due::Expired(Expiry::AGE)),
        // A later attempt does not buy time.
        (
            again(ahead(19 * HOUR)),
            ahead(20 * HOUR),
            Due::Expired(Expiry::AGE),
        ),
        // Clocks drift a little.
        (sending(), noon().before(5 * MINUTE), Due::Now),
        (
            sending(),
            noon().before(5 * MINUTE + second),
            Due::Expired(Expiry::CLOCK),
        ),
        (
            again(ahead(10 * HOUR)),
            ahead(9 * HOUR),
            Due::Expired(Expiry::CLOCK),
        ),
        // Never sent: too old only once nobody has looked for so long.
        (unsent(), ahead(20 * HOUR - second), Due::Now),
        (unsent(), noon().before(9000 * HOUR), Due::Now),
    ];
    for (video, now, wanted) in table {
        for eager in [false, true] {
            assert_eq!(due(&video, &at(Some(&mine()), eager, now)), wanted, "{now}");
        }
    }
}

#[test]
fn spacing_holds_unless_a_person_asks_or_the_clock_went_back() {
    let later = |wait| Video {
        kind: crate::kind::Kind::Video,
        session_id: None,
        template_id: None,
        progress: None,
        send_after: Some(noon().after(wait)),
        ..unsent()
    };
    let table = [
        (later(Duration::ZERO), Due::Now),
        (later(MINUTE), Due::Later(noon().after(MINUTE))),
        (later(HOUR), Due::Later(noon().after(HOUR))),
        // Nothing is put off for longer than an hour, so this is from a clock that ran ahead.
        (later(HOUR + MINUTE), Due::Now),
    ];
    for (video, wanted) in table {
        assert_eq!(due(&video, &at(Some(&mine()), false, noon())), wanted);
        assert_eq!(due(&video, &at(Some(&mine()), true, noon())), Due::Now);
    }
}

#[test]
fn marking_for_a_post_starts_the_clock_once() {
    let first = begin_send(&unsent(), &mine(), noon());
    assert!(first.changed && !first.events[0].again);
    assert_eq!(first.video.phase, Phase::Sending);
    assert_eq!(first.video.account, Some(mine()));
    assert_eq!(first.video.first_unanswered_at, Some(noon()));

    let later = noon().after(HOUR);
    let second = begin_send(&first.video, &mine(), later);
    assert_eq!(second.video.first_unanswered_at, Some(noon()));
    assert_eq!(second.video.last_attempt_at, Some(later));
    assert_eq!(second.video.idempotency_key, Some(key("first")));
    assert!(second.events.len() == 1 && second.events[0].again);
}

#[test]
fn a_post_that_was_not_made_unties_only_a_fresh_row() {
    let fresh = Attempt::default();
    let replay = Attempt {
        unanswered_before: true,
        ..fresh
    };
    let not_made = |video: &Video, attempt| {
        let answer = Err(ApiError::not_asked());
        sent(video, attempt, &answer, &mine(), noon())
    };
    let reset = not_made(&sending(), fresh);
    assert_eq!(reset.video.phase, Phase::Unsent);
    assert_eq!(reset.video.idempotency_key, Some(key("first")));
    assert!(reset.changed && reset.events.is_empty());
    assert!(!not_made(&sending(), replay).changed);
    let accepted = answered(&sending(), true, &Ok(created())).video;
    assert!(!not_made(&accepted, fresh).changed);
}

#[test]
fn what_expires_keeps_what_a_person_needs_to_find_out() {
    for expiry in [Expiry::AGE, Expiry::CLOCK] {
        let decision = expire(&sending(), expiry, noon());
        assert_eq!(decision.video.phase, Phase::Unknown);
        assert_eq!(decision.video.idempotency_key, Some(key("first")));
        assert_eq!(decision.video.account, Some(mine()));
        assert_eq!(decision.video.first_unanswered_at, Some(noon()));
        let [entry] = decision.events.as_slice() else {
            panic!("{:?}", decision.events)
        };
        assert_eq!(entry.was.as_deref(), Some("sending"));
    }
}

#[test]
fn a_gateway_s_page_ends_nothing_and_keeps_the_key() {
    for status in [400, 402, 403, 404, 405, 413, 422] {
        let answer = Err(page(status));
        let first = answered(&sending(), true, &answer).video;
        assert_eq!(first.phase, Phase::Unsent, "{status}");
        assert_eq!(first.send_after, None, "{status}");
        let replay = answered(&sending(), false, &answer).video;
        assert_eq!(replay.phase, Phase::Sending, "{status}");
        for row in [first, replay] {
            assert_eq!(row.idempotency_key, Some(key("first")), "{status}");
            assert_eq!(row.failure_code, None, "{status}");
        }
    }
    // The same after a lost answer within the run: HeyGen may have acted on that one.
    let lost = Attempt {
        unanswered_before: false,
        unanswered: 1,
    };
    let answer = Err(error(ErrorKind::Status(402), None));
    let row = sent(&sending(), lost, &answer, &mine(), noon()).video;
    assert_eq!(row.phase, Phase::Sending);
    assert_eq!(row.idempotency_key, Some(key("first")));
}

#[test]
fn an_outbox_that_nobody_looked_at_for_twenty_hours_waits_for_a_person() {
    let second = Duration::from_secs(1);
    let late = noon().after(20 * HOUR);
    let seen = |at_time| Moment {
        outbox_seen_at: Some(at_time),
        ..at(None, false, late)
    };
    let held = Due::Expired(Expiry::UNATTENDED);
    assert_eq!(due(&unsent(), &at(None, false, late)), held);
    assert_eq!(
        due(&unsent(), &at(None, true, late)),
        Due::Now,
        "a person asked"
    );
    assert_eq!(due(&unsent(), &seen(noon())), held);
    assert_eq!(due(&unsent(), &seen(noon().after(second))), Due::Now);

    let unknown = expire(&unsent(), Expiry::UNATTENDED, late).video;
    assert_eq!(unknown.phase, Phase::Unknown);
    assert!(!unknown.has_unanswered_attempt());
    let released = release(&unknown).unwrap().video;
    assert_eq!(released.phase, Phase::Unsent);
    assert_eq!(released.idempotency_key, Some(key("first")));
    let lost = expire(&sending(), Expiry::AGE, late).video;
    assert!(lost.has_unanswered_attempt());
    assert!(release(&lost).is_none(), "never sent again by itself");
}

#[test]
fn a_queued_row_belongs_to_the_account_it_was_submitted_under() {
    let row = Video {
        account: Some(mine()),
        ..unsent()
    };
    assert_eq!(due(&row, &at(Some(&mine()), false, noon())), Due::Now);
    for ignore_backoff in [false, true] {
        let other = other();
        let due = due(&row, &at(Some(&other), ignore_backoff, noon()));
        assert_eq!(due, Due::OtherAccount);
    }
}

#[test]
fn a_video_of_another_row_is_asked_for_once_more() {
    let other = |key| Video {
        id: RowId(2),
        idempotency_key: key,
        ..unsent()
    };
    let added = other(None);
    let tracked = |by: &Video, first| {
        already_tracked(
            &sending(),
            &created(),
            by,
            Attempt::default(),
            first,
            noon(),
        )
        .video
    };
    for (by, first, phase) in [
        (&added, true, Phase::Sending),
        (&added, false, Phase::Rejected),
        (&other(Some(key("x"))), true, Phase::Sending),
        (&other(Some(key("x"))), false, Phase::Sending),
    ] {
        let row = tracked(by, first);
        assert_eq!(row.phase, phase);
        assert_eq!(row.idempotency_key, Some(key("first")));
    }
}
