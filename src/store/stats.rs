//! The history in numbers, for `list --stats`.

use rusqlite::{Params, params, params_from_iter};
use serde::{Serialize, Serializer};

use super::Tx;
use super::listing::Filter;
use crate::error::Result;
use crate::time::Timestamp;
use crate::video::RowId;

/// What the rows of a filter add up to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// How many rows there are.
    pub videos: u64,
    /// How many rows `check` still has work with.
    pub unfinished: u64,
    /// How many rows have which status word; most frequent first.
    #[serde(serialize_with = "in_order")]
    pub by_status: Vec<(String, u64)>,
    /// How long rendering took.
    #[serde(rename = "render_seconds")]
    pub rendering: RenderTimes,
    /// By calendar month of `submitted_at`, local time; newest first.
    pub months: Vec<Month>,
    /// Files under their final names.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

/// Render times of completed videos: by HeyGen's clock where it told, else by ours, which is late by up to one round
/// of polling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RenderTimes {
    /// How many are known.
    pub count: u64,
    /// Half of them took at most this many milliseconds.
    #[serde(serialize_with = "seconds")]
    pub p50: Option<u64>,
    /// Nine of ten took at most this many milliseconds.
    #[serde(serialize_with = "seconds")]
    pub p90: Option<u64>,
}

/// One calendar month.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Month {
    /// `YYYY-MM`.
    pub month: String,
    /// Rows submitted in it.
    pub submitted: u64,
    /// Those of them that are completed.
    pub completed: u64,
    /// Those of them that ended badly: `failed`, `rejected`, `unknown` or `missing`.
    pub failed: u64,
    /// Length of the completed ones.
    pub minutes: f64,
}

fn in_order<S: Serializer>(counts: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|(word, count)| (word, count)))
}

fn seconds<S: Serializer>(millis: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    millis
        .map(|millis| millis as f64 / 1000.0)
        .serialize(serializer)
}

impl Tx<'_> {
    /// The numbers of the rows that match. Costs one pass over the matching rows for each of the five questions.
    pub fn stats(&self, filter: &Filter) -> Result<Stats> {
        let by_status = self.count_by_status(filter)?;
        let unfinished = self.count(&Filter {
            unfinished: true,
            ..filter.clone()
        })?;
        let (files, bytes) = self.saved_files(filter)?;
        let (source, clause, values) = filter.sql();
        let of = format!("FROM {source} WHERE status = 'completed' AND ({clause})");
        Ok(Stats {
            videos: by_status.iter().map(|(_, count)| count).sum(),
            by_status,
            unfinished,
            rendering: self.percentiles(&of, params_from_iter(values))?,
            months: self.months(filter)?,
            files,
            bytes,
        })
    }

    /// Render times of the latest completed videos, at most `most` of them: what is usual nowadays.
    pub fn usual_render_times(&self, most: u32) -> Result<RenderTimes> {
        self.percentiles(
            "FROM videos INDEXED BY videos_by_status WHERE status = 'completed'
             ORDER BY id DESC LIMIT ?",
            [most],
        )
    }

    /// Videos that have rendered since before `cutoff`, were seen rendering after `checked`, and were not yet said to
    /// have stalled.
    pub fn rendering_since_before(
        &self,
        cutoff: Timestamp,
        session_cutoff: Timestamp,
        checked: Timestamp,
    ) -> Result<Vec<RowId>> {
        self.values(
            "SELECT id FROM videos INDEXED BY videos_unfinished
             WHERE finished = 0 AND phase = 'accepted' AND outcome IS NULL AND stalled_at IS NULL
             AND iif(kind = 'agent', coalesce(moved_at, accepted_at) < ?3, accepted_at < ?1)
             AND last_checked_at >= ?2 ORDER BY id",
            params![cutoff, checked, session_cutoff],
        )
    }

    fn count_by_status(&self, filter: &Filter) -> Result<Vec<(String, u64)>> {
        let (source, clause, values) = filter.sql();
        let sql = format!(
            "SELECT status, count(*) AS n FROM {source} WHERE {clause}
             GROUP BY status ORDER BY n DESC, status"
        );
        self.all(&sql, params_from_iter(values), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    /// Percentiles by nearest rank: always a time that some video really took.
    fn percentiles(&self, of: &str, params: impl Params) -> Result<RenderTimes> {
        let sql = format!(
            "WITH times AS (
                SELECT coalesce(completed_at - created_at, ended_at - accepted_at) AS ms {of}
             ), ranked AS (
                SELECT ms, row_number() OVER (ORDER BY ms) AS rank, count(*) OVER () AS n
                FROM times WHERE ms >= 0
             )
             SELECT coalesce(max(n), 0), max(iif(rank = (n * 50 + 99) / 100, ms, NULL)),
                    max(iif(rank = (n * 90 + 99) / 100, ms, NULL))
             FROM ranked"
        );
        self.one(&sql, params, |row| {
            Ok(RenderTimes {
                count: row.get(0)?,
                p50: row.get(1)?,
                p90: row.get(2)?,
            })
        })
    }

    fn months(&self, filter: &Filter) -> Result<Vec<Month>> {
        let (source, clause, values) = filter.sql();
        let sql = format!(
            "SELECT strftime('%Y-%m', submitted_at / 1000, 'unixepoch', 'localtime') AS month, count(*),
                count(*) FILTER (WHERE status = 'completed'),
                count(*) FILTER (
                    WHERE phase IN ('rejected', 'unknown', 'missing') OR outcome = 'failed'),
                coalesce(sum(duration) FILTER (WHERE status = 'completed'), 0.0) / 60.0
             FROM {source} WHERE {clause} GROUP BY month ORDER BY month DESC"
        );
        self.all(&sql, params_from_iter(values), |row| {
            Ok(Month {
                month: row.get(0)?,
                submitted: row.get(1)?,
                completed: row.get(2)?,
                failed: row.get(3)?,
                minutes: row.get(4)?,
            })
        })
    }

    fn saved_files(&self, filter: &Filter) -> Result<(u64, u64)> {
        let (source, clause, values) = filter.sql();
        self.one(
            &format!(
                "SELECT count(*), coalesce(sum(bytes), 0) FROM files
                 WHERE state = 'saved' AND video IN (SELECT id FROM {source} WHERE {clause})"
            ),
            params_from_iter(values),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NewVideo, Store};
    use crate::time::Timestamp;
    use crate::video::{Asset, File, FileState, Outcome, Phase, RemoteStatus, Video, VideoId};

    /// Noon UTC on the 15th of a month of 2025: the same month in every time zone.
    fn noon(month: i64) -> Timestamp {
        Timestamp::from_secs(1_736_942_400 + (month - 1) * 30 * 86_400)
    }

    fn add(store: &mut Store, id: &str, at: Timestamp, change: impl FnOnce(&mut Video)) {
        let new = NewVideo {
            video_id: VideoId::new(id),
            tags: vec!["t".to_owned()],
            submitted_at: at,
            output_dir: "/out".into(),
            assets: vec![Asset::Video],
            ..NewVideo::default()
        };
        store
            .write(|tx| {
                let id = tx.insert(&new, at)?;
                let mut video = tx.video(id)?.unwrap();
                change(&mut video);
                assert!(tx.update(&video)?);
                if video.is_completed() {
                    let saved = File {
                        state: FileState::Saved,
                        path: Some("/out/a.mp4".into()),
                        bytes: Some(500),
                        sha256: Some("0".repeat(64)),
                        saved_at: Some(at),
                        ..File::wanted(Asset::Video)
                    };
                    tx.put_file(id, &saved)?;
                }
                Ok(())
            })
            .unwrap();
    }

    fn completed(minutes: i64) -> impl Fn(&mut Video) {
        move |video| {
            video.remote_status = Some(RemoteStatus::new("completed"));
            video.outcome = Some(Outcome::Completed);
            video.created_at = Some(video.submitted_at);
            let end = video.submitted_at.millis() + minutes * 60_000;
            video.completed_at = Some(Timestamp::from_millis(end));
            video.duration = Some(30.0);
        }
    }

    #[test]
    fn an_empty_history_has_no_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("t.db")).unwrap();
        let stats = store.read(|tx| tx.stats(&Filter::default())).unwrap();
        assert_eq!(stats, Stats::default());
    }

    #[test]
    fn rows_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(&dir.path().join("t.db")).unwrap();
        for minutes in 1..=10 {
            let id = format!("done-{minutes}");
            add(&mut store, &id, noon(1), completed(minutes));
        }
        add(&mut store, "failed", noon(2), |video| {
            video.remote_status = Some(RemoteStatus::new("failed"));
            video.outcome = Some(Outcome::Failed);
        });
        add(&mut store, "missing", noon(2), |video| {
            video.phase = Phase::Missing;
        });
        add(&mut store, "rendering", noon(2), |_| {});

        let stats = store.read(|tx| tx.stats(&Filter::default())).unwrap();
        let counts: Vec<_> = stats
            .by_status
            .iter()
            .map(|(status, n)| (status.as_str(), *n))
            .collect();
        let expected = [
            ("completed", 10),
            ("failed", 1),
            ("missing", 1),
            ("waiting", 1),
        ];
        assert_eq!(counts, expected);
        assert_eq!(stats.unfinished, 1);
        assert_eq!(stats.rendering.count, 10);
        assert_eq!(stats.rendering.p50, Some(5 * 60_000));
        assert_eq!(stats.rendering.p90, Some(9 * 60_000));
        let months: Vec<_> = stats
            .months
            .iter()
            .map(|m| {
                (
                    m.month.as_str(),
                    m.submitted,
                    m.completed,
                    m.failed,
                    m.minutes,
                )
            })
            .collect();
        let expected = [("2025-02", 3, 0, 2, 0.0), ("2025-01", 10, 10, 0, 5.0)];
        assert_eq!(months, expected);
        assert_eq!((stats.files, stats.bytes), (10, 5000));

        let none = Filter {
            tags: vec!["other".to_owned()],
            ..Filter::default()
        };
        let stats = store.read(|tx| tx.stats(&none)).unwrap();
        assert_eq!(stats, Stats::default());
    }
}
