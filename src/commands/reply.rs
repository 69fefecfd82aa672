//! `tracker reply`: answer an agent that waits for a person, or ask one that failed to go on.

use super::options::script_text;
use super::{Context, find_video, load, no_session};
use crate::decide;
use crate::error::{Exit, Problem, Result};
use crate::pass::{Access, Level, PassOptions, Scope, message_line};
use crate::render::fields::Field;
use crate::signals;
use crate::store::{Store, Tx};
use crate::time::{self, Timestamp};
use crate::video::{MessageKind, MessageState, RemoteStatus, RowId};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker reply 14 'Yes, but with the blue background'
  tracker reply 14 @answer.txt

The answer is recorded before it is sent, and never sent twice by itself.")]
pub struct Args {
    /// Local number, HeyGen id, or a unique beginning of one
    #[arg(value_name = "ID")]
    id: String,
    /// What to say
    #[arg(value_name = "TEXT|@FILE")]
    text: String,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let text = script_text(&args.text)?;
    if text.trim().is_empty() {
        return Err(Problem::usage(
            "the reply is empty",
            "tracker reply ID 'what to say'",
        ));
    }
    // Without a usable key nothing is recorded: the user is there and can fix it.
    Access::resolve(&context.env)?;
    let mut store = context.open()?;
    let row = signals::recording(|| {
        context.heed_signals();
        store.write(|tx| record(tx, &args.id, &text, time::now()))
    })?;
    let pass = |store: &mut Store, scope| {
        context.pass(store, scope, Level::Events, PassOptions::default())
    };
    let tally = pass(&mut store, Scope::Asked(vec![row]))?;
    let mut exit = tally.exit(false);
    let state = store.read(|tx| tx.last_message_state(row))?;
    if state == Some(MessageState::Sent) {
        // What it waits for now, so that the same reply again is seen to make no sense.
        exit = exit.max(pass(&mut store, Scope::Named(vec![row]))?.exit(false));
    }
    context.print_rows(&load(&store, &[row])?, Field::SUBMIT);
    let screen = &context.screen;
    // Otherwise the pass said so; a check that runs at the same time may have been faster.
    let is_news = tally.replies == 0;
    if let (Some(state), true, true) = (state, is_news, screen.json) {
        screen.json_line(&message_line(row, MessageKind::Reply, state, None));
    }
    Ok(match state {
        Some(MessageState::Sent) => {
            screen.note("HeyGen took the reply; tracker check goes on with it");
            exit
        }
        // Not notes that -q drops: whoever misses them may say it twice.
        Some(MessageState::Unsent) => {
            screen.warn("the reply is recorded but not sent yet; do not repeat it: check sends it");
            exit
        }
        Some(MessageState::Sending | MessageState::Refused) | None => {
            if is_news {
                let why = "another run sent the reply, or is about to";
                screen.warn(&format!("{why}; tracker show {row} says what became of it"));
            }
            Exit::Trouble
        }
    })
}

fn record(tx: &Tx<'_>, id: &str, text: &str, now: Timestamp) -> Result<RowId> {
    let video = find_video(tx, id, true)?;
    let row = video.id;
    let refused = |why: &str| {
        Err(Problem::usage(
            format!("{row} {why}"),
            format!("tracker show {row}; only an agent that waits or says failed can be answered"),
        ))
    };
    if let Some(problem) = no_session(&video) {
        return Err(problem);
    }
    let Some(session) = video.session_id.as_ref().filter(|_| video.job().is_some()) else {
        let (kind, status) = (video.kind, video.status());
        return refused(&format!("is no agent's session but a {kind} ({status})"));
    };
    let status = video.remote_status.clone();
    let status = status.unwrap_or_else(RemoteStatus::waiting);
    if !(decide::wants_answer(&status) || status.is_failed()) {
        let status = video.status();
        return refused(&format!(
            "({session}) is {status}: nobody waits for an answer"
        ));
    }
    if let Some(decision) = decide::revived(&video) {
        tx.apply(&decision, now)?;
    }
    // The same command again, before the first one's message was sent.
    if !tx.has_unsent_message(row, text)? {
        tx.put_message(row, MessageKind::Reply, text, now)?;
    }
    Ok(row)
}
