//! `tracker doctor`: why `check` would not work, on one screen.

use std::fs::{self, OpenOptions};
use std::io;
use std::iter;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Datelike;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{Context, rescue};
use crate::config;
use crate::decide::Verdict;
use crate::error::{Exit, Problem, Result, code};
use crate::heygen::{Balance, Client, Timeouts};
use crate::render::{human, text};
use crate::shell;
use crate::store::{Filter, SCHEMA_VERSION, Store, corrupt, is_for_doctor, sqlite_version};
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
    context.screen.result(&report, || report.lines());
    Ok(if report.ok { Exit::Ok } else { Exit::Trouble })
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    version: &'static str,
    sqlite_version: &'static str,
    key: Check,
    balance: Option<Balance>,
    database: Check,
    output_dirs: Vec<Check>,
    clock: Check,
}

/// One thing that was looked at: a line for a person, an object for a program.
#[derive(Serialize)]
struct Check {
    #[serde(skip)]
    topic: &'static str,
    #[serde(skip)]
    found: String,
    ok: bool,
    /// Not needed by `check`: what is wrong with it is a warning.
    #[serde(skip)]
    is_aside: bool,
    #[serde(flatten, serialize_with = "in_order")]
    facts: Facts,
    error: Option<Problem>,
    /// Something to put right that keeps nothing from working.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<Problem>,
}

type Facts = Vec<(&'static str, Value)>;

fn in_order<S: Serializer>(facts: &[(&str, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(facts.iter().map(|(name, value)| (name, value)))
}

impl Report {
    fn make(context: &Context) -> Self {
        let (database, store) = database(context);
        let store = store.as_ref();
        let (key, balance) = key(context);
        let output_dirs = output_dirs(store, context);
        let newest = store.and_then(|store| store.read(|tx| tx.newest_time(RECENT)).ok().flatten());
        let clock = clock(newest, time::now());
        let dirs_ok = output_dirs.iter().all(|dir| dir.ok || dir.is_aside);
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
        let balance = self.balance.as_ref().map(|balance| {
            let used_up = || {
                Problem::new(code::NO_CREDIT, "nothing is left: what is submitted waits")
                    .with_hint("add credit at app.heygen.com")
            };
            Check {
                note: balance.used_up.then(used_up),
                ..Check::new("balance", balance.to_string(), Vec::new(), None)
            }
        });
        let checks = iter::once(&self.key).chain(&balance);
        let checks = checks.chain([&self.database]).chain(&self.output_dirs);
        let lines: String = checks.chain([&self.clock]).map(Check::lines).collect();
        let (version, sqlite) = (self.version, self.sqlite_version);
        let would = if self.ok { "would" } else { "would not" };
        format!("tracker {version}, SQLite {sqlite}\n{lines}check {would} work\n")
    }
}

impl Check {
    fn new(topic: &'static str, found: String, facts: Facts, error: Option<Problem>) -> Self {
        Self {
            topic,
            found,
            ok: error.is_none(),
            is_aside: false,
            facts,
            error,
            note: None,
        }
    }

    fn lines(&self) -> String {
        let problem = self.error.as_ref().or(self.note.as_ref());
        let mark = match problem {
            None => "ok",
            Some(_) if self.ok || self.is_aside => "warn",
            Some(_) => "BAD",
        };
        let line = format!(
            "{mark:<5} {:<9} {}",
            self.topic,
            text::sanitize(&self.found)
        );
        let mut lines = format!("{}\n", line.trim_end());
        if let Some(Problem { message, hint, .. }) = problem {
            let hint = hint.as_ref().map(|hint| format!("hint: {hint}"));
            for line in iter::once(message).chain(&hint) {
                lines += &format!("{:16}{}\n", "", text::fit(line, MAX_MESSAGE));
            }
        }
        lines
    }
}

fn key(context: &Context) -> (Check, Option<Balance>) {
    let base = config::base_url(&context.env);
    let key = config::api_key(&context.env);
    let base_url = base.as_ref().ok().map(ToString::to_string);
    let source = key.as_ref().ok().map(|key| key.source.clone());
    let exposed = key.as_ref().ok().and_then(|key| key.warning.clone());
    let asked: Result<Balance> = base.and_then(|base| {
        let key = key?.secret;
        let proxy = config::proxy(&context.env)?;
        let answer = Client::new(&base, key, PATIENCE, proxy).whoami();
        answer.map_err(|error| {
            // Its hint would send the reader here.
            let is_refused = Verdict::of(&error) == Verdict::KeyRefused;
            let mut problem = Problem::from(error);
            problem.hint.take_if(|_| is_refused);
            problem
        })
    });
    let mut found = source.clone().unwrap_or_else(|| "none".to_owned());
    if let Some(base) = &base_url {
        let what = if asked.is_ok() { "accepted by" } else { "for" };
        found += &format!(", {what} {base}");
    }
    let facts = vec![("source", source.into()), ("base_url", base_url.into())];
    let mut check = Check::new("key", found, facts, asked.as_ref().err().cloned());
    // A file that others can read, too.
    let exposed = exposed.map(|message| Problem::new(code::FILE, message));
    check.error = check.error.or(exposed);
    (check, asked.ok())
}

/// What was found before an error stays.
fn database(context: &Context) -> (Check, Option<Store>) {
    let mut check = Check::new("database", String::new(), Vec::new(), None);
    let looked = look_at_database(&mut check, context);
    let known = check.facts.len();
    let facts = ["path", "schema", "bytes", "videos", "unfinished"];
    let unknown = facts.into_iter().skip(known);
    check.facts.extend(unknown.map(|name| (name, Value::Null)));
    let store = looked.unwrap_or_else(|mut error| {
        check.ok = false;
        if is_for_doctor(&error) {
            error = error.with_hint(
                "look at its disk and its permissions; tracker doctor --rescue NEW.db copies what is readable",
            );
        }
        check.error = Some(error);
        None
    });
    (check, store)
}

fn look_at_database(check: &mut Check, context: &Context) -> Result<Option<Store>> {
    let path = context.database()?;
    check.found = path.display().to_string();
    check.facts = vec![("path", path.to_string_lossy().into())];
    let mut store = match Store::open(&path) {
        // Cron may be set up before anything is submitted. An empty file is a history that is gone; no file is one that
        // has not begun.
        Err(error) if error.code == code::NO_DATABASE && fs::symlink_metadata(&path).is_err() => {
            let place = std::path::absolute(&path).unwrap_or_default();
            place.parent().map_or(Ok(()), try_to_write)?;
            check.found += ", to be created by the first submit or add";
            return Ok(None);
        }
        opened => opened?,
    };
    let path = store.path();
    let bytes = fs::metadata(path).map_or(0, |meta| meta.len());
    let (shown, size) = (path.display(), human::bytes(bytes));
    check.found = format!("{shown}, {size}, schema {SCHEMA_VERSION}");
    check.facts = vec![
        ("path", path.to_string_lossy().into()),
        ("schema", SCHEMA_VERSION.into()),
        ("bytes", bytes.into()),
    ];
    if let Some(detail) = store.integrity_check()? {
        return Err(corrupt(path, &detail));
    }
    let faults = store.schema_faults()?;
    if !faults.is_empty() {
        return Err(corrupt(path, &faults.join("; ")));
    }
    let (videos, unfinished) =
        store.read(|tx| Ok((tx.count(&Filter::default())?, tx.open_work()?.unfinished)))?;
    check.found += &format!(", {unfinished} of {videos} videos unfinished");
    let counts = [("videos", videos.into()), ("unfinished", unfinished.into())];
    check.facts.extend(counts);
    store.locks()?;
    // Only a commit tells whether a change can be committed.
    store.write(|tx| tx.mark_unless_lately("doctor", time::now(), Duration::ZERO))?;
    let damaged = store.damaged_rows(MAX_DAMAGED)?;
    if let Some((first, _)) = damaged.first() {
        let rows = damaged.iter().map(|(row, why)| format!("row {row}: {why}"));
        let rows = rows.collect::<Vec<_>>().join("; ");
        let hint = format!(
            "check leaves them alone and works on the others; tracker forget {first} --force drops one"
        );
        return Err(Problem::new(code::DATABASE, rows).with_hint(hint));
    }
    check.note = note(&store, context)?;
    Ok(Some(store))
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
    if let Some((at, _)) = restored.filter(|(at, _)| now.since(*at) < LATELY) {
        let at = at.rfc3339();
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
    let belong = if foreign == 1 { "belongs" } else { "belong" };
    let what = format!("{foreign} still to be sent {belong} to another account");
    let hint = "only tracker check with the key of that account sends them";
    noted(code::OTHER_KEY, what, hint.to_owned())
}

/// The directories of unfinished rows, and the one that a video submitted from here would get.
fn output_dirs(store: Option<&Store>, context: &Context) -> Vec<Check> {
    let unfinished = Filter {
        unfinished: true,
        ..Filter::default()
    };
    // A database that cannot be read has been reported.
    let dirs = store
        .and_then(|store| store.read(|tx| tx.output_dirs(&unfinished, MAX_DIRS)).ok())
        .unwrap_or_default();
    let checks = dirs
        .iter()
        .map(|dir| output_dir(dir, true, try_to_write(dir)));
    let mut checks: Vec<_> = checks.collect();
    match context.output_dir(None) {
        Ok(from_here) if dirs.contains(&from_here) => {}
        Ok(from_here) => checks.push(output_dir(&from_here, false, try_to_write(&from_here))),
        Err(problem) => checks.push(output_dir(Path::new(""), false, Err(problem))),
    }
    checks
}

fn output_dir(path: &Path, unfinished: bool, tried: Result<()>) -> Check {
    let exists = path.is_dir();
    let mut found = path.display().to_string();
    if !unfinished {
        found += " (videos submitted from here)";
    }
    if tried.is_ok() && !exists {
        found += ", to be created";
    }
    let facts = vec![
        ("path", path.to_string_lossy().into()),
        ("exists", exists.into()),
        ("unfinished", unfinished.into()),
    ];
    Check {
        is_aside: !unfinished,
        ..Check::new("output", found, facts, tried.err())
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

fn clock(newest: Option<Timestamp>, now: Timestamp) -> Check {
    let ahead = newest.filter(|newest| *newest > now.after(AHEAD));
    let message = if now.to_chrono().year() < FIRST_YEAR {
        Some("the clock is wrong".to_owned())
    } else {
        ahead
            .map(|ahead| format!("the database has times up to {ahead}: the clock is or was wrong"))
    };
    let hint = "set the clock; rows that wait for an answer become unknown when it jumps";
    let error = message.map(|message| Problem::new(code::CLOCK_SKEW, message).with_hint(hint));
    let now = now.rfc3339();
    Check::new("clock", now.clone(), vec![("now", now.into())], error)
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
            assert_eq!(clock(newest.map(at), at(now)).ok, !wrong);
        }
    }

    #[test]
    fn one_screen_for_a_person() {
        let problem = |message: &str| Problem::new(code::FILE, message).with_hint("do something");
        let bad = || Err(problem("cannot write"));
        let report = Report {
            ok: false,
            version: "1.2.3",
            sqlite_version: "3.51.3",
            key: Check::new(
                "key",
                "HEYGEN_API_KEY, for https://api.heygen.com".to_owned(),
                Vec::new(),
                Some(problem("refused \x1b[2J")),
            ),
            balance: None,
            database: Check::new(
                "database",
                "/data/tracker.db, 1.2 MB, schema 1, 3 of 214 videos unfinished".to_owned(),
                Vec::new(),
                None,
            ),
            output_dirs: vec![
                output_dir(Path::new("/a"), true, Ok(())),
                output_dir(Path::new("/b"), true, bad()),
                output_dir(Path::new("/c"), false, bad()),
            ],
            clock: clock(None, Timestamp::from_secs(1_764_000_000)),
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
