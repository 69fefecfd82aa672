//! What every request to HeyGen goes through: closed when the key is refused, held back after a 429.
//!
//! After a 429 the run goes on one request at a time and never before `Retry-After`: whoever is let in alone is the
//! only one who can be told to wait again, so at most the requests already under way are wasted.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::heygen::ApiError;

#[derive(Debug, Default)]
pub(super) struct RateLimiter {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    one_at_a_time: bool,
    not_before: Option<Instant>,
    /// The refusal that set `not_before`.
    refusal: Option<ApiError>,
    inside: usize,
    passed: u64,
}

#[derive(Debug)]
pub(super) enum Denied {
    Closed,
    /// HeyGen asked to wait for longer than the caller can.
    HeldBack(ApiError),
}

pub(super) struct Permit<'a>(&'a RateLimiter);

impl RateLimiter {
    /// Waits for the right to make one request, at most until `deadline`.
    pub(super) fn enter(&self, deadline: Instant) -> Result<Permit<'_>, Denied> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(Denied::Closed);
            }
            let now = Instant::now();
            let wait = match state.not_before {
                Some(at) if at > now => {
                    if at > deadline
                        && let Some(refusal) = &state.refusal
                    {
                        return Err(Denied::HeldBack(refusal.clone()));
                    }
                    Some(at - now)
                }
                _ if state.one_at_a_time && state.inside > 0 => None,
                _ => {
                    state.inside += 1;
                    state.passed += 1;
                    return Ok(Permit(self));
                }
            };
            state = match wait {
                Some(time) => {
                    self.changed
                        .wait_timeout(state, time)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// HeyGen asked for patience: nobody enters before it is over, and from then on one at a time.
    pub(super) fn hold_back(&self, refusal: &ApiError, patience: Duration) {
        let mut state = self.lock();
        let until = Instant::now() + patience;
        state.one_at_a_time = true;
        if state.not_before.is_none_or(|at| at < until) {
            state.not_before = Some(until);
            state.refusal = Some(refusal.clone());
        }
        self.changed.notify_all();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn passed(&self) -> u64 {
        self.lock().passed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.lock().inside -= 1;
        self.0.changed.notify_all();
    }
}
