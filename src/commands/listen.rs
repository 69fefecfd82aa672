//! `tracker listen`: HeyGen calls when a video ends, and it is fetched at once.
//!
//! [`crate::listen`] receives, this file acts: the main thread asks HeyGen about each video that a delivery named and
//! brings its files home, by exactly the pass of `check ID`. Polling from cron stays the source of truth: what no
//! delivery tells, the next `check` finds out.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::commands::Context;
use crate::commands::options::Tuning;
use crate::config::{self, Environment};
use crate::error::{Exit, Problem, Result};
use crate::listen::{self, Signal};
use crate::pass::{self, Level, PassOptions, Reporter, Scope};
use crate::render::screen::Screen;
use crate::signals;
use crate::store::{PendingWebhook, Store};
use crate::time;
use crate::video::RowId;

/// How many pending deliveries one pass takes on.
const PAGE: u32 = 256;
const MAX_PASSES: usize = 16;
/// While a pass runs, deliveries are gathered for this long before the next one begins.
const GATHER: Duration = Duration::from_secs(1);
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long deliveries that have arrived may take to be answered after a signal; systemd kills after 90 s.
const DRAIN: Duration = Duration::from_secs(10);

const DETAILS: &str = "\
The secret that HeyGen signs with is read from HEYGEN_WEBHOOK_SECRET, else from the file
HEYGEN_WEBHOOK_SECRET_FILE, else from systemd's $CREDENTIALS_DIRECTORY/heygen-webhook-secret.
Keep check in cron: it finds what no delivery announced. GET /health answers 200.

Example, behind a reverse proxy that speaks TLS:
  HEYGEN_WEBHOOK_SECRET_FILE=~/.heygen/webhook-secret tracker listen --addr 127.0.0.1:8787";

#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub struct Args {
    /// Where to listen
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8787")]
    addr: SocketAddr,
    /// The path of the endpoint
    #[arg(long, value_name = "PATH", default_value = "/heygen", value_parser = path)]
    path: String,
    /// Leave the files for check
    #[arg(long)]
    no_download: bool,
    /// Run this command at each event, with the facts in its environment [env: TRACKER_HOOK]
    #[arg(long, value_name = "CMD")]
    hook: Option<String>,
    #[command(flatten)]
    tuning: Tuning,
}

/// Paths are compared as they are sent.
fn path(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.starts_with('/') && plain && !text.contains(['?', '#']) {
        Ok(text.to_owned())
    } else {
        Err("an absolute path without query, as in /heygen".to_owned())
    }
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let secret = config::webhook_secret(&context.env)?;
    let options = PassOptions {
        download: !args.no_download,
        hook: context.hook(args.hook.as_deref())?,
        ..args.tuning.options()
    };
    // Opened one after the other: what sets up or migrates the database is done by the first.
    let mut store = context.open()?;
    let receiving = context.open()?;
    let listener =
        TcpListener::bind(args.addr).map_err(|source| Problem::bind(args.addr, &source))?;
    let unable = |source| Problem::system("receive webhooks", &source);
    let (sender, signals) = channel();
    let mut server = listen::start(
        listener,
        args.path.clone(),
        secret,
        receiving,
        sender.clone(),
        &context.screen,
    )
    .map_err(unable)?;
    let address = server.address();
    // The pass under way is cut off as by a crash: its deliveries stay pending.
    signals::install_draining(&context.screen, move || server.drain(DRAIN)).map_err(unable)?;
    advise(context, address)?;
    let screen = &context.screen;
    screen.note(&format!("listening on http://{address}{}", args.path));
    let (options, ping) = hooks_beside(context, &options);
    let mut passes = Passes {
        context,
        options,
        sender,
        in_hand: BTreeSet::new(),
        running: 0,
        latest: None,
    };
    loop {
        let wait = passes.start(&mut store)?;
        ping.send(()).ok();
        match signals.recv_timeout(wait) {
            Ok(Signal::Pending) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Signal::Acted(deliveries)) => passes.ended(&deliveries),
            Ok(Signal::Failed(error)) => return Err(error),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(unable(std::io::ErrorKind::BrokenPipe.into()));
            }
        }
    }
}

/// Runs hooks in a thread with a store of its own: one that hangs must not hold up the next video. They are looked for
/// at each ping. Where there is no thread the passes run them.
fn hooks_beside(context: &Context, options: &PassOptions) -> (PassOptions, Sender<()>) {
    let (ping, pinged) = channel::<()>();
    let (env, screen) = (context.env.clone(), Arc::clone(&context.screen));
    let theirs = options.clone();
    let started = options
        .hook
        .is_some()
        .then(|| context.open())
        .and_then(Result::ok)
        .map(|mut store| {
            thread::Builder::new()
                .name("hooks".to_owned())
                .spawn(move || {
                    while pinged.recv().is_ok() {
                        let mut reporter = Reporter::new(&screen, Level::Events, false);
                        let run = pass::run(&mut store, &env, Scope::Hooks, &theirs, &mut reporter);
                        if let Err(error) = run {
                            screen.error(&error.to_string());
                        }
                    }
                })
        });
    let options = PassOptions {
        run_hooks: !matches!(started, Some(Ok(_))),
        ..options.clone()
    };
    (options, ping)
}

/// What will not work, told while somebody is looking.
fn advise(context: &Context, address: SocketAddr) -> Result<()> {
    let screen = &context.screen;
    if !address.ip().is_loopback() {
        screen.warn(&format!(
            "{address} can be reached from other machines, unencrypted: put a reverse proxy with TLS in front and listen on 127.0.0.1"
        ));
    }
    config::base_url(&context.env)?;
    // Not the end: the key is read anew for each pass, and may be put in place later.
    match config::api_key(&context.env) {
        Ok(key) => key.warning.iter().for_each(|text| screen.warn(text)),
        Err(error) => {
            screen.warn(&format!(
                "{error}: deliveries are recorded, and nothing can be fetched"
            ));
            error.hint.iter().for_each(|hint| screen.hint(hint));
        }
    }
    Ok(())
}

/// The passes over what was delivered: several at a time, because the file of one video may drip for hours.
struct Passes<'a> {
    context: &'a Context,
    options: PassOptions,
    sender: Sender<Signal>,
    /// Deliveries that a pass has taken on.
    in_hand: BTreeSet<i64>,
    running: usize,
    latest: Option<Instant>,
}

impl Passes<'_> {
    /// Takes on every pending delivery, those a crash left included. Returns how long there is nothing to do but for
    /// signals.
    fn start(&mut self, store: &mut Store) -> Result<Duration> {
        let limit = PAGE.saturating_add(u32::try_from(self.in_hand.len()).unwrap_or(PAGE));
        let mut pending = store.read(|tx| tx.pending_webhooks(limit))?;
        pending.retain(|delivery| !self.in_hand.contains(&delivery.id));
        if pending.is_empty() {
            return Ok(FOREVER);
        }
        if self.running > 0 {
            if self.running == MAX_PASSES {
                return Ok(FOREVER);
            }
            // What arrives at once is acted on at once.
            let age = self.latest.map_or(GATHER, |latest| latest.elapsed());
            if age < GATHER {
                return Ok(GATHER - age);
            }
        }
        let ids: Vec<i64> = pending.iter().map(|delivery| delivery.id).collect();
        self.in_hand.extend(&ids);
        self.running += 1;
        self.latest = Some(Instant::now());
        let pass = Pass {
            store: self.context.open()?,
            env: self.context.env.clone(),
            screen: Arc::clone(&self.context.screen),
            options: self.options.clone(),
            pending,
            sender: self.sender.clone(),
        };
        let (give, taken) = channel::<Pass>();
        let thread = thread::Builder::new().name("pass".to_owned());
        match thread.spawn(move || taken.iter().for_each(Pass::run)) {
            // It waits for nothing else.
            Ok(_) => drop(give.send(pass)),
            Err(_) => pass.run(),
        }
        Ok(Duration::ZERO)
    }

    fn ended(&mut self, deliveries: &[i64]) {
        self.running -= 1;
        for id in deliveries {
            self.in_hand.remove(id);
        }
    }
}

struct Pass {
    store: Store,
    env: Environment,
    screen: Arc<Screen>,
    options: PassOptions,
    pending: Vec<PendingWebhook>,
    sender: Sender<Signal>,
}

impl Pass {
    fn run(mut self) {
        let signal = match self.act() {
            Ok(()) => Signal::Acted(self.pending.iter().map(|delivery| delivery.id).collect()),
            Err(error) => Signal::Failed(error),
        };
        // Without a main thread the process is at its end.
        self.sender.send(signal).ok();
    }

    /// The deliveries are done only after the pass: a kill in between repeats it, and a pass over what is finished does
    /// nothing. A pass that met trouble (the network is down) is not repeated from here: the video is still unfinished,
    /// and `check` asks about it.
    fn act(&mut self) -> Result<()> {
        let rows: BTreeSet<RowId> = self
            .pending
            .iter()
            .filter(|delivery| !delivery.settled)
            .map(|delivery| delivery.video)
            .collect();
        if !rows.is_empty() {
            let scope = Scope::Named(rows.into_iter().collect());
            let mut reporter = Reporter::new(&self.screen, Level::Events, false);
            pass::run(
                &mut self.store,
                &self.env,
                scope,
                &self.options,
                &mut reporter,
            )?;
        }
        let now = time::now();
        self.store.write(|tx| {
            self.pending
                .iter()
                .try_for_each(|delivery| tx.webhook_done(delivery.id, now))
        })
    }
}
