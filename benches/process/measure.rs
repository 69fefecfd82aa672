//! One child's cost, medians of many, and tables of them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// What one run cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// From before the start until after the end.
    pub(crate) wall: Duration,
    /// User and system time, of grandchildren too.
    pub(crate) cpu: Duration,
    /// Peak resident memory in KiB, where GNU time is installed.
    pub(crate) rss: Option<u64>,
    /// API requests, where somebody counts.
    pub(crate) requests: Option<usize>,
}

/// Runs a command to its end, its output thrown away; it must succeed.
pub(crate) fn run(command: &mut Command) -> Cost {
    let before = children_cpu();
    let started = Instant::now();
    let status = quiet(command).status();
    let wall = started.elapsed();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
    Cost {
        wall,
        cpu: children_cpu().saturating_sub(before),
        ..Cost::default()
    }
}

/// The same under GNU time, a millisecond dearer, to see the memory. The kernel counts what a process inherits over
/// exec, so only a small parent measures a small child.
pub(crate) fn run_with_memory(command: &mut Command) -> Cost {
    if !is_installed("/usr/bin/time", &["-f", "%M", "true"]) {
        return run(command);
    }
    let note = tempfile::NamedTempFile::new().expect("a file");
    let mut wrapped = Command::new("/usr/bin/time");
    wrapped.args(["-f", "%M", "-o"]).arg(note.path());
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped.env_clear();
    wrapped.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    let cost = run(&mut wrapped);
    Cost {
        rss: read_number(note.path()),
        ..cost
    }
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn quiet(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
}

/// Of all children that ended.
fn children_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage");
    let duration = |time: TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(micros.unsigned_abs())
    };
    duration(usage.user_time()) + duration(usage.system_time())
}

/// Whether a program is there; a missing one is told once per use.
pub(crate) fn is_installed(program: &str, probe: &[&str]) -> bool {
    let there = quiet(Command::new(program).args(probe))
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        println!(
            "skipped: `{program} {}` does not work here",
            probe.join(" ")
        );
    }
    there
}

/// The middle of an odd number of runs, each figure for itself.
pub(crate) fn median(costs: &[Cost]) -> Cost {
    fn middle<T: Ord>(values: impl Iterator<Item = T>) -> Option<T> {
        let mut values: Vec<T> = values.collect();
        values.sort();
        let at = values.len() / 2;
        values.into_iter().nth(at)
    }
    Cost {
        wall: middle(costs.iter().map(|cost| cost.wall)).unwrap_or_default(),
        cpu: middle(costs.iter().map(|cost| cost.cpu)).unwrap_or_default(),
        rss: middle(costs.iter().filter_map(|cost| cost.rss)),
        requests: middle(costs.iter().filter_map(|cost| cost.requests)),
    }
}

/// One side of a comparison.
pub(crate) struct Side<'a> {
    name: &'a str,
    run: Box<dyn FnMut() -> Cost + 'a>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(name: &'a str, run: impl FnMut() -> Cost + 'a) -> Self {
        Self {
            name,
            run: Box::new(run),
        }
    }
}

/// Takes turns with the sides, after one unmeasured turn each, and prints their medians. The ratios are those of the
/// first side to the second.
pub(crate) fn compare(title: &str, runs: usize, mut sides: Vec<Side<'_>>) {
    let mut costs = vec![Vec::new(); sides.len()];
    for turn in 0..=runs {
        for (side, costs) in sides.iter_mut().zip(&mut costs) {
            let cost = (side.run)();
            if turn > 0 {
                costs.push(cost);
            }
        }
    }
    let medians: Vec<Cost> = costs.iter().map(|costs| median(costs)).collect();
    println!("\n{title} (median of {runs})");
    println!(
        "{:44} {:>10} {:>10} {:>9} {:>9}",
        "", "wall ms", "CPU ms", "MiB", "requests"
    );
    for (side, cost) in sides.iter().zip(&medians) {
        print_cost(side.name, cost);
    }
    if let [ours, peer, ..] = medians.as_slice() {
        let rss = match (ours.rss, peer.rss) {
            (Some(ours), Some(peer)) => format!("{:.2}", ours as f64 / peer as f64),
            _ => String::new(),
        };
        println!(
            "{:44} {:>10.2} {:>10.2} {rss:>9}",
            "  ratio of the first to the second",
            ours.wall.as_secs_f64() / peer.wall.as_secs_f64(),
            ours.cpu.as_secs_f64() / peer.cpu.as_secs_f64().max(1e-6),
        );
    }
}

/// One line of a table.
pub(crate) fn print_cost(name: &str, cost: &Cost) {
    let rss = cost
        .rss
        .map_or_else(String::new, |kib| format!("{:.1}", kib as f64 / 1024.0));
    let requests = cost
        .requests
        .map_or_else(String::new, |count| count.to_string());
    println!(
        "{name:44} {:>10.2} {:>10.2} {rss:>9} {requests:>9}",
        millis(cost.wall),
        millis(cost.cpu),
    );
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What the figures depend on.
pub(crate) fn print_machine() {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    println!("{cores} cores, load {load} at the start");
}
