//! `tracker`: a durable, resumable job tracker for HeyGen videos.
//!
//! HeyGen renders a video in 5 to 20 minutes, may charge for every accepted request, and hands the result out through
//! a link that expires. This program writes every request down before it is sent, finds out later what became of it,
//! and brings the files home, whatever breaks in between.
//!
//! # The architecture in one page
//!
//! ```text
//! cli ─▶ commands ─▶ pass ─┬─▶ store      one SQLite database; every SQL statement
//!                          ├─▶ heygen     the API: one request per call
//!                          ├─▶ download   a URL becomes a verified file
//!                          └─▶ decide     what an answer means for a row (pure)
//! ```
//!
//! * [`video`] has the nouns, [`time`] the clock, [`config`] what flags and environment amount to, [`error`] what ends
//!   a command: no module below reads the environment, chooses an exit code or prints.
//! * [`decide`] is the state machine: row + observation + time → row, timeline, news. It does no I/O.
//! * [`store`], [`heygen`] and [`download`] never know of each other; [`pass`] puts them together. Its main thread owns
//!   the store and commits what its worker threads learnt, many facts at a time.
//! * [`locks`] are kernel locks: they end with their process, so nothing is ever left locked.
//! * [`render`] turns rows into tables, tickets, TSV, CSV and JSON; [`render::screen`] alone owns stdout and stderr.
//! * [`listen`] receives HeyGen's webhooks and [`webhook`] says which to believe (pure); acting on one is a pass.
//! * [`sandbox`] is a stand-in for HeyGen on [`http`], a small HTTP/1.1 server; the demo and every integration test
//!   run on it.
//!
//! # What holds whatever breaks
//!
//! A row is committed before the network is touched. Its POST carries an `Idempotency-Key` that was stored with it
//! and is repeated only while HeyGen remembers that key. A final file name exists only for a complete file whose
//! digest was recorded before. Two runs at once never send one row twice or write one file twice. There is no orderly
//! shutdown: the way back after a crash is the only way back, so it is the one that is always tested.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clap::error::ErrorKind;

mod bodies;
pub mod cli;
mod commands;
pub mod config;
pub mod decide;
mod disk;
mod download;
mod each;
pub mod error;
mod event;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/mod.rs"]
pub mod fuzz;
mod gallery;
pub mod heygen;
pub mod http;
mod import;
pub mod kind;
mod listen;
mod locks;
mod mcp;
mod net;
mod object;
mod pass;
pub mod render;
mod rows;
pub mod sandbox;
pub mod secret;
pub(crate) mod shell;
mod signals;
pub mod store;
pub mod time;
mod typed;
pub mod video;
pub mod webhook;
mod when;

use cli::Cli;
use commands::Context;
use config::Environment;
use error::{Exit, Problem};
use render::screen::{Screen, ScreenOptions};

/// Runs the program: the one place that prints what ended a command and chooses the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, env: Environment) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(refuse(&error, &arguments, &env) as u8),
    };
    cli.globals.color.write_global();
    let context = Context {
        screen: Arc::new(Screen::stdio(&cli.globals.screen, &env)),
        db: cli.globals.db,
        env,
    };
    // Without the handler everything still works, but for a process that dies at its limit.
    signals::outlive_file_size_limit().ok();
    let records = cli.verb.records();
    let result = cli.verb.run(&context);
    let exit = match result {
        Ok(exit) => exit,
        Err(error) => context.screen.problem(&error),
    };
    ExitCode::from(finish(&context.screen, exit, records) as u8)
}

/// What could not be written was not done. `records`: but much else was, and must not be done again.
fn finish(screen: &Screen, exit: Exit, records: bool) -> Exit {
    let Err(source) = screen.finish() else {
        return exit;
    };
    let mut error = Problem::output(&source);
    if !records {
        error.hint = None;
    }
    exit.or(screen.problem(&error))
}

/// `--help`, `--version`, or a command line that makes no sense.
fn refuse(error: &clap::Error, arguments: &[OsString], env: &Environment) -> Exit {
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    let json = arguments.iter().any(|argument| argument == "--json");
    let options = ScreenOptions {
        json: json && !asked,
        ..ScreenOptions::default()
    };
    let screen = Screen::stdio(&options, env);
    if asked {
        let text = error.render();
        screen.painted(&text.ansi().to_string());
        return finish(&screen, Exit::Ok, false);
    }
    let text = error.render().to_string();
    if json {
        let hint = "tracker --help lists the verbs, tracker help VERB what can follow one";
        return screen.problem(&Problem::usage(message(&text), hint));
    }
    // Shown as clap lays it out; its own text holds nothing but what was typed, sanitized line by line.
    for line in text.trim_end().lines() {
        screen.note(line);
    }
    Exit::Usage
}

/// What is wrong, in one line, with clap's tips.
fn message(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let lines =
        lines.take_while(|line| !line.starts_with("Usage: ") && !line.starts_with("For more"));
    let said: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let said = said.join(" ").replace(" tip: ", "; tip: ");
    said.trim_start_matches("error: ").to_owned()
}
