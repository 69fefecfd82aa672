//! What ends a command early: a message, a hint that works, a code from a closed list, an exit code.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{KeyError, SecretError};
use crate::heygen::{ApiError, BaseUrlError};
use crate::store::StoreError;
use crate::video::{RowId, VideoId};

/// The process's exit code; the meanings of 0 to 4 are the official client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Trouble => 1,
            Self::Usage => 2,
            Self::Auth => 3,
            Self::Timeout => 4,
            Self::BadEnd => 5,
        }
    }
}

/// Why a command could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line makes no sense.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A request body cannot be sent as it is.
    #[error("{place}: {why}")]
    InvalidBody {
        /// Where it stands: file, line or array index.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// Neither a place for the database is given nor a home directory to derive it from.
    #[error("cannot tell where the database is: HOME is not set")]
    NoHome,
    /// No row has this ID.
    #[error("no video {0:?} here")]
    NotFound(String),
    /// Several rows have this prefix.
    #[error("{id:?} could be any of {}", list(matches))]
    Ambiguous {
        /// What was typed.
        id: String,
        /// Some of the rows that match.
        matches: Vec<(RowId, VideoId)>,
    },
    /// Another process sends a row or saves its files.
    #[error("video {0} is being worked on by another tracker")]
    InUse(RowId),
    /// No usable API key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No usable webhook secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nobody can be listened to at this address.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// `HEYGEN_API_BASE` cannot be used.
    #[error("HEYGEN_API_BASE: {0}")]
    BaseUrl(#[from] BaseUrlError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// HeyGen refused or could not be reached.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A file or directory cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as in "cannot read".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// stdout cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// Something the operating system does for every program failed (threads, signals, ports).
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
}

fn list(matches: &[(RowId, VideoId)]) -> String {
    let shown: Vec<String> = matches
        .iter()
        .take(5)
        .map(|(row, id)| format!("{row} ({id})"))
        .collect();
    let more = if matches.len() > 5 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

impl Error {
    /// A usage error with a hint.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// The machine-readable code; see the README for the closed list.
    pub fn code(&self) -> &str {
        match self {
            Self::Usage { .. } | Self::NoHome | Self::BaseUrl(_) => "usage_error",
            Self::InvalidBody { .. } => "invalid_body",
            Self::NotFound(_) => "not_found",
            Self::Ambiguous { .. } => "ambiguous_id",
            Self::InUse(_) => "database_error",
            Self::Key(_) | Self::Secret(_) => "auth_error",
            Self::Store(error) => match error {
                StoreError::NoDatabase { .. } => "no_database",
                StoreError::Newer { .. } => "database_newer",
                StoreError::Full { .. } => "disk_full",
                StoreError::NotOurs { .. }
                | StoreError::Older { .. }
                | StoreError::Corrupt { .. }
                | StoreError::Busy { .. }
                | StoreError::ReadOnly { .. }
                | StoreError::Moved { .. }
                | StoreError::Lock { .. }
                | StoreError::Io { .. }
                | StoreError::Pragma { .. }
                | StoreError::Sqlite { .. } => "database_error",
            },
            Self::Api(error) => &error.code,
            Self::File { source, .. } | Self::Output(source)
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                "disk_full"
            }
            Self::File { .. } | Self::Output(_) | Self::System { .. } | Self::Bind { .. } => {
                "file_error"
            }
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Usage { hint, .. } => return hint.clone(),
            Self::InvalidBody { .. } => "nothing was recorded or sent; mend it and run it again",
            Self::NoHome => {
                "name the database with --db PATH or TRACKER_DB (cron has few variables)"
            }
            Self::NotFound(_) => {
                "tracker list shows what is tracked; tracker add ID tracks a video made elsewhere"
            }
            Self::Ambiguous { .. } => "use the local number",
            Self::InUse(_) => "nothing was changed; try again when it is done",
            Self::Key(error) => return Some(error.hint()),
            Self::Secret(error) => return Some(error.hint()),
            Self::Bind { .. } => {
                "is another listen running? choose a free address of this machine with --addr"
            }
            Self::BaseUrl(_) => {
                "https, or http to this machine; unset it to use https://api.heygen.com"
            }
            Self::Store(error) => return store_hint(error),
            Self::Api(error) => return api_hint(error),
            Self::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some room and run it again; nothing is lost"
            }
            // Whoever runs a submit again because of it buys twice.
            Self::Output(_) => {
                "only the output is incomplete; do not submit again: tracker list has all of it"
            }
            Self::File { .. } => "check the path and its permissions",
            Self::System { .. } => return None,
        };
        Some(text.to_owned())
    }

    /// HeyGen's name for the request, if there was one.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Api(error) => error.request_id.as_deref(),
            _ => None,
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::InvalidBody { .. } | Self::NoHome | Self::BaseUrl(_) => {
                Exit::Usage
            }
            Self::Key(_) | Self::Secret(_) => Exit::Auth,
            Self::Api(error) if matches!(error.http_status(), Some(401 | 403)) => Exit::Auth,
            Self::NotFound(_)
            | Self::Ambiguous { .. }
            | Self::InUse(_)
            | Self::Store(_)
            | Self::Api(_)
            | Self::File { .. }
            | Self::Output(_)
            | Self::System { .. }
            | Self::Bind { .. } => Exit::Trouble,
        }
    }
}

fn store_hint(error: &StoreError) -> Option<String> {
    let hint = match error {
        StoreError::NoDatabase { .. } => {
            "tracker submit or tracker add creates one; cron may see another environment: give --db PATH or TRACKER_DB"
        }
        StoreError::NotOurs { .. } => {
            "give another path with --db or TRACKER_DB; this file was not touched"
        }
        StoreError::Newer { .. } => "install the newer tracker; the file was not touched",
        StoreError::Older { .. } => {
            "make the file and its directory writable once, or copy both elsewhere"
        }
        StoreError::Corrupt { path, .. } => {
            return Some(format!(
                "it was not touched; keep a copy, then rescue what is readable: sqlite3 {0} .recover | sqlite3 {0}.rescued",
                shell_word(&path.to_string_lossy())
            ));
        }
        StoreError::Busy { .. } => {
            "another program holds it open for writing; nothing was changed, try again"
        }
        StoreError::Full { .. } => "free some room and run it again; nothing is lost",
        StoreError::ReadOnly { .. } => "make the file and its directory writable",
        StoreError::Moved { .. } => "put it back, or give its new path with --db or TRACKER_DB",
        StoreError::Lock { .. } | StoreError::Io { .. } => "check the path and its permissions",
        StoreError::Pragma { .. } | StoreError::Sqlite { .. } => "tracker doctor looks closer",
    };
    Some(hint.to_owned())
}

/// What to do about a refusal or failure of HeyGen's.
pub fn api_hint(error: &ApiError) -> Option<String> {
    let hint = match error.http_status() {
        None => "check the connection; the next check carries on",
        Some(401) => "check the key: tracker doctor tells which one is used",
        Some(402) => "add credit at app.heygen.com; the next check sends what waits",
        Some(403) => "the key may not do this: check its workspace and plan",
        Some(404) => "not there for this key: another workspace? see --db and HEYGEN_API_KEY_FILE",
        Some(429) => "HeyGen asks to wait; the next check carries on",
        Some(500..) => "trouble at HeyGen; the next check carries on",
        Some(_) => return None,
    };
    Some(hint.to_owned())
}

/// A word as a shell takes it literally.
pub fn shell_word(text: &str) -> String {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&b));
    if plain {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
