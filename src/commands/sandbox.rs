//! `tracker sandbox`: the stand-in for HeyGen as a server.

use crate::commands::Context;
use crate::error::{Exit, Problem, Result};
use crate::sandbox::{Host, KEY, Sandbox, SandboxOptions, Webhook};
use crate::shell;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example, in one terminal:
  tracker sandbox --port 8080
and in another, after the exports it prints:
  tracker submit --avatar-id a --voice-id v --script Hello --wait
With --webhook http://127.0.0.1:8787/heygen --webhook-secret S it also calls a tracker listen.")]
pub struct Args {
    #[command(flatten)]
    options: SandboxOptions,
    /// Call this address on this machine when a video ends, as HeyGen does
    #[arg(long, value_name = "URL", requires = "webhook_secret")]
    webhook: Option<String>,
    /// Secret the webhooks are signed with
    #[arg(long, value_name = "S", requires = "webhook")]
    webhook_secret: Option<String>,
    /// Extra copies of each webhook
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        requires = "webhook"
    )]
    webhook_duplicates: u32,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let options = SandboxOptions {
        webhook: webhook(&args)?,
        ..args.options
    };
    let (sandbox, _servers) =
        Sandbox::start(options).map_err(|source| Problem::system("start the sandbox", &source))?;
    print_exports(context, &sandbox, args.webhook_secret);
    loop {
        std::thread::park();
    }
}

fn webhook(args: &Args) -> Result<Option<Webhook>> {
    let (Some(url), Some(secret)) = (&args.webhook, &args.webhook_secret) else {
        return Ok(None);
    };
    let hint = "tracker listen prints where it can be reached";
    let mut webhook =
        Webhook::new(url, secret).map_err(|error| Problem::usage(error.to_string(), hint))?;
    webhook.duplicates = args.webhook_duplicates;
    Ok(Some(webhook))
}

fn print_exports(context: &Context, sandbox: &Sandbox, webhook_secret: Option<String>) {
    let screen = &context.screen;
    // A database of its own: sandbox videos in the real history could never be found at HeyGen.
    let name = format!("heygen-sandbox-{}.db", std::process::id());
    let database = context.temporary().join(name);
    let mut exports = vec![
        ("HEYGEN_API_BASE", sandbox.base(Host::Api)),
        ("HEYGEN_API_KEY", KEY.to_owned()),
        ("TRACKER_DB", database.to_string_lossy().into_owned()),
    ];
    exports.extend(webhook_secret.map(|secret| ("HEYGEN_WEBHOOK_SECRET", secret)));
    for (name, value) in exports {
        screen.line(&format!("export {name}={}", shell::word(&value)));
    }
    screen.note("serving; Ctrl-C ends it");
}
