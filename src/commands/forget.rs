//! `tracker forget`: drop rows. Nothing is deleted at HeyGen, and no file on disk.

use std::slice::from_ref;
use std::time::Duration;

use super::{Context, find_all};
use crate::error::{Exit, Problem, Result};
use crate::event::{Entry, Event};
use crate::locks::{Guard, Locks, Purpose};
use crate::render::fields::Field;
use crate::render::text;
use crate::rows::read;
use crate::store::{Store, Tx};
use crate::time;
use crate::video::{Phase, RowId, Video};

/// Rows dropped in one transaction.
const PAGE: u32 = 500;
/// More refused rows than this are only counted.
const NAMED: usize = 5;
const MAX_TITLE: usize = 50;

const EXAMPLES: &str = "\
Examples:
  tracker forget 14 15
  tracker forget --older-than 180d --dry-run

Rows that may still bring a paid video are refused without --force: queued, being
sent, rendering, unknown, or completed and not yet saved. --older-than passes over
them, and over unfinished ones even with --force. Files and videos stay.";

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

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut store = context.open()?;
    let in_use = match args.older_than {
        Some(age) => args.forget_old(age, &mut store, context)?,
        None => {
            let rows = find_all(&store, &args.ids, false)?;
            args.forget_rows(&rows, &mut store, context)?;
            0
        }
    };
    if args.dry_run {
        context.screen.note("nothing was dropped (--dry-run)");
    }
    Ok(if in_use == 0 { Exit::Ok } else { Exit::Trouble })
}

impl Args {
    /// Everything finished that is old enough, page by page. Returns how many rows are in use and stay.
    fn forget_old(&self, age: Duration, store: &mut Store, context: &Context) -> Result<usize> {
        let cutoff = time::now().before(age);
        let (mut dropped, mut in_use, mut after) = (0, 0, RowId(0));
        loop {
            let page = store.read(|tx| tx.finished_before(cutoff, after, PAGE))?;
            let Some(&last) = page.last() else { break };
            after = last;
            let (gone, busy) = self.forget_rows(&page, store, context)?;
            dropped += gone;
            in_use += busy;
        }
        let screen = &context.screen;
        if dropped == 0 && in_use == 0 {
            screen.note("no finished video is that old");
        }
        if in_use > 0 {
            let warning = format!("{in_use} are being worked on by another tracker and stay");
            screen.warn(&warning);
        }
        Ok(in_use)
    }

    /// Drops rows and prints them as they were; returns how many, and how many are in use. Of those found by their age the
    /// ones in use or unfinished are passed over; of named ones all are dropped or none.
    fn forget_rows(
        &self,
        all: &[RowId],
        store: &mut Store,
        context: &Context,
    ) -> Result<(usize, usize)> {
        let by_age = self.older_than.is_some();
        let locks = store.locks()?;
        let (mut rows, mut guards) = (Vec::new(), Vec::new());
        for &row in all {
            match lock(&locks, row)? {
                Some(guard) => guards.push(guard),
                None if by_age => continue,
                None if self.dry_run => {}
                None => return Err(Problem::in_use(row)),
            }
            rows.push(row);
        }
        let drop_rows = |tx: &Tx<'_>| {
            let mut videos = read(tx, &rows)?;
            if by_age {
                // What became unfinished since it was found is not old any more.
                let goes = |video: &Video| self.force || at_stake(video).is_none();
                videos.retain(|video| video.finished && goes(video));
            } else if !self.force {
                refuse(&videos)?;
            }
            // With --force those, too, that cannot be read.
            let unreadable = self.force && !by_age;
            let goes = |row: &&RowId| unreadable || videos.iter().any(|video| video.id == **row);
            for row in rows.iter().filter(goes).filter(|_| !self.dry_run) {
                forget(tx, *row)?;
            }
            Ok(videos)
        };
        let videos = if self.dry_run {
            store.read(drop_rows)?
        } else {
            store.write(drop_rows)?
        };
        self.print(&videos, context);
        Ok((videos.len(), all.len() - rows.len()))
    }

    fn print(&self, videos: &[Video], context: &Context) {
        let screen = &context.screen;
        for video in videos {
            if screen.out_is_terminal && !screen.json {
                screen.row(&sentence(video, self.dry_run));
            } else {
                context.print_rows(from_ref(video), Field::SUBMIT);
            }
            for part in video.files.iter().filter_map(|file| file.part.as_ref()) {
                let path = video.output_dir.join(&part.name);
                screen.note(&format!("{} (half a download) stays", path.display()));
            }
        }
    }
}

/// A retry that is forgotten stays counted, or the next one of the same row would get its key, and at HeyGen its video.
fn forget(tx: &Tx<'_>, row: RowId) -> Result<()> {
    if let Some(original) = tx.retried_by(row)? {
        let forgotten = Event::RetryForgotten { retry: row.0 };
        tx.append(original, &Entry::new(forgotten), time::now())?;
    }
    tx.forget(row)?;
    Ok(())
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
fn at_stake(video: &Video) -> Option<&'static str> {
    match video.phase {
        Phase::Unsent => Some("is still to be sent"),
        Phase::Sending => Some("may have been created and charged"),
        Phase::Unknown => Some("is unknown: HeyGen may have created and charged for it"),
        // Refused in the end, but an earlier POST was never answered.
        Phase::Rejected if video.is_lost() => Some("may have been created and charged"),
        Phase::Accepted if video.finished => None,
        Phase::Accepted if video.is_completed() => Some("is not saved yet"),
        Phase::Accepted => Some("is still rendering"),
        Phase::Rejected | Phase::Missing => None,
    }
}

fn refuse(videos: &[Video]) -> Result<()> {
    let at_stake = |video: &Video| Some(format!("{} {}", video.id, at_stake(video)?));
    let refused: Vec<String> = videos.iter().filter_map(at_stake).collect();
    let more = match refused.len() {
        0 => return Ok(()),
        1..=NAMED => String::new(),
        count => format!(" and {} more", count - NAMED),
    };
    let named = refused[..refused.len().min(NAMED)].join(", ");
    Err(Problem::usage(
        format!("not dropped: {named}{more}"),
        "--force drops them all the same; HeyGen still charges for what it renders",
    ))
}

fn sentence(video: &Video, dry_run: bool) -> String {
    let did = if dry_run { "would drop" } else { "dropped" };
    let title = video.title.as_deref();
    let title = title.map(|title| format!(" \"{}\"", text::fit(title, MAX_TITLE)));
    let title = title.unwrap_or_default();
    let status = text::fit(video.status(), MAX_TITLE);
    format!("{did} {} {status}{title}", video.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewVideo;
    use crate::video::{Asset, File, RemoteStatus, VideoId};

    fn rendering(store: &mut Store) -> Video {
        let video = Video {
            video_id: VideoId::new("a"),
            title: Some("T\x1b".to_owned()),
            submitted_at: time::now(),
            output_dir: "/out".into(),
            files: vec![File::wanted(Asset::Video)],
            ..Video::default()
        };
        let new = NewVideo {
            video,
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
            assert_eq!(at_stake(&video).is_some(), kept, "{}", video.status());
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
