//! What is said beside the work of any verb: that cron seems dead, which rows cannot be read, and, to cron once a day,
//! that there is no database or no room for it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::Context;
use crate::error::{Exit, Result, code};
use crate::locks::beside;
use crate::render::human;
use crate::store::{Store, make_directory_of};
use crate::time::{DAY, Timestamp};
use crate::video::RowId;

/// Nobody runs `check` less often and expects videos to arrive.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Says so on stderr when unfinished videos were left alone for an hour.
pub(super) fn note_silence(store: &Store, context: &Context) -> Result<()> {
    if context.screen.quiet {
        return Ok(());
    }
    let view = context.view();
    // On most days this is all that is looked at, however many rows are unfinished.
    let waiting = store.read(|tx| tx.waiting_since())?;
    if waiting.is_none_or(|since| view.now.since(since) <= PATIENCE) {
        return Ok(());
    }
    let (last_sign, troubles) = store.read(|tx| Ok((tx.last_sign()?, tx.troubles()?)))?;
    if let Some(since) = silent_since(waiting, last_sign, view.now) {
        let since = human::clock(since, view.now, view.local);
        // A run-wide trouble means that cron runs: what it met is the better news.
        let why = match troubles.first() {
            Some(trouble) => format!(": {}", trouble.message),
            None => "; is cron running?".to_owned(),
        };
        let note = format!("note: nothing checked since {since}{why}");
        context.screen.note(&note);
    }
    Ok(())
}

pub(super) fn note_damaged(store: &Store, context: &Context) {
    for (row, why) in store.damaged() {
        context.screen.warn(&damaged(row, &why));
    }
}

/// The same for a run that cron may start each minute: each row once a day.
pub(super) fn report_damaged(store: &mut Store, context: &Context) -> Result<()> {
    for (row, why) in store.damaged() {
        let name = format!("damaged {row}");
        let now = context.view().now;
        if store.write(|tx| tx.mark_unless_lately(&name, now, DAY))? {
            context.screen.warn(&damaged(row, &why));
        }
    }
    Ok(())
}

/// What ends each run and cannot be remembered in the database: there is none yet, or no room for it. An empty file
/// beside it remembers that it was said.
const BESIDE: [(&str, &str); 2] = [(code::NO_DATABASE, "-missing"), (code::DISK_FULL, "-full")];

/// For cron: those once a day, everything else that ends a run each time.
pub(super) fn report_once_a_day(result: Result<Exit>, context: &Context) -> Result<Exit> {
    let database = context.database()?;
    for (code, suffix) in BESIDE {
        let marker = &beside(&database, suffix);
        // A database of no bytes is there, and what was in it is gone.
        let is_lost = code == code::NO_DATABASE && database.exists();
        match &result {
            Err(problem) if problem.code == code && !is_lost => {
                if is_of_today(marker) {
                    return Ok(problem.exit);
                }
                let exit = context.screen.problem(problem);
                // Where nothing can be written it is said each time.
                renew(marker).ok();
                return Ok(exit);
            }
            Ok(_) if fs::remove_file(marker).is_ok() && code == code::DISK_FULL => {
                let note = "resolved: there is room for the database again";
                context.screen.note(note);
            }
            Err(_) if code == code::NO_DATABASE => drop(fs::remove_file(marker)),
            _ => {}
        }
    }
    result
}

fn is_of_today(marker: &Path) -> bool {
    let at = fs::metadata(marker).and_then(|meta| meta.modified());
    at.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < DAY))
}

/// The directory may be missing until the first `submit`.
fn renew(marker: &Path) -> io::Result<()> {
    make_directory_of(marker)?;
    fs::remove_file(marker).ok();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(marker).map(drop)
}

fn damaged(row: RowId, why: &str) -> String {
    format!("row {row} cannot be read and is left alone: {why}; tracker doctor says more")
}

/// Since when nobody has worked on the unfinished rows, if that is too long ago.
fn silent_since(
    waiting_since: Option<Timestamp>,
    last_sign: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let long_ago = |at: &Timestamp| now.since(*at) > PATIENCE;
    let waiting_since = waiting_since.filter(long_ago)?;
    // A time in the future is from a clock that ran ahead, and says nothing.
    let last_sign = last_sign.filter(|at| *at <= now);
    Some(last_sign.unwrap_or(waiting_since)).filter(long_ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_without_a_sign_is_silence() {
        let hour = 3600;
        let now = 100 * hour;
        // waiting since, last sign, silent since
        for (waiting, last, silent) in [
            (None, None, None),
            (Some(now - 60), None, None),
            (Some(now - 2 * hour), None, Some(now - 2 * hour)),
            (Some(now - 2 * hour), Some(now - 60), None),
            (
                Some(now - 9 * hour),
                Some(now - 2 * hour),
                Some(now - 2 * hour),
            ),
            // The clock was ahead when somebody last checked.
            (
                Some(now - 2 * hour),
                Some(now + 9 * hour),
                Some(now - 2 * hour),
            ),
            // A fresh row is no reason to look for older signs.
            (Some(now - 60), Some(now - 2 * hour), None),
            // The clock went back.
            (Some(now + 9 * hour), Some(now + 9 * hour), None),
        ] {
            let [waiting, last, silent] =
                [waiting, last, silent].map(|at| at.map(Timestamp::from_secs));
            let found = silent_since(waiting, last, Timestamp::from_secs(now));
            assert_eq!(found, silent, "{waiting:?} {last:?}");
        }
    }
}
