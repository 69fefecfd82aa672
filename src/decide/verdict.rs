//! What an answer means: one table for sends, polls and downloads.
//!
//! Statuses come from HeyGen and from whatever stands in front of it. Only HeyGen's own error envelope says what
//! HeyGen decided; the same status on a gateway's page says that something is in the way.

use crate::error::{Exit, Problem};
use crate::heygen::{ApiError, ErrorKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    NotAsked,
    /// The connection was never established: not one byte of the request went out.
    NotSent,
    /// HeyGen may or may not have acted: no answer, or one that says nothing about what happened behind it.
    Unanswered,
    /// A whole 2xx answer that is not what was asked for. A POST may have been acted on.
    Garbled,
    /// A refusal that is not HeyGen's: a proxy, a login page, a wrong base URL. Nothing is known about the row.
    Gateway,
    /// 401: no request with this key has a chance.
    KeyRefused,
    Forbidden,
    NoCredit,
    Busy,
    /// 409: HeyGen knows the idempotency key and has not finished with it.
    InProgress,
    /// 404: HeyGen does not have it, or not for this account.
    NotFound,
    /// 400, 413, 422: this request will never be accepted.
    Refused,
    /// Another 4xx of HeyGen's: nothing was done, and why is not known.
    Declined,
}

impl Verdict {
    pub fn of(error: &ApiError) -> Self {
        match error.kind {
            ErrorKind::NotAsked => Self::NotAsked,
            ErrorKind::NotSent => Self::NotSent,
            ErrorKind::NoAnswer => Self::Unanswered,
            ErrorKind::BadResponse(_) => Self::Garbled,
            ErrorKind::Status(status) => Self::of_status(status, error.own_word),
        }
    }

    /// `own_word`: the answer is HeyGen's error envelope.
    pub fn of_status(status: u16, own_word: bool) -> Self {
        match (status, own_word) {
            // Whoever refuses the key or asks to wait: the row stays as it is, and asking on is rude.
            (401, _) => Self::KeyRefused,
            (429, _) => Self::Busy,
            // A time-out and "too early" are a gateway's: they say nothing about a copy that went through before.
            (408 | 425, _) => Self::Unanswered,
            // Somebody knows of such a request; unless HeyGen says so, it is not known what became of it.
            (409, true) => Self::InProgress,
            (409, false) => Self::Unanswered,
            (402, true) => Self::NoCredit,
            (403, true) => Self::Forbidden,
            (404, true) => Self::NotFound,
            (400 | 413 | 422, true) => Self::Refused,
            (400..500, true) => Self::Declined,
            (400..500, false) => Self::Gateway,
            // Redirects are never followed, and nothing is known about words from outside the standard.
            _ => Self::Unanswered,
        }
    }

    /// For a POST: whether HeyGen may have acted on it although this is the answer.
    pub fn leaves_outcome_open(self) -> bool {
        matches!(self, Self::Unanswered | Self::Garbled | Self::InProgress)
    }

    /// Whether HeyGen itself answered, so that what failed is about this request and not about the connection.
    pub fn is_heygens(self) -> bool {
        matches!(
            self,
            Self::Forbidden
                | Self::NoCredit
                | Self::InProgress
                | Self::NotFound
                | Self::Refused
                | Self::Declined
        )
    }

    /// Whether the same request may well succeed within seconds, without anybody changing anything.
    pub fn is_worth_repeating(self, kind: ErrorKind) -> bool {
        match self {
            Self::NotSent | Self::Busy => true,
            Self::Unanswered => !matches!(kind, ErrorKind::Status(..400 | 409 | 600..)),
            _ => false,
        }
    }

    /// What a person can do about it; `None` where HeyGen's own words say it.
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::NotSent => "check the connection; the next check carries on",
            Self::Unanswered | Self::Garbled => {
                "trouble at HeyGen or on the way there; the next check carries on"
            }
            Self::Gateway => {
                "this answer is not HeyGen's: check HEYGEN_API_BASE, proxies and logins of this network; the next check carries on"
            }
            Self::KeyRefused => "check the key: tracker doctor shows which one is used",
            Self::NoCredit => "add credit at app.heygen.com; the next check sends what waits",
            Self::Forbidden => "the key may not do this: check its workspace and plan",
            Self::NotFound => {
                "not there for this key: another workspace? see --db and HEYGEN_API_KEY_FILE"
            }
            Self::Busy => "HeyGen asks to wait; the next check carries on",
            Self::NotAsked | Self::InProgress | Self::Refused | Self::Declined => return None,
        })
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let verdict = Verdict::of(&error);
        Self {
            hint: verdict.hint().map(str::to_owned),
            exit: match verdict {
                Verdict::KeyRefused | Verdict::Forbidden => Exit::Auth,
                _ => Exit::Trouble,
            },
            request_id: error.request_id,
            ..Self::new(error.code, error.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every status there is, with HeyGen's envelope and without.
    #[test]
    fn every_status_has_one_meaning() {
        for status in 100..=999 {
            for own_word in [false, true] {
                let wanted = match status {
                    400 | 413 | 422 if own_word => Verdict::Refused,
                    401 => Verdict::KeyRefused,
                    402 if own_word => Verdict::NoCredit,
                    403 if own_word => Verdict::Forbidden,
                    404 if own_word => Verdict::NotFound,
                    408 | 425 => Verdict::Unanswered,
                    409 if own_word => Verdict::InProgress,
                    409 => Verdict::Unanswered,
                    429 => Verdict::Busy,
                    400..=499 if own_word => Verdict::Declined,
                    400..=499 => Verdict::Gateway,
                    _ => Verdict::Unanswered,
                };
                let verdict = Verdict::of_status(status, own_word);
                assert_eq!(verdict, wanted, "{status} {own_word}");
                let final_word = matches!(verdict, Verdict::Refused | Verdict::NotFound);
                assert!(
                    !final_word || own_word,
                    "{status} ends a row without HeyGen"
                );
                assert!(own_word || !verdict.is_heygens(), "{status}");
            }
        }
    }

    #[test]
    fn transport_failures_and_useless_answers() {
        use ErrorKind::{BadResponse, NoAnswer, NotSent, Status};
        // kind; verdict, a POST may have been acted on, worth repeating
        let table = [
            (NotSent, Verdict::NotSent, false, true),
            (NoAnswer, Verdict::Unanswered, true, true),
            (BadResponse(200), Verdict::Garbled, true, false),
            (Status(302), Verdict::Unanswered, true, false),
            (Status(408), Verdict::Unanswered, true, true),
            (Status(409), Verdict::InProgress, true, false),
            (Status(425), Verdict::Unanswered, true, true),
            (Status(429), Verdict::Busy, false, true),
            (Status(500), Verdict::Unanswered, true, true),
            (Status(503), Verdict::Unanswered, true, true),
            (Status(404), Verdict::NotFound, false, false),
        ];
        for (kind, wanted, open, repeat) in table {
            let verdict = Verdict::of(&ApiError::with_kind(kind));
            assert_eq!(verdict, wanted, "{kind:?}");
            assert_eq!(verdict.leaves_outcome_open(), open, "{kind:?}");
            assert_eq!(verdict.is_worth_repeating(kind), repeat, "{kind:?}");
        }
    }
}
