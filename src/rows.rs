//! From the IDs that people, scripts and agents name to rows.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Problem, Result, code};
use crate::store::{Store, Tx};
use crate::video::{RowId, Video};

/// The row that an ID stands for, or with `allow_prefix` the beginning of one that is no number; `not_found` or
/// `ambiguous_id`.
pub(crate) fn find(tx: &Tx<'_>, id: &str, allow_prefix: bool) -> Result<RowId> {
    if let Some(row) = tx.named(id)? {
        return Ok(row);
    }
    let is_short = id.chars().count() < 4;
    let is_number = id.bytes().all(|b| b.is_ascii_digit());
    let was_allowed = allow_prefix && !is_short;
    let allow_prefix = allow_prefix && !is_number;
    let matches = match allow_prefix && !is_short {
        true => tx.by_prefix(id, 6)?,
        false => Vec::new(),
    };
    match matches[..] {
        [(row, _)] => Ok(row),
        [] if allow_prefix && is_short => {
            let message = format!("no video {id:?} here");
            Err(Problem::new(code::NOT_FOUND, message)
                .with_hint("the beginning of an id needs at least 4 characters"))
        }
        [] if is_number && was_allowed => Err(Problem::not_found(id).with_hint(
            "digits alone are a local number; the beginning of an id has a letter, too",
        )),
        [] => Err(Problem::not_found(id)),
        _ => Err(Problem::ambiguous(id, &matches)),
    }
}

pub(crate) fn find_video(tx: &Tx<'_>, id: &str, allow_prefix: bool) -> Result<Video> {
    let row = find(tx, id, allow_prefix)?;
    tx.video(row)?.ok_or_else(|| Problem::not_found(row))
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

/// Whether what is named is a file rather than an id. A directory that happens to be called like an id does not make it one.
pub(crate) fn is_file(argument: &OsStr) -> bool {
    argument.as_bytes().contains(&b'/')
        || argument.as_bytes().ends_with(b".json")
        || fs::metadata(argument).is_ok_and(|meta| !meta.is_dir())
}
