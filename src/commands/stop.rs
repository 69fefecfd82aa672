//! `tracker stop`: end an agent's session, so that it holds no slot of the account any more.

use super::{Context, find_video, load, no_session};
use crate::decide;
use crate::error::{Exit, Problem, Result};
use crate::locks::Purpose;
use crate::pass::{Access, Level, PassOptions, Scope};
use crate::render::fields::Field;
use crate::store::Store;
use crate::time;
use crate::video::{MessageState, RowId, VideoId};

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
    if stop(&mut store, &access, row, session)? {
        let warning = "what was recorded for it and not sent yet is not sent any more";
        context.screen.warn(warning);
    }
    context.heed_signals();
    let (scope, options) = (Scope::Named(vec![row]), PassOptions::default());
    let tally = context.pass(&mut store, scope, Level::Events, options)?;
    context.print_rows(&load(&store, &[row])?, Field::SUBMIT);
    Ok(tally.exit(false))
}

/// Says whether something was still to be said to the session; it is not said any more.
fn stop(store: &mut Store, access: &Access, row: RowId, session: &VideoId) -> Result<bool> {
    // Nobody sends it a message meanwhile.
    let sending = store.locks()?.try_row(Purpose::Send, row)?;
    let _guard = sending.ok_or_else(|| Problem::in_use(row))?;
    // What was still to be said would set it going again, and a stop whose answer is lost is one.
    let withdrawn = store.write(|tx| tx.withdraw_messages(row))?;
    if let Err(error) = access.client.stop(session) {
        if decide::after_message(&error) == MessageState::Sending {
            let problem = Problem::from(error);
            return Err(problem.with_hint(format!("it may go on: tracker stop {row} again")));
        }
        store.write(|tx| {
            withdrawn
                .iter()
                .try_for_each(|message| tx.put_back(message))
        })?;
        return Err(error.into());
    }
    store.write(|tx| match tx.video(row)? {
        Some(video) => {
            let said = withdrawn.iter();
            let said: Vec<_> = said
                .map(|message| (message.kind, message.text.as_str()))
                .collect();
            let decision = decide::stopped(&video, &said, time::now());
            tx.give_up_nudges(row, video.nudges_left)?;
            tx.apply(&decision, time::now()).map(drop)
        }
        None => Ok(()),
    })?;
    Ok(!withdrawn.is_empty())
}
