//! What people, scripts and agents type, read alike wherever it is typed.

use std::str::FromStr;

/// What one `--tag` names: labels between commas, without the spaces around them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tags(Vec<String>);

impl FromStr for Tags {
    type Err = &'static str;

    /// `a,` is `a`. Nothing at all is a slip: a variable that is not set would list everything, or label nothing.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
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
