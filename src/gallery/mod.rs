//! The history as one page that a browser opens from disk: no server, no network, nothing that a title could run.
//!
//! What a server or a user wrote is text everywhere: askama escapes it, [`text::sanitize`] takes away what cannot be
//! seen or runs backwards, and the page's Content-Security-Policy lets nothing run but its own script. No URL of a file
//! host gets in. The page says no ages, which its script counts: the same rows are the same bytes, and are not written
//! again.

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
use chrono::Local;
use sha2::{Digest, Sha256};

use crate::error::Problem;
use crate::render::{human, text};
use crate::store::{Filter, RenderTimes, Stats, Store};
use crate::video::{RowId, Video};
use card::Card;
use plots::{Observed, Plot};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// How a page of ours can be told from somebody else's `index.html`.
const GENERATOR: &str = "<meta name=\"generator\" content=\"tracker gallery\">";
/// Rows at a time; see the pages of `list`.
const PAGE: u32 = 500;

/// What the page is about.
pub(crate) struct Selection {
    pub(crate) filter: Filter,
    /// These rows only; the filter is not asked then.
    pub(crate) rows: Option<Vec<RowId>>,
    /// At most so many, 0 for all.
    pub(crate) limit: u32,
}

/// Where the page is, and whether it had to be written.
pub(crate) struct Written {
    pub(crate) path: PathBuf,
    pub(crate) changed: bool,
}

/// Writes the page to `output`, or else beside the files if they all lie in one directory.
pub(crate) fn write(
    store: &Store,
    selection: &Selection,
    output: Option<&Path>,
) -> Result<Written, Problem> {
    let path = match output {
        Some(path) => path.to_owned(),
        None => beside_the_files(store, selection)?,
    };
    let path = std::path::absolute(&path).map_err(|error| Problem::file("use", &path, &error))?;
    let page = Builder::new(&path, store, selection)?.page()?;
    let changed = publish(&path, page.as_bytes())?;
    Ok(Written { path, changed })
}

fn beside_the_files(store: &Store, selection: &Selection) -> Result<PathBuf, Problem> {
    let dirs: BTreeSet<PathBuf> = match &selection.rows {
        Some(rows) => {
            let dir = |row: &RowId| store.read(|tx| tx.video(*row));
            let videos: Result<Vec<_>, _> = rows.iter().map(dir).collect();
            let videos = videos?.into_iter().flatten();
            videos.map(|video| video.output_dir).collect()
        }
        None => store
            .read(|tx| tx.output_dirs(&selection.filter, 2))?
            .into_iter()
            .map(PathBuf::from)
            .collect(),
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
            let mut old = Vec::new();
            let read = File::open(path).and_then(|file| {
                // As much as tells whether it is the same.
                file.take(page.len() as u64 + 1).read_to_end(&mut old)
            });
            read.map_err(failed("read"))?;
            if old == page {
                return Ok(false);
            }
            let head = String::from_utf8_lossy(old.get(..old.len().min(2048)).unwrap_or(&old));
            if !found.is_file() || (!old.is_empty() && !head.contains(GENERATOR)) {
                return Err(Problem::usage(
                    format!("{} is not a page that tracker made", path.display()),
                    "name another file with --output, or move that one away",
                ));
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
        .and_then(|()| File::open(dir)?.sync_all());
    if written.is_err() {
        // Of no use to anybody, and perhaps the disk is full.
        fs::remove_file(&temporary).ok();
    }
    written.map_err(failed("write"))?;
    Ok(true)
}

#[derive(Template)]
#[template(path = "page.html", config = "src/gallery/askama.toml")]
struct GalleryPage<'a> {
    csp: String,
    style: &'static str,
    script: &'static str,
    summary: String,
    notice: Option<String>,
    plots: Vec<Plot>,
    statuses: &'a BTreeSet<String>,
    kinds: &'a BTreeSet<String>,
    tags: &'a BTreeSet<String>,
    going: &'a str,
    done: &'a str,
}

/// Collects what the page needs, some rows at a time.
struct Builder<'a> {
    store: &'a Store,
    selection: &'a Selection,
    /// The page's own directory.
    dir: PathBuf,
    usual: String,
    stats: Option<Stats>,
    observed: Observed,
    statuses: BTreeSet<String>,
    kinds: BTreeSet<String>,
    tags: BTreeSet<String>,
    going: String,
    done: String,
    shown: u64,
}

impl<'a> Builder<'a> {
    fn new(path: &Path, store: &'a Store, selection: &'a Selection) -> Result<Self, Problem> {
        let stats = match selection.rows {
            Some(_) => None,
            None => Some(store.read(|tx| tx.stats(&selection.filter))?),
        };
        Ok(Self {
            store,
            selection,
            dir: path.parent().unwrap_or(Path::new("/")).to_owned(),
            usual: usual(&store.read(|tx| tx.usual_render_times(40))?),
            stats,
            observed: Observed::default(),
            statuses: BTreeSet::new(),
            kinds: BTreeSet::new(),
            tags: BTreeSet::new(),
            going: String::new(),
            done: String::new(),
            shown: 0,
        })
    }

    fn page(mut self) -> Result<String, Problem> {
        match &self.selection.rows {
            Some(rows) => {
                for row in rows {
                    if let Some(video) = self.store.read(|tx| tx.video(*row))? {
                        self.add(&video)?;
                    }
                }
            }
            None => self.add_newest()?,
        }
        let all = self.stats.as_ref().map_or(self.shown, |stats| stats.videos);
        let notice = (self.shown < all).then(|| {
            format!(
                "This page shows the newest {} of {all} videos; tracker gallery -L 0 shows all of them.",
                self.shown
            )
        });
        let page = GalleryPage {
            csp: policy(),
            style: STYLE,
            script: SCRIPT,
            summary: self.summary(all),
            notice,
            plots: plots::all(self.stats.as_ref(), &self.observed)?,
            statuses: &self.statuses,
            kinds: &self.kinds,
            tags: &self.tags,
            going: &self.going,
            done: &self.done,
        };
        page.render().map_err(unrenderable)
    }

    fn add_newest(&mut self) -> Result<(), Problem> {
        let mut below = None;
        let mut left = match self.selection.limit {
            0 => u64::MAX,
            limit => limit.into(),
        };
        while left > 0 {
            let size = u32::try_from(left).unwrap_or(u32::MAX).min(PAGE);
            let filter = &self.selection.filter;
            let videos = self.store.read(|tx| tx.list(filter, below, size))?;
            let Some(last) = videos.last() else { break };
            below = Some(last.id);
            left -= videos.len() as u64;
            for video in &videos {
                self.add(video)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, video: &Video) -> Result<(), Problem> {
        self.observed.add(video);
        let card = Card::new(video, &self.dir, &self.usual, &Local);
        self.statuses.insert(card.status.clone());
        self.kinds.insert(video.kind.word().to_owned());
        self.tags.extend(card.tags.iter().cloned());
        let cards = if video.finished {
            &mut self.done
        } else {
            &mut self.going
        };
        card.render_into(cards).map_err(unrenderable)?;
        self.shown += 1;
        Ok(())
    }

    fn summary(&self, all: u64) -> String {
        let Some(stats) = &self.stats else {
            return format!("{all} chosen videos");
        };
        let words = stats.by_status.iter();
        let words: Vec<String> = words
            .map(|(word, count)| format!("{count} {}", text::fit(word, 30)))
            .collect();
        let saved = human::bytes(stats.bytes);
        format!("{all} videos: {}. {saved} on disk.", words.join(", "))
    }
}

fn usual(times: &RenderTimes) -> String {
    match (times.p50, times.p90) {
        (Some(p50), Some(p90)) if times.count >= 3 => {
            let said = |millis| human::duration(std::time::Duration::from_millis(millis));
            format!("usually {}, nine of ten within {}", said(p50), said(p90))
        }
        _ => String::new(),
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
    Problem::new(
        crate::error::code::FILE,
        format!("the page cannot be made: {error}"),
    )
}
