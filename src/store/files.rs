//! Statements on `files`.

use std::path::{Path, PathBuf};

use rusqlite::params;

use super::Tx;
use super::row::{self, FILE_COLUMNS};
use crate::error::Result;
use crate::video::{File, RowId};

impl Tx<'_> {
    /// The files of one video, in [`Asset`] order; `None` when one of them cannot be read, which damages the row.
    pub(super) fn files(&self, video: RowId) -> Result<Option<Vec<File>>> {
        let sql = format!("SELECT {FILE_COLUMNS} FROM files WHERE video = ?1");
        match self.all(&sql, [video], row::file) {
            Ok(mut files) => {
                files.sort_by_key(|file| file.asset);
                Ok(Some(files))
            }
            Err(problem) if problem.one_row => {
                let mut damaged = self.damaged.borrow_mut();
                damaged.insert(video, "the record of one of its files".to_owned());
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }

    /// Writes a file as it is.
    pub fn put_file(&self, video: RowId, file: &File) -> Result<()> {
        let part = file.part.as_ref();
        self.run(
                "INSERT INTO files (video, asset, state, path, part_name, part_bytes, part_sha256, etag, total,
                    bytes, sha256, saved_at, attempts, first_failed_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
                 ON CONFLICT (video, asset) DO UPDATE SET state = excluded.state, path = excluded.path,
                    part_name = excluded.part_name, part_bytes = excluded.part_bytes,
                    part_sha256 = excluded.part_sha256, etag = excluded.etag, total = excluded.total,
                    bytes = excluded.bytes, sha256 = excluded.sha256, saved_at = excluded.saved_at,
                    attempts = excluded.attempts, first_failed_at = excluded.first_failed_at",
            params![
                video,
                file.asset,
                file.state,
                file.path.as_ref().map(|path| path.to_string_lossy()),
                part.map(|p| &p.name),
                part.map(|p| p.bytes),
                part.map(|p| &p.sha256),
                part.and_then(|p| p.etag.as_ref()),
                part.and_then(|p| p.total),
                file.bytes,
                file.sha256,
                file.saved_at,
                file.attempts,
                file.first_failed_at,
            ])
    }

    /// Where the disk of a row's files was mounted when the first was fetched; `None` before that.
    pub fn output_device(&self, video: RowId) -> Result<Option<PathBuf>> {
        let found: Option<Option<String>> = self.maybe(
            "SELECT output_device FROM videos WHERE id = ?1",
            [video],
            |row| row.get(0),
        )?;
        Ok(found.flatten().map(PathBuf::from))
    }

    /// Remembers it, or with `None` forgets it.
    pub fn set_output_device(&self, video: RowId, point: Option<&Path>) -> Result<()> {
        self.run(
            "UPDATE videos SET output_device = ?2 WHERE id = ?1",
            params![video, point.map(|point| point.to_string_lossy())],
        )
    }

    /// Whether another row has, or is about to have, its file there.
    pub fn is_path_of_another(&self, video: RowId, path: &Path) -> Result<bool> {
        self.one(
            "SELECT EXISTS (SELECT 1 FROM files WHERE path = ?2 AND video <> ?1 AND state IN ('publishing', 'saved'))",
            params![video, path.to_string_lossy()],
            |row| row.get(0),
        )
    }

    /// The videos with a file between `publishing` and `saved`: what a crash may have left.
    pub fn publishing_rows(&self) -> Result<Vec<RowId>> {
        self.all(
            "SELECT DISTINCT video FROM files INDEXED BY files_publishing WHERE state = 'publishing' ORDER BY video",
            [],
            |row| row.get(0),
        )
    }
}
