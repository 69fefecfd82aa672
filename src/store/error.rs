//! Why the database could not be used. Every message names the file.

use std::io;
use std::path::Path;

use nix::unistd::{AccessFlags, access};
use rusqlite::ErrorCode;

use crate::error::{Problem, code};
use crate::shell;

/// Where only a closer look tells more.
const LOOK_CLOSER: &str = "tracker doctor looks closer";
const DISK_FAILED: &str =
    "the disk failed; look with tracker list before you submit again, and with tracker doctor";

/// Whether its hint sends the reader to the doctor.
pub fn is_for_doctor(problem: &Problem) -> bool {
    let hint = problem.hint.as_deref();
    hint == Some(LOOK_CLOSER) || hint == Some(DISK_FAILED)
}

fn problem(path: &Path, before: &str, after: &str) -> Problem {
    let message = format!("{before}{}{after}", path.display());
    Problem::new(code::DATABASE, message)
}

pub(super) fn none(path: &Path) -> Problem {
    Problem {
        code: code::NO_DATABASE.into(),
        ..problem(path, "there is no database at ", "")
    }
    .with_hint("tracker submit or tracker add creates one; cron may see another environment: give --db PATH or TRACKER_DB")
}

pub(super) fn not_ours(path: &Path) -> Problem {
    problem(path, "", " is a database of another program")
        .with_hint("give another path with --db or TRACKER_DB; this file was not touched")
}

pub(super) fn newer(path: &Path, found: i64, known: i64) -> Problem {
    let which = format!(" has schema {found}, this program knows up to {known}");
    Problem {
        code: code::DATABASE_NEWER.into(),
        ..problem(path, "", &which)
    }
    .with_hint("install the newer tracker; the file was not touched")
}

pub(super) fn older(path: &Path, found: i64, known: i64) -> Problem {
    let which =
        format!(" has schema {found} and must be upgraded to {known}, but cannot be written");
    problem(path, "", &which)
        .with_hint("make the file and its directory writable once, or copy both elsewhere")
}

pub fn corrupt(path: &Path, detail: &str) -> Problem {
    let word = shell::word(&path.to_string_lossy());
    problem(path, "the database ", &format!(" is damaged: {detail}")).with_hint(format!(
        "nothing is repaired or replaced; keep a copy, then rescue what is readable: tracker --db {word} doctor --rescue {word}.rescued"
    ))
}

pub(super) fn read_only(path: &Path) -> Problem {
    problem(path, "the database ", " cannot be written")
        .with_hint("make the file and its directory writable")
}

pub(super) fn moved(path: &Path) -> Problem {
    problem(
        path,
        "the database ",
        " was moved, deleted or replaced while it was in use",
    )
    .with_hint("put it back, or give its new path with --db or TRACKER_DB")
}

pub(super) fn open(path: &Path, source: &io::Error) -> Problem {
    problem(path, "cannot open the database ", &format!(": {source}"))
        .with_hint("check the path and its permissions")
}

/// Why the system lets this user not write the file or beside it. Asked instead of tried: closing a file that SQLite
/// has open frees its locks.
pub(super) fn refusal(path: &Path) -> Option<io::Error> {
    let beside = path.parent().unwrap_or(path);
    let file = access(path, AccessFlags::R_OK | AccessFlags::W_OK);
    let both = file.and_then(|()| access(beside, AccessFlags::W_OK | AccessFlags::X_OK));
    both.err().map(io::Error::from)
}

pub(super) fn linked(path: &Path, names: u64) -> Problem {
    let what = format!(
        " has {names} names (hard links), so programs that use another one would not see what this one does"
    );
    problem(path, "the database ", &what)
        .with_hint("keep one name: copy it (cp) and remove the others")
}

/// A setting did not take: this build of SQLite is not what the program needs.
pub(super) fn pragma(path: &Path, name: &str) -> Problem {
    let what = format!(" does not accept the setting {name}");
    problem(path, "the database ", &what).with_hint(LOOK_CLOSER)
}

pub(super) fn sqlite(path: &Path, source: &rusqlite::Error) -> Problem {
    let extended = source.sqlite_error().map(|error| error.extended_code);
    let full = || Problem {
        code: code::DISK_FULL.into(),
        ..problem(path, "no room left for the database ", "")
            .with_hint("free some room and run it again; nothing is lost")
    };
    let result = source.sqlite_error_code();
    if result == Some(ErrorCode::CannotOpen)
        && let Some(why) = refusal(path)
    {
        return open(path, &why)
            .with_hint("this user must be able to read it, and for more than looking to write it and its directory");
    }
    match result {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            corrupt(path, &source.to_string())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            problem(path, "the database ", " is locked by another process").with_hint(
                "another program holds it open for writing; nothing was changed, try again",
            )
        }
        Some(ErrorCode::DiskFull) => full(),
        // The shared-memory file cannot be made longer: SQLite's word for a full disk when it opens the log.
        _ if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => full(),
        Some(ErrorCode::ReadOnly) => read_only(path),
        _ => Problem {
            one_row: is_one_rows(result, source),
            ..problem(path, "the database ", &format!(" failed: {source}"))
        }
        .with_hint(if result == Some(ErrorCode::SystemIoFailure) {
            // A commit whose fsync failed is undone for us, and still there for whoever opens the log after us.
            DISK_FAILED
        } else {
            LOOK_CLOSER
        }),
    }
}

/// What is wrong with a value, without SQLite's index of it.
pub(super) fn in_words(source: &rusqlite::Error) -> String {
    use rusqlite::Error as E;
    match source {
        E::InvalidColumnType(_, name, kind) => {
            format!("{name} holds something that it cannot hold ({kind})")
        }
        E::FromSqlConversionFailure(_, _, cause) => cause.to_string(),
        E::Utf8Error(_, cause) => format!("text that is not UTF-8: {cause}"),
        other => other.to_string(),
    }
}

/// A value that cannot be stored, or one that was stored by somebody else and cannot be read.
pub(super) fn is_one_rows(code: Option<ErrorCode>, source: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    match code {
        Some(code) => matches!(
            code,
            ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig
        ),
        None => matches!(
            source,
            E::FromSqlConversionFailure(..)
                | E::IntegralValueOutOfRange(..)
                | E::InvalidColumnType(..)
                | E::ToSqlConversionFailure(_)
                | E::Utf8Error(..)
                | E::StatementChangedRows(_)
        ),
    }
}
