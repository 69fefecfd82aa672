//! Trouble of the whole run: told when it begins, changes or has lasted for a day, and when it is over.

use std::collections::{BTreeMap, BTreeSet};

use super::report::Reporter;
use crate::decide::TELL_AGAIN;
use crate::error::Error;
use crate::heygen::ApiError;
use crate::store::{Store, Trouble};
use crate::time::Timestamp;

/// What can be wrong with a whole run; the word in `troubles.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// HeyGen cannot be reached or answers nothing useful.
    Network,
    /// No usable key, or it is refused.
    Key,
    /// The account may not do this.
    Forbidden,
    /// No credit.
    Credit,
    /// HeyGen asks to wait for longer than a run does.
    RateLimit,
    /// Rows belong to another account than the key.
    Account,
    /// No room for files.
    Disk,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Key => "key",
            Self::Forbidden => "forbidden",
            Self::Credit => "credit",
            Self::RateLimit => "rate_limit",
            Self::Account => "account",
            Self::Disk => "disk",
        }
    }
}

struct Seen {
    code: String,
    message: String,
    hint: Option<String>,
}

/// What this run suffers from, and what it has proven to work.
#[derive(Default)]
pub(super) struct Troubles {
    seen: BTreeMap<Kind, Seen>,
    proven: BTreeSet<Kind>,
}

impl Troubles {
    /// HeyGen's or the network's doing; the first of a kind is the one that is told.
    pub(super) fn api(&mut self, kind: Kind, error: &ApiError) {
        self.note(
            kind,
            error.code.clone(),
            error.message.clone(),
            error.hint(),
        );
    }

    /// Something that would have ended the run.
    pub(super) fn error(&mut self, kind: Kind, error: &Error) {
        self.note(
            kind,
            error.code.to_string(),
            error.message.clone(),
            error.hint.clone(),
        );
    }

    /// Anything else.
    pub(super) fn note(&mut self, kind: Kind, code: String, message: String, hint: Option<String>) {
        self.seen.entry(kind).or_insert(Seen {
            code,
            message,
            hint,
        });
    }

    /// Something of this kind worked.
    pub(super) fn proves(&mut self, kind: Kind) {
        self.proven.insert(kind);
    }

    /// Whether the run suffers from this.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.seen.contains_key(&kind)
    }

    /// Tells what is to be told, and remembers it.
    pub(super) fn settle(
        self,
        store: &mut Store,
        reporter: &mut Reporter<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let known = store.read(|tx| tx.troubles())?;
        let before = |kind: Kind| known.iter().find(|trouble| trouble.kind == kind.word());
        let current: Vec<(Trouble, Option<String>, bool)> = self
            .seen
            .into_iter()
            .map(|(kind, seen)| {
                let before = before(kind).filter(|before| before.code == seen.code);
                let told_lately =
                    before.is_some_and(|b| b.told_at <= now && now.since(b.told_at) < TELL_AGAIN);
                let tell = !told_lately;
                let trouble = Trouble {
                    kind: kind.word().to_owned(),
                    code: seen.code,
                    message: seen.message,
                    since: before.map_or(now, |b| b.since),
                    told_at: match before {
                        Some(before) if !tell => before.told_at,
                        _ => now,
                    },
                };
                (trouble, seen.hint, tell)
            })
            .collect();
        let over: Vec<&Trouble> = known
            .iter()
            .filter(|trouble| self.proven.iter().any(|kind| kind.word() == trouble.kind))
            .filter(|trouble| !current.iter().any(|(now, ..)| now.kind == trouble.kind))
            .collect();
        if current.is_empty() && over.is_empty() {
            return Ok(());
        }
        store.write(|tx| {
            for (trouble, ..) in &current {
                tx.put_trouble(trouble)?;
            }
            for trouble in &over {
                tx.end_trouble(&trouble.kind)?;
            }
            Ok(())
        })?;
        for (trouble, hint, tell) in &current {
            reporter.trouble(trouble, hint.as_deref(), *tell);
        }
        for trouble in over {
            reporter.relief(trouble, now);
        }
        Ok(())
    }
}
