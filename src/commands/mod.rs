//! One file per verb: its arguments and its `run`. Verbs never call each other; what two of them need lives here or
//! in the modules below.

pub mod add;
mod body_options;
mod buy;
pub mod check;
pub mod completions;
pub mod demo;
pub mod doctor;
pub mod download;
pub mod file_options;
pub mod forget;
pub mod list;
pub mod listen;
pub mod man;
mod pulse;
pub mod retry;
pub mod sandbox;
pub mod show;
mod stats;
pub mod submit;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cli::{Cli, Globals, Verb};
use crate::config::{self, Environment};
use crate::error::{Error, Exit};
use crate::pass::Wait;
use crate::render::screen::Screen;
use crate::signals;
use crate::store::{Found, Store, Tx};
use crate::video::{RowId, Video};

/// Everything a verb gets from outside, besides its own arguments.
pub struct Context {
    /// The variables of the process.
    pub env: Environment,
    /// The options of every verb.
    pub globals: Globals,
    /// stdout and stderr.
    pub screen: Arc<Screen>,
}

/// How long to wait: the options of every verb with `--wait`.
#[derive(Clone, Debug, clap::Args)]
pub struct WaitArgs {
    /// Give up waiting after this (exit 4)
    #[arg(long, value_name = "D", default_value = "20m", value_parser = humantime::parse_duration, help_heading = "Waiting")]
    pub timeout: Duration,
    /// The first pause between rounds; grows to 60 s
    #[arg(long, value_name = "D", default_value = "5s", value_parser = humantime::parse_duration, help_heading = "Waiting")]
    pub interval: Duration,
}

impl WaitArgs {
    /// Waiting for these rows, or for everything unfinished.
    pub fn wait(&self, rows: Option<Vec<RowId>>) -> Wait {
        Wait {
            rows,
            timeout: self.timeout,
            interval: self.interval,
        }
    }
}

/// Runs the verb that was typed.
pub fn run(cli: Cli, context: &Context) -> Result<Exit, Error> {
    match cli.verb {
        Verb::Submit(args) => submit::run(args, context),
        Verb::Check(args) => check::run(args, context),
        Verb::List(args) => list::run(args, context),
        Verb::Show(args) => show::run(args, context),
        Verb::Download(args) => download::run(args, context),
        Verb::Retry(args) => retry::run(args, context),
        Verb::Add(args) => add::run(args, context),
        Verb::Forget(args) => forget::run(args, context),
        Verb::Doctor(args) => doctor::run(args, context),
        Verb::Demo(args) => demo::run(args, context),
        Verb::Listen(args) => listen::run(args, context),
        Verb::Sandbox(args) => sandbox::run(args, context),
        Verb::Completions(args) => completions::run(args, context),
        Verb::Man(args) => man::run(args, context),
    }
}

impl Context {
    /// From here on SIGINT and SIGTERM end the process with one line.
    pub fn heed_signals(&self) -> Result<(), Error> {
        signals::install(&self.screen).map_err(|source| Error::System {
            action: "listen for signals",
            source,
        })
    }

    /// Where the database is, or would be.
    pub fn database(&self) -> Result<PathBuf, Error> {
        config::database(self.globals.db.as_deref(), &self.env)
    }

    /// Opens the database for work; there must be one.
    pub fn open(&self) -> Result<Store, Error> {
        Ok(Store::open(&self.database()?)?)
    }

    /// Opens the database for looking, where SQLite allows it even read-only.
    pub fn open_for_reading(&self) -> Result<Store, Error> {
        Ok(Store::open_for_reading(&self.database()?)?)
    }

    /// Opens the database, creating it where there is none.
    pub fn open_or_create(&self) -> Result<Store, Error> {
        Ok(Store::create(&self.database()?)?)
    }

    /// The user's command to tell of what happens.
    pub fn hook(&self, flag: Option<&str>) -> Result<Option<String>, Error> {
        match flag {
            Some(command) => Ok(Some(command.to_owned())),
            None => Ok(self.env.text("TRACKER_HOOK")?.map(str::to_owned)),
        }
    }

    /// Where files of new rows go: the flag, `TRACKER_OUTPUT_DIR`, else `./output`; made absolute now, so that the
    /// working directory of a later `check` does not matter.
    pub fn output_dir(&self, flag: Option<&Path>) -> Result<PathBuf, Error> {
        let chosen = flag
            .map(Path::to_owned)
            .or_else(|| self.env.path("TRACKER_OUTPUT_DIR"))
            .unwrap_or_else(|| PathBuf::from("output"));
        let absolute = std::path::absolute(&chosen).map_err(|source| Error::File {
            action: "use the output directory",
            path: chosen.clone(),
            source,
        })?;
        // SQLite and JSON hold text.
        if absolute.to_str().is_none() {
            return Err(Error::usage(
                format!(
                    "the output directory {} is not valid UTF-8",
                    absolute.display()
                ),
                "name one that is with --output-dir",
            ));
        }
        Ok(absolute)
    }
}

/// The row an ID on the command line stands for.
///
/// # Errors
/// [`Error::NotFound`] or [`Error::Ambiguous`].
pub fn find(tx: &Tx<'_>, id: &str, allow_prefix: bool) -> rusqlite::Result<Result<RowId, Error>> {
    Ok(match tx.find(id, allow_prefix)? {
        Found::One(row) => Ok(row),
        Found::Several(matches) => Err(Error::Ambiguous {
            id: id.to_owned(),
            matches,
        }),
        Found::None => Err(Error::NotFound(id.to_owned())),
    })
}

/// The rows that IDs stand for, each once, in the order given; the first that stands for none is an error.
pub fn find_all(store: &Store, ids: &[String], allow_prefix: bool) -> Result<Vec<RowId>, Error> {
    store.read(|tx| {
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            match find(tx, id, allow_prefix)? {
                Ok(row) if rows.contains(&row) => {}
                Ok(row) => rows.push(row),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(rows))
    })?
}

/// The rows as they are now, in the order given; those forgotten meanwhile are left out.
pub fn load(store: &Store, rows: &[RowId]) -> Result<Vec<Video>, Error> {
    Ok(store.read(|tx| {
        let mut videos = Vec::with_capacity(rows.len());
        for row in rows {
            videos.extend(tx.video(*row)?);
        }
        Ok(videos)
    })?)
}
