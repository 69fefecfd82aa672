//! `tracker retry`: buy again what brought no video.

use crate::bodies::{self, Body, Overrides};
use crate::commands::body_options::FieldArgs;
use crate::commands::buy::{self, BuyArgs};
use crate::commands::file_options::FileOptions;
use crate::commands::{Context, find_all, load};
use crate::error::{Error, Exit};
use crate::store::{NewVideo, Store};
use crate::time::{self, Timestamp};
use crate::video::{IdempotencyKey, Phase, Video};

/// Buy again: the stored body as a new row with a key of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker retry 15 --script @shorter.txt    # what failed, with another script
  tracker retry --failed --dry-run          # what that would buy

A row is bought again once, however often this is repeated.")]
pub struct Args {
    /// Rows that ended without a video: local numbers or exact HeyGen ids
    #[arg(value_name = "ID", required_unless_present = "failed")]
    ids: Vec<String>,
    /// Every failed or rejected row that was not bought again yet
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
    #[command(flatten)]
    fields: FieldArgs,
    /// Label the new rows, instead of the old labels
    #[arg(long = "tag", value_name = "T", value_delimiter = ',')]
    tags: Vec<String>,
    #[command(flatten)]
    files: FileOptions,
    #[command(flatten)]
    buying: BuyArgs,
}

/// Runs `tracker retry`.
pub fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let store = context.open()?;
    let rows = if args.failed {
        store.read(|tx| tx.retryable())?
    } else {
        find_all(&store, &args.ids, false)?
    };
    let overrides = args.fields.overrides()?;
    let now = time::now();
    let mut bodies = Vec::new();
    let mut new = Vec::new();
    for video in load(&store, &rows)? {
        let body = body_of(&store, &video, &overrides)?;
        new.push(args.again(context, &video, &body, now)?);
        bodies.push(body);
    }
    drop(store);
    if new.is_empty() {
        context
            .screen
            .note("nothing failed that was not bought again already");
        return Ok(Exit::Ok);
    }
    if args.buying.dry_run {
        return buy::dry_run(&bodies, context);
    }
    args.buying.buy(context, &new)
}

fn body_of(store: &Store, video: &Video, overrides: &Overrides) -> Result<Body, Error> {
    let id = video.id;
    let refuse = |why: &str, hint: String| Err(Error::usage(format!("{id} {why}"), hint));
    match video.phase {
        Phase::Rejected if video.failure_code.as_deref() == Some("already_tracked") => {
            return refuse(
                "became a video that another row tracks",
                format!("tracker show {id} tells which"),
            );
        }
        Phase::Rejected | Phase::Unknown | Phase::Missing => {}
        Phase::Accepted if video.is_failed() => {}
        Phase::Accepted if video.is_completed() => {
            return refuse(
                "is completed",
                format!("tracker download {id} fetches its files again"),
            );
        }
        Phase::Accepted | Phase::Unsent | Phase::Sending => {
            return refuse(
                "is not finished",
                format!("tracker check {id} carries on with it"),
            );
        }
    }
    let Some(request) = store.read(|tx| tx.request(id))? else {
        return refuse(
            "was made elsewhere, so its body is not known here",
            "submit its body: tracker submit BODY.json".to_owned(),
        );
    };
    let body = bodies::parse(&format!("the body of {id}"), request.as_bytes())?.remove(0);
    overrides.over(body)
}

impl Args {
    fn again(
        &self,
        context: &Context,
        original: &Video,
        body: &Body,
        now: Timestamp,
    ) -> Result<NewVideo, Error> {
        let files = self.files.resolve(context)?;
        Ok(NewVideo {
            request: Some((body.raw.clone(), IdempotencyKey::random())),
            body_hash: Some(body.hash()),
            video_id: None,
            title: body.title(),
            script: body.script(),
            avatar_id: body.avatar_id(),
            voice_id: body.voice_id(),
            tags: if self.tags.is_empty() {
                original.tags.clone()
            } else {
                self.tags.clone()
            },
            submitted_at: now,
            output_dir: match &self.files.output_dir {
                Some(_) => files.output_dir,
                None => original.output_dir.clone(),
            },
            name_template: match &self.files.name {
                Some(_) => files.name_template,
                None => original.name_template.clone(),
            },
            assets: match &self.files.assets {
                Some(_) => files.assets,
                None => original.files.iter().map(|file| file.asset).collect(),
            },
            retry_of: Some(original.id),
        })
    }
}
