//! A rate limit: 429 with `Retry-After: 1` past so many requests a second.

use std::time::{Duration, Instant};

use crate::heygen::{Options, Recorded};

use crate::Scale;
use crate::measure::{millis, print_cost};
use crate::stage::{Stage, id};

pub(crate) fn run(scale: Scale) {
    let rows: usize = scale.of(1_000, 60);
    let per_second = 10;
    let stage = Stage::new(Options {
        rate_limit: Some(per_second),
        latency: Duration::from_millis(50),
        ..Options::default()
    });
    // One POST, then every row ends, so that each needs a GET of its own.
    stage.rendering(rows, "processing");
    for row in 1..=rows {
        stage
            .heygen
            .fail(&id(row), "script_too_long", "Script too long");
    }
    println!(
        "\n{rows} rows that ended, {per_second} requests a second, Retry-After: 1, 50 ms each"
    );
    let before = stage.heygen.api_requests().len();
    let (mut runs, started) = (0, Instant::now());
    while unfinished(&stage) > 0 && runs < 20 {
        let cost = stage.counted(stage.tracker("check").arg("-q"));
        print_cost(&format!("check {}", runs + 1), &cost);
        runs += 1;
    }
    let requests = stage.heygen.api_requests().split_off(before);
    let wasted = requests.iter().filter(|r| r.answered == Some(429)).count();
    println!(
        "  {} requests, {wasted} wasted ({:.1} %), {} sent while waiting was asked for, {} rows left, {:.1} s",
        requests.len(),
        100.0 * wasted as f64 / requests.len() as f64,
        too_early(&requests),
        unfinished(&stage),
        millis(started.elapsed()) / 1e3,
    );
}

fn unfinished(stage: &Stage) -> i64 {
    let sql = "SELECT count(*) FROM videos WHERE finished = 0";
    let count = stage.db().query_row(sql, [], |row| row.get(0));
    count.expect("a count")
}

/// Requests that arrived while an answer that had been read asked for patience.
fn too_early(requests: &[Recorded]) -> usize {
    let slack = Duration::from_millis(5);
    let asked: Vec<Instant> = requests
        .iter()
        .filter(|request| request.answered == Some(429))
        .map(|request| request.at + Duration::from_millis(50))
        .collect();
    let early = |request: &&Recorded| {
        asked.iter().any(|told| {
            request.at > *told + slack && request.at + slack < *told + Duration::from_secs(1)
        })
    };
    requests.iter().filter(early).count()
}
