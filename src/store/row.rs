//! Between rows and nouns: the columns of each table are listed once, and whoever reads or writes them uses that list.

use std::path::PathBuf;

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use super::Tx;
use crate::error::Result;
use crate::time::Timestamp;
use crate::video::{
    Account, Asset, File, FileState, HookEvent, IdempotencyKey, Kind, LastError, MessageKind,
    MessageState, Operation, Outcome, Part, Phase, RemoteStatus, RowId, Video, VideoId,
};

pub(super) type Column<'a> = (&'static str, &'a dyn ToSql);

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
        [$((stringify!($field), &$noun.$field as &dyn rusqlite::ToSql)),+]
    };
}
pub(super) use fields;

/// Columns that are called like the field of the noun they hold. `fixed` ones are only read here; the `changing` ones are
/// also what an update writes. `other` columns are read and written by hand.
macro_rules! columns {
    ($type:ident, $list:ident, $index:ident, $read:ident, $changing:ident;
     fixed { $first:ident $(, $fixed:ident)* }
     changing { $($change:ident),+ }
     other { $($other:ident),* }) => {
        pub(super) const $list: &str = concat!(
            stringify!($first) $(, ", ", stringify!($fixed))* $(, ", ", stringify!($change))*
            $(, ", ", stringify!($other))*
        );

        #[allow(dead_code, non_camel_case_types, reason = "the variants are column names")]
        enum $index { $first $(, $fixed)* $(, $change)* $(, $other)* }

        fn $read(row: &Row<'_>) -> rusqlite::Result<$type> {
            Ok($type {
                $first: row.get($index::$first as usize)?
                $(, $fixed: row.get($index::$fixed as usize)?)*
                $(, $change: row.get($index::$change as usize)?)*,
                ..$type::default()
            })
        }

        fn $changing(of: &$type) -> Vec<Column<'_>> {
            fields!(of: $($change),+).to_vec()
        }
    };
}

columns! { Video, VIDEO_COLUMNS, VideoColumn, plain_video, changing_of_video;
    fixed {
        id, rev, kind, finished, template_id, script, avatar_id, voice_id, submitted_at, auto_proceed, name_template,
        retry_of
    }
    changing {
        phase, remote_status, outcome, video_id, session_id, progress, idempotency_key, account, title, title_edited, created_at,
        completed_at, duration, folder_id, output_language, failure_code, failure_message, video_page_url, urls_at,
        accepted_at, ended_at, first_unanswered_at, last_attempt_at, attempts, send_after, last_checked_at, check_count,
        not_found_at, not_found_count, missing_at, failed_since, failed_polls, moved_at, nudges_left, attention_at,
        stalled_at
    }
    other {
        video_url, captioned_video_url, subtitle_url, thumbnail_url, gif_url, audio_url, vtt_url,
        error_code, error_operation, error_message, error_request_id, error_at, error_notified_at, error_count, tags, output_dir, data, candidates
    }
}

columns! { File, FILE_COLUMNS, FileColumn, plain_file, changing_of_file;
    fixed { asset }
    changing { state, bytes, sha256, saved_at, attempts, first_failed_at }
    other { path, part_name, part_bytes, part_sha256, etag, total }
}

const URLS: [&str; 7] = [
    "video_url",
    "captioned_video_url",
    "subtitle_url",
    "thumbnail_url",
    "gif_url",
    "audio_url",
    "vtt_url",
];

pub(super) fn video(row: &Row<'_>) -> rusqlite::Result<Video> {
    use VideoColumn as C;
    macro_rules! get {
        ($column:ident) => {
            row.get(C::$column as usize)?
        };
    }
    let mut video = plain_video(row)?;
    for (at, asset) in (C::video_url as usize..).zip(Asset::ALL) {
        video.urls.set(*asset, row.get(at)?);
    }
    let error_code: Option<String> = get!(error_code);
    if let Some(code) = error_code {
        video.last_error = Some(LastError {
            operation: get!(error_operation),
            code,
            message: get!(error_message),
            request_id: get!(error_request_id),
            at: get!(error_at),
            notified_at: get!(error_notified_at),
            count: get!(error_count),
        });
    }
    let json_error = |error: serde_json::Error| FromSqlError::Other(Box::new(error));
    let tags: String = get!(tags);
    video.tags = serde_json::from_str(&tags).map_err(json_error)?;
    let data: Option<String> = get!(data);
    let data = data.map(|data| serde_json::from_str(&data));
    video.data = data.transpose().map_err(json_error)?;
    let candidates: Option<String> = get!(candidates);
    let candidates = candidates.map(|list| serde_json::from_str(&list));
    video.candidates = candidates.transpose().map_err(json_error)?;
    let output_dir: String = get!(output_dir);
    video.output_dir = PathBuf::from(output_dir);
    Ok(video)
}

pub(super) fn file(row: &Row<'_>) -> rusqlite::Result<File> {
    use FileColumn as C;
    let mut file = plain_file(row)?;
    let path: Option<String> = row.get(C::path as usize)?;
    file.path = path.map(PathBuf::from);
    let part_name: Option<String> = row.get(C::part_name as usize)?;
    if let Some(name) = part_name {
        file.part = Some(Part {
            name,
            bytes: row.get(C::part_bytes as usize)?,
            sha256: row.get(C::part_sha256 as usize)?,
            etag: row.get(C::etag as usize)?,
            total: row.get(C::total as usize)?,
        });
    }
    Ok(file)
}

pub(super) fn tags_json(tags: &[String]) -> String {
    serde_json::Value::from(tags).to_string()
}

impl Tx<'_> {
    /// Writes every mutable column of `video`. `false`: somebody changed the row since it was read; decide again.
    pub fn update(&self, video: &Video) -> Result<bool> {
        let error = video.last_error.as_ref();
        let urls = Asset::ALL.iter().map(|asset| video.urls.get(*asset));
        let urls: Vec<_> = urls.collect();
        let candidates = video.candidates.as_ref().map(serde_json::to_string);
        let others: [Column<'_>; 10] = [
            ("error_operation", &error.map(|e| e.operation)),
            ("error_code", &error.map(|e| &e.code)),
            ("error_message", &error.map(|e| &e.message)),
            (
                "error_request_id",
                &error.and_then(|e| e.request_id.as_ref()),
            ),
            ("error_at", &error.map(|e| e.at)),
            ("error_notified_at", &error.and_then(|e| e.notified_at)),
            ("error_count", &error.map_or(0, |e| e.count)),
            ("output_dir", &video.output_dir.to_string_lossy()),
            ("tags", &tags_json(&video.tags)),
            ("candidates", &candidates.and_then(Result::ok)),
        ];
        let mut columns = changing_of_video(video);
        columns.extend(others);
        columns.extend(
            URLS.into_iter()
                .zip(urls.iter().map(|url| url as &dyn ToSql)),
        );
        let set = columns.iter().map(|(name, _)| format!("{name} = ?"));
        let sql = format!(
            "UPDATE videos SET rev = rev + 1, {} WHERE id = ? AND rev = ?",
            set.collect::<Vec<_>>().join(", ")
        );
        columns.extend(fields!(video: id, rev));
        let values = columns.iter().map(|(_, value)| *value);
        self.changed(&sql, rusqlite::params_from_iter(values))
    }

    pub fn put_file(&self, video: RowId, file: &File) -> Result<()> {
        let part = file.part.as_ref();
        let others: [Column<'_>; 6] = [
            (
                "path",
                &file.path.as_ref().map(|path| path.to_string_lossy()),
            ),
            ("part_name", &part.map(|p| &p.name)),
            ("part_bytes", &part.map(|p| p.bytes)),
            ("part_sha256", &part.map(|p| &p.sha256)),
            ("etag", &part.and_then(|p| p.etag.as_ref())),
            ("total", &part.and_then(|p| p.total)),
        ];
        let columns = [changing_of_file(file), others.to_vec()].concat();
        let key: [Column<'_>; 2] = [("video", &video), ("asset", &file.asset)];
        self.upsert("files", &key, &columns)
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
