//! stdout behind a thread: a reader that stalls must not hold up whoever has something more important to do than to be
//! read.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// More than this is not kept for a reader that does not read.
const MOST: usize = 4 * 1024 * 1024;

/// Takes what is written at once, up to a bound, and passes it on in order.
#[derive(Clone)]
pub(super) struct Outlet {
    /// What to write, and whom it tells by being dropped that it was.
    queue: Sender<(Vec<u8>, Option<Sender<()>>)>,
    waiting: Arc<AtomicUsize>,
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl Outlet {
    /// `None` where there is no thread to be had: writing waits then.
    pub(super) fn start() -> Option<Self> {
        let (queue, queued) = channel::<(Vec<u8>, Option<Sender<()>>)>();
        let outlet = Self {
            queue,
            waiting: Arc::default(),
            failed: Arc::default(),
        };
        let (waiting, failed) = (Arc::clone(&outlet.waiting), Arc::clone(&outlet.failed));
        let pass_on = move || {
            let mut is_open = true;
            for (bytes, _written) in queued {
                if is_open
                    && !bytes.is_empty()
                    && let Err(error) = write_out(&bytes)
                {
                    is_open = false;
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
            }
        };
        let thread = thread::Builder::new().name("stdout".to_owned());
        let thread = thread.stack_size(128 * 1024).spawn(pass_on);
        thread.is_ok().then_some(outlet)
    }

    /// Waits until everything is passed on, and no longer than `patience`; says once what could not be.
    pub(super) fn settle(&self, patience: Duration) -> io::Result<()> {
        let (written, settled) = channel();
        self.queue.send((Vec::new(), Some(written))).ok();
        settled.recv_timeout(patience).ok();
        self.failure()
    }

    fn failure(&self) -> io::Result<()> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take().map_or(Ok(()), Err)
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.load(Ordering::Relaxed) >= MOST {
            self.settle(Duration::MAX)?;
        }
        self.failure()?;
        self.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
        self.queue.send((bytes.to_vec(), None)).ok();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}
