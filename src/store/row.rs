//! Between rows and nouns: the columns of each table are listed once, and whoever reads or writes them uses that list.

use std::path::PathBuf;

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Tx, values};
use crate::error::Result;
use crate::time::Timestamp;
use crate::video::{
    Account, Asset, File, FileState, HookEvent, IdempotencyKey, Kind, LastError, MessageKind,
    MessageState, Operation, Outcome, Part, Phase, RemoteStatus, RowId, Video, VideoId,
};

pub(super) type SqlValue<'a> = Box<dyn ToSql + 'a>;
pub(super) type Column<'a> = (&'static str, SqlValue<'a>);

/// Reads a noun whose fields are called like the columns.
macro_rules! noun {
    ($noun:ident: $($field:ident),+) => {
        |row: &rusqlite::Row<'_>| Ok($noun { $($field: row.get(stringify!($field))?),+ })
    };
}
pub(super) use noun;

/// The columns that are called like these fields of a noun.
macro_rules! fields {
    ($noun:ident: $($field:ident),+) => {
        [$((stringify!($field), Box::new(&$noun.$field) as SqlValue<'_>)),+]
    };
}
pub(super) use fields;

/// The columns of a table, in the order in which they are read and written: those that are called like the field of the
/// noun they hold, then the `other` ones, by hand.
macro_rules! columns {
    ($type:ident, $list:ident, $read:ident, $write:ident;
     $first:ident $(, $field:ident)*; other $($other:ident),*) => {
        pub(super) const $list: &str = concat!(
            stringify!($first) $(, ", ", stringify!($field))* $(, ", ", stringify!($other))*
        );

        fn $read(cells: &mut Cells<'_>) -> rusqlite::Result<$type> {
            Ok($type { $first: cells.next()? $(, $field: cells.next()?)*, ..$type::default() })
        }

        fn $write(of: &$type) -> Vec<SqlValue<'_>> {
            vec![Box::new(&of.$first) $(, Box::new(&of.$field))*]
        }
    };
}

/// How many columns of a video the database keeps by itself, and how many never change: those that are listed first.
pub(super) const KEPT: usize = 3;
const FIXED: usize = 12;

columns! { Video, VIDEO_COLUMNS, plain_video, plain_video_values;
    id, rev, finished,
    kind, template_id, script, avatar_id, voice_id, submitted_at, auto_proceed, name_template, retry_of,
    phase, remote_status, outcome, video_id, session_id, progress, idempotency_key, account, title, title_edited,
    created_at, completed_at, duration, folder_id, output_language, failure_code, failure_message, video_page_url,
    urls_at, accepted_at, ended_at, first_unanswered_at, last_attempt_at, attempts, send_after, last_checked_at,
    check_count, not_found_at, not_found_count, missing_at, failed_since, failed_polls, moved_at, nudges_left,
    attention_at, stalled_at;
    other video_url, captioned_video_url, subtitle_url, thumbnail_url, gif_url, audio_url, vtt_url, error_code,
    error_operation, error_message, error_request_id, error_at, error_notified_at, error_count, output_dir, tags,
    candidates, data
}

columns! { File, FILE_COLUMNS, plain_file, plain_file_values;
    asset, state, bytes, sha256, saved_at, attempts, first_failed_at;
    other path, part_name, part_bytes, part_sha256, etag, total
}

struct Cells<'a> {
    row: &'a Row<'a>,
    at: usize,
}

impl Cells<'_> {
    fn next<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        self.at += 1;
        self.row.get(self.at - 1)
    }

    fn json<T: DeserializeOwned>(&mut self) -> rusqlite::Result<T> {
        let text: Option<String> = self.next()?;
        let value = serde_json::from_str(text.as_deref().unwrap_or("null"));
        value.map_err(|error| FromSqlError::Other(Box::new(error)).into())
    }
}

fn json(value: &impl Serialize) -> Option<String> {
    let text = serde_json::to_string(value).ok();
    text.filter(|text| text != "null")
}

pub(super) fn video(row: &Row<'_>) -> rusqlite::Result<Video> {
    let cells = &mut Cells { row, at: 0 };
    let mut video = plain_video(cells)?;
    for asset in Asset::ALL {
        if let Some(url) = cells.next()? {
            video.urls.insert(*asset, url);
        }
    }
    if let Some(code) = cells.next()? {
        video.last_error = Some(LastError {
            code,
            operation: cells.next()?,
            message: cells.next()?,
            request_id: cells.next()?,
            at: cells.next()?,
            notified_at: cells.next()?,
            count: cells.next()?,
        });
    } else {
        cells.at += 6;
    }
    video.output_dir = cells.next::<String>()?.into();
    video.tags = cells.json()?;
    video.candidates = cells.json()?;
    video.data = cells.json()?;
    Ok(video)
}

pub(super) fn file(row: &Row<'_>) -> rusqlite::Result<File> {
    let cells = &mut Cells { row, at: 0 };
    let mut file = plain_file(cells)?;
    file.path = cells.next::<Option<String>>()?.map(PathBuf::from);
    if let Some(name) = cells.next()? {
        file.part = Some(Part {
            name,
            bytes: cells.next()?,
            sha256: cells.next()?,
            etag: cells.next()?,
            total: cells.next()?,
        });
    }
    Ok(file)
}

/// In the order of [`VIDEO_COLUMNS`].
pub(super) fn video_columns(video: &Video) -> Vec<Column<'_>> {
    let error = video.last_error.as_ref();
    let mut values = plain_video_values(video);
    for asset in Asset::ALL {
        values.push(Box::new(video.urls.get(asset)));
    }
    let others: [SqlValue<'_>; 11] = [
        Box::new(error.map(|e| &e.code)),
        Box::new(error.map(|e| e.operation)),
        Box::new(error.map(|e| &e.message)),
        Box::new(error.map(|e| &e.request_id)),
        Box::new(error.map(|e| e.at)),
        Box::new(error.map(|e| e.notified_at)),
        Box::new(error.map_or(0, |e| e.count)),
        Box::new(video.output_dir.to_string_lossy()),
        Box::new(json(&video.tags)),
        Box::new(json(&video.candidates)),
        Box::new(json(&video.data)),
    ];
    values.extend(others);
    VIDEO_COLUMNS.split(", ").zip(values).collect()
}

fn file_columns(file: &File) -> Vec<Column<'_>> {
    let (path, part) = (file.path.as_ref(), file.part.as_ref());
    let mut values = plain_file_values(file);
    let others: [SqlValue<'_>; 6] = [
        Box::new(path.map(|path| path.to_string_lossy())),
        Box::new(part.map(|p| &p.name)),
        Box::new(part.map(|p| p.bytes)),
        Box::new(part.map(|p| &p.sha256)),
        Box::new(part.map(|p| &p.etag)),
        Box::new(part.map(|p| p.total)),
    ];
    values.extend(others);
    FILE_COLUMNS.split(", ").zip(values).collect()
}

impl Tx<'_> {
    /// Writes every mutable column of `video`. `false`: somebody changed the row since it was read; decide again.
    pub fn update(&self, video: &Video) -> Result<bool> {
        let mut columns = video_columns(video).split_off(FIXED);
        let set = columns.iter().map(|(name, _)| format!("{name} = ?"));
        let sql = format!(
            "UPDATE videos SET rev = rev + 1, {} WHERE id = ? AND rev = ?",
            set.collect::<Vec<_>>().join(", ")
        );
        columns.extend(fields!(video: id, rev));
        self.changed(&sql, values(&columns))
    }

    pub fn put_file(&self, video: RowId, file: &File) -> Result<()> {
        let mut columns = file_columns(file);
        columns.push(("video", Box::new(video)));
        self.upsert("files", "video, asset", &columns)
    }
}

macro_rules! stored_as {
    ($type:ty as $sql:ty: $from:expr, $to:expr) => {
        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let from: fn($sql) -> Option<Self> = $from;
                from(<$sql>::column_result(value)?).ok_or(FromSqlError::InvalidType)
            }
        }
        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                let to: fn(&Self) -> ToSqlOutput<'_> = $to;
                Ok(to(self))
            }
        }
    };
    (words $($words:ident),+) => {
        $(stored_as!($words as String: |t| t.parse().ok(), |word| word.word().into());)+
    };
}

stored_as!(Timestamp as i64: |n| Some(Self::from_millis(n)), |t| t.millis().into());
stored_as!(RowId as i64: |n| Some(Self(n)), |id| id.0.into());
stored_as!(VideoId as String: Self::new, |id| id.as_str().into());
stored_as!(IdempotencyKey as String: |t| Some(Self::stored(t)), |key| key.as_str().into());
stored_as!(Account as String: |t| Some(Self::new(t)), |account| account.as_str().into());
stored_as!(RemoteStatus as String: |t| Some(Self::new(t)), |status| status.as_str().into());
stored_as!(words Operation, Outcome, Phase, Kind, MessageKind, MessageState, Asset, FileState, HookEvent);
