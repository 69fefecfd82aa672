//! `tracker submit`: put bodies into the outbox, POST them, return.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bodies::{self, Body};
use crate::commands::Context;
use crate::commands::file_options::FileOptions;
use crate::commands::kind_options::KindOptions;
use crate::commands::options::{FieldArgs, MAX_BODIES, read_input};
use crate::commands::submission::{Placed, SubmitOptions};
use crate::each::{self, Line};
use crate::error::{Exit, Problem, Result};
use crate::typed::{self, Tags};

const EACH: &str = "One body for many";

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
    #[arg(long, value_name = "TABLE.csv|.jsonl|-", help_heading = EACH)]
    each: Option<PathBuf>,
    /// Take empty values of the table
    #[arg(long, requires = "each", help_heading = EACH)]
    allow_empty: bool,

    /// Label the videos, comma-separated
    #[arg(long = "tag", value_name = "T")]
    tags: Vec<Tags>,
    #[command(flatten)]
    files: FileOptions,

    #[command(flatten)]
    submission: SubmitOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let kind = args.kind.kind()?;
    let bodies = args.bodies()?;
    let bodies = bodies.into_iter().map(|body| args.kind.of_kind(kind, body));
    let bodies: Vec<Body> = bodies.collect::<Result<_>>()?;
    let new = match &args.each {
        Some(table) => args.each(table, &bodies, context)?,
        None => {
            let mut base = args.files.row(context)?;
            base.tags = Tags::all(&args.tags);
            let row = |body: Body| (args.kind.row(&body, base.clone()), body.place);
            bodies.into_iter().map(row).collect()
        }
    };
    if args.each.is_some() && args.submission.dry_run {
        return preview(&args.submission, new, context);
    }
    args.submission.submit(context, new)
}

impl Args {
    fn bodies(&self) -> Result<Vec<Body>> {
        let fields = self.fields.given()?;
        let of_flags = self.kind.bodies(&fields)?;
        if !of_flags.is_empty() {
            return Ok(of_flags);
        }
        let mut all = Vec::new();
        for path in &self.bodies {
            let (origin, bytes) = read_input(path, MAX_BODIES)?;
            all.extend(bodies::parse(&origin, &bytes)?);
        }
        if all.is_empty() && fields.is_empty() {
            return Err(Problem::usage(
                "nothing to submit",
                "name a file with a request body, - for standard input, or use --avatar-id, --voice-id and --script",
            ));
        }
        if all.is_empty() {
            all.push(bodies::of_flags(json!({"type": "avatar"}))?);
        }
        all.into_iter().map(|body| body.with(&fields)).collect()
    }

    fn each(&self, table: &Path, bodies: &[Body], context: &Context) -> Result<Vec<Placed>> {
        let [body] = bodies else {
            return Err(Problem::usage(
                format!("--each takes one body, not {}", bodies.len()),
                "run it once for each body",
            ));
        };
        if table == Path::new("-") && self.bodies.iter().any(|path| path == table) {
            return Err(Problem::usage(
                "standard input cannot be both the body and the table",
                "put one of them into a file",
            ));
        }
        let (origin, bytes) = read_input(table, MAX_BODIES)?;
        let tags = Tags::all(&self.tags);
        let row = |line: &Line| {
            // The line may have made it longer than what HeyGen takes.
            let body = self.kind.of_kind(body.kind, body.for_line(line)?)?;
            // A value may hold several labels, or none.
            let tags = tags.iter().map(|tag| line.fill(tag));
            let tags = tags.collect::<Result<Vec<_>>>()?;
            let name = self.files.name.as_ref().map(|name| line.fill_name(name));
            let files = FileOptions {
                name: name.transpose()?,
                ..self.files.clone()
            };
            let mut base = files.row(context)?;
            base.tags = tags.iter().flat_map(|text| typed::tags(text)).collect();
            Ok((self.kind.row(&body, base), body.place))
        };
        let lines = each::parse(&origin, &bytes, self.allow_empty)?;
        lines.iter().map(row).collect()
    }
}

/// What a table would become: how many, the first of them, and the script that takes longest to say.
fn preview(submission: &SubmitOptions, new: Vec<Placed>, context: &Context) -> Result<Exit> {
    let longest = new
        .iter()
        .filter_map(|(row, place)| Some((row.video.script.as_ref()?.chars().count(), place)))
        .max_by_key(|(length, _)| *length)
        .map(|(length, place)| (length, place.clone()));
    let lines = new.len();
    submission.preview(context, new, 1)?;
    let screen = &context.screen;
    if lines > 1 {
        screen.note(&format!("{lines} lines, a video each; the first is shown"));
    }
    if let Some((length, place)) = longest {
        let note = format!("the longest script has {length} characters ({place})");
        screen.note(&note);
    }
    Ok(Exit::Ok)
}
