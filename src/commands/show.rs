//! `tracker show`: everything about one row, the support ticket.
//!
//! Also the place where a saved file that the user moved, deleted or changed is noticed: `check` never looks at what
//! is finished.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Context, find, pulse, saved_file};
use crate::decide::{self, FileFact};
use crate::download::OnDisk;
use crate::error::{Exit, Problem, Result};
use crate::render::json::TicketObject;
use crate::render::show::show;
use crate::store::Store;
use crate::time::{self, Timestamp};
use crate::video::{File, FileState, RowId};

/// Up to this size a saved file is read again whenever somebody asks for its row; that takes well under a second.
const ALWAYS_READ: u64 = 64 * 1024 * 1024;

/// File systems note the time of a write up to this much too early.
const COARSE_CLOCK: Duration = Duration::from_millis(20);

const DETAILS: &str = "\
Examples:
  tracker show 15
  tracker show 5e0a --json | jq .events

Saved files are looked at: one that is not there any more, or is not what was
saved, is recorded as gone (tracker download fetches it again, with --force where
it was changed). Files over 64 MiB are read only when their time stamp says that
they were written to since.";

#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub struct Args {
    /// Local number, HeyGen id, or a unique beginning of one
    #[arg(value_name = "ID")]
    id: String,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let mut store = context.open_for_reading()?;
    let id = store.read(|tx| find(tx, &args.id, true))?;
    let gone = look_at_files(&store, id, context)?;
    record(&mut store, id, &gone, context);
    let known = store.read(|tx| {
        let Some(video) = tx.video(id)? else {
            return Ok(None);
        };
        let retried_as = tx.retries(id)?.last().map(|(retry, _)| *retry);
        Ok(Some((video, tx.request(id)?, tx.timeline(id)?, retried_as)))
    })?;
    let Some((mut video, request, events, retried_as)) = known else {
        // Forgotten since, or damaged.
        pulse::note_damaged(&store, context);
        return Err(Problem::not_found(args.id));
    };
    // What could not be recorded is true all the same.
    for file in &mut video.files {
        if gone.iter().any(|(gone, _)| gone == file) {
            file.state = FileState::Gone;
        }
    }
    let object = TicketObject {
        video: &video,
        request: request.as_deref(),
        events: &events,
    };
    let ticket = || show(&object, retried_as, &context.view());
    context.screen.result(&object, ticket);
    pulse::note_silence(&store, context)?;
    Ok(Exit::Ok)
}

/// The saved files that are not what they were, and why.
fn look_at_files(store: &Store, id: RowId, context: &Context) -> Result<Vec<(File, &'static str)>> {
    let video = store.read(|tx| tx.video(id))?;
    let files = video.map(|video| video.files).unwrap_or_default();
    let mut gone = Vec::new();
    for file in files {
        match look(&file) {
            Ok(None) => {}
            Ok(Some(why)) => gone.push((file, why)),
            // An unreadable directory says nothing about the file in it.
            Err((path, error)) => {
                let warning = format!("cannot look at {}: {error}", path.display());
                context.screen.warn(&warning);
            }
        }
    }
    Ok(gone)
}

/// Why a saved file is gone; `None` when it is there.
fn look(file: &File) -> Result<Option<&'static str>, (&Path, io::Error)> {
    let meta = file
        .path
        .as_ref()
        .and_then(|path| fs::symlink_metadata(path).ok());
    if let (Some(meta), Some(bytes)) = (meta, file.bytes)
        && bytes > ALWAYS_READ
        && is_untouched(&meta, bytes, file.saved_at)
    {
        return Ok(None);
    }
    match saved_file(file) {
        None | Some((_, Ok(OnDisk::Intact))) => Ok(None),
        Some((_, Ok(OnDisk::Missing))) => Ok(Some("missing")),
        Some((_, Ok(OnDisk::Changed))) => Ok(Some("changed")),
        Some((path, Err(error))) => Err((path, error)),
    }
}

/// As far as its size and time stamp tell.
fn is_untouched(meta: &Metadata, bytes: u64, saved_at: Option<Timestamp>) -> bool {
    let written = meta.modified().ok().map(Timestamp::from);
    let both = written.zip(saved_at);
    let is_older = both.is_some_and(|(written, saved)| written.after(COARSE_CLOCK) < saved);
    meta.is_file() && meta.len() == bytes && is_older
}

/// Writes down what is gone, where the database can be written: looking must work everywhere.
fn record(store: &mut Store, id: RowId, gone: &[(File, &'static str)], context: &Context) {
    if gone.is_empty() {
        return;
    }
    let now = time::now();
    let recorded = store.write(|tx| {
        for (file, why) in gone {
            // Somebody may have saved it again since it was looked at.
            if let Some(video) = tx.video(id)?
                && video.files.contains(file)
            {
                let decision = decide::file(&video, file.asset, FileFact::Gone(why), now);
                tx.apply(&decision, now)?;
            }
        }
        Ok(())
    });
    if let Err(error) = recorded {
        let warning = format!("a file is gone, which could not be recorded: {error}");
        context.screen.warn(&warning);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::video::Asset;
    use sha2::{Digest, Sha256};

    fn saved(path: &Path, content: &[u8]) -> File {
        let digest = Sha256::digest(content);
        File {
            asset: Asset::Video,
            state: FileState::Saved,
            path: Some(path.to_owned()),
            part: None,
            bytes: Some(content.len() as u64),
            sha256: Some(crate::net::hex(&digest)),
            saved_at: Some(time::now()),
            attempts: 0,
            first_failed_at: None,
        }
    }

    #[test]
    fn a_saved_file_is_there_missing_or_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let file = saved(&path, b"content");
        assert_eq!(look(&file).unwrap(), Some("missing"));
        for (content, verdict) in [
            (&b"content"[..], None),
            (b"contenT", Some("changed")),
            (b"content and more", Some("changed")),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(look(&file).unwrap(), verdict);
        }
        let wanted = File {
            state: FileState::Wanted,
            ..file
        };
        assert_eq!(look(&wanted).unwrap(), None);
    }

    #[test]
    fn a_large_file_is_trusted_only_if_it_is_older_than_its_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        fs::write(&path, b"content").unwrap();
        let meta = fs::metadata(&path).unwrap();
        let hour = Duration::from_secs(3600);
        let now = time::now();
        for (bytes, saved_at, untouched) in [
            (7, Some(now.after(hour)), true),
            (7, Some(now.before(hour)), false),
            (8, Some(now.after(hour)), false),
            (7, None, false),
        ] {
            assert_eq!(is_untouched(&meta, bytes, saved_at), untouched);
        }
    }
}
