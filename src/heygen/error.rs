//! What can go wrong with a request, told apart by what it means for a purchase.

use std::time::Duration;

/// A request that did not bring what was asked for. No part of it holds the API key or a signed query string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub kind: ErrorKind,
    /// The answer is HeyGen's error envelope. Without it a status is whoever's stands between.
    pub own_word: bool,
    /// One of ours (`auth_error`, `timeout`, …), else HeyGen's own, else `http_STATUS`.
    pub code: String,
    /// For a person: HeyGen's own words if there are any. At most 4 KiB; may hold control characters.
    pub message: String,
    pub request_id: Option<String>,
    /// How long HeyGen asks us to stay away, at most [`LONGEST_WAIT`](crate::time::LONGEST_WAIT).
    pub retry_after: Option<Duration>,
    /// The beginning of an answer with a 2xx status that could not be used, at most 1 KiB.
    pub excerpt: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No request was made: the run asks HeyGen nothing more, or it was not the moment for this one.
    NotAsked,
    /// The connection was never established (DNS, refused, connect time-out, TLS): not one byte of the request went out.
    NotSent,
    /// Something went out and no complete answer came back.
    NoAnswer,
    /// An HTTP status other than 2xx; redirects included, they are never followed.
    Status(u16),
    BadResponse(u16),
}

impl ApiError {
    pub fn http_status(&self) -> Option<u16> {
        match self.kind {
            ErrorKind::Status(status) | ErrorKind::BadResponse(status) => Some(status),
            ErrorKind::NotAsked | ErrorKind::NotSent | ErrorKind::NoAnswer => None,
        }
    }

    pub(super) fn new(kind: ErrorKind, code: impl Into<String>, message: String) -> Self {
        Self {
            kind,
            own_word: false,
            code: code.into(),
            message,
            request_id: None,
            retry_after: None,
            excerpt: None,
        }
    }

    pub(crate) fn not_asked() -> Self {
        let message = "this run asks HeyGen nothing more";
        Self::new(ErrorKind::NotAsked, "auth_error", message.to_owned())
    }

    #[cfg(test)]
    pub(crate) fn with_kind(kind: ErrorKind) -> Self {
        Self {
            own_word: true,
            ..Self::new(kind, "code", "message".to_owned())
        }
    }
}

/// The code of an answer with this status, `sent` being the one in its error envelope.
///
/// Some statuses have one meaning whatever the envelope calls it (401 comes with two codes).
pub(super) fn status_code(status: u16, sent: Option<&str>, own_word: bool) -> String {
    match status {
        401 => "auth_error".to_owned(),
        402 if own_word => "insufficient_credit".to_owned(),
        404 if own_word => "not_found".to_owned(),
        429 => "rate_limit_exceeded".to_owned(),
        _ => sent
            .filter(|code| own_word && is_sane_code(code))
            .map_or_else(|| format!("http_{status}"), str::to_owned),
    }
}

/// Whether a code can be shown and compared without care.
pub(super) fn is_sane_code(code: &str) -> bool {
    (1..=64).contains(&code.len())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_fixed_passed_through_or_made_from_the_status() {
        let long = "x".repeat(65);
        let table = [
            (401, Some("authentication_failed"), "auth_error"),
            (402, Some("x"), "insufficient_credit"),
            (404, Some("video_not_found"), "not_found"),
            (429, Some("trial_limit"), "rate_limit_exceeded"),
            (400, Some("invalid_parameter"), "invalid_parameter"),
            (
                403,
                Some("Resource.Access-Denied"),
                "Resource.Access-Denied",
            ),
            (400, Some("a b"), "http_400"),
            (400, Some(""), "http_400"),
            (400, Some(long.as_str()), "http_400"),
            (502, None, "http_502"),
        ];
        // A page in HeyGen's place has no say in what is not found.
        assert_eq!(status_code(404, None, false), "http_404");
        assert_eq!(status_code(402, None, false), "http_402");
        for (status, sent, code) in table {
            assert_eq!(status_code(status, sent, true), code);
        }
    }
}
