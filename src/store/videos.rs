use rusqlite::{Params, Row, params};

use super::row::{self, SqlValue, VIDEO_COLUMNS, fields, noun};
use super::{Tx, insert_into, values};
use crate::decide::{Decision, Entry};
use crate::error::Result;
use crate::event::Event;
use crate::kind::Kind;
use crate::time::{LONGEST_WAIT, Timestamp};
use crate::video::{Account, Candidate, File, Job, Phase, RemoteStatus, RowId, Video, VideoId};

const UNFINISHED: &str = "videos INDEXED BY videos_unfinished WHERE finished = 0";
const OUTBOX: &str = "videos INDEXED BY videos_outbox WHERE phase IN ('unsent', 'sending')";

#[derive(Clone, Debug, Default)]
pub struct NewVideo {
    /// Its phase follows from the ids it has and from the request.
    pub video: Video,
    /// The exact request body; `None` for a video made elsewhere.
    pub request: Option<String>,
    pub body_hash: Option<String>,
    pub request_key: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub row: RowId,
    pub rev: i64,
    pub job: Job,
    pub status: Option<RemoteStatus>,
    /// Hearing the same word again changes nothing: no trouble to end, and the account is known.
    pub settled: bool,
    pub troubled: bool,
    /// It is asked for beside the others, and never for its own sake.
    pub missing: bool,
}

impl Asked {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            row: row.get(0)?,
            rev: row.get(1)?,
            job: Job {
                kind: row.get(2)?,
                id: row.get(3)?,
            },
            status: row.get(4)?,
            settled: row.get(5)?,
            troubled: row.get(6)?,
            missing: row.get(7)?,
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct OpenWork {
    pub unfinished: u64,
    pub rendering: u64,
    pub oldest_rendering: Option<Timestamp>,
    pub to_save: u64,
    pub to_send: u64,
}

impl Tx<'_> {
    pub fn open_work(&self) -> Result<OpenWork> {
        self.one(
            "SELECT count(*) AS unfinished,
                    count(*) FILTER (WHERE phase = 'accepted' AND outcome IS NULL) AS rendering,
                    min(accepted_at) FILTER (WHERE phase = 'accepted' AND outcome IS NULL) AS oldest_rendering,
                    count(*) FILTER (WHERE phase = 'accepted' AND outcome IS NOT NULL) AS to_save,
                    count(*) FILTER (WHERE phase <> 'accepted') AS to_send
             FROM videos INDEXED BY videos_unfinished WHERE finished = 0",
            [],
            noun!(OpenWork: unfinished, rendering, oldest_rendering, to_save, to_send),
        )
    }

    pub fn insert(&self, new: &NewVideo, now: Timestamp) -> Result<RowId> {
        let mut video = new.video.clone();
        if video.video_id.is_some() || video.session_id.is_some() {
            video.phase = Phase::Accepted;
            video.remote_status = Some(RemoteStatus::waiting());
            video.accepted_at = Some(video.submitted_at);
        } else if new.request.is_none() {
            // Of a batch made elsewhere.
            video.phase = Phase::Rejected;
        }
        let mut columns = row::video_columns(&video).split_off(row::KEPT);
        columns.extend(fields!(new: request, body_hash, request_key));
        let insert = insert_into("videos", &columns);
        let id = self.value(&format!("{insert} RETURNING id"), values(&columns))?;
        for file in &video.files {
            self.put_file(id, file)?;
        }
        self.append(id, &Entry::new(Event::Recorded), now)?;
        Ok(id)
    }

    pub fn known(&self, new: &NewVideo) -> Result<Option<RowId>> {
        self.value_if_any(
            "SELECT id FROM videos WHERE video_id = ?1 OR video_id = ?2
             UNION ALL SELECT id FROM videos WHERE session_id = ?1 OR session_id = ?2
             UNION ALL SELECT id FROM videos WHERE request_key = ?3",
            params![new.video.video_id, new.video.session_id, new.request_key],
        )
    }

    pub fn video(&self, id: RowId) -> Result<Option<Video>> {
        Ok(self.videos("videos WHERE id = ?", [id])?.pop())
    }

    pub fn request(&self, id: RowId) -> Result<Option<String>> {
        self.value("SELECT request FROM videos WHERE id = ?", [id])
    }

    pub fn owner(&self, id: RowId) -> Result<Option<Account>> {
        let found = self.value_if_any("SELECT account FROM videos WHERE id = ?", [id])?;
        Ok(found.flatten())
    }

    /// The row that tracks a HeyGen id: the job's, a session's, or that of a session's video.
    pub fn by_video_id(&self, id: &VideoId) -> Result<Option<RowId>> {
        self.value_if_any(
            "SELECT id FROM videos WHERE video_id = ?1
             UNION ALL SELECT id FROM videos WHERE session_id = ?1",
            [id],
        )
    }

    /// The row of a job: a session's id is none of a video's.
    pub fn by_job(&self, job: &Job) -> Result<Option<RowId>> {
        match job.kind {
            Kind::Agent => {
                self.value_if_any("SELECT id FROM videos WHERE session_id = ?", [&job.id])
            }
            _ => self.by_video_id(&job.id),
        }
    }

    /// What a row has taken meanwhile can be nothing else's.
    pub fn retain_untracked(&self, candidates: &mut Vec<Candidate>) -> Result<()> {
        for candidate in std::mem::take(candidates) {
            if let Some(id) = VideoId::new(candidate.video_id.as_str())
                && self.by_video_id(&id)?.is_none()
            {
                candidates.push(candidate);
            }
        }
        Ok(())
    }

    /// The row of that key, and the hash of its body.
    pub fn by_request_key(&self, key: &str) -> Result<Option<(RowId, Option<String>)>> {
        let found = self.all(
            "SELECT id, body_hash FROM videos WHERE request_key = ?",
            [key],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(found.into_iter().next())
    }

    pub fn unanswered(&self) -> Result<Vec<RowId>> {
        self.values(
            "SELECT id FROM videos WHERE first_unanswered_at IS NOT NULL AND video_id IS NULL ORDER BY id",
            [],
        )
    }

    pub fn sessions_without_video(&self) -> Result<Vec<RowId>> {
        self.values(
            "SELECT id FROM videos INDEXED BY videos_unfinished
             WHERE finished = 0 AND kind = 'agent' AND session_id IS NOT NULL AND video_id IS NULL ORDER BY id",
            [],
        )
    }

    pub fn submitted_since(&self, since: Timestamp) -> Result<(u64, Option<Timestamp>)> {
        self.one(
            "SELECT count(*), min(submitted_at) FROM videos
             WHERE request IS NOT NULL AND submitted_at >= ?",
            [since],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    pub fn by_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<(RowId, VideoId)>> {
        // Every text that starts with the prefix sorts between it and it followed by the last code point,
        // so the unique index answers this; LIKE would read its wildcards in the prefix.
        self.all(
            "SELECT id, video_id AS name FROM videos WHERE video_id >= ?1 AND video_id < ?1 || char(1114111)
             UNION ALL SELECT id, session_id FROM videos WHERE session_id >= ?1 AND session_id < ?1 || char(1114111)
             ORDER BY name LIMIT ?2",
            params![prefix, limit],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Writes all of a decision but its hooks. `false`, and nothing written, when somebody changed the row since it
    /// was read, or the database cannot hold what was decided: that row is left alone, and what the same transaction
    /// records of others stays ([`Store::damaged`](super::Store::damaged)).
    pub fn apply(&self, decision: &Decision, now: Timestamp) -> Result<bool> {
        let Decision { video, files, .. } = decision;
        let written = self.apart(|| {
            if decision.changed && !self.update(video)? {
                return Ok(false);
            }
            let changed = |file: &&File| files.contains(&file.asset);
            for file in video.files.iter().filter(changed) {
                self.put_file(video.id, file)?;
            }
            for entry in &decision.events {
                self.append(video.id, entry, now)?;
            }
            // Beside what a person is about to say, a word of ours might start a second render.
            let is_said =
                self.exists("messages WHERE state = 'unsent' AND video = ?", [video.id])?;
            for (kind, text) in decision.messages.iter().filter(|_| !is_said) {
                self.put_message(video.id, *kind, text, now)?;
            }
            Ok(true)
        })?;
        Ok(written.unwrap_or_else(|problem| {
            let why = format!("what happened to it cannot be recorded: {problem}");
            self.set_damaged(video.id, why);
            false
        }))
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
        mut after: RowId,
        account: Option<&Account>,
        limit: u32,
    ) -> Result<Vec<Asked>> {
        let mut page = Vec::new();
        // Rows that cannot be read do not make a page shorter: a short one is the last.
        while let Some(wanted) = limit.checked_sub(page.len() as u32).filter(|n| *n > 0) {
            let (rows, last, count) = self.readable(
                "SELECT id, rev, kind, coalesce(session_id, video_id), remote_status,
                        error_code IS NULL AND not_found_at IS NULL AND account IS ?2,
                        error_operation IS 'poll', 0
                 FROM videos INDEXED BY videos_unfinished
                 WHERE finished = 0 AND phase = 'accepted' AND id > ?1 ORDER BY id LIMIT ?3",
                params![after, account, wanted],
                Asked::read,
            )?;
            page.extend(rows);
            match last {
                Some(last) if count == wanted as usize => after = last,
                _ => break,
            }
        }
        Ok(page)
    }

    pub fn missing_since(&self, since: Timestamp, limit: u32) -> Result<Vec<Asked>> {
        let (rows, ..) = self.readable(
            "SELECT id, rev, kind, coalesce(session_id, video_id), NULL, 0, 0, 1
             FROM videos INDEXED BY videos_missing
             WHERE phase = 'missing' AND missing_at >= ?
             AND coalesce(session_id, video_id) IS NOT NULL ORDER BY id DESC LIMIT ?",
            params![since, limit],
            Asked::read,
        )?;
        Ok(rows)
    }

    pub fn mark(&self, name: &str) -> Result<Option<Timestamp>> {
        self.value_if_any("SELECT at FROM marks WHERE name = ?", [name])
    }

    /// Rows in the outbox that may have to be given up: an attempt is unanswered since `before` (or the clock went
    /// back), or nothing is known of them since.
    pub fn expirable(&self, before: Timestamp, after: Timestamp) -> Result<Vec<RowId>> {
        self.values(
            &format!(
                "SELECT id FROM {OUTBOX} AND CASE phase
                    WHEN 'sending' THEN first_unanswered_at <= ?1
                        OR max(first_unanswered_at, coalesce(last_attempt_at, 0)) > ?2
                    ELSE max(submitted_at, coalesce(last_attempt_at, 0)) <= ?1 END ORDER BY id"
            ),
            params![before, after],
        )
    }

    /// Whether anything in the outbox has an unanswered attempt, or was recorded before `before`.
    pub fn has_old_keys(&self, before: Timestamp) -> Result<bool> {
        let old = format!("{OUTBOX} AND (phase = 'sending' OR submitted_at < ?)");
        self.exists(&old, [before])
    }

    pub fn waiting_for_others(&self, account: &Account) -> Result<u64> {
        self.value(
            &format!("SELECT count(*) FROM {OUTBOX} AND account NOT IN (?1, ?2)"),
            params![account, account.at_any_host()],
        )
    }

    pub fn waits_for(&self, account: &str) -> Result<bool> {
        self.exists(&format!("{UNFINISHED} AND account = ?"), [account])
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

    /// Replays first, then what was never sent.
    pub fn outbox(&self) -> Result<Vec<RowId>> {
        let sql = format!("SELECT id FROM {OUTBOX} ORDER BY phase = 'unsent', id");
        self.values(&sql, [])
    }

    /// How many videos HeyGen has in work for us, unanswered submissions included.
    pub fn active_count(&self) -> Result<u64> {
        let active = "phase IN ('accepted', 'sending') AND outcome IS NULL";
        self.value(
            &format!("SELECT count(*) FROM {UNFINISHED} AND {active}"),
            [],
        )
    }

    pub fn has_unfinished(&self) -> Result<bool> {
        self.exists(UNFINISHED, [])
    }

    pub fn oldest_unfinished(&self, limit: u32) -> Result<Vec<Video>> {
        self.videos(&format!("{UNFINISHED} ORDER BY id LIMIT ?"), [limit])
    }

    pub fn has_outbox(&self) -> Result<bool> {
        self.exists(OUTBOX, [])
    }

    pub fn has_unanswered(&self) -> Result<bool> {
        let unanswered = format!("{OUTBOX} AND phase = 'sending' AND attempts > 0");
        self.exists(&unanswered, [])
    }

    /// The newest rows but one with an equal body, `most` at most.
    pub fn duplicates(
        &self,
        body_hash: &str,
        except: Option<RowId>,
        most: u32,
    ) -> Result<Vec<Video>> {
        self.videos(
            "videos INDEXED BY videos_by_body WHERE body_hash = ?1 AND id IS NOT ?2
             ORDER BY id DESC LIMIT ?3",
            params![body_hash, except, most],
        )
    }

    /// The newest row but one with an equal body that is unfinished, or submitted since and completed or never answered.
    pub fn recent_duplicate(
        &self,
        body_hash: &str,
        since: Timestamp,
        except: Option<RowId>,
    ) -> Result<Option<RowId>> {
        self.value_if_any(
            "SELECT id FROM videos INDEXED BY videos_by_body
             WHERE body_hash = ?1 AND id IS NOT ?3 AND (finished = 0 OR (submitted_at >= ?2
                AND (status IN ('completed', 'unknown') OR (first_unanswered_at IS NOT NULL AND video_id IS NULL))))
             ORDER BY id DESC LIMIT 1",
            params![body_hash, since, except],
        )
    }

    /// The row whose retry this is, if it is still there.
    pub fn retried_by(&self, retry: RowId) -> Result<Option<RowId>> {
        self.value_if_any(
            "SELECT original.id FROM videos AS retry JOIN videos AS original ON original.id = retry.retry_of
             WHERE retry.id = ?",
            [retry],
        )
    }

    pub fn retries(&self, original: RowId) -> Result<Vec<(RowId, Option<String>)>> {
        self.all(
            "SELECT id, body_hash FROM videos INDEXED BY videos_retried
             WHERE retry_of = ? ORDER BY id",
            [original],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    /// Every failed or rejected row that nobody has submitted again, oldest first. Not those of which an earlier POST
    /// was never answered: like `unknown`, they may have been made, and a person has to look.
    pub fn retryable(&self) -> Result<Vec<RowId>> {
        // HeyGen's words may be any; only the many that are completed are not looked at.
        let mut words = self.status_words()?;
        words.retain(|word| !RemoteStatus::new(word).is_completed());
        self.values(
            "SELECT id FROM videos AS original INDEXED BY videos_by_status
             WHERE status IN (SELECT value FROM json_each(?))
             AND (phase = 'rejected' OR (phase = 'accepted' AND outcome = 'failed'))
             AND request IS NOT NULL AND first_unanswered_at IS NULL
             AND NOT EXISTS (SELECT 1 FROM videos INDEXED BY videos_retried
                             WHERE retry_of = original.id) ORDER BY id",
            [serde_json::Value::from(words).to_string()],
        )
    }

    pub fn paused_until(&self, account: &Account) -> Result<Option<Timestamp>> {
        self.value_if_any("SELECT until FROM pauses WHERE account = ?", [account])
    }

    /// Holds an account's POSTs back (`Retry-After`). A longer pause stands, unless it is longer than any can be: then
    /// it is from a clock that ran ahead.
    pub fn pause(&self, account: &Account, until: Timestamp) -> Result<()> {
        self.run(
            "INSERT INTO pauses (account, until) VALUES (?1, ?2)
             ON CONFLICT (account) DO UPDATE SET until = CASE WHEN until - excluded.until > ?3
                THEN excluded.until ELSE max(until, excluded.until) END",
            params![account, until, LONGEST_WAIT.as_millis() as i64],
        )
    }

    pub fn forget(&self, id: RowId) -> Result<bool> {
        self.changed("DELETE FROM videos WHERE id = ?", [id])
    }

    pub(super) fn videos(&self, from: &str, params: impl Params) -> Result<Vec<Video>> {
        let sql = format!("SELECT {VIDEO_COLUMNS} FROM {from}");
        let (rows, ..) = self.readable(&sql, params, row::video)?;
        let mut videos = Vec::with_capacity(rows.len());
        for mut video in rows {
            if let Some(candidates) = &mut video.candidates {
                self.retain_untracked(candidates)?;
            }
            if let Some(files) = self.files(video.id)? {
                video.files = files;
                videos.push(video);
            }
        }
        Ok(videos)
    }
}

#[cfg(test)]
mod tests {
    use crate::store::Store;

    use super::*;

    #[test]
    fn a_video_with_the_id_of_a_session_is_not_the_sessions_row() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(&dir.path().join("t.db")).unwrap();
        let [video, session] = ["feed1234", "beef5678"].map(|id| VideoId::new(id).unwrap());
        let of_video = Video {
            video_id: Some(video.clone()),
            ..Video::default()
        };
        let of_session = Video {
            kind: Kind::Agent,
            session_id: Some(session.clone()),
            ..Video::default()
        };
        let [first, second] = [of_video, of_session].map(|video| {
            let new = NewVideo {
                video,
                ..NewVideo::default()
            };
            store
                .write(|tx| tx.insert(&new, Timestamp::default()))
                .unwrap()
        });
        let row = |kind, id: &VideoId| {
            let job = Job {
                kind,
                id: id.clone(),
            };
            store.read(|tx| tx.by_job(&job)).unwrap()
        };
        assert_eq!(row(Kind::Agent, &video), None);
        assert_eq!(row(Kind::Agent, &session), Some(second));
        assert_eq!(row(Kind::Video, &video), Some(first));
    }
}
