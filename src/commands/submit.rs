//! `tracker submit`: put bodies into the outbox, POST them, return.

use std::path::PathBuf;

use crate::bodies::{self, Body};
use crate::commands::Context;
use crate::commands::body_options::{FieldArgs, read_input};
use crate::commands::buy::{self, BuyArgs};
use crate::commands::file_options::{FileOptions, WantedFiles};
use crate::error::{Error, Exit};
use crate::store::NewVideo;
use crate::time::{self, Timestamp};
use crate::video::IdempotencyKey;

/// Buy videos: record them, send them, return at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker submit body.json                 # one object, an array, or JSON Lines
  jq -c '.[]' all.json | tracker submit -
  tracker submit --avatar-id A --voice-id V --script @hello.txt --title Hello
  tracker submit body.json --wait          # generate, poll, download, print the path

What is recorded is never lost and never bought twice: when submit returns 0, do not
submit again; `tracker check` sends what could not be sent yet.")]
pub struct Args {
    /// Request bodies: files, or - for standard input
    #[arg(value_name = "BODY.json|-")]
    bodies: Vec<PathBuf>,

    #[command(flatten)]
    fields: FieldArgs,

    /// Label the videos
    #[arg(long = "tag", value_name = "T", value_delimiter = ',')]
    tags: Vec<String>,
    #[command(flatten)]
    files: FileOptions,

    #[command(flatten)]
    buying: BuyArgs,
}

/// Runs `tracker submit`.
pub fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let bodies = read_bodies(&args)?;
    let files = args.files.resolve(context)?;
    if args.buying.dry_run {
        return buy::dry_run(&bodies, context);
    }
    let now = time::now();
    let new: Vec<NewVideo> = bodies
        .iter()
        .map(|body| new_video(body, &args.tags, &files, now))
        .collect();
    args.buying.buy(context, &new)
}

fn read_bodies(args: &Args) -> Result<Vec<Body>, Error> {
    let overrides = args.fields.overrides()?;
    if args.bodies.is_empty() {
        if overrides.is_empty() {
            return Err(Error::usage(
                "nothing to submit",
                "name a file with a request body, - for standard input, or use --avatar-id, --voice-id and --script",
            ));
        }
        return Ok(vec![overrides.alone()?]);
    }
    let mut all = Vec::new();
    for path in &args.bodies {
        let (origin, bytes) = read_input(path)?;
        all.extend(bodies::parse(&origin, &bytes)?);
    }
    all.into_iter().map(|body| overrides.over(body)).collect()
}

fn new_video(body: &Body, tags: &[String], files: &WantedFiles, now: Timestamp) -> NewVideo {
    NewVideo {
        request: Some((body.raw.clone(), IdempotencyKey::random())),
        body_hash: Some(body.hash()),
        video_id: None,
        title: body.title(),
        script: body.script(),
        avatar_id: body.avatar_id(),
        voice_id: body.voice_id(),
        tags: tags.to_owned(),
        submitted_at: now,
        output_dir: files.output_dir.clone(),
        name_template: files.name_template.clone(),
        assets: files.assets.clone(),
        retry_of: None,
    }
}
