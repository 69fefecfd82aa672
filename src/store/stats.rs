//! The history in numbers, for `list --stats`.

use rusqlite::{Params, params, params_from_iter};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Tx;
use super::listing::Filter;
use super::row::noun;
use crate::error::Result;
use crate::time::Timestamp;
use crate::video::RowId;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    pub videos: u64,
    pub unfinished: u64,
    /// How many rows have which status word; most frequent first.
    #[serde(serialize_with = "in_order")]
    pub by_status: Vec<(String, u64)>,
    #[serde(rename = "render_seconds")]
    pub rendering: RenderTimes,
    /// By calendar month of `submitted_at`, local time; newest first.
    pub months: Vec<Group>,
    /// By tag, the most used first; a row counts for each of its tags.
    pub tags: Vec<Group>,
    pub kinds: Vec<Group>,
    pub files: u64,
    pub bytes: u64,
}

/// Of completed videos; see [`Video::render_time`](crate::video::Video::render_time).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RenderTimes {
    pub count: u64,
    #[serde(serialize_with = "seconds")]
    pub p50: Option<u64>,
    #[serde(serialize_with = "seconds")]
    pub p90: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    pub by: &'static str,
    pub name: String,
    pub submitted: u64,
    pub completed: u64,
    pub failed: u64,
    pub minutes_submitted: f64,
    pub minutes_delivered: f64,
}

impl Group {
    pub fn success_rate(&self) -> Option<f64> {
        let ended = self.completed + self.failed;
        (ended > 0).then(|| self.completed as f64 / ended as f64)
    }
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.by, &self.name)?;
        map.serialize_entry("submitted", &self.submitted)?;
        map.serialize_entry("completed", &self.completed)?;
        map.serialize_entry("failed", &self.failed)?;
        map.serialize_entry("success_rate", &self.success_rate())?;
        map.serialize_entry("minutes_submitted", &self.minutes_submitted)?;
        map.serialize_entry("minutes_delivered", &self.minutes_delivered)?;
        map.end()
    }
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
    /// The numbers of the rows that match. Costs one pass over the matching rows for each of the seven questions.
    pub fn stats(&self, filter: &Filter) -> Result<Stats> {
        let (from, values) = filter.sql();
        let bound = || params_from_iter(&values);
        let by_status: Vec<(String, u64)> = self.all(
            &format!(
                "SELECT status, count(*) AS n FROM {from} GROUP BY status ORDER BY n DESC, status"
            ),
            bound(),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let (files, bytes) = self.one(
            &format!(
                "SELECT count(*), coalesce(sum(bytes), 0) FROM files
                 WHERE state = 'saved' AND video IN (SELECT id FROM {from})"
            ),
            bound(),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let unfinished = Filter {
            unfinished: true,
            ..filter.clone()
        };
        let completed = format!("FROM {from} AND status = 'completed'");
        Ok(Stats {
            videos: by_status.iter().map(|(_, count)| count).sum(),
            by_status,
            unfinished: self.count(&unfinished)?,
            rendering: self.percentiles(&completed, bound())?,
            months: self.groups(filter, "month")?,
            tags: self.groups(filter, "tag")?,
            kinds: self.groups(filter, "kind")?,
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

    /// Percentiles by nearest rank: always a time that some video really took.
    fn percentiles(&self, of: &str, params: impl Params) -> Result<RenderTimes> {
        let sql = format!(
            "WITH times AS (
                SELECT coalesce(completed_at - created_at, ended_at - accepted_at) AS ms {of}
             ), ranked AS (
                SELECT ms, row_number() OVER (ORDER BY ms) AS rank, count(*) OVER () AS n
                FROM times WHERE ms >= 0
             )
             SELECT coalesce(max(n), 0) AS count, max(iif(rank = (n * 50 + 99) / 100, ms, NULL)) AS p50,
                    max(iif(rank = (n * 90 + 99) / 100, ms, NULL)) AS p90
             FROM ranked"
        );
        self.one(&sql, params, noun!(RenderTimes: count, p50, p90))
    }

    fn groups(&self, filter: &Filter, by: &'static str) -> Result<Vec<Group>> {
        let (rows, values) = filter.sql();
        let (name, from, order) = match by {
            "month" => (
                "strftime('%Y-%m', submitted_at / 1000, 'unixepoch', 'localtime')",
                "chosen",
                "name DESC",
            ),
            "tag" => (
                "json_each.value",
                "chosen, json_each(chosen.tags)",
                "submitted DESC, name",
            ),
            _ => ("kind", "chosen", "submitted DESC, name"),
        };
        let sql = format!(
            "WITH chosen AS (SELECT submitted_at, tags, kind, duration, status = 'completed' AS good,
                    phase IN ('rejected', 'unknown', 'missing') OR outcome IS 'failed' AS bad
                FROM {rows})
             SELECT coalesce(CAST({name} AS TEXT), '') AS name, count(*) AS submitted, sum(good), sum(bad),
                    total(duration) / 60.0, total(duration) FILTER (WHERE good) / 60.0
             FROM {from} GROUP BY name ORDER BY {order}"
        );
        self.all(&sql, params_from_iter(values), |row| {
            Ok(Group {
                by,
                name: row.get(0)?,
                submitted: row.get(1)?,
                completed: row.get(2)?,
                failed: row.get(3)?,
                minutes_submitted: row.get(4)?,
                minutes_delivered: row.get(5)?,
            })
        })
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
        let video = Video {
            video_id: VideoId::new(id),
            tags: vec!["t".to_owned()],
            submitted_at: at,
            output_dir: "/out".into(),
            files: vec![File::wanted(Asset::Video)],
            ..Video::default()
        };
        let new = NewVideo {
            video,
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
            video.duration = Some(30.0);
            video.tags.push("u".to_owned());
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
        let row = |group: &Group| {
            let Group {
                submitted,
                completed,
                failed,
                ..
            } = *group;
            let minutes = (group.minutes_submitted, group.minutes_delivered);
            (group.name.clone(), [submitted, completed, failed], minutes)
        };
        let months: Vec<_> = stats.months.iter().map(row).collect();
        let expected = [
            ("2025-02".to_owned(), [3, 0, 2], (0.5, 0.0)),
            ("2025-01".to_owned(), [10, 10, 0], (5.0, 5.0)),
        ];
        assert_eq!(months, expected);
        assert_eq!(stats.months[0].success_rate(), Some(0.0));
        let all = |name: &str| (name.to_owned(), [13, 10, 2], (5.5, 5.0));
        assert_eq!(row(&stats.tags[0]), all("t"));
        assert_eq!(row(&stats.tags[1]), ("u".to_owned(), [1, 0, 1], (0.5, 0.0)));
        assert_eq!(stats.tags[0].success_rate(), Some(10.0 / 12.0));
        assert_eq!(
            stats.kinds.iter().map(row).collect::<Vec<_>>(),
            [all("video")]
        );
        assert_eq!((stats.files, stats.bytes), (10, 5000));

        let none = Filter {
            tags: vec!["other".to_owned()],
            ..Filter::default()
        };
        let stats = store.read(|tx| tx.stats(&none)).unwrap();
        assert_eq!(stats, Stats::default());
    }
}
