//! What a failed download means for whoever asked for it, and what there is to say about it.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::error::{Problem, code};

/// Why there is no verified file under the final name.
///
/// Whatever part file survives is what the [`Ledger`](super::Ledger) heard of last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DownloadError {
    pub(crate) next: Next,
    pub(crate) problem: Problem,
}

pub(crate) type DownloadResult<T> = Result<T, DownloadError>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The host does not serve this URL (4xx): it has expired, or is not ready yet. A fresh one may work.
    Refresh,
    /// The same URL may work in a moment; a host's wish to be left alone is bounded by an hour.
    Retry(Option<Duration>),
    /// Nothing in this run: what the host serves is of no use.
    Refused,
    /// Nothing in this run: it is not the host's fault.
    GiveUp,
    /// A signal: what is here is recorded.
    Stop,
    /// What must be durable could not be recorded; the ledger knows why.
    Unrecorded,
}

const FAILED: &str = code::DOWNLOAD_FAILED;
const NETWORK: &str = "network_error";

impl DownloadError {
    fn new(next: Next, code: &'static str, message: impl Into<String>) -> Self {
        let problem = Problem::new(code, message);
        Self { next, problem }
    }

    fn with_hint(mut self, hint: &str) -> Self {
        self.problem.hint = Some(hint.into());
        self
    }

    pub(super) fn stopped() -> Self {
        Self::new(Next::Stop, NETWORK, "the download was interrupted")
    }

    pub(crate) fn unrecorded() -> Self {
        let message = "the download could not be recorded";
        Self::new(Next::Unrecorded, code::DATABASE, message)
    }

    /// `from` answered with something that is not the file, or not provably all of it.
    pub(super) fn content(from: &str, what: impl Display) -> Self {
        Self::new(Next::Refused, FAILED, format!("{from} {what}"))
    }

    pub(super) fn bad_url(url: &str, why: impl Display) -> Self {
        Self::new(Next::Refused, FAILED, format!("{url}: {why}"))
    }

    pub(super) fn refused(from: &str, status: u16) -> Self {
        let message = format!("{from} refused the file (HTTP {status})");
        Self::new(Next::Refresh, FAILED, message)
    }

    /// A proxy or a host mixes up its connections. What it does again and again is a refusal.
    pub(super) fn mixed_up(from: &str) -> Self {
        let message = format!("{from}: the answer belongs to another file");
        Self::new(Next::Refresh, NETWORK, message)
    }

    /// A status that speaks of the server's condition (5xx, 408, 425, 429).
    pub(super) fn busy(from: &str, status: u16, after: Option<Duration>) -> Self {
        Self::new(Next::Retry(after), FAILED, format!("{from}: HTTP {status}"))
    }

    pub(super) fn retry(code: &'static str, from: &str, why: impl Display) -> Self {
        Self::new(Next::Retry(None), code, format!("{from}: {why}"))
    }

    pub(super) fn taken(path: &Path) -> Self {
        let what = match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => "exists and is not a regular file",
            _ => "exists with other content",
        };
        let message = format!("{} {what}", path.display());
        Self::new(Next::GiveUp, code::FILE_EXISTS, message)
    }

    pub(super) fn meddled(part: &Path) -> Self {
        let part = part.display();
        let message = format!(
            "another program replaced or changed {part} during the download; it starts over"
        );
        Self::new(Next::GiveUp, code::FILE, message)
    }

    /// Its files would land below the mount point.
    pub(crate) fn unmounted(point: &Path) -> Self {
        let message = format!("no disk is mounted at {}", point.display());
        Self::new(Next::GiveUp, code::FILE, message)
            .with_hint("mount it; or move the row with tracker download ID --output-dir DIR")
    }

    pub(super) fn too_large(from: &str, max: u64) -> Self {
        let message = format!("{from} sent more than the {max} bytes that --max-size allows");
        Self::new(Next::Refused, FAILED, message)
            .with_hint("if the file is that large, give a larger --max-size")
    }

    pub(super) fn disk(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self {
            next: Next::GiveUp,
            problem: Problem::file(op, &path, &source),
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
            other => Self::retry(NETWORK, from, other),
        }
    }

    pub(super) fn cut_short(got: u64, of: Option<u64>, from: &str) -> Self {
        let of = of.map_or("an unannounced number of".to_owned(), |of| of.to_string());
        let why = format_args!("the connection ended after {got} of {of} bytes");
        Self::retry(NETWORK, from, why)
    }
}

/// Scheme, host and path of a URL: what may be shown. A presigned URL's signature is in its query.
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
        assert_eq!(disk(io::ErrorKind::StorageFull).problem.code, "disk_full");
        assert_eq!(disk(io::ErrorKind::QuotaExceeded).problem.code, "disk_full");
        assert_eq!(
            disk(io::ErrorKind::PermissionDenied).problem.code,
            "file_error"
        );
    }
}
