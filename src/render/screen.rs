//! The only owner of stdout and stderr.
//!
//! stdout is data: a reader that has seen enough (`list | head -1`) is no error, and a disk that is full is one, which
//! [`Screen::finish`] returns. stderr is talk: when nobody can be told, nothing else should fail for it. Every line
//! leaves in one write, so lines of overlapping runs do not mix within a log file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anstyle::Style;
use serde::Serialize;

use crate::config::Environment;
use crate::error::{Exit, Problem};
use crate::render::outlet::Outlet;
use crate::render::progress::Progress;
use crate::render::style::{self, paint};
use crate::render::{json, text};

const BLOCK: usize = 64 * 1024;
/// How long a message waits for the results before it to be read.
const ORDER: Duration = Duration::from_millis(200);
const DEFAULT_WIDTH: usize = 80;

#[derive(Clone, Debug, Default, clap::Args)]
pub struct ScreenOptions {
    /// Print JSON Lines
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only what needs a person
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print every step
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

pub struct Screen {
    streams: Mutex<Streams>,
    pub progress: Progress,
    colors: (bool, bool),
    pub out_is_terminal: bool,
    pub err_is_terminal: bool,
    /// Columns of the terminal, at least 1; 80 when there is none.
    pub width: usize,
    pub quiet: bool,
    pub verbose: u8,
    pub json: bool,
}

struct Streams {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Is `out`, too, unless that is a terminal or a test's.
    outlet: Option<Outlet>,
    pending: Vec<u8>,
    /// A write failed; what else there is to say interests nobody.
    is_closed: bool,
    /// Why, unless the reader went away.
    failed: Option<io::Error>,
}

impl Screen {
    pub fn stdio(options: &ScreenOptions, env: &Environment) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let (out_is_terminal, err_is_terminal) = (out.is_terminal(), err.is_terminal());
        let size = terminal_size::terminal_size_of(&out)
            .or_else(|| terminal_size::terminal_size_of(&err))
            .map(|(columns, _)| usize::from(columns.0));
        let columns = env.get("COLUMNS").and_then(OsStr::to_str);
        let width = width(columns, size);
        let is_dumb = env.get("TERM").is_some_and(|term| term == "dumb");
        let moves = err_is_terminal && !options.quiet && !options.json && !is_dumb;
        let colors = (
            AutoStream::choice(&out) != ColorChoice::Never,
            AutoStream::choice(&err) != ColorChoice::Never,
        );
        let outlet = (!out_is_terminal).then(Outlet::start).flatten();
        let out: Box<dyn Write + Send> = match &outlet {
            Some(outlet) => Box::new(outlet.clone()),
            None => Box::new(out),
        };
        Self {
            streams: Mutex::new(Streams {
                out,
                err: Box::new(err),
                outlet,
                pending: Vec::new(),
                is_closed: false,
                failed: None,
            }),
            progress: Progress::new(width, moves),
            colors,
            out_is_terminal,
            err_is_terminal,
            width,
            quiet: options.quiet,
            verbose: options.verbose,
            json: options.json,
        }
    }

    /// A result that somebody may be waiting for: one line on stdout, at once. Server text in it must be sanitized.
    pub fn line(&self, line: &str) {
        self.progress.suspend(|| {
            let mut streams = self.lock();
            streams.queue(line);
            streams.queue("\n");
            streams.flush();
        });
    }

    /// One line of a listing: on a terminal at once, otherwise in blocks.
    pub fn row(&self, row: &str) {
        self.block(&format!("{row}\n"));
    }

    /// Lines of a listing that have their line ends already (a table, CSV); like [`Screen::row`].
    pub fn block(&self, lines: &str) {
        let mut streams = self.lock();
        streams.queue(lines);
        if self.out_is_terminal || streams.pending.len() >= BLOCK {
            streams.flush();
        }
    }

    /// [`Screen::block`] of what is rendered with colours, which are taken out where none are wanted.
    pub fn painted(&self, lines: &str) {
        match self.colors.0 {
            true => self.block(lines),
            false => self.block(&strip_str(lines).to_string()),
        }
    }

    pub fn json_line(&self, value: &impl Serialize) {
        self.as_json(value, Self::line);
    }

    pub fn json_row(&self, value: &impl Serialize) {
        self.as_json(value, Self::row);
    }

    pub fn result(&self, value: &impl Serialize, lines: impl FnOnce() -> String) {
        match self.json {
            true => self.json_row(value),
            false => self.painted(&lines()),
        }
    }

    /// A message that `--quiet` drops: `text` on stderr. Sanitized here, as all messages are.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.message("", style::PLAIN, text);
        }
    }

    pub fn warn(&self, text: &str) {
        self.message("warning: ", style::RENDERING, text);
    }

    pub fn error(&self, text: &str) {
        self.message("error: ", style::BAD, text);
    }

    pub fn hint(&self, text: &str) {
        self.message("hint: ", style::SAVING, text);
    }

    pub fn json_message(&self, value: &impl Serialize) {
        let print = |screen: &Self, line: &str| screen.message("", style::PLAIN, line);
        self.as_json(value, print);
    }

    pub fn problem(&self, problem: &Problem) -> Exit {
        if self.json {
            self.json_message(&BTreeMap::from([("error", problem)]));
        } else {
            self.error(&problem.message);
            problem.hint.iter().for_each(|hint| self.hint(hint));
        }
        problem.exit
    }

    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// The first failed write to stdout is an error, once; a reader that went away is none.
    pub fn finish(&self) -> io::Result<()> {
        let mut streams = self.lock();
        streams.flush();
        streams.settle(Duration::MAX);
        streams.failed.take().map_or(Ok(()), Err)
    }

    fn as_json(&self, value: &impl Serialize, print: impl Fn(&Self, &str)) {
        match json::to_line(value) {
            Ok(line) => print(self, &line),
            Err(error) => self.lock().fail(error),
        }
    }

    fn message(&self, prefix: &str, tone: Style, text: &str) {
        let prefix = match self.colors.1 {
            true => paint(prefix, tone),
            false => prefix.to_owned(),
        };
        let lines: Vec<_> = text.lines().map(text::sanitize).collect();
        let message = format!("{prefix}{}\n", lines.join("\n"));
        self.progress.suspend(|| {
            let mut streams = self.lock();
            // Whoever sees both streams in one place sees them in order, unless stdout is not read at all.
            streams.flush();
            streams.settle(ORDER);
            let _nobody_to_tell = streams.err.write_all(message.as_bytes());
        });
    }

    /// A thread that panicked while it printed leaves nothing that others could not print after.
    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `COLUMNS` says wins over the terminal.
fn width(columns: Option<&str>, size: Option<usize>) -> usize {
    let columns = columns.and_then(|text| text.parse().ok()).or(size);
    let columns = columns.filter(|&columns| columns > 0);
    columns.unwrap_or(DEFAULT_WIDTH)
}

impl Streams {
    fn queue(&mut self, text: &str) {
        if !self.is_closed {
            self.pending.extend_from_slice(text.as_bytes());
        }
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let written = self.out.write_all(&self.pending);
            let written = written.and_then(|()| self.out.flush());
            self.pending.clear();
            written.unwrap_or_else(|error| self.fail(error));
        }
    }

    fn settle(&mut self, patience: Duration) {
        let settled = self.outlet.as_ref().map(|outlet| outlet.settle(patience));
        if let Some(Err(error)) = settled {
            self.fail(error);
        }
    }

    /// Nothing is written after a failure: output with a hole in it is worse than output that ends.
    fn fail(&mut self, error: io::Error) {
        if !self.is_closed {
            self.is_closed = true;
            self.failed = Some(error).filter(|error| error.kind() != ErrorKind::BrokenPipe);
        }
    }
}

#[cfg(test)]
mod tests;
