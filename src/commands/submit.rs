//! `tracker submit`: put bodies into the outbox, POST them, return.

use std::path::PathBuf;

use crate::bodies::{self, Body};
use crate::commands::Context;
use crate::commands::file_options::FileOptions;
use crate::commands::options::{FieldArgs, MAX_BODIES, read_input};
use crate::commands::submission::{self, SubmitOptions, new_video};
use crate::error::{Error, Exit};
use crate::store::NewVideo;
use crate::time;

/// Submit videos: record them, send them, return at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker submit body.json                 # one object, an array, or JSON Lines
  jq -c '.[]' all.json | tracker submit -
  tracker submit --avatar-id A --voice-id V --script @hello.txt --title Hello
  tracker submit body.json --wait          # create, poll, download, print the path

What is recorded is never lost and never submitted twice: when submit returns 0, do not
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
    submission: SubmitOptions,
}

/// Runs `tracker submit`.
pub fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let bodies = read_bodies(&args)?;
    let files = args.files.resolve(context)?;
    if args.submission.dry_run {
        let bodies: Vec<_> = bodies.into_iter().map(|body| (None, body)).collect();
        return submission::dry_run(&bodies, context);
    }
    let now = time::now();
    let new: Vec<NewVideo> = bodies
        .iter()
        .map(|body| new_video(body, args.tags.clone(), files.clone(), now))
        .collect();
    args.submission.submit(context, &new, false)
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
        let (origin, bytes) = read_input(path, MAX_BODIES)?;
        all.extend(bodies::parse(&origin, &bytes)?);
    }
    all.into_iter().map(|body| overrides.over(body)).collect()
}
