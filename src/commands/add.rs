//! `tracker add`: track videos made elsewhere. No network and no key.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use chrono::Local;

use super::file_options::{FileOptions, WantedFiles};
use super::kind_options::kinds;
use super::options::read_input;
use super::{Context, find};
use crate::decide;
use crate::error::{Error, Exit};
use crate::import::{self, Import, Made};
use crate::kind::Kind;
use crate::locks::Purpose;
use crate::render::fields::Field;
use crate::store::{Added, NewVideo, Store, Tx};
use crate::time::{self, Timestamp};
use crate::video::{RowId, Video, VideoId};

/// Rows read and printed at a time.
const PAGE: usize = 500;
/// More known ids than this are only counted.
const NAMED: usize = 5;

const EXAMPLES: &str = "\
Examples:
  tracker add 5e0a7c0f2b6d4e1f9a8b7c6d5e4f3a2b
  tracker add pending-video.json video-result.json
  heygen video create … | tracker add - --tag launch
  tracker add 5e0a7c0f2b6d4e1f9a8b7c6d5e4f3a2b --as 7

What exists as a file, contains / or ends in .json is read as a file. Files hold
what scripts and the official client write: {\"videoId\": …, \"createdAt\": …},
{\"data\": …}, or several of them. Everything is read first: what cannot be used
is an error (exit 2), and nothing is recorded.";

/// Track videos made elsewhere; no network
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// HeyGen ids, files with ids, or - for stdin
    #[arg(required = true, value_name = "ID|FILE|-")]
    what: Vec<OsString>,
    /// Labels, comma-separated
    #[arg(long, value_name = "T", value_delimiter = ',')]
    tag: Vec<String>,
    /// This one id is what became of row ROW, which is unknown or sending
    #[arg(
        long = "as",
        value_name = "ROW",
        conflicts_with_all = ["tag", "output_dir", "assets", "name"]
    )]
    as_row: Option<String>,
    /// The kind of job the ids belong to, where no file says so [default: video]
    #[arg(long, value_name = "K", value_parser = kinds(), conflicts_with = "as_row")]
    kind: Option<String>,
    /// Take an ID that does not look like one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    files: FileOptions,
}

/// Reads everything, records all of it or nothing, prints a row for every id.
pub(crate) fn run(args: Args, context: &Context) -> Result<Exit, Error> {
    let now = time::now();
    let import = read_all(&args.what, args.force, now)?;
    if import.skipped > 0 {
        let entries = counted(import.skipped, "entry", "entries");
        let note = format!("{entries} without a video id skipped");
        context.screen.note(&note);
    }
    if let Some(row) = &args.as_row {
        return run_as(row, &import.videos, context, now);
    }
    let files = args.files.resolve(context)?;
    if import.videos.is_empty() {
        context.screen.note("nothing to add");
        return Ok(Exit::Ok);
    }
    let typed = args.kind.as_deref().and_then(|word| word.parse().ok());
    let new = |made: &Made| {
        let kind = made.kind.or(typed).unwrap_or_default();
        new_row(&args, &files, made, kind, now)
    };
    let mut store = context.open_or_create()?;
    let tracked = store.write(|tx| {
        let track = |made| track(tx, &new(made), now);
        import
            .videos
            .iter()
            .map(track)
            .collect::<Result<Vec<_>, _>>()
    })?;
    print(&store, &tracked, context)?;
    note(&tracked, &import.videos, &files, context);
    Ok(Exit::Ok)
}

fn new_row(args: &Args, files: &WantedFiles, made: &Made, kind: Kind, now: Timestamp) -> NewVideo {
    let (session_id, video_id) = match kind {
        Kind::Agent => (Some(made.video_id.clone()), None),
        _ => (None, Some(made.video_id.clone())),
    };
    let mut assets = files.assets.clone();
    assets.retain(|asset| kind.has(*asset));
    NewVideo {
        kind,
        session_id,
        video_id,
        title: made.title.clone(),
        script: made.script.clone(),
        avatar_id: made.avatar_id.clone(),
        voice_id: made.voice_id.clone(),
        tags: args.tag.iter().map(|tag| tag.trim().to_owned()).collect(),
        // Whatever another program's clock said, nothing was submitted later than now.
        submitted_at: made.created_at.map_or(now, |at| at.min(now)),
        output_dir: files.output_dir.clone(),
        name_template: files.name_template.clone(),
        assets,
        ..NewVideo::default()
    }
}

/// What became of one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tracked {
    New(RowId),
    /// Nothing changed.
    Known(RowId),
    /// It was `missing` and will be asked for again.
    Again(RowId),
}

impl Tracked {
    fn row(self) -> RowId {
        match self {
            Self::New(row) | Self::Known(row) | Self::Again(row) => row,
        }
    }
}

fn track(tx: &Tx<'_>, new: &NewVideo, now: Timestamp) -> Result<Tracked, Error> {
    let row = match tx.add(new, now)? {
        Added::New(row) => return Ok(Tracked::New(row)),
        Added::Known(row) => row,
    };
    let known = tx.video(row)?;
    match known.and_then(|video| decide::named_again(&video)) {
        Some(decision) => tx.apply(&decision, now).map(|_| Tracked::Again(row)),
        None => Ok(Tracked::Known(row)),
    }
}

/// `--as`: the user found out which video an unanswered purchase became.
fn run_as(row: &str, videos: &[Made], context: &Context, now: Timestamp) -> Result<Exit, Error> {
    let [made] = videos else {
        return Err(Error::usage(
            format!("--as takes one video id, not {}", videos.len()),
            "tracker add VIDEO_ID --as ROW",
        ));
    };
    let mut store = context.open()?;
    let id = store.read(|tx| find(tx, row, false))?;
    // Whoever is sending it will learn its id a moment from now.
    let guard = store.locks()?.try_row(Purpose::Send, id)?;
    let Some(_guard) = guard else {
        return Err(Error::in_use(id));
    };
    let tracked = store.write(|tx| become_video(tx, id, &made.video_id, now))?;
    print(&store, &[tracked], context)?;
    if let Tracked::Known(row) = tracked {
        let note = format!("already tracked as {row}: {}", made.video_id);
        context.screen.note(&note);
    }
    Ok(Exit::Ok)
}

fn become_video(
    tx: &Tx<'_>,
    row: RowId,
    video_id: &VideoId,
    now: Timestamp,
) -> Result<Tracked, Error> {
    let Some(video) = tx.video(row)? else {
        return Err(Error::not_found(row));
    };
    match tx.by_video_id(video_id)? {
        // The same command again, after a kill perhaps.
        Some(tracked_by) if tracked_by == row => return Ok(Tracked::Known(row)),
        Some(tracked_by) => {
            return Err(Error::usage(
                format!("{video_id} is tracked already, as {tracked_by}"),
                format!("tracker show {tracked_by}"),
            ));
        }
        None => {}
    }
    if let Some((retry, _)) = tx.retries(row)?.last() {
        return Err(Error::usage(
            format!("{row} was retried as {retry}, so it can no longer become another video"),
            format!("tracker add {video_id} gives the id a row of its own"),
        ));
    }
    let Some(decision) = decide::became(&video, video_id, now) else {
        return Err(Error::usage(
            format!(
                "{row} is {}; only an unknown or sending row can become a video by --as",
                video.status()
            ),
            format!("tracker show {row}; without --as the id gets a row of its own"),
        ));
    };
    tx.apply(&decision, now)?;
    Ok(Tracked::Again(row))
}

/// Every argument's videos, each id once.
fn read_all(what: &[OsString], force: bool, now: Timestamp) -> Result<Import, Error> {
    let mut all = Import::default();
    for argument in what {
        let import = if argument == "-" || is_file(argument) {
            let (place, bytes) = read_input(Path::new(argument), import::MAX_BYTES)?;
            parse(&place, &bytes, now)?
        } else {
            Import {
                videos: vec![Made::new(id(argument, force)?)],
                skipped: 0,
            }
        };
        all.videos.extend(import.videos);
        all.skipped += import.skipped;
    }
    let mut seen = std::collections::HashSet::new();
    all.videos.retain(|made| seen.insert(made.video_id.clone()));
    Ok(all)
}

/// A directory that happens to be called like an id does not make it a file.
fn is_file(argument: &OsStr) -> bool {
    argument.as_bytes().contains(&b'/')
        || argument.as_bytes().ends_with(b".json")
        || fs::metadata(argument).is_ok_and(|meta| !meta.is_dir())
}

/// HeyGen's ids have 32 characters; what is short or has spaces is a slip (`add .`, a title), not an id of the future.
fn id(argument: &OsStr, force: bool) -> Result<VideoId, Error> {
    let plausible =
        |text: &&str| force || (text.chars().count() >= 8 && !text.contains(char::is_whitespace));
    argument
        .to_str()
        .filter(plausible)
        .and_then(VideoId::new)
        .ok_or_else(|| {
            Error::usage(
                format!("{:?} is not a video id", argument.display()),
                "an id as HeyGen shows it (--force takes any), or a file; a file in this directory: ./NAME",
            )
        })
}

fn parse(place: &str, bytes: &[u8], now: Timestamp) -> Result<Import, Error> {
    import::parse(bytes, now, &Local).map_err(|unusable| {
        Error::invalid_body(
            if unusable.place.is_empty() {
                place.to_owned()
            } else {
                format!("{place}: {}", unusable.place)
            },
            unusable.why,
        )
    })
}

/// Prints like `submit`: a small table on a terminal, `id video_id status` in a pipe, video objects with `--json`.
fn print(store: &Store, tracked: &[Tracked], context: &Context) -> Result<(), Error> {
    for page in tracked.chunks(PAGE) {
        let videos: Vec<Video> = store.read(|tx| {
            let videos = page.iter().map(|tracked| tx.video(tracked.row()));
            // A row may have been forgotten since.
            videos.filter_map(Result::transpose).collect()
        })?;
        context.print_rows(&videos, Field::SUBMIT);
    }
    Ok(())
}

fn note(tracked: &[Tracked], videos: &[Made], files: &WantedFiles, context: &Context) {
    let screen = &context.screen;
    let known: Vec<_> = tracked
        .iter()
        .zip(videos)
        .filter_map(|(tracked, made)| match tracked {
            Tracked::Known(row) => Some((row, &made.video_id)),
            Tracked::New(_) | Tracked::Again(_) => None,
        })
        .collect();
    if known.len() <= NAMED {
        for (row, id) in &known {
            screen.note(&format!("already tracked as {row}: {id}"));
        }
    } else {
        screen.note(&format!("{} ids are tracked already", known.len()));
    }
    let again = tracked.iter().filter_map(|tracked| match tracked {
        Tracked::Again(row) => Some(row),
        Tracked::New(_) | Tracked::Known(_) => None,
    });
    for row in again {
        screen.note(&format!(
            "{row} was missing; tracker check asks for it again"
        ));
    }
    let new = tracked.len() - known.len();
    if screen.err_is_terminal && new > 0 && !files.assets.is_empty() {
        let videos = counted(new, "video", "videos");
        let dir = files.output_dir.display();
        screen.note(&format!(
            "tracker check saves the files of {videos} in {dir}"
        ));
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::code;
    use crate::store::Store;
    use crate::video::{Asset, IdempotencyKey, Phase, RemoteStatus};

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("t.db")).unwrap();
        (dir, store)
    }

    fn video_id(id: &str) -> VideoId {
        VideoId::new(id).unwrap()
    }

    fn new(id: Option<&str>) -> NewVideo {
        NewVideo {
            request: id
                .is_none()
                .then(|| ("{}".to_owned(), IdempotencyKey::random())),
            body_hash: None,
            account: None,
            video_id: id.map(video_id),
            title: None,
            script: None,
            avatar_id: None,
            voice_id: None,
            tags: Vec::new(),
            submitted_at: time::now(),
            output_dir: "/out".into(),
            name_template: None,
            assets: vec![Asset::Video],
            retry_of: None,
            ..NewVideo::default()
        }
    }

    fn set(store: &mut Store, row: RowId, change: impl FnOnce(&mut Video)) {
        store
            .write(|tx| {
                let mut video = tx.video(row)?.unwrap();
                change(&mut video);
                assert!(tx.update(&video)?);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_known_id_changes_nothing_and_a_missing_one_comes_back() {
        let (_dir, mut store) = store();
        let now = time::now();
        let add = |store: &mut Store| store.write(|tx| track(tx, &new(Some("a")), now)).unwrap();
        let Tracked::New(row) = add(&mut store) else {
            panic!("it was not known")
        };
        set(&mut store, row, |video| {
            video.remote_status = Some(RemoteStatus::new("processing"));
        });
        let before = store.read(|tx| tx.video(row)).unwrap();
        assert_eq!(add(&mut store), Tracked::Known(row));
        assert_eq!(store.read(|tx| tx.video(row)).unwrap(), before);

        set(&mut store, row, |video| video.phase = Phase::Missing);
        assert_eq!(add(&mut store), Tracked::Again(row));
        let after = store.read(|tx| tx.video(row)).unwrap().unwrap();
        assert_eq!((after.status(), after.finished), ("waiting", false));
    }

    #[test]
    fn an_unknown_row_becomes_the_video_it_bought() {
        let (_dir, mut store) = store();
        let now = time::now();
        let (row, other) = store
            .write(|tx| {
                Ok((
                    tx.insert(&new(None), now)?,
                    tx.insert(&new(Some("b")), now)?,
                ))
            })
            .unwrap();
        let became = |store: &mut Store, row, id: &str| {
            store.write(|tx| become_video(tx, row, &video_id(id), now))
        };
        assert_eq!(became(&mut store, row, "a").unwrap_err().code, code::USAGE);
        set(&mut store, row, |video| video.phase = Phase::Unknown);
        assert_eq!(became(&mut store, row, "b").unwrap_err().code, code::USAGE);
        assert_eq!(
            became(&mut store, other, "a").unwrap_err().code,
            code::USAGE
        );
        assert_eq!(
            became(&mut store, RowId(99), "a").unwrap_err().code,
            code::NOT_FOUND
        );
        assert_eq!(became(&mut store, row, "a").unwrap(), Tracked::Again(row));
        assert_eq!(became(&mut store, row, "a").unwrap(), Tracked::Known(row));
        let video = store.read(|tx| tx.video(row)).unwrap().unwrap();
        assert_eq!(video.status(), "waiting");
        assert_eq!(video.video_id, Some(video_id("a")));
    }

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
        let import = read_all(&what, true, time::now()).unwrap();
        assert_eq!(import.videos.len(), 2);
    }
}
