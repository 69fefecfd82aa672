//! The history as one page that a browser opens from disk: no server, no network, nothing that a title could run.
//!
//! What a server or a user wrote is text everywhere: askama escapes it, [`crate::render::text::sanitize`] takes away
//! what cannot be seen or runs backwards, and the page's Content-Security-Policy lets nothing run but its own script.
//! No URL of a file host gets in. The page says no ages, which its script counts: the same rows are the same bytes, and
//! are not written again.

mod card;
mod plots;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};

use crate::disk;
use crate::error::{Problem, code};
use crate::render::human;
use crate::store::{Filter, Stats, Store};
use crate::video::Video;
use card::Card;
use plots::{Observed, Plot};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// How a page of ours can be told from somebody else's `index.html`.
const GENERATOR: &str = "<meta name=\"generator\" content=\"tracker gallery\">";

pub(crate) struct Selection {
    pub(crate) filter: Filter,
    /// These only; the filter is not asked then.
    pub(crate) chosen: Option<Vec<Video>>,
    /// At most so many, 0 for all.
    pub(crate) limit: u32,
}

/// Writes the page to `output`, or else beside the files if they all lie in one directory; says where that is and whether
/// it changed.
pub(crate) fn write(
    store: &Store,
    selection: &Selection,
    output: Option<&Path>,
) -> Result<(PathBuf, bool), Problem> {
    let path = match output {
        Some(path) => path.to_owned(),
        None => beside_the_files(store, selection)?,
    };
    let path = std::path::absolute(&path).map_err(|error| Problem::file("use", &path, &error))?;
    let page = GalleryPage::read(&path, store, selection)?;
    let page = page.render().map_err(unrenderable)?;
    let changed = publish(&path, page.as_bytes())?;
    Ok((path, changed))
}

fn beside_the_files(store: &Store, selection: &Selection) -> Result<PathBuf, Problem> {
    let dirs: BTreeSet<PathBuf> = match &selection.chosen {
        Some(videos) => videos
            .iter()
            .map(|video| video.output_dir.clone())
            .collect(),
        None => {
            let found = store.read(|tx| tx.output_dirs(&selection.filter, 2))?;
            found.into_iter().collect()
        }
    };
    let mut dirs = dirs.into_iter();
    match (dirs.next(), dirs.next()) {
        (Some(dir), None) => Ok(dir.join("index.html")),
        (None, _) => Err(Problem::usage(
            "there is no video to show",
            "tracker submit makes one; --output FILE writes a page without any",
        )),
        (Some(_), Some(_)) => Err(Problem::usage(
            "the files are in several directories",
            "say where the page goes: --output FILE",
        )),
    }
}

/// Puts the page in place, whole or not at all; `false` if it is there already.
fn publish(path: &Path, page: &[u8]) -> Result<bool, Problem> {
    let failed = |action: &'static str| move |error: io::Error| Problem::file(action, path, &error);
    match fs::symlink_metadata(path) {
        Ok(found) => {
            let not_ours = || {
                Problem::usage(
                    format!("{} is not a page that tracker made", path.display()),
                    "name another file with --output, or move that one away",
                )
            };
            // Before it is opened: a pipe would be waited for.
            if !found.is_file() {
                return Err(not_ours());
            }
            let file = File::open(path).map_err(failed("read"))?;
            let mut old = Vec::new();
            // As much as tells whether it is the same.
            let mut beginning = file.take(page.len() as u64 + 1);
            beginning.read_to_end(&mut old).map_err(failed("read"))?;
            if old == page {
                return Ok(false);
            }
            let head = String::from_utf8_lossy(old.get(..2048).unwrap_or(&old));
            if !old.is_empty() && !head.contains(GENERATOR) {
                return Err(not_ours());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at")(error)),
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).map_err(failed("make a directory for"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.join(format!(".{name}.{}.new", uuid::Uuid::new_v4().simple()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(page)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| disk::sync_directory(dir));
    if written.is_err() {
        // Of no use to anybody, and perhaps the disk is full.
        fs::remove_file(&temporary).ok();
    }
    written.map_err(failed("write"))?;
    Ok(true)
}

#[derive(Default, Template)]
#[template(path = "page.html", config = "src/gallery/askama.toml")]
struct GalleryPage {
    dir: PathBuf,
    usual: String,
    stats: Option<Stats>,
    observed: Observed,
    plots: Vec<Plot>,
    statuses: BTreeSet<String>,
    kinds: BTreeSet<&'static str>,
    tags: BTreeSet<String>,
    going: String,
    done: String,
    shown: u64,
}

impl GalleryPage {
    fn read(path: &Path, store: &Store, selection: &Selection) -> Result<Self, Problem> {
        let mut page = Self {
            dir: path.parent().unwrap_or(Path::new("/")).to_owned(),
            usual: human::usual(&store.read(|tx| tx.usual_render_times(40))?).unwrap_or_default(),
            ..Self::default()
        };
        if let Some(videos) = &selection.chosen {
            videos.iter().try_for_each(|video| page.add(video))?;
        } else {
            page.stats = Some(store.read(|tx| tx.stats(&selection.filter))?);
            store.pages(&selection.filter, selection.limit, |videos| {
                videos.iter().try_for_each(|video| page.add(video))?;
                Ok(true)
            })?;
        }
        page.plots = plots::all(page.stats.as_ref(), &page.observed)?;
        Ok(page)
    }

    fn add(&mut self, video: &Video) -> Result<(), Problem> {
        self.observed.add(video);
        let card = Card::new(video, &self.dir, &self.usual);
        self.statuses.insert(card.status());
        self.kinds.insert(video.kind.word());
        self.tags.extend(card.tags.iter().cloned());
        let cards = match video.finished {
            true => &mut self.done,
            false => &mut self.going,
        };
        self.shown += 1;
        card.render_into(cards).map_err(unrenderable)
    }

    fn all(&self) -> u64 {
        self.stats.as_ref().map_or(self.shown, |stats| stats.videos)
    }

    fn summary(&self) -> String {
        let all = self.all();
        let noun = if all == 1 { "video" } else { "videos" };
        let Some(stats) = &self.stats else {
            return format!("{all} chosen {noun}");
        };
        if all == 0 {
            return "no video matches".to_owned();
        }
        let (words, saved) = (human::counts(&stats.by_status), human::bytes(stats.bytes));
        format!("{all} {noun}: {words}. {saved} on disk.")
    }
}

/// Nothing but what the page itself brings, and local files as pictures and films.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", BASE64.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; img-src file:; media-src file:; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn unrenderable(error: impl std::fmt::Display) -> Problem {
    Problem::new(code::FILE, format!("the page cannot be made: {error}"))
}
