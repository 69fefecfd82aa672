//! One check of 200 rows of which 50, or none, just finished; HeyGen takes 50 ms for each API request. With TLS and without.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::heygen::Options;

use crate::Scale;
use crate::measure::{Cost, Side, compare, is_installed, print_cost};
use crate::stage::{Stage, id};
use crate::tls::Front;

const ROWS: usize = 200;
const LATENCY: Duration = Duration::from_millis(50);
const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/bulk_check.py");

pub(crate) fn run(scale: Scale) {
    let sizes: &[u64] = scale.of(&[2, 5], &[1]);
    let peer = is_installed("python3", &["-c", "import aiohttp"]);
    for megabytes in sizes {
        let title = format!("check: {ROWS} rows, 50 finished, {megabytes} MB each");
        versus_script(scale, &title, 50, megabytes * 1_000_000, peer, false);
    }
    let title = format!("check: {ROWS} rows, none finished");
    versus_script(scale, &title, 0, 1, peer, false);
}

pub(crate) fn run_with_tls(scale: Scale) {
    let peer = is_installed("python3", &["-c", "import aiohttp"]);
    let megabytes = scale.of(5, 1);
    let title = format!("check: {ROWS} rows, 50 finished, {megabytes} MB each, TLS of nginx");
    versus_script(scale, &title, 50, megabytes * 1_000_000, peer, true);
}

fn versus_script(scale: Scale, title: &str, finished: usize, size: u64, peer: bool, tls: bool) {
    let stage = Stage::new(Options {
        latency: LATENCY,
        file_size: size,
        ..Options::default()
    });
    stage.rendering(ROWS, "processing");
    // Spread over both bulk requests, as they would be.
    let ends: Vec<String> = (0..finished)
        .map(|nth| id(1 + nth * ROWS / finished))
        .collect();
    ends.iter().for_each(|video| stage.heygen.finish(video));
    let front = tls.then(|| Front::start(&stage, &ends)).flatten();
    if tls && front.is_none() {
        return;
    }
    let front = front.as_ref();
    let ids: Vec<String> = (1..=ROWS).map(id).collect();
    fs::write(stage.path("ids"), ids.join("\n")).expect("a file");
    let mut sides = vec![Side::new("tracker check", || {
        stage.reset();
        let mut check = stage.tracker("check");
        if let Some(front) = front {
            check.env("HEYGEN_API_BASE", &front.base);
            check.env(front.trust.0, &front.trust.1);
        }
        let cost = stage.counted(&mut check);
        expect_files(&stage.path("output"), finished);
        cost
    })];
    if peer {
        sides.push(Side::new("asyncio + aiohttp, bulk statuses", || {
            script(&stage, front, &[], finished)
        }));
    }
    compare(title, scale.runs, sides);
    if peer && finished > 0 && !scale.quick {
        let cost = script(&stage, front, &["--sequential"], finished);
        print_cost("  urllib, one after the other, once", &cost);
    }
}

fn script(stage: &Stage, front: Option<&Front>, flags: &[&str], finished: usize) -> Cost {
    stage.reset();
    let mut command = stage.peer("python3");
    if let Some(front) = front {
        command.env(front.trust.0, &front.trust.1);
    }
    let base = front.map_or(stage.heygen.api_base(), |front| front.base.clone());
    command
        .arg(PEER)
        .args(flags)
        .args([&base, stage.heygen.key(), "ids", "theirs"]);
    let cost = stage.counted(&mut command);
    expect_files(&stage.path("theirs"), finished);
    cost
}

fn expect_files(dir: &Path, count: usize) {
    let found = fs::read_dir(dir).map_or(0, Iterator::count);
    assert_eq!(found, count, "files in {}", dir.display());
}
