//! A local stand-in for the HeyGen v3 API, for `demo`, for `sandbox` and for the tests, where it is also the oracle.
//!
//! Two servers, as in real life: the API, which wants a key, and a file host on another port, which must never see one.
//! `World` holds what HeyGen would know (videos, remembered idempotency keys, bills) and `api` and
//! `files` put the documented shapes around it. Rendering follows a clock that tests can move, or the test itself.
//! [`media`] makes the files: small, playable, computable from the video's id.
//!
//! Every request passes the same five steps, in `Inner::answer_api` and `Inner::answer_file`:
//!
//! 1. it is recorded ([`Sandbox::requests`]);
//! 2. the script is asked for its [`Fault`] ([`Sandbox::fault`]);
//! 3. unless the fault says otherwise the request is carried out, atomically, and billed if it buys something
//!    ([`Sandbox::billed`]);
//! 4. the answer is composed: the real one, changed or replaced;
//! 5. it is delivered: late, cut, lying, or simply well.
//!
//! So what a fault does to the *work* (3) never depends on what it does to the *answer* (4, 5), and the bill is right
//! whatever the client got to see. A fault that is scripted but never met fails the test when the stand-in is dropped:
//! such a test proves nothing.
//!
//! Who is to be told of the end of a video ([`Options::webhook`]) is told by `webhooks`, as HeyGen would.
//!
//! Not done: batches (404), real URL signatures, TLS, `callback_url`.

mod api;
mod clock;
mod envelope;
mod fault;
mod files;
pub mod media;
mod options;
mod rate;
mod record;
mod reply;
mod script;
#[cfg(test)]
mod tests;
mod webhooks;
mod world;

use std::io;
use std::net::TcpListener;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use fault::Fault;
pub use options::{Options, Render};
pub use record::{Billed, Host, Recorded};
pub use webhooks::{Delivered, Webhook, WebhookError};

use crate::http::{Answer, Limits, Request, Server};
use crate::video::Asset;
use files::{Seen, Signer};
use rate::Bucket;
use record::Log;
use script::Script;
use webhooks::Announcer;
use world::{Progress, World};

/// A running stand-in; both servers stop when it is dropped.
///
/// # Panics
/// When dropped with a scripted fault that was used less often than promised, unless [`Sandbox::allow_unused`].
pub struct Sandbox {
    inner: Arc<Inner>,
    key: String,
    api: Mutex<Option<Server>>,
    files: Mutex<Option<Server>>,
    ports: (u16, u16),
    allow_unused: AtomicBool,
    announcer: Option<Announcer>,
}

/// What both servers share. No lock is held while another is taken.
struct Inner {
    world: Mutex<World>,
    script: Mutex<Script>,
    log: Mutex<Log>,
    signer: Signer,
    latency: Duration,
    rate: Option<Mutex<Bucket>>,
    retry_after: u32,
    served: Arc<AtomicU64>,
}

impl Sandbox {
    /// Starts both servers on 127.0.0.1.
    pub fn start(options: Options) -> io::Result<Self> {
        let api = listen(options.api_port)?;
        let files = listen(options.files_port)?;
        let ports = (api.local_addr()?.port(), files.local_addr()?.port());
        let key = options.key.clone();
        let webhook = options.webhook.clone();
        let inner = Arc::new(Inner {
            script: Mutex::default(),
            log: Mutex::new(Log::new(options.keep_requests)),
            signer: Signer::new(base(ports.1)),
            latency: options.latency,
            rate: options
                .rate_limit
                .map(|rate| Mutex::new(Bucket::new(rate, Instant::now()))),
            retry_after: options.retry_after,
            served: Arc::default(),
            world: Mutex::new(World::new(options)),
        });
        Ok(Self {
            announcer: webhook
                .map(|webhook| Announcer::start(&inner, webhook))
                .transpose()?,
            api: Mutex::new(Some(serve(&inner, Host::Api, api)?)),
            files: Mutex::new(Some(serve(&inner, Host::Files, files)?)),
            inner,
            key,
            ports,
            allow_unused: AtomicBool::new(false),
        })
    }

    /// `http://127.0.0.1:PORT` of the API.
    pub fn api_base(&self) -> String {
        base(self.ports.0)
    }

    /// `http://127.0.0.1:PORT` of the file host.
    pub fn files_base(&self) -> String {
        base(self.ports.1)
    }

    /// The API key of the first account.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Making things go wrong.
impl Sandbox {
    /// Scripts a fault for the next request on a route: `"POST /v3/videos"`, `"GET /v3/videos/{id}"`,
    /// `"GET /v3/videos/abc"`, `"GET /v3/videos/statuses"`, `"GET /files"` (every file), `"GET /files/abc/gif"`; `*` is
    /// any method. The first fault scripted for a request and not used up is met first.
    #[track_caller]
    pub fn fault(&self, route: &str, fault: Fault) {
        lock(&self.inner.script).add(route, fault, Location::caller());
    }

    /// Ends every fault, used or not.
    pub fn clear_faults(&self) {
        lock(&self.inner.script).clear();
    }

    /// Faults that are never met do not fail the test.
    pub fn allow_unused(&self) {
        self.allow_unused.store(true, Ordering::Relaxed);
    }

    /// Closes one server's port (connections are refused) or opens it again, with all its knowledge.
    pub fn set_reachable(&self, host: Host, reachable: bool) -> io::Result<()> {
        let (place, port) = match host {
            Host::Api => (&self.api, self.ports.0),
            Host::Files => (&self.files, self.ports.1),
        };
        let mut server = lock(place);
        match (reachable, server.is_some()) {
            (true, false) => *server = Some(serve(&self.inner, host, listen(port)?)?),
            (false, true) => *server = None,
            _ => {}
        }
        Ok(())
    }
}

/// Being HeyGen.
impl Sandbox {
    /// Moves the stand-in's clock: renderings, idempotency keys, URLs and retention.
    pub fn advance(&self, by: Duration) {
        lock(&self.inner.world).clock.advance(by);
    }

    /// A video made elsewhere, in the first account, in any status word; replaces one of the same id.
    pub fn add_video(&self, id: &str, status: &str) {
        let mut world = lock(&self.inner.world);
        let progress = world.word(status);
        world.insert(id, 0, progress);
    }

    /// The video was deleted at HeyGen.
    ///
    /// # Panics
    /// When there is no such video; so do the others below.
    pub fn forget_video(&self, id: &str) {
        let found = lock(&self.inner.world).remove(id);
        assert!(found, "no video {id}");
    }

    /// Rendering ends well, now.
    pub fn finish(&self, id: &str) {
        self.set_status(id, "completed");
    }

    /// Rendering ends badly, now.
    pub fn fail(&self, id: &str, code: &str, message: &str) {
        let mut world = lock(&self.inner.world);
        let failed = Progress::Failed {
            at: world.clock.now(),
            code: code.to_owned(),
            message: message.to_owned(),
        };
        let found = world.set_progress(id, failed);
        drop(world);
        assert!(found, "no video {id}");
    }

    /// Any status word, known or not; `completed` and `failed` mean what they say.
    pub fn set_status(&self, id: &str, word: &str) {
        let mut world = lock(&self.inner.world);
        let progress = world.word(word);
        let found = world.set_progress(id, progress);
        drop(world);
        assert!(found, "no video {id}");
    }

    /// The video's files get other bytes and another ETag under the same URLs.
    pub fn rerender(&self, id: &str) {
        let found = lock(&self.inner.world).rerender(id);
        assert!(found, "no video {id}");
    }
}

/// Being the oracle.
impl Sandbox {
    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.inner.log).all()
    }

    /// Those to the API.
    pub fn api_requests(&self) -> Vec<Recorded> {
        self.requests_to(|request| request.server == Host::Api)
    }

    /// Those to the file host.
    pub fn file_requests(&self) -> Vec<Recorded> {
        self.requests_to(|request| request.server == Host::Files)
    }

    /// The POSTs to the API.
    pub fn posts(&self) -> Vec<Recorded> {
        self.requests_to(|request| request.server == Host::Api && request.method == "POST")
    }

    fn requests_to(&self, wanted: impl Fn(&Recorded) -> bool) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(wanted);
        requests
    }

    /// Every accepted creation, in order.
    pub fn billed(&self) -> Vec<Billed> {
        lock(&self.inner.world).billed.clone()
    }

    /// The tries to tell of the end of a video, in order of their answers.
    pub fn deliveries(&self) -> Vec<Delivered> {
        let announcer = self.announcer.as_ref();
        announcer.map(Announcer::delivered).unwrap_or_default()
    }

    /// The ids of all videos, oldest first.
    pub fn videos(&self) -> Vec<String> {
        lock(&self.inner.world).ids()
    }

    /// The bytes a file must have.
    pub fn expected(&self, id: &str, asset: Asset) -> Vec<u8> {
        let media = lock(&self.inner.world).media(id, asset);
        media.bytes()
    }

    /// Bytes of files sent, interrupted ones and repetitions included.
    pub fn bytes_served(&self) -> u64 {
        self.inner.served.load(Ordering::Relaxed)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let unused = lock(&self.inner.script).unused();
        let excused = self.allow_unused.load(Ordering::Relaxed) || thread::panicking();
        assert!(excused || unused.is_empty(), "{unused}");
    }
}

impl Inner {
    fn answer_api(self: &Arc<Self>, request: &Request) -> Answer {
        let number = lock(&self.log).arrived(Host::Api, request);
        let scripted = lock(&self.script).take(request);
        let fault = scripted.unwrap_or_else(|| self.too_many().unwrap_or_default());
        let wait = self.latency + fault.delay;
        let response = {
            let mut world = lock(&self.world);
            let real = fault
                .does_work()
                .then(|| api::answer(&mut world, &self.signer, request, wait));
            let response = reply::compose(&fault, real, Host::Api);
            let account = api::account(&world, request);
            let key = request.header("Idempotency-Key");
            if let (true, Some(account), Some(key)) = (fault.remembered, account, key) {
                api::remember(&mut world, account, key.to_owned(), &response, wait);
            }
            response.with_header("X-Request-Id", format!("sandbox-{number}"))
        };
        reply::deliver(fault, response, wait, self.noter(number))
    }

    /// What a request past the rate limit meets.
    fn too_many(&self) -> Option<Fault> {
        let within = lock(self.rate.as_ref()?).take(Instant::now());
        let seconds = self.retry_after.to_string();
        (!within).then(|| Fault::retry_after(429, &seconds))
    }

    fn answer_file(self: &Arc<Self>, request: &Request) -> Answer {
        let number = lock(&self.log).arrived(Host::Files, request);
        let mut fault = lock(&self.script).take(request).unwrap_or_default();
        let range = request.header("Range").map(str::to_owned);
        let seen = Seen {
            range: fault.range.take().unwrap_or(range),
            etag: fault.etag.take(),
        };
        let real = fault.does_work().then(|| {
            let world = lock(&self.world);
            files::answer(&world, &self.signer, request, &seen, &self.served)
        });
        let response = reply::compose(&fault, real, Host::Files);
        let wait = fault.delay;
        reply::deliver(fault, response, wait, self.noter(number))
    }

    /// Notes the status of the request of that number.
    fn noter(self: &Arc<Self>, number: usize) -> Arc<dyn Fn(u16) + Send + Sync> {
        let inner = Arc::clone(self);
        Arc::new(move |status| lock(&inner.log).answered(number, status))
    }
}

fn serve(inner: &Arc<Inner>, host: Host, listener: TcpListener) -> io::Result<Server> {
    // Clients under test are stopped, killed and made to wait: only bodies need a larger bound than usual.
    let limits = Limits {
        connections: 1024,
        max_body: 64 * 1024 * 1024,
        ..Limits::default()
    };
    let inner = Arc::clone(inner);
    Server::start(listener, limits, move |request| match host {
        Host::Api => inner.answer_api(request),
        Host::Files => inner.answer_file(request),
    })
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port))
}

fn base(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
