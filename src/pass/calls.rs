//! Requests to HeyGen with the patience of one run: which are repeated, and for how long.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use super::limiter::CallError;
use super::limiter::RateLimiter;
use crate::decide::{Attempt, Verdict};
use crate::error::Problem;
use crate::heygen::{ApiError, Backoff, Client, Created, RemoteVideo};
use crate::store::Identity;
use crate::time::{self, Timestamp};
use crate::video::{Account, IdempotencyKey, Job, Phase, Video};

const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A 429 without a usable `Retry-After`.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Caller {
    pub(super) client: Client,
    pub(super) account: Account,
    pub(super) limiter: Arc<RateLimiter>,
    /// How long one request may take, pauses between its tries included, before the next run has to go on.
    pub(super) budget: Duration,
}

/// A row that was marked for its POST.
pub(super) struct Ready {
    /// As it was before.
    pub(super) video: Video,
    pub(super) body: String,
    pub(super) key: IdempotencyKey,
    pub(super) window: RangeInclusive<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Posted {
    pub(super) answer: Result<Created, CallError>,
    pub(super) attempt: Attempt,
    /// Why no (further) POST was made: its answer could not be recorded.
    pub(super) moved: Option<Problem>,
}

impl Caller {
    pub(super) fn get<T>(
        &self,
        request: impl Fn(&Client) -> Result<T, ApiError>,
    ) -> Result<T, CallError> {
        let started = Instant::now();
        let mut backoff = Backoff::new(TRIES, self.budget, FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let permit = self.limiter.enter(started + self.budget)?;
            let error = match request(&self.client) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let verdict = self.heed(&error);
            drop(permit);
            if !verdict.is_worth_repeating(error.kind) {
                return Err(CallError::Api(error));
            }
            if !waits(&mut backoff, started, &error, verdict) {
                return Err(CallError::Api(error));
            }
        }
    }

    /// Everything about a job. An agent's session has no files: they are its video's, and so is the reason of a failure.
    pub(crate) fn job(&self, job: &Job) -> Result<RemoteVideo, CallError> {
        let remote = self.get(|client| client.job(job))?;
        let video_id = match &remote.session {
            Some(session) if remote.status.is_terminal() => session.video_id.clone(),
            _ => None,
        };
        let Some(video_id) = video_id else {
            return Ok(remote);
        };
        match self.get(|client| client.video(&video_id)) {
            Ok(video) => Ok(RemoteVideo {
                id: remote.id,
                status: remote.status,
                title: remote.title.or(video.title.clone()),
                failure_message: video.failure_message.clone().or(remote.failure_message),
                failure_code: video.failure_code.clone().or(remote.failure_code),
                session: remote.session,
                ..video
            }),
            // A placeholder that never rendered: the session's word stands.
            Err(CallError::Api(error)) if Verdict::of(&error) == Verdict::NotFound => Ok(remote),
            Err(error) => Err(error),
        }
    }

    /// Writes to a session, once: whatever comes back, it may have arrived.
    pub(super) fn message(&self, job: &Job, text: &str) -> Result<Option<String>, CallError> {
        let _permit = self.limiter.enter(Instant::now() + self.budget)?;
        self.client.message(&job.id, text).map_err(|error| {
            self.heed(&error);
            CallError::Api(error)
        })
    }

    /// POSTs a row. A first POST whose answer is missing is repeated once, with the same key and the same bytes;
    /// further replays are the next runs', at growing distances.
    ///
    /// Nothing is sent into a database that could not take the answer (`identity`).
    pub(super) fn post(&self, ready: &Ready, identity: &Identity) -> Posted {
        let (video, body) = (&ready.video, ready.body.as_bytes());
        let (kind, template) = (video.kind, video.template_id.as_deref());
        let unanswered_before = video.phase == Phase::Sending;
        let started = Instant::now();
        let mut backoff = Backoff::new(TRIES, self.budget, FIRST_PAUSE, LONGEST_PAUSE);
        let mut attempt = Attempt {
            unanswered_before,
            unanswered: 0,
        };
        let mut last: Option<ApiError> = None;
        let mut moved;
        let answer = loop {
            moved = identity.check().err();
            if moved.is_some() {
                break Err(CallError::Stopped);
            }
            let permit = match self.limiter.enter(started + self.budget) {
                Ok(permit) => permit,
                Err(denied) => break Err(last.map_or(denied, CallError::Api)),
            };
            if !ready.window.contains(&time::now()) {
                break Err(last.map_or(CallError::Stopped, CallError::Api));
            }
            let error = match self.client.create(kind, template, body, &ready.key) {
                Ok(created) => break Ok(created),
                Err(error) => error,
            };
            let verdict = self.heed(&error);
            drop(permit);
            attempt.unanswered += i64::from(verdict.leaves_outcome_open());
            let repeat = match verdict {
                Verdict::NotSent | Verdict::Busy => true,
                Verdict::Unanswered | Verdict::Garbled => {
                    kind.strategy().replays && !unanswered_before && attempt.unanswered < 2
                }
                _ => false,
            };
            if !repeat || !waits(&mut backoff, started, &error, verdict) {
                break Err(CallError::Api(error));
            }
            last = Some(error);
        };
        Posted {
            answer,
            attempt,
            moved,
        }
    }

    /// What one answer means for everybody's next request.
    fn heed(&self, error: &ApiError) -> Verdict {
        let verdict = Verdict::of(error);
        match verdict {
            Verdict::Busy => self
                .limiter
                .hold_back(error, error.retry_after.unwrap_or(DEFAULT_RETRY_AFTER)),
            Verdict::KeyRefused => self.limiter.close(),
            _ => {}
        }
        verdict
    }
}

/// Waits before the next try; `false` where there is none.
fn waits(backoff: &mut Backoff, started: Instant, error: &ApiError, verdict: Verdict) -> bool {
    match backoff.next(started.elapsed(), error.retry_after, fastrand::f64()) {
        // The limiter does the waiting that Retry-After asks for.
        Some(_) if verdict == Verdict::Busy => true,
        Some(pause) => {
            thread::sleep(pause);
            true
        }
        None => false,
    }
}
