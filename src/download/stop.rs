//! The end of all transfers at a signal: each records what it has, then the process may go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

static REQUESTED: AtomicBool = AtomicBool::new(false);
static UNDER_WAY: Mutex<usize> = Mutex::new(0);
static ONE_LESS: Condvar = Condvar::new();

/// Ends every transfer of this process, and waits for what they record, though not longer than `patience`.
pub(crate) fn stop_all(patience: Duration) {
    REQUESTED.store(true, Ordering::SeqCst);
    let under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
    drop(ONE_LESS.wait_timeout_while(under_way, patience, |count| *count > 0));
}

pub(crate) fn is_requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

pub(super) struct UnderWay;

impl UnderWay {
    pub(super) fn begin() -> Self {
        *UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ONE_LESS.notify_all();
    }
}
