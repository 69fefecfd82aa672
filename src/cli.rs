//! What can be typed: the global options and the list of verbs. Each verb's own arguments stand beside its code in
//! [`crate::commands`].

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::commands::{
    add, check, completions, demo, doctor, download, forget, list, listen, man, retry, sandbox,
    show, submit,
};

/// Track HeyGen videos: submit once, check from cron, never lose a file
#[derive(Debug, Parser)]
#[command(
    name = "tracker",
    version,
    about = "Track HeyGen videos: submit once, check from cron, never lose a file",
    max_term_width = 100,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Options of every verb.
    #[command(flatten)]
    pub globals: Globals,
}

/// Options that every verb has.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// The database [env: TRACKER_DB]
    #[arg(long, global = true, value_name = "PATH")]
    pub db: Option<PathBuf>,
    /// Print JSON Lines
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only what needs a person
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print every step
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// `--color`
    #[command(flatten)]
    pub color: colorchoice_clap::Color,
}

/// The verbs, everyday ones first.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Buy videos: record them, send them, return at once
    Submit(submit::Args),
    /// Send what waits, ask for what renders, download what is ready
    Check(check::Args),
    /// Look back over the videos, newest first
    List(list::Args),
    /// Show everything about one video
    Show(show::Args),
    /// Track videos made elsewhere
    Add(add::Args),
    /// Fetch files again, other files, or into another directory
    Download(download::Args),
    /// Buy again what failed
    Retry(retry::Args),
    /// Drop rows from the history; nothing is deleted at HeyGen or on disk
    Forget(forget::Args),
    /// Find out why check would not work
    Doctor(doctor::Args),
    /// See it all at work on this machine: no key, no network
    Demo(demo::Args),
    /// Receive HeyGen's webhooks: what is ready is fetched at once
    #[command(hide = true)]
    Listen(listen::Args),
    /// Run the local stand-in for HeyGen as a server
    #[command(hide = true)]
    Sandbox(sandbox::Args),
    /// Print the completions for a shell
    #[command(hide = true)]
    Completions(completions::Args),
    /// Print a manual page
    #[command(hide = true)]
    Man(man::Args),
}
