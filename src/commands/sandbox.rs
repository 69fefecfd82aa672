//! `tracker sandbox`: the stand-in for HeyGen as a server.

use std::time::Duration;

use crate::commands::Context;
use crate::config::Environment;
use crate::error::{Error, Exit, shell_word};
use crate::render::screen::Screen;
use crate::sandbox::{Options, Render, Sandbox};

/// Requests kept for looking back; a server that runs for days must not grow.
const KEEP_REQUESTS: usize = 1000;

/// Run a local stand-in for HeyGen: no key, no network, no bill.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, in one terminal:
  tracker sandbox --port 8080
and in another, after the exports it prints:
  tracker submit --avatar-id a --voice-id v --script Hello --wait")]
pub struct Args {
    /// Port of the API; files are served from another one [default: any]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// How long a video renders
    #[arg(long, value_name = "D", default_value = "20s", value_parser = humantime::parse_duration)]
    render_time: Duration,
    /// Part of the videos that fail, from 0 to 1
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = rate)]
    fail_rate: f64,
    /// Delay of every API answer
    #[arg(long, value_name = "D", default_value = "0s", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// Bytes per video file
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000)]
    file_size: u64,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}

/// Runs `tracker sandbox` until it is interrupted.
pub fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let sandbox = Sandbox::start(Options {
        api_port: args.port.unwrap_or(0),
        render: Render::After(args.render_time),
        fail_rate: args.fail_rate,
        latency: args.latency,
        file_size: args.file_size,
        keep_requests: KEEP_REQUESTS,
        ..Options::default()
    })
    .map_err(|source| Error::System {
        action: "start the sandbox",
        source,
    })?;
    print_exports(&context.screen, &context.env, &sandbox);
    loop {
        std::thread::park();
    }
}

fn print_exports(screen: &Screen, env: &Environment, sandbox: &Sandbox) {
    // A database of its own: sandbox videos in the real history could never be found at HeyGen.
    let database = env
        .path("TMPDIR")
        .unwrap_or_else(|| "/tmp".into())
        .join(format!("heygen-sandbox-{}.db", std::process::id()));
    for (name, value) in [
        ("HEYGEN_API_BASE", sandbox.api_base()),
        ("HEYGEN_API_KEY", sandbox.key().to_owned()),
        ("TRACKER_DB", database.to_string_lossy().into_owned()),
    ] {
        screen.line(&format!("export {name}={}", shell_word(&value)));
    }
    screen.note("serving; Ctrl-C ends it");
}
