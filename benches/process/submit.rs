//! Submitting many videos, with one command and with as many commands at once: every row is durable before its POST.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::heygen::Options;

use crate::Scale;
use crate::measure::{Cost, median, millis, print_cost};
use crate::stage::{BODY, Stage};

pub(crate) fn run(scale: Scale) {
    let count: usize = scale.of(1_000, 50);
    println!("\nsubmit of {count} bodies (median of {})", scale.runs);
    for latency in [0, 50] {
        let costs: Vec<Cost> = (0..scale.runs).map(|_| once(count, latency)).collect();
        let cost = median(&costs);
        print_cost(&format!("HeyGen takes {latency} ms"), &cost);
        println!("  {:.2} ms a row", millis(cost.wall) / count as f64);
    }
}

fn once(count: usize, latency: u64) -> Cost {
    let stage = Stage::new(Options {
        latency: Duration::from_millis(latency),
        ..Options::default()
    });
    let bodies: String = (0..count)
        .map(|n| format!("{}\n", BODY.replace("Hello\"", &format!("Video {n}\""))))
        .collect();
    fs::write(stage.path("bodies.jsonl"), bodies).expect("a file");
    let cost = stage.counted(&mut stage.tracker("submit bodies.jsonl"));
    assert_eq!(stage.heygen.billed().len(), count);
    cost
}

/// Each command is a process of its own; all are started before the first is waited for.
pub(crate) fn at_once(scale: Scale) {
    println!("\nsubmits of one body each, at once");
    let sizes: &[usize] = scale.of(&[50, 100, 200, 400], &[10, 20]);
    for count in sizes {
        let stage = Stage::new(Options::default());
        fs::write(stage.path("body.json"), BODY).expect("a file");
        let started = Instant::now();
        let submit = || {
            let mut command = stage.tracker("submit body.json");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("a process")
        };
        let submits: Vec<Child> = (0..*count).map(|_| submit()).collect();
        for mut submit in submits {
            assert!(submit.wait().expect("its end").success());
        }
        let wall = millis(started.elapsed());
        let each = wall / *count as f64;
        println!("{count:6} in {wall:8.0} ms, {each:.2} ms each");
        assert_eq!(stage.heygen.billed().len(), *count);
    }
}
