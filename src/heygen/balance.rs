//! What an account has left, as `GET /v3/users/me` says it: every part of that can be missing.

use std::fmt;

use serde::Serialize;

use super::wire::{AnswerPart, Unusable};
use crate::time::Timestamp;

const MAX_WORD: usize = 60;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Balance {
    /// HeyGen's word, which is also the name of the part of the answer that counts.
    pub billing_type: Option<String>,
    pub plan: Option<String>,
    pub auto_reload: bool,
    pub left: Vec<Funds>,
    pub used_up: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Funds {
    /// `wallet`, `premium`, `add-on`, `included`, `spending cap`.
    pub of: &'static str,
    /// Below zero where HeyGen says so.
    pub amount: f64,
    /// `usd` or `credits`.
    pub unit: String,
    pub resets_at: Option<Timestamp>,
}

impl Balance {
    /// Whatever is not understood is missing.
    pub(super) fn read(answer: &AnswerPart<'_>) -> Result<Self, Unusable> {
        let account = answer.part("data");
        let wallet = account.part("wallet");
        let subscription = account.part("subscription");
        let credits = subscription.part("credits");
        let premium = credits.part("premium_credits");
        let add_on = credits.part("add_on_credits");
        let usage = account.part("usage_based");
        let under_cap = usage
            .number("spending_cap_usd")
            .zip(usage.number("spending_current_usd"))
            .map(|(cap, spent)| ((cap - spent) * 100.0).round() / 100.0);
        let currency = wallet.text("currency", MAX_WORD).unwrap_or_default();
        let funds = |of, part: &AnswerPart<'_>, amount: Option<f64>, unit: &str| {
            Some(Funds {
                of,
                amount: amount?,
                unit: unit.to_owned(),
                resets_at: part.instant("resets_at"),
            })
        };
        let field =
            |of, part: &AnswerPart<'_>, name, unit| funds(of, part, part.number(name), unit);
        let left = [
            field("wallet", &wallet, "remaining_balance", &currency),
            field("premium", &premium, "remaining", "credits"),
            field("add-on", &add_on, "remaining", "credits"),
            field("included", &usage, "remaining_credits", "credits"),
            funds("spending cap", &usage, under_cap, "usd"),
        ];
        let left: Vec<Funds> = left.into_iter().flatten().collect();
        let billing_type = account.text("billing_type", MAX_WORD);
        let auto_reload = wallet.part("auto_reload").is("enabled", true);
        let counts = |funds: &&Funds| Some(funds.billing_type()) == billing_type.as_deref();
        let any = left.iter().any(|funds| counts(&funds));
        let mut counted = left.iter().filter(|funds| !any || counts(funds));
        let used_up = !auto_reload && !left.is_empty() && counted.all(|funds| funds.amount <= 0.0);
        Ok(Self {
            plan: subscription.text("plan", MAX_WORD),
            billing_type,
            auto_reload,
            left,
            used_up,
        })
    }
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
        let filled_up = match self.auto_reload {
            true => ", filled up automatically",
            false => "",
        };
        write!(f, "{} left{filled_up}", left.join(", "))
    }
}

impl Funds {
    fn billing_type(&self) -> &'static str {
        match self.of {
            "wallet" => "wallet",
            "premium" | "add-on" => "subscription",
            _ => "usage_based",
        }
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
