//! Saving: one job per row fetches the row's open files, one after the other, under the row's save lock.
//!
//! What the job must not forget goes through the main thread: a part before it is created and a digest before its
//! rename wait for the commit, progress does not.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::calls::{CallError, Caller};
use super::report::Said;
use super::troubles::Kind;
use super::{Message, Options, Run, Tx};
use crate::decide::{self, Failure};
use crate::download::{
    self, DownloadError, FileClient, Finished, Ledger, LedgerError, Recovered, Request, name,
};
use crate::error::Error;
use crate::heygen::{ApiError, Backoff, RemoteVideo};
use crate::locks::{Guard, Purpose};
use crate::render::progress::{Progress, Transfer};
use crate::render::text;
use crate::store::Store;
use crate::time::{self, Timestamp};
use crate::video::{
    Asset, EventKind, File, FileState, HookEvent, NewEvent, Operation, Part, RowId, Urls, Video,
};

/// How long one file's tries may wait altogether.
const PATIENCE: Duration = Duration::from_secs(60);

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
    code: String,
    message: String,
    disk_is_full: bool,
    /// HeyGen refused the key when it was asked for fresh URLs.
    key_refused: Option<ApiError>,
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
    pub(super) fn repair(&mut self, store: &mut Store) -> Result<(), Error> {
        for row in store.read(|tx| tx.publishing_rows())? {
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
                .map_err(|source| Error::System {
                    action: "start a thread",
                    source,
                })?;
        }
        Ok(())
    }

    pub(super) fn file_fact(
        &mut self,
        tx: &Tx<'_>,
        row: RowId,
        fact: FileFact,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
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
    ) -> rusqlite::Result<()> {
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
    ) -> rusqlite::Result<()> {
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
    ) -> rusqlite::Result<()> {
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
    ) -> rusqlite::Result<()> {
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
    ) -> rusqlite::Result<()> {
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

/// Fetches the open files of one row.
struct SaveJob {
    video: Video,
    urls: Urls,
    refreshed: bool,
    caller: Caller,
    files: FileClient,
    outbox: Sender<Message>,
    options: Options,
    progress: Progress,
}

/// Why a file was not saved, as far as the job is concerned.
enum Stop {
    Download(DownloadError),
    Api(CallError),
    NoUrl,
}

impl SaveJob {
    fn run(mut self, assets: Vec<Asset>, guard: Guard) {
        for asset in assets {
            match self.save(asset) {
                Ok(finished) => self.tell(FileFact::Saved { asset, finished }),
                Err(stop) => {
                    if let Some(failure) = failure(&stop) {
                        self.tell(FileFact::Failed { asset, failure });
                    }
                }
            }
        }
        let row = self.video.id;
        // The run may be over; then nobody listens, and the kernel has the lock back.
        self.outbox.send(Message::SavesDone { row, guard }).ok();
    }

    /// What the file is called on a terminal.
    fn label(&self, asset: Asset) -> String {
        let title = self.video.title.as_deref().unwrap_or_default();
        format!("{} {asset} {}", self.video.id, text::fit(title, 40))
    }

    fn tell(&self, fact: FileFact) {
        let row = self.video.id;
        self.outbox.send(Message::File { row, fact }).ok();
    }

    /// One file, with as many tries as a run allows.
    fn save(&mut self, asset: Asset) -> Result<Finished, Stop> {
        let delay = self.options.retry_delay;
        let mut backoff = Backoff::new(
            self.options.retries.saturating_add(1),
            PATIENCE,
            delay,
            PATIENCE,
        );
        let mut waited = Duration::ZERO;
        let part = self.video.file(asset).and_then(|file| file.part.clone());
        let ledger = JobLedger {
            row: self.video.id,
            asset,
            outbox: self.outbox.clone(),
            transfer: self.progress.download(&self.label(asset)),
            part: Mutex::new(part),
        };
        loop {
            let error = match self.fetch(asset, &ledger) {
                Ok(finished) => return Ok(finished),
                Err(Stop::Download(error)) => error,
                Err(stop) => return Err(stop),
            };
            match &error {
                DownloadError::Refused { .. } if !self.refreshed => {
                    self.refresh()?;
                    if self.urls.get(asset).is_none() {
                        return Err(Stop::Download(error));
                    }
                    continue;
                }
                DownloadError::Transient { .. } => {}
                _ => return Err(Stop::Download(error)),
            }
            match backoff.next(waited, error.retry_after(), fastrand::f64()) {
                Some(pause) => {
                    thread::sleep(pause);
                    waited += pause;
                }
                None => return Err(Stop::Download(error)),
            }
        }
    }

    fn fetch(&self, asset: Asset, ledger: &JobLedger) -> Result<Finished, Stop> {
        let url = self.urls.get(asset).ok_or(Stop::NoUrl)?;
        let video_id = self.video.video_id.as_ref().ok_or(Stop::NoUrl)?;
        let stem = name::stem(
            self.video.name_template.as_deref(),
            self.video.id,
            video_id,
            self.video.title.as_deref(),
        );
        let request = Request {
            url,
            dir: &self.video.output_dir,
            stem: &stem,
            asset,
            replace: self.options.replace,
            part: ledger.recorded(),
        };
        download::fetch(&self.files, &request, ledger).map_err(Stop::Download)
    }

    /// Presigned URLs expire; asking for the video mints new ones.
    fn refresh(&mut self) -> Result<(), Stop> {
        self.refreshed = true;
        let video_id = self.video.video_id.clone().ok_or(Stop::NoUrl)?;
        let remote = self
            .caller
            .get(|client| client.video(&video_id))
            .map_err(Stop::Api)?;
        self.urls = remote.urls.clone();
        self.tell(FileFact::Refreshed(Box::new(remote)));
        Ok(())
    }
}

/// What a stop means for the row; `None` when it means nothing.
fn failure(stop: &Stop) -> Option<FileFailure> {
    match stop {
        Stop::Download(DownloadError::Ledger) | Stop::Api(CallError::Stopped) | Stop::NoUrl => None,
        Stop::Download(error) => Some(FileFailure::from(error)),
        Stop::Api(CallError::Api(error)) => Some(FileFailure {
            code: error.code.clone(),
            message: error.message.clone(),
            disk_is_full: false,
            key_refused: error.is_auth().then(|| error.clone()),
        }),
    }
}

/// Takes a job's facts to the main thread.
struct JobLedger {
    row: RowId,
    asset: Asset,
    outbox: Sender<Message>,
    transfer: Transfer,
    /// What was last recorded, for the next try.
    part: Mutex<Option<Part>>,
}

impl JobLedger {
    fn recorded(&self) -> Option<Part> {
        self.part
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn remember(&self, part: Option<Part>) {
        *self.part.lock().unwrap_or_else(PoisonError::into_inner) = part;
    }

    fn tell(&self, fact: FileFact) -> Result<(), LedgerError> {
        let row = self.row;
        self.outbox
            .send(Message::File { row, fact })
            .map_err(|_| LedgerError)
    }
}

impl Ledger for JobLedger {
    fn part(&self, part: &Part) -> Result<(), LedgerError> {
        self.remember(Some(part.clone()));
        let fact = |ack| FileFact::Part {
            asset: self.asset,
            part: Some(part.clone()),
            ack,
        };
        if part.bytes > 0 {
            return self.tell(fact(None));
        }
        // About to be created: a crash must not leave a file nobody knows.
        let (ack, committed) = channel();
        self.tell(fact(Some(ack)))?;
        committed.recv().map_err(|_| LedgerError)
    }

    fn no_part(&self) -> Result<(), LedgerError> {
        self.remember(None);
        self.tell(FileFact::Part {
            asset: self.asset,
            part: None,
            ack: None,
        })
    }

    fn publishing(&self, finished: &Finished) -> Result<(), LedgerError> {
        let (ack, committed) = channel();
        self.tell(FileFact::Publishing {
            asset: self.asset,
            finished: finished.clone(),
            ack,
        })?;
        committed.recv().map_err(|_| LedgerError)
    }

    fn progress(&self, so_far: u64, total: Option<u64>) {
        self.transfer.update(so_far, total);
    }
}
