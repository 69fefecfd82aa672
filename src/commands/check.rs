//! `tracker check`: the one pass over everything unfinished; what cron runs.

use std::time::Duration;

use crate::commands::options::{Tuning, WaitArgs};
use crate::commands::{Context, find_all, gallery, load, pulse};
use crate::error::{Exit, Problem, Result};
use crate::pass::{self, Level, PassOptions, Reporter, Scope};
use crate::render::human;
use crate::render::show::lost_hint;
use crate::store::Store;
use crate::time;
use crate::video::{Phase, Video};

/// How soon another check makes sense while something renders.
const NEXT_CHECK: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker check                  # silent unless something happened: made for cron
  tracker check 14 --wait        # wait for one video and its file
  tracker check --json | jq -r 'select(.type == \"saved\") | .path'

Runs may overlap, and may be killed at any time: the next one carries on.")]
pub struct Args {
    /// Only these: local numbers, HeyGen ids, or unique beginnings of them
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Repeat until everything (or each ID) is finished
    #[arg(long)]
    wait: bool,
    /// Exit 5 when a video ended badly
    #[arg(long)]
    exit_status: bool,
    /// Leave the files for another run
    #[arg(long)]
    no_download: bool,
    /// Submit no row that was held back, although it is named
    #[arg(long)]
    keep_held: bool,
    /// Send no further video while HeyGen has this many in progress
    #[arg(long, value_name = "N")]
    max_active: Option<u64>,
    /// Run this command at each event, with the facts in its environment [env: TRACKER_HOOK]
    #[arg(long, value_name = "CMD")]
    hook: Option<String>,
    #[command(flatten)]
    waiting: WaitArgs,
    #[command(flatten)]
    tuning: Tuning,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let asked = !args.ids.is_empty();
    let mut reporter = Reporter::new(&context.screen, Level::Events, asked);
    let for_cron = !args.wait && !reporter.reports_again;
    let result = check(args, context, &mut reporter);
    if for_cron {
        pulse::report_once_a_day(result, context)
    } else {
        result
    }
}

fn check(args: Args, context: &Context, reporter: &mut Reporter<'_>) -> Result<Exit> {
    let mut store = context.open()?;
    // Most runs of cron end here; they need no thread for signals.
    if store.read(|tx| tx.has_unfinished())? || !args.ids.is_empty() || args.wait {
        context.heed_signals();
    }
    let named = match args.ids.as_slice() {
        [] => None,
        ids => Some(find_all(&store, ids, true)?),
    };
    for video in load(&store, named.as_deref().unwrap_or_default())? {
        if !args.keep_held && video.is_held() {
            // Not a note that -q drops: it may cost money.
            context
                .screen
                .warn(&format!("{} was held back; it is submitted now", video.id));
        }
    }
    let options = PassOptions {
        download: !args.no_download,
        max_active: args.max_active,
        keep_held: args.keep_held,
        hook: context.hook(args.hook.as_deref())?,
        ..args.tuning.options()
    };
    let exit = if args.wait {
        let wait = args.waiting.wait(named.clone());
        wait.until_finished(&mut store, &context.env, &options, reporter)?
    } else {
        let scope = match &named {
            Some(rows) => Scope::Asked(rows.clone()),
            None => Scope::Unfinished,
        };
        pass::run(&mut store, &context.env, scope, &options, reporter)?;
        reporter.tally.exit(args.exit_status)
    };
    let named = load(&store, named.as_deref().unwrap_or_default())?;
    // In this run or before; a `missing` one may be back by now.
    let ended_badly = named
        .iter()
        .any(|video| video.ended_badly() || video.is_given_up());
    say_what_cannot_be_asked(context, &named);
    let bad = ended_badly && (args.exit_status || args.wait);
    if bad && reporter.tally.failed == 0 && reporter.reports_again {
        // Said by an earlier run, and the reason for the exit code of this one.
        named
            .iter()
            .for_each(|video| context.note_earlier_end(video));
    }
    pulse::report_damaged(&mut store, context)?;
    summary(context, &store, reporter)?;
    let exit = picture(exit, &store, reporter, context);
    Ok(if bad { exit.or(Exit::BadEnd) } else { exit })
}

/// Keeps the page of `TRACKER_GALLERY` up to date. What the run did is committed; a page is no reason to lose that.
fn picture(exit: Exit, store: &Store, reporter: &Reporter<'_>, context: &Context) -> Exit {
    let tally = &reporter.tally;
    if tally.sent + tally.changed + tally.saved + tally.failed + tally.rejected == 0 {
        return exit;
    }
    let Err(problem) = gallery::refresh(store, context) else {
        return exit;
    };
    let message = format!("TRACKER_GALLERY: {problem}");
    context.screen.problem(&Problem { message, ..problem });
    exit.or(Exit::Trouble)
}

/// A named row that HeyGen has no name for would otherwise be passed over in silence.
fn say_what_cannot_be_asked(context: &Context, videos: &[Video]) {
    let nameless = |video: &&Video| matches!(video.phase, Phase::Unknown | Phase::Rejected);
    for video in videos.iter().filter(nameless) {
        let (id, status) = (video.id, video.status());
        let why = match video.phase {
            Phase::Unknown => lost_hint(video),
            _ if video.is_lost() => {
                format!("an earlier attempt has no answer: {}", lost_hint(video))
            }
            _ => format!("there is nothing to ask for (tracker show {id})"),
        };
        context.screen.note(&format!("{id} {status}: {why}"));
    }
}

/// One line for a person at a terminal, one object for a program; nothing for cron.
fn summary(context: &Context, store: &Store, reporter: &Reporter<'_>) -> Result<()> {
    let screen = &context.screen;
    if !screen.json && !screen.err_is_terminal {
        return Ok(());
    }
    let open = store.read(|tx| tx.open_work())?;
    if screen.json {
        let next = (open.unfinished > 0).then_some(NEXT_CHECK.as_secs());
        reporter.summary(open.unfinished, next);
        return Ok(());
    }
    let tally = &reporter.tally;
    let oldest = open.oldest_rendering.map_or_else(String::new, |since| {
        format!(", oldest {}", human::duration(time::now().since(since)))
    });
    let saved = format!("saved ({})", human::bytes(tally.bytes));
    let counts = [
        (tally.polled, "checked".to_owned()),
        (tally.sent, "sent".to_owned()),
        (tally.saved, saved),
        (tally.failed, "failed".to_owned()),
        (open.rendering, format!("rendering{oldest}")),
        (open.to_save, "to download".to_owned()),
        (open.to_send, "to send".to_owned()),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let mut parts: Vec<String> = counts
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    parts.push(if open.unfinished > 0 {
        format!("check again in {}", human::duration(NEXT_CHECK))
    } else {
        "nothing unfinished".to_owned()
    });
    screen.note(&parts.join("; "));
    Ok(())
}
