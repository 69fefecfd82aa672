//! `tracker submit`: put bodies into the outbox, POST them, return.

use std::path::{Path, PathBuf};

use crate::bodies::{self, Body, Overrides};
use crate::commands::Context;
use crate::commands::file_options::FileOptions;
use crate::commands::kind_options::KindOptions;
use crate::commands::options::{FieldArgs, MAX_BODIES, read_input};
use crate::commands::submission::{self, SubmitOptions, new_video};
use crate::each::{self, Line};
use crate::error::{Exit, Problem, Result};
use crate::store::NewVideo;
use crate::time::{self, Timestamp};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker submit body.json                 # one object, an array, or JSON Lines
  jq -c '.[]' all.json | tracker submit -
  tracker submit --avatar-id A --voice-id V --script @hello.txt --title Hello
  tracker submit body.json --each people.csv --name '{{email}} {id}'
  tracker submit --prompt @idea.txt        # an agent writes and makes it
  tracker submit --translate URL --to German,French
  tracker submit body.json --wait          # create, poll, download, print the path

What is recorded is never lost and never submitted twice: when submit returns 0, do not
submit again; `tracker check` sends what could not be sent yet.")]
pub struct Args {
    /// Request bodies: files, or - for standard input
    #[arg(value_name = "BODY.json|-")]
    bodies: Vec<PathBuf>,

    #[command(flatten)]
    kind: KindOptions,

    #[command(flatten)]
    fields: FieldArgs,

    /// One video for each line of this table: {{column}} in the body, --title, --tag and --name is the line's value
    #[arg(
        long,
        value_name = "TABLE.csv|.jsonl|-",
        help_heading = "One body for many"
    )]
    each: Option<PathBuf>,
    /// Take empty values of the table
    #[arg(long, requires = "each", help_heading = "One body for many")]
    allow_empty: bool,

    /// Label the videos
    #[arg(long = "tag", value_name = "T", value_delimiter = ',')]
    tags: Vec<String>,
    #[command(flatten)]
    files: FileOptions,

    #[command(flatten)]
    submission: SubmitOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let bodies = read_bodies(&args)?;
    let now = time::now();
    let new = match &args.each {
        Some(table) => for_each(&args, table, &bodies, context, now)?,
        None => {
            let files = args.files.resolve(context)?;
            let new = |body: &Body| new_video(body, args.tags.clone(), files.clone(), now);
            bodies.into_iter().map(|body| (new(&body), body)).collect()
        }
    };
    let (new, mut bodies): (Vec<NewVideo>, Vec<Body>) = new.into_iter().unzip();
    // A line of a table may have made them longer.
    args.kind.check(args.kind.kind()?, &mut bodies)?;
    let new: Vec<NewVideo> = new.into_iter().map(|new| args.kind.over(new)).collect();
    if args.submission.dry_run {
        if args.each.is_some() {
            return preview(&bodies, context);
        }
        let bodies: Vec<_> = bodies.into_iter().map(|body| (None, body)).collect();
        return submission::dry_run(&bodies, context);
    }
    args.submission.submit(context, &new, false)
}

fn for_each(
    args: &Args,
    table: &Path,
    bodies: &[Body],
    context: &Context,
    now: Timestamp,
) -> Result<Vec<(NewVideo, Body)>> {
    let [body] = bodies else {
        return Err(Problem::usage(
            format!("--each takes one body, not {}", bodies.len()),
            "run it once for each body",
        ));
    };
    if table == Path::new("-") && args.bodies.iter().any(|path| path == table) {
        return Err(Problem::usage(
            "standard input cannot be both the body and the table",
            "put one of them into a file",
        ));
    }
    let (origin, bytes) = read_input(table, MAX_BODIES)?;
    let lines = each::parse(&origin, &bytes)?;
    let for_line = |line: &Line| {
        let body = body.for_line(line, args.allow_empty)?;
        let tags = args.tags.iter();
        let tags = tags.map(|tag| line.fill(tag, args.allow_empty));
        let name = args.files.name.as_ref();
        let name = name.map(|name| line.fill_name(name, args.allow_empty));
        let files = FileOptions {
            name: name.transpose()?,
            ..args.files.clone()
        };
        let files = files.resolve(context)?;
        let new = new_video(&body, tags.collect::<Result<_, _>>()?, files, now);
        Ok((new, body))
    };
    lines.iter().map(for_line).collect()
}

/// What a table would become: how many, the first of them, and the script that takes longest to say.
fn preview(bodies: &[Body], context: &Context) -> Result<Exit> {
    let first = bodies.iter().take(1).map(|body| (None, body.clone()));
    submission::dry_run(&first.collect::<Vec<_>>(), context)?;
    let longest = bodies
        .iter()
        .filter_map(|body| Some((body.script()?.chars().count(), &body.place)))
        .max_by_key(|(length, _)| *length);
    let screen = &context.screen;
    let lines = bodies.len();
    screen.note(&format!("{lines} lines, a video each; the first is shown"));
    if let Some((length, place)) = longest {
        let note = format!("the longest script has {length} characters ({place})");
        screen.note(&note);
    }
    Ok(Exit::Ok)
}

fn read_bodies(args: &Args) -> Result<Vec<Body>> {
    let kind = args.kind.kind()?;
    let overrides = args.fields.overrides()?;
    let mut bodies = match args.kind.bodies(&overrides)? {
        Some(bodies) => bodies,
        None => typed_bodies(args, &overrides)?,
    };
    args.kind.check(kind, &mut bodies)?;
    Ok(bodies)
}

fn typed_bodies(args: &Args, overrides: &Overrides) -> Result<Vec<Body>> {
    if args.bodies.is_empty() {
        if overrides.is_empty() {
            return Err(Problem::usage(
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
