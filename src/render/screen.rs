//! The only owner of stdout and stderr.
//!
//! stdout is data: a reader that has seen enough (`list | head -1`) is no error, and a disk that is full is one, which
//! [`Screen::finish`] returns. stderr is talk: when nobody can be told, nothing else should fail for it. Every line
//! leaves in one write, so lines of overlapping runs do not mix within a log file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::error::{Exit, Problem};
use crate::render::outlet::Outlet;
use crate::render::progress::Progress;
use crate::render::style::{Tone, paint};
use crate::render::{json, text};

/// Listings leave in blocks of about this many bytes.
const BLOCK: usize = 64 * 1024;
/// How long a message waits for the results before it to be read.
const ORDER: Duration = Duration::from_millis(200);
const DEFAULT_WIDTH: usize = 80;

/// What was asked for on the command line and in the environment.
#[derive(Clone, Debug, Default)]
pub struct ScreenOptions {
    pub term: Option<String>,
    /// `COLUMNS`, as it is set; wins over what the terminal says.
    pub columns: Option<String>,
    pub quiet: bool,
    pub verbose: u8,
    pub json: bool,
}

/// Where results and messages go. Can be shared between threads.
pub struct Screen {
    streams: Mutex<Streams>,
    progress: OnceLock<Progress>,
    /// Whether moving lines can be drawn on stderr and somebody wants them.
    animate: bool,
    /// Whether results and messages may be coloured.
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
    out: Out,
    err: Box<dyn Write + Send>,
    /// Whole lines of a listing that were not written yet.
    pending: Vec<u8>,
    state: OutState,
}

enum Out {
    /// A terminal, or a test's.
    Direct(Box<dyn Write + Send>),
    Behind(Outlet),
}

enum OutState {
    Open,
    /// The reader went away; what else there is to say interests nobody.
    Closed,
    Failed(io::Error),
}

impl Screen {
    pub fn stdio(options: &ScreenOptions) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let terminals = (out.is_terminal(), err.is_terminal());
        let size = terminal_size::terminal_size_of(&out)
            .or_else(|| terminal_size::terminal_size_of(&err))
            .map(|(columns, _)| usize::from(columns.0));
        let colors = (
            AutoStream::choice(&out) != ColorChoice::Never,
            AutoStream::choice(&err) != ColorChoice::Never,
        );
        let screen = Self::new(Box::new(out), Box::new(err), terminals, size, options);
        if !terminals.0 {
            screen.lock().out = Out::Behind(Outlet::default());
        }
        Self { colors, ..screen }
    }

    /// Any two writers, without colours: `terminals` says whether they are (stdout, stderr), `size` how many columns they have.
    pub fn new(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        (out_is_terminal, err_is_terminal): (bool, bool),
        size: Option<usize>,
        options: &ScreenOptions,
    ) -> Self {
        let columns = options
            .columns
            .as_deref()
            .and_then(|text| text.parse().ok());
        let width = columns.or(size).filter(|&columns| columns > 0);
        Self {
            streams: Mutex::new(Streams {
                out: Out::Direct(out),
                err,
                pending: Vec::new(),
                state: OutState::Open,
            }),
            progress: OnceLock::new(),
            animate: err_is_terminal
                && !options.quiet
                && !options.json
                && options.term.as_deref() != Some("dumb"),
            colors: (false, false),
            out_is_terminal,
            err_is_terminal,
            width: width.unwrap_or(DEFAULT_WIDTH),
            quiet: options.quiet,
            verbose: options.verbose,
            json: options.json,
        }
    }

    /// A result that somebody may be waiting for: one line on stdout, at once. Server text in it must be sanitized.
    pub fn line(&self, line: &str) {
        self.undisturbed(|| {
            let mut streams = self.lock();
            streams.queue(line);
            streams.queue("\n");
            streams.flush();
        });
    }

    /// One line of a listing: on a terminal at once, otherwise in blocks.
    pub fn row(&self, row: &str) {
        self.queue(&[row, "\n"]);
    }

    /// Lines of a listing that have their line ends already (a table, CSV); like [`Screen::row`].
    pub fn block(&self, lines: &str) {
        self.queue(&[lines]);
    }

    fn queue(&self, texts: &[&str]) {
        let mut streams = self.lock();
        texts.iter().for_each(|text| streams.queue(text));
        if self.out_is_terminal || streams.pending.len() >= BLOCK {
            streams.flush();
        }
    }

    /// [`Screen::block`] of what is rendered with colours, which are taken out where none are wanted.
    pub fn painted(&self, lines: &str) {
        if self.colors.0 {
            self.block(lines);
        } else {
            self.block(&strip_str(lines).to_string());
        }
    }

    pub fn json_line(&self, value: &impl Serialize) {
        self.as_json(value, Self::line);
    }

    pub fn json_row(&self, value: &impl Serialize) {
        self.as_json(value, Self::row);
    }

    /// A message that `--quiet` drops: `text` on stderr. Sanitized here, as all messages are.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.message("", Tone::Plain, text);
        }
    }

    pub fn warn(&self, text: &str) {
        self.message("warning: ", Tone::Rendering, text);
    }

    pub fn error(&self, text: &str) {
        self.message("error: ", Tone::Bad, text);
    }

    pub fn hint(&self, text: &str) {
        self.message("hint: ", Tone::Saving, text);
    }

    /// One line of JSON on stderr: the error envelope.
    pub fn json_message(&self, value: &impl Serialize) {
        match json::to_line(value) {
            Ok(line) => self.message("", Tone::Plain, &line),
            Err(error) => self.error(&error.to_string()),
        }
    }

    /// What could not be done, and what to do about it.
    pub fn problem(&self, problem: &Problem) -> Exit {
        if self.json {
            self.json_message(&BTreeMap::from([("error", problem)]));
        } else {
            self.error(&problem.message);
            problem.hint.iter().for_each(|hint| self.hint(hint));
        }
        problem.exit
    }

    pub fn progress(&self) -> Progress {
        self.progress
            .get_or_init(|| match self.animate {
                true => Progress::live(self.width),
                false => Progress::default(),
            })
            .clone()
    }

    /// Whether nobody reads stdout any more: a long listing may stop.
    pub fn is_closed(&self) -> bool {
        !matches!(self.lock().state, OutState::Open)
    }

    /// Writes out what is pending.
    /// The first failed write to stdout is an error, once; a reader that went away is none.
    pub fn finish(&self) -> io::Result<()> {
        let mut streams = self.lock();
        streams.flush();
        if let Out::Behind(outlet) = &mut streams.out
            && let Err(error) = outlet.flush()
        {
            streams.fail(error);
        }
        match std::mem::replace(&mut streams.state, OutState::Closed) {
            OutState::Open => {
                streams.state = OutState::Open;
                Ok(())
            }
            OutState::Closed => Ok(()),
            OutState::Failed(error) => Err(error),
        }
    }

    fn as_json(&self, value: &impl Serialize, print: impl Fn(&Self, &str)) {
        match json::to_line(value) {
            Ok(line) => print(self, &line),
            Err(error) => self.lock().fail(error),
        }
    }

    fn message(&self, prefix: &str, tone: Tone, text: &str) {
        let mut message = if self.colors.1 {
            paint(prefix, tone)
        } else {
            prefix.to_owned()
        };
        for (index, line) in text.lines().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            // Writing to a String cannot fail.
            let _infallible = write!(message, "{end}{}", text::sanitize(line));
        }
        message.push('\n');
        self.undisturbed(|| {
            let mut streams = self.lock();
            // Whoever sees both streams in one place sees them in order, unless stdout is not read at all.
            streams.flush();
            if let Out::Behind(outlet) = &streams.out {
                outlet.settle(ORDER);
            }
            let _nobody_to_tell = streams.err.write_all(message.as_bytes());
        });
    }

    /// Prints without the moving part of the screen in between.
    fn undisturbed(&self, print: impl FnOnce()) {
        match self.progress.get() {
            Some(progress) => progress.suspend(print),
            None => print(),
        }
    }

    /// A thread that panicked while it printed leaves nothing that others could not print after.
    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    fn queue(&mut self, text: &str) {
        if matches!(self.state, OutState::Open) {
            self.pending.extend_from_slice(text.as_bytes());
        }
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let written = match &mut self.out {
            Out::Direct(out) => out.write_all(&self.pending).and_then(|()| out.flush()),
            Out::Behind(outlet) => outlet.write_all(&self.pending),
        };
        if let Err(error) = written {
            self.fail(error);
        }
        self.pending.clear();
    }

    /// Nothing is written after a failure: output with a hole in it is worse than output that ends.
    fn fail(&mut self, error: io::Error) {
        if matches!(self.state, OutState::Open) {
            self.state = match error.kind() {
                ErrorKind::BrokenPipe => OutState::Closed,
                _ => OutState::Failed(error),
            };
        }
    }
}

#[cfg(test)]
mod tests;
