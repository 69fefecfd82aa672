//! ENOSPC and EIO at the system calls of every scene: D10, S14, S15, B6, and what no row names.
//!
//! Each call fails once, by itself; then from it on everything that wants something of the disk fails, as on a disk
//! that is full or gone; and for every other number the run that recovers meets a failing call, too. The program may
//! end well or with an error code, but it says so and does not panic, and when the faults are over, nothing may tell
//! that there were any.

use nix::errno::Errno;

use crate::support::{Bench, Run, skipped};
use crate::sweep::{
    ACCEPTED, CHECK, LONG, PLAYS, REPAIR, RESUME, SUBMIT, Scene, Strikes, chosen, disturb, is_full,
    struck,
};
use crate::tracer::{Act, Call, Traced, why_not};

#[test]
fn a_submit_meeting_errors() {
    error_sweep(&SUBMIT, 10);
}

#[test]
fn a_check_meeting_errors() {
    error_sweep(&CHECK, 12);
}

#[test]
fn a_resumption_meeting_errors() {
    error_sweep(&RESUME, 8);
}

#[test]
fn a_repair_meeting_errors() {
    error_sweep(&REPAIR, 6);
}

#[test]
fn a_long_download_meeting_errors() {
    error_sweep(&LONG, 2);
}

/// S14: a script that submits again after "nothing recorded" must not buy twice.
#[test]
fn a_submit_that_fails_has_recorded_nothing() {
    if let Some(reason) = why_not() {
        skipped(&reason);
        return;
    }
    let (calls, _) = ACCEPTED.undisturbed();
    let mut strikes = Strikes::default();
    for number in chosen(calls.len(), 24) {
        for which in [Which::One(number), Which::From(number)] {
            if matches!(which, Which::One(_)) && !calls[number - 1].can_fail() {
                continue;
            }
            for errno in errnos(number) {
                let bench = ACCEPTED.bench();
                let (played, struck) = play(&bench, ACCEPTED.arguments, which, errno);
                let Some(first) = struck.first() else {
                    strikes.missed();
                    continue;
                };
                strikes.hit(first);
                ACCEPTED.assert_unharmed(&bench, &played.run);
                let screen = played.run.screen();
                let warned = screen.contains("do not submit again")
                    || screen.contains("before you submit again");
                if played.run.code != Some(0) && !warned {
                    bench.tracker("check");
                    let bills = bench.heygen.billed().len();
                    assert_eq!(bills, 0, "{which:?} {errno}: {screen}");
                }
            }
        }
    }
    strikes.conclude("errors in an accepted submit", calls.len());
}

/// Which calls fail.
#[derive(Clone, Copy, Debug)]
enum Which {
    /// This one, whatever it is about.
    One(usize),
    /// From this one on all that are about the disk.
    From(usize),
}

impl Which {
    fn strikes(self, number: usize, call: &Call) -> bool {
        match self {
            Self::One(only) => number == only && call.can_fail(),
            Self::From(first) => number >= first && call.is_disk(),
        }
    }
}

fn error_sweep(scene: &Scene, sample: usize) {
    if let Some(reason) = why_not() {
        skipped(&reason);
        return;
    }
    let (calls, end) = scene.undisturbed();
    let mut strikes = Strikes::default();
    for number in struck(&calls, sample) {
        for which in [Which::One(number), Which::From(number)] {
            if matches!(which, Which::One(_)) && !calls[number - 1].can_fail() {
                continue;
            }
            for errno in errnos(number) {
                let Some((bench, played, first)) = disturbed(scene, which, errno) else {
                    strikes.missed();
                    continue;
                };
                strikes.hit(&first);
                let what = format!("{which:?} {errno} {first:?}");
                assert_told(scene, &bench, &played.run, None, &what);
                if number.is_multiple_of(2) {
                    let another = fastrand::Rng::with_seed(number as u64).usize(1..=calls.len());
                    let (again, _) = play(&bench, "check", Which::One(another), errno);
                    let what = format!("{what}, then {another}");
                    assert_told(scene, &bench, &again.run, Some(&played.run), &what);
                }
                let lost = scene.converge(&bench);
                assert!(
                    !(lost && played.run.code == Some(0)),
                    "{which:?}: {}",
                    played.run.screen()
                );
                scene.assert_ends_as(&bench, &end);
            }
        }
    }
    strikes.conclude(&format!("errors in {}", scene.name), calls.len());
}

/// Both in a full sweep, else in turn.
fn errnos(number: usize) -> Vec<Errno> {
    let both = [Errno::ENOSPC, Errno::EIO];
    if is_full() {
        both.to_vec()
    } else {
        vec![both[number % 2]]
    }
}

/// Plays the scene until a call fails; the first of them with it.
fn disturbed(scene: &Scene, which: Which, errno: Errno) -> Option<(Bench, Traced, Call)> {
    (0..PLAYS).find_map(|_| {
        let bench = scene.bench();
        let (played, struck) = play(&bench, scene.arguments, which, errno);
        Some((bench, played, struck.into_iter().next()?))
    })
}

/// Runs the program with failing calls; also which those were.
fn play(bench: &Bench, arguments: &str, which: Which, errno: Errno) -> (Traced, Vec<Call>) {
    let mut struck = Vec::new();
    let played = disturb(bench, arguments, |number, call| {
        if which.strikes(number, call) {
            struck.push(call.clone());
            Act::Fail(errno)
        } else {
            Act::Go
        }
    });
    (played, struck)
}

/// It ended by itself, with a code of its own, and not without a word: but what the run `before` it said is not said again
/// that day.
fn assert_told(scene: &Scene, bench: &Bench, run: &Run, before: Option<&Run>, what: &str) {
    scene.assert_unharmed(bench, run);
    let ended = matches!(run.code, Some(0 | 1 | 3));
    assert!(ended, "{what}: {}", run.screen());
    // Where the database has no room, nothing but this file can remember what was said.
    let is_known = bench.path("tracker.db-full").exists()
        || before.is_some_and(|before| before.code != Some(0) && !before.stderr.is_empty());
    let is_said = !run.stderr.is_empty() || !run.stdout.is_empty();
    assert!(
        run.code == Some(0) || is_said || is_known,
        "{what}: an error code and not one word"
    );
}
