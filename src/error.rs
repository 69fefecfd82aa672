//! What ends a command early: a message, a hint that works, a code from a closed list, an exit code.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;

use crate::video::{RowId, VideoId};

/// The process's exit code; the meanings of 0 to 4 are the official client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Ok,
    /// Something could not be done now.
    Trouble,
    /// The command line or a body is wrong.
    Usage,
    /// No key, or HeyGen refuses it.
    Auth,
    /// `--wait` ran out of time.
    Timeout,
    /// With `--wait` or `--exit-status`: a video ended badly.
    BadEnd,
}

impl Exit {
    /// What failed first decides.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self == Self::Ok { other } else { self }
    }
}

/// The codes of the program itself; HeyGen has more.
pub mod code {
    pub const USAGE: &str = "usage_error";
    pub const INVALID_BODY: &str = "invalid_body";
    pub const AUTH: &str = "auth_error";
    pub const NOT_FOUND: &str = "not_found";
    pub const DATABASE: &str = "database_error";
    pub const AMBIGUOUS_ID: &str = "ambiguous_id";
    pub const FILE: &str = "file_error";
    pub const FILE_EXISTS: &str = "file_exists";
    pub const DOWNLOAD_FAILED: &str = "download_failed";
    pub const OTHER_KEY: &str = "other_key";
    pub const CLOCK_SKEW: &str = "clock_skew";
    pub const DISK_FULL: &str = "disk_full";
    pub const SUBMIT_UNKNOWN: &str = "submit_unknown";
    pub const CAP_REACHED: &str = "cap_reached";
    pub const NO_CREDIT: &str = "insufficient_credit";
    pub const NO_DATABASE: &str = "no_database";
    pub const DATABASE_NEWER: &str = "database_newer";
    pub const INTERNAL: &str = "internal_error";
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Machine-readable; see docs/output.md for the closed list.
    pub code: Cow<'static, str>,
    pub message: String,
    pub hint: Option<String>,
    /// HeyGen's name for the request, if there was one.
    pub request_id: Option<String>,
    #[serde(skip)]
    pub exit: Exit,
    /// Only one row of the database is to blame: the others can go on.
    #[serde(skip)]
    pub one_row: bool,
}

pub(crate) type Result<T, E = Problem> = std::result::Result<T, E>;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            hint: None,
            request_id: None,
            exit: Exit::Trouble,
            one_row: false,
        }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::misuse(message).with_hint(hint)
    }

    /// The command line makes no sense, and the message says all there is to say.
    pub fn misuse(message: impl Into<String>) -> Self {
        Self::new(code::USAGE, message).with_exit(Exit::Usage)
    }

    /// A request body cannot be sent as it is; `place` is a file, line or array index.
    pub fn invalid_body(place: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::new(code::INVALID_BODY, format!("{place}: {why}"))
            .with_hint("nothing was recorded or sent; fix it and run it again")
            .with_exit(Exit::Usage)
    }

    pub fn auth(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(code::AUTH, message)
            .with_hint(hint)
            .with_exit(Exit::Auth)
    }

    pub fn not_found(id: impl fmt::Display) -> Self {
        let message = format!("no video {:?} here", id.to_string());
        Self::new(code::NOT_FOUND, message).with_hint(
            "tracker list shows what is tracked; tracker add ID tracks a video made elsewhere",
        )
    }

    pub fn ambiguous(id: &str, matches: &[(RowId, VideoId)]) -> Self {
        let shown = matches.iter().map(|(row, id)| format!("{row} ({id})"));
        let shown = shown.take(5).collect::<Vec<_>>().join(", ");
        let more = if matches.len() > 5 { ", …" } else { "" };
        let message = format!("{id:?} could be any of {shown}{more}");
        Self::new(code::AMBIGUOUS_ID, message).with_hint("use the local number")
    }

    pub fn panicked() -> Self {
        let message = "a part of this program failed in a way that it should not";
        Self::new(code::INTERNAL, message)
            .with_hint("what is recorded stays, do not submit it again: the next check carries on")
    }

    /// Another process sends a row or saves its files.
    pub fn in_use(row: RowId) -> Self {
        let message = format!("video {row} is being worked on by another tracker");
        Self::new(code::DATABASE, message)
            .with_hint("nothing was changed; try again when it is done")
    }

    /// A row that nobody can submit again from here.
    pub fn unknown_body(row: RowId) -> Self {
        let message = format!("{row} was made elsewhere, so its body is not known here");
        Self::usage(message, "submit its body: tracker submit BODY.json")
    }

    pub fn lock(path: &Path, source: &io::Error) -> Self {
        let message = format!("the lock file {} cannot be used: {source}", path.display());
        Self::new(code::DATABASE, message).with_hint("check the path and its permissions")
    }

    pub fn bind(address: SocketAddr, source: &io::Error) -> Self {
        Self::new(code::FILE, format!("cannot listen on {address}: {source}")).with_hint(
            "is another listen running? choose a free address of this machine with --addr",
        )
    }

    /// A file or directory cannot be used; `action` as in "cannot read".
    pub fn file(action: &str, path: &Path, source: &io::Error) -> Self {
        let message = format!("cannot {action} {}: {source}", path.display());
        let problem = Self::io(message, source);
        let hint = match problem.code.as_ref() {
            code::DISK_FULL => "free some room and run it again; nothing is lost",
            _ => "check the path and its permissions",
        };
        problem.with_hint(hint)
    }

    pub fn output(source: &io::Error) -> Self {
        // Whoever runs a submit again because of it submits twice.
        Self::io(format!("cannot write the output: {source}"), source).with_hint(
            "only the output is incomplete; do not submit again: tracker list has all of it",
        )
    }

    /// Something the operating system does for every program failed (threads, signals, ports).
    pub fn system(action: &str, source: &io::Error) -> Self {
        Self::new(code::FILE, format!("cannot {action}: {source}"))
    }

    fn io(message: String, source: &io::Error) -> Self {
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        Self::new(if full { code::DISK_FULL } else { code::FILE }, message)
    }
}
