//! `tracker man`: the manual pages, generated from what can be typed.

use clap::Command;
use clap_mangen::Man;

use super::Context;
use crate::error::{Exit, Problem, Result};

const EXAMPLES: &str = "\
Examples:
  mkdir -p ~/.local/share/man/man1
  tracker man > ~/.local/share/man/man1/tracker.1
  tracker man submit | man -l -";

/// Print a manual page
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The page of one verb instead of the program's
    verb: Option<String>,
}

pub(crate) fn run(args: Args, mut program: Command, context: &Context) -> Result<Exit> {
    // Building hands the global options down and gives every verb its full name.
    program.build();
    let command = match &args.verb {
        None => program,
        Some(verb) => program
            .find_subcommand(verb)
            .map(|command| {
                let name = format!("tracker-{}", command.get_name());
                command.clone().name(name)
            })
            .ok_or_else(|| {
                Problem::usage(
                    format!("there is no verb {verb:?}"),
                    "tracker --help lists them",
                )
            })?,
    };
    let mut page = Vec::new();
    Man::new(command)
        .source(concat!("tracker ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .map_err(|source| Problem::output(&source))?;
    context.screen.block(&String::from_utf8_lossy(&page));
    Ok(Exit::Ok)
}
