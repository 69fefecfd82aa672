//! stdout behind a thread: a reader that stalls must not hold up whoever has something more important to do than to be
//! read.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// More than this is not kept for a reader that does not read.
const MOST: usize = 4 * 1024 * 1024;

/// Takes what is written at once, up to a bound, and passes it on in order. [`Write::flush`] waits until all of it is
/// passed on.
#[derive(Default)]
pub(super) struct Outlet {
    shared: Arc<Shared>,
    /// Whether there is a thread; without one writing waits.
    started: Option<bool>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Backlog>,
    changed: Condvar,
}

#[derive(Default)]
struct Backlog {
    waiting: Vec<u8>,
    writing: bool,
    failed: Option<io::Error>,
}

impl Outlet {
    /// Waits until everything is passed on, and no longer than `patience`.
    pub(super) fn settle(&self, patience: Duration) {
        let busy = |state: &mut Backlog| state.writing || !state.waiting.is_empty();
        let state = self.shared.lock();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, patience, busy);
        drop(waited);
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let started = *self.started.get_or_insert_with(|| {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("stdout".to_owned());
            thread
                .stack_size(128 * 1024)
                .spawn(move || shared.pass_on())
                .is_ok()
        });
        if !started {
            return io::stdout().write(bytes);
        }
        let full = |state: &mut Backlog| state.waiting.len() >= MOST && state.failed.is_none();
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_while(state, full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        state.waiting.extend_from_slice(bytes);
        drop(state);
        self.shared.changed.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let busy = |state: &mut Backlog| state.writing || !state.waiting.is_empty();
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_while(state, busy);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        match state.failed.take() {
            Some(error) => Err(error),
            None => io::stdout().flush(),
        }
    }
}

impl Shared {
    fn pass_on(&self) {
        loop {
            let state = self.lock();
            let waited = self
                .changed
                .wait_while(state, |state| state.waiting.is_empty());
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            let bytes = std::mem::take(&mut state.waiting);
            state.writing = true;
            drop(state);
            self.changed.notify_all();
            let mut out = io::stdout().lock();
            let written = out.write_all(&bytes).and_then(|()| out.flush());
            drop(out);
            let mut state = self.lock();
            state.writing = false;
            if let Err(error) = written {
                state.failed = Some(error);
                state.waiting.clear();
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
