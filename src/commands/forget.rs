//! `tracker forget`: drop rows. Nothing is deleted at HeyGen, and no file on disk.

use std::time::Duration;

use super::{Context, find_all};
use crate::error::{Exit, Problem, Result};
use crate::locks::{Guard, Locks, Purpose};
use crate::render::fields::Field;
use crate::render::json::VideoObject;
use crate::render::{text, tsv};
use crate::rows::read;
use crate::store::{Store, Tx};
use crate::time;
use crate::video::{Phase, RowId, Video};

/// Rows dropped in one transaction.
const PAGE: u32 = 500;
/// More refused rows than this are only counted.
const NAMED: usize = 5;
/// Columns of a title.
const MAX_TITLE: usize = 50;

const EXAMPLES: &str = "\
Examples:
  tracker forget 14 15
  tracker forget --older-than 180d --dry-run

Rows that may still bring a paid video are refused without --force: queued, being
sent, rendering, unknown, or completed and not yet saved. --older-than passes over
them, and over unfinished ones even with --force. Files and videos stay.";

/// Drop rows from the history; nothing is deleted at HeyGen or on disk
#[derive(Debug, clap::Args)]
#[command(
    after_help = EXAMPLES,
    override_usage = "tracker forget [OPTIONS] <ID>...\n       tracker forget [OPTIONS] --older-than <D>"
)]
pub struct Args {
    /// Local numbers or exact HeyGen ids
    #[arg(
        value_name = "ID",
        required_unless_present = "older_than",
        conflicts_with = "older_than"
    )]
    ids: Vec<String>,
    /// Finished rows submitted longer ago than this: 180d, 1y
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Also rows that may still bring a paid video
    #[arg(long)]
    force: bool,
    /// Only print what would be dropped
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Prints every row that was (or would be) dropped, as it was.
pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut store = context.open()?;
    let forget = Forget {
        force: args.force,
        dry_run: args.dry_run,
        context,
    };
    let clean = match args.older_than {
        Some(age) => forget.old(&mut store, age)?,
        None => {
            let rows = find_all(&store, &args.ids, false)?;
            forget.named(&mut store, &rows)?;
            true
        }
    };
    if args.dry_run {
        context.screen.note("nothing was dropped (--dry-run)");
    }
    Ok(if clean { Exit::Ok } else { Exit::Trouble })
}

struct Forget<'a> {
    force: bool,
    dry_run: bool,
    context: &'a Context,
}

impl Forget<'_> {
    /// All of the rows or none.
    fn named(&self, store: &mut Store, rows: &[RowId]) -> Result<()> {
        let videos = if self.dry_run {
            store.read(|tx| self.look(tx, rows))?
        } else {
            let locks = store.locks()?;
            let mut guards = Vec::new();
            for &row in rows {
                guards.push(lock(&locks, row)?.ok_or_else(|| Problem::in_use(row))?);
            }
            store.write(|tx| self.drop_rows(tx, rows))?
        };
        self.print(&videos);
        Ok(())
    }

    /// Everything finished that is old enough, page by page. `false` when some of it was in use and stays.
    fn old(&self, store: &mut Store, age: Duration) -> Result<bool> {
        let cutoff = time::now().before(age);
        let locks = store.locks()?;
        let (mut dropped, mut in_use, mut after) = (0, 0, RowId(0));
        loop {
            let page = store.read(|tx| tx.finished_before(cutoff, self.force, after, PAGE))?;
            let Some(&last) = page.last() else { break };
            after = last;
            let (mut rows, mut guards) = (Vec::new(), Vec::new());
            for row in page {
                match lock(&locks, row)? {
                    Some(guard) => {
                        rows.push(row);
                        guards.push(guard);
                    }
                    None => in_use += 1,
                }
            }
            // What became unfinished since it was found is not old any more.
            let keep_finished = |videos: Vec<Video>| -> Vec<Video> {
                videos.into_iter().filter(|video| video.finished).collect()
            };
            let videos = if self.dry_run {
                keep_finished(store.read(|tx| read(tx, &rows))?)
            } else {
                store.write(|tx| {
                    let videos = keep_finished(read(tx, &rows)?);
                    for video in &videos {
                        tx.forget(video.id)?;
                    }
                    Ok(videos)
                })?
            };
            dropped += videos.len();
            self.print(&videos);
        }
        if dropped == 0 && in_use == 0 {
            self.context.screen.note("no finished video is that old");
        }
        if in_use > 0 {
            let warning = format!("{in_use} are being worked on by another tracker and stay");
            self.context.screen.warn(&warning);
        }
        Ok(in_use == 0)
    }

    fn drop_rows(&self, tx: &Tx<'_>, rows: &[RowId]) -> Result<Vec<Video>> {
        let videos = self.look(tx, rows)?;
        // With --force those, too, that cannot be read.
        for row in rows
            .iter()
            .filter(|row| self.force || videos.iter().any(|video| video.id == **row))
        {
            tx.forget(*row)?;
        }
        Ok(videos)
    }

    /// The rows as they are, unless one of them must not be dropped.
    fn look(&self, tx: &Tx<'_>, rows: &[RowId]) -> Result<Vec<Video>> {
        let videos = read(tx, rows)?;
        let refused: Vec<_> = videos
            .iter()
            .filter(|_| !self.force)
            .filter_map(|video| hope(video).map(|hope| format!("{} {hope}", video.id)))
            .collect();
        if refused.is_empty() {
            Ok(videos)
        } else {
            Err(refusal(&refused))
        }
    }

    fn print(&self, videos: &[Video]) {
        let screen = &self.context.screen;
        for video in videos {
            if self.context.globals.json {
                screen.json_row(&VideoObject::new(video));
            } else if screen.out_is_terminal {
                screen.row(&sentence(video, self.dry_run));
            } else {
                screen.row(&tsv::row(video, Field::SUBMIT));
            }
            for part in video.files.iter().filter_map(|file| file.part.as_ref()) {
                let path = video.output_dir.join(&part.name);
                screen.note(&format!("{} (half a download) stays", path.display()));
            }
        }
    }
}

/// Nobody else sends the row or saves its files while both are held.
fn lock(locks: &Locks, row: RowId) -> Result<Option<[Guard; 2]>> {
    let take = |purpose| locks.try_row(purpose, row);
    let Some(send) = take(Purpose::Send)? else {
        return Ok(None);
    };
    Ok(take(Purpose::Save)?.map(|save| [send, save]))
}

/// How a row may still bring a video that is paid for; `None` when nothing is lost with it.
fn hope(video: &Video) -> Option<&'static str> {
    match video.phase {
        Phase::Unsent => Some("is still to be sent"),
        Phase::Sending => Some("may have been created and charged"),
        Phase::Unknown => Some("is unknown: HeyGen may have created and charged for it"),
        // Refused in the end, but an earlier POST was never answered.
        Phase::Rejected if video.first_unanswered_at.is_some() => {
            Some("may have been created and charged")
        }
        Phase::Accepted if video.finished => None,
        Phase::Accepted if video.is_completed() => Some("is not saved yet"),
        Phase::Accepted => Some("is still rendering"),
        Phase::Rejected | Phase::Missing => None,
    }
}

fn refusal(refused: &[String]) -> Problem {
    let named: Vec<_> = refused.iter().take(NAMED).map(String::as_str).collect();
    let more = match refused.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Problem::usage(
        format!("not dropped: {}{more}", named.join(", ")),
        "--force drops them all the same; HeyGen still charges for what it renders",
    )
}

fn sentence(video: &Video, dry_run: bool) -> String {
    let did = if dry_run { "would drop" } else { "dropped" };
    let title = video.title.as_deref().map_or_else(String::new, |title| {
        format!(" \"{}\"", text::fit(title, MAX_TITLE))
    });
    let status = text::fit(video.status(), MAX_TITLE);
    format!("{did} {} {status}{title}", video.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewVideo;
    use crate::video::{Asset, RemoteStatus, VideoId};

    fn rendering(store: &mut Store) -> Video {
        let new = NewVideo {
            video_id: VideoId::new("a"),
            title: Some("T\x1b".to_owned()),
            submitted_at: time::now(),
            output_dir: "/out".into(),
            assets: vec![Asset::Video],
            ..NewVideo::default()
        };
        store
            .write(|tx| tx.insert(&new, time::now()).and_then(|id| tx.video(id)))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn rows_that_may_bring_a_video_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(&dir.path().join("t.db")).unwrap();
        let video = rendering(&mut store);
        let with = |phase, status: &str, finished| Video {
            phase,
            remote_status: Some(RemoteStatus::new(status)),
            outcome: status.parse().ok(),
            finished,
            ..video.clone()
        };
        for (video, kept) in [
            (with(Phase::Unsent, "waiting", false), true),
            (with(Phase::Sending, "waiting", false), true),
            (with(Phase::Unknown, "waiting", true), true),
            (with(Phase::Accepted, "processing", false), true),
            (with(Phase::Accepted, "completed", false), true),
            (with(Phase::Accepted, "completed", true), false),
            (with(Phase::Accepted, "failed", true), false),
            (with(Phase::Rejected, "waiting", true), false),
            (with(Phase::Missing, "processing", true), false),
        ] {
            assert_eq!(hope(&video).is_some(), kept, "{}", video.status());
        }
        assert_eq!(sentence(&video, false), "dropped 1 waiting \"T\\x1b\"");
    }

    #[test]
    fn a_row_in_use_cannot_be_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let mut store = Store::create(&path).unwrap();
        let row = rendering(&mut store).id;
        let (mine, theirs) = (store.locks().unwrap(), Locks::open(&path).unwrap());
        let held = theirs.try_row(Purpose::Save, row).unwrap();
        if cfg!(target_os = "linux") {
            assert!(lock(&mine, row).unwrap().is_none());
        }
        drop(held);
        assert!(lock(&mine, row).unwrap().is_some());
    }
}
