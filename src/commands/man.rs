//! `tracker man`: the manual pages, generated from what can be typed.

use std::path::PathBuf;

use clap::Command;
use clap_mangen::Man;

use super::Context;
use crate::error::{Exit, Problem, Result};

const EXAMPLES: &str = "\
Examples:
  mkdir -p ~/.local/share/man/man1
  tracker man --all ~/.local/share/man/man1
  tracker man submit | man -l -";

/// What roff would set as typography; `Aq` is defined by the preamble.
const PLAIN: [(char, &str); 7] = [
    ('\\', "\\e"),
    ('-', "\\-"),
    ('\'', "\\*(Aq"),
    ('"', "\\(dq"),
    ('`', "\\(ga"),
    ('~', "\\(ti"),
    ('^', "\\(ha"),
];

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The page of one verb instead of the program's
    verb: Option<String>,
    /// Write the pages of the program and of every verb into a directory
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    all: Option<PathBuf>,
}

pub(crate) fn run(args: Args, mut program: Command, context: &Context) -> Result<Exit> {
    // There is room for all. Building hands the global options down and gives every verb its full name.
    program = program.mut_subcommands(|verb| verb.hide(false));
    program.build();
    if let Some(dir) = args.all {
        let verbs = program.get_subcommands().cloned().map(named);
        for command in verbs.chain([program.clone()]) {
            let path = dir.join(format!("{}.1", command.get_name()));
            std::fs::write(&path, page(command)?)
                .map_err(|error| Problem::file("write", &path, &error))?;
        }
        return Ok(Exit::Ok);
    }
    let command = match &args.verb {
        None => program,
        Some(verb) => {
            let found = program.find_subcommand(verb).cloned().map(named);
            let why = format!("there is no verb {verb:?}");
            found.ok_or_else(|| Problem::usage(why, "tracker --help lists them"))?
        }
    };
    let page = page(command)?;
    context.screen.block(&String::from_utf8_lossy(&page));
    Ok(Exit::Ok)
}

fn named(verb: Command) -> Command {
    let name = format!("tracker-{}", verb.get_name());
    verb.name(name)
}

fn page(command: Command) -> Result<Vec<u8>> {
    // Under a heading of its own, and line by line: man would fill the lines of an example up.
    let examples = command.get_after_help().map(ToString::to_string);
    let mut page = Vec::new();
    Man::new(command.after_help(None::<&str>))
        .source(concat!("tracker ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .map_err(|source| Problem::output(&source))?;
    if let Some(examples) = examples {
        page.extend_from_slice(b".SH EXAMPLES\n.nf\n");
        for line in examples.trim_start_matches("Examples:\n").lines() {
            let escape = |line: String, (from, to): &(char, &str)| line.replace(*from, to);
            let line = PLAIN.iter().fold(line.to_owned(), escape);
            page.extend_from_slice(format!("\\&{line}\n").as_bytes());
        }
        page.extend_from_slice(b".fi\n");
    }
    Ok(page)
}
