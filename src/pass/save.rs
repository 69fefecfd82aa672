//! Saving, the main thread's side: which rows get a job, and what the job's facts mean for the row.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;

use chrono::Local;

use super::save_job::SaveJob;
use super::{Run, Tx};
use crate::decide::{self, FileFact, Observation};
use crate::download::{self, DownloadError, Finished, Next, Recovered, name};
use crate::error::{Result, code};
use crate::event::Failure;
use crate::heygen::RemoteVideo;
use crate::locks::{Guard, Purpose};
use crate::store::Store;
use crate::video::{Asset, File, FileState, Operation, Outage, RowId, Video};

#[derive(Default)]
pub(super) struct Saves {
    queue: VecDeque<RowId>,
    /// The disk was full in the last run: one row at a time, so that what room there is makes whole files.
    pub(super) one_at_a_time: bool,
    /// Rows with a job under way, and directory and name of their files: the kernel lock keeps other processes out, not
    /// ourselves.
    busy: HashMap<RowId, (PathBuf, String)>,
    /// Rows whose error is recorded. A row has one: of several files that fail differently the first one stands for
    /// all, or each run would report each of them as a change.
    pub(super) with_error: HashSet<RowId>,
}

impl Saves {
    pub(super) fn queue(&mut self, row: RowId) {
        if !self.has_work_with(row) {
            self.queue.push_back(row);
        }
    }

    pub(super) fn has_work_with(&self, row: RowId) -> bool {
        self.busy.contains_key(&row) || self.queue.contains(&row)
    }

    /// What the files of a row are called. A template may give two rows one name; the second gets its own.
    fn stem(&self, store: &Store, video: &Video) -> Result<Option<String>> {
        let (Some(video_id), row) = (&video.video_id, video.id) else {
            return Ok(None);
        };
        let template = video.name_template.as_deref();
        let day = video.submitted_at.to_chrono().with_timezone(&Local);
        let day = day.format("%Y-%m-%d").to_string();
        let stem = name::stem(template, row, video_id, video.title.as_deref(), &day);
        if template.is_none() {
            return Ok(Some(stem));
        }
        let dir = &video.output_dir;
        let mut taken = (self.busy.iter())
            .any(|(other, (at, name))| *other != row && at == dir && *name == stem);
        for file in &video.files {
            for name in name::candidates(&stem, file.asset) {
                taken = taken || store.read(|tx| tx.is_path_of_another(row, &dir.join(name)))?;
            }
        }
        Ok(Some(if taken { name::own(&stem, row) } else { stem }))
    }
}

impl Run<'_, '_> {
    /// Finishes what a crash left between "complete" and "under its final name", of the rows that were named alone.
    pub(super) fn repair(&mut self, store: &mut Store, only: Option<&[RowId]>) -> Result<()> {
        let mut rows = store.read(|tx| tx.publishing_rows())?;
        rows.retain(|row| only.is_none_or(|only| only.contains(row)));
        for row in rows {
            let Some(_guard) = self.locks.try_row(Purpose::Save, row)? else {
                continue;
            };
            if let Some(video) = store.read(|tx| tx.video(row))? {
                for file in &video.files {
                    self.repair_file(store, &video, file)?;
                }
            }
        }
        Ok(())
    }

    fn repair_file(&mut self, store: &mut Store, video: &Video, file: &File) -> Result<()> {
        let Some(finished) = left_publishing(file) else {
            return Ok(());
        };
        let (row, asset) = (video.id, file.asset);
        let disk = store.read(|tx| tx.output_device(row))?;
        let result = match disk.filter(|point| !download::mount::is_mounted(point)) {
            Some(point) => Err(DownloadError::unmounted(&point)),
            None => download::recover(&video.output_dir, row, &finished, self.options.replace),
        };
        self.commit(store, |run, tx| match result {
            Ok(Recovered::Adopted | Recovered::Published) => {
                let saved = FileFact::Saved { repaired: true };
                run.file(tx, row, asset, saved).map(drop)
            }
            Ok(Recovered::Lost) => run.file(tx, row, asset, FileFact::Lost).map(drop),
            Err(error) => run.not_saved(tx, row, asset, error, false),
        })
    }

    pub(super) fn dispatch_saves(&mut self, store: &mut Store) -> Result<()> {
        if self.outages.has(Outage::Disk) {
            // What is left has no room either; the next run begins with one row.
            self.saves.queue.clear();
        }
        while self.savers.free() > 0
            && (!self.saves.one_at_a_time || self.saves.busy.is_empty())
            && let Some(row) = self.saves.queue.pop_front()
        {
            let Some(guard) = self.locks.try_row(Purpose::Save, row)? else {
                continue;
            };
            // Read under the lock: whoever held it before may have saved everything.
            let Some(video) = store.read(|tx| tx.video(row))? else {
                continue;
            };
            let assets = decide::to_fetch(&video);
            let Some(access) = self.access()?.filter(|_| !assets.is_empty()) else {
                continue;
            };
            let Some(stem) = self.saves.stem(store, &video)? else {
                continue;
            };
            let files = (video.output_dir.clone(), stem.clone());
            self.saves.busy.insert(row, files);
            let disk = store.read(|tx| tx.output_device(row))?;
            let job = SaveJob {
                assets,
                guard,
                stem,
                disk,
                refreshed: false,
                video,
                access,
                options: self.options.clone(),
                progress: self.reporter.screen.progress.clone(),
            };
            self.start_saving(store, job)?;
        }
        Ok(())
    }

    /// Without a thread it is done here, and what it says is taken in at once.
    fn start_saving(&mut self, store: &mut Store, job: SaveJob) -> Result<()> {
        if self.savers.has_thread() {
            let outbox = self.outbox.clone();
            self.savers
                .start(move || job.run(&|message| outbox.send(message).is_ok()));
            return Ok(());
        }
        self.savers.begin();
        let taken_in = RefCell::new((self, store, Ok(())));
        job.run(&|message| {
            let (run, store, result) = &mut *taken_in.borrow_mut();
            if result.is_ok() {
                *result = run.take_in(store, vec![message]);
            }
            result.is_ok()
        });
        let (_, _, result) = taken_in.into_inner();
        result
    }

    pub(super) fn saved(&mut self, row: RowId, guard: Guard) {
        self.savers.done();
        self.saves.busy.remove(&row);
        self.after.guards.push(guard);
    }

    /// Whether the row took it.
    pub(super) fn file(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        asset: Asset,
        fact: FileFact,
    ) -> Result<bool> {
        if let FileFact::Saved { .. } = fact {
            self.works(Outage::Disk);
            self.saves.one_at_a_time = false;
        }
        let Some(video) = tx.video(row)? else {
            return Ok(false);
        };
        let decision = decide::file(&video, asset, fact, self.now);
        let fits = !decision.files.is_empty();
        Ok(self.written(tx, decision)? && fits)
    }

    pub(super) fn refreshed(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        remote: &RemoteVideo,
    ) -> Result<()> {
        let Some(video) = tx.video(row)? else {
            return Ok(());
        };
        let decision = self.observed(tx, &video, Observation::Detail(remote))?;
        self.write(tx, decision)
    }

    /// Removes a part that nobody will go on with. What cannot be removed does no harm.
    pub(super) fn sweep(&self, video: &Video, part_name: &str) {
        let row = video.id;
        if !self.saves.busy.contains_key(&row)
            && let Ok(Some(_guard)) = self.locks.try_row(Purpose::Save, row)
        {
            download::discard(&video.output_dir, part_name, row).ok();
        }
    }

    /// `key_refused`: when HeyGen was asked for fresh URLs.
    pub(super) fn not_saved(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        asset: Asset,
        error: DownloadError,
        key_refused: bool,
    ) -> Result<()> {
        let DownloadError { next, problem } = error;
        // By whoever serves the file, not by this machine.
        let refused = matches!(next, Next::Refresh | Next::Refused);
        let disk_is_full = problem.code == code::DISK_FULL;
        let local = Failure {
            asset: Some(asset),
            // One full disk strikes every row, and so does a key.
            own: !key_refused && !disk_is_full,
            ..Failure::local(Operation::Save, &problem.code, &problem.message)
        };
        if key_refused {
            self.stop(Outage::Key, problem);
        } else if disk_is_full {
            let hint = "free some room; the next check goes on where this one stopped";
            self.outage(Outage::Disk, problem.with_hint(hint));
        }
        let fact = FileFact::Failed {
            refused: refused && local.own,
            failure: local,
            report: self.saves.with_error.insert(row),
        };
        self.file(tx, row, asset, fact).map(drop)
    }
}

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
