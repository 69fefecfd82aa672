//! What a failed download means for whoever asked for it, and what there is to say about it.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::error::{Problem, code};

/// Why there is no verified file under the final name, by what is to be done about it.
///
/// Whatever part file survives is what the [`Ledger`](super::Ledger) heard of last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DownloadError {
    /// The host does not serve this URL (4xx): it has expired, or is not ready yet. A fresh one may work.
    Refresh(Problem),
    /// The same URL may work in a moment; a host's wish to be left alone is bounded by an hour.
    Retry {
        after: Option<Duration>,
        problem: Problem,
    },
    /// Nothing to be done in this run.
    GiveUp(Problem),
    /// No room (`ENOSPC`, `EDQUOT`): nor has any other file.
    Full(Problem),
    /// A signal: what is here is recorded.
    Stopped,
    /// What must be durable could not be recorded.
    Ledger,
}

/// The ledger failed; it knows why, this module does not need to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the download could not be recorded")]
pub(crate) struct LedgerError;

impl From<LedgerError> for DownloadError {
    fn from(_: LedgerError) -> Self {
        Self::Ledger
    }
}

impl fmt::Display for DownloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refresh(problem) | Self::GiveUp(problem) | Self::Full(problem) => {
                &problem.message
            }
            Self::Retry { problem, .. } => &problem.message,
            Self::Stopped => "the download was interrupted",
            Self::Ledger => "the download could not be recorded",
        })
    }
}

impl DownloadError {
    /// The machine-readable code of the error envelope.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Refresh(problem) | Self::GiveUp(problem) | Self::Full(problem) => &problem.code,
            Self::Retry { problem, .. } => &problem.code,
            Self::Stopped => "network_error",
            Self::Ledger => code::DATABASE,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Retry { after, .. } => *after,
            _ => None,
        }
    }

    /// `from` answered with something that is not the file, or not provably all of it.
    pub(super) fn content(from: &str, what: impl fmt::Display) -> Self {
        Self::GiveUp(Problem::new("download_failed", format!("{from} {what}")))
    }

    pub(super) fn bad_url(url: &str, why: impl fmt::Display) -> Self {
        Self::GiveUp(Problem::new("download_failed", format!("{url}: {why}")))
    }

    /// 4xx.
    pub(super) fn refused(from: &str, status: u16) -> Self {
        let message = format!("{from} refused the file (HTTP {status})");
        Self::Refresh(Problem::new("download_failed", message))
    }

    pub(super) fn retry(code: &'static str, from: &str, why: impl fmt::Display) -> Self {
        Self::Retry {
            after: None,
            problem: Problem::new(code, format!("{from}: {why}")),
        }
    }

    /// A status that speaks of the server's condition (5xx, 408, 425, 429).
    pub(super) fn busy(from: &str, status: u16, after: Option<Duration>) -> Self {
        Self::Retry {
            after,
            problem: Problem::new("download_failed", format!("{from}: HTTP {status}")),
        }
    }

    /// The final name is in use; what is there was not touched.
    pub(super) fn taken(path: &Path) -> Self {
        let what = match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => "exists and is not a regular file",
            _ => "exists with other content",
        };
        Self::GiveUp(Problem::new(
            "file_exists",
            format!("{} {what}", path.display()),
        ))
    }

    /// Another program was at the part file.
    pub(super) fn meddled(part: &Path) -> Self {
        Self::GiveUp(Problem::new(
            code::FILE,
            format!(
                "another program replaced or changed {} during the download; it starts over",
                part.display()
            ),
        ))
    }

    /// Its files would land below the mount point.
    pub(crate) fn unmounted(point: &Path) -> Self {
        let message = format!("no disk is mounted at {}", point.display());
        let hint = "mount it; or move the row with tracker download ID --output-dir DIR";
        Self::GiveUp(Problem::new(code::FILE, message).with_hint(hint))
    }

    /// Larger than `--max-size` allows.
    pub(super) fn too_large(from: &str, max: u64) -> Self {
        let message = format!("{from} sent more than the {max} bytes that --max-size allows");
        let hint = "if the file is that large, give a larger --max-size";
        Self::GiveUp(Problem::new("download_failed", message).with_hint(hint))
    }

    /// For `map_err`: what was tried on which path.
    pub(super) fn disk(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            let message = format!("cannot {op} {}: {source}", path.display());
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Self::Full(Problem::new(code::DISK_FULL, message))
                }
                _ => Self::GiveUp(Problem::new(code::FILE, message)),
            }
        }
    }

    /// An error of ureq's, whose texts name no URL but for two kinds.
    pub(super) fn network(error: &ureq::Error, from: &str) -> Self {
        match error {
            ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => {
                Self::bad_url(from, "not a valid URL")
            }
            ureq::Error::Timeout(which) => {
                Self::retry("timeout", from, format_args!("timed out ({which})"))
            }
            other => Self::retry("network_error", from, other),
        }
    }

    /// A body that comes, but in drops.
    pub(super) fn too_slow(from: &str) -> Self {
        Self::network(&ureq::Error::Timeout(ureq::Timeout::RecvBody), from)
    }

    /// A body that stopped when `got` bytes of the whole file were here.
    pub(super) fn cut_short(got: u64, of: Option<u64>, from: &str) -> Self {
        let of = of.map_or("an unannounced number of".to_owned(), |of| of.to_string());
        let why = format_args!("the connection ended after {got} of {of} bytes");
        Self::retry("network_error", from, why)
    }
}

/// Scheme, host and path of a URL: what may be shown. A presigned URL's signature is in its query.
///
/// Drops user name, query and fragment; replaces control characters, and cuts what is too long.
pub(super) fn shown(url: &str) -> String {
    const MAX_CHARS: usize = 120;
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
    let plain = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    let mut text: String = bare.chars().take(MAX_CHARS).map(plain).collect();
    if text.len() < bare.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_never_has_its_signature() {
        for (url, expected) in [
            ("https://h/p/v.mp4?X-Amz-Signature=s", "https://h/p/v.mp4"),
            ("https://h?sig=s", "https://h"),
            ("https://h/p#sig", "https://h/p"),
            ("https://user:secret@h/p", "https://h/p"),
            ("data:text/plain,secret", "data"),
            ("https://h/\u{1b}[2J", "https://h/?[2J"),
        ] {
            assert_eq!(shown(url), expected);
        }
        let long = shown(&format!("https://h/{}", "é".repeat(1000)));
        assert_eq!(long.chars().count(), 121);
    }

    #[test]
    fn a_full_disk_has_its_own_code() {
        let disk = |kind: io::ErrorKind| DownloadError::disk("write", Path::new("x"))(kind.into());
        assert_eq!(disk(io::ErrorKind::StorageFull).code(), "disk_full");
        assert_eq!(disk(io::ErrorKind::QuotaExceeded).code(), "disk_full");
        assert_eq!(disk(io::ErrorKind::PermissionDenied).code(), "file_error");
    }
}
