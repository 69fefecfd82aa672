//! What an account has left, as `GET /v3/users/me` says it: every part of that can be missing.

use std::fmt;

use serde::Serialize;

use super::redact::Redactor;
use super::wire::{BadAnswer, data, envelope, instant, text};
use crate::object::{Fields, fields, number};
use crate::time::Timestamp;

const MAX_WORD: usize = 60;

/// How an account pays, and what it has left.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Balance {
    /// HeyGen's word, which is also the name of the part of the answer that counts.
    pub billing_type: Option<String>,
    /// A subscription's.
    pub plan: Option<String>,
    /// The wallet fills itself up.
    pub auto_reload: bool,
    /// What the answer tells of.
    pub left: Vec<Funds>,
    /// Nothing is left of what counts for this way of paying.
    pub used_up: bool,
}

/// One thing to pay with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Funds {
    /// `wallet`, `premium`, `add-on`, `included`, `spending cap`.
    pub of: &'static str,
    /// Below zero where HeyGen says so.
    pub amount: f64,
    /// `usd` or `credits`.
    pub unit: String,
    /// When it is full again.
    pub resets_at: Option<Timestamp>,
    #[serde(skip)]
    billing_type: &'static str,
}

impl Balance {
    /// Whatever is not understood is missing.
    pub(super) fn read(body: &[u8], redactor: &Redactor) -> Result<Self, BadAnswer> {
        let account = data(&envelope(body, redactor)?).unwrap_or_default();
        let word = |data: &Fields<'_>, name| text(data, name, MAX_WORD, redactor);
        let wallet = part(&account, "wallet");
        let subscription = part(&account, "subscription");
        let credits = part(&subscription, "credits");
        let usage = part(&account, "usage_based");
        let under_cap = number(usage.get("spending_cap_usd"))
            .zip(number(usage.get("spending_current_usd")))
            .map(|(cap, spent)| ((cap - spent) * 100.0).round() / 100.0);
        let funds = |billing_type, of, amount: Option<f64>, unit: &str, data: &Fields<'_>| {
            Some(Funds {
                of,
                amount: amount?,
                unit: unit.to_owned(),
                resets_at: instant(data, "resets_at"),
                billing_type,
            })
        };
        let credits_of = |of, name| {
            let part = part(&credits, name);
            let remaining = number(part.get("remaining"));
            funds("subscription", of, remaining, "credits", &part)
        };
        let in_wallet = number(wallet.get("remaining_balance"));
        let currency = word(&wallet, "currency").unwrap_or_default();
        let included = number(usage.get("remaining_credits"));
        let left = [
            funds("wallet", "wallet", in_wallet, &currency, &wallet),
            credits_of("premium", "premium_credits"),
            credits_of("add-on", "add_on_credits"),
            funds("usage_based", "included", included, "credits", &usage),
            funds("usage_based", "spending cap", under_cap, "usd", &usage),
        ];
        let left: Vec<Funds> = left.into_iter().flatten().collect();
        let billing_type = word(&account, "billing_type");
        let auto_reload = part(&wallet, "auto_reload")
            .get("enabled")
            .is_some_and(|raw| raw.get() == "true");
        let counts = |funds: &&Funds| Some(funds.billing_type) == billing_type.as_deref();
        let any = left.iter().any(|funds| counts(&funds));
        let mut counted = left.iter().filter(|funds| !any || counts(funds));
        let used_up = !auto_reload && !left.is_empty() && counted.all(|funds| funds.amount <= 0.0);
        Ok(Self {
            plan: word(&subscription, "plan"),
            billing_type,
            auto_reload,
            left,
            used_up,
        })
    }
}

fn part<'a>(data: &Fields<'a>, name: &str) -> Fields<'a> {
    data.get(name)
        .and_then(|raw| fields(raw.get()).ok())
        .unwrap_or_default()
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plan) = &self.plan {
            write!(f, "plan {plan}, ")?;
        }
        if self.left.is_empty() {
            return f.write_str("HeyGen does not say what is left");
        }
        let left: Vec<String> = self.left.iter().map(ToString::to_string).collect();
        write!(f, "{} left", left.join(", "))?;
        f.write_str(if self.auto_reload {
            ", filled up automatically"
        } else {
            ""
        })
    }
}

impl fmt::Display for Funds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = format!("{:.2}", self.amount);
        let amount = amount.strip_suffix(".00").unwrap_or(&amount);
        let amount = format!("{amount} {}", self.unit);
        write!(f, "{} ({}", amount.trim_end(), self.of)?;
        match self.resets_at {
            Some(at) => write!(f, ", reset at {at})"),
            None => f.write_str(")"),
        }
    }
}
