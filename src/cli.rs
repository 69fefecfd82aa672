//! What can be typed: the global options and the list of verbs. Each verb's own arguments stand beside its code in
//! [`crate::commands`].

use clap::builder::Styles;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands::options::Globals;
use crate::commands::{
    Context, add, check, completions, demo, doctor, download, edit, forget, gallery, list, listen,
    man, mcp, open, reply, retry, sandbox, show, stop, submit,
};
use crate::error::{Exit, Problem};

/// On one screen of 80 by 24, the prompt after it included. Styled as clap styles the help of a verb.
fn help() -> String {
    let styles = Styles::styled();
    let (head, word) = (styles.get_header(), styles.get_literal());
    format!(
        "\
{{about}}
{{usage-heading}} {{usage}}

{head}Commands:{head:#}
{{subcommands}}
{head}Setting up:{head:#}
  {word}listen  sandbox  mcp  completions  man{word:#}  (explained by tracker help VERB)
{head}Options:{head:#} {word}--db{word:#} PATH, {word}--json, -q, -v, --color{word:#} WHEN, {word}-h, -V{word:#} \
         (see tracker help VERB)"
    )
}

/// Track HeyGen videos: submit once, check from cron, never lose a file
#[derive(Debug, Parser)]
#[command(
    name = "tracker",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    help_template = help()
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
    #[command(flatten, next_display_order = 100)]
    pub globals: Globals,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Submit videos: record them, send them, return at once
    Submit(submit::Args),
    /// Send what is waiting, poll what renders, download what is ready
    Check(check::Args),
    /// List the videos, newest first
    List(list::Args),
    /// Show everything about one video
    Show(show::Args),
    /// Track videos made elsewhere
    Add(add::Args),
    /// Download files again, other files, or into another directory
    Download(download::Args),
    /// Submit again what failed
    Retry(retry::Args),
    /// Answer an agent that waits, or ask one that failed to go on
    Reply(reply::Args),
    /// End an agent's session, which frees its slot at HeyGen
    Stop(stop::Args),
    /// Change title and labels here; nothing changes at HeyGen
    Edit(edit::Args),
    /// Open the saved file, or HeyGen's page
    Open(open::Args),
    /// Make a page of the videos to open in a browser
    Gallery(gallery::Args),
    /// Drop rows from the history; nothing is deleted at HeyGen or on disk
    Forget(forget::Args),
    /// Find out why check would not work
    Doctor(doctor::Args),
    /// See it all at work on this machine: no key, no network
    Demo,
    /// Receive HeyGen's webhooks: what is ready is downloaded at once
    #[command(hide = true)]
    Listen(listen::Args),
    /// Run the local stand-in for HeyGen as a server
    #[command(hide = true)]
    Sandbox(sandbox::Args),
    /// Print the completions for a shell
    #[command(hide = true)]
    Completions(completions::Args),
    /// Serve the tracker's tools to an agent, over stdin and stdout
    #[command(hide = true)]
    Mcp(mcp::Args),
    /// Print a manual page
    #[command(hide = true)]
    Man(man::Args),
}

impl Verb {
    /// Whether running it again because its output was lost would do something twice.
    pub fn records(&self) -> bool {
        matches!(
            self,
            Self::Submit(_) | Self::Retry(_) | Self::Reply(_) | Self::Check(_)
        )
    }

    pub fn run(self, context: &Context) -> Result<Exit, Problem> {
        match self {
            Self::Submit(args) => submit::run(args, context),
            Self::Check(args) => check::run(args, context),
            Self::List(args) => list::run(args, context),
            Self::Show(args) => show::run(args, context),
            Self::Download(args) => download::run(args, context),
            Self::Retry(args) => retry::run(args, context),
            Self::Reply(args) => reply::run(args, context),
            Self::Stop(args) => stop::run(args, context),
            Self::Add(args) => add::run(args, context),
            Self::Edit(args) => edit::run(args, context),
            Self::Open(args) => open::run(args, context),
            Self::Gallery(args) => gallery::run(args, context),
            Self::Forget(args) => forget::run(args, context),
            Self::Doctor(args) => doctor::run(args, context),
            Self::Demo => demo::run(context),
            Self::Listen(args) => listen::run(args, context),
            Self::Sandbox(args) => sandbox::run(args, context),
            Self::Mcp(args) => mcp::run(args, context),
            Self::Completions(args) => completions::run(args, Cli::command(), context),
            Self::Man(args) => man::run(args, Cli::command(), context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_screen_names_every_global_option_and_every_verb() {
        let mut program = Cli::command();
        program.build();
        let help = program.render_help().to_string();
        let options = program.get_arguments().map(|option| {
            let short = option.get_short().map(|short| format!("-{short}"));
            let name = short.or(option.get_long().map(|long| format!("--{long}")));
            let values = option.get_value_names().unwrap_or_default();
            let value = values
                .first()
                .filter(|_| option.get_action().takes_values());
            name.into_iter()
                .chain(value.map(ToString::to_string))
                .collect::<Vec<_>>()
                .join(" ")
        });
        let options = options.collect::<Vec<_>>().join(", ");
        assert!(
            help.contains(&format!("\nOptions: {options} (")),
            "{options}: {help}"
        );
        for verb in program.get_subcommands().map(|verb| verb.get_name()) {
            assert!(help.contains(&format!("  {verb} ")), "{verb}: {help}");
        }
    }
}
