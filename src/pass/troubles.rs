//! Outages of whole runs: reported when they begin, change or have lasted for a day, and when they are over.
//!
//! An outage is over when a run did the very thing that was in trouble: the same operation, for the same account or at
//! the same host. Its end is reported where its beginning was.

use std::collections::{BTreeMap, BTreeSet};

use super::report::Reporter;
use crate::decide::TELL_AGAIN;
use crate::error::{Problem, Result};
use crate::store::{Store, Trouble};
use crate::time::Timestamp;

/// What can be wrong with a whole run; the word in `troubles.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// HeyGen cannot be reached or answers nothing useful.
    Network,
    /// HeyGen can be reached, and submissions come to nothing.
    Submit,
    /// No usable key, or it is refused.
    Key,
    /// The account may not ask.
    Forbidden,
    /// The account may not submit.
    SubmitForbidden,
    /// No credit.
    Credit,
    /// HeyGen asks to wait for longer than a run does.
    RateLimit,
    /// Rows belong to another account than the key.
    Account,
    /// No room for files.
    Disk,
    /// This machine's clock is not HeyGen's.
    Clock,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Submit => "submit",
            Self::Key => "key",
            Self::Forbidden => "forbidden",
            Self::SubmitForbidden => "submit_forbidden",
            Self::Credit => "credit",
            Self::RateLimit => "rate_limit",
            Self::Account => "account",
            Self::Disk => "disk",
            Self::Clock => "clock",
        }
    }

    /// Whether a run that meets it left something undone.
    fn is_failure(self) -> bool {
        self != Self::Clock
    }
}

/// The kind, and the account or host that it concerns (empty: this machine).
type Place = (Kind, String);

/// What this run suffers from, and what it has proven to work.
#[derive(Default)]
pub(super) struct Troubles {
    seen: BTreeMap<Place, Problem>,
    proven: BTreeSet<Place>,
}

/// An outage of this run beside what is known of it.
struct Current {
    kind: Kind,
    trouble: Trouble,
    problem: Problem,
    report: bool,
}

impl Troubles {
    /// What goes wrong; the first of a kind is the one that is reported.
    pub(super) fn note(&mut self, kind: Kind, scope: &str, problem: impl Into<Problem>) {
        let place = (kind, scope.to_owned());
        self.seen.entry(place).or_insert_with(|| problem.into());
    }

    /// More about trouble of this kind, for whoever reads the hint.
    pub(super) fn explain(&mut self, kind: Kind, facts: &str) {
        for (_, problem) in self.seen.iter_mut().filter(|((seen, _), _)| *seen == kind) {
            let hint = problem.hint.take().unwrap_or_default();
            problem.hint = Some(format!("{facts}; {hint}"));
        }
    }

    /// The very thing worked.
    pub(super) fn proves(&mut self, kind: Kind, scope: &str) {
        self.proven.insert((kind, scope.to_owned()));
    }

    /// Whether the run suffers from this.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.seen.keys().any(|(seen, _)| *seen == kind)
    }

    /// Reports what is to be reported, and remembers it.
    pub(super) fn settle(
        mut self,
        store: &mut Store,
        reporter: &mut Reporter<'_>,
        now: Timestamp,
    ) -> Result<()> {
        let known = store.read(|tx| tx.troubles())?;
        let to_be_read_later = !reporter.is_at_terminal();
        let mut current = Vec::new();
        for ((kind, scope), problem) in std::mem::take(&mut self.seen) {
            let before = known.iter().find(|before| {
                before.kind == kind.word() && before.scope == scope && before.code == problem.code
            });
            let lately = |b: &Trouble| {
                b.notified && b.notified_at <= now && now.since(b.notified_at) < TELL_AGAIN
            };
            let report = !before.is_some_and(lately);
            let reported = to_be_read_later && (report || reporter.is_chatty());
            let trouble = Trouble {
                kind: kind.word().to_owned(),
                scope,
                code: problem.code.to_string(),
                message: problem.message.clone(),
                since: before.map_or(now, |b| b.since),
                notified_at: match before {
                    Some(before) if !report || !reported => before.notified_at,
                    _ => now,
                },
                notified: reported || before.is_some_and(|b| b.notified),
            };
            current.push(Current {
                kind,
                trouble,
                problem,
                report,
            });
        }
        let mut over = Vec::new();
        for trouble in &known {
            let again = current.iter().any(|now| now.trouble.kind == trouble.kind);
            if !again && self.is_over(store, trouble)? {
                over.push(trouble);
            }
        }
        if current.is_empty() && over.is_empty() {
            return Ok(());
        }
        store.write(|tx| {
            for Current { trouble, .. } in &current {
                tx.put_trouble(trouble)?;
            }
            for trouble in &over {
                tx.end_trouble(&trouble.kind, &trouble.scope)?;
            }
            Ok(())
        })?;
        for now in &current {
            reporter.trouble(&now.problem, now.kind.is_failure(), now.report);
        }
        for trouble in over {
            if trouble.notified || !to_be_read_later {
                reporter.relief(trouble, now);
            }
        }
        Ok(())
    }

    /// Whether the very thing works: or the same thing under another key, where nothing waits for the old one.
    fn is_over(&self, store: &Store, trouble: &Trouble) -> Result<bool> {
        let mut proven = self
            .proven
            .iter()
            .filter(|(kind, _)| kind.word() == trouble.kind)
            .peekable();
        if proven.peek().is_none() {
            return Ok(false);
        }
        // Before scopes were recorded every one was empty; so is that of a key that was not there.
        if trouble.scope.is_empty() || proven.any(|(_, scope)| *scope == trouble.scope) {
            return Ok(true);
        }
        let is_account = trouble.scope.contains('#');
        Ok(is_account && !store.read(|tx| tx.waits_for(&trouble.scope))?)
    }
}
