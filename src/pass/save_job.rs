//! Saving, the worker's side: one job fetches a row's open files, one after the other, under the row's save lock.
//!
//! What the job must not forget goes through the main thread: a part before it is created and a digest before its
//! rename wait for the commit, progress does not.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use super::commit::Message;
use super::{Access, PassOptions};
use crate::decide::{self, FileFact, Verdict};
use crate::download::{
    self, DownloadError, DownloadResult, FileRequest, Finished, Ledger, Next, mount, stop,
};
use crate::heygen::Backoff;
use crate::locks::Guard;
use crate::render::progress::{Progress, Transfer};
use crate::render::text;
use crate::video::{Asset, Part, RowId, Video, VideoId};

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) type Deliver<'a> = dyn Fn(Message) -> bool + 'a;

/// What is to be recorded of a failure, if anything, and whether it is the key's.
type Failed = Option<Box<(DownloadError, bool)>>;

pub(super) struct SaveJob {
    pub(super) assets: Vec<Asset>,
    pub(super) guard: Guard,
    pub(super) video: Video,
    pub(super) disk: Option<PathBuf>,
    pub(super) stem: String,
    pub(super) refreshed: bool,
    pub(super) access: Access,
    pub(super) options: PassOptions,
    pub(super) progress: Progress,
}

impl SaveJob {
    /// `deliver` takes its messages to the main thread; `false` when the run is over and nobody listens.
    pub(super) fn run(mut self, deliver: &Deliver<'_>) {
        let row = self.video.id;
        if self.disk.is_none() {
            self.disk = mount::point(&self.video.output_dir);
            if let Some(point) = self.disk.clone() {
                deliver(Message::new(move |_, tx| {
                    tx.set_output_device(row, Some(&point))
                }));
            }
        }
        for asset in std::mem::take(&mut self.assets) {
            let message = match self.save(asset, deliver) {
                Ok(()) => Message::new(move |run, tx| {
                    let saved = FileFact::Saved { repaired: false };
                    run.file(tx, row, asset, saved).map(drop)
                }),
                // The process ends: a run that ended by itself first would say how, and with what exit code.
                Err(_) if stop::is_requested() => return,
                Err(None) => continue,
                Err(Some(failed)) => {
                    let (error, key_refused) = *failed;
                    Message::new(move |run, tx| run.not_saved(tx, row, asset, error, key_refused))
                }
            };
            deliver(message);
        }
        // The run may be over; then nobody listens, and the kernel has the lock back.
        deliver(Message::new(move |run, _| {
            run.saved(row, self.guard);
            Ok(())
        }));
    }

    fn label(&self, asset: Asset) -> String {
        let title = self.video.title.as_deref().unwrap_or_default();
        format!("{} {asset} {}", self.video.id, text::fit(title, 40))
    }

    /// Without a failure there is nothing to record.
    fn save(&mut self, asset: Asset, deliver: &Deliver<'_>) -> Result<(), Failed> {
        let tries = self.options.retries.saturating_add(1);
        let mut backoff = Backoff::new(tries, PATIENCE, self.options.retry_delay, PATIENCE);
        let mut waited = Duration::ZERO;
        let part = self.video.file(asset).and_then(|file| file.part.clone());
        let ledger = JobLedger {
            row: self.video.id,
            video_id: self.video.video_id.clone(),
            asset,
            deliver,
            transfer: self.progress.download(&self.label(asset)),
            part: RefCell::new(part),
            fruitless: Cell::new(0),
            whole: Cell::new(false),
        };
        let failed = |error| Err(Some(Box::new((error, false))));
        loop {
            let url = self.video.urls.get(&asset).ok_or(None)?;
            let Err(error) = self.fetch(url, &ledger) else {
                return Ok(());
            };
            let pause = match error.next {
                Next::Refresh if !self.refreshed => {
                    self.refresh(deliver)?;
                    if self.video.urls.contains_key(&asset) {
                        continue;
                    }
                    return failed(error);
                }
                Next::Refresh => None,
                Next::Retry(after) => backoff.next(waited, after, fastrand::f64()),
                Next::Stop | Next::Unrecorded => {
                    self.video.urls.clear();
                    return Err(None);
                }
                Next::Refused | Next::GiveUp => return failed(error),
            };
            match pause {
                Some(pause) => {
                    thread::sleep(pause);
                    waited += pause;
                }
                // Some hosts answer no request for a part, each in a way of its own.
                None if ledger.fruitless.get() > 1
                    && !matches!(error.next, Next::Retry(Some(_)))
                    && !ledger.whole.replace(true) => {}
                None => return failed(error),
            }
        }
    }

    fn fetch(&self, url: &str, ledger: &JobLedger<'_>) -> DownloadResult<Finished> {
        if let Some(point) = self.disk.as_ref().filter(|point| !mount::is_mounted(point)) {
            return Err(DownloadError::unmounted(point));
        }
        let before = ledger.part.borrow().clone();
        let mut part = before.clone();
        if ledger.whole.get()
            && let Some(part) = &mut part
        {
            part.etag = None;
        }
        let request = FileRequest {
            row: self.video.id,
            url,
            dir: &self.video.output_dir,
            stem: &self.stem,
            asset: ledger.asset,
            replace: self.options.replace,
            max_size: self.options.max_size,
            part,
            ledger,
        };
        let fetched = download::fetch(&self.access.files, &request);
        let fruitless = before.is_some() && *ledger.part.borrow() == before;
        let count = ledger.fruitless.get() + 1;
        ledger.fruitless.set(if fruitless { count } else { 0 });
        ledger.whole.set(fruitless && ledger.whole.get());
        fetched
    }

    /// Presigned URLs expire; asking for the video mints new ones.
    fn refresh(&mut self, deliver: &Deliver<'_>) -> Result<(), Failed> {
        self.refreshed = true;
        let job = self.video.job().ok_or(None)?;
        let remote = self.access.job(&job).map_err(|error| {
            let verdict = Verdict::of(&error);
            let failed = DownloadError {
                next: Next::Retry(error.retry_after),
                problem: error.into(),
            };
            let failed = Box::new((failed, verdict == Verdict::KeyRefused));
            (verdict != Verdict::NotAsked).then_some(failed)
        })?;
        let makes = remote
            .session
            .as_ref()
            .and_then(|session| session.video_id.as_ref());
        let is_other = makes.is_some_and(|id| self.video.video_id.as_ref() != Some(id));
        if is_other {
            self.video.urls.clear();
        } else {
            self.video.urls = decide::links(&self.video, &remote).clone();
        }
        let row = self.video.id;
        deliver(Message::new(move |run, tx| run.refreshed(tx, row, &remote)));
        // A session has moved on to another video, which the next check fetches under its own name.
        (!is_other).then_some(()).ok_or(None)
    }
}

struct JobLedger<'a> {
    row: RowId,
    video_id: Option<VideoId>,
    asset: Asset,
    deliver: &'a Deliver<'a>,
    transfer: Transfer,
    part: RefCell<Option<Part>>,
    /// How many tries in a row brought nothing to the part that there is.
    fruitless: Cell<u32>,
    whole: Cell<bool>,
}

impl JobLedger<'_> {
    /// What the row does not take, since it is gone or another video's by now, is never acknowledged.
    fn say(&self, fact: FileFact, ack: Option<Sender<()>>) -> DownloadResult<()> {
        let (row, asset, video_id) = (self.row, self.asset, self.video_id.clone());
        let delivered = (self.deliver)(Message::new(move |run, tx| {
            let found = tx.video(row)?.map(|video| video.video_id);
            if found == Some(video_id) && run.file(tx, row, asset, fact)? {
                run.after.acks.extend(ack);
            }
            Ok(())
        }));
        delivered
            .then_some(())
            .ok_or_else(DownloadError::unrecorded)
    }

    fn commit(&self, fact: FileFact) -> DownloadResult<()> {
        let (ack, committed) = channel();
        self.say(fact, Some(ack))?;
        committed.recv().map_err(|_| DownloadError::unrecorded())
    }
}

impl Ledger for JobLedger<'_> {
    fn part(&self, part: Option<&Part>) -> DownloadResult<()> {
        self.part.replace(part.cloned());
        let fact = FileFact::Part(part.cloned());
        // About to be created: a crash must not leave a file nobody knows. Or this is the last word before the end.
        if part.is_some_and(|part| part.bytes == 0 || stop::is_requested()) {
            self.commit(fact)
        } else {
            self.say(fact, None)
        }
    }

    fn publishing(&self, finished: &Finished) -> DownloadResult<()> {
        self.commit(FileFact::Complete(finished.clone()))
    }

    fn progress(&self, so_far: u64, total: Option<u64>) {
        self.transfer.update(so_far, total);
    }
}
