//! An API key, or what webhooks are signed with.

use std::fmt;

/// It can be sent and signed with, but not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    const MAX_BYTES: usize = 4096;

    /// `None` unless `text`, without surrounding white space, is 1 to 4096 visible ASCII characters:
    /// what can stand in a header, and what no stray line break of a credentials file can.
    pub fn new(text: impl AsRef<str>) -> Option<Self> {
        let text = text.as_ref().trim();
        let usable = (1..=Self::MAX_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        usable.then(|| Self(text.to_owned()))
    }

    /// For the request header, the signature and the redactor only.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_visible_ascii() {
        let long = "k".repeat(4097);
        let table = [
            ("abc", true),
            (" whsec_abc\n", true),
            (&long[..4096], true),
            (&long, false),
            ("", false),
            (" \n", false),
            ("a b", false),
            ("a\r\nX-Evil: 1", false),
            ("schlüssel", false),
            ("a\u{7f}", false),
        ];
        for (text, usable) in table {
            assert_eq!(Secret::new(text).is_some(), usable, "{text:?}");
        }
        assert_eq!(format!("{:?}", Secret::new("abc").unwrap()), "Secret(***)");
    }
}
