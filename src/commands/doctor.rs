//! `tracker doctor`: why `check` would not work, on one screen.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Datelike;
use serde::Serialize;

use super::{Context, rescue};
use crate::config;
use crate::error::{Exit, Problem, Result, code};
use crate::heygen::{Balance, Client, Timeouts};
use crate::render::{human, text};
use crate::shell;
use crate::store::{Filter, SCHEMA_VERSION, Store, corrupt, sqlite_version};
use crate::time::{self, Timestamp};

/// Unfinished rows rarely have more output directories than this; each is tried.
const MAX_DIRS: u32 = 20;
const PATIENCE: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    response: Duration::from_secs(15),
    per_read: Duration::from_secs(15),
};
/// Of very many damaged rows these are named.
const MAX_DAMAGED: usize = 20;
/// A damaged database has much to say; one screen is enough.
const MAX_MESSAGE: usize = 300;
/// So long it is said that a backup was put back.
const LATELY: Duration = Duration::from_secs(30 * 24 * 3600);
/// Before this program was written no clock was right.
const FIRST_YEAR: i32 = 2025;
/// How many of the latest events are looked through for times in the future.
const RECENT: u32 = 1000;
/// A recorded time this far in the future means that the clock was set back.
const AHEAD: Duration = Duration::from_secs(5 * 60);

const DETAILS: &str = "\
Asks HeyGen once whether the key is accepted, reads the whole database, and creates
and removes a file in each output directory. Exit 1 if check would not work.

--rescue only reads the damaged database. Exit 1 if numbers of rows are missing.

Example, as cron sees the world:
  env -i HOME=\"$HOME\" /usr/local/bin/tracker doctor";

#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub struct Args {
    /// Copy what can be read of a damaged database into a new one
    #[arg(long, value_name = "NEW.db")]
    rescue: Option<PathBuf>,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    if let Some(new) = &args.rescue {
        return rescue::run(new, context);
    }
    let report = Report::make(context);
    if context.screen.json {
        context.screen.json_row(&report);
    } else {
        context.screen.block(&report.lines());
    }
    Ok(if report.ok { Exit::Ok } else { Exit::Trouble })
}

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    version: &'static str,
    sqlite_version: &'static str,
    key: Key,
    balance: Option<Balance>,
    database: Database,
    output_dirs: Vec<OutputDir>,
    clock: Clock,
}

#[derive(Debug, Serialize)]
struct Key {
    ok: bool,
    source: Option<String>,
    base_url: Option<String>,
    /// Others can read its file.
    #[serde(skip)]
    exposed: bool,
    error: Option<Problem>,
}

#[derive(Debug, Default, Serialize)]
struct Database {
    ok: bool,
    path: Option<PathBuf>,
    schema: Option<i64>,
    bytes: Option<u64>,
    videos: Option<u64>,
    unfinished: Option<u64>,
    error: Option<Problem>,
    /// Something to put right that keeps nothing from working.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<Problem>,
}

#[derive(Debug, Serialize)]
struct OutputDir {
    ok: bool,
    path: PathBuf,
    exists: bool,
    /// Whether files of unfinished rows go there; else only those of videos submitted from here.
    unfinished: bool,
    error: Option<Problem>,
}

#[derive(Debug, Serialize)]
struct Clock {
    ok: bool,
    now: String,
    error: Option<Problem>,
}

impl Report {
    fn make(context: &Context) -> Self {
        let (database, store) = Database::check(context);
        let store = store.as_ref();
        let (key, balance) = Key::check(context);
        let output_dirs = output_dirs(store, context);
        let clock = Clock::check(store, time::now());
        // Where new videos would go from here is no business of check's.
        let dirs_ok = output_dirs.iter().all(|dir| dir.ok || !dir.unfinished);
        Self {
            ok: key.ok && database.ok && clock.ok && dirs_ok,
            version: env!("CARGO_PKG_VERSION"),
            sqlite_version: sqlite_version(),
            key,
            balance,
            database,
            output_dirs,
            clock,
        }
    }

    fn lines(&self) -> String {
        let mut lines = Lines::default();
        lines.fact(&format!(
            "tracker {}, SQLite {}",
            self.version, self.sqlite_version
        ));
        let key = &self.key;
        let mark = mark_of(key.ok, key.exposed);
        lines.check(mark, "key", &key.text(), key.error.as_ref());
        if let Some(balance) = &self.balance {
            let used_up = balance.used_up.then(|| {
                Problem::new(code::NO_CREDIT, "nothing is left: what is submitted waits")
                    .with_hint("add credit at app.heygen.com")
            });
            let mark = mark_of(true, balance.used_up);
            lines.check(mark, "balance", &balance.to_string(), used_up.as_ref());
        }
        let database = &self.database;
        let mark = mark_of(database.ok, database.note.is_some());
        let problem = database.error.as_ref().or(database.note.as_ref());
        lines.check(mark, "database", &database.text(), problem);
        for dir in &self.output_dirs {
            let mark = mark_of(dir.ok || !dir.unfinished, !dir.ok);
            lines.check(mark, "output", &dir.text(), dir.error.as_ref());
        }
        let clock = &self.clock;
        let mark = mark_of(clock.ok, false);
        lines.check(mark, "clock", &clock.now, clock.error.as_ref());
        lines.fact(if self.ok {
            "check would work"
        } else {
            "check would not work"
        });
        lines.0
    }
}

impl Key {
    fn check(context: &Context) -> (Self, Option<Balance>) {
        let base = config::base_url(&context.env);
        let found = config::api_key(&context.env);
        let base_url = base.as_ref().ok().map(ToString::to_string);
        let source = found.as_ref().ok().map(|key| key.source.clone());
        let exposed = found.as_ref().ok().and_then(|key| key.warning.clone());
        let asked: Result<Balance> = base.and_then(|base| {
            let key = found?.secret;
            let proxy = config::proxy(&context.env)?;
            Ok(Client::new(&base, key, PATIENCE, proxy).whoami()?)
        });
        let (balance, refused) = match asked {
            Ok(balance) => (Some(balance), None),
            Err(problem) => (None, Some(problem)),
        };
        let key = Self {
            ok: refused.is_none(),
            source,
            base_url,
            exposed: exposed.is_some(),
            error: refused.or(exposed.map(|message| Problem::new(code::FILE, message))),
        };
        (key, balance)
    }

    fn text(&self) -> String {
        let source = self.source.as_deref().unwrap_or("none");
        match &self.base_url {
            Some(base) if self.ok => format!("{source}, accepted by {base}"),
            Some(base) => format!("{source}, for {base}"),
            None => source.to_owned(),
        }
    }
}

impl Database {
    fn check(context: &Context) -> (Self, Option<Store>) {
        let mut database = Self::default();
        let store = match database.look(context) {
            Ok(store) => {
                database.ok = true;
                Some(store)
            }
            // Cron may be set up before anything is submitted.
            Err(error) if error.code == code::NO_DATABASE && !database.exists() => {
                let path = database.path.as_deref();
                let path = path.and_then(|path| std::path::absolute(path).ok());
                let place = path.as_deref().and_then(Path::parent);
                database.error = place.and_then(|place| try_to_write(place).err());
                database.ok = database.error.is_none();
                None
            }
            Err(error) => {
                database.error = Some(error);
                None
            }
        };
        (database, store)
    }

    /// An empty file is a history that is gone; no file is one that has not begun.
    fn exists(&self) -> bool {
        let path = self.path.as_ref();
        path.is_none_or(|path| fs::symlink_metadata(path).is_ok())
    }

    /// Everything that `check` needs of it; what was found before an error stays.
    fn look(&mut self, context: &Context) -> Result<Store> {
        let path = context.database()?;
        self.path = Some(path.clone());
        let mut store = Store::open(&path)?;
        self.path = Some(store.path().to_owned());
        self.schema = Some(SCHEMA_VERSION);
        self.bytes = fs::metadata(store.path()).ok().map(|meta| meta.len());
        if let Some(detail) = store.integrity_check()? {
            return Err(corrupt(store.path(), &detail));
        }
        let faults = store.schema_faults()?;
        if !faults.is_empty() {
            return Err(corrupt(store.path(), &faults.join("; ")));
        }
        let (videos, unfinished) =
            store.read(|tx| Ok((tx.count(&Filter::default())?, tx.open_work()?.unfinished)))?;
        self.videos = Some(videos);
        self.unfinished = Some(unfinished);
        store.locks()?;
        store.check_writable(time::now())?;
        let damaged = store.damaged_rows(MAX_DAMAGED)?;
        if let Some((first, _)) = damaged.first() {
            let rows = damaged.iter().map(|(row, why)| format!("row {row}: {why}"));
            let rows = rows.collect::<Vec<_>>().join("; ");
            let hint = format!(
                "check leaves them alone and works on the others; tracker forget {first} --force drops one"
            );
            return Err(Problem::new(code::DATABASE, rows).with_hint(hint));
        }
        self.note = note(&store, context)?;
        Ok(store)
    }

    fn text(&self) -> String {
        let mut facts = Vec::new();
        if let Some(path) = &self.path {
            facts.push(path.display().to_string());
        }
        if let Some(bytes) = self.bytes {
            facts.push(human::bytes(bytes));
        } else if self.ok {
            facts.push("to be created by the first submit or add".to_owned());
        }
        if let Some(schema) = self.schema {
            facts.push(format!("schema {schema}"));
        }
        if let (Some(videos), Some(unfinished)) = (self.videos, self.unfinished) {
            facts.push(format!("{unfinished} of {videos} videos unfinished"));
        }
        facts.join(", ")
    }
}

/// The gravest of what keeps nothing from working.
fn note(store: &Store, context: &Context) -> Result<Option<Problem>> {
    let noted =
        |code, what: String, hint: String| Ok(Some(Problem::new(code, what).with_hint(hint)));
    let mode = fs::metadata(store.path()).map_or(0, |meta| meta.mode());
    if mode & 0o077 != 0 {
        let what = format!("others can read it (mode {:04o})", mode & 0o7777);
        let path = shell::word(&store.path().to_string_lossy());
        return noted(code::FILE, what, format!("chmod 600 {path}"));
    }
    let now = time::now();
    let restored = store.read(|tx| tx.restored())?;
    if let Some(restored) = restored.filter(|restored| now.since(restored.at) < LATELY) {
        let at = restored.at.rfc3339();
        let what =
            format!("at {at} it was older than what its lock file says: was a backup put back?");
        let hint = "what was submitted since the backup is at HeyGen only: tracker add VIDEO_ID";
        return noted(code::DATABASE, what, hint.to_owned());
    }
    let Some(account) = context.account() else {
        return Ok(None);
    };
    let foreign = store.read(|tx| tx.waiting_for_others(&account))?;
    if foreign == 0 {
        return Ok(None);
    }
    let what = format!("{foreign} of the videos to be submitted belong to another account");
    let hint = "only tracker check with the key they were submitted with sends them";
    noted(code::OTHER_KEY, what, hint.to_owned())
}

/// The directories of unfinished rows, and the one that a video submitted from here would get.
fn output_dirs(store: Option<&Store>, context: &Context) -> Vec<OutputDir> {
    // A database that cannot be read has been reported.
    let dirs = store
        .and_then(|store| store.read(|tx| tx.unfinished_output_dirs(MAX_DIRS)).ok())
        .unwrap_or_default();
    let dirs = dirs.into_iter().map(|dir| OutputDir::check(dir, true));
    let mut dirs: Vec<_> = dirs.collect();
    match context.output_dir(None) {
        Ok(from_here) if dirs.iter().any(|dir| dir.path == from_here) => {}
        Ok(from_here) => dirs.push(OutputDir::check(from_here, false)),
        Err(problem) => dirs.push(OutputDir {
            ok: false,
            path: PathBuf::new(),
            exists: false,
            unfinished: false,
            error: Some(problem),
        }),
    }
    dirs
}

impl OutputDir {
    fn check(path: PathBuf, unfinished: bool) -> Self {
        let tried = try_to_write(&path);
        Self {
            ok: tried.is_ok(),
            exists: path.is_dir(),
            unfinished,
            error: tried.err(),
            path,
        }
    }

    fn text(&self) -> String {
        let mut text = self.path.display().to_string();
        if !self.unfinished {
            text.push_str(" (videos submitted from here)");
        }
        if self.ok && !self.exists {
            text.push_str(", to be created");
        }
        text
    }
}

/// Creates and removes a file in `dir`, or where `dir` would be created. Permissions alone do not tell: the mount may
/// be read-only, the quota used up.
fn try_to_write(dir: &Path) -> Result<()> {
    let existing = dir
        .ancestors()
        .find(|ancestor| !matches!(fs::metadata(ancestor), Err(e) if e.kind() == io::ErrorKind::NotFound))
        .unwrap_or(dir);
    let probe = existing.join(format!(".tracker-doctor-{:016x}", fastrand::u64(..)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let tried = options.open(&probe).and_then(|_| fs::remove_file(&probe));
    tried.map_err(|source| Problem::file("write into", dir, &source))
}

impl Clock {
    fn check(store: Option<&Store>, now: Timestamp) -> Self {
        // A database that cannot be read has been reported.
        let newest = store.and_then(|store| store.read(|tx| tx.newest_time(RECENT)).ok().flatten());
        let error = clock_problem(newest, now);
        Self {
            ok: error.is_none(),
            now: now.rfc3339(),
            error,
        }
    }
}

fn clock_problem(newest: Option<Timestamp>, now: Timestamp) -> Option<Problem> {
    let message = if now.to_chrono().year() < FIRST_YEAR {
        "the clock is wrong".to_owned()
    } else {
        let ahead = newest.filter(|newest| *newest > now.after(AHEAD))?;
        format!("the database has times up to {ahead}: the clock is or was wrong")
    };
    let hint = "set the clock; rows that wait for an answer become unknown when it jumps";
    Some(Problem::new(code::CLOCK_SKEW, message).with_hint(hint))
}

fn mark_of(works: bool, warns: bool) -> &'static str {
    match (works, warns) {
        (true, false) => "ok",
        (true, true) => "warn",
        (false, _) => "BAD",
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn fact(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn check(&mut self, mark: &str, topic: &str, found: &str, error: Option<&Problem>) {
        let found = text::sanitize(found);
        self.fact(format!("{mark:<5} {topic:<9} {found}").trim_end());
        if let Some(problem) = error {
            self.below(&problem.message);
            if let Some(hint) = &problem.hint {
                self.below(&format!("hint: {hint}"));
            }
        }
    }

    fn below(&mut self, line: &str) {
        let line = text::fit(line, MAX_MESSAGE);
        self.fact(&format!("{:16}{line}", ""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn a_directory_is_tried_where_it_is_or_would_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        try_to_write(dir.path()).unwrap();
        try_to_write(&dir.path().join("not/yet")).unwrap();
        assert!(try_to_write(&file).is_err());
        assert!(try_to_write(&file.join("below")).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_clock_is_wrong_before_2025_and_behind_the_database() {
        let at = Timestamp::from_secs;
        let now = 1_764_000_000;
        for (newest, now, wrong) in [
            (None, now, false),
            (Some(now), now, false),
            (Some(now + 200), now, false),
            (Some(now + 400), now, true),
            (None, 1_000_000, true),
        ] {
            assert_eq!(clock_problem(newest.map(at), at(now)).is_some(), wrong);
        }
    }

    #[test]
    fn one_screen_for_a_person() {
        let problem =
            |message: &str| Some(Problem::new(code::FILE, message).with_hint("do something"));
        let dir = |path: &str, ok, unfinished| OutputDir {
            ok,
            path: path.into(),
            exists: !ok,
            unfinished,
            error: problem("cannot write").filter(|_| !ok),
        };
        let report = Report {
            ok: false,
            version: "1.2.3",
            sqlite_version: "3.51.3",
            key: Key {
                ok: false,
                source: Some("HEYGEN_API_KEY".to_owned()),
                exposed: false,
                base_url: Some("https://api.heygen.com".to_owned()),
                error: problem("refused \x1b[2J"),
            },
            balance: None,
            database: Database {
                ok: true,
                path: Some("/data/tracker.db".into()),
                schema: Some(1),
                bytes: Some(1_200_000),
                videos: Some(214),
                unfinished: Some(3),
                error: None,
                note: None,
            },
            output_dirs: vec![
                dir("/a", true, true),
                dir("/b", false, true),
                dir("/c", false, false),
            ],
            clock: Clock {
                ok: true,
                now: "2025-11-24T16:00:00Z".to_owned(),
                error: None,
            },
        };
        assert_snapshot!(report.lines(), @r"
        tracker 1.2.3, SQLite 3.51.3
        BAD   key       HEYGEN_API_KEY, for https://api.heygen.com
                        refused \x1b[2J
                        hint: do something
        ok    database  /data/tracker.db, 1.2 MB, schema 1, 3 of 214 videos unfinished
        ok    output    /a, to be created
        BAD   output    /b
                        cannot write
                        hint: do something
        warn  output    /c (videos submitted from here)
                        cannot write
                        hint: do something
        ok    clock     2025-11-24T16:00:00Z
        check would not work
        ");
    }
}
