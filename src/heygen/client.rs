//! One blocking function per endpoint. Each makes exactly one request, or fails to; nothing is repeated or followed here.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use ureq::http::header::{ACCEPT, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use ureq::http::response::Parts;
use ureq::http::{self, HeaderName, Method, Request, Uri};
use ureq::{Agent, AsSendBody};

use super::access::BaseUrl;
use super::balance::Balance;
use super::error::{ApiError, ErrorKind, is_sane_code, status_code};
use super::redact::Redactor;
use super::wire::{
    self, AnswerPart, BatchItem, BulkStatuses, Created, ErrorBody, MAX_MESSAGE, Page, RemoteVideo,
    Unusable,
};
use crate::kind::Kind;
use crate::net::transport::{self, WatchingConnector};
use crate::net::{self, AgentOptions, Proxy, Reuse, Timeouts};
use crate::secret::Secret;
use crate::time;
use crate::video::{IdempotencyKey, Job, VideoId};

pub const MAX_BULK: usize = 100;

const MAX_PAGE: u32 = 100;

/// A page of 100 videos has about 300 KB; a server that sends more than this is not HeyGen in good health.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;
const MAX_EXCERPT: usize = 1024;
const MAX_REQUEST_ID: usize = 200;
const MAX_MIME: usize = 100;

const UNKNOWN_SKEW: i64 = i64::MIN;
/// `Date` has whole seconds and an answer takes its time: less than this is no difference.
const SAME_TIME: i64 = 60_000;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// HeyGen's API under one key. Clones share their connections; threads may use them at once.
#[derive(Clone)]
pub struct Client {
    base: BaseUrl,
    key: Secret,
    timeouts: Timeouts,
    /// When every request has ended.
    until: Option<Instant>,
    redactor: Redactor,
    /// How far HeyGen's clock is ahead of ours, in milliseconds; [`UNKNOWN_SKEW`] before its first answer.
    skew: Arc<AtomicI64>,
    proxy: Option<Proxy>,
    connector: WatchingConnector,
    /// One for each [`Reuse`], made by the first request.
    agents: Arc<[OnceLock<Agent>; 2]>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.base.as_str();
        f.debug_tuple("Client").field(&base).finish()
    }
}

/// Whether the id can stand in a bulk request: no character that a list in a query string could misread, and short enough
/// for [`MAX_BULK`] of them to fit the 8 KB that servers allow a request line. Other ids need their own GET.
pub fn fits_bulk(id: &VideoId) -> bool {
    let id = id.as_str();
    id.len() <= 64
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn paged(path: &str, token: Option<&str>) -> String {
    let token = token.map_or_else(String::new, |token| {
        format!("&token={}", net::percent_encoded(token))
    });
    format!("{path}?limit={MAX_PAGE}{token}")
}

fn job_path(kind: Kind, id: &VideoId) -> String {
    let id = net::percent_encoded(id.as_str());
    format!("{}/{id}", kind.strategy().read)
}

impl Client {
    /// No I/O happens before the first request.
    pub fn new(base: &BaseUrl, key: Secret, timeouts: Timeouts, proxy: Option<Proxy>) -> Self {
        Self {
            base: base.clone(),
            redactor: Redactor::new(key.expose()),
            key,
            timeouts,
            until: None,
            skew: Arc::new(AtomicI64::new(UNKNOWN_SKEW)),
            proxy,
            connector: WatchingConnector::default(),
            agents: Arc::default(),
        }
    }

    /// Creates a job, as its kind's [`Strategy`](crate::kind::Strategy) says. `body` goes out as it is; where HeyGen
    /// promises it, a repeated `key` is answered with the first answer for 24 h.
    /// After an error a job may have been created nevertheless: `decide::Verdict` tells.
    pub fn create(
        &self,
        kind: Kind,
        template: Option<&str>,
        body: &[u8],
        key: &IdempotencyKey,
    ) -> Result<Created, ApiError> {
        let template =
            template.map_or(String::new(), |id| format!("/{}", net::percent_encoded(id)));
        let path = format!("{}{template}", kind.strategy().create);
        let (created, request_id) =
            self.post(&path, Some(key), body, |answer| wire::created(kind, answer))?;
        Ok(Created {
            request_id,
            ..created
        })
    }

    /// Everything about one job, with fresh URLs; an answer about another job is an error.
    pub fn job(&self, job: &Job) -> Result<RemoteVideo, ApiError> {
        let path = job_path(job.kind, &job.id);
        self.get(&path, |answer| wire::video(job, answer))
    }

    pub fn video(&self, id: &VideoId) -> Result<RemoteVideo, ApiError> {
        self.job(&Job {
            kind: Kind::Video,
            id: id.clone(),
        })
    }

    /// The status words of up to [`MAX_BULK`] jobs whose ids [fit](fits_bulk). The answer may leave ids out, and comes
    /// in any order.
    pub fn statuses(&self, kind: Kind, ids: &[&VideoId]) -> Result<BulkStatuses, ApiError> {
        let ids: Vec<&str> = ids
            .iter()
            .filter(|id| fits_bulk(id))
            .map(|id| id.as_str())
            .collect();
        let (false, Some(path)) = (ids.is_empty(), kind.strategy().bulk) else {
            return Ok(BulkStatuses::new());
        };
        let path = format!("{path}?video_ids={}", ids.join(","));
        self.get(&path, wire::statuses)
    }

    /// One page of the account's jobs of a kind, from the `list` that it has, newest first.
    pub fn jobs(
        &self,
        kind: Kind,
        list: &str,
        token: Option<&str>,
    ) -> Result<Page<RemoteVideo>, ApiError> {
        self.get(&paged(list, token), |answer| wire::jobs(kind, answer))
    }

    pub fn batch(&self, id: &str, token: Option<&str>) -> Result<Page<BatchItem>, ApiError> {
        let path = format!("/v3/videos/batches/{}", net::percent_encoded(id));
        self.get(&paged(&path, token), wire::batch)
    }

    /// `POST /v3/video-agents/{id}`: answers or revives a session; returns HeyGen's name for what that started.
    /// After an error it may have been taken nevertheless.
    pub fn message(&self, session: &VideoId, text: &str) -> Result<Option<String>, ApiError> {
        let path = job_path(Kind::Agent, session);
        let body = serde_json::json!({ "message": text }).to_string();
        Ok(self.post(&path, None, body.as_bytes(), wire::run_id)?.0)
    }

    /// `POST /v3/video-agents/{id}/stop`: ends a session and frees its slot.
    pub fn stop(&self, session: &VideoId) -> Result<(), ApiError> {
        let path = job_path(Kind::Agent, session) + "/stop";
        self.post(&path, None, b"{}", |_| Ok(())).map(drop)
    }

    /// `GET /v3/users/me`: whether the key is accepted, and what its account has left.
    pub fn whoami(&self) -> Result<Balance, ApiError> {
        self.get("/v3/users/me", Balance::read)
    }

    #[must_use]
    pub fn until(&self, until: Option<Instant>) -> Self {
        Self {
            until,
            ..self.clone()
        }
    }

    /// How far HeyGen's clock is ahead of this machine's, in milliseconds, by the latest answer of this run.
    pub fn clock_skew(&self) -> Option<i64> {
        Some(self.skew.load(Ordering::Relaxed)).filter(|skew| *skew != UNKNOWN_SKEW)
    }

    fn note_clock(&self, head: &Parts) {
        if let Some(date) = text(head, &DATE).and_then(net::http_date) {
            let skew = date.millis() - time::now().millis();
            let skew = if skew.abs() < SAME_TIME { 0 } else { skew };
            self.skew.store(skew, Ordering::Relaxed);
        }
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(ACCEPT, "application/json")
            .header(X_API_KEY, self.key.expose())
    }

    fn agent(&self, reuse: Reuse) -> Agent {
        let options = AgentOptions {
            https: self.base.is_https(),
            loopback: self.base.is_loopback(),
            proxy: self.proxy.as_ref(),
            reuse,
            timeouts: self.timeouts,
            // Whatever the other time-outs allow, a server that drips bytes is left after this.
            whole: Some(self.timeouts.response + 2 * self.timeouts.per_read),
        };
        net::agent(&options, self.connector.clone())
    }

    fn get<T>(
        &self,
        path: &str,
        read: impl FnOnce(&AnswerPart<'_>) -> Result<T, Unusable>,
    ) -> Result<T, ApiError> {
        let request = self.request(Method::GET, path).body(());
        Ok(self.exchange(request, Reuse::Checked, read)?.0)
    }

    fn post<T>(
        &self,
        path: &str,
        key: Option<&IdempotencyKey>,
        body: &[u8],
        read: impl FnOnce(&AnswerPart<'_>) -> Result<T, Unusable>,
    ) -> Result<(T, Option<String>), ApiError> {
        let mut request = self
            .request(Method::POST, path)
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key.as_str());
        }
        self.exchange(request.body(body), Reuse::Never, read)
    }

    /// One request, what its complete answer of a 2xx status says, and the request's id.
    fn exchange<T>(
        &self,
        request: http::Result<Request<impl AsSendBody>>,
        reuse: Reuse,
        read: impl FnOnce(&AnswerPart<'_>) -> Result<T, Unusable>,
    ) -> Result<(T, Option<String>), ApiError> {
        let agent = self.agents[reuse as usize].get_or_init(|| self.agent(reuse));
        transport::begin_request();
        let response = request
            .map_err(ureq::Error::from)
            .and_then(|request| match self.until {
                None => agent.run(request),
                // A request with settings of its own resumes no TLS session.
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    let request = agent.configure_request(request);
                    agent.run(request.timeout_global(Some(left)).build())
                }
            })
            .map_err(|error| match transport::was_handed_over() {
                true => self.no_answer("no answer", &error),
                false => ApiError {
                    kind: ErrorKind::NotSent,
                    ..self.no_answer("cannot connect", &error)
                },
            })?;
        let (head, body) = response.into_parts();
        let (body, end) = net::read_up_to(body.into_reader(), MAX_ANSWER);
        let request_id = text(&head, &X_REQUEST_ID);
        let request_id = request_id.map(|id| self.redactor.clean(id, MAX_REQUEST_ID));
        let found = match end {
            // Its body explains it at best: however that ends, the status stands.
            _ if !head.status.is_success() => Err(self.refused(&head, &body)),
            Some(error) if error.kind() != io::ErrorKind::FileTooLarge => Err(ApiError {
                excerpt: self.excerpt(&body),
                ..self.no_answer("the answer was cut short", &error.into())
            }),
            end => match end {
                Some(_) => Err((wire::TOO_LONG, ErrorBody::default())),
                None => wire::usable(&body, &self.redactor, read),
            }
            .map_err(|unusable| self.bad_response(&head, &body, unusable)),
        };
        // What stands between has a clock of its own.
        if found.as_ref().err().is_none_or(|error| error.own_word) {
            self.note_clock(&head);
        }
        match found {
            Ok(found) => Ok((found, request_id)),
            Err(error) => Err(ApiError {
                request_id,
                ..error
            }),
        }
    }

    fn refused(&self, head: &Parts, body: &[u8]) -> ApiError {
        let status = head.status.as_u16();
        let (problem, own_word) = wire::refusal(body, &self.redactor);
        let message = if head.status.is_redirection() {
            let target = self.redirect_target(head);
            format!("HTTP {status} from HeyGen: a redirect{target}, which is never followed")
        } else {
            problem.message.unwrap_or_else(|| {
                let shape = self.shape(head, body);
                format!("HTTP {status} from HeyGen ({shape})")
            })
        };
        let code = status_code(status, problem.code.as_deref(), own_word);
        let retry_after = text(head, &RETRY_AFTER);
        ApiError {
            own_word,
            retry_after: retry_after.and_then(|value| net::retry_after(value, time::now())),
            ..ApiError::new(ErrorKind::Status(status), code, message)
        }
    }

    fn bad_response(
        &self,
        head: &Parts,
        body: &[u8],
        (why, problem): (Unusable, ErrorBody),
    ) -> ApiError {
        let status = head.status.as_u16();
        let message = problem.message.unwrap_or_else(|| {
            let shape = self.shape(head, body);
            format!("HeyGen answered HTTP {status} with {why} ({shape})")
        });
        let code = problem.code.filter(|code| is_sane_code(code));
        let code = code.unwrap_or_else(|| "bad_response".to_owned());
        ApiError {
            excerpt: self.excerpt(body),
            ..ApiError::new(ErrorKind::BadResponse(status), code, message)
        }
    }

    fn no_answer(&self, what: &str, error: &ureq::Error) -> ApiError {
        let (code, cause) = match error {
            ureq::Error::Timeout(budget) => ("timeout", format!("timed out ({budget})")),
            ureq::Error::Io(error) => match error.kind() {
                io::ErrorKind::TimedOut => ("timeout", error.to_string()),
                _ => ("network_error", error.to_string()),
            },
            other => ("network_error", other.to_string()),
        };
        let authority = self.base.authority();
        let proxy = self.proxy.as_ref();
        let route = proxy.and_then(|proxy| proxy.on_the_way_to(self.base.as_str()));
        let route = route.unwrap_or_default();
        let message = format!("{what} ({authority}{route}): {cause}");
        let message = self.redactor.clean(&message, MAX_MESSAGE);
        ApiError::new(ErrorKind::NoAnswer, code, message)
    }

    /// `text/html, 167 bytes`: what can be said about any body.
    fn shape(&self, head: &Parts, body: &[u8]) -> String {
        let mime = text(head, &CONTENT_TYPE)
            .and_then(|value| value.split(';').next())
            .map(str::trim)
            .filter(|mime| !mime.is_empty())
            .unwrap_or("no content type");
        let mime = self.redactor.clean(mime, MAX_MIME);
        format!("{mime}, {} bytes", body.len())
    }

    fn excerpt(&self, body: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(body);
        Some(self.redactor.clean(&text, MAX_EXCERPT)).filter(|text| !text.is_empty())
    }

    /// ` to HOST`: the host alone, since the rest of the target may be a secret.
    fn redirect_target(&self, head: &Parts) -> String {
        text(head, &LOCATION)
            .and_then(|location| location.parse::<Uri>().ok())
            .and_then(|uri| uri.host().map(|host| format!(" to {host}")))
            .map(|target| self.redactor.clean(&target, MAX_REQUEST_ID))
            .unwrap_or_default()
    }
}

fn text<'a>(head: &'a Parts, name: &HeaderName) -> Option<&'a str> {
    head.headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;
