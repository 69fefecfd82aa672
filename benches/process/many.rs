//! Very many unfinished rows in one check, and what a `submit` beside it waits for the database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::heygen::Options;

use crate::Scale;
use crate::measure::{self, Cost, median, millis, print_cost};
use crate::stage::Stage;

pub(crate) fn run(scale: Scale) {
    println!(
        "\ncheck of very many unfinished rows (median of {})",
        scale.runs
    );
    let sizes: &[usize] = scale.of(&[10_000, 100_000], &[1_000, 5_000]);
    for rows in sizes {
        let stage = Stage::new(Options::default());
        stage.rendering(*rows, "processing");
        let costs: Vec<Cost> = (0..scale.runs)
            .map(|_| {
                stage.reset();
                stage.counted(&mut stage.tracker("check"))
            })
            .collect();
        let cost = median(&costs);
        print_cost(&format!("{rows} rows"), &cost);
        println!("  {:.1} µs a row", millis(cost.wall) * 1e3 / *rows as f64);
        beside(&stage, scale);
    }
}

/// `submit --queue` again and again, alone and while checks run.
fn beside(stage: &Stage, scale: Scale) {
    let tries = scale.of(40, 5);
    let submits = || -> Vec<Duration> {
        let mut walls: Vec<Duration> = (0..tries)
            .map(|_| measure::run(&mut stage.tracker("submit --queue body.json")).wall)
            .collect();
        walls.sort();
        walls
    };
    stage.reset();
    let alone = submits();
    stage.reset();
    let over = AtomicBool::new(false);
    let busy = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // Only rows HeyGen has: what is queued meanwhile stays so.
                measure::run(&mut stage.tracker("check --max-active 1"));
            }
        });
        let busy = submits();
        over.store(true, Ordering::Relaxed);
        busy
    });
    for (name, walls) in [("alone", alone), ("beside checks", busy)] {
        println!(
            "  submit --queue {name}: median {:.1} ms, longest of {tries} {:.1} ms",
            millis(walls[walls.len() / 2]),
            millis(walls[walls.len() - 1]),
        );
    }
}
