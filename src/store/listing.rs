//! The history: filtered pages, newest first.

use std::path::PathBuf;

use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};

use super::{Store, Tx};
use crate::error::Result;
use crate::kind::Kind;
use crate::time::Timestamp;
use crate::video::{RowId, Video, VideoId};

/// Which rows `list` shows. Every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub statuses: Vec<String>,
    pub unfinished: bool,
    /// Only rows that ended badly and were not submitted again.
    pub failed: bool,
    pub kinds: Vec<Kind>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub tags: Vec<String>,
    /// Part of the title, the script, the failure message or the line of the user's table; ASCII case is ignored.
    pub search: Option<String>,
}

/// Rows per page: memory stays flat however long the history is, and no transaction outlives a page.
const PAGE: u32 = 500;

impl Store {
    /// Hands out the rows that match, newest first, at most `limit` of them (0: all), until `page` wants no more. The
    /// last of them where there may be further ones.
    pub fn pages(
        &self,
        filter: &Filter,
        limit: u32,
        mut page: impl FnMut(&[Video]) -> Result<bool>,
    ) -> Result<Option<RowId>> {
        let mut left = if limit == 0 { u64::MAX } else { limit.into() };
        let mut below = None;
        while left > 0 {
            let size = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
            let videos = self.read(|tx| tx.list(filter, below, size))?;
            let Some(last) = videos.last() else {
                return Ok(None);
            };
            below = Some(last.id);
            left -= videos.len() as u64;
            if !page(&videos)? {
                break;
            }
        }
        Ok(below)
    }
}

impl Filter {
    /// What follows FROM (with AND more can be added), and the values it binds. The index is named here and in every
    /// other query that needs one: after an `ANALYZE`, which anybody can run, the planner would choose by the
    /// statistics of that day.
    pub(super) fn sql(&self) -> (String, Vec<Value>) {
        let mut sql = if self.unfinished {
            "videos INDEXED BY videos_unfinished WHERE finished = 0".to_owned()
        } else if self.statuses.is_empty() {
            "videos NOT INDEXED WHERE 1".to_owned()
        } else {
            "videos INDEXED BY videos_by_status WHERE 1".to_owned()
        };
        let mut values: Vec<Value> = Vec::new();
        let mut and = |condition: &str, bound: Vec<Value>| {
            sql = format!("{sql} AND {condition}");
            values.extend(bound);
        };
        let kinds = self.kinds.iter().map(|kind| kind.word().to_owned());
        for (column, words) in [("status", self.statuses.clone()), ("kind", kinds.collect())] {
            let marks = vec!["?"; words.len()].join(", ");
            if !marks.is_empty() {
                let words = words.into_iter().map(Value::Text);
                and(&format!("{column} IN ({marks})"), words.collect());
            }
        }
        if self.failed {
            and(FAILED, Vec::new());
        }
        if let Some(since) = self.since {
            and("submitted_at >= ?", vec![since.millis().into()]);
        }
        if let Some(until) = self.until {
            and("submitted_at < ?", vec![until.millis().into()]);
        }
        for tag in &self.tags {
            let has = "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)";
            and(has, vec![tag.clone().into()]);
        }
        if let Some(text) = &self.search {
            // Not LIKE, which refuses long patterns; lower() leaves all but ASCII alone, as LIKE does.
            let columns = ["title", "script", "failure_message", "data"];
            let any = columns.map(|column| format!("instr(lower({column}), ?)"));
            let text = Value::Text(text.to_ascii_lowercase());
            and(
                &format!("({})", any.join(" OR ")),
                vec![text; columns.len()],
            );
        }
        (sql, values)
    }
}

const FAILED: &str = "(phase IN ('rejected', 'unknown', 'missing')
        OR (phase = 'accepted' AND outcome = 'failed'))
    AND NOT EXISTS (SELECT 1 FROM videos AS retry INDEXED BY videos_retried
                    WHERE retry.retry_of = videos.id)";

impl Tx<'_> {
    /// A page of the history below local number `below` (`None`: from the newest), with files.
    pub fn list(&self, filter: &Filter, below: Option<RowId>, limit: u32) -> Result<Vec<Video>> {
        // For each status its newest rows, in the order of the index: rare or frequent, no more is read than is shown.
        let one_each: Vec<&[String]> = match filter.statuses.as_slice() {
            [] => vec![&[]],
            statuses => statuses.chunks(1).collect(),
        };
        let below = below.map_or(i64::MAX, |id| id.0);
        let mut videos = Vec::new();
        for statuses in one_each {
            let mut filter = filter.clone();
            filter.statuses = statuses.to_vec();
            let (from, mut values) = filter.sql();
            values.extend([below.into(), limit.into()]);
            let from = format!("{from} AND id < ? ORDER BY id DESC LIMIT ?");
            videos.extend(self.videos(&from, params_from_iter(values))?);
        }
        videos.sort_by_key(|video| std::cmp::Reverse(video.id));
        videos.dedup_by_key(|video| video.id);
        videos.truncate(limit as usize);
        Ok(videos)
    }

    /// Where the files of the rows of a filter go, at most `most` different directories, in order.
    pub fn output_dirs(&self, filter: &Filter, most: u32) -> Result<Vec<PathBuf>> {
        let (from, mut values) = filter.sql();
        values.push(most.into());
        let sql = format!("SELECT DISTINCT output_dir FROM {from} ORDER BY output_dir LIMIT ?");
        let dirs: Vec<String> = self.values(&sql, params_from_iter(values))?;
        Ok(dirs.into_iter().map(PathBuf::from).collect())
    }

    /// Every status word there is, found by one look at the index for each.
    pub fn status_words(&self) -> Result<Vec<String>> {
        self.values(
            "WITH RECURSIVE words (word) AS (
                SELECT min(status) FROM videos
                UNION ALL
                SELECT (SELECT min(status) FROM videos WHERE status > word)
                FROM words WHERE word IS NOT NULL)
             SELECT word FROM words WHERE word IS NOT NULL",
            [],
        )
    }

    /// How many rows a filter matches below local number `below`, counted up to `most`: where matches are frequent the
    /// cost does not grow with the history.
    pub fn count_below(&self, filter: &Filter, below: RowId, most: u32) -> Result<u64> {
        let (from, mut values) = filter.sql();
        values.extend([below.0.into(), most.into()]);
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {from} AND id < ? LIMIT ?)");
        self.value(&sql, params_from_iter(values))
    }

    pub fn count(&self, filter: &Filter) -> Result<u64> {
        let (from, values) = filter.sql();
        let sql = format!("SELECT count(*) FROM {from}");
        self.value(&sql, params_from_iter(values))
    }

    /// The row that an ID stands for as people type it: a local number or a HeyGen id. Digits only are a local number
    /// first; a HeyGen id made of digits is found when no such row exists.
    pub fn named(&self, text: &str) -> Result<Option<RowId>> {
        if text.bytes().all(|b| b.is_ascii_digit())
            && let Ok(number) = text.parse::<i64>()
            && self.exists("videos WHERE id = ?", [number])?
        {
            return Ok(Some(RowId(number)));
        }
        VideoId::new(text).map_or(Ok(None), |id| self.by_video_id(&id))
    }

    /// A page of finished rows that were submitted before `cutoff`, by local number.
    pub fn finished_before(
        &self,
        cutoff: Timestamp,
        after: RowId,
        limit: u32,
    ) -> Result<Vec<RowId>> {
        self.values(
            "SELECT id FROM videos NOT INDEXED WHERE finished = 1 AND submitted_at < ?
             AND id > ? ORDER BY id LIMIT ?",
            params![cutoff, after, limit],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{QUERIES, Store};
    use crate::video::Account;

    /// Everything that list, check and the outbox ask, over a history of one frequent and one rare status.
    fn ask_everything(store: &Store) {
        let filter = |statuses: &[&str], unfinished| Filter {
            statuses: statuses.iter().map(|&word| word.to_owned()).collect(),
            unfinished,
            ..Filter::default()
        };
        store
            .read(|tx| {
                for filter in [
                    Filter::default(),
                    filter(&["failed"], false),
                    filter(&["completed", "failed"], false),
                    filter(&[], true),
                    filter(&["waiting"], true),
                    Filter {
                        failed: true,
                        ..Filter::default()
                    },
                ] {
                    tx.list(&filter, None, 25)?;
                    tx.list(&filter, Some(RowId(100)), 25)?;
                    tx.count_below(&filter, RowId(100), 1000)?;
                    tx.count(&filter)?;
                    tx.output_dirs(&filter, 3)?;
                }
                tx.status_words()?;
                tx.named("abcd")?;
                tx.by_prefix("abcd", 6)?;
                tx.finished_before(Timestamp::from_secs(1), RowId(0), 10)?;
                let account = Account::new("https://x#1".to_owned());
                tx.unfinished_after(RowId(0), Some(&account), 50)?;
                tx.outbox()?;
                tx.open_work()?;
                tx.active_count()?;
                tx.has_unfinished()?;
                tx.has_outbox()?;
                tx.has_unanswered()?;
                tx.oldest_unfinished(5)?;
                tx.duplicates("hash", None, 1)?;
                tx.recent_duplicate("hash", Timestamp::from_secs(1), None)?;
                tx.retries(RowId(1))?;
                tx.retryable()?;
                tx.usual_render_times(200)?;
                let at = Timestamp::from_secs(1);
                tx.rendering_since_before(at, at, at)?;
                tx.missing_since(at, 9)?;
                tx.expirable(at, at)?;
                tx.has_old_keys(at)?;
                tx.waits_for("https://x#1")?;
                tx.by_request_key("k")?;
                tx.publishing_rows()?;
                tx.waiting_since()?;
                tx.last_sign()?;
                tx.pending_webhooks(9)?;
                tx.due_hooks(9).map(drop)
            })
            .unwrap();
    }

    fn plans(store: &Store) -> Vec<(String, Vec<String>)> {
        QUERIES.with_borrow_mut(Vec::clear);
        ask_everything(store);
        let queries = QUERIES.with_borrow(Clone::clone);
        let plan = |sql: &String| -> Vec<String> {
            let explain = format!("EXPLAIN QUERY PLAN {sql}");
            let mut statement = store.conn.prepare(&explain).unwrap();
            let nulls = vec![Value::Null; statement.parameter_count()];
            let rows = statement.query_map(params_from_iter(nulls), |row| row.get(3));
            rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
        };
        queries.iter().map(|sql| (sql.clone(), plan(sql))).collect()
    }

    #[test]
    fn what_anybody_analyzed_changes_no_plan() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let store = Store::create(&path).unwrap();
        store
            .conn
            .execute_batch(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
                 INSERT INTO videos (phase, remote_status, outcome, finished, video_id, submitted_at, output_dir, body_hash)
                 SELECT 'accepted', iif(n % 300, 'completed', 'failed'), iif(n % 300, 'completed', 'failed'), 1,
                        printf('%032x', n), n, '/out', 'same' FROM n;
                 INSERT INTO events (video, at, kind) SELECT id, 1, 'recorded' FROM videos;
                 INSERT INTO files (video, asset) SELECT id, 'video' FROM videos;
                 UPDATE videos SET finished = 1;",
            )
            .unwrap();
        let before = plans(&store);
        assert!(before.len() > 40, "{}", before.len());
        let is_retryable = |(sql, _): &&(String, _)| sql.contains("AS original");
        let (_, retryable) = before.iter().find(is_retryable).unwrap();
        let by_status = "SEARCH original USING INDEX videos_by_status (status=?)";
        assert!(retryable.contains(&by_status.to_owned()), "{retryable:?}");
        store.conn.execute_batch("ANALYZE").unwrap();
        drop(store);
        let after = plans(&Store::open(&path).unwrap());
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after);
        }
        assert_eq!(before.len(), after.len());
    }
}
