//! Doing next to nothing.

use crate::heygen::Options;

use crate::Scale;
use crate::measure::{self, Side, compare, is_installed};
use crate::stage::Stage;

/// A process this short needs more than a few runs for a median.
const RUNS: usize = 41;

pub(crate) fn run(scale: Scale) {
    let stage = Stage::new(Options::default());
    stage.rendering(10, "processing");
    let peer = is_installed("sqlite3", &["--version"]);
    for arguments in ["--version", "list"] {
        let name = format!("tracker {arguments}");
        let mut sides = vec![Side::new(&name, || {
            measure::run(&mut stage.tracker(arguments))
        })];
        if peer {
            sides.push(Side::new("sqlite3 --version", || {
                measure::run(stage.peer("sqlite3").arg("--version"))
            }));
        }
        compare("start-up, 10 rows", scale.of(RUNS, 5), sides);
        let memory = measure::run_with_memory(&mut stage.tracker(arguments));
        measure::print_cost("  once more, with its memory", &memory);
    }
}
