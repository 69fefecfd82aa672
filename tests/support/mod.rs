//! HeyGen as the tests and benchmarks need it: the program's stand-in, and around it what can go wrong and what there is to
//! know about it afterwards.
//!
//! Every request passes the same five steps, in `Around::answer_api` and `Around::answer_file`:
//!
//! 1. it is recorded ([`Heygen::requests`]);
//! 2. the script is asked for its [`Fault`] ([`Heygen::fault`]);
//! 3. unless the fault says otherwise the stand-in carries it out, atomically, and it is billed if it makes something
//!    ([`Heygen::billed`]);
//! 4. the answer is composed: the real one, changed or replaced;
//! 5. it is delivered: late, cut, lying, or simply well.
//!
//! So what a fault does to the *work* (3) never depends on what it does to the *answer* (4, 5), and the bill is right
//! whatever the client got to see. A fault that is scripted but never met fails the test when the stand-in is dropped:
//! such a test proves nothing.

mod fault;
mod port;
mod rate;
mod record;
mod reply;
mod script;

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io::{self, Read};
use std::net::{Shutdown, TcpListener};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use heygen_tracker::http::{Payload, Request, Response, Server, Wire};
use heygen_tracker::sandbox::{Creation, RenderState, Sandbox, SandboxOptions, World, serve};
use serde_json::Value;
use socket2::Socket;

pub use fault::Fault;
pub use heygen_tracker::sandbox::{Host, Webhook};
pub use port::Port;
pub use record::{Billed, Recorded};

use fault::Gate;
use rate::Bucket;
use record::Log;
use script::Script;

/// The assets of a video, in the words of this side.
pub const ASSETS: [&str; 5] = ["video", "captioned", "subtitle", "thumbnail", "gif"];

/// What ends the rendering of a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Render {
    /// The stand-in's clock: `waiting`, `pending`, `processing`, and the end after this long.
    After(Duration),
    /// The test, with [`Heygen::finish`] and its kin; until then videos are `pending`.
    Manual,
}

/// Settings of one stand-in.
#[derive(Clone, Debug)]
pub struct Options {
    /// The API key of the first account.
    pub key: String,
    /// One more account each: they see neither each other's videos nor each other's idempotency keys.
    pub other_keys: Vec<String>,
    /// What makes renderings progress.
    pub render: Render,
    /// Real time between the work and the answer of every API request.
    pub latency: Duration,
    /// Most API requests a second; further ones are answered 429 with [`Options::retry_after`] and not carried out.
    pub rate_limit: Option<u32>,
    /// Bytes of each MP4, if it fits into so few.
    pub file_size: u64,
    /// The share of videos that fail to render.
    pub fail_rate: f64,
    /// Seeds video ids; `None` is different every time.
    pub seed: Option<u64>,
    /// Most unfinished videos of one account; past it a POST is answered 429.
    pub slots: Option<usize>,
    /// What `Retry-After` says when there are too many videos or requests, in seconds.
    pub retry_after: u32,
    /// Files a completed video has; the URLs of others are null.
    pub assets: Vec<String>,
    /// For the first n GETs of a completed video its URLs are still null.
    pub gets_without_urls: u32,
    /// Who hears of the end of a video of the first account.
    pub webhook: Option<Webhook>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key: "sandbox-key".to_owned(),
            other_keys: Vec::new(),
            render: Render::After(Duration::ZERO),
            latency: Duration::ZERO,
            rate_limit: None,
            file_size: 64 * 1024,
            fail_rate: 0.0,
            seed: None,
            slots: None,
            retry_after: 1,
            assets: ASSETS.map(str::to_owned).to_vec(),
            gets_without_urls: 0,
            webhook: None,
        }
    }
}

/// A running HeyGen.
///
/// # Panics
/// When dropped with a scripted fault that was used less often than promised, unless [`Heygen::allow_unused`].
pub struct Heygen {
    around: Arc<Around>,
    /// One for each [`Host`].
    ports: [Port; 2],
    /// One for each that can be reached, and its listener.
    servers: [Mutex<Option<(Server, Socket)>>; 2],
    allow_unused: AtomicBool,
}

/// What every request passes. No lock is held while another is taken.
struct Around {
    sandbox: Arc<Sandbox>,
    options: Options,
    script: Mutex<Script>,
    log: Mutex<Log>,
    billed: Mutex<(Vec<Billed>, HashSet<String>)>,
    replays: Mutex<Replays>,
    looks: Mutex<HashMap<String, u32>>,
    rate: Option<Mutex<Bucket>>,
    served: Arc<AtomicU64>,
}

/// Keyed by API key and `Idempotency-Key`.
#[derive(Default)]
struct Replays {
    /// Until when a repetition is refused, and until what is opened.
    in_flight: HashMap<(String, String), (Instant, Option<Gate>)>,
    /// Answers that faults made HeyGen remember.
    remembered: HashMap<(String, String), (u16, Vec<u8>)>,
}

impl Heygen {
    /// Starts both servers on 127.0.0.1.
    pub fn start(options: Options) -> io::Result<Self> {
        let settings = SandboxOptions {
            render_time: match options.render {
                Render::After(time) => Some(time),
                Render::Manual => None,
            },
            file_size: options.file_size,
            fail_rate: options.fail_rate,
            slots: options.slots,
            webhook: options.webhook.clone(),
            ..SandboxOptions::default()
        };
        let ports = [Port::new()?, Port::new()?];
        let sandbox = Sandbox::new(settings, [ports[0].number(), ports[1].number()])?;
        {
            let mut world = sandbox.world();
            world.keys = vec![options.key.clone()];
            world.keys.extend(options.other_keys.iter().cloned());
            if let Some(seed) = options.seed {
                world.random = fastrand::Rng::with_seed(seed);
            }
        }
        let around = Arc::new(Around {
            sandbox,
            script: Mutex::default(),
            log: Mutex::default(),
            billed: Mutex::default(),
            replays: Mutex::default(),
            looks: Mutex::default(),
            rate: options
                .rate_limit
                .map(|rate| Mutex::new(Bucket::new(rate, Instant::now()))),
            served: Arc::default(),
            options,
        });
        let heygen = Self {
            around,
            ports,
            servers: Default::default(),
            allow_unused: AtomicBool::new(false),
        };
        heygen.set_reachable(Host::Api, true)?;
        heygen.set_reachable(Host::Files, true)?;
        Ok(heygen)
    }

    /// `http://127.0.0.1:PORT` of the API.
    pub fn api_base(&self) -> String {
        self.around.sandbox.base(Host::Api)
    }

    /// `http://127.0.0.1:PORT` of the file host.
    pub fn files_base(&self) -> String {
        self.around.sandbox.base(Host::Files)
    }

    /// The API key of the first account.
    pub fn key(&self) -> &str {
        &self.around.options.key
    }
}

/// Making things go wrong.
impl Heygen {
    /// Scripts a fault for the next request on a route: `"POST /v3/videos"`, `"GET /v3/videos/{id}"`,
    /// `"GET /v3/videos/abc"`, `"GET /v3/videos/statuses"`, `"GET /files"` (every file), `"GET /files/abc/gif"`; `*` is
    /// any method. The first fault scripted for a request and not used up is met first.
    #[track_caller]
    pub fn fault(&self, route: &str, fault: Fault) {
        lock(&self.around.script).add(route, fault, Location::caller());
    }

    /// What [`Fault::held`] and [`Fault::held_body_after`] hold, goes on: everything scripted so far.
    pub fn release(&self) {
        lock(&self.around.script).release();
    }

    /// How many requests are held now: carried out, and not answered.
    pub fn holding(&self) -> usize {
        lock(&self.around.script).holding()
    }

    /// Ends every fault, used or not, and releases what is held.
    pub fn clear_faults(&self) {
        lock(&self.around.script).clear();
    }

    /// Faults that are never met do not fail the test.
    pub fn allow_unused(&self) {
        self.allow_unused.store(true, Ordering::Relaxed);
    }

    /// Closes one server's port (connections are refused) or opens it again, with all its knowledge.
    pub fn set_reachable(&self, host: Host, reachable: bool) -> io::Result<()> {
        let mut server = lock(&self.servers[host as usize]);
        if !reachable {
            if let Some((server, listener)) = server.take() {
                drop(server);
                // A child that is just being started has it, too, and would go on listening.
                listener.shutdown(Shutdown::Both)?;
            }
        } else if server.is_none() {
            let listener = self.ports[host as usize].listen()?;
            let ours = listener.try_clone()?.into();
            *server = Some((self.around.serve(host, listener)?, ours));
        }
        Ok(())
    }
}

/// Being HeyGen.
impl Heygen {
    /// What it knows; no request is carried out while it is held.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.around.sandbox.world()
    }

    /// Moves the stand-in's clock: renderings, idempotency keys and URLs.
    pub fn advance(&self, by: Duration) {
        self.world().skipped += by;
    }

    /// A video made elsewhere, in the first account, in any status word; replaces one of the same id.
    pub fn add_video(&self, id: &str, status: &str) {
        let mut world = self.world();
        let progress = progress(&world, status);
        world.insert(id, progress);
    }

    /// The video was deleted at HeyGen.
    ///
    /// # Panics
    /// When there is no such video; so do the others below.
    pub fn forget_video(&self, id: &str) {
        let found = self.world().remove(id);
        assert!(found, "no video {id}");
    }

    /// Rendering ends well, now.
    pub fn finish(&self, id: &str) {
        self.set_status(id, "completed");
    }

    /// Rendering ends badly, now.
    pub fn fail(&self, id: &str, code: &str, message: &str) {
        let at = self.world().now();
        let (code, message) = (code.to_owned(), message.to_owned());
        self.video(id, |video| {
            video.progress = RenderState::Failed { at, code, message };
        });
    }

    /// Any status word, known or not; `completed` and `failed` mean what they say.
    pub fn set_status(&self, id: &str, word: &str) {
        let progress = progress(&self.world(), word);
        self.video(id, |video| video.progress = progress);
    }

    /// The video's files get other bytes and another ETag under the same URLs.
    pub fn rerender(&self, id: &str) {
        self.video(id, |video| video.version += 1);
    }

    fn video(&self, id: &str, change: impl FnOnce(&mut Creation)) {
        let found = self.world().video_mut(id).map(change);
        assert!(found.is_some(), "no video {id}");
    }
}

/// Being the oracle.
impl Heygen {
    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.around.log).all()
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
        lock(&self.around.billed).0.clone()
    }

    /// The ids of all videos, oldest first.
    pub fn videos(&self) -> Vec<String> {
        let world = self.world();
        world
            .videos
            .values()
            .map(|video| video.id.clone())
            .collect()
    }

    /// The bytes a file must have.
    pub fn expected(&self, id: &str, asset: impl Display) -> Vec<u8> {
        let mut media = self.world().media(id, &asset.to_string());
        let mut bytes = Vec::new();
        media.read_to_end(&mut bytes).unwrap_or_default();
        bytes
    }

    /// Bytes of files sent, interrupted ones and repetitions included.
    pub fn bytes_served(&self) -> u64 {
        self.around.served.load(Ordering::Relaxed)
    }
}

impl Drop for Heygen {
    fn drop(&mut self) {
        self.release();
        let unused = lock(&self.around.script).unused();
        let excused = self.allow_unused.load(Ordering::Relaxed) || thread::panicking();
        assert!(excused || unused.is_empty(), "{unused}");
    }
}

impl Around {
    fn serve(self: &Arc<Self>, host: Host, listener: TcpListener) -> io::Result<Server> {
        let around = Arc::clone(self);
        serve(listener, move |request, wire| match host {
            Host::Api => around.answer_api(request, wire),
            Host::Files => around.answer_file(request, wire),
        })
    }

    fn answer_api(&self, request: &Request, wire: &mut Wire<'_>) -> io::Result<()> {
        let number = lock(&self.log).arrived(Host::Api, request);
        let scripted = lock(&self.script).take(request);
        let fault = scripted.unwrap_or_else(|| self.too_many().unwrap_or_default());
        let wait = self.options.latency + fault.delay;
        let gate = fault.held.then(|| fault.gate.clone());
        let real = fault
            .does_work()
            .then(|| self.carry_out(request, wait, gate));
        let response = reply::compose(&fault, real, Host::Api)
            .with_header("X-Request-Id", format!("sandbox-{number}"));
        if let (true, Some(keys), Payload::Bytes(body)) =
            (fault.remembered, keys(request), &response.body)
        {
            let answer = (response.status, body.clone());
            lock(&self.replays).remembered.insert(keys, answer);
        }
        reply::deliver(fault, response, wait, wire, |status| {
            lock(&self.log).answered(number, status);
        })
    }

    /// What the stand-in answers, as changed by what it is set to be.
    fn carry_out(&self, request: &Request, wait: Duration, gate: Option<Gate>) -> Response {
        if let Some(answer) = self.replayed(request, wait, gate) {
            return answer;
        }
        let response = self.sandbox.answer(Host::Api, request);
        if request.method == "POST" {
            self.bill(request, &response);
        }
        if response.status == 429 {
            return response.with_header("Retry-After", self.options.retry_after.to_string());
        }
        self.without_urls(request, response)
    }

    /// The answer to a repeated POST whose first answer is still on its way, or was made up by a fault.
    fn replayed(&self, request: &Request, wait: Duration, gate: Option<Gate>) -> Option<Response> {
        let keys = keys(request)?;
        let mut replays = lock(&self.replays);
        if let Some((status, body)) = replays.remembered.get(&keys) {
            return Some(Response::new(*status).with_body("application/json", body.clone()));
        }
        let in_flight = replays.in_flight.get(&keys);
        if in_flight.is_some_and(|(until, gate)| {
            Instant::now() < *until || gate.as_ref().is_some_and(|gate| !gate.is_open())
        }) {
            return Some(reply::of_status(409));
        }
        let settled = (Instant::now() + wait, gate);
        replays.in_flight.entry(keys).or_insert(settled);
        None
    }

    /// An id that was not answered before is something new, and charged.
    fn bill(&self, request: &Request, response: &Response) {
        let Payload::Bytes(bytes) = &response.body else {
            return;
        };
        let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let data = &answer["data"];
        let names = ["video_id", "session_id", "lipsync_id", "id"];
        let id = names.iter().find_map(|name| data[*name].as_str());
        let Some(id) = id.or(data["video_translation_ids"][0].as_str()) else {
            return;
        };
        let mut billed = lock(&self.billed);
        if billed.1.insert(id.to_owned()) {
            billed.0.push(Billed {
                video_id: id.to_owned(),
                key: request.header("X-Api-Key").unwrap_or_default().to_owned(),
                idempotency_key: request.header("Idempotency-Key").map(str::to_owned),
                body: request.body.clone(),
            });
        }
    }

    /// URLs come late, or never, if that is wanted.
    fn without_urls(&self, request: &Request, response: Response) -> Response {
        let Payload::Bytes(bytes) = &response.body else {
            return response;
        };
        let mut answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let Some(video) = answer["data"].as_object_mut() else {
            return response;
        };
        if request.method != "GET" || video.get("status") != Some(&Value::from("completed")) {
            return response;
        }
        let looks = {
            let mut looks = lock(&self.looks);
            let looks = looks.entry(request.path.clone()).or_default();
            *looks += 1;
            *looks
        };
        for asset in ASSETS {
            let known = self.options.assets.iter().any(|known| known == asset);
            let field = match asset {
                "captioned" => "captioned_video_url".to_owned(),
                asset => format!("{asset}_url"),
            };
            if !known || looks <= self.options.gets_without_urls {
                video.insert(field, Value::Null);
            }
        }
        Response::new(response.status).with_body("application/json", answer.to_string())
    }

    /// What a request past the rate limit meets.
    fn too_many(&self) -> Option<Fault> {
        let within = lock(self.rate.as_ref()?).take(Instant::now());
        let seconds = self.options.retry_after.to_string();
        (!within).then(|| Fault::retry_after(429, &seconds))
    }

    fn answer_file(&self, request: &Request, wire: &mut Wire<'_>) -> io::Result<()> {
        let number = lock(&self.log).arrived(Host::Files, request);
        let mut fault = lock(&self.script).take(request).unwrap_or_default();
        let real = fault.does_work().then(|| {
            let mut response = self.sandbox.answer(Host::Files, &seen(&mut fault, request));
            if let Some(etag) = fault.etag.take().filter(|_| response.has_header("ETag")) {
                match etag {
                    Some(etag) => response.set_header("ETag", etag),
                    None => response.remove_header("ETag"),
                }
            }
            response.body = match response.body {
                Payload::Stream { length, source } => Payload::Stream {
                    length,
                    source: Box::new(Counted {
                        source,
                        count: Arc::clone(&self.served),
                    }),
                },
                body => body,
            };
            response
        });
        let response = reply::compose(&fault, real, Host::Files);
        let wait = fault.delay;
        reply::deliver(fault, response, wait, wire, |status| {
            lock(&self.log).answered(number, status);
        })
    }
}

/// What a status word means, as of now; `completed` and `failed` mean what they say.
fn progress(world: &World, word: &str) -> RenderState {
    let at = world.now();
    match word {
        "completed" => RenderState::Completed { at },
        "failed" => RenderState::too_long(at),
        word => RenderState::Word(word.to_owned()),
    }
}

/// The account and the `Idempotency-Key` of a request that has both.
fn keys(request: &Request) -> Option<(String, String)> {
    let header = |name| request.header(name).map(str::to_owned);
    Some((header("X-Api-Key")?, header("Idempotency-Key")?))
}

/// The request for a file as a host sees it that takes it for another range, or has another entity tag.
fn seen(fault: &mut Fault, request: &Request) -> Request {
    let mut seen = request.clone();
    if let Some(range) = fault.range.take() {
        set(&mut seen, "Range", range);
    }
    if let (Some(etag), Some(wanted)) = (&fault.etag, request.header("If-Range")) {
        // Only a strong tag may be compared (RFC 9110, section 13.1.5).
        if etag.as_deref() != Some(wanted) || wanted.starts_with("W/") {
            set(&mut seen, "Range", None);
        }
        set(&mut seen, "If-Range", None);
    }
    seen
}

fn set(request: &mut Request, name: &str, value: Option<String>) {
    let headers = &mut request.headers;
    headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    headers.extend(value.map(|value| (name.to_owned(), value)));
}

/// Counts what is read through it.
struct Counted<R> {
    source: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
