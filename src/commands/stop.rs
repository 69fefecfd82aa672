//! `tracker stop`: end an agent's session, so that it holds no slot of the account any more.

use super::{Context, find_video, load, no_session};
use crate::decide;
use crate::error::{Exit, Problem, Result};
use crate::locks::Purpose;
use crate::pass::{Access, Level, PassOptions, Scope};
use crate::render::fields::Field;
use crate::time;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker stop 14          # it stalls, and holds one of the account's slots")]
pub struct Args {
    /// Local number, HeyGen id, or a unique beginning of one
    #[arg(value_name = "ID")]
    id: String,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let access = Access::resolve(&context.env)?;
    context.heed_signals();
    let mut store = context.open()?;
    let video = store.read(|tx| find_video(tx, &args.id, true))?;
    let row = video.id;
    let refused = |why: String, hint: String| Err(Problem::usage(format!("{row} {why}"), hint));
    let (kind, status) = (video.kind, video.status());
    let show = format!("tracker show {row}");
    if let Some(problem) = no_session(&video) {
        return Err(problem);
    }
    let Some(session) = &video.session_id else {
        let why = format!("is no agent's session but a {kind} ({status}); HeyGen cannot stop it");
        return refused(why, show);
    };
    if video.outcome.is_some() {
        return refused(format!("has ended: {status}"), show);
    }
    if video
        .account
        .as_ref()
        .is_some_and(|owner| *owner != access.account)
    {
        return refused(
            "belongs to another account than this key's".to_owned(),
            "give the right key with HEYGEN_API_KEY_FILE".to_owned(),
        );
    }
    // Nobody sends it a message meanwhile.
    let sending = store.locks()?.try_row(Purpose::Send, row)?;
    let guard = sending.ok_or_else(|| Problem::in_use(row))?;
    // Stopped twice is stopped: nothing has to be recorded before.
    access.client.stop(session)?;
    let withdrawn = store.write(|tx| {
        let unsent = tx.withdraw_messages(row)?;
        if let Some(video) = tx.video(row)? {
            tx.apply(&decide::stopped(&video, &unsent, time::now()), time::now())?;
        }
        Ok(!unsent.is_empty())
    })?;
    if withdrawn {
        let warning = "what was recorded for it and not sent yet is not sent any more";
        context.screen.warn(warning);
    }
    drop(guard);
    let (scope, options) = (Scope::Named(vec![row]), PassOptions::default());
    let tally = context.pass(&mut store, scope, Level::Events, options)?;
    context.print_rows(&load(&store, &[row])?, Field::SUBMIT);
    Ok(tally.exit(false))
}
