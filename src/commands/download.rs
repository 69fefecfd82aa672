//! `tracker download`: fetch files now; again, other ones, or into another directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::commands::check::Tuning;
use crate::commands::file_options::parse_assets;
use crate::commands::{Context, find_all, load};
use crate::download::{Verdict, name, verify};
use crate::error::{Error, Exit};
use crate::locks::{Locks, Purpose};
use crate::pass::{self, Options, Reporter, Scope, Voice};
use crate::store::Store;
use crate::time;
use crate::video::{Asset, EventKind, FileState, NewEvent, Phase, RowId, Video};

/// Fetch files now: again, other ones, or into another directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker download 14                              # what is missing or was changed
  tracker download 14 --assets subtitle,thumbnail  # more of it
  tracker download 14 --output-dir /srv/videos     # its files are at home there from now on

Files that are there and intact are not fetched again.")]
pub struct Args {
    /// Local numbers, HeyGen ids, or unique beginnings of them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Which files: video, captioned, subtitle, thumbnail, gif [default: those it has]
    #[arg(long, value_name = "LIST")]
    assets: Option<String>,
    /// Where its files go from now on
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Replace a differing file that is in the way
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    tuning: Tuning,
}

/// Runs `tracker download`.
pub fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    context.heed_signals()?;
    let mut store = context.open()?;
    let rows = find_all(&store, &args.ids, true)?;
    let assets = args.assets.as_deref().map(parse_assets).transpose()?;
    let output_dir = match &args.output_dir {
        Some(dir) => Some(context.output_dir(Some(dir))?),
        None => None,
    };
    for video in load(&store, &rows)? {
        refuse_unless_made(&video)?;
    }
    let locks = store.locks()?;
    let mut moved = Vec::new();
    for row in &rows {
        let wanted = want(
            &mut store,
            &locks,
            *row,
            assets.as_deref(),
            output_dir.as_deref(),
            args.force,
            &mut moved,
        );
        if let Err(error) = wanted {
            clear_away(&store, &moved)?;
            return Err(error);
        }
    }
    let mut reporter = Reporter::new(&context.screen, Voice::Outcomes, true);
    let scope = Scope::Named {
        rows: rows.clone(),
        eager: true,
    };
    let options = Options {
        hook: context.hook(None)?,
        ..args.tuning.options()
    };
    let passed = pass::run(&mut store, &context.env, scope, &options, &mut reporter);
    clear_away(&store, &moved)?;
    passed?;
    let exit = reporter.tally().exit(false);
    Ok(tell_rest(context, &load(&store, &rows)?, exit))
}

fn refuse_unless_made(video: &Video) -> Result<(), Error> {
    let id = video.id;
    match video.phase {
        Phase::Accepted | Phase::Missing => Ok(()),
        Phase::Unsent | Phase::Sending | Phase::Rejected | Phase::Unknown => Err(Error::usage(
            format!("{id} is {}: HeyGen has not made it", video.status()),
            format!("tracker show {id} tells what happened"),
        )),
    }
}

/// Makes files wanted that are not there and intact. Under the row's save lock: nobody may be writing them.
fn want(
    store: &mut Store,
    locks: &Locks,
    row: RowId,
    assets: Option<&[Asset]>,
    output_dir: Option<&Path>,
    force: bool,
    moved_aside: &mut Vec<Aside>,
) -> Result<(), Error> {
    let guard = locks
        .try_row(Purpose::Save, row)
        .map_err(|source| Error::System {
            action: "lock a row",
            source,
        })?
        .ok_or(Error::InUse(row))?;
    let Some(mut video) = store.read(|tx| tx.video(row))? else {
        return Ok(());
    };
    let moved = output_dir.is_some_and(|dir| dir != video.output_dir);
    let chosen: Vec<Asset> = match assets {
        Some(assets) => assets.to_vec(),
        None if video.files.is_empty() => vec![Asset::Video],
        None => video.files.iter().map(|file| file.asset).collect(),
    };
    let again: Vec<Asset> = chosen
        .into_iter()
        .filter(|asset| moved || !is_there(&video, *asset))
        .collect();
    if let Some(dir) = output_dir {
        video.output_dir = dir.to_owned();
    }
    if force {
        for asset in &again {
            make_way(&video, *asset, moved_aside)?;
        }
    }
    let now = time::now();
    store.write(|tx| {
        if moved && tx.update(&video)? {
            tx.append(
                row,
                &NewEvent::new(now, EventKind::Edited)
                    .with("output_dir", video.output_dir.to_string_lossy().as_ref()),
            )?;
        }
        for asset in &again {
            // What is half fetched goes on where it stopped, unless it has to be somewhere else.
            let half = video.file(*asset).is_some_and(|file| file.state.is_open());
            if moved || !half {
                tx.want_again(row, *asset)?;
            }
        }
        Ok(())
    })?;
    drop(guard);
    Ok(())
}

fn is_there(video: &Video, asset: Asset) -> bool {
    let Some(file) = video
        .file(asset)
        .filter(|file| file.state == FileState::Saved)
    else {
        return false;
    };
    match (&file.path, file.bytes, &file.sha256) {
        (Some(path), Some(bytes), Some(sha256)) => {
            matches!(verify(path, bytes, sha256), Verdict::Intact)
        }
        _ => false,
    }
}

/// A file that is in the way of a better one, under a hidden name until that one is there.
struct Aside {
    row: RowId,
    asset: Asset,
    place: PathBuf,
    aside: PathBuf,
}

/// `--force`: moves aside a regular file that has the name one of ours will get; a killed run leaves it there. Links
/// and directories stay in the way.
fn make_way(video: &Video, asset: Asset, moved: &mut Vec<Aside>) -> Result<(), Error> {
    let Some(video_id) = &video.video_id else {
        return Ok(());
    };
    let stem = name::stem(
        video.name_template.as_deref(),
        video.id,
        video_id,
        video.title.as_deref(),
    );
    for name in name::candidates(&stem, asset) {
        let aside = video.output_dir.join(format!(".{name}.replaced"));
        let place = video.output_dir.join(name);
        if fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_file()) {
            fs::rename(&place, &aside).map_err(|source| Error::File {
                action: "replace",
                path: place.clone(),
                source,
            })?;
            moved.push(Aside {
                row: video.id,
                asset,
                place,
                aside,
            });
        }
    }
    Ok(())
}

/// Removes what was replaced, and puts back what was not.
fn clear_away(store: &Store, moved: &[Aside]) -> Result<(), Error> {
    for file in moved {
        let video = store.read(|tx| tx.video(file.row))?;
        let saved = video
            .as_ref()
            .and_then(|video| video.file(file.asset))
            .filter(|new| new.state == FileState::Saved)
            .and_then(|new| new.path.as_ref())
            .is_some_and(|path| fs::symlink_metadata(path).is_ok());
        let done = if saved {
            fs::remove_file(&file.aside)
        } else if fs::symlink_metadata(&file.place).is_err() {
            fs::rename(&file.aside, &file.place)
        } else {
            Ok(())
        };
        done.map_err(|source| Error::File {
            action: "clear away",
            path: file.aside.clone(),
            source,
        })?;
    }
    Ok(())
}

/// What was asked for and could not be had yet, and what needed no fetching.
fn tell_rest(context: &Context, videos: &[Video], exit: Exit) -> Exit {
    let mut exit = exit;
    for video in videos {
        let id = video.id;
        if !video.is_completed() {
            context.screen.note(&format!(
                "{id} is {}: there is nothing to download; tracker check {id} --wait waits for it",
                video.status()
            ));
            exit = match exit {
                Exit::Ok => Exit::Trouble,
                other => other,
            };
            continue;
        }
        for file in &video.files {
            if let (FileState::Saved, Some(path)) = (file.state, &file.path) {
                context
                    .screen
                    .note(&format!("{id} {}: {}", file.asset, path.display()));
            }
        }
    }
    exit
}
