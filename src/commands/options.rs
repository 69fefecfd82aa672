//! Options that several verbs share, and reading the files they name. Each option names its help heading itself: clap
//! hands a heading of a flattened struct on to every option after it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::Local;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command};

use crate::config;
use crate::each::utf8;
use crate::error::{Problem, Result};
use crate::pass::{PassOptions, Wait};
use crate::render::screen::ScreenOptions;
use crate::time::Timestamp;
use crate::video::RowId;
use crate::when::{parse_until, parse_when};

/// All bodies of one command; far more than anybody submits at once.
pub(super) const MAX_BODIES: u64 = 512 << 20;
/// However little time there is, everything is asked for once.
const FIRST_ROUND: Duration = Duration::from_secs(2);
/// A script or a table.
const MAX_SCRIPT: u64 = 10 << 20;

/// Options that every verb has.
#[derive(Clone, Debug, clap::Args)]
#[command(mut_arg("color", |arg| arg
    .help("Use color: auto, always or never")
    .hide_possible_values(true)
    .hide_default_value(true)))]
pub struct Globals {
    /// The database [env: TRACKER_DB]
    #[arg(long, global = true, value_name = "PATH")]
    pub db: Option<PathBuf>,
    #[command(flatten)]
    pub screen: ScreenOptions,
    #[command(flatten)]
    pub color: colorchoice_clap::Color,
}

/// How long to wait: the options of every verb with `--wait`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WaitArgs {
    /// Give up waiting after this (exit 4)
    #[arg(long, value_name = "D", default_value = "20m", value_parser = humantime::parse_duration, requires = "wait", help_heading = "Waiting")]
    timeout: Duration,
    /// The first pause between rounds; grows to 60 s
    #[arg(long, value_name = "D", default_value = "5s", value_parser = humantime::parse_duration, requires = "wait", help_heading = "Waiting")]
    interval: Duration,
}

impl WaitArgs {
    pub(super) fn wait(&self, rows: Option<Vec<RowId>>) -> Wait {
        let now = Instant::now();
        Wait {
            rows,
            deadline: now.checked_add(self.timeout),
            cut_off: now.checked_add(self.timeout.max(FIRST_ROUND)),
            interval: self.interval,
        }
    }
}

/// Options nobody needs on an ordinary day.
#[derive(Debug, clap::Args)]
pub(crate) struct Tuning {
    /// Requests at once, and downloads at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Tuning")]
    jobs: u16,
    /// Further tries per file
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Tuning")]
    retries: u32,
    /// Pause before the second try; doubles
    #[arg(long, value_name = "D", default_value = "2s", value_parser = humantime::parse_duration, help_heading = "Tuning")]
    retry_delay: Duration,
    /// Longest silence within a download
    #[arg(long, value_name = "D", default_value = "60s", value_parser = humantime::parse_duration, help_heading = "Tuning")]
    read_timeout: Duration,
    /// Take no larger file: bytes, or with a unit as in 500MB, 2GiB
    #[arg(long, value_name = "BYTES", default_value = "64GiB", value_parser = parse_bytes, help_heading = "Tuning")]
    max_size: u64,
}

/// `1500`, `500MB`, `1.5 GiB`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let bytes = bytes_of(&text.trim().to_ascii_lowercase()).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "a number of bytes, as in 500000, 500MB or 2GiB".to_owned())
}

fn bytes_of(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, word) = text.split_at(digits.unwrap_or(text.len()));
    let unit: u64 = match word.trim() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    (bytes <= u64::MAX as f64).then_some(bytes.round() as u64)
}

impl Tuning {
    pub(super) fn options(&self) -> PassOptions {
        PassOptions {
            jobs: usize::from(self.jobs),
            retries: self.retries,
            retry_delay: self.retry_delay,
            read_timeout: self.read_timeout.max(Duration::from_millis(1)),
            max_size: self.max_size,
            ..PassOptions::default()
        }
    }
}

/// Fields of the body, over what the body itself says.
#[derive(Debug, clap::Args)]
pub(super) struct FieldArgs {
    /// Set the body's avatar_id
    #[arg(long, value_name = "ID", help_heading = "Body")]
    avatar_id: Option<String>,
    /// Set the body's voice_id
    #[arg(long, value_name = "ID", help_heading = "Body")]
    voice_id: Option<String>,
    /// Set the body's script
    #[arg(long, value_name = "TEXT|@FILE", help_heading = "Body")]
    script: Option<String>,
    /// Set the body's title
    #[arg(long, value_name = "TEXT", help_heading = "Body")]
    title: Option<String>,
}

impl FieldArgs {
    pub(super) fn given(&self) -> Result<BTreeMap<&'static str, String>> {
        let script = self.script.as_deref().map(script_text).transpose()?;
        let all = [
            ("avatar_id", self.avatar_id.clone()),
            ("voice_id", self.voice_id.clone()),
            ("script", script),
            ("title", self.title.clone()),
        ];
        let given = all
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        Ok(given.collect())
    }
}

pub(super) fn script_text(given: &str) -> Result<String> {
    let Some(path) = given.strip_prefix('@') else {
        return Ok(given.to_owned());
    };
    let (origin, bytes) = read_input(Path::new(path), MAX_SCRIPT)?;
    Ok(utf8(&origin, &bytes)?.trim_end().to_owned())
}

pub(super) fn since(text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>> {
    let at = text.map(|text| parse_when(text, now, &Local)).transpose();
    at.map_err(|problem| Problem::misuse(format!("--since: {problem}")))
}

pub(super) fn until(text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>> {
    let at = text.map(|text| parse_until(text, now, &Local)).transpose();
    at.map_err(|problem| Problem::misuse(format!("--until: {problem}")))
}

/// A file's content, or standard input's for `-`, with a name for error messages; at most `limit` bytes of it.
pub(super) fn read_input(path: &Path, limit: u64) -> Result<(String, Vec<u8>)> {
    let unreadable = |source: io::Error| match source.kind() {
        // A name that was mistyped is the command line's fault.
        io::ErrorKind::NotFound => Problem::usage(
            format!("no such file: {}", path.display()),
            "check the path; HeyGen's ids need no file",
        ),
        io::ErrorKind::IsADirectory => Problem::usage(
            format!("{} is a directory", path.display()),
            "name a file in it, or - for standard input",
        ),
        _ => Problem::file("read", path, &source),
    };
    let (origin, input): (String, Box<dyn Read>) = if path == Path::new("-") {
        ("standard input".to_owned(), Box::new(io::stdin()))
    } else {
        config::refuse_tilde(path)?;
        let file = fs::File::open(path).map_err(unreadable)?;
        (path.display().to_string(), Box::new(file))
    };
    let mut bytes = Vec::new();
    input
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        let why = format!("is larger than {} MiB", limit >> 20);
        return Err(Problem::invalid_body(origin, why));
    }
    Ok((origin, bytes))
}

/// Any text, with words that completions and manual pages suggest.
#[derive(Clone, Debug)]
pub(super) struct Suggest(pub(super) Vec<&'static str>);

impl TypedValueParser for Suggest {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_may_have_a_unit() {
        for (text, bytes) in [
            ("1500", Some(1500)),
            ("500MB", Some(500_000_000)),
            ("2 GiB", Some(2 << 30)),
            ("1.5k", Some(1536)),
            ("64GiB", Some(64 << 30)),
            ("0", None),
            ("", None),
            ("-1", None),
            ("1.2.3", None),
            ("9e9", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(parse_bytes(text).ok(), bytes, "{text}");
        }
    }
}
