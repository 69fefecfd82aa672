//! `tracker mcp`: the table for agents.

use super::Context;
use super::submission::max_per_day;
use crate::error::{Exit, Problem, Result};
use crate::mcp::McpServer;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  claude mcp add tracker -- tracker mcp
  claude mcp add tracker -- tracker mcp --allow-submit --max-per-day 3

Without --allow-submit no tool submits anything.")]
pub struct Args {
    /// Offer the tools that submit, which may cost money
    #[arg(long)]
    allow_submit: bool,
    /// Refuse to submit more than this in 24 hours, whoever submitted it [env: TRACKER_MAX_PER_DAY] [default: 10]
    #[arg(long, value_name = "N", requires = "allow_submit")]
    max_per_day: Option<u64>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let database = std::path::absolute(context.database()?)
        .map_err(|source| Problem::system("find the working directory", &source))?;
    let most = match args.allow_submit {
        true => max_per_day(args.max_per_day, context)?,
        false => None,
    };
    McpServer {
        env: context.env.clone(),
        database,
        allow_submit: args.allow_submit,
        max_per_day: most.unwrap_or(10),
        turn: std::sync::Arc::default(),
    }
    .run()?;
    Ok(Exit::Ok)
}
