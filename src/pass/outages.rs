//! Outages of whole runs: reported when they begin, change or have lasted for a day, and when they are over.
//!
//! An outage is over when a run did the very thing that was in trouble: the same operation, for the same account or at
//! the same host. Its end is reported where its beginning was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::report::Reporter;
use super::{Access, Run};
use crate::decide::{REPORT_AGAIN, Verdict};
use crate::error::{Problem, Result};
use crate::heygen::ApiError;
use crate::store::{Store, Trouble};
use crate::time::{self, Timestamp};
use crate::video::{Account, Outage};

/// An outage, and the account or host that it concerns (empty: this machine).
type Concern = (Outage, String);

/// Without a key there is no account to name.
fn concern(outage: Outage, account: Option<&Account>) -> Concern {
    let scope = match outage {
        Outage::Network | Outage::Submit | Outage::Clock => account.map(Account::host),
        Outage::Account | Outage::Disk => None,
        Outage::Key
        | Outage::Forbidden
        | Outage::SubmitForbidden
        | Outage::Credit
        | Outage::RateLimit => account.map(Account::as_str),
    };
    (outage, scope.unwrap_or_default().to_owned())
}

#[derive(Default)]
pub(super) struct Outages {
    met: BTreeMap<Concern, Problem>,
    disproven: BTreeSet<Concern>,
}

impl Outages {
    pub(super) fn has(&self, outage: Outage) -> bool {
        self.met.keys().any(|(met, _)| *met == outage)
    }

    pub(super) fn settle(self, store: &mut Store, reporter: &mut Reporter<'_>) -> Result<()> {
        let now = time::now();
        let known = store.read(|tx| tx.troubles())?;
        let met: Vec<(Trouble, bool)> = self
            .met
            .iter()
            .map(|(concern, problem)| recorded(concern, problem, &known, reporter, now))
            .collect();
        let mut over = Vec::new();
        for trouble in &known {
            let again = met.iter().any(|(met, _)| met.kind == trouble.kind);
            if !again && self.is_over(store, trouble)? {
                over.push(trouble);
            }
        }
        if met.is_empty() && over.is_empty() {
            return Ok(());
        }
        store.write(|tx| {
            for (trouble, _) in &met {
                tx.put_trouble(trouble)?;
            }
            for trouble in &over {
                tx.end_trouble(&trouble.kind, &trouble.scope)?;
            }
            Ok(())
        })?;
        for (((outage, _), problem), (_, is_news)) in self.met.iter().zip(&met) {
            // A run with a wrong clock has left nothing undone.
            reporter.outage(problem, *outage != Outage::Clock, *is_news);
        }
        for trouble in over {
            if trouble.notified || reporter.screen.err_is_terminal {
                reporter.outage_over(trouble, now);
            }
        }
        Ok(())
    }

    /// Whether the very thing works: or the same thing under another key, where nothing waits for the old one.
    fn is_over(&self, store: &Store, trouble: &Trouble) -> Result<bool> {
        let same_kind = |(outage, _): &&Concern| outage.word() == trouble.kind;
        let disproven: Vec<&Concern> = self.disproven.iter().filter(same_kind).collect();
        if disproven.is_empty() {
            return Ok(false);
        }
        // Before scopes were recorded every one was empty; so is that of a key that was not there.
        if trouble.scope.is_empty() || disproven.iter().any(|(_, scope)| *scope == trouble.scope) {
            return Ok(true);
        }
        let is_account = trouble.scope.contains('#');
        Ok(is_account && !store.read(|tx| tx.waits_for(&trouble.scope))?)
    }
}

impl Run<'_, '_> {
    /// The run met an outage; the first of a kind is the one that is reported.
    pub(super) fn outage(&mut self, outage: Outage, problem: impl Into<Problem>) {
        let account = self.access.as_ref().map(|access| &access.account);
        let met = self.outages.met.entry(concern(outage, account));
        met.or_insert_with(|| problem.into());
    }

    /// The same, and this run asks HeyGen nothing more.
    pub(super) fn stop(&mut self, outage: Outage, problem: impl Into<Problem>) {
        let problem = problem.into();
        if matches!(
            outage,
            Outage::Key | Outage::Forbidden | Outage::SubmitForbidden
        ) {
            let auth = &mut self.reporter.tally.auth;
            auth.get_or_insert_with(|| problem.clone());
        }
        self.outage(outage, problem);
        self.limiter.close();
    }

    /// The same for what lets no other request of this run succeed.
    pub(super) fn stop_for(&mut self, verdict: Verdict, error: &ApiError) {
        let outage = match verdict {
            Verdict::KeyRefused => Outage::Key,
            Verdict::Busy => Outage::RateLimit,
            Verdict::NotSent => Outage::Network,
            _ => return,
        };
        self.stop(outage, error.clone());
    }

    pub(super) fn works(&mut self, outage: Outage) {
        let account = self.access.as_ref().map(|access| &access.account);
        self.outages.disproven.insert(concern(outage, account));
    }

    pub(super) fn reachable(&mut self) {
        self.works(Outage::Network);
        self.works(Outage::Key);
        self.works(Outage::RateLimit);
    }

    /// Whoever reads that the account has no credit wants to know what it has. Asked once, in haste, and only where
    /// somebody looks.
    pub(super) fn explain_no_credit(&mut self) {
        let Some(access) = &self.access else { return };
        if !self.reporter.reports_again || !self.outages.has(Outage::Credit) {
            return;
        }
        let soon = Instant::now() + HASTE.min(self.left());
        let hasty = Access {
            client: access.client.until(Some(soon)),
            budget: Duration::ZERO,
            ..access.clone()
        };
        let Ok(balance) = hasty.get(|client| client.whoami()) else {
            return;
        };
        for ((outage, _), problem) in &mut self.outages.met {
            if *outage == Outage::Credit {
                let hint = problem.hint.take().unwrap_or_default();
                problem.hint = Some(format!("{balance}; {hint}"));
            }
        }
    }
}

const HASTE: Duration = Duration::from_secs(3);

/// An outage beside what is known of it, and whether it is news.
fn recorded(
    (outage, scope): &Concern,
    problem: &Problem,
    known: &[Trouble],
    reporter: &Reporter<'_>,
    now: Timestamp,
) -> (Trouble, bool) {
    let is_same = |before: &&Trouble| {
        before.kind == outage.word() && before.scope == *scope && before.code == problem.code
    };
    let before = known.iter().find(is_same);
    let lately =
        |b: &Trouble| b.notified && b.notified_at <= now && now.since(b.notified_at) < REPORT_AGAIN;
    let is_news = !before.is_some_and(lately);
    let is_read_later = !reporter.screen.err_is_terminal && (is_news || reporter.reports_again);
    let trouble = Trouble {
        kind: outage.word().to_owned(),
        scope: scope.clone(),
        code: problem.code.to_string(),
        message: problem.message.clone(),
        since: before.map_or(now, |b| b.since),
        notified_at: match before {
            Some(before) if !is_news || !is_read_later => before.notified_at,
            _ => now,
        },
        notified: is_read_later || before.is_some_and(|b| b.notified),
    };
    (trouble, is_news)
}
