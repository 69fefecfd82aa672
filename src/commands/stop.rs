//! `tracker stop`: end an agent's session, so that it holds no slot of the account any more.

use super::{Context, find_video, load};
use crate::error::{Exit, Problem, Result};
use crate::pass::{self, Access, Level, PassOptions, Reporter, Scope};
use crate::render::fields::Field;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker stop 14          # it stalls, and holds one of the account's slots")]
pub struct Args {
    /// Local number or exact HeyGen id
    #[arg(value_name = "ID")]
    id: String,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let access = Access::resolve(&context.env)?;
    context.heed_signals();
    let mut store = context.open()?;
    let video = store.read(|tx| find_video(tx, &args.id, false))?;
    let row = video.id;
    let Some(session) = &video.session_id else {
        let (kind, status) = (video.kind, video.status());
        return Err(Problem::usage(
            format!("{row} is no agent's session but a {kind} ({status}); HeyGen cannot stop it"),
            format!("tracker show {row}"),
        ));
    };
    if video.outcome.is_some() {
        return Err(Problem::usage(
            format!("{row} has ended: {}", video.status()),
            format!("tracker show {row}"),
        ));
    }
    let owner = video.account.as_ref();
    if owner.is_some_and(|owner| *owner != access.account) {
        return Err(Problem::usage(
            format!("{row} belongs to another account than this key's"),
            "give the right key with HEYGEN_API_KEY_FILE",
        ));
    }
    // Stopped twice is stopped: nothing has to be recorded before.
    access.client.stop(session)?;
    let scope = Scope::Named(vec![row]);
    let options = context.with_hook(PassOptions::default())?;
    let mut reporter = Reporter::new(&context.screen, Level::Events, true);
    pass::run(&mut store, &context.env, scope, &options, &mut reporter)?;
    context.print_rows(&load(&store, &[row])?, Field::SUBMIT);
    Ok(reporter.tally.exit(false))
}
