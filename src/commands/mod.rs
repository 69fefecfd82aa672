//! One file per verb: its arguments and its `run`. What several of them need lives here or in the modules below; where
//! one ends with what another does (`check` refreshes the gallery, `gallery --open` opens it), it calls that one's function.

pub(crate) mod add;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod download;
pub(crate) mod edit;
pub(crate) mod file_options;
pub(crate) mod forget;
pub(crate) mod gallery;
mod kind_options;
pub(crate) mod list;
pub(crate) mod listen;
pub(crate) mod man;
pub(crate) mod mcp;
pub(crate) mod open;
pub(crate) mod options;
mod pulse;
pub(crate) mod reply;
mod rescue;
pub(crate) mod retry;
pub(crate) mod sandbox;
pub(crate) mod show;
mod stats;
pub(crate) mod stop;
mod submission;
pub(crate) mod submit;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use crate::config::{self, Environment};
use crate::download::{OnDisk, verify};
use crate::error::{Problem, Result, code};
use crate::heygen;
use crate::kind::Kind;
use crate::pass::{self, Level, PassOptions, Reporter, Scope, Tally};
use crate::render::fields::Field;
use crate::render::json::VideoObject;
use crate::render::screen::Screen;
use crate::render::{View, human, table, tsv};
pub(crate) use crate::rows::{find, find_all, find_video, load};
use crate::signals;
use crate::store::Store;
use crate::time;
use crate::video::{Account, File, FileState, Phase, Video};

/// Everything a verb gets from outside, besides its own arguments.
#[derive(Clone)]
pub struct Context {
    pub env: Environment,
    pub db: Option<PathBuf>,
    pub screen: Arc<Screen>,
}

impl Context {
    /// From here on SIGINT and SIGTERM end the process with one line.
    pub fn heed_signals(&self) {
        // Without it they end the process all the same, and nothing is lost by it.
        signals::install(&self.screen).ok();
    }

    /// Where the database is, or would be.
    pub fn database(&self) -> Result<PathBuf> {
        let path = config::database(self.db.as_deref(), &self.env)?;
        config::refuse_tilde(&path)?;
        Ok(path)
    }

    /// Rows as results: `fields` and the title at a terminal, `fields` in a pipe, video objects with `--json`.
    fn print_rows(&self, videos: &[Video], fields: &[Field]) {
        match (self.screen.json, self.screen.out_is_terminal) {
            (true, _) => self.print_fields(videos, Field::DEFAULT),
            (_, true) => self.print_fields(videos, &[fields, &[Field::Title]].concat()),
            _ => self.print_fields(videos, fields),
        }
    }

    /// Exactly these fields: a table, TSV or JSON.
    fn print_fields(&self, videos: &[Video], fields: &[Field]) {
        let screen = &self.screen;
        if screen.out_is_terminal && !screen.json {
            return screen.painted(&table::fields_table(videos, fields, &self.view()));
        }
        for video in videos {
            if screen.json {
                screen.json_row(&VideoObject { video, fields });
            } else {
                screen.row(&tsv::row(video, fields));
            }
        }
    }

    pub fn open(&self) -> Result<Store> {
        Store::open(&self.database()?)
    }

    /// Opens the database for looking, where SQLite allows it even read-only.
    pub fn open_for_reading(&self) -> Result<Store> {
        Store::open_for_reading(&self.database()?)
    }

    /// The terminal, the time zone and the directories of whoever is looking.
    fn view(&self) -> View {
        View {
            now: time::now(),
            local: human::here,
            width: self.screen.width,
            wraps: self.screen.out_is_terminal,
            verbose: self.screen.verbose > 0,
            account: self.account(),
            // A working directory that was removed makes no path shorter, and nothing else depends on it here.
            cwd: std::env::current_dir().ok(),
            home: self.env.path("HOME"),
        }
    }

    /// `None` where nothing was recorded yet.
    fn open_if_there(&self) -> Result<Option<Store>> {
        match self.open_for_reading() {
            Err(problem) if problem.code == code::NO_DATABASE => Ok(None),
            opened => opened.map(Some),
        }
    }

    pub fn open_or_create(&self) -> Result<Store> {
        Store::create(&self.database()?)
    }

    fn temporary(&self) -> PathBuf {
        self.env.path("TMPDIR").unwrap_or_else(|| "/tmp".into())
    }

    /// Whose videos the key in use is for; `None` where there is none.
    fn account(&self) -> Option<Account> {
        let base = config::base_url(&self.env).ok()?;
        let key = config::api_key(&self.env).ok()?;
        Some(heygen::account(&base, &key.secret))
    }

    fn pass(
        &self,
        store: &mut Store,
        scope: Scope,
        level: Level,
        options: PassOptions,
    ) -> Result<Tally> {
        let hook = self.hook(None)?;
        let options = PassOptions { hook, ..options };
        let mut reporter = Reporter::new(&self.screen, level, true);
        pass::run(store, &self.env, scope, &options, &mut reporter)?;
        Ok(reporter.tally)
    }

    /// Why an exit code speaks of a bad end that an earlier run said.
    fn note_earlier_end(&self, video: &Video) {
        let (id, status) = (video.id, video.status());
        if video.is_failed() {
            let note = format!("{id} {status} before (tracker show {id})");
            self.screen.note(&note);
        } else if video.is_given_up() {
            let note =
                format!("the video of {id} was given up before; tracker download {id} asks again");
            self.screen.note(&note);
        }
    }

    pub fn hook(&self, flag: Option<&str>) -> Result<Option<String>> {
        match flag {
            Some(command) => Ok(Some(command.to_owned())),
            None => Ok(self.env.text("TRACKER_HOOK")?.map(str::to_owned)),
        }
    }

    /// Where files of new rows go: the flag, `TRACKER_OUTPUT_DIR`, else `./output`; made absolute now, so that the
    /// working directory of a later `check` does not matter.
    pub fn output_dir(&self, flag: Option<&Path>) -> Result<PathBuf> {
        let chosen = flag
            .map(Path::to_owned)
            .or_else(|| self.env.path("TRACKER_OUTPUT_DIR"))
            .unwrap_or_else(|| PathBuf::from("output"));
        config::refuse_tilde(&chosen)?;
        let absolute = without_parents(&chosen)
            .map_err(|source| Problem::file("use the output directory", &chosen, &source))?;
        // SQLite and JSON hold text.
        if absolute.to_str().is_none() {
            let shown = absolute.display();
            return Err(Problem::usage(
                format!("the output directory {shown} is not valid UTF-8"),
                "name one that is with --output-dir",
            ));
        }
        refuse_hopeless(&absolute)?;
        Ok(absolute)
    }
}

/// Why an agent has no session that could be answered or stopped, and what helps; `None` for what is no agent, or has one.
fn no_session(video: &Video) -> Option<Problem> {
    if video.kind != Kind::Agent || video.session_id.is_some() {
        return None;
    }
    let (row, status) = (video.id, video.status());
    let (why, hint) = match video.phase {
        Phase::Unsent | Phase::Sending => (
            "is an agent that HeyGen has not answered yet",
            format!("tracker check {row} goes on with it"),
        ),
        _ => (
            "is an agent without a session",
            format!("tracker show {row} says why"),
        ),
    };
    Some(Problem::usage(format!("{row} {why} ({status})"), hint))
}

/// A file that was saved, and what is in its place now.
fn saved_file(file: &File) -> Option<(&Path, io::Result<OnDisk>)> {
    let (path, sha256) = (file.path.as_deref()?, file.sha256.as_ref()?);
    let bytes = file.bytes.filter(|_| file.state == FileState::Saved)?;
    Some((path, verify(path, bytes, sha256)))
}

/// The absolute form of `path` without `..`: through the file system as far as it exists, since `link/..` is where the
/// link leads; by name beyond that.
fn without_parents(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        if part == Component::ParentDir {
            clean = clean.canonicalize().unwrap_or(clean);
            clean.pop();
        } else {
            clean.push(part);
        }
    }
    Ok(clean)
}

/// Refuses a directory that no later run could use either: what is there is no directory, or may not be written in.
fn refuse_hopeless(dir: &Path) -> Result<()> {
    let there = dir.ancestors().find(|path| path.symlink_metadata().is_ok());
    let Some(there) = there else { return Ok(()) };
    let why = if !there.is_dir() {
        "is not a directory"
    } else if access(there, AccessFlags::W_OK | AccessFlags::X_OK) == Err(Errno::EACCES) {
        "is not writable"
    } else {
        return Ok(());
    };
    let (dir, there) = (dir.display(), there.display());
    Err(Problem::usage(
        format!("files cannot go to {dir}: {there} {why}"),
        "choose another directory with --output-dir",
    ))
}
