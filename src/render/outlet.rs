//! stdout behind a thread: a reader that stalls must not hold up whoever has something more important to do than to be
//! read.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// More than this is not kept for a reader that does not read.
const MOST: usize = 4 * 1024 * 1024;

/// Takes what is written at once, up to a bound, and passes it on in order.
#[derive(Clone, Default)]
pub(super) struct Outlet(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<Backlog>,
    changed: Condvar,
    /// Whether there is a thread; without one writing waits.
    started: OnceLock<bool>,
}

#[derive(Default)]
struct Backlog {
    waiting: Vec<u8>,
    writing: bool,
    failed: Option<io::Error>,
}

impl Outlet {
    /// Waits until everything is passed on, and no longer than `patience`; says once what could not be.
    pub(super) fn settle(&self, patience: Duration) -> io::Result<()> {
        let busy = |state: &mut Backlog| state.writing || !state.waiting.is_empty();
        let Self(shared) = self;
        let waited = shared
            .changed
            .wait_timeout_while(shared.lock(), patience, busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.failed.take().map_or(Ok(()), Err)
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self(shared) = self;
        let started = shared.started.get_or_init(|| {
            let shared = Arc::clone(shared);
            let thread = thread::Builder::new().name("stdout".to_owned());
            let thread = thread.stack_size(128 * 1024);
            thread.spawn(move || shared.pass_on()).is_ok()
        });
        if !started {
            return write_out(bytes).map(|()| bytes.len());
        }
        let mut state =
            shared.wait_while(|state| state.waiting.len() >= MOST && state.failed.is_none());
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        state.waiting.extend_from_slice(bytes);
        shared.changed.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn pass_on(&self) {
        loop {
            let mut state = self.wait_while(|state| state.waiting.is_empty());
            let bytes = std::mem::take(&mut state.waiting);
            state.writing = true;
            drop(state);
            self.changed.notify_all();
            let written = write_out(&bytes);
            let mut state = self.lock();
            state.writing = false;
            if let Err(error) = written {
                state.failed = Some(error);
                state.waiting.clear();
            }
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, busy: impl FnMut(&mut Backlog) -> bool) -> MutexGuard<'_, Backlog> {
        let waited = self.changed.wait_while(self.lock(), busy);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}
