//! A local stand-in for the HeyGen v3 API, for `demo`, for `sandbox`, and for the tests.
//!
//! Two servers, as in real life: the API, which wants a key, and a file host on another port, which must never see one.
//! [`World`] holds what HeyGen would know, and `api` and `files` put the documented shapes around it. [`media`] makes
//! the files: small, playable, computable from the video's id. `webhooks` calls whoever wants to hear of the end.
//!
//! It must not share the judgement of the program that is tried out on it: it has its own words for kinds and assets and
//! its own idea of time. What it signs webhooks with is the program's; that is held against signatures of OpenSSL.
//!
//! [`Sandbox::start`] serves it as it is. The tests serve it themselves, with a handler that makes things go wrong around
//! [`Sandbox::answer`] and knows about every request.

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

use crate::http::{Limits, Request, Response, Server, Wire, lock};
use files::Signer;

/// The API key of the first account.
pub const KEY: &str = "sandbox-key";

#[derive(Clone, Debug, Default, clap::Args)]
pub struct SandboxOptions {
    /// Port of the API; files are served from another one [default: any]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub port: u16,
    /// How long a video renders
    // `None` is until `Creation::progress` says otherwise.
    #[arg(long, value_name = "D", default_value = "20s", value_parser = humantime::parse_duration)]
    pub render_time: Option<Duration>,
    /// Share of the videos that fail, from 0 to 1
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    pub fail_rate: f64,
    /// Delay of every API answer
    #[arg(long, value_name = "D", default_value = "0s", value_parser = humantime::parse_duration)]
    pub latency: Duration,
    /// Bytes per video file
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000)]
    pub file_size: u64,
    /// Limit each download to this many bytes a second [default: unlimited]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub throttle: Option<u64>,
    /// Jobs of one account at once; beyond them HeyGen answers 429
    #[arg(long, value_name = "N", default_value = "10")]
    pub slots: Option<usize>,
    // Videos whose title or script contains the word "fail" fail to render.
    #[arg(skip)]
    pub fail_on_word: bool,
    #[arg(skip)]
    pub webhook: Option<Webhook>,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    Api,
    Files,
}

/// Everything a stand-in is but its two servers.
pub struct Sandbox {
    /// One for each [`Host`].
    ports: [u16; 2],
    world: Mutex<World>,
    signer: Signer,
}

impl Sandbox {
    /// Both servers stop when they are dropped.
    pub fn start(options: SandboxOptions) -> io::Result<(Arc<Self>, [Server; 2])> {
        let latency = options.latency;
        let listen = |port| TcpListener::bind(("127.0.0.1", port));
        let (api, files) = (listen(options.port)?, listen(0)?);
        let ports = [api.local_addr()?.port(), files.local_addr()?.port()];
        let sandbox = Self::new(options, ports)?;
        let serve = |host, listener| {
            let sandbox = Arc::clone(&sandbox);
            serve(listener, move |request, wire| {
                let response = sandbox.answer(host, request);
                if host == Host::Api {
                    wire.pause(latency)?;
                }
                wire.send(response)
            })
        };
        let servers = [serve(Host::Api, api)?, serve(Host::Files, files)?];
        Ok((sandbox, servers))
    }

    /// A stand-in that [`serve`] is yet to be called for, once for each [`Host`], with a listener on its port.
    pub fn new(options: SandboxOptions, ports: [u16; 2]) -> io::Result<Arc<Self>> {
        let webhook = options.webhook.clone();
        let sandbox = Arc::new(Self {
            ports,
            world: Mutex::new(World::new(options)),
            signer: Signer::new(base(ports[1])),
        });
        if let Some(webhook) = webhook {
            webhook.start(&sandbox)?;
        }
        Ok(sandbox)
    }

    pub fn base(&self, host: Host) -> String {
        base(self.ports[host as usize])
    }

    /// What HeyGen knows; no request is carried out while it is held.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// Carries a request out, atomically, and says what HeyGen would answer.
    pub fn answer(&self, host: Host, request: &Request) -> Response {
        let mut world = self.world();
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

pub fn serve(
    listener: TcpListener,
    handler: impl Fn(&Request, &mut Wire<'_>) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<Server> {
    // Clients under test are stopped, killed and made to wait: only bodies need a larger bound than usual.
    let limits = Limits {
        connections: 1024,
        max_body: 64 * 1024 * 1024,
        ..Limits::default()
    };
    Server::start(listener, limits, handler, |_, _| {})
}

fn base(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
