//! `tracker edit`: another title, other labels. Local: HeyGen is not asked and keeps what it has.

use clap::ArgGroup;

use super::{Context, find_video};
use crate::decide;
use crate::error::{Exit, Result};
use crate::render::fields::Field;
use crate::time;
use crate::typed::Tags;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker edit 14 --title 'Launch, final cut' --tag launch --untag draft",
    group(ArgGroup::new("changes").args(["title", "tag", "untag"]).required(true).multiple(true)))]
pub struct Args {
    /// Local number, HeyGen id, or a unique beginning of one
    #[arg(value_name = "ID")]
    id: String,
    /// The title shown here
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Add labels, comma-separated
    #[arg(long, value_name = "T")]
    tag: Vec<Tags>,
    /// Remove labels, comma-separated
    #[arg(long, value_name = "T")]
    untag: Vec<Tags>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut store = context.open()?;
    let video = store.write(|tx| {
        let mut video = find_video(tx, &args.id, true)?;
        let before = video.clone();
        if let Some(title) = &args.title {
            video.title = Some(title.clone());
            video.title_edited = true;
        }
        let untag = Tags::all(&args.untag);
        video.tags.retain(|tag| !untag.contains(tag));
        for tag in Tags::all(&args.tag) {
            if !video.tags.contains(&tag) {
                video.tags.push(tag);
            }
        }
        if before != video {
            tx.apply(&decide::edited(&video), time::now())?;
        }
        Ok(video)
    })?;
    let fields = [Field::Id, Field::Tags, Field::Title];
    context.print_rows(std::slice::from_ref(&video), &fields);
    let note = "changed here only; HeyGen keeps what it has";
    context.screen.note(note);
    Ok(Exit::Ok)
}
