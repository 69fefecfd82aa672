//! Whole processes, beside what people use instead: `cargo bench --bench process [-- [--quick] [NAME...]]`.
//!
//! | file | what it measures |
//! |---|---|
//! | `measure` | one child's wall time, CPU and peak memory; medians of alternating runs; tables |
//! | `stage` | a directory, a stand-in for HeyGen and a database with rows in it |
//! | `heygen` | the stand-in of the tests |
//! | `startup` | doing next to nothing |
//! | `check` | 200 rows of which 50, or none, just finished |
//! | `tls` | nginx before the stand-in, for the same `check` over TLS |
//! | `history` | an idle check, looking back and the page, at up to 1,000,000 rows |
//! | `large` | one file of 1 GB |
//! | `many` | 100,000 unfinished rows, and a `submit` beside their check |
//! | `submit` | submitting 1,000 videos with one command, and with 50 to 400 commands at once |
//! | `mcp` | what an agent waits for |
//! | `rate` | a rate limit |
//!
//! Every ratio is of two medians from one run that took turns with the two sides, so that whatever else the machine
//! does strikes both. The stand-in runs in this process: it shares the cores with whoever is measured, but only the
//! children's CPU is counted. A peer that is not installed is skipped, with a line saying so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot run says so and stops, and needs few of the faults"
)]

mod check;
#[path = "../../tests/support/mod.rs"]
mod heygen;
mod history;
mod large;
mod many;
mod mcp;
mod measure;
mod rate;
mod stage;
mod startup;
mod submit;
mod tls;

/// How much is done.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// Small sizes: whether it works, not how fast it is.
    quick: bool,
    /// Runs of each side; odd.
    runs: usize,
}

impl Scale {
    /// A size, or a smaller one when in a hurry.
    fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// What is typed to run it alone, and how it runs.
type Benchmark = (&'static str, fn(Scale));

const BENCHMARKS: &[Benchmark] = &[
    ("startup", startup::run),
    ("check", check::run),
    ("tls", check::run_with_tls),
    ("idle", history::idle),
    ("list", history::list),
    ("gallery", history::gallery),
    ("large", large::run),
    ("many", many::run),
    ("submit", submit::run),
    ("at_once", submit::at_once),
    ("mcp", mcp::run),
    ("rate", rate::run),
];

fn main() {
    // cargo adds --bench.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let quick = words.iter().any(|word| word == "--quick");
    let names: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "--quick")
        .collect();
    let known = |name: &&str| BENCHMARKS.iter().any(|(known, _)| known == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<_> = BENCHMARKS.iter().map(|(name, _)| *name).collect();
        panic!(
            "no benchmark {unknown}; there are --quick and {}",
            all.join(" ")
        );
    }
    let scale = Scale {
        quick,
        runs: if quick { 3 } else { 5 },
    };
    measure::print_machine();
    for (name, run) in BENCHMARKS {
        if names.is_empty() || names.contains(name) {
            run(scale);
        }
    }
}
