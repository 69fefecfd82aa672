use std::path::{Path, PathBuf};

use rusqlite::params;

use super::Tx;
use super::row::{self, FILE_COLUMNS};
use crate::error::Result;
use crate::video::{File, RowId};

impl Tx<'_> {
    /// The files of one video, in the order of [`Asset`](crate::video::Asset); `None` when one of them cannot be read,
    /// which damages the row.
    pub(super) fn files(&self, video: RowId) -> Result<Option<Vec<File>>> {
        let sql = format!("SELECT {FILE_COLUMNS} FROM files WHERE video = ?1");
        match self.all(&sql, [video], row::file) {
            Ok(mut files) => {
                files.sort_by_key(|file| file.asset);
                Ok(Some(files))
            }
            Err(problem) if problem.one_row => {
                self.set_damaged(video, "the record of one of its files");
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }

    /// Where the disk of a row's files was mounted when the first was fetched; `None` before that.
    pub fn output_device(&self, video: RowId) -> Result<Option<PathBuf>> {
        let found: Option<Option<String>> =
            self.value_if_any("SELECT output_device FROM videos WHERE id = ?1", [video])?;
        Ok(found.flatten().map(PathBuf::from))
    }

    pub fn set_output_device(&self, video: RowId, point: Option<&Path>) -> Result<()> {
        self.run(
            "UPDATE videos SET output_device = ?2 WHERE id = ?1",
            params![video, point.map(|point| point.to_string_lossy())],
        )
    }

    pub fn is_path_of_another(&self, video: RowId, path: &Path) -> Result<bool> {
        self.exists(
            "files INDEXED BY files_by_path WHERE path = ?2 AND video <> ?1 AND state IN ('publishing', 'saved')",
            params![video, path.to_string_lossy()],
        )
    }

    /// The videos with a file between `publishing` and `saved`: what a crash may have left.
    pub fn publishing_rows(&self) -> Result<Vec<RowId>> {
        self.values(
            "SELECT DISTINCT video FROM files INDEXED BY files_publishing
             WHERE state = 'publishing' ORDER BY video",
            [],
        )
    }
}
