//! Statements on `videos`.

use std::path::PathBuf;

use rusqlite::{Params, named_params, params};

use super::Tx;
use super::row::{self, VIDEO_COLUMNS};
use crate::decide::{Decision, Entry};
use crate::error::Result;
use crate::event::Event;
use crate::kind::Kind;
use crate::time::{LONGEST_WAIT, Timestamp};
use crate::video::{
    Account, Asset, File, IdempotencyKey, Job, Phase, RemoteStatus, RowId, Video, VideoId,
};

/// What `submit`, `retry` and `add` write down.
#[derive(Clone, Debug, Default)]
pub struct NewVideo {
    /// What HeyGen is to make.
    pub kind: Kind,
    /// See [`Video::template_id`].
    pub template_id: Option<String>,
    /// See [`Video::nudges_left`].
    pub nudges_left: i64,
    /// See [`Video::auto_proceed`].
    pub auto_proceed: bool,
    /// A session that was begun elsewhere.
    pub session_id: Option<VideoId>,
    /// The exact request body and its key; `None` for a video made elsewhere.
    pub request: Option<(String, IdempotencyKey)>,
    /// See `videos.body_hash`.
    pub body_hash: Option<String>,
    /// HeyGen's id, for a video made elsewhere.
    pub video_id: Option<VideoId>,
    /// Whom it belongs to, where that is known.
    pub account: Option<Account>,
    /// For searching.
    pub title: Option<String>,
    /// For searching.
    pub script: Option<String>,
    /// For searching.
    pub avatar_id: Option<String>,
    /// For searching.
    pub voice_id: Option<String>,
    /// The user's labels.
    pub tags: Vec<String>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// Absolute.
    pub output_dir: PathBuf,
    /// See [`Video::name_template`].
    pub name_template: Option<String>,
    /// The caller's own name for the submission.
    pub request_key: Option<String>,
    /// The files wanted.
    pub assets: Vec<Asset>,
    /// See [`Video::data`]; a JSON object.
    pub data: Option<String>,
    /// The row this one submits again.
    pub retry_of: Option<RowId>,
}

/// What became of an `add`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// A new row.
    New(RowId),
    /// The id was known; nothing changed.
    Known(RowId),
}

/// What the poll needs to know of an unfinished row before it asks for it.
#[derive(Clone, Debug)]
pub struct UnfinishedRow {
    /// Local number.
    pub id: RowId,
    /// Its revision.
    pub rev: i64,
    /// HeyGen's word as we know it.
    pub remote_status: Option<RemoteStatus>,
    /// HeyGen's name for it.
    pub job: Job,
    /// Whether hearing the same word again changes nothing: no trouble to end, and the account is known.
    pub settled: bool,
    /// Whether asking for it failed the last time.
    pub troubled: bool,
}

/// What `check` still has to do, in numbers.
#[derive(Clone, Copy, Debug)]
pub struct OpenWork {
    /// Rows that are not finished.
    pub unfinished: u64,
    /// Rows HeyGen works on.
    pub rendering: u64,
    /// Since when the oldest of them does.
    pub oldest_rendering: Option<Timestamp>,
    /// Rows that are completed and not saved.
    pub to_save: u64,
    /// Rows that wait to be sent, or for the answer.
    pub to_send: u64,
}

impl Tx<'_> {
    /// What is still to be done.
    pub fn open_work(&self) -> Result<OpenWork> {
        self.one(
            "SELECT count(*),
                        count(*) FILTER (WHERE phase = 'accepted' AND outcome IS NULL),
                        min(accepted_at) FILTER (WHERE phase = 'accepted' AND outcome IS NULL),
                        count(*) FILTER (WHERE phase = 'accepted' AND outcome IS NOT NULL),
                        count(*) FILTER (WHERE phase <> 'accepted')
                 FROM videos INDEXED BY videos_unfinished WHERE finished = 0",
            [],
            |row| {
                Ok(OpenWork {
                    unfinished: row.get(0)?,
                    rendering: row.get(1)?,
                    oldest_rendering: row.get(2)?,
                    to_save: row.get(3)?,
                    to_send: row.get(4)?,
                })
            },
        )
    }

    /// Inserts a row and its wanted files.
    pub fn insert(&self, new: &NewVideo, now: Timestamp) -> Result<RowId> {
        let made = new.video_id.as_ref().or(new.session_id.as_ref());
        let phase = if made.is_some() {
            Phase::Accepted
        } else {
            Phase::Unsent
        };
        let (request, key) = new.request.as_ref().map(|(body, key)| (body, key)).unzip();
        let id: RowId = self.one("INSERT INTO videos (nudges_left, auto_proceed, request_key, kind, template_id, session_id, phase, remote_status, video_id, idempotency_key, account, request, body_hash, title,
                    script, avatar_id, voice_id, tags, submitted_at, accepted_at, output_dir, name_template, retry_of, data)
                 VALUES (:nudges_left, :auto_proceed, :request_key, :kind, :template_id, :session_id, :phase, :remote_status, :video_id, :key, :account, :request, :body_hash, :title,
                    :script, :avatar_id, :voice_id, :tags, :submitted_at, :accepted_at, :output_dir, :name, :retry_of, :data)
                 RETURNING id", named_params! {
                    ":nudges_left": new.nudges_left,
                    ":auto_proceed": new.auto_proceed,
                    ":request_key": new.request_key,
                    ":kind": new.kind,
                    ":template_id": new.template_id,
                    ":session_id": new.session_id,
                    ":phase": phase,
                    ":remote_status": made.map(|_| RemoteStatus::waiting()),
                    ":video_id": new.video_id,
                    ":key": key,
                    ":account": new.account,
                    ":request": request,
                    ":body_hash": new.body_hash,
                    ":title": new.title,
                    ":script": new.script,
                    ":avatar_id": new.avatar_id,
                    ":voice_id": new.voice_id,
                    ":tags": tags_json(&new.tags),
                    ":submitted_at": new.submitted_at,
                    ":accepted_at": made.map(|_| new.submitted_at),
                    ":output_dir": new.output_dir.to_string_lossy(),
                    ":name": new.name_template,
                    ":retry_of": new.retry_of,
                    ":data": new.data,
                },
                |row| row.get(0))?;
        for asset in &new.assets {
            self.put_file(id, &File::wanted(*asset))?;
        }
        self.append(id, &Entry::new(Event::Recorded), now)?;
        Ok(id)
    }

    /// Inserts a video made elsewhere unless its id is known.
    pub fn add(&self, new: &NewVideo, now: Timestamp) -> Result<Added> {
        let known = match &new.video_id {
            Some(id) => self.by_video_id(id)?,
            None => None,
        };
        let known = match (known, &new.session_id) {
            (None, Some(id)) => self.by_video_id(id)?,
            (known, _) => known,
        };
        match known {
            Some(id) => Ok(Added::Known(id)),
            None => self.insert(new, now).map(Added::New),
        }
    }

    /// One row with its files.
    pub fn video(&self, id: RowId) -> Result<Option<Video>> {
        let sql = format!("SELECT {VIDEO_COLUMNS} FROM videos WHERE id = ?1");
        Ok(self.videos(&sql, [id])?.pop())
    }

    /// The exact body to POST.
    pub fn request(&self, id: RowId) -> Result<Option<String>> {
        self.one("SELECT request FROM videos WHERE id = ?1", [id], |row| {
            row.get(0)
        })
    }

    /// The account that bought or last saw a row.
    pub fn owner(&self, id: RowId) -> Result<Option<Account>> {
        self.maybe("SELECT account FROM videos WHERE id = ?1", [id], |row| {
            row.get(0)
        })
        .map(Option::flatten)
    }

    /// The row that tracks a HeyGen id: the job's, a session's, or that of a session's video.
    pub fn by_video_id(&self, id: &VideoId) -> Result<Option<RowId>> {
        let sql = "SELECT id FROM videos WHERE video_id = ?1 UNION ALL SELECT id FROM videos WHERE session_id = ?1";
        self.maybe(sql, [id], |row| row.get(0))
    }

    /// The row of a job.
    pub fn by_job(&self, job: &Job) -> Result<Option<RowId>> {
        match job.kind {
            Kind::Agent => {
                let sql = "SELECT id FROM videos WHERE session_id = ?1";
                self.maybe(sql, [&job.id], |row| row.get(0))
            }
            _ => self.by_video_id(&job.id),
        }
    }

    /// The row of a submission by the caller's own name for it.
    pub fn by_request_key(&self, key: &str) -> Result<Option<RowId>> {
        self.maybe(
            "SELECT id FROM videos WHERE request_key = ?1",
            [key],
            |row| row.get(0),
        )
    }

    /// How many submissions were recorded at or after `since`.
    pub fn submitted_since(&self, since: Timestamp) -> Result<u64> {
        self.one(
            "SELECT count(*) FROM videos WHERE request IS NOT NULL AND submitted_at >= ?1",
            [since],
            |row| row.get(0),
        )
    }

    /// When the first of them was.
    pub fn first_submitted_since(&self, since: Timestamp) -> Result<Option<Timestamp>> {
        self.one(
            "SELECT min(submitted_at) FROM videos WHERE request IS NOT NULL AND submitted_at >= ?1",
            [since],
            |row| row.get(0),
        )
    }

    /// The rows whose HeyGen id starts with `prefix`, at most `limit`.
    pub fn by_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<(RowId, VideoId)>> {
        // Every text that starts with the prefix sorts between it and it followed by the last code point,
        // so the unique index answers this; LIKE would read its wildcards in the prefix.
        self.all("SELECT id, video_id FROM videos
                 WHERE video_id >= ?1 AND video_id < ?1 || char(1114111) ORDER BY video_id LIMIT ?2", params![prefix, limit], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Writes all of a decision but its hooks. `false`, and nothing written, when somebody changed the row since it
    /// was read: read it again and decide again.
    ///
    /// Nothing written, too, when the database cannot hold what was decided: that row is left alone, and what the same
    /// transaction records of others stays ([`Store::damaged`](super::Store::damaged)).
    pub fn apply(&self, decision: &Decision, now: Timestamp) -> Result<bool> {
        let Decision { video, files, .. } = decision;
        let written = self.apart(|| {
            if decision.changed && !self.update(video)? {
                return Ok(false);
            }
            let files_of_it = video.files.iter();
            for file in files_of_it.filter(|file| files.contains(&file.asset)) {
                self.put_file(video.id, file)?;
            }
            for entry in &decision.events {
                self.append(video.id, entry, now)?;
            }
            for (kind, text) in &decision.messages {
                self.put_message(video.id, *kind, text, now)?;
            }
            Ok(true)
        })?;
        Ok(written.unwrap_or_else(|problem| {
            let why = format!("what happened to it cannot be recorded: {problem}");
            self.damaged.borrow_mut().insert(video.id, why);
            false
        }))
    }

    /// Writes every mutable column of `video` if the row still has the revision it was read with.
    ///
    /// `false` means that somebody changed the row since: read it again and decide again.
    pub fn update(&self, video: &Video) -> Result<bool> {
        let error = video.last_error.as_ref();
        self.changed("UPDATE videos SET rev = rev + 1, phase = :phase, remote_status = :remote_status, outcome = :outcome,
                    video_id = :video_id, session_id = :session_id, progress = :progress, idempotency_key = :key, account = :account, title = :title,
                    created_at = :created_at, completed_at = :completed_at, duration = :duration,
                    folder_id = :folder_id, output_language = :output_language, failure_code = :failure_code,
                    failure_message = :failure_message, video_page_url = :video_page_url, video_url = :video_url,
                    captioned_video_url = :captioned, subtitle_url = :subtitle, thumbnail_url = :thumbnail,
                    gif_url = :gif, audio_url = :audio, vtt_url = :vtt, urls_at = :urls_at, accepted_at = :accepted_at, ended_at = :ended_at,
                    first_unanswered_at = :first_unanswered_at, last_attempt_at = :last_attempt_at,
                    attempts = :attempts, send_after = :send_after, last_checked_at = :last_checked_at,
                    check_count = :check_count, not_found_at = :not_found_at,
                    not_found_count = :not_found_count, missing_at = :missing_at, stalled_at = :stalled_at, failed_since = :failed_since, failed_polls = :failed_polls, moved_at = :moved_at,
                    nudges_left = :nudges_left, attention_at = :attention_at,
                    error_operation = :error_operation, error_code = :error_code, error_message = :error_message, error_request_id = :error_request_id, error_at = :error_at,
                    error_notified_at = :error_notified_at, error_count = :error_count,
                    output_dir = :output_dir, tags = :tags
                 WHERE id = :id AND rev = :rev", named_params! {
                ":id": video.id,
                ":rev": video.rev,
                ":phase": video.phase,
                ":remote_status": video.remote_status,
                ":outcome": video.outcome,
                ":video_id": video.video_id,
                ":session_id": video.session_id,
                ":progress": video.progress,
                ":key": video.idempotency_key,
                ":account": video.account,
                ":title": video.title,
                ":created_at": video.created_at,
                ":completed_at": video.completed_at,
                ":duration": video.duration,
                ":folder_id": video.folder_id,
                ":output_language": video.output_language,
                ":failure_code": video.failure_code,
                ":failure_message": video.failure_message,
                ":video_page_url": video.video_page_url,
                ":video_url": video.urls.video,
                ":captioned": video.urls.captioned,
                ":subtitle": video.urls.subtitle,
                ":thumbnail": video.urls.thumbnail,
                ":gif": video.urls.gif,
                ":audio": video.urls.audio,
                ":vtt": video.urls.vtt,
                ":urls_at": video.urls_at,
                ":accepted_at": video.accepted_at,
                ":ended_at": video.ended_at,
                ":first_unanswered_at": video.first_unanswered_at,
                ":last_attempt_at": video.last_attempt_at,
                ":attempts": video.attempts,
                ":send_after": video.send_after,
                ":last_checked_at": video.last_checked_at,
                ":check_count": video.check_count,
                ":not_found_at": video.not_found_at,
                ":not_found_count": video.not_found_count,
                ":missing_at": video.missing_at,
                ":stalled_at": video.stalled_at,
                ":failed_since": video.failed_since,
                ":failed_polls": video.failed_polls,
                ":moved_at": video.moved_at,
                ":nudges_left": video.nudges_left,
                ":attention_at": video.attention_at,
                ":error_operation": error.map(|e| e.operation),
                ":error_code": error.map(|e| &e.code),
                ":error_message": error.map(|e| &e.message),
                ":error_request_id": error.and_then(|e| e.request_id.as_ref()),
                ":error_at": error.map(|e| e.at),
                ":error_notified_at": error.and_then(|e| e.told_at),
                ":error_count": error.map_or(0, |e| e.count),
                ":output_dir": video.output_dir.to_string_lossy(),
                ":tags": tags_json(&video.tags),
            })
    }

    /// Notes that HeyGen answered and nothing changed; not a change of state, so `rev` stays.
    pub fn seen(&self, rows: &[RowId], now: Timestamp) -> Result<()> {
        let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
        self.run(
            "UPDATE videos SET last_checked_at = ?2, check_count = check_count + 1
                 WHERE id IN (SELECT value FROM json_each(?1))",
            params![serde_json::Value::from(ids).to_string(), now],
        )
    }

    /// A page of unfinished rows HeyGen knows, by local number; `account` is the one that will ask.
    pub fn unfinished_after(
        &self,
        after: RowId,
        account: Option<&Account>,
        limit: u32,
    ) -> Result<Vec<UnfinishedRow>> {
        let (mut page, mut after) = (Vec::new(), after);
        // Rows that cannot be read do not make a page shorter: a short one is the last.
        while let Some(wanted) = limit.checked_sub(page.len() as u32).filter(|n| *n > 0) {
            let (rows, last, count) = self.readable(
                "SELECT id, rev, remote_status, kind, coalesce(session_id, video_id),
                        error_code IS NULL AND not_found_at IS NULL AND account IS ?2,
                        error_operation IS 'poll'
                 FROM videos INDEXED BY videos_unfinished
                 WHERE finished = 0 AND phase = 'accepted' AND id > ?1 ORDER BY id LIMIT ?3",
                params![after, account, wanted],
                |row| {
                    Ok(UnfinishedRow {
                        id: row.get(0)?,
                        rev: row.get(1)?,
                        remote_status: row.get(2)?,
                        job: row::job(row, 3)?,
                        settled: row.get(5)?,
                        troubled: row.get(6)?,
                    })
                },
            )?;
            page.extend(rows);
            match last {
                Some(last) if count == wanted as usize => after = last,
                _ => break,
            }
        }
        Ok(page)
    }

    /// The latest `missing` rows that became so since, at most `limit`.
    pub fn missing_since(&self, since: Timestamp, limit: u32) -> Result<Vec<UnfinishedRow>> {
        let (rows, ..) = self.readable(
            "SELECT id, rev, kind, coalesce(session_id, video_id) FROM videos INDEXED BY videos_missing
             WHERE phase = 'missing' AND missing_at >= ?1 AND coalesce(session_id, video_id) IS NOT NULL ORDER BY id DESC LIMIT ?2",
            params![since, limit],
            |row| {
                Ok(UnfinishedRow {
                    id: row.get(0)?,
                    rev: row.get(1)?,
                    remote_status: None,
                    job: row::job(row, 2)?,
                    settled: false,
                    troubled: false,
                })
            },
        )?;
        Ok(rows)
    }

    /// When something that belongs to no row was last done.
    pub fn mark(&self, name: &str) -> Result<Option<Timestamp>> {
        self.maybe("SELECT at FROM marks WHERE name = ?1", [name], |row| {
            row.get(0)
        })
    }

    /// Notes that it was done.
    pub fn set_mark(&self, name: &str, at: Timestamp) -> Result<()> {
        self.run(
            "INSERT INTO marks (name, at) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET at = excluded.at",
            params![name, at],
        )
    }

    /// Rows in the outbox that may have to be given up: an attempt is unanswered since `before` (or the clock went
    /// back), or nothing is known of them since.
    pub fn expirable(&self, before: Timestamp, after: Timestamp) -> Result<Vec<RowId>> {
        self.all(
            "SELECT id FROM videos INDEXED BY videos_outbox WHERE phase IN ('unsent', 'sending') AND CASE phase
                WHEN 'sending' THEN first_unanswered_at <= ?1
                    OR max(first_unanswered_at, coalesce(last_attempt_at, 0)) > ?2
                ELSE max(submitted_at, coalesce(last_attempt_at, 0)) <= ?1 END ORDER BY id",
            params![before, after],
            |row| row.get(0),
        )
    }

    /// Whether anything in the outbox has an unanswered attempt, or was recorded before `before`.
    pub fn has_old_keys(&self, before: Timestamp) -> Result<bool> {
        self.one(
            "SELECT EXISTS (SELECT 1 FROM videos INDEXED BY videos_outbox
                            WHERE phase IN ('unsent', 'sending') AND (phase = 'sending' OR submitted_at < ?1))",
            [before],
            |row| row.get(0),
        )
    }

    /// Whether any unfinished row belongs to this account.
    pub fn waits_for(&self, account: &str) -> Result<bool> {
        self.one(
            "SELECT EXISTS (SELECT 1 FROM videos INDEXED BY videos_unfinished WHERE finished = 0 AND account = ?1)",
            [account],
            |row| row.get(0),
        )
    }

    /// An account that never took anything may be a wrong key or a wrong base URL: what was submitted under it, and
    /// never sent, belongs to `instead`.
    pub fn release_account(&self, account: &Account, instead: Option<&Account>) -> Result<()> {
        self.run(
            "UPDATE videos SET account = ?2, rev = rev + 1
             WHERE phase IN ('unsent', 'sending') AND phase = 'unsent' AND account = ?1
             AND NOT EXISTS (SELECT 1 FROM videos WHERE account = ?1
                             AND (video_id IS NOT NULL OR first_unanswered_at IS NOT NULL))",
            params![account, instead],
        )
    }

    /// A page of rows that wait to be sent in `phase`, by local number.
    pub fn outbox_after(&self, phase: Phase, after: RowId, limit: u32) -> Result<Vec<RowId>> {
        self.all("SELECT id FROM videos INDEXED BY videos_outbox
                 WHERE phase IN ('unsent', 'sending') AND phase = ?1 AND id > ?2 ORDER BY id LIMIT ?3", params![phase, after, limit], |row| row.get(0))
    }

    /// How many videos HeyGen has in work for us, unanswered purchases included.
    pub fn active_count(&self) -> Result<u64> {
        self.one(
            "SELECT count(*) FROM videos INDEXED BY videos_unfinished
                 WHERE finished = 0 AND phase IN ('accepted', 'sending') AND outcome IS NULL",
            [],
            |row| row.get(0),
        )
    }

    /// Whether `check` has anything to do.
    pub fn has_unfinished(&self) -> Result<bool> {
        self.one(
            "SELECT EXISTS (SELECT 1 FROM videos INDEXED BY videos_unfinished WHERE finished = 0)",
            [],
            |row| row.get(0),
        )
    }

    /// Whether any row waits to be sent.
    pub fn has_outbox(&self) -> Result<bool> {
        self.one(
            "SELECT EXISTS (SELECT 1 FROM videos INDEXED BY videos_outbox WHERE phase IN ('unsent', 'sending'))",
            [],
            |row| row.get(0),
        )
    }

    /// Whether any POST of before is still without an answer.
    pub fn has_unanswered(&self) -> Result<bool> {
        self.one("SELECT EXISTS (SELECT 1 FROM videos INDEXED BY videos_outbox
                                WHERE phase IN ('unsent', 'sending') AND phase = 'sending' AND attempts > 0)", [], |row| row.get(0))
    }

    /// How many rows `check` still has work with.
    pub fn unfinished_count(&self) -> Result<u64> {
        self.one(
            "SELECT count(*) FROM videos INDEXED BY videos_unfinished WHERE finished = 0",
            [],
            |row| row.get(0),
        )
    }

    /// The oldest rows `check` still has work with.
    pub fn oldest_unfinished(&self, limit: u32) -> Result<Vec<Video>> {
        self.videos(
            &format!("SELECT {VIDEO_COLUMNS} FROM videos INDEXED BY videos_unfinished WHERE finished = 0 ORDER BY id LIMIT ?1"),
            [limit],
        )
    }

    /// The rows with an equal body, newest first, without their files.
    pub fn twins(&self, body_hash: &str) -> Result<Vec<Video>> {
        self.videos(
            &format!("SELECT {VIDEO_COLUMNS} FROM videos INDEXED BY videos_by_body WHERE body_hash = ?1 ORDER BY id DESC LIMIT 100"),
            [body_hash],
        )
    }

    /// The newest row with an equal body that is unfinished, or completed and submitted since.
    pub fn recent_twin(&self, body_hash: &str, since: Timestamp) -> Result<Option<RowId>> {
        self.maybe(
            "SELECT id FROM videos INDEXED BY videos_by_body WHERE body_hash = ?1
                 AND (finished = 0 OR (status = 'completed' AND submitted_at >= ?2))
                 ORDER BY id DESC LIMIT 1",
            params![body_hash, since],
            |row| row.get(0),
        )
    }

    /// The retries of a row, oldest first, each with its `body_hash`.
    pub fn retries(&self, original: RowId) -> Result<Vec<(RowId, Option<String>)>> {
        self.all(
            "SELECT id, body_hash FROM videos INDEXED BY videos_retried WHERE retry_of = ?1 ORDER BY id",
            [original],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Every failed or rejected row that nobody has bought again, oldest first. Not those of which an earlier POST was
    /// never answered: like `unknown`, they may have been bought, and a person has to look.
    pub fn retryable(&self) -> Result<Vec<RowId>> {
        self.all(
            "SELECT id FROM videos AS original INDEXED BY videos_by_status
                 WHERE status IN ('failed', 'rejected', 'cancelled', 'canceled', 'deleted', 'expired')
                 AND finished = 1 AND request IS NOT NULL
                 AND first_unanswered_at IS NULL
                 AND NOT EXISTS (SELECT 1 FROM videos INDEXED BY videos_retried WHERE retry_of = original.id) ORDER BY id",
            [],
            |row| row.get(0),
        )
    }

    /// How long an account's POSTs are held back.
    pub fn paused_until(&self, account: &Account) -> Result<Option<Timestamp>> {
        self.maybe(
            "SELECT until FROM pauses WHERE account = ?1",
            [account],
            |row| row.get(0),
        )
    }

    /// Holds an account's POSTs back (`Retry-After`). A longer pause stands, unless it is longer than any can be: then
    /// it is from a clock that ran ahead.
    pub fn pause(&self, account: &Account, until: Timestamp) -> Result<()> {
        self.run("INSERT INTO pauses (account, until) VALUES (?1, ?2)
                 ON CONFLICT (account) DO UPDATE SET until =
                    CASE WHEN until - excluded.until > ?3 THEN excluded.until ELSE max(until, excluded.until) END", params![account, until, LONGEST_WAIT.as_millis() as i64])
    }

    /// Removes a row, its files' records and its timeline; no file on disk is touched.
    pub fn forget(&self, id: RowId) -> Result<bool> {
        self.changed("DELETE FROM videos WHERE id = ?1", [id])
    }

    /// The readable rows of a query for [`VIDEO_COLUMNS`], with their files.
    pub(super) fn videos(&self, sql: &str, params: impl Params) -> Result<Vec<Video>> {
        let (mut videos, ..) = self.readable(sql, params, row::video)?;
        let mut unreadable = Vec::new();
        for video in &mut videos {
            match self.files(video.id)? {
                Some(files) => video.files = files,
                None => unreadable.push(video.id),
            }
        }
        videos.retain(|video| !unreadable.contains(&video.id));
        Ok(videos)
    }
}

fn tags_json(tags: &[String]) -> String {
    serde_json::Value::from(tags).to_string()
}
