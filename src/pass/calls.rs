//! Requests to HeyGen with the patience of one run: which are repeated, and for how long.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use super::Access;
use crate::decide::{Attempt, Verdict};
use crate::error::{Problem, Result};
use crate::heygen::{ApiError, Backoff, Client, Created, Page, RemoteVideo};
use crate::store::Identity;
use crate::time::{self, Timestamp};
use crate::video::{IdempotencyKey, Job, Phase, Video};

const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A 429 without a usable `Retry-After`.
const DEFAULT_PAUSE: Duration = Duration::from_secs(5);
/// A million jobs: what goes on longer has no end.
const MAX_PAGES: usize = 10_000;

/// A row that was marked for its POST.
pub(super) struct Ready {
    /// As it was before.
    pub(super) video: Video,
    pub(super) body: String,
    pub(super) key: IdempotencyKey,
    pub(super) window: RangeInclusive<Timestamp>,
}

pub(super) type Posted = (Result<Created, ApiError>, Attempt);

impl Access {
    /// Repeats a request as long as `again` sees sense in it.
    fn ask<T>(
        &self,
        mut request: impl FnMut(&Client) -> Result<T, ApiError>,
        mut again: impl FnMut(Verdict, &ApiError) -> bool,
    ) -> Result<T, ApiError> {
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
            if !again(verdict, &error) {
                return Err(error);
            }
            match backoff.next(started.elapsed(), error.retry_after, fastrand::f64()) {
                None => return Err(error),
                // The limiter does the waiting that Retry-After asks for.
                Some(_) if verdict == Verdict::Busy => {}
                Some(pause) => thread::sleep(pause),
            }
        }
    }

    pub(super) fn get<T>(
        &self,
        request: impl Fn(&Client) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.ask(request, |verdict, error| {
            verdict.is_worth_repeating(error.kind)
        })
    }

    /// Everything about a job. An agent's session has no files: they are its video's, and so is the reason of a failure.
    pub(crate) fn job(&self, job: &Job) -> Result<RemoteVideo, ApiError> {
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
            // A placeholder that never rendered, or a video without a link yet: the session's word stands.
            Err(error) => match Verdict::of(&error) {
                verdict if verdict.is_heygens() => Ok(remote),
                Verdict::Unanswered | Verdict::Garbled | Verdict::Gateway
                    if !remote.status.is_completed() =>
                {
                    Ok(remote)
                }
                _ => Err(error),
            },
        }
    }

    /// Reads a list to its end, or until `take` has enough.
    pub(crate) fn pages<T>(
        &self,
        read: impl Fn(&Client, Option<&str>) -> Result<Page<T>, ApiError>,
        mut take: impl FnMut(Page<T>) -> Result<bool>,
    ) -> Result<()> {
        let mut token: Option<String> = None;
        let mut seen = HashSet::new();
        while seen.len() < MAX_PAGES {
            let page = self.get(|client| read(client, token.as_deref()));
            let page = page.map_err(unread)?;
            let is_empty = page.items.is_empty() && page.skipped == 0;
            token.clone_from(&page.next);
            if !take(page)? || is_empty || token.is_none() {
                return Ok(());
            }
            if !seen.insert(token.clone()) {
                break;
            }
        }
        let message = "HeyGen's list goes in circles or has no end";
        Err(Problem::new("bad_response", message))
    }

    /// Writes to a session, once: whatever comes back, it may have arrived.
    pub(super) fn message(&self, job: &Job, text: &str) -> Result<Option<String>, ApiError> {
        self.ask(|client| client.message(&job.id, text), |_, _| false)
    }

    /// POSTs a row. A first POST whose answer is missing is repeated once, with the same key and the same bytes;
    /// further replays are the next runs', at growing distances.
    ///
    /// Nothing is sent into a database that could not take the answer (`identity`): that is the error.
    pub(super) fn post(&self, ready: &Ready, identity: &Identity) -> Result<Posted> {
        let (video, body) = (&ready.video, ready.body.as_bytes());
        let (kind, template) = (video.kind, video.template_id.as_deref());
        let unanswered_before = video.phase == Phase::Sending;
        let mut attempt = Attempt {
            unanswered_before,
            unanswered: 0,
        };
        let (mut last, mut moved) = (None, None);
        let answer = self.ask(
            |client| {
                moved = identity.check().err();
                if moved.is_some() || !ready.window.contains(&time::now()) {
                    return Err(ApiError::not_asked());
                }
                let answer = client.create(kind, template, body, &ready.key);
                answer.inspect_err(|error| last = Some(error.clone()))
            },
            |verdict, _| {
                attempt.unanswered += i64::from(verdict.leaves_outcome_open());
                match verdict {
                    Verdict::NotSent | Verdict::Busy => true,
                    Verdict::Unanswered | Verdict::Garbled => {
                        kind.strategy().replays && !unanswered_before && attempt.unanswered < 2
                    }
                    _ => false,
                }
            },
        );
        // What kept a further try from being made is not the answer to the one before.
        let answer = answer.map_err(|error| last.unwrap_or(error));
        moved.map_or(Ok((answer, attempt)), Err)
    }

    /// What one answer means for everybody's next request.
    fn heed(&self, error: &ApiError) -> Verdict {
        let verdict = Verdict::of(error);
        match verdict {
            Verdict::Busy => self
                .limiter
                .hold_back(error, error.retry_after.unwrap_or(DEFAULT_PAUSE)),
            Verdict::KeyRefused => self.limiter.close(),
            _ => {}
        }
        verdict
    }
}

pub(crate) fn unread(error: ApiError) -> Problem {
    match Verdict::of(&error) {
        Verdict::NotSent | Verdict::Unanswered | Verdict::Garbled | Verdict::Busy => {
            Problem::from(error).with_hint("run it again: what is recorded stays")
        }
        _ => error.into(),
    }
}
