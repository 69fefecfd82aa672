//! What people, scripts and agents type, read alike wherever it is typed.

use std::str::FromStr;

use crate::error::Result;
use crate::store::Tx;
use crate::video::{Outcome, Phase};

/// What one `--tag` names: labels between commas, without the spaces around them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tags(Vec<String>);

impl FromStr for Tags {
    type Err = &'static str;

    /// `a,` is `a`. Nothing at all is a slip: a variable that is not set would list everything, or label nothing.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let tags: Vec<String> = tags(text).collect();
        match tags.is_empty() {
            true => Err("there is no label in it"),
            false => Ok(Self(tags)),
        }
    }
}

impl Tags {
    pub(crate) fn all(given: &[Self]) -> Vec<String> {
        given.iter().flat_map(|tags| tags.0.clone()).collect()
    }
}

/// The labels in a text, which may be none.
pub(crate) fn tags(text: &str) -> impl Iterator<Item = String> {
    let tags = text.split(',').map(str::trim);
    tags.filter(|tag| !tag.is_empty()).map(str::to_owned)
}

/// Status words as they are in the database, whatever their case. What nobody has heard of goes to `unknown` with the
/// words that are here, and is looked for as it is.
pub(crate) fn statuses(
    tx: &Tx<'_>,
    typed: &[String],
    mut unknown: impl FnMut(&str, &str) -> Result<()>,
) -> Result<Vec<String>> {
    if typed.is_empty() {
        return Ok(Vec::new());
    }
    let here = tx.status_words()?;
    let mut words = Vec::new();
    for typed in typed.iter().map(|word| word.trim()) {
        let same = |word: &&str| word.eq_ignore_ascii_case(typed);
        let before = words.len();
        words.extend(here.iter().filter(|word| same(&word.as_str())).cloned());
        if words.len() == before {
            if !usual_statuses().iter().any(same) {
                unknown(typed, &here.join(", "))?;
            }
            words.push(typed.to_owned());
        }
    }
    Ok(words)
}

/// Ours and HeyGen's, which may add others at any time.
pub(crate) fn usual_statuses() -> Vec<&'static str> {
    let ours = Phase::ALL.iter().filter(|phase| **phase != Phase::Accepted);
    let ours = ours.map(|phase| phase.word());
    let ends = Outcome::ALL.iter().map(|outcome| outcome.word());
    let theirs = ["waiting", "pending", "processing", "queued", "running"];
    let sessions = ["thinking", "generating", "waiting_for_input", "reviewing"];
    let gone = ["cancelled", "canceled", "deleted", "trashed", "expired"];
    let theirs = theirs.into_iter().chain(sessions).chain(gone);
    ours.chain(theirs).chain(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_no_spaces_around_them_and_are_not_empty() {
        for (text, expected) in [
            ("a", &["a"][..]),
            ("a,b", &["a", "b"]),
            (" a, b c ,", &["a", "b c"]),
            (",a,,b", &["a", "b"]),
        ] {
            let given: Tags = text.parse().unwrap();
            assert_eq!(Tags::all(&[given]), expected, "{text:?}");
        }
        for nothing in ["", " ", ",", " , "] {
            assert!(nothing.parse::<Tags>().is_err(), "{nothing:?}");
        }
    }
}
