//! `tracker completions`: what a shell needs to complete the command line.

use clap::Command;
use clap_complete::Shell;

use super::Context;
use crate::error::{Exit, Result};

const EXAMPLES: &str = "\
Examples:
  mkdir -p ~/.local/share/bash-completion/completions
  tracker completions bash > ~/.local/share/bash-completion/completions/tracker
  tracker completions zsh > ~/.zfunc/_tracker      (a directory in fpath)
  tracker completions fish > ~/.config/fish/completions/tracker.fish";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: Args, mut program: Command, context: &Context) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "tracker", &mut script);
    context.screen.block(&String::from_utf8_lossy(&script));
    Ok(Exit::Ok)
}
