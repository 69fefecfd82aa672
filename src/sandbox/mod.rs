//! A local stand-in for the HeyGen v3 API, for `demo`, for `sandbox`, and for the tests.
//!
//! Two servers, as in real life: the API, which wants a key, and a file host on another port, which must never see one.
//! [`World`] holds what HeyGen would know, and `api` and `files` put the documented shapes around it. [`media`] makes
//! the files: small, playable, computable from the video's id. `webhooks` calls whoever wants to hear of the end.
//!
//! It must not share the judgement of the program that is tried out on it: it has its own words for kinds and assets and
//! its own idea of time. What it signs webhooks with is the program's; that is held against signatures of OpenSSL.
//!
//! There is one seam, [`Sandbox::start_with`]: every request goes through a function that is handed the real work. What
//! can go wrong with a request, and what the tests know about it, is built on that, outside the program.

mod api;
mod files;
mod kinds;
pub mod media;
mod webhooks;
mod world;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub use webhooks::Webhook;
pub use world::{Creation, RenderState, World};

use crate::http::{Ending, Limits, Request, Response, Server, Wire, lock};
use files::Signer;

/// The API key of the first account.
pub const KEY: &str = "sandbox-key";

#[derive(Clone, Debug, Default)]
pub struct SandboxOptions {
    pub api_port: u16,
    /// How long a video renders; `None` is until [`Creation::progress`] says otherwise.
    pub render_time: Option<Duration>,
    /// Real time between the work and the answer of every API request.
    pub latency: Duration,
    /// Bytes of each MP4, if it fits into so few.
    pub file_size: u64,
    pub throttle: Option<u64>,
    pub fail_rate: f64,
    /// Videos whose title or script contains the word "fail" fail to render.
    pub fail_on_word: bool,
    pub slots: Option<usize>,
    pub webhook: Option<Webhook>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    Api,
    Files,
}

/// Carries a request out, atomically, and says what HeyGen would answer.
pub type Work<'a> = dyn Fn(&Request) -> Response + 'a;

pub type Intercept =
    dyn Fn(Host, &Request, &Work<'_>, &mut Wire<'_>) -> io::Result<Ending> + Send + Sync;

/// A running stand-in; both servers stop when it is dropped.
pub struct Sandbox {
    backstage: Arc<Backstage>,
    /// The API's and the file host's; so are the servers.
    ports: [u16; 2],
    servers: [Mutex<Option<Server>>; 2],
}

struct Backstage {
    world: Mutex<World>,
    signer: Signer,
    intercept: Box<Intercept>,
}

impl Sandbox {
    pub fn start(options: SandboxOptions) -> io::Result<Self> {
        let latency = options.latency;
        let answer: Box<Intercept> = Box::new(move |host, request, work, wire| {
            let response = work(request);
            if host == Host::Api {
                wire.pause(latency)?;
            }
            wire.send(response)
        });
        Self::start_with(options, answer)
    }

    /// The same, with every request in the hands of `intercept`.
    pub fn start_with(options: SandboxOptions, intercept: Box<Intercept>) -> io::Result<Self> {
        let (api, files) = (listen(options.api_port)?, listen(0)?);
        let ports = [api.local_addr()?.port(), files.local_addr()?.port()];
        let webhook = options.webhook.clone();
        let backstage = Arc::new(Backstage {
            signer: Signer::new(base(ports[1])),
            intercept,
            world: Mutex::new(World::new(options)),
        });
        if let Some(webhook) = webhook {
            webhooks::start(&backstage, webhook)?;
        }
        let servers = [
            Mutex::new(Some(serve(&backstage, Host::Api, api)?)),
            Mutex::new(Some(serve(&backstage, Host::Files, files)?)),
        ];
        Ok(Self {
            backstage,
            ports,
            servers,
        })
    }

    pub fn api_base(&self) -> String {
        base(self.ports[0])
    }

    pub fn files_base(&self) -> String {
        base(self.ports[1])
    }

    /// What HeyGen knows; no request is carried out while it is held.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.backstage.world)
    }

    /// Closes one server's port (connections are refused) or opens it again, with all its knowledge.
    pub fn set_reachable(&self, host: Host, reachable: bool) -> io::Result<()> {
        let mut server = lock(&self.servers[host as usize]);
        if !reachable {
            *server = None;
        } else if server.is_none() {
            let listener = listen(self.ports[host as usize])?;
            *server = Some(serve(&self.backstage, host, listener)?);
        }
        Ok(())
    }
}

impl Backstage {
    fn carry_out(&self, host: Host, request: &Request) -> Response {
        let mut world = lock(&self.world);
        match host {
            Host::Files => files::answer(&world, &self.signer, request),
            Host::Api => {
                world.requests += 1;
                let id = format!("sandbox-{}", world.requests);
                api::answer(&mut world, &self.signer, request).with_header("X-Request-Id", id)
            }
        }
    }
}

fn serve(backstage: &Arc<Backstage>, host: Host, listener: TcpListener) -> io::Result<Server> {
    // Clients under test are stopped, killed and made to wait: only bodies need a larger bound than usual.
    let limits = Limits {
        connections: 1024,
        max_body: 64 * 1024 * 1024,
        ..Limits::default()
    };
    let backstage = Arc::clone(backstage);
    let answer = move |request: &Request, wire: &mut Wire<'_>| {
        (backstage.intercept)(
            host,
            request,
            &|request| backstage.carry_out(host, request),
            wire,
        )
    };
    Server::start(listener, limits, answer, |_, _| {})
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port))
}

fn base(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
