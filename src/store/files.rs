//! Statements on `files`.

use rusqlite::params;

use super::Tx;
use super::row::{self, FILE_COLUMNS};
use crate::error::Problem;
use crate::time::Timestamp;
use crate::video::{Asset, File, Part, RowId};

impl Tx<'_> {
    /// The files of one video, in [`Asset`] order.
    pub fn files(&self, video: RowId) -> Result<Vec<File>, Problem> {
        let mut files: Vec<File> = self.all(
            &format!("SELECT {FILE_COLUMNS} FROM files WHERE video = ?1"),
            [video],
            row::file,
        )?;
        files.sort_by_key(|file| file.asset);
        Ok(files)
    }

    /// Makes an asset wanted that was never wanted before; `false` when it was.
    pub fn want(&self, video: RowId, asset: Asset) -> Result<bool, Problem> {
        self.changed(
            "INSERT INTO files (video, asset) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![video, asset],
        )
    }

    /// Makes an asset wanted afresh, whatever became of it before.
    pub fn want_again(&self, video: RowId, asset: Asset) -> Result<(), Problem> {
        self.run("INSERT INTO files (video, asset) VALUES (?1, ?2)
                 ON CONFLICT (video, asset) DO UPDATE SET state = 'wanted', path = NULL, part_name = NULL,
                    part_bytes = NULL, part_sha256 = NULL, etag = NULL, total = NULL, bytes = NULL,
                    sha256 = NULL, saved_at = NULL, attempts = 0", params![video, asset])
    }

    /// Records what is durable under a part name, or that nothing is.
    pub fn part(&self, video: RowId, asset: Asset, part: Option<&Part>) -> Result<(), Problem> {
        self.run("UPDATE files SET state = iif(?3 IS NULL, 'wanted', 'partial'), part_name = ?3, part_bytes = ?4,
                    part_sha256 = ?5, etag = ?6, total = ?7, path = NULL, bytes = NULL, sha256 = NULL
                 WHERE video = ?1 AND asset = ?2 AND state IN ('wanted', 'partial', 'publishing')", params![
                video,
                asset,
                part.map(|p| &p.name),
                part.map(|p| p.bytes),
                part.map(|p| &p.sha256),
                part.and_then(|p| p.etag.as_ref()),
                part.and_then(|p| p.total),
            ])
    }

    /// Records a complete, fsynced part that is about to get its final name.
    pub fn publishing(
        &self,
        video: RowId,
        asset: Asset,
        part_name: &str,
        path: &str,
        bytes: u64,
        sha256: &str,
    ) -> Result<(), Problem> {
        self.run("UPDATE files SET state = 'publishing', part_name = ?3, part_bytes = ?5, part_sha256 = ?6,
                    total = ?5, path = ?4, bytes = ?5, sha256 = ?6
                 WHERE video = ?1 AND asset = ?2 AND state IN ('wanted', 'partial', 'publishing')", params![video, asset, part_name, path, bytes, sha256])
    }

    /// Records that a file is durable under its final name.
    pub fn saved(&self, video: RowId, asset: Asset, now: Timestamp) -> Result<(), Problem> {
        self.run("UPDATE files SET state = 'saved', part_name = NULL, part_bytes = NULL, part_sha256 = NULL,
                    etag = NULL, total = NULL, saved_at = ?3, attempts = 0
                 WHERE video = ?1 AND asset = ?2 AND state = 'publishing'", params![video, asset, now])
    }

    /// Counts a failed try.
    pub fn file_failed(&self, video: RowId, asset: Asset) -> Result<(), Problem> {
        self.run(
            "UPDATE files SET attempts = attempts + 1 WHERE video = ?1 AND asset = ?2",
            params![video, asset],
        )
    }

    /// HeyGen has no such file: no longer wanted.
    pub fn unavailable(&self, video: RowId, asset: Asset) -> Result<(), Problem> {
        self.run(
            "UPDATE files SET state = 'unavailable' WHERE video = ?1 AND asset = ?2
                 AND state IN ('wanted', 'partial')",
            params![video, asset],
        )
    }

    /// A saved file is not what it was any more.
    pub fn gone(&self, video: RowId, asset: Asset) -> Result<(), Problem> {
        self.run(
            "UPDATE files SET state = 'gone' WHERE video = ?1 AND asset = ?2 AND state = 'saved'",
            params![video, asset],
        )
    }

    /// The videos with a file between `publishing` and `saved`: what a crash may have left.
    pub fn publishing_rows(&self) -> Result<Vec<RowId>, Problem> {
        self.all(
            "SELECT DISTINCT video FROM files WHERE state = 'publishing' ORDER BY video",
            [],
            |row| row.get(0),
        )
    }
}
