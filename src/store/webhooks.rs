//! Statements on `webhooks` and `webhook_counts`: deliveries that were accepted, until somebody acted on them.

use rusqlite::params;

use super::Tx;
use super::row::noun;
use crate::error::Result;
use crate::time::Timestamp;
use crate::video::{RowId, VideoId};

/// Rows one call removes at most: cheap even after a long pause, and more than one transaction takes.
const PRUNE: u32 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// New, about a video of ours: it is pending now.
    Accepted(RowId),
    Duplicate(RowId),
    UnknownVideo,
    OtherEvent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingWebhook {
    pub id: i64,
    pub video: RowId,
    /// Nothing HeyGen could say would change that row.
    pub settled: bool,
}

impl Tx<'_> {
    /// Counts a signed delivery, and keeps it if there is something to do about it. All its repetitions have one `key`.
    pub fn take_webhook(
        &self,
        key: &str,
        event_type: &str,
        video_id: Option<&VideoId>,
        now: Timestamp,
    ) -> Result<Taken> {
        let row = video_id.map(|id| self.by_video_id(id)).transpose()?;
        let (taken, word) = match row {
            None => (Taken::OtherEvent, "other_event"),
            Some(None) => (Taken::UnknownVideo, "unknown_video"),
            Some(Some(row)) => {
                let is_new = self.changed(
                    "INSERT INTO webhooks (key, video, event_type, received_at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (key) DO NOTHING",
                    params![key, row, event_type, now],
                )?;
                match is_new {
                    true => (Taken::Accepted(row), "accepted"),
                    false => (Taken::Duplicate(row), "duplicate"),
                }
            }
        };
        self.run(
            "INSERT INTO webhook_counts (outcome, count, last_at) VALUES (?1, 1, ?2)
                 ON CONFLICT (outcome) DO UPDATE SET count = count + 1, last_at = excluded.last_at",
            params![word, now],
        )?;
        Ok(taken)
    }

    pub fn prune_webhooks(&self, before: Timestamp) -> Result<()> {
        self.run(
            "DELETE FROM webhooks WHERE id IN
                    (SELECT id FROM webhooks WHERE done_at < ?1 ORDER BY done_at LIMIT ?2)",
            params![before, PRUNE],
        )
    }

    pub fn pending_webhooks(&self, limit: u32) -> Result<Vec<PendingWebhook>> {
        // A `missing` video is finished, and may be back.
        self.all(
            "SELECT webhooks.id AS id, video, finished = 1 AND phase <> 'missing' AS settled
                 FROM webhooks JOIN videos ON videos.id = video
                 WHERE done_at IS NULL ORDER BY webhooks.id LIMIT ?1",
            [limit],
            noun!(PendingWebhook: id, video, settled),
        )
    }

    pub fn webhook_done(&self, id: i64, now: Timestamp) -> Result<()> {
        self.run(
            "UPDATE webhooks SET done_at = ?2 WHERE id = ?1",
            params![id, now],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NewVideo, Store};
    use crate::video::Video;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn count(store: &Store, sql: &str) -> i64 {
        store.read(|tx| tx.value(sql, [])).unwrap()
    }

    #[test]
    fn a_delivery_is_pending_once_and_pruned_when_old() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(&dir.path().join("t.db")).unwrap();
        let video = Video {
            video_id: VideoId::new("v1"),
            submitted_at: at(1),
            output_dir: "/out".into(),
            ..Video::default()
        };
        let new = NewVideo {
            video,
            ..NewVideo::default()
        };
        let row = store.write(|tx| tx.insert(&new, at(1))).unwrap();
        let (known, unknown) = (VideoId::new("v1"), VideoId::new("v2"));
        for (key, video, taken) in [
            ("event:1", &known, Taken::Accepted(row)),
            ("event:1", &known, Taken::Duplicate(row)),
            ("event:2", &known, Taken::Accepted(row)),
            ("event:3", &unknown, Taken::UnknownVideo),
            ("event:3", &unknown, Taken::UnknownVideo),
            ("event:4", &None, Taken::OtherEvent),
        ] {
            let found = store.write(|tx| tx.take_webhook(key, "x", video.as_ref(), at(2)));
            assert_eq!(found.unwrap(), taken, "{key}");
        }
        assert_eq!(count(&store, "SELECT count(*) FROM webhooks"), 2);
        assert_eq!(count(&store, "SELECT sum(count) FROM webhook_counts"), 6);

        let pending = store.read(|tx| tx.pending_webhooks(9)).unwrap();
        assert_eq!(pending.len(), 2);
        assert!(pending.iter().all(|one| one.video == row && !one.settled));
        store
            .write(|tx| tx.webhook_done(pending[0].id, at(3)))
            .unwrap();
        assert_eq!(
            store.read(|tx| tx.pending_webhooks(9)).unwrap(),
            pending[1..]
        );
        // Old is what was done long ago; what is pending stays however old it is.
        for (before, left) in [(3, 2), (4, 1), (1000, 1)] {
            store.write(|tx| tx.prune_webhooks(at(before))).unwrap();
            assert_eq!(count(&store, "SELECT count(*) FROM webhooks"), left);
        }
        store.write(|tx| tx.forget(row)).unwrap();
        assert_eq!(count(&store, "SELECT count(*) FROM webhooks"), 0);
    }

    #[test]
    fn looking_for_pending_deliveries_and_old_ones_uses_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("t.db")).unwrap();
        for (sql, index) in [
            (
                "SELECT webhooks.id FROM webhooks JOIN videos ON videos.id = video WHERE done_at IS NULL ORDER BY webhooks.id LIMIT 9",
                "webhooks_pending",
            ),
            (
                "SELECT id FROM webhooks WHERE done_at < 5 ORDER BY done_at LIMIT 9",
                "webhooks_done",
            ),
        ] {
            let plan: Vec<String> = store
                .read(|tx| tx.all(&format!("EXPLAIN QUERY PLAN {sql}"), [], |row| row.get(3)))
                .unwrap();
            assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
        }
    }
}
