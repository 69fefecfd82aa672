//! What can go wrong with a download, in the words its caller acts on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no verified file under the final name.
///
/// Whatever part file survives is what the [`Ledger`](super::Ledger) was told last.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The host will not serve this URL (4xx): it has expired, or is not ready yet. A fresh one may work.
    #[error("{from} refused the file (HTTP {status})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Who answered.
        from: Place,
    },
    /// May work later with the same URL.
    #[error("{from}: {why}")]
    Transient {
        /// What happened.
        why: Trouble,
        /// How long the host asked us to wait, at most an hour.
        retry_after: Option<Duration>,
        /// Who answered, or did not.
        from: Place,
    },
    /// What was served is not the file, or cannot be proven to be all of it.
    #[error("{from} {why}")]
    BadContent {
        /// What is wrong with it.
        why: BadContent,
        /// Who sent it.
        from: Place,
    },
    /// The URL, or a redirect from it, leads where files are not fetched from.
    #[error("{url}: {why}")]
    BadUrl {
        /// What is wrong with it.
        why: BadUrl,
        /// The offending URL without its query.
        url: Place,
    },
    /// The final name is in use; what is there was not touched.
    #[error("{} {why}", path.display())]
    TargetTaken {
        /// The final path.
        path: PathBuf,
        /// What is there.
        why: Occupant,
    },
    /// The disk, or the directory, would not have it.
    #[error("cannot {op} {}: {source}", path.display())]
    Disk {
        /// What was tried, as a verb.
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The ledger could not write down what must be durable before going on.
    #[error("the download could not be recorded")]
    Ledger,
}

/// The ledger failed; it knows why, this module does not need to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the download could not be recorded")]
pub struct LedgerError;

impl From<LedgerError> for DownloadError {
    fn from(_: LedgerError) -> Self {
        Self::Ledger
    }
}

/// Trouble that may be over the next time.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nothing came within the time allowed: no connection, no complete headers, or a body that stood still.
    #[error("timed out ({0})")]
    TimedOut(ureq::Timeout),
    /// The body ended early.
    #[error("the connection ended after {got} of {} bytes", Announced(*.of))]
    CutShort {
        /// Bytes of the whole file present by then.
        got: u64,
        /// Bytes announced, where they were.
        of: Option<u64>,
    },
    /// A status that speaks of the server's condition (5xx, 408, 425, 429).
    #[error("HTTP {0}")]
    Status(u16),
    /// No connection, no TLS, or no HTTP.
    #[error("{0}")]
    Network(ureq::Error),
}

struct Announced(Option<u64>);

impl fmt::Display for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => bytes.fmt(f),
            None => f.write_str("an unannounced number of"),
        }
    }
}

/// Why a body is not taken for the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadContent {
    /// An HTML, XML or JSON page.
    #[error("sent a page instead of the file")]
    Page,
    /// No bytes at all.
    #[error("sent an empty file")]
    Empty,
    /// More bytes than announced.
    #[error("sent more bytes than it announced")]
    Longer,
    /// Neither a length nor a chunked terminator: its end cannot be told from a cut connection.
    #[error("sent a file whose end cannot be proven")]
    EndUnknown,
    /// Contradictory or unreadable `Content-Length` and `Transfer-Encoding`.
    #[error("sent contradictory lengths")]
    Lengths,
    /// Compressed although `identity` was asked for.
    #[error("sent a compressed file although that was not asked for")]
    Encoded,
    /// A status that does not answer the question (a 206 to a plain request, a 204).
    #[error("answered out of turn (HTTP {0})")]
    Status(u16),
}

/// Why a URL is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Not an absolute URL.
    #[error("not a valid URL")]
    Malformed,
    /// Neither https nor permitted loopback http.
    #[error("refused, only https is fetched from")]
    Scheme,
    /// A user name in the URL would be sent as `Authorization`.
    #[error("refused, it contains a user name")]
    UserInfo,
    /// Redirected once too often.
    #[error("redirected more than {} times", super::client::MAX_REDIRECTS)]
    TooManyRedirects,
}

/// What is in the way under a final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Occupant {
    /// A regular file with other content.
    #[error("exists with other content")]
    OtherFile,
    /// A directory, symbolic link, FIFO, socket or device.
    #[error("exists and is not a regular file")]
    NotAFile,
}

/// Scheme, host and path of a URL: what may be shown. A presigned URL's signature is in its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// Longest form shown, in characters.
    const MAX_CHARS: usize = 120;

    /// Drops user name, query and fragment; control characters and over-length become harmless.
    pub(super) fn of(url: &str) -> Self {
        let bare = url.split(['?', '#']).next().unwrap_or_default();
        let bare = match bare.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let host = authority.rsplit('@').next().unwrap_or_default();
                format!("{scheme}://{host}{path}")
            }
            // `data:` carries its content where others have a path.
            None => bare.split(':').next().unwrap_or_default().to_owned(),
        };
        let shown = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        let mut text: String = bare.chars().take(Self::MAX_CHARS).map(shown).collect();
        if text.len() < bare.len() {
            text.push('…');
        }
        Self(text)
    }

    /// The same, and how it was tried to get there.
    pub(super) fn by(self, route: Option<String>) -> Self {
        Self(self.0 + route.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DownloadError {
    /// The machine-readable code of the error envelope.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } | Self::BadContent { .. } | Self::BadUrl { .. } => {
                "download_failed"
            }
            Self::Transient { why, .. } => match why {
                Trouble::TimedOut(_) => "timeout",
                Trouble::Status(_) => "download_failed",
                Trouble::CutShort { .. } | Trouble::Network(_) => "network_error",
            },
            Self::TargetTaken { .. } => "file_exists",
            Self::Disk { .. } if self.is_full() => "disk_full",
            Self::Disk { .. } => "file_error",
            Self::Ledger => "database_error",
        }
    }

    /// Whether there is no room (`ENOSPC`, `EDQUOT`): trying again at once is pointless.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ))
    }

    /// How long the host asked us to wait, at most an hour.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Transient { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// For `map_err`: what was tried on which path.
    pub(super) fn disk(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { op, path, source }
    }

    /// An error of ureq's, whose texts name no URL but for two kinds.
    pub(super) fn network(error: ureq::Error, from: &Place) -> Self {
        let why = match error {
            ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => {
                return Self::BadUrl {
                    why: BadUrl::Malformed,
                    url: from.clone(),
                };
            }
            ureq::Error::Timeout(which) => Trouble::TimedOut(which),
            other => Trouble::Network(other),
        };
        Self::Transient {
            why,
            retry_after: None,
            from: from.clone(),
        }
    }

    /// A body that comes, but in drops.
    pub(super) fn too_slow(from: &Place) -> Self {
        Self::Transient {
            why: Trouble::TimedOut(ureq::Timeout::RecvBody),
            retry_after: None,
            from: from.clone(),
        }
    }

    /// A body that stopped when `got` bytes of the whole file were here.
    pub(super) fn cut_short(got: u64, of: Option<u64>, from: &Place) -> Self {
        Self::Transient {
            why: Trouble::CutShort { got, of },
            retry_after: None,
            from: from.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_never_shows_a_signature() {
        for (url, shown) in [
            ("https://h/p/v.mp4?X-Amz-Signature=s", "https://h/p/v.mp4"),
            ("https://h?sig=s", "https://h"),
            ("https://h/p#sig", "https://h/p"),
            ("https://user:secret@h/p", "https://h/p"),
            ("data:text/plain,secret", "data"),
            ("https://h/\u{1b}[2J", "https://h/?[2J"),
        ] {
            assert_eq!(Place::of(url).to_string(), shown);
        }
        let long = Place::of(&format!("https://h/{}", "é".repeat(1000))).to_string();
        assert_eq!(long.chars().count(), Place::MAX_CHARS + 1);
    }

    #[test]
    fn a_full_disk_has_its_own_code() {
        let disk = |kind: io::ErrorKind| DownloadError::disk("write", Path::new("x"))(kind.into());
        assert_eq!(disk(io::ErrorKind::StorageFull).code(), "disk_full");
        assert_eq!(disk(io::ErrorKind::QuotaExceeded).code(), "disk_full");
        assert_eq!(disk(io::ErrorKind::PermissionDenied).code(), "file_error");
    }
}
