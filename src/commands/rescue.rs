//! `tracker doctor --rescue`: what can be read of a damaged database, in a new one.

use std::path::Path;

use super::Context;
use crate::config;
use crate::error::{Exit, Problem};
use crate::shell;
use crate::store::{Rescued, rescue};
use crate::time;
use crate::video::RowId;

/// So many rows are named; JSON has all.
const NAMED: usize = 20;

pub(super) fn run(new: &Path, context: &Context) -> Result<Exit, Problem> {
    config::refuse_tilde(new)?;
    let database = context.database()?;
    let output_dir = context.output_dir(None)?;
    let rescued = rescue(&database, new, &output_dir, time::now())?;
    let lines = || report(&rescued, &database);
    context.screen.result(&rescued, lines);
    let is_whole = rescued.missing.is_empty();
    Ok(if is_whole { Exit::Ok } else { Exit::Trouble })
}

fn report(rescued: &Rescued, database: &Path) -> String {
    let word = |path: &Path| shell::word(&path.to_string_lossy());
    let (new, old) = (word(&rescued.path), word(database));
    let mut lines = format!("{} videos are in {new}\n", rescued.videos);
    let mut fact = |rows: String, what: &str| {
        if !rows.is_empty() {
            lines.push_str(&format!("{what}: {rows}\n"));
        }
    };
    let ranges = rescued
        .missing
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
    fact(named(ranges), "lost, or forgotten before");
    fact(ids(&rescued.shortened), "only the beginning could be read");
    fact(
        ids(&rescued.held),
        "may have been sent since, and are not sent by themselves (tracker show ID says what to do)",
    );
    if rescued.to_fetch > 0 {
        fact(
            rescued.to_fetch.to_string(),
            "videos that check downloads again, because no record of their files was readable",
        );
    }
    lines.push_str(&format!(
        "look with tracker --db {new} list; then move {old}, {old}-wal and {old}-shm away, and {new} to {old}\n"
    ));
    lines
}

fn ids(rows: &[RowId]) -> String {
    named(rows.iter().map(ToString::to_string))
}

fn named(rows: impl ExactSizeIterator<Item = String>) -> String {
    let more = if rows.len() > NAMED { ", …" } else { "" };
    rows.take(NAMED).collect::<Vec<_>>().join(", ") + more
}
