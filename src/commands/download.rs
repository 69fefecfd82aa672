//! `tracker download`: fetch files now; again, other ones, or into another directory.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::commands::file_options::{assets, chosen};
use crate::commands::options::Tuning;
use crate::commands::{Context, find_all, load, saved_file};
use crate::decide;
use crate::download::{OnDisk, discard};
use crate::error::{Exit, Problem, Result, code};
use crate::locks::{Locks, Purpose};
use crate::pass::{Level, PassOptions, Scope, Tally};
use crate::store::Store;
use crate::time::{self, Timestamp};
use crate::video::{Asset, File, FileState, Phase, RowId, Video};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker download 14                              # what is missing
  tracker download 14 --assets subtitle,thumbnail  # more of it
  tracker download 14 --output-dir /srv/videos     # its files are at home there from now on

Files that are there and intact are not fetched again.")]
pub struct Args {
    /// Local numbers, HeyGen ids, or unique beginnings of them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Which files: video, captioned, subtitle, thumbnail, gif, audio, vtt [default: those it has]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = assets(), hide_possible_values = true)]
    assets: Option<Vec<Option<Asset>>>,
    /// Where its files go from now on
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Replace a differing file that is in the way
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    tuning: Tuning,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    context.heed_signals();
    let mut store = context.open()?;
    let rows = find_all(&store, &args.ids, true)?;
    let assets = args.assets.as_deref().map(chosen).transpose()?;
    let dir = args.output_dir.as_deref();
    let output_dir = dir.map(|dir| context.output_dir(Some(dir))).transpose()?;
    for video in load(&store, &rows)? {
        refuse_unless_made(&video)?;
    }
    let locks = store.locks()?;
    let begun = time::now();
    let (assets, output_dir) = (assets.as_deref(), output_dir.as_deref());
    for row in &rows {
        want(&mut store, &locks, *row, assets, output_dir)?;
    }
    let options = PassOptions {
        replace: args.force,
        ..args.tuning.options()
    };
    let scope = Scope::Asked(rows.clone());
    let tally = context.pass(&mut store, scope, Level::Events, options)?;
    let videos = load(&store, &rows)?;
    let assets = assets.unwrap_or_default();
    Ok(report_rest(context, &videos, assets, begun, &tally))
}

fn refuse_unless_made(video: &Video) -> Result<()> {
    let id = video.id;
    match video.phase {
        Phase::Accepted | Phase::Missing => Ok(()),
        Phase::Unsent | Phase::Sending | Phase::Rejected | Phase::Unknown => Err(Problem::usage(
            format!("{id} is {}: HeyGen has not made it", video.status()),
            format!("tracker show {id} shows what happened"),
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
) -> Result<()> {
    let _guard = locks
        .try_row(Purpose::Save, row)?
        .ok_or_else(|| Problem::in_use(row))?;
    let Some(video) = store.read(|tx| tx.video(row))? else {
        return Ok(());
    };
    let moved = output_dir.is_some_and(|dir| !same_directory(dir, &video.output_dir));
    let chosen: Vec<Asset> = match assets {
        Some(assets) => assets.to_vec(),
        None if video.files.is_empty() => vec![Asset::Video],
        None => video.files.iter().map(|file| file.asset).collect(),
    };
    let mut again = Vec::new();
    for asset in chosen {
        if video.kind.has(asset) && (moved || !is_there(&video, asset)?) {
            again.push(asset);
        }
    }
    if moved {
        // What is half there is of no use elsewhere. Before the record goes: a crash in between loses a part, not its name.
        for part in video.files.iter().filter_map(|file| file.part.as_ref()) {
            discard(&video.output_dir, &part.name, row).ok();
        }
    }
    let now = time::now();
    store.write(|tx| {
        let Some(video) = tx.video(row)? else {
            return Ok(());
        };
        if output_dir.is_some() {
            // Wherever that is now: a person says so.
            tx.set_output_device(row, None)?;
        }
        let dir = output_dir.filter(|_| moved);
        tx.apply(&decide::want_again(&video, &again, dir), now)?;
        Ok(())
    })
}

/// Whether two paths lead to one place, however they are written.
fn same_directory(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|one| Some(one) == real(other))
}

/// Whether a file is saved and still as it was saved. One that cannot be looked at is left alone.
fn is_there(video: &Video, asset: Asset) -> Result<bool> {
    match video.file(asset).and_then(saved_file) {
        None => Ok(false),
        Some((_, Ok(found))) => Ok(found == OnDisk::Intact),
        Some((path, Err(source))) => Err(Problem::file("read", path, &source)),
    }
}

fn report_rest(
    context: &Context,
    videos: &[Video],
    assets: &[Asset],
    begun: Timestamp,
    tally: &Tally,
) -> Exit {
    let screen = &context.screen;
    let mut exit = tally.exit(false);
    let failed = |id: RowId, message: String, hint: String| {
        let problem = Problem::new(code::DOWNLOAD_FAILED, message).with_hint(hint);
        match screen.json {
            true => screen.json_line(&json!({"type": "error", "id": id, "error": problem})),
            false => drop(screen.problem(&problem)),
        }
    };
    for video in videos {
        let id = video.id;
        if !video.is_completed() {
            let hint = if video.ended_badly() {
                format!("tracker show {id} says why")
            } else {
                format!("tracker check {id} --wait waits for it")
            };
            let message = format!("{id} is {}: there is nothing to download", video.status());
            failed(id, message, hint);
            exit = exit.or(Exit::Trouble);
            continue;
        }
        for asset in assets.iter().filter(|asset| !video.kind.has(**asset)) {
            let message = format!("{id}: HeyGen makes no {asset} for the kind {}", video.kind);
            failed(id, message, "leave it out".to_owned());
            exit = exit.or(Exit::Trouble);
        }
        if video.files.iter().any(|file| file.state.is_open()) {
            let error = video.last_error.as_ref();
            if tally.outages == 0 && error.is_none_or(|error| error.at < begun) {
                let message = format!("{id}: not everything could be fetched now");
                failed(id, message, "the next check goes on".to_owned());
            }
            exit = exit.or(Exit::Trouble);
        }
        // What was saved just now was reported when it was.
        let before = |file: &&File| file.saved_at.is_none_or(|at| at < begun);
        for file in video.files.iter().filter(before) {
            if let (FileState::Saved, Some(path)) = (file.state, &file.path) {
                screen.note(&format!("{id} {}: {}", file.asset, path.display()));
            }
        }
    }
    exit
}
