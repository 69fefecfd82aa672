//! SIGKILL at the calls that others can see the effect of, for every kind of job: submitted, and an agent's session
//! nudged, answered and saved. As in [`crate::kill_sweep`], every call is struck with `TRACKER_SWEEP=full`.
//!
//! Kinds for which HeyGen promises no safe repetition may end as `unknown`, so the end is not always the undisturbed
//! one. What holds always: what was recorded is not lost, and nothing is sent twice.

use crate::kinds::{kinds, submit_arguments};
use crate::support::{Bench, skipped};
use crate::sweep::{PLAYS, Strikes, chosen, disturb, kill_at};
use crate::tracer::{Act, why_not};

/// Plays `arguments` on fresh stages, killed at one call after the other, and looks at what `check` makes of it.
fn sweep(
    name: &str,
    sample: usize,
    stage: impl Fn() -> Bench,
    arguments: &str,
    holds: impl Fn(&Bench),
) {
    if let Some(reason) = why_not() {
        skipped(&reason);
        return;
    }
    let undisturbed = stage();
    let calls = disturb(&undisturbed, arguments, |_, _| Act::Go).calls;
    holds(&undisturbed);
    let mut strikes = Strikes::default();
    for number in chosen(calls.len(), sample) {
        let played = (0..PLAYS).find_map(|_| {
            let bench = stage();
            let killed = kill_at(&bench, arguments, number);
            killed.was_killed().then_some((bench, killed))
        });
        let Some((bench, killed)) = played else {
            strikes.missed();
            continue;
        };
        strikes.hit(&killed.calls[number - 1]);
        bench.assert_decent(&killed.run);
        bench.assert_nothing_locked();
        if number.is_multiple_of(2) {
            let another = fastrand::Rng::with_seed(number as u64).usize(1..=calls.len());
            kill_at(&bench, "check", another);
        }
        for _ in 0..2 {
            bench.assert_decent(&bench.tracker("check"));
        }
        holds(&bench);
        assert_eq!(bench.query("PRAGMA integrity_check"), "ok");
    }
    strikes.conclude(&format!("killed {name}"), calls.len());
}

#[test]
fn a_killed_submit_of_every_kind() {
    for (kind, body, _) in kinds() {
        let stage = || {
            let bench = Bench::new();
            bench.file("body.json", body.to_string());
            // A database that is there: how one is created is another scene.
            bench.tracker("add made-elsewhere").exits(0);
            bench.tracker("forget 1 --force").exits(0);
            bench
        };
        let arguments = submit_arguments(kind);
        sweep(kind, 10, stage, &arguments, |bench| {
            let bills = bench.heygen.billed();
            if bench.query("SELECT count(*) FROM videos") == "0" {
                assert!(bills.is_empty(), "{kind}: sent before it was recorded");
                bench.tracker(&arguments).exits(0);
                return;
            }
            assert!(bills.len() <= 1, "{kind}: {bills:?}");
            if bench.query("SELECT status FROM videos") == "unknown" {
                assert!(
                    !["model", "template"].contains(&kind),
                    "{kind} can be repeated"
                );
                return;
            }
            let id = bench.query("SELECT coalesce(session_id, video_id) FROM videos");
            assert_eq!(
                bills.iter().map(|bill| &bill.video_id).collect::<Vec<_>>(),
                [&id]
            );
            bench.heygen.finish(&id);
            for _ in 0..2 {
                bench.tracker("check").exits(0);
            }
            assert_eq!(bench.query("SELECT finished FROM videos"), "1", "{kind}");
        });
    }
}

/// A session in that state, seen by a check.
fn session(options: &str, word: &str) -> Bench {
    let bench = Bench::new();
    bench
        .tracker(&format!("submit --prompt Tea {options}"))
        .exits(0);
    let session = bench.query("SELECT session_id FROM videos");
    bench.heygen.set_status(&session, word);
    bench.tracker("check").exits(0);
    bench
}

/// What HeyGen got, and how far the program believes it came.
fn messages(bench: &Bench) -> (usize, String) {
    let session = bench.query("SELECT session_id FROM videos");
    let got = bench
        .heygen
        .world()
        .video_mut(&session)
        .unwrap()
        .messages
        .len();
    (got, bench.query("SELECT group_concat(state) FROM messages"))
}

#[test]
fn a_killed_reply() {
    let stage = || session("", "waiting_for_input");
    sweep("reply", 12, stage, "reply 1 Yes", |bench| {
        let (got, state) = messages(bench);
        match state.as_str() {
            "" => assert_eq!(got, 0, "sent before it was recorded"),
            "sending" => assert!(got <= 1),
            _ => assert_eq!((got, state.as_str()), (1, "sent")),
        }
    });
}

#[test]
fn a_killed_nudge() {
    let stage = || session("--nudge 1", "failed");
    sweep("nudge", 12, stage, "check", |bench| {
        // However often it is asked about, one spell is one message.
        for _ in 0..3 {
            bench.tracker("check");
        }
        let (got, state) = messages(bench);
        match state.as_str() {
            "sending" => assert!(got <= 1),
            _ => assert_eq!((got, state.as_str()), (1, "sent")),
        }
    });
}

#[test]
fn a_killed_saving_of_an_agents_video() {
    let stage = || {
        let bench = session("", "generating");
        bench
            .heygen
            .finish(&bench.query("SELECT session_id FROM videos"));
        bench
    };
    sweep("saving of an agent's video", 12, stage, "check", |bench| {
        for _ in 0..2 {
            bench.tracker("check").exits(0);
        }
        assert_eq!(bench.query("SELECT finished FROM videos"), "1");
        let path = bench.query("SELECT path FROM files WHERE state = 'saved'");
        let session = bench.query("SELECT session_id FROM videos");
        assert!(std::fs::read(path).unwrap() == bench.heygen.expected(&session, "video"));
        assert_eq!(bench.heygen.posts().len(), 1);
        bench.assert_no_litter();
    });
}
