//! The account's own lists, page by page, with the patience of a run.

use std::sync::Arc;

use super::calls::{CallError, Caller};
use super::{Access, PassOptions};
use crate::decide::Verdict;
use crate::error::{Problem, code};
use crate::heygen::{ApiError, Client, Page};

/// A million jobs: what goes on longer has no end.
const MAX_PAGES: u32 = 10_000;

impl From<&Access> for Caller {
    fn from(access: &Access) -> Self {
        access.caller(&Arc::default(), PassOptions::default().budget)
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Api(error) => match Verdict::of(&error) {
                Verdict::NotSent | Verdict::Unanswered | Verdict::Garbled | Verdict::Busy => {
                    Self::from(error).with_hint("run it again: what is recorded stays")
                }
                _ => error.into(),
            },
            CallError::Stopped => Self::new(code::AUTH, "this run asks HeyGen nothing more"),
        }
    }
}

impl Caller {
    /// Reads a list to its end, or until `take` has enough.
    pub(crate) fn pages<T>(
        &self,
        read: impl Fn(&Client, Option<&str>) -> Result<Page<T>, ApiError>,
        mut take: impl FnMut(Page<T>) -> Result<bool, Problem>,
    ) -> Result<(), Problem> {
        let mut token: Option<String> = None;
        // A token of before: whatever circle a list goes in, it comes by here (Brent's way to find one).
        let mut mark = None;
        for number in 1..MAX_PAGES {
            let page = self.get(|client| read(client, token.as_deref()))?;
            let is_empty = page.items.is_empty() && page.skipped == 0;
            token = page.next.clone();
            if !take(page)? || is_empty || token.is_none() {
                return Ok(());
            }
            if token == mark {
                break;
            }
            if number.is_power_of_two() {
                mark.clone_from(&token);
            }
        }
        let message = "HeyGen's list goes in circles or has no end";
        Err(Problem::new("bad_response", message))
    }
}
