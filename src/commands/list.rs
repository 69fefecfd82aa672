//! `tracker list`: the history, newest first.

use std::collections::HashMap;
use std::path::Path;

use super::kind_options::kinds;
use super::options::{Suggest, since, until};
use super::{Context, pulse, stats};
use crate::error::{Exit, Problem, Result};
use crate::kind::Kind;
use crate::render::fields::Field;
use crate::render::{View, csv, table};
use crate::store::{Filter, Store};
use crate::typed::{self, Tags, usual_statuses};
use crate::video::{RowId, Video};

/// How many rows that are not shown are counted: the exact number of very many helps nobody and would cost every listing
/// a pass over the whole history.
const COUNTED: u32 = 1_000;

const EXAMPLES: &str = "\
Examples:
  tracker list --failed                  what went wrong and was not retried
  tracker list --since 7d --tag launch   this week's launch videos
  tracker list -L 0 --csv > all.csv      everything, for a spreadsheet
  tracker list --json --fields id,path   for a script

A pipe gets tab-separated rows without a header:
  id video_id status submitted_at completed_at title path";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// At most this many rows; 0 for all
    #[arg(short = 'L', long, value_name = "N", default_value_t = 30)]
    limit: u32,
    /// Comma-separated values with a header
    #[arg(long)]
    csv: bool,
    /// Which fields, comma-separated, for every form of output
    #[arg(long, value_name = "LIST")]
    fields: Option<String>,
    /// Dates and tags too, at a terminal
    #[arg(long, conflicts_with_all = ["csv", "fields", "stats"])]
    wide: bool,
    /// Counts, success and minutes by month, tag and kind, render times and bytes on disk instead of rows
    #[arg(long, conflicts_with_all = ["fields", "limit"])]
    stats: bool,
}

/// Which rows: the same of every verb that looks at many.
#[derive(Debug, clap::Args)]
pub(crate) struct FilterArgs {
    /// Only these status words, comma-separated
    #[arg(short, long, value_name = "S", value_delimiter = ',', value_parser = Suggest(usual_statuses()), hide_possible_values = true)]
    status: Vec<String>,
    /// Only what check still has to work on
    #[arg(long)]
    unfinished: bool,
    /// Submitted at or after: 2026-11-23, 2026-11-23T10:00 (local time), today, yesterday, or an age such as 7d
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Submitted before; a date includes that day
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only rows with all of these tags, comma-separated
    #[arg(long, value_name = "T")]
    tag: Vec<Tags>,
    /// Only these kinds of job, comma-separated
    #[arg(long, value_name = "K", value_delimiter = ',', value_parser = kinds())]
    kind: Vec<Kind>,
    /// Part of the title, the script, the failure message, or the line of the table it is from
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only what ended badly and was not submitted again
    #[arg(long)]
    failed: bool,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    // Not `conflicts_with`: clap does not see a --json before the verb.
    if context.screen.json && (args.csv || args.wide) {
        return Err(Problem::misuse(
            "--csv and --wide cannot be used with --json",
        ));
    }
    let view = context.view();
    let mut filter = args.filter.filter(&view)?;
    let fields = args.fields.as_deref().map(Field::parse_list).transpose()?;
    let Some(store) = context.open_if_there()? else {
        context.screen.note(&none_yet(&context.database()?));
        return Ok(Exit::Ok);
    };
    filter.statuses = args.filter.statuses(&store, context)?;
    if args.stats {
        stats::print(&store, &filter, args.csv, context)?;
    } else {
        print(&store, &filter, &args, fields.as_deref(), &view, context)?;
    }
    pulse::note_damaged(&store, context);
    pulse::note_silence(&store, context)?;
    Ok(Exit::Ok)
}

fn none_yet(database: &Path) -> String {
    format!("no videos yet ({})", database.display())
}

impl FilterArgs {
    /// All but the status words, which need the database.
    pub(super) fn filter(&self, view: &View) -> Result<Filter> {
        Ok(Filter {
            statuses: Vec::new(),
            unfinished: self.unfinished,
            failed: self.failed,
            since: since(self.since.as_deref(), view.now)?,
            until: until(self.until.as_deref(), view.now)?,
            kinds: self.kind.clone(),
            tags: Tags::all(&self.tag),
            search: self.search.clone(),
        })
    }

    /// The words as they are in the database, whatever their case; one that nobody has heard of is pointed out.
    pub(super) fn statuses(&self, store: &Store, context: &Context) -> Result<Vec<String>> {
        let unknown = |typed: &str, here: &str| {
            let note = format!("no video is {typed:?}; the status words here: {here}");
            context.screen.warn(&note);
            Ok(())
        };
        store.read(|tx| typed::statuses(tx, &self.status, unknown))
    }
}

/// `fields`: chosen ones; otherwise each form of output has its own.
fn print(
    store: &Store,
    filter: &Filter,
    args: &Args,
    fields: Option<&[Field]>,
    view: &View,
    context: &Context,
) -> Result<()> {
    let screen = &context.screen;
    let is_table = screen.out_is_terminal && !screen.json && fields.is_none();
    let fields = fields.unwrap_or(match screen.json {
        true => Field::DEFAULT,
        false => Field::LIST,
    });
    if args.csv {
        screen.block(&csv::header(fields));
    }
    let mut shown = 0;
    let cut = store.pages(filter, args.limit, |videos| {
        shown += videos.len() as u64;
        if args.csv {
            screen.block(&csv::rows(videos, fields, screen.out_is_terminal));
        } else if is_table {
            let retries = retries(store, videos)?;
            let table = table::list(videos, &retries, args.wide, view);
            screen.painted(&table);
        } else {
            context.print_fields(videos, fields);
        }
        Ok(!screen.is_closed())
    })?;
    if screen.quiet || screen.is_closed() {
        return Ok(());
    }
    match cut {
        _ if shown == 0 && *filter == Filter::default() => screen.note(&none_yet(store.path())),
        _ if shown == 0 => screen.note("no video matches"),
        None => {}
        // Only now that the rows are on the screen: a filter may have to read the whole history.
        Some(below) => {
            let rest = store.read(|tx| tx.count_below(filter, below, COUNTED))?;
            let capped = rest == u64::from(COUNTED);
            let (more, all) = (if capped { "at least " } else { "" }, shown + rest);
            if rest > 0 {
                screen.note(&format!("showing {shown} of {more}{all}; -L 0 for all"));
            }
        }
    }
    Ok(())
}

fn retries(store: &Store, videos: &[Video]) -> Result<HashMap<RowId, RowId>> {
    store.read(|tx| {
        let mut retries = HashMap::new();
        for video in videos.iter().filter(|video| video.ended_badly()) {
            let retry = tx.retries(video.id)?;
            retries.extend(retry.last().map(|(retry, _)| (video.id, *retry)));
        }
        Ok(retries)
    })
}
