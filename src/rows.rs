//! From the IDs that people, scripts and agents name to rows.

use crate::error::{Problem, Result, code};
use crate::store::{Found, Store, Tx};
use crate::video::{RowId, Video};

/// The row an ID stands for; `not_found` or `ambiguous_id`.
pub(crate) fn find(tx: &Tx<'_>, id: &str, allow_prefix: bool) -> Result<RowId> {
    match tx.find(id, allow_prefix)? {
        Found::One(row) => Ok(row),
        Found::Several(matches) => Err(Problem::ambiguous(id, &matches)),
        Found::None if allow_prefix && is_short(id) => Err(Problem::new(
            code::NOT_FOUND,
            format!("no video {id:?} here"),
        )
        .with_hint("the beginning of an id needs at least 4 characters")),
        Found::None => Err(Problem::not_found(id)),
    }
}

pub(crate) fn find_video(tx: &Tx<'_>, id: &str, allow_prefix: bool) -> Result<Video> {
    let row = find(tx, id, allow_prefix)?;
    tx.video(row)?.ok_or_else(|| Problem::not_found(row))
}

fn is_short(id: &str) -> bool {
    (1..4).contains(&id.chars().count()) && !id.bytes().all(|b| b.is_ascii_digit())
}

/// The rows that IDs stand for, each once, in the order given; the first that stands for none is an error.
pub(crate) fn find_all(store: &Store, ids: &[String], allow_prefix: bool) -> Result<Vec<RowId>> {
    store.read(|tx| {
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            let row = find(tx, id, allow_prefix)?;
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        Ok(rows)
    })
}

/// The rows as they are now, in the order given; those forgotten meanwhile are left out.
pub(crate) fn load(store: &Store, rows: &[RowId]) -> Result<Vec<Video>> {
    store.read(|tx| read(tx, rows))
}

pub(crate) fn read(tx: &Tx<'_>, rows: &[RowId]) -> Result<Vec<Video>> {
    let videos = rows.iter().map(|row| tx.video(*row));
    videos.filter_map(Result::transpose).collect()
}
