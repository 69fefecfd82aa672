//! `tracker gallery`: the history as a page to look at.

use std::path::PathBuf;

use super::list::FilterArgs;
use super::{Context, find_all, load, open};
use crate::config::refuse_tilde;
use crate::error::{Exit, Result};
use crate::gallery::{self, Selection};
use crate::store::Store;

/// Rows of a page, unless somebody wants more.
const LIMIT: u32 = 500;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker gallery --open                         # everything, in the browser
  tracker gallery --tag launch --output launch.html
  tracker check && tracker gallery               # from cron; written only when something changed

One file that needs no server and no network; the videos stay where they are.")]
pub struct Args {
    /// Only these: local numbers, HeyGen ids, or unique beginnings of them
    #[arg(value_name = "ID", conflicts_with_all = ["status", "unfinished", "since", "until", "tag", "kind", "search", "failed", "limit"])]
    ids: Vec<String>,
    /// Where the page goes, instead of index.html beside the files
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Start the browser
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// At most this many rows, the newest; 0 for all
    #[arg(short = 'L', long, value_name = "N", default_value_t = LIMIT)]
    limit: u32,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    args.output.as_deref().map_or(Ok(()), refuse_tilde)?;
    let mut filter = args.filter.filter(&context.view())?;
    let store = context.open_for_reading()?;
    filter.statuses = args.filter.statuses(&store, context)?;
    let chosen = match args.ids.as_slice() {
        [] => None,
        ids => Some(load(&store, &find_all(&store, ids, true)?)?),
    };
    let selection = Selection {
        filter,
        chosen,
        limit: args.limit,
    };
    let (path, changed) = gallery::write(&store, &selection, args.output.as_deref())?;
    let path = path.to_string_lossy();
    if context.screen.json {
        let written = serde_json::json!({"type": "gallery", "path": path, "changed": changed});
        context.screen.json_row(&written);
    } else if changed || context.screen.out_is_terminal {
        context.screen.line(&crate::render::text::sanitize(&path));
    }
    if args.open {
        return open::open(&path);
    }
    Ok(Exit::Ok)
}

/// What `TRACKER_GALLERY` asks for after a run that changed something.
pub(super) fn refresh(store: &Store, context: &Context) -> Result<()> {
    let Some(path) = context.env.path("TRACKER_GALLERY") else {
        return Ok(());
    };
    refuse_tilde(&path)?;
    let selection = Selection {
        filter: crate::store::Filter::default(),
        chosen: None,
        limit: LIMIT,
    };
    gallery::write(store, &selection, Some(&path)).map(drop)
}
