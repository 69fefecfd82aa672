//! Saving, the main thread's side: which rows get a job, and what the job's facts mean for the row.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::Sender;

use super::report::Said;
use super::save_job::SaveJob;
use super::troubles::Kind;
use super::{Run, Tx};
use crate::decide::{self, Failure};
use crate::download::{self, DownloadError, FileClient, Finished, Recovered};
use crate::error::Error;
use crate::heygen::{ApiError, RemoteVideo};
use crate::locks::Purpose;
use crate::store::Store;
use crate::time::{self, Timestamp};
use crate::video::{
    Asset, EventKind, File, FileState, HookEvent, NewEvent, Operation, Part, RowId, Video,
};

/// The saving of one run.
#[derive(Default)]
pub(super) struct Saves {
    pub(super) client: Option<FileClient>,
    queue: VecDeque<RowId>,
    /// The disk was full in the last run: one row at a time, so that what room there is makes whole files.
    pub(super) alone: bool,
    /// Rows with a job under way: the kernel lock keeps other processes out, not ourselves.
    busy: HashSet<RowId>,
    /// Rows whose trouble is recorded. A row has one error: of several files in different trouble the first one stands
    /// for all, or each run would tell each of them as a change.
    troubled: HashSet<RowId>,
}

impl Saves {
    pub(super) fn queue(&mut self, row: RowId) {
        if !self.busy.contains(&row) && !self.queue.contains(&row) {
            self.queue.push_back(row);
        }
    }

    pub(super) fn done(&mut self, row: RowId) {
        self.busy.remove(&row);
    }
}

/// A part of a file that will never be complete.
pub(super) struct Litter {
    row: RowId,
    dir: PathBuf,
    part_name: String,
}

/// What a job says about a file.
pub(super) enum FileFact {
    /// What is durable under a part name, or that nothing is.
    Part {
        asset: Asset,
        part: Option<Part>,
        ack: Option<Sender<()>>,
    },
    /// Complete and durable; the rename waits for the commit.
    Publishing {
        asset: Asset,
        finished: Finished,
        ack: Sender<()>,
    },
    /// Under its final name.
    Saved { asset: Asset, finished: Finished },
    /// The old URL was refused; these are new.
    Refreshed(Box<RemoteVideo>),
    /// Not this time.
    Failed { asset: Asset, failure: FileFailure },
}

/// Why a file could not be saved.
pub(super) struct FileFailure {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) disk_is_full: bool,
    /// HeyGen refused the key when it was asked for fresh URLs.
    pub(super) key_refused: Option<ApiError>,
}

impl From<&DownloadError> for FileFailure {
    fn from(error: &DownloadError) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.to_string(),
            disk_is_full: error.is_full(),
            key_refused: None,
        }
    }
}

impl Run<'_, '_> {
    /// Finishes what a crash left between "complete" and "under its final name". Needs neither key nor network.
    ///
    /// With `only`, of these rows: whoever names rows and lets them replace files means no others.
    pub(super) fn repair(
        &mut self,
        store: &mut Store,
        only: Option<&[RowId]>,
    ) -> Result<(), Error> {
        let rows = store.read(|tx| tx.publishing_rows())?;
        for row in rows
            .into_iter()
            .filter(|row| only.is_none_or(|only| only.contains(row)))
        {
            let Some(guard) = self.lock_row(Purpose::Save, row)? else {
                continue;
            };
            if let Some(video) = store.read(|tx| tx.video(row))? {
                for file in &video.files {
                    if let Some(finished) = left_publishing(file) {
                        self.repair_file(store, &video, file.asset, finished)?;
                    }
                }
            }
            drop(guard);
        }
        Ok(())
    }

    fn repair_file(
        &mut self,
        store: &mut Store,
        video: &Video,
        asset: Asset,
        finished: Finished,
    ) -> Result<(), Error> {
        let now = time::now();
        let result = download::recover(&video.output_dir, &finished, self.options.replace);
        let row = video.id;
        store.write(|tx| match result {
            Ok(Recovered::Adopted | Recovered::Published) => {
                self.record_saved(tx, row, asset, finished, true, now)
            }
            Ok(Recovered::Lost) => {
                tx.part(row, asset, None)?;
                tx.append(
                    row,
                    &NewEvent::new(now, EventKind::Repaired)
                        .with("asset", asset.word())
                        .with("what", "the finished part is gone; it is fetched again"),
                )?;
                self.after.said.push(Said::Repaired {
                    video: Box::new(video.clone()),
                    what: "a finished download is gone and is fetched again",
                });
                Ok(())
            }
            Err(error) => self.record_failed(tx, row, asset, &FileFailure::from(&error), now),
        })?;
        self.committed();
        Ok(())
    }

    pub(super) fn dispatch_saves(&mut self, store: &Store) -> Result<(), Error> {
        if self.troubles.has(Kind::Disk) {
            // What is left has no room either; the next run begins with one row.
            self.saves.queue.clear();
        }
        while self.savers.free() > 0
            && (!self.saves.alone || self.saves.busy.is_empty())
            && let Some(row) = self.saves.queue.pop_front()
        {
            let Some(guard) = self.lock_row(Purpose::Save, row)? else {
                continue;
            };
            // Read under the lock: whoever held it before may have saved everything.
            let Some(video) = store.read(|tx| tx.video(row))? else {
                continue;
            };
            let assets = decide::plan_files(&video, time::now()).fetch;
            let Some((caller, _)) = self.caller()?.filter(|_| !assets.is_empty()) else {
                continue;
            };
            self.saves.busy.insert(row);
            let job = SaveJob {
                urls: video.urls.clone(),
                refreshed: false,
                video,
                caller,
                files: self.file_client(),
                outbox: self.outbox.clone(),
                options: self.options.clone(),
                progress: self.reporter.progress(),
            };
            self.savers
                .start(move || job.run(assets, guard))
                .map_err(|source| Error::system("start a thread", &source))?;
        }
        Ok(())
    }

    pub(super) fn file_fact(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        fact: FileFact,
        now: Timestamp,
    ) -> Result<(), Error> {
        match fact {
            FileFact::Part { asset, part, ack } => {
                tx.part(row, asset, part.as_ref())?;
                self.after.acks.extend(ack);
                Ok(())
            }
            FileFact::Publishing {
                asset,
                finished,
                ack,
            } => {
                tx.publishing(
                    row,
                    asset,
                    &finished.part_name,
                    &finished.path.to_string_lossy(),
                    finished.bytes,
                    &finished.sha256,
                )?;
                self.after.acks.push(ack);
                Ok(())
            }
            FileFact::Saved { asset, finished } => {
                self.record_saved(tx, row, asset, finished, false, now)
            }
            FileFact::Refreshed(remote) => {
                let Some(video) = tx.video(row)? else {
                    return Ok(());
                };
                let observation = decide::Observation::Detail(&remote);
                let decision = decide::observed(&video, observation, &self.account(), now);
                self.write(tx, decision, now)
            }
            FileFact::Failed { asset, failure } => {
                self.record_failed(tx, row, asset, &failure, now)
            }
        }
    }

    fn record_saved(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        asset: Asset,
        finished: Finished,
        repaired: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        tx.saved(row, asset, now)?;
        let Some(video) = tx.video(row)? else {
            return Ok(());
        };
        let path_text = finished.path.to_string_lossy().into_owned();
        self.due_hook(tx, row, HookEvent::Saved, Some(&path_text), now)?;
        if video.finished {
            self.maybe_idle(tx, row, false, now)?;
        }
        let Finished {
            path,
            bytes,
            sha256,
            ..
        } = finished;
        let kind = if repaired {
            EventKind::Repaired
        } else {
            EventKind::Saved
        };
        tx.append(
            row,
            &NewEvent::new(now, kind)
                .with("asset", asset.word())
                .with("path", path.to_string_lossy().as_ref())
                .with("bytes", bytes)
                .with("sha256", sha256.as_str()),
        )?;
        self.troubles.proves(Kind::Disk);
        self.saves.alone = false;
        self.after.said.push(Said::Saved {
            video: Box::new(video.clone()),
            asset,
            path,
            bytes,
            sha256,
            repaired,
        });
        self.files_settled(tx, row, now)
    }

    /// A file of this row is not waited for any more: was it the one in trouble?
    pub(super) fn files_settled(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(video) = tx.video(row)? else {
            return Ok(());
        };
        let in_trouble = |file: &File| file.state.is_open() && file.attempts > 0;
        if video.files.iter().any(in_trouble) {
            return Ok(());
        }
        self.write(tx, decide::saved(&video, now), now)
    }

    /// HeyGen has no such file (any more); a complete one that only lacks its name is not given up.
    pub(super) fn give_up_file(
        &mut self,
        tx: &Tx<'_>,
        video: &Video,
        file: &File,
    ) -> Result<(), Error> {
        if !matches!(file.state, FileState::Wanted | FileState::Partial) {
            return Ok(());
        }
        self.after
            .litter
            .extend(file.part.as_ref().map(|part| Litter {
                row: video.id,
                dir: video.output_dir.clone(),
                part_name: part.name.clone(),
            }));
        self.after.said.push(Said::Unavailable {
            video: Box::new(video.clone()),
            asset: file.asset,
        });
        tx.unavailable(video.id, file.asset)
    }

    /// HeyGen says that a video is completed and gives no link to it, hours later.
    pub(super) fn record_withheld(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        now: Timestamp,
    ) -> Result<(), Error> {
        let failure = FileFailure {
            code: "download_failed".to_owned(),
            message: "completed over an hour ago, and HeyGen still gives no link to the video"
                .to_owned(),
            disk_is_full: false,
            key_refused: None,
        };
        self.record_failed(tx, row, Asset::Video, &failure, now)
    }

    /// Removes a part that nobody will go on with. What cannot be removed does no harm.
    pub(super) fn sweep(&self, litter: &Litter) {
        if self.saves.busy.contains(&litter.row) {
            return;
        }
        if let Ok(Some(_guard)) = self.lock_row(Purpose::Save, litter.row) {
            download::discard(&litter.dir, &litter.part_name).ok();
        }
    }

    fn record_failed(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        asset: Asset,
        failure: &FileFailure,
        now: Timestamp,
    ) -> Result<(), Error> {
        tx.file_failed(row, asset)?;
        let Some(video) = tx.video(row)? else {
            return Ok(());
        };
        let mut local = Failure::local(Operation::Save, &failure.code, &failure.message, now);
        local.facts = local.facts.with("asset", asset.word());
        if let Some(error) = &failure.key_refused {
            local = local.of_the_run();
            self.stop(Kind::Key, error);
        }
        if failure.disk_is_full {
            // One full disk strikes every row.
            local = local.of_the_run();
            self.troubles.note(
                Kind::Disk,
                failure.code.clone(),
                failure.message.clone(),
                Some("free some room; the next check goes on where this one stopped".to_owned()),
            );
        }
        if !self.saves.troubled.insert(row) {
            return Ok(());
        }
        self.write(tx, decide::failed(&video, &local, now), now)
    }
}

/// What was recorded of a file before its rename.
fn left_publishing(file: &File) -> Option<Finished> {
    if file.state != FileState::Publishing {
        return None;
    }
    Some(Finished {
        part_name: file.part.as_ref()?.name.clone(),
        path: file.path.clone()?,
        bytes: file.bytes?,
        sha256: file.sha256.clone()?,
    })
}
