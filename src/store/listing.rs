//! The history: filtered pages, newest first.

use rusqlite::types::Value;
use rusqlite::{ToSql, params, params_from_iter};

use super::Tx;
use super::row::{self, VIDEO_COLUMNS};
use crate::error::Problem;
use crate::kind::Kind;
use crate::time::Timestamp;
use crate::video::{RowId, Video, VideoId};

/// Which rows `list` shows. Every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Any of these status words.
    pub statuses: Vec<String>,
    /// Only rows `check` still has work with.
    pub unfinished: bool,
    /// Only rows that ended badly and were not submitted again.
    pub failed: bool,
    /// Any of these kinds of job.
    pub kinds: Vec<Kind>,
    /// `submitted_at` not before.
    pub since: Option<Timestamp>,
    /// `submitted_at` before.
    pub until: Option<Timestamp>,
    /// All of these labels.
    pub tags: Vec<String>,
    /// Part of the title, the script or the failure message; ASCII case is ignored.
    pub search: Option<String>,
}

/// What an ID on the command line stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Exactly one row.
    One(RowId),
    /// Several rows share the prefix.
    Several(Vec<(RowId, VideoId)>),
    /// No row.
    None,
}

impl Filter {
    /// The condition for a WHERE clause and the values it binds, from `?1` on.
    pub(super) fn sql(&self) -> (String, Vec<Value>) {
        let mut conditions = Vec::new();
        let mut values: Vec<Value> = Vec::new();
        let mut bind = |value: Value| {
            values.push(value);
            format!("?{}", values.len())
        };
        if !self.statuses.is_empty() {
            let marks: Vec<String> = self
                .statuses
                .iter()
                .map(|status| bind(Value::Text(status.clone())))
                .collect();
            conditions.push(format!("status IN ({})", marks.join(", ")));
        }
        if self.unfinished {
            conditions.push("finished = 0".to_owned());
        }
        if !self.kinds.is_empty() {
            let kinds = self.kinds.iter();
            let marks: Vec<String> = kinds
                .map(|kind| bind(Value::Text(kind.word().to_owned())))
                .collect();
            conditions.push(format!("kind IN ({})", marks.join(", ")));
        }
        if self.failed {
            conditions.push(
                "(phase IN ('rejected', 'unknown', 'missing') OR (phase = 'accepted' AND outcome = 'failed')) \
                 AND NOT EXISTS (SELECT 1 FROM videos AS retry WHERE retry.retry_of = videos.id)"
                    .to_owned(),
            );
        }
        if let Some(since) = self.since {
            conditions.push(format!(
                "submitted_at >= {}",
                bind(Value::Integer(since.millis()))
            ));
        }
        if let Some(until) = self.until {
            conditions.push(format!(
                "submitted_at < {}",
                bind(Value::Integer(until.millis()))
            ));
        }
        for tag in &self.tags {
            conditions.push(format!(
                "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = {})",
                bind(Value::Text(tag.clone()))
            ));
        }
        if let Some(text) = &self.search {
            let pattern = bind(Value::Text(format!("%{}%", escape_like(text))));
            conditions.push(format!(
                "(title LIKE {pattern} ESCAPE '\\' OR script LIKE {pattern} ESCAPE '\\' \
                 OR failure_message LIKE {pattern} ESCAPE '\\' OR data LIKE {pattern} ESCAPE '\\')"
            ));
        }
        let clause = if conditions.is_empty() {
            "1".to_owned()
        } else {
            conditions.join(" AND ")
        };
        (clause, values)
    }
}

fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_")
}

impl Tx<'_> {
    /// A page of the history below local number `below` (`None`: from the newest), with files.
    pub fn list(
        &self,
        filter: &Filter,
        below: Option<RowId>,
        limit: u32,
    ) -> Result<Vec<Video>, Problem> {
        let (clause, values) = filter.sql();
        let n = values.len();
        let below = below.map_or(i64::MAX, |id| id.0);
        let bound = values
            .iter()
            .map(|v| v as &dyn ToSql)
            .chain([&below as &dyn ToSql, &limit as &dyn ToSql]);
        let mut videos = self.all(
            &format!(
                "SELECT {VIDEO_COLUMNS} FROM videos WHERE ({clause}) AND id < ?{} ORDER BY id DESC LIMIT ?{}",
                n + 1,
                n + 2
            ),
            params_from_iter(bound),
            row::video,
        )?;
        for video in &mut videos {
            video.files = self.files(video.id)?;
        }
        Ok(videos)
    }

    /// Where the files of the rows of a filter go, at most `most` different directories.
    pub fn output_dirs(&self, filter: &Filter, most: u32) -> Result<Vec<String>, Problem> {
        let (clause, mut values) = filter.sql();
        values.push(Value::Integer(most.into()));
        let sql = format!(
            "SELECT DISTINCT output_dir FROM videos WHERE {clause} LIMIT ?{}",
            values.len()
        );
        self.all(&sql, params_from_iter(values), |row| row.get(0))
    }

    /// Every status word there is, found by one look at the index for each.
    pub fn status_words(&self) -> Result<Vec<String>, Problem> {
        self.all(
            "WITH RECURSIVE words (word) AS (
                SELECT min(status) FROM videos
                UNION ALL
                SELECT (SELECT min(status) FROM videos WHERE status > word) FROM words WHERE word IS NOT NULL)
             SELECT word FROM words WHERE word IS NOT NULL",
            [],
            |row| row.get(0),
        )
    }

    /// How many rows a filter matches below local number `below`, counted up to `most`: where matches are frequent the
    /// cost does not grow with the history.
    pub fn count_below(&self, filter: &Filter, below: RowId, most: u32) -> Result<u64, Problem> {
        let (clause, mut values) = filter.sql();
        let n = values.len();
        values.extend([Value::Integer(below.0), Value::Integer(most.into())]);
        self.one(&format!(
                "SELECT count(*) FROM (SELECT 1 FROM videos WHERE ({clause}) AND id < ?{} ORDER BY id DESC LIMIT ?{})",
                n + 1,
                n + 2
            ), params_from_iter(values), |row| row.get(0))
    }

    /// How many rows a filter matches.
    pub fn count(&self, filter: &Filter) -> Result<u64, Problem> {
        let (clause, values) = filter.sql();
        self.one(
            &format!("SELECT count(*) FROM videos WHERE {clause}"),
            params_from_iter(values),
            |row| row.get(0),
        )
    }

    /// Resolves an ID as people type it: a local number, an exact HeyGen id, or a unique prefix of one.
    ///
    /// Digits only are a local number first; a HeyGen id made of digits is found when no such row exists.
    pub fn find(&self, text: &str, allow_prefix: bool) -> Result<Found, Problem> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let known = match text.parse() {
                Ok(number) => self.exists(RowId(number))?,
                Err(_) => false,
            };
            if known {
                return Ok(text.parse().map_or(Found::None, |n| Found::One(RowId(n))));
            }
        }
        if let Some(id) = VideoId::new(text)
            && let Some(row) = self.by_video_id(&id)?
        {
            return Ok(Found::One(row));
        }
        if !allow_prefix || text.chars().count() < 4 {
            return Ok(Found::None);
        }
        let matches = self.by_prefix(text, 6)?;
        Ok(match matches.as_slice() {
            [] => Found::None,
            [(row, _)] => Found::One(*row),
            _ => Found::Several(matches),
        })
    }

    /// A page of finished rows that were submitted before `cutoff`, by local number. Rows whose purchase is `unknown` are
    /// finished for `check` but may still bring a paid video; they count only with `unknown`.
    pub fn finished_before(
        &self,
        cutoff: Timestamp,
        unknown: bool,
        after: RowId,
        limit: u32,
    ) -> Result<Vec<RowId>, Problem> {
        self.all("SELECT id FROM videos
                 WHERE finished = 1 AND submitted_at < ?1 AND (?2 OR (phase <> 'unknown' AND NOT (phase = 'rejected' AND first_unanswered_at IS NOT NULL))) AND id > ?3
                 ORDER BY id LIMIT ?4", params![cutoff, unknown, after, limit], |row| row.get(0))
    }

    fn exists(&self, id: RowId) -> Result<bool, Problem> {
        self.one(
            "SELECT EXISTS (SELECT 1 FROM videos WHERE id = ?1)",
            [id],
            |row| row.get(0),
        )
    }
}
