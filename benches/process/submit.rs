//! Buying many videos with one command: every row is durable before its POST.

use std::fs;
use std::time::Duration;

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
