//! SIGKILL at the system calls that others can see the effect of: D16, S1, S2, and what no row names.
//!
//! Each scene is first played undisturbed to count its calls and to learn its end; then it is played again and killed
//! at the first, second, third … call, over all threads ([`crate::tracer`]). The program is the first to open what
//! the kill left; for every other number it is killed there once more. Then `check` runs until all is finished, and
//! nothing may tell that there was a kill.

use crate::support::{Bench, skipped};
use crate::sweep::{CHECK, LONG, PLAYS, REPAIR, RESUME, SUBMIT, Scene, Strikes, kill_at, struck};
use crate::tracer::{Traced, why_not};

#[test]
fn a_killed_submit() {
    kill_sweep(&SUBMIT, 20);
}

#[test]
fn a_killed_check() {
    kill_sweep(&CHECK, 24);
}

#[test]
fn a_killed_resumption() {
    kill_sweep(&RESUME, 12);
}

#[test]
fn a_killed_repair() {
    kill_sweep(&REPAIR, 10);
}

#[test]
fn a_killed_long_download() {
    kill_sweep(&LONG, 5);
}

fn kill_sweep(scene: &Scene, sample: usize) {
    if let Some(reason) = why_not() {
        skipped(&reason);
        return;
    }
    let (calls, end) = scene.undisturbed();
    let mut strikes = Strikes::default();
    let mut recorded = false;
    for number in struck(&calls, sample) {
        let played = (0..PLAYS)
            .map(|_| play(scene, number))
            .find(|(_, killed)| killed.was_killed());
        let Some((bench, killed)) = played else {
            strikes.missed();
            continue;
        };
        strikes.hit(&killed.calls[number - 1]);
        scene.assert_unharmed(&bench, &killed.run);
        if number.is_multiple_of(2) {
            // A kill while the first one's traces are being removed.
            let another = fastrand::Rng::with_seed(number as u64).usize(1..=calls.len());
            let again = kill_at(&bench, "check", another);
            scene.assert_unharmed(&bench, &again.run);
        }
        let lost = scene.converge(&bench);
        assert!(
            !(lost && recorded),
            "an earlier kill found the rows recorded"
        );
        recorded |= !lost;
        scene.assert_ends_as(&bench, &end);
    }
    strikes.conclude(&format!("killed {}", scene.name), calls.len());
}

fn play(scene: &Scene, number: usize) -> (Bench, Traced) {
    let bench = scene.bench();
    let killed = kill_at(&bench, scene.arguments, number);
    (bench, killed)
}
