//! The stand-in's own time: real time plus what a test adds.

use std::time::{Duration, Instant};

use crate::time::{self, Timestamp};

/// Starts at the system's time and never goes back, whatever the system's clock does.
pub(super) struct Clock {
    started_at: Timestamp,
    started: Instant,
    skipped: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            started_at: time::now(),
            started: Instant::now(),
            skipped: Duration::ZERO,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.started_at
            .after(self.started.elapsed())
            .after(self.skipped)
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.skipped = self.skipped.saturating_add(by);
    }
}
