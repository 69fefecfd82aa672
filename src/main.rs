//! The process entry of `tracker`, and nothing else.

use std::process::ExitCode;

use heygen_tracker::config::Environment;

fn main() -> ExitCode {
    heygen_tracker::run(std::env::args_os(), Environment::of_process())
}
