//! What can go wrong with a request, told apart by what it means for a purchase.

use std::time::Duration;

use crate::error::{Exit, Problem};

/// A request that did not bring what was asked for. No part of it holds the API key or a signed query string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// How far the request got, and how its answer looked.
    pub kind: ErrorKind,
    /// Machine-readable: `auth_error`, `insufficient_credit`, `not_found`, `rate_limit_exceeded`, `network_error`, `timeout`,
    /// `bad_response`, else HeyGen's own code, else `http_STATUS`.
    pub code: String,
    /// For a person: HeyGen's own words if there are any. At most 4 KiB; may hold control characters.
    pub message: String,
    /// `X-Request-Id`, for the support ticket.
    pub request_id: Option<String>,
    /// How long HeyGen asks us to stay away, at most [`RETRY_AFTER_CAP`](super::RETRY_AFTER_CAP).
    pub retry_after: Option<Duration>,
    /// The beginning of an answer with a 2xx status that could not be used, at most 1 KiB.
    pub excerpt: Option<String>,
}

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The connection was never established (DNS, refused, connect time-out, TLS): not one byte of the request went out.
    NotSent,
    /// Something went out and no complete answer came back.
    NoAnswer {
        /// Waited in vain, rather than cut off.
        timed_out: bool,
    },
    /// An HTTP status other than 2xx; redirects included, they are never followed.
    Status(u16),
    /// A 2xx answer that is not what was asked for.
    BadResponse(u16),
}

impl ApiError {
    /// The HTTP status, if an answer came.
    pub fn http_status(&self) -> Option<u16> {
        match self.kind {
            ErrorKind::Status(status) | ErrorKind::BadResponse(status) => Some(status),
            ErrorKind::NotSent | ErrorKind::NoAnswer { .. } => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self.http_status() {
            None => "check the connection; the next check carries on",
            Some(401) => "check the key: tracker doctor tells which one is used",
            Some(402) => "add credit at app.heygen.com; the next check sends what waits",
            Some(403) => "the key may not do this: check its workspace and plan",
            Some(404) => {
                "not there for this key: another workspace? see --db and HEYGEN_API_KEY_FILE"
            }
            Some(429) => "HeyGen asks to wait; the next check carries on",
            Some(500..) => "trouble at HeyGen; the next check carries on",
            Some(_) => return None,
        };
        Some(hint.to_owned())
    }

    /// The key was refused. HeyGen does not tell a wrong key from a missing one.
    pub fn is_auth(&self) -> bool {
        self.kind == ErrorKind::Status(401)
    }

    /// HeyGen, not a gateway's 2xx page, says that it is not there (for this account).
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::Status(404)
    }

    /// The account has too many renders in progress, or too many requests were made.
    pub fn is_rate_limit(&self) -> bool {
        self.kind == ErrorKind::Status(429)
    }

    /// Whether the same request may well succeed a little later, without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            ErrorKind::NotSent | ErrorKind::NoAnswer { .. } | ErrorKind::BadResponse(_) => true,
            ErrorKind::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
        }
    }

    /// For a POST: whether the server may have acted on it although this is the answer. Only a 4xx says that it did not
    /// (not 408, which a gateway also sends when its own patience ends), and a request that was never sent.
    pub fn leaves_outcome_open(&self) -> bool {
        match self.kind {
            ErrorKind::NotSent => false,
            ErrorKind::NoAnswer { .. } | ErrorKind::BadResponse(_) => true,
            ErrorKind::Status(status) => status == 408 || !(400..=499).contains(&status),
        }
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self {
            hint: error.hint(),
            exit: match error.http_status() {
                Some(401 | 403) => Exit::Auth,
                _ => Exit::Trouble,
            },
            request_id: error.request_id,
            ..Self::new(error.code, error.message)
        }
    }
}

/// The code of an answer with this status, `sent` being the one in its error envelope.
///
/// Some statuses have one meaning whatever the envelope calls it (401 comes with two codes).
pub(super) fn status_code(status: u16, sent: Option<&str>) -> String {
    match status {
        401 => "auth_error".to_owned(),
        402 => "insufficient_credit".to_owned(),
        404 => "not_found".to_owned(),
        429 => "rate_limit_exceeded".to_owned(),
        _ => sent
            .filter(|code| is_sane_code(code))
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

    fn error(kind: ErrorKind) -> ApiError {
        ApiError {
            kind,
            code: String::new(),
            message: String::new(),
            request_id: None,
            retry_after: None,
            excerpt: None,
        }
    }

    #[test]
    fn what_an_error_means() {
        use ErrorKind::{BadResponse, NoAnswer, NotSent, Status};
        // kind, transient, may have been acted on
        let table = [
            (NotSent, true, false),
            (NoAnswer { timed_out: true }, true, true),
            (NoAnswer { timed_out: false }, true, true),
            (BadResponse(200), true, true),
            (Status(103), false, true),
            (Status(302), false, true),
            (Status(400), false, false),
            (Status(401), false, false),
            (Status(402), false, false),
            (Status(404), false, false),
            (Status(408), true, true),
            (Status(409), false, false),
            (Status(425), true, false),
            (Status(429), true, false),
            (Status(500), true, true),
            (Status(599), true, true),
            (Status(600), false, true),
        ];
        for (kind, transient, open) in table {
            let error = error(kind);
            assert_eq!(error.is_transient(), transient, "{kind:?}");
            assert_eq!(error.leaves_outcome_open(), open, "{kind:?}");
        }
    }

    #[test]
    fn codes_are_fixed_passed_through_or_made_from_the_status() {
        let long = "x".repeat(65);
        let table = [
            (401, Some("authentication_failed"), "auth_error"),
            (402, None, "insufficient_credit"),
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
        for (status, sent, code) in table {
            assert_eq!(status_code(status, sent), code);
        }
    }
}
