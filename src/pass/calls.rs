//! Requests to HeyGen with the patience of one run: which are repeated, and for how long.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::gate::{Denied, Gate};
use crate::error::Error;
use crate::heygen::{ApiError, Backoff, Client, Created, ErrorKind};
use crate::store::Identity;
use crate::time::{self, Timestamp};
use crate::video::IdempotencyKey;

/// Tries per request within one run.
const TRIES: u32 = 3;
/// The first pause between tries, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A 429 without a usable `Retry-After`.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// How the worker threads talk to HeyGen.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) client: Client,
    pub(super) gate: Arc<Gate>,
    /// How long one request may take, pauses between its tries included, before the next run has to go on.
    pub(super) budget: Duration,
}

/// Why a request brought nothing.
#[derive(Debug)]
pub(super) enum CallError {
    /// HeyGen's or the network's doing.
    Api(ApiError),
    /// It was not made: the run is over.
    Stopped,
}

/// What became of a POST.
#[derive(Debug)]
pub(super) struct Posted {
    /// The last answer that matters, or why there was none.
    pub(super) answer: Result<Created, PostError>,
    /// POSTs without an answer.
    pub(super) unanswered: i64,
}

/// Why a POST brought no video.
#[derive(Debug)]
pub(super) enum PostError {
    /// HeyGen's or the network's doing.
    Api(ApiError),
    /// No POST was made: the run is over.
    NotAttempted,
    /// No (further) POST was made: its answer could not be recorded.
    Database(Error),
}

impl Caller {
    /// Makes a request that may be repeated.
    pub(super) fn get<T>(
        &self,
        request: impl Fn(&Client) -> Result<T, ApiError>,
    ) -> Result<T, CallError> {
        let started = Instant::now();
        let mut backoff = Backoff::new(TRIES, self.budget, FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let permit = match self.gate.enter(started + self.budget) {
                Ok(permit) => permit,
                Err(Denied::Closed) => return Err(CallError::Stopped),
                Err(Denied::HeldBack(error)) => return Err(CallError::Api(error)),
            };
            let error = match request(&self.client) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.heed(&error);
            drop(permit);
            if !error.is_transient() || matches!(error.kind, ErrorKind::BadResponse(_)) {
                return Err(CallError::Api(error));
            }
            match backoff.next(started.elapsed(), error.retry_after, fastrand::f64()) {
                // The gate does the waiting that Retry-After asks for.
                Some(_) if error.is_rate_limit() => {}
                Some(pause) => thread::sleep(pause),
                None => return Err(CallError::Api(error)),
            }
        }
    }

    /// POSTs a row. A first POST (`fresh`) whose answer is missing is repeated once, with the same key and the same
    /// bytes; further replays are the next runs', at growing distances.
    ///
    /// Nothing is sent into a database that could not take the answer (`identity`).
    pub(super) fn post(
        &self,
        body: &[u8],
        key: &IdempotencyKey,
        fresh: bool,
        window: &RangeInclusive<Timestamp>,
        identity: &Identity,
    ) -> Posted {
        let started = Instant::now();
        let mut backoff = Backoff::new(TRIES, self.budget, FIRST_PAUSE, LONGEST_PAUSE);
        let mut unanswered = 0;
        let mut last: Option<ApiError> = None;
        let answer = loop {
            if let Err(moved) = identity.check() {
                break Err(PostError::Database(moved));
            }
            let permit = match self.gate.enter(started + self.budget) {
                Ok(permit) => permit,
                Err(denied) => {
                    break Err(match (last, denied) {
                        (Some(error), _) => PostError::Api(error),
                        (None, Denied::HeldBack(error)) => PostError::Api(error),
                        (None, Denied::Closed) => PostError::NotAttempted,
                    });
                }
            };
            if !window.contains(&time::now()) {
                break Err(last.map_or(PostError::NotAttempted, PostError::Api));
            }
            let error = match self.client.create(body, key) {
                Ok(created) => break Ok(created),
                Err(error) => error,
            };
            self.heed(&error);
            drop(permit);
            let open = error.leaves_outcome_open();
            unanswered += i64::from(open);
            let repeat = match error.kind {
                ErrorKind::NotSent => true,
                ErrorKind::Status(429) => true,
                _ => open && fresh && unanswered < 2,
            };
            let pause = backoff
                .next(started.elapsed(), error.retry_after, fastrand::f64())
                .filter(|_| repeat);
            match pause {
                Some(_) if error.is_rate_limit() => {}
                Some(pause) => thread::sleep(pause),
                None => break Err(PostError::Api(error)),
            }
            last = Some(error);
        };
        Posted { answer, unanswered }
    }

    /// What one answer means for everybody's next request.
    fn heed(&self, error: &ApiError) {
        if error.is_rate_limit() {
            self.gate
                .hold_back(error, error.retry_after.unwrap_or(DEFAULT_RETRY_AFTER));
        }
        if error.is_auth() {
            self.gate.close();
        }
    }
}
