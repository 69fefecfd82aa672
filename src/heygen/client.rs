//! One blocking function per endpoint. Each makes exactly one request, or fails to; nothing is repeated or followed here.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use ureq::http::header::{ACCEPT, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use ureq::http::{self, HeaderMap, HeaderName, Method, Request, Response, Uri};
use ureq::{Agent, AsSendBody, Body};

use super::access::BaseUrl;
use super::balance::Balance;
use super::error::{ApiError, ErrorKind, is_sane_code, status_code};
use super::redact::Redactor;
use super::transport::{self, NotingConnector};
use super::wire::{
    self, BadAnswer, BatchItem, BulkStatus, Created, MAX_MESSAGE, Page, RemoteVideo,
};
use crate::kind::Kind;
use crate::net::{self, AgentOptions, Proxy, Reuse, Timeouts};
use crate::secret::Secret;
use crate::time;
use crate::video::{IdempotencyKey, Job, VideoId};

pub const MAX_BULK: usize = 100;

const MAX_PAGE: u32 = 100;

/// A page of 100 videos has about 300 KB; a server that sends more than this is not HeyGen in good health.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;
/// Of an answer with an error status only the envelope matters.
const MAX_REFUSAL: u64 = MAX_ANSWER;
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
pub struct Client(Arc<Inner>);

struct Inner {
    base: BaseUrl,
    key: Secret,
    timeouts: Timeouts,
    redactor: Redactor,
    /// How far HeyGen's clock is ahead of ours, in milliseconds; [`UNKNOWN_SKEW`] before its first answer.
    skew: AtomicI64,
    proxy: Option<Proxy>,
    connector: NotingConnector,
    /// For status requests; made by the first.
    shared: OnceLock<Agent>,
    /// A connection for each request, for those whose answers do not tell what they answer.
    single: OnceLock<Agent>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client")
            .field(&self.0.base.as_str())
            .finish()
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

impl Client {
    /// No I/O happens before the first request.
    pub fn new(base: &BaseUrl, key: Secret, timeouts: Timeouts, proxy: Option<Proxy>) -> Self {
        Self(Arc::new(Inner {
            base: base.clone(),
            redactor: Redactor::new(key.expose()),
            key,
            timeouts,
            skew: AtomicI64::new(UNKNOWN_SKEW),
            proxy,
            connector: NotingConnector::default(),
            shared: OnceLock::new(),
            single: OnceLock::new(),
        }))
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
        let segment =
            template.map_or_else(String::new, |id| format!("/{}", net::percent_encoded(id)));
        let request = self
            .request(
                Method::POST,
                &format!("{}{segment}", kind.strategy().create),
            )
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, key.as_str())
            .body(body);
        let answer = self.exchange(request, Reuse::Never)?;
        let created = self.read(&answer, |body, redactor| {
            wire::created(kind, body, redactor)
        })?;
        Ok(Created {
            request_id: answer.request_id,
            ..created
        })
    }

    /// Everything about one job, with fresh URLs. An agent's files are its video's.
    /// An answer about another job is an error.
    pub fn job(&self, job: &Job) -> Result<RemoteVideo, ApiError> {
        let read = job.kind.strategy().read;
        let path = format!("{read}/{}", net::percent_encoded(job.id.as_str()));
        self.get(&path, |body, redactor| wire::video(body, job, redactor))
    }

    /// `GET /v3/videos/{id}`.
    pub fn video(&self, id: &VideoId) -> Result<RemoteVideo, ApiError> {
        self.job(&Job {
            kind: Kind::Video,
            id: id.clone(),
        })
    }

    /// The status words of up to [`MAX_BULK`] jobs of a kind that has such an endpoint (HeyGen refuses more).
    ///
    /// Ids that do not [fit](fits_bulk) are not asked about. The answer may leave ids out, and comes in any order.
    pub fn statuses(&self, kind: Kind, ids: &[&VideoId]) -> Result<Vec<BulkStatus>, ApiError> {
        let ids: Vec<&str> = ids
            .iter()
            .filter(|id| fits_bulk(id))
            .map(|id| id.as_str())
            .collect();
        let (false, Some(path)) = (ids.is_empty(), kind.strategy().bulk) else {
            return Ok(Vec::new());
        };
        let path = format!("{path}?video_ids={}", ids.join(","));
        self.get(&path, wire::statuses)
    }

    /// One page of the account's jobs of a kind, newest first. For a kind that cannot be listed it is empty.
    pub fn jobs(&self, kind: Kind, token: Option<&str>) -> Result<Page<RemoteVideo>, ApiError> {
        let Some(path) = kind.strategy().list else {
            return Ok(Page {
                items: Vec::new(),
                skipped: 0,
                next: None,
            });
        };
        self.get(&paged(path, token), |body, redactor| {
            wire::jobs(kind, body, redactor)
        })
    }

    /// One page of what became of the bodies of a batch.
    pub fn batch(&self, id: &str, token: Option<&str>) -> Result<Page<BatchItem>, ApiError> {
        let path = format!("/v3/videos/batches/{}", net::percent_encoded(id));
        self.get(&paged(&path, token), wire::batch)
    }

    /// `POST /v3/video-agents/{id}`: answers or revives a session; returns HeyGen's name for what that started.
    /// After an error it may have been taken nevertheless.
    pub fn message(&self, session: &VideoId, text: &str) -> Result<Option<String>, ApiError> {
        let body = serde_json::json!({ "message": text }).to_string();
        let answer = self.to_session(session, "", body)?;
        self.read(&answer, wire::run_id)
    }

    /// `POST /v3/video-agents/{id}/stop`: ends a session and frees its slot.
    pub fn stop(&self, session: &VideoId) -> Result<(), ApiError> {
        let answer = self.to_session(session, "/stop", "{}".to_owned())?;
        self.read(&answer, wire::anything)
    }

    fn to_session(
        &self,
        session: &VideoId,
        action: &str,
        body: String,
    ) -> Result<Answer, ApiError> {
        let read = Kind::Agent.strategy().read;
        let path = format!("{read}/{}{action}", net::percent_encoded(session.as_str()));
        let request = self
            .request(Method::POST, &path)
            .header(CONTENT_TYPE, "application/json")
            .body(body.into_bytes());
        self.exchange(request, Reuse::Never)
    }

    /// `GET /v3/users/me`: whether the key is accepted, and what its account has left.
    pub fn whoami(&self) -> Result<Balance, ApiError> {
        self.get("/v3/users/me", Balance::read)
    }

    /// The same API under the same key, with other patience.
    #[must_use]
    pub fn with_timeouts(&self, timeouts: Timeouts) -> Self {
        let Inner {
            base, key, proxy, ..
        } = &*self.0;
        Self::new(base, key.clone(), timeouts, proxy.clone())
    }

    /// How far HeyGen's clock is ahead of this machine's, in milliseconds, by the latest answer of this run.
    pub fn clock_skew(&self) -> Option<i64> {
        Some(self.0.skew.load(Ordering::Relaxed)).filter(|skew| *skew != UNKNOWN_SKEW)
    }

    fn note_clock(&self, headers: &HeaderMap) {
        if let Some(date) = text(headers, &DATE).and_then(net::http_date) {
            let skew = date.millis() - time::now().millis();
            let skew = if skew.abs() < SAME_TIME { 0 } else { skew };
            self.0.skew.store(skew, Ordering::Relaxed);
        }
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.0.base))
            .header(ACCEPT, "application/json")
            .header(X_API_KEY, self.0.key.expose())
    }

    fn get<T>(
        &self,
        path: &str,
        read: impl FnOnce(&[u8], &Redactor) -> Result<T, BadAnswer>,
    ) -> Result<T, ApiError> {
        let request = self.request(Method::GET, path).body(());
        self.read(&self.exchange(request, Reuse::Checked)?, read)
    }

    /// One request and its complete answer, which has a 2xx status.
    fn exchange(
        &self,
        request: http::Result<Request<impl AsSendBody>>,
        reuse: Reuse,
    ) -> Result<Answer, ApiError> {
        let agent = match reuse {
            Reuse::Checked => &self.0.shared,
            Reuse::Never => &self.0.single,
        };
        let agent = agent.get_or_init(|| self.0.build_agent(reuse));
        transport::begin_request();
        let response = request
            .map_err(ureq::Error::from)
            .and_then(|request| agent.run(request))
            .map_err(|error| self.without_answer(&error))?;
        let (head, mut body) = response.into_parts();
        self.note_clock(&head.headers);
        let head = Response::from_parts(head, ());
        if head.status().is_success() {
            self.accepted(&head, &mut body)
        } else {
            Err(self.refused(&head, &mut body))
        }
    }

    fn accepted(&self, head: &Response<()>, body: &mut Body) -> Result<Answer, ApiError> {
        let (bytes, end) = net::read_up_to(body.as_reader(), MAX_ANSWER);
        let answer = Answer {
            status: head.status().as_u16(),
            request_id: self.request_id(head.headers()),
            shape: self.shape(head.headers(), bytes.len()),
            body: bytes,
        };
        match end {
            None => Ok(answer),
            Some(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(self.bad_response(&answer, "more than 4 MiB", "bad_response".to_owned()))
            }
            Some(error) => Err(ApiError {
                request_id: answer.request_id.clone(),
                excerpt: self.excerpt(&answer.body),
                ..self.no_answer("the answer was cut short", &error.into())
            }),
        }
    }

    /// An answer with any other status. Its body explains it at best; however that ends, the status stands.
    fn refused(&self, head: &Response<()>, body: &mut Body) -> ApiError {
        let status = head.status().as_u16();
        let (bytes, _) = net::read_up_to(body.as_reader(), MAX_REFUSAL);
        let problem = wire::refusal(&bytes, &self.0.redactor);
        let own_word = wire::is_own_word(&bytes);
        let message = if head.status().is_redirection() {
            let target = self.redirect_target(head.headers());
            format!("HTTP {status} from HeyGen: a redirect{target}, which is never followed")
        } else {
            problem.message.unwrap_or_else(|| {
                let shape = self.shape(head.headers(), bytes.len());
                format!("HTTP {status} from HeyGen ({shape})")
            })
        };
        ApiError {
            kind: ErrorKind::Status(status),
            own_word,
            code: status_code(status, problem.code.as_deref(), own_word),
            message,
            request_id: self.request_id(head.headers()),
            retry_after: text(head.headers(), &RETRY_AFTER)
                .and_then(|value| net::retry_after(value, time::now())),
            excerpt: None,
        }
    }

    /// Turns a complete answer into what was asked for.
    fn read<T>(
        &self,
        answer: &Answer,
        read: impl FnOnce(&[u8], &Redactor) -> Result<T, BadAnswer>,
    ) -> Result<T, ApiError> {
        read(&answer.body, &self.0.redactor).map_err(|unusable| {
            let problem = match &unusable {
                BadAnswer::Refused(problem) => problem.clone(),
                _ => wire::ErrorBody::default(),
            };
            let code = problem.code.filter(|code| is_sane_code(code));
            let code = code.unwrap_or_else(|| "bad_response".to_owned());
            let mut error = self.bad_response(answer, &unusable, code);
            if let Some(message) = problem.message {
                error.message = message;
            }
            error
        })
    }

    fn bad_response(&self, answer: &Answer, what: impl fmt::Display, code: String) -> ApiError {
        let Answer { status, shape, .. } = answer;
        ApiError {
            kind: ErrorKind::BadResponse(*status),
            own_word: false,
            code,
            message: format!("HeyGen answered HTTP {status} with {what} ({shape})"),
            request_id: answer.request_id.clone(),
            retry_after: None,
            excerpt: self.excerpt(&answer.body),
        }
    }

    /// No status came back; the connection knows how far the request got.
    fn without_answer(&self, error: &ureq::Error) -> ApiError {
        if transport::was_handed_over() {
            self.no_answer("no answer", error)
        } else {
            ApiError {
                kind: ErrorKind::NotSent,
                ..self.no_answer("cannot connect", error)
            }
        }
    }

    fn no_answer(&self, what: &str, error: &ureq::Error) -> ApiError {
        let timed_out = is_timeout(error);
        let authority = self.0.base.authority();
        let proxy = self.0.proxy.as_ref();
        let route = proxy.and_then(|proxy| proxy.on_the_way_to(self.0.base.as_str()));
        let route = route.unwrap_or_default();
        let message = format!("{what} ({authority}{route}): {}", cause(error));
        ApiError {
            kind: ErrorKind::NoAnswer { timed_out },
            own_word: false,
            code: if timed_out {
                "timeout"
            } else {
                "network_error"
            }
            .to_owned(),
            message: self.0.redactor.clean(&message, MAX_MESSAGE),
            request_id: None,
            retry_after: None,
            excerpt: None,
        }
    }

    fn request_id(&self, headers: &HeaderMap) -> Option<String> {
        text(headers, &X_REQUEST_ID).map(|id| self.0.redactor.clean(id, MAX_REQUEST_ID))
    }

    /// `text/html, 167 bytes`: what can be said about any body.
    fn shape(&self, headers: &HeaderMap, bytes: usize) -> String {
        let mime = text(headers, &CONTENT_TYPE)
            .and_then(|value| value.split(';').next())
            .map(str::trim)
            .filter(|mime| !mime.is_empty())
            .unwrap_or("no content type");
        format!("{}, {bytes} bytes", self.0.redactor.clean(mime, MAX_MIME))
    }

    fn excerpt(&self, body: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(body);
        Some(self.0.redactor.clean(&text, MAX_EXCERPT)).filter(|text| !text.is_empty())
    }

    /// ` to HOST`: the host alone, since the rest of the target may be a secret.
    fn redirect_target(&self, headers: &HeaderMap) -> String {
        text(headers, &LOCATION)
            .and_then(|location| location.parse::<Uri>().ok())
            .and_then(|uri| uri.host().map(|host| format!(" to {host}")))
            .map(|target| self.0.redactor.clean(&target, MAX_REQUEST_ID))
            .unwrap_or_default()
    }
}

impl Inner {
    fn build_agent(&self, reuse: Reuse) -> Agent {
        let options = AgentOptions {
            https: self.base.is_https(),
            loopback: self.base.is_loopback(),
            proxy: self.proxy.as_ref(),
            reuse,
            timeouts: self.timeouts,
            // Whatever the others allow, a server that drips bytes is left after this.
            whole: Some(self.timeouts.response + 2 * self.timeouts.per_read),
        };
        net::agent(&options, self.connector.clone())
    }
}

struct Answer {
    status: u16,
    request_id: Option<String>,
    body: Vec<u8>,
    shape: String,
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn is_timeout(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Timeout(_) => true,
        ureq::Error::Io(error) => error.kind() == io::ErrorKind::TimedOut,
        _ => false,
    }
}

/// ureq's words without its prefixes.
fn cause(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(budget) => format!("timed out ({budget})"),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
