//! `tracker listen`: HeyGen calls when a video ends, and it is fetched at once.
//!
//! [`crate::listen`] receives, this file acts: the main thread asks HeyGen about each video that a delivery named and
//! brings its files home, by exactly the pass of `check ID`. Polling from cron stays the source of truth: what no
//! delivery tells, the next `check` finds out.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use crate::commands::Context;
use crate::commands::options::Tuning;
use crate::config;
use crate::error::{Error, Exit};
use crate::listen::{self, News};
use crate::pass::{self, Options, Reporter, Scope, Voice};
use crate::signals;
use crate::store::Store;
use crate::time;
use crate::video::RowId;

/// How many pending deliveries one pass takes on.
const PAGE: u32 = 256;
/// How long deliveries that have arrived may take to be answered after a signal; systemd kills after 90 s.
const DRAIN: Duration = Duration::from_secs(10);

const DETAILS: &str = "\
The secret that HeyGen signs with is read from HEYGEN_WEBHOOK_SECRET, else from the file
HEYGEN_WEBHOOK_SECRET_FILE, else from systemd's $CREDENTIALS_DIRECTORY/heygen-webhook-secret.
Keep check in cron: it finds what no delivery told. GET /health answers 200.

Example, behind a reverse proxy that speaks TLS:
  HEYGEN_WEBHOOK_SECRET_FILE=~/.heygen/webhook-secret tracker listen --addr 127.0.0.1:8787";

/// Receive HeyGen's webhooks and fetch what is ready at once
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
    /// Run this for everything that happens; see the README [env: TRACKER_HOOK]
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

/// Runs `tracker listen` until a signal or the database ends it.
pub fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let secret = config::webhook_secret(&context.env)?;
    let options = Options {
        download: !args.no_download,
        hook: context.hook(args.hook.as_deref())?,
        ..args.tuning.options()
    };
    // Opened one after the other: what sets up or migrates the database is done by the first.
    let mut store = context.open()?;
    let receiving = context.open()?;
    let listener =
        TcpListener::bind(args.addr).map_err(|source| Error::bind(args.addr, &source))?;
    let unable = |source| Error::system("receive webhooks", &source);
    let (mut server, news) = listen::start(
        listener,
        args.path.clone(),
        secret,
        receiving,
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
    loop {
        act(context, &mut store, &options)?;
        ping.send(()).ok();
        match news.recv() {
            Ok(News::Pending) => {}
            Ok(News::Failed(error)) => return Err(error),
            Err(_) => return Err(unable(std::io::ErrorKind::BrokenPipe.into())),
        }
    }
}

/// Runs hooks in a thread with a store of its own: one that hangs must not hold up the next video. They are looked for
/// at each ping. Where there is no thread the passes run them.
fn hooks_beside(context: &Context, options: &Options) -> (Options, Sender<()>) {
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
                        let mut reporter = Reporter::new(&screen, Voice::Outcomes, false);
                        let run = pass::run(&mut store, &env, Scope::Hooks, &theirs, &mut reporter);
                        if let Err(error) = run {
                            screen.error(&error.to_string());
                        }
                    }
                })
        });
    let options = Options {
        run_hooks: !matches!(started, Some(Ok(_))),
        ..options.clone()
    };
    (options, ping)
}

/// What will not work, told while somebody is looking.
fn advise(context: &Context, address: SocketAddr) -> Result<(), Error> {
    let screen = &context.screen;
    if !address.ip().is_loopback() {
        screen.warn(&format!(
            "{address} can be reached from other machines, unencrypted: put a reverse proxy with TLS in front and listen on 127.0.0.1"
        ));
    }
    config::base_url(&context.env)?;
    // Not the end: the key is read anew for each pass, and may be put in place later.
    if let Err(error) = config::api_key(&context.env) {
        screen.warn(&format!(
            "{error}: deliveries are recorded, and nothing can be fetched"
        ));
        screen.hint(&error.hint());
    }
    Ok(())
}

/// Acts on every pending delivery, those a crash left included.
///
/// They are done only after the pass: a kill in between repeats it, and a pass over what is finished does nothing.
/// A pass that met trouble (the network is down) is not repeated from here: the video is still unfinished, and
/// `check` asks about it.
fn act(context: &Context, store: &mut Store, options: &Options) -> Result<(), Error> {
    loop {
        let pending = store.read(|tx| tx.pending_webhooks(PAGE))?;
        if pending.is_empty() {
            return Ok(());
        }
        let rows: BTreeSet<RowId> = pending
            .iter()
            .filter(|delivery| !delivery.settled)
            .map(|delivery| delivery.video)
            .collect();
        if !rows.is_empty() {
            let scope = Scope::Named {
                rows: rows.into_iter().collect(),
                ignore_backoff: false,
            };
            let mut reporter = Reporter::new(&context.screen, Voice::Outcomes, false);
            pass::run(store, &context.env, scope, options, &mut reporter)?;
        }
        let now = time::now();
        store.write(|tx| {
            pending
                .iter()
                .try_for_each(|delivery| tx.webhook_done(delivery.id, now))
        })?;
    }
}
