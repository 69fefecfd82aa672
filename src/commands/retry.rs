//! `tracker retry`: submit again what brought no video.

use crate::bodies::{self, Body, Overrides};
use crate::commands::file_options::FileOptions;
use crate::commands::options::FieldArgs;
use crate::commands::submission::{self, SubmitOptions, new_video};
use crate::commands::{Context, find_all, load};
use crate::error::{Exit, Problem, Result};
use crate::store::{NewVideo, Store, Tx};
use crate::time::{self, Timestamp};
use crate::video::{IdempotencyKey, Phase, RowId, Video};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker retry 15 --script @shorter.txt    # what failed, with another script
  tracker retry --failed --dry-run          # what that would submit

The same retry again is the same row, however often it is repeated.",
    mut_arg("output_dir", |arg| arg.help("Where the files go [default: as before]")),
    mut_arg("assets", |arg| arg.help("Which files: video, captioned, subtitle, thumbnail, gif, audio, vtt, or none [default: as before]")),
    mut_arg("name", |arg| arg.help("How they are named, from {id}, {video_id}, {title} and {date} [default: as before]")),
)]
pub struct Args {
    /// Rows that ended without a video: local numbers or exact HeyGen ids
    #[arg(value_name = "ID", required_unless_present = "failed")]
    ids: Vec<String>,
    /// Every failed or rejected row that was not retried yet
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
    /// Submit once more what was retried before
    #[arg(long, conflicts_with = "failed")]
    again: bool,
    #[command(flatten)]
    fields: FieldArgs,
    /// Label the new rows, instead of the old labels
    #[arg(long = "tag", value_name = "T", value_delimiter = ',')]
    tags: Vec<String>,
    #[command(flatten)]
    files: FileOptions,
    #[command(flatten)]
    submission: SubmitOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
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
        if video.has_unanswered_attempt() {
            submission::warn_unanswered(&video, context);
        }
        let nudges = store.read(|tx| tx.nudges_sent(video.id))?;
        let mut new_row = args.again(context, &video, &body, now)?;
        new_row.video.nudges_left = video.nudges_left.saturating_add(nudges);
        new.push(new_row);
        bodies.push((Some(video.id), body));
    }
    if new.is_empty() {
        let note = "nothing failed that was not retried already";
        context.screen.note(note);
        return Ok(Exit::Ok);
    }
    if args.submission.dry_run {
        let known = dry_settle(&store, new, args.again)?;
        for (original, retry) in &known {
            let note = format!("{original} was retried already: {retry}");
            context.screen.note(&note);
        }
        bodies.retain(|(row, _)| !known.iter().any(|(original, _)| Some(*original) == *row));
        return submission::dry_run(&bodies, context);
    }
    drop(store);
    args.submission.submit(context, &new, args.again)
}

/// The rows that a retry would find instead of submitting.
fn dry_settle(store: &Store, new: Vec<NewVideo>, again: bool) -> Result<Vec<(RowId, RowId)>> {
    store.read(|tx| {
        let mut known = Vec::new();
        for mut video in new {
            let Some(original) = video.video.retry_of else {
                continue;
            };
            let found = settle(tx, &mut video, original, again)?;
            known.extend(found.map(|row| (original, row)));
        }
        Ok(known)
    })
}

/// Inside the transaction that records it: the earlier retry that this one repeats, else `new` gets its key.
///
/// The key is derived from what is retried, so that the same retry after a restore of the database is the same
/// submission for HeyGen, too, as long as it remembers keys.
///
/// # Errors
/// A usage error for another retry than the earlier one, or of a row that meanwhile has or may get its video.
pub(super) fn settle(
    tx: &Tx<'_>,
    new: &mut NewVideo,
    original: RowId,
    again: bool,
) -> Result<Option<RowId>> {
    let earlier = tx.retries(original)?;
    if let Some((row, hash)) = earlier.last().filter(|_| !again) {
        let (before, retry) = (tx.video(original)?, tx.video(*row)?);
        let same = |(before, retry): (Video, Video)| asks_for_no_more(&new.video, &before, &retry);
        if *hash == new.body_hash && before.zip(retry).is_none_or(same) {
            return Ok(Some(*row));
        }
        return Err(Problem::usage(
            format!("{original} was already retried as {row}, with other fields"),
            format!("tracker show {row} shows that one; --again submits {original} once more"),
        ));
    }
    let video = tx
        .video(original)?
        .ok_or_else(|| Problem::not_found(original))?;
    refuse_unless_over(&video)?;
    if let (Some(key), Some(first)) = (&mut new.video.idempotency_key, &video.idempotency_key) {
        let body = new.body_hash.as_deref().unwrap_or_default();
        *key = IdempotencyKey::of_retry(first, earlier.len(), body);
    }
    Ok(None)
}

/// Whether what `new` wants otherwise than the original is what its retry got.
fn asks_for_no_more(new: &Video, original: &Video, retry: &Video) -> bool {
    fn fits<T: PartialEq>(new: &T, original: &T, retry: &T) -> bool {
        new == original || new == retry
    }
    let assets = |video: &Video| -> Vec<_> { video.files.iter().map(|file| file.asset).collect() };
    fits(&new.tags, &original.tags, &retry.tags)
        && fits(&new.output_dir, &original.output_dir, &retry.output_dir)
        && fits(
            &new.name_template,
            &original.name_template,
            &retry.name_template,
        )
        && fits(&assets(new), &assets(original), &assets(retry))
}

/// Only what ended without a video can be retried.
fn refuse_unless_over(video: &Video) -> Result<()> {
    let id = video.id;
    let (why, hint) = match video.phase {
        Phase::Rejected if video.failure_code.as_deref() == Some(submission::ALREADY_TRACKED) => (
            "became a video that another row tracks",
            format!("tracker show {id} shows which"),
        ),
        Phase::Rejected | Phase::Unknown | Phase::Missing => return Ok(()),
        Phase::Accepted if video.is_failed() => return Ok(()),
        Phase::Accepted if video.is_completed() => (
            "is completed",
            format!("tracker download {id} fetches its files again"),
        ),
        Phase::Accepted | Phase::Unsent | Phase::Sending => (
            "is not finished",
            format!("tracker check {id} carries on with it"),
        ),
    };
    Err(Problem::usage(format!("{id} {why}"), hint))
}

fn body_of(store: &Store, video: &Video, overrides: &Overrides) -> Result<Body> {
    let id = video.id;
    refuse_unless_over(video)?;
    let Some(request) = store.read(|tx| tx.request(id))? else {
        return Err(Problem::usage(
            format!("{id} was made elsewhere, so its body is not known here"),
            "submit its body: tracker submit BODY.json",
        ));
    };
    let body = bodies::parse(&format!("the body of {id}"), request.as_bytes())?.remove(0);
    let body = Body {
        kind: video.kind,
        template: video.template_id.clone(),
        data: video.data.clone(),
        ..body
    };
    overrides.over(body)
}

impl Args {
    fn again(
        &self,
        context: &Context,
        original: &Video,
        body: &Body,
        now: Timestamp,
    ) -> Result<NewVideo> {
        let mut files = self.files.resolve(context)?;
        if self.files.output_dir.is_none() {
            files.output_dir.clone_from(&original.output_dir);
        }
        if self.files.name.is_none() {
            files.name_template.clone_from(&original.name_template);
        }
        if self.files.assets.is_none() {
            files.assets = original.files.iter().map(|file| file.asset).collect();
        }
        let tags = match self.tags.as_slice() {
            [] => &original.tags,
            _ => &self.tags,
        };
        let mut new = new_video(body, tags.clone(), files, now);
        new.video.retry_of = Some(original.id);
        new.video.auto_proceed = original.auto_proceed;
        Ok(new)
    }
}
