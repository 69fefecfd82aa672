//! Between rows and nouns: one list of columns, one `from_row`.

use std::path::PathBuf;

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::kind::Kind;
use crate::time::Timestamp;
use crate::video::{
    Account, Asset, File, FileState, HookEvent, IdempotencyKey, Job, LastError, MessageKind,
    MessageState, Operation, Outcome, Part, Phase, RemoteStatus, RowId, Urls, Video, VideoId,
};

/// Names the columns of a table once: `COLUMNS` for the statement and an index for each name, so that a row is
/// mapped by name without looking the name up for every cell.
macro_rules! columns {
    ($vis:vis $list:ident, $index:ident { $first:ident $(, $rest:ident)* $(,)? }) => {
        $vis const $list: &str = concat!(stringify!($first) $(, ", ", stringify!($rest))*);
        #[allow(non_camel_case_types, reason = "the variants are column names")]
        #[derive(Clone, Copy)]
        enum $index { $first $(, $rest)* }
    };
}

columns! { pub(super) VIDEO_COLUMNS, VideoColumn {
    id, rev, kind, phase, remote_status, outcome, finished, video_id, session_id, template_id, progress, idempotency_key, account,
    title, script, avatar_id, voice_id, tags,
    created_at, completed_at, duration, folder_id, output_language, failure_code, failure_message, video_page_url,
    video_url, captioned_video_url, subtitle_url, thumbnail_url, gif_url, audio_url, vtt_url, urls_at,
    submitted_at, accepted_at, ended_at, first_unanswered_at, last_attempt_at, attempts, send_after,
    last_checked_at, check_count, not_found_at, failed_since, failed_polls, moved_at, nudges_left, auto_proceed, attention_at, not_found_count, missing_at, stalled_at,
    error_operation, error_code, error_message, error_request_id, error_at, error_notified_at, error_count,
    output_dir, name_template, retry_of, data,
}}

columns! { pub(super) FILE_COLUMNS, FileColumn {
    asset, state, path, part_name, part_bytes, part_sha256, etag, total, bytes, sha256, saved_at, attempts,
    first_failed_at,
}}

/// A video from a row selected with [`VIDEO_COLUMNS`], without its files.
pub(super) fn video(row: &Row<'_>) -> rusqlite::Result<Video> {
    use VideoColumn as C;
    macro_rules! get {
        ($column:ident) => {
            row.get(C::$column as usize)?
        };
    }
    let error_code: Option<String> = get!(error_code);
    let last_error = match error_code {
        None => None,
        Some(code) => Some(LastError {
            operation: get!(error_operation),
            code,
            message: get!(error_message),
            request_id: get!(error_request_id),
            at: get!(error_at),
            told_at: get!(error_notified_at),
            count: get!(error_count),
        }),
    };
    let tags: String = get!(tags);
    let data: Option<String> = get!(data);
    let output_dir: String = get!(output_dir);
    Ok(Video {
        id: get!(id),
        rev: get!(rev),
        kind: get!(kind),
        phase: get!(phase),
        remote_status: get!(remote_status),
        outcome: get!(outcome),
        finished: get!(finished),
        video_id: get!(video_id),
        session_id: get!(session_id),
        template_id: get!(template_id),
        progress: get!(progress),
        idempotency_key: get!(idempotency_key),
        account: get!(account),
        title: get!(title),
        script: get!(script),
        avatar_id: get!(avatar_id),
        voice_id: get!(voice_id),
        tags: serde_json::from_str(&tags).map_err(|e| FromSqlError::Other(Box::new(e)))?,
        created_at: get!(created_at),
        completed_at: get!(completed_at),
        duration: get!(duration),
        folder_id: get!(folder_id),
        output_language: get!(output_language),
        failure_code: get!(failure_code),
        failure_message: get!(failure_message),
        video_page_url: get!(video_page_url),
        urls: Urls {
            video: get!(video_url),
            captioned: get!(captioned_video_url),
            subtitle: get!(subtitle_url),
            thumbnail: get!(thumbnail_url),
            gif: get!(gif_url),
            audio: get!(audio_url),
            vtt: get!(vtt_url),
        },
        urls_at: get!(urls_at),
        submitted_at: get!(submitted_at),
        accepted_at: get!(accepted_at),
        ended_at: get!(ended_at),
        first_unanswered_at: get!(first_unanswered_at),
        last_attempt_at: get!(last_attempt_at),
        attempts: get!(attempts),
        send_after: get!(send_after),
        last_checked_at: get!(last_checked_at),
        check_count: get!(check_count),
        not_found_at: get!(not_found_at),
        not_found_count: get!(not_found_count),
        missing_at: get!(missing_at),
        failed_since: get!(failed_since),
        failed_polls: get!(failed_polls),
        moved_at: get!(moved_at),
        nudges_left: get!(nudges_left),
        auto_proceed: get!(auto_proceed),
        attention_at: get!(attention_at),
        stalled_at: get!(stalled_at),
        last_error,
        output_dir: PathBuf::from(output_dir),
        name_template: get!(name_template),
        retry_of: get!(retry_of),
        data: data
            .map(|data| serde_json::from_str(&data))
            .transpose()
            .map_err(|e| FromSqlError::Other(Box::new(e)))?,
        files: Vec::new(),
    })
}

/// A file from a row selected with [`FILE_COLUMNS`].
pub(super) fn file(row: &Row<'_>) -> rusqlite::Result<File> {
    use FileColumn as C;
    macro_rules! get {
        ($column:ident) => {
            row.get(C::$column as usize)?
        };
    }
    let part_name: Option<String> = get!(part_name);
    let part = match part_name {
        None => None,
        Some(name) => Some(Part {
            name,
            bytes: get!(part_bytes),
            sha256: get!(part_sha256),
            etag: get!(etag),
            total: get!(total),
        }),
    };
    let path: Option<String> = get!(path);
    Ok(File {
        asset: get!(asset),
        state: get!(state),
        path: path.map(PathBuf::from),
        part,
        bytes: get!(bytes),
        sha256: get!(sha256),
        saved_at: get!(saved_at),
        attempts: get!(attempts),
        first_failed_at: get!(first_failed_at),
    })
}

/// A job from its kind, and its id in the column after it.
pub(super) fn job(row: &Row<'_>, at: usize) -> rusqlite::Result<Job> {
    Ok(Job {
        kind: row.get(at)?,
        id: row.get(at + 1)?,
    })
}

/// Stores a newtype as its inner text or number.
macro_rules! stored_as {
    ($type:ty, $sql:ty, $from:expr, $to:expr) => {
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
}

stored_as!(Timestamp, i64, |n| Some(Timestamp::from_millis(n)), |t| t
    .millis()
    .into());
stored_as!(RowId, i64, |n| Some(RowId(n)), |id| id.0.into());
stored_as!(VideoId, String, VideoId::new, |id| id.as_str().into());
stored_as!(
    IdempotencyKey,
    String,
    |t| Some(IdempotencyKey::stored(t)),
    |k| k.as_str().into()
);
stored_as!(Account, String, |t| Some(Account::new(t)), |a| a
    .as_str()
    .into());
stored_as!(RemoteStatus, String, |t| Some(RemoteStatus::new(t)), |s| s
    .as_str()
    .into());
stored_as!(Operation, String, |t| t.parse().ok(), |o| o.word().into());
stored_as!(Outcome, String, |t| t.parse().ok(), |o| o.word().into());
stored_as!(Phase, String, |t| t.parse().ok(), |p| p.word().into());
stored_as!(Kind, String, |t| t.parse().ok(), |k| k.word().into());
stored_as!(MessageKind, String, |t| t.parse().ok(), |m| m.word().into());
stored_as!(MessageState, String, |t| t.parse().ok(), |m| m
    .word()
    .into());
stored_as!(Asset, String, |t| t.parse().ok(), |a| a.word().into());
stored_as!(FileState, String, |t| t.parse().ok(), |s| s.word().into());
stored_as!(HookEvent, String, |t| t.parse().ok(), |h| h.word().into());
