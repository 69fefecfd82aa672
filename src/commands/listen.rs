//! `tracker listen`: HeyGen calls when a video ends, and it is fetched at once.
//!
//! [`crate::listen`] receives, this file acts: the main thread asks HeyGen about each video that a delivery named and
//! brings its files home, by exactly the pass of `check ID`. Polling from cron stays the source of truth: what no
//! delivery tells, the next `check` finds out.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::commands::Context;
use crate::commands::options::Tuning;
use crate::config;
use crate::error::{Exit, Problem, Result};
use crate::listen::{self, Signal};
use crate::pass::{self, Level, PassOptions, Reporter, Scope};
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
  HEYGEN_WEBHOOK_SECRET_FILE=~/.config/heygen/webhook-secret tracker listen --addr 127.0.0.1:8787";

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
    let (ping, pinged) = channel();
    let (theirs, settings) = (context.clone(), options.clone());
    let look = move |mut store: Store| {
        while pinged.recv().is_ok() {
            if let Err(error) = events(&theirs, &mut store, Scope::Hooks, &settings) {
                theirs.screen.error(&error.to_string());
            }
        }
    };
    let store = options.hook.as_ref().and_then(|_| context.open().ok());
    let started = store.is_some_and(|store| {
        let thread = thread::Builder::new().name("hooks".to_owned());
        thread.spawn(move || look(store)).is_ok()
    });
    let options = PassOptions {
        run_hooks: !started,
        ..options.clone()
    };
    (options, ping)
}

fn events(context: &Context, store: &mut Store, scope: Scope, options: &PassOptions) -> Result<()> {
    let mut reporter = Reporter::new(&context.screen, Level::Events, false);
    pass::run(store, &context.env, scope, options, &mut reporter)
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
        self.in_hand
            .extend(pending.iter().map(|delivery| delivery.id));
        self.running += 1;
        self.latest = Some(Instant::now());
        let (context, options) = (self.context.clone(), self.options.clone());
        let sender = self.sender.clone();
        let pass = move || {
            let acted = catch_unwind(AssertUnwindSafe(|| act(&context, &options, &pending)));
            let signal = match acted.unwrap_or_else(|_| Err(Problem::panicked())) {
                Ok(()) => Signal::Acted(pending.iter().map(|delivery| delivery.id).collect()),
                Err(error) => Signal::Failed(error),
            };
            // Without a main thread the process is at its end.
            sender.send(signal).ok();
        };
        let thread = thread::Builder::new().name("pass".to_owned());
        if thread.spawn(pass.clone()).is_err() {
            pass();
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

/// The deliveries are done only after the pass: a kill in between repeats it, and a pass over what is finished does
/// nothing. A pass that met trouble (the network is down) is not repeated from here: the video is still unfinished, and
/// `check` asks about it.
fn act(context: &Context, options: &PassOptions, pending: &[PendingWebhook]) -> Result<()> {
    let mut store = context.open()?;
    let unsettled = pending.iter().filter(|delivery| !delivery.settled);
    let rows: BTreeSet<RowId> = unsettled.map(|delivery| delivery.video).collect();
    if !rows.is_empty() {
        let scope = Scope::Named(rows.into_iter().collect());
        events(context, &mut store, scope, options)?;
    }
    let now = time::now();
    store.write(|tx| {
        let mut done = pending.iter();
        done.try_for_each(|delivery| tx.webhook_done(delivery.id, now))
    })
}
