//! `tracker retry`: submit again what brought no video.

use std::collections::BTreeMap;

use crate::bodies::{self, Body};
use crate::commands::file_options::FileOptions;
use crate::commands::options::FieldArgs;
use crate::commands::submission::{self, Placed, SubmitOptions};
use crate::commands::{Context, find_all, load};
use crate::decide;
use crate::error::{Exit, Problem, Result};
use crate::store::{NewVideo, Store, Tx};
use crate::typed::Tags;
use crate::video::{Asset, File, IdempotencyKey, RowId, Video};

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
    /// Every failed, rejected or cancelled row that was not retried yet
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
    /// Submit once more what was retried before
    #[arg(long, conflicts_with = "failed")]
    again: bool,
    #[command(flatten)]
    fields: FieldArgs,
    /// Label the new rows, instead of the old labels
    #[arg(long = "tag", value_name = "T")]
    tags: Vec<Tags>,
    #[command(flatten)]
    files: FileOptions,
    #[command(flatten)]
    submission: SubmitOptions,
}

pub(crate) fn run(mut args: Args, context: &Context) -> Result<Exit> {
    let store = context.open()?;
    let rows = if args.failed {
        store.read(|tx| tx.retryable())?
    } else {
        find_all(&store, &args.ids, false)?
    };
    let fields = args.fields.given()?;
    let mut new = Vec::new();
    for video in load(&store, &rows)? {
        if args.failed && decide::refuse_retry(&video).is_err() {
            continue;
        }
        new.push(args.row(&store, &video, &fields, context)?);
        if video.has_unanswered_attempt() {
            submission::warn_unanswered(&video, context);
        }
    }
    if new.is_empty() {
        let note = "nothing failed that was not retried already";
        context.screen.note(note);
        return Ok(Exit::Ok);
    }
    drop(store);
    args.submission.again = args.again;
    args.submission.submit(context, new)
}

/// Inside the transaction that records it: the earlier retry that this one repeats, else `new` gets its key.
///
/// The key is derived from what is retried, so that the same retry after a restore of the database is the same
/// submission for HeyGen, too, as long as it remembers keys.
///
/// # Errors
/// A usage error for another retry than the earlier one, or of a row that meanwhile has or may get its video.
pub(super) fn settle(tx: &Tx<'_>, new: &mut NewVideo, again: bool) -> Result<Option<RowId>> {
    let Some(original) = new.video.retry_of else {
        return Ok(None);
    };
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
    decide::refuse_retry(&video)?;
    if let (Some(key), Some(first)) = (&mut new.video.idempotency_key, &video.idempotency_key) {
        let body = new.body_hash.as_deref().unwrap_or_default();
        let number = earlier.len() + tx.retries_forgotten(original)?;
        *key = IdempotencyKey::of_retry(first, number, body);
    }
    Ok(None)
}

/// Whether what `new` wants otherwise than the original is what its retry got.
fn asks_for_no_more(new: &Video, original: &Video, retry: &Video) -> bool {
    fn fits<T: PartialEq>(new: &T, original: &T, retry: &T) -> bool {
        new == original || new == retry
    }
    fits(&new.tags, &original.tags, &retry.tags)
        && fits(&new.output_dir, &original.output_dir, &retry.output_dir)
        && fits(
            &new.name_template,
            &original.name_template,
            &retry.name_template,
        )
        && fits(&assets_of(new), &assets_of(original), &assets_of(retry))
}

impl Args {
    /// The row that submits `original` once more, and where its body is from.
    fn row(
        &self,
        store: &Store,
        original: &Video,
        fields: &BTreeMap<&str, String>,
        context: &Context,
    ) -> Result<Placed> {
        let id = original.id;
        decide::refuse_retry(original)?;
        let (request, nudges) = store.read(|tx| Ok((tx.request(id)?, tx.nudges_sent(id)?)))?;
        let request = request.ok_or_else(|| Problem::unknown_body(id))?;
        let body = bodies::parse(&format!("the body of {id}"), request.as_bytes())?.remove(0);
        let body = Body {
            kind: original.kind,
            template: original.template_id.clone(),
            data: original.data.clone(),
            ..body
        };
        let body = body.with(fields)?;
        let mut base = Video {
            retry_of: Some(id),
            auto_proceed: original.auto_proceed,
            nudges_left: original.nudges_left.saturating_add(nudges),
            tags: Tags::all(&self.tags),
            ..self.files.row(context)?
        };
        if self.tags.is_empty() {
            base.tags.clone_from(&original.tags);
        }
        if self.files.output_dir.is_none() {
            base.output_dir.clone_from(&original.output_dir);
        }
        if self.files.name.is_none() {
            base.name_template.clone_from(&original.name_template);
        }
        if self.files.assets.is_none() {
            let assets = assets_of(original).into_iter();
            base.files = assets.map(File::wanted).collect();
        }
        Ok((body.row(base), body.place))
    }
}

fn assets_of(video: &Video) -> Vec<Asset> {
    video.files.iter().map(|file| file.asset).collect()
}
