//! `add ID --as ROW`: the user found out which video an unanswered submission became.

use crate::commands::{Context, find};
use crate::decide;
use crate::error::{Problem, Result};
use crate::locks::Purpose;
use crate::render::fields::Field;
use crate::rows::load;
use crate::store::Tx;
use crate::time::{self, Timestamp};
use crate::video::{Job, RowId, Video, VideoId};

pub(super) fn run(row: &str, found: &[Video], context: &Context) -> Result<()> {
    let Some(Job { id: video_id, .. }) = found
        .first()
        .and_then(Video::job)
        .filter(|_| found.len() == 1)
    else {
        return Err(Problem::usage(
            format!("--as takes one video id, not {}", found.len()),
            "tracker add VIDEO_ID --as ROW",
        ));
    };
    let mut store = context.open()?;
    let row = store.read(|tx| find(tx, row, false))?;
    // Whoever is sending it will learn its id a moment from now.
    let Some(_guard) = store.locks()?.try_row(Purpose::Send, row)? else {
        return Err(Problem::in_use(row));
    };
    let changed = store.write(|tx| become_video(tx, row, &video_id, time::now()))?;
    context.print_rows(&load(&store, &[row])?, Field::SUBMIT);
    if !changed {
        let note = format!("already tracked as {row}: {video_id}");
        context.screen.note(&note);
    }
    Ok(())
}

/// `false` when it is known already: the same command again, after a kill perhaps.
fn become_video(tx: &Tx<'_>, row: RowId, video_id: &VideoId, now: Timestamp) -> Result<bool> {
    let video = tx.video(row)?.ok_or_else(|| Problem::not_found(row))?;
    match tx.by_video_id(video_id)? {
        Some(tracked_by) if tracked_by == row => return Ok(false),
        Some(tracked_by) => {
            return Err(Problem::usage(
                format!("{video_id} is tracked already, as {tracked_by}"),
                format!("tracker show {tracked_by}"),
            ));
        }
        None => {}
    }
    if let Some((retry, _)) = tx.retries(row)?.last() {
        return Err(Problem::usage(
            format!("{row} was retried as {retry}, so it can no longer become another video"),
            format!("tracker add {video_id} gives the id a row of its own"),
        ));
    }
    let Some(decision) = decide::became(&video, video_id, now) else {
        let status = video.status();
        return Err(Problem::usage(
            format!(
                "{row} is {status}; only a row with an unanswered attempt can become a video by --as"
            ),
            format!("tracker show {row}; without --as the id gets a row of its own"),
        ));
    };
    tx.apply(&decision, now)
}
