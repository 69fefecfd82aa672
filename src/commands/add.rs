//! `tracker add`: track videos made elsewhere. Only `--all` and `--batch` need network and key.

mod account;
mod becomes;
mod record;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use chrono::Local;
use clap::builder::NonEmptyStringValueParser;

use super::Context;
use super::file_options::FileOptions;
use super::kind_options::kinds;
use super::options::read_input;
use crate::error::{Exit, Problem, Result};
use crate::import;
use crate::kind::Kind;
use crate::rows::is_file;
use crate::time;
use crate::typed::Tags;
use crate::video::{Video, VideoId};

use record::{MadeElsewhere, Recorder};

const ACCOUNT: &str = "From the account";
const EXAMPLES: &str = "\
Examples:
  tracker add 5e0a7c0f2b6d4e1f9a8b7c6d5e4f3a2b
  tracker add pending-video.json video-result.json
  heygen video create … | tracker add - --tag launch
  tracker add 5e0a7c0f2b6d4e1f9a8b7c6d5e4f3a2b --as 7
  tracker add --all --since 30d --assets none

What exists as a file, contains / or ends in .json is read as a file. Files hold
what scripts and the official client write: {\"videoId\": …, \"createdAt\": …},
{\"data\": …}, or several of them. Everything is read first: what cannot be used
is an error (exit 2), and nothing is recorded.

--all and --batch ask HeyGen. They may be cut short and run again: nothing gets
a second row.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// HeyGen ids, files with ids, or - for stdin
    #[arg(value_name = "ID|FILE|-", required_unless_present_any = ["all", "batch"])]
    what: Vec<OsString>,
    /// Labels, comma-separated
    #[arg(long, value_name = "T")]
    tag: Vec<Tags>,
    /// This one id is what became of row ROW, which is unknown or sending
    #[arg(long = "as", value_name = "ROW", conflicts_with_all = ["tag", "output_dir", "assets", "name"])]
    as_row: Option<String>,
    /// The kind of job the ids belong to, where no file says so, or that --all lists [default: video]
    #[arg(long, value_name = "K", value_parser = kinds(), conflicts_with = "as_row")]
    kind: Option<Kind>,
    /// Take an ID that does not look like one
    #[arg(long)]
    force: bool,
    /// Only show what would be added
    #[arg(long, conflicts_with = "as_row")]
    dry_run: bool,
    /// Everything of the account that no row has, newest first
    #[arg(long, conflicts_with_all = ["what", "as_row", "force"], help_heading = ACCOUNT)]
    all: bool,
    /// Created at or after: 2026-11-23, 2026-11-23T10:00 (local time), today, yesterday, or an age such as 7d
    #[arg(long, value_name = "WHEN", requires = "all", conflicts_with_all = ["what", "batch"], help_heading = ACCOUNT)]
    since: Option<String>,
    /// The videos of a batch, and what became of its other items
    #[arg(long, value_name = "BATCH_ID", value_parser = NonEmptyStringValueParser::new(), conflicts_with_all = ["what", "all", "as_row", "force", "kind"], help_heading = ACCOUNT)]
    batch: Option<String>,
    #[command(flatten)]
    files: FileOptions,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    if args.all {
        return account::all(&args, context);
    }
    if let Some(id) = &args.batch {
        return account::batch(id, &args, context);
    }
    // With --as only the id counts.
    let mut base = match args.as_row {
        Some(_) => Video::default(),
        None => args.row(context)?,
    };
    let (rows, skipped) = read_all(&args.what, args.force, &mut base)?;
    if skipped > 0 {
        let entries = counted(skipped, "entry", "entries");
        let note = format!("{entries} without a video id skipped");
        context.screen.note(&note);
    }
    if let Some(row) = &args.as_row {
        becomes::run(row, &rows, context)?;
    } else if rows.is_empty() {
        context.screen.note("nothing to add");
    } else {
        let mut recorder = Recorder::new(base, args.dry_run, context)?;
        let found = rows.into_iter().map(|row| MadeElsewhere::job(row, None));
        recorder.record(&found.collect::<Vec<_>>())?;
        recorder.finish(true)?;
    }
    Ok(Exit::Ok)
}

impl Args {
    fn row(&self, context: &Context) -> Result<Video> {
        Ok(Video {
            kind: self.kind.unwrap_or_default(),
            tags: Tags::all(&self.tag),
            submitted_at: time::now(),
            ..self.files.row(context)?
        })
    }
}

/// Every argument's videos, each id once, and how many entries have none.
fn read_all(what: &[OsString], force: bool, base: &mut Video) -> Result<(Vec<Video>, usize)> {
    let (mut all, mut skipped) = (Vec::new(), 0);
    for argument in what {
        if argument == "-" || is_file(argument) {
            let (place, bytes) = read_input(Path::new(argument), import::MAX_BYTES)?;
            // A pipe may have been waited for.
            base.submitted_at = time::now();
            let (rows, without) = import::parse(&place, &bytes, base, &Local)?;
            all.extend(rows);
            skipped += without;
        } else {
            all.push(import::made(base.kind, id(argument, force)?, None, base));
        }
    }
    let mut seen = HashSet::new();
    all.retain(|row| seen.insert(row.job().map(|job| job.id)));
    Ok((all, skipped))
}

/// HeyGen's ids have 32 characters; what is short or has spaces is a slip (`add .`, a title), not an id of the future.
fn id(argument: &OsStr, force: bool) -> Result<VideoId> {
    let plausible =
        |text: &&str| force || (text.chars().count() >= 8 && !text.contains(char::is_whitespace));
    argument
        .to_str()
        .filter(plausible)
        .and_then(VideoId::new)
        .ok_or_else(|| {
            Problem::usage(
                format!("{:?} is not a video id", argument.display()),
                "an id as HeyGen shows it (--force takes any), or a file; a file in this directory: ./NAME",
            )
        })
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn what_looks_like_a_file_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        fs::write(&file, "").unwrap();
        for (argument, expected) in [
            ("5e0a7c", false),
            ("a/b", true),
            ("nowhere.json", true),
            ("json", false),
            (file.to_str().unwrap(), true),
        ] {
            assert_eq!(is_file(OsStr::new(argument)), expected, "{argument}");
        }
    }

    #[test]
    fn an_id_given_twice_is_one_video() {
        let what = ["a", "b", "a"].map(OsString::from);
        let (rows, _) = read_all(&what, true, &mut Video::default()).unwrap();
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn what_is_read_is_tracked_from_when_it_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ids.json");
        fs::write(&file, r#"{"video_id": "feed1234"}"#).unwrap();
        let started = Timestamp::from_secs(1);
        let mut base = Video {
            submitted_at: started,
            ..Video::default()
        };
        let (rows, _) = read_all(&[file.into()], false, &mut base).unwrap();
        assert!(rows[0].submitted_at > started);
        assert_eq!(base.submitted_at, rows[0].submitted_at);
    }
}
