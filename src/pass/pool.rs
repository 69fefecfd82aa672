//! A bounded set of worker threads, started as they are needed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sys::resource::{Resource, getrlimit};

use super::commit::Message;

type Task = Box<dyn FnOnce() + Send>;

/// At most `size` jobs at once; the owner never submits more than that, so none ever queues.
pub(super) struct Pool {
    name: &'static str,
    size: usize,
    busy: usize,
    threads: usize,
    jobs: Sender<Task>,
    source: Arc<Mutex<Receiver<Task>>>,
    outbox: Sender<Message>,
}

impl Pool {
    /// `outbox` gets a message when a job panics.
    pub(super) fn new(name: &'static str, size: usize, outbox: &Sender<Message>) -> Self {
        let (jobs, source) = channel();
        Self {
            name,
            size: size.max(1),
            busy: 0,
            threads: 0,
            jobs,
            source: Arc::new(Mutex::new(source)),
            outbox: outbox.clone(),
        }
    }

    pub(super) fn free(&self) -> usize {
        self.size.saturating_sub(self.busy)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.busy == 0
    }

    /// Whether there is a thread for one more job. Where no further one can be had, the pool makes do with those it has;
    /// without any the owner has to do the job itself, one at a time.
    pub(super) fn has_thread(&mut self) -> bool {
        if self.threads <= self.busy {
            match self.spawn() {
                Ok(()) => self.threads += 1,
                Err(_) => self.size = self.threads.max(1),
            }
        }
        self.threads > 0
    }

    pub(super) fn begin(&mut self) {
        self.busy += 1;
    }

    /// Gives a job to a thread, or does it; [`Pool::done`] when its last message has arrived.
    pub(super) fn start(&mut self, job: impl FnOnce() + Send + 'static) {
        let has_thread = self.has_thread();
        self.begin();
        if has_thread {
            // The threads live as long as this does.
            self.jobs.send(Box::new(job)).ok();
        } else {
            job();
        }
    }

    fn spawn(&self) -> std::io::Result<()> {
        let (source, outbox) = (Arc::clone(&self.source), self.outbox.clone());
        // Threads are never joined: the process may end at any time, and what matters is on disk by then.
        thread::Builder::new()
            .name(self.name.to_owned())
            .stack_size(512 * 1024)
            .spawn(move || {
                while let Some(job) = next(&source) {
                    if catch_unwind(AssertUnwindSafe(job)).is_err() {
                        outbox.send(Message::panicked()).ok();
                    }
                }
            })
            .map(drop)
    }

    pub(super) fn done(&mut self) {
        self.busy -= 1;
    }
}

fn next(source: &Mutex<Receiver<Task>>) -> Option<Task> {
    source
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}

/// How many jobs there are file descriptors for: the program itself needs some, each request one, each download up to
/// four.
pub(super) fn affordable_jobs() -> usize {
    const PROGRAM: u64 = 14;
    const JOB: u64 = 5;
    // What cannot be asked is as it usually is.
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let jobs = limit.saturating_sub(PROGRAM) / JOB;
    usize::try_from(jobs.max(1)).unwrap_or(usize::MAX)
}
