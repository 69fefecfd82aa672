//! Keeps secrets out of text that may be printed, logged or stored: the API key, and the signatures of presigned URLs.

use crate::net::cut;

const MASK: &str = "***";

/// A run of letters and digits of the key that is at least this long is a secret on its own: a server that echoes the key
/// may have escaped what stands between the runs (`\u003d`, `%3D`).
const MIN_RUN: usize = 8;

#[derive(Clone)]
pub(super) struct Redactor {
    /// Masked wherever they occur; longest first, so that no part of the key is masked before the whole.
    secrets: Vec<String>,
    /// A key that could as well be a word (`wrong`): masked only where a key stands.
    word: Option<String>,
}

impl Redactor {
    pub(super) fn new(key: &str) -> Self {
        let mut secrets: Vec<String> = key
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|run| run.len() >= MIN_RUN)
            .chain([key])
            .filter(|_| is_distinctive(key))
            .map(str::to_owned)
            .collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let word = (!key.is_empty() && !is_distinctive(key)).then(|| key.to_owned());
        Self { secrets, word }
    }

    /// `text` without secrets, then cut to at most `max` bytes: cutting first could leave half a secret unrecognised.
    pub(super) fn clean(&self, text: &str, max: usize) -> String {
        cut(&self.without_key(without_queries(text)), max).to_owned()
    }

    /// For text that may well hold URLs with queries, or has none.
    pub(super) fn without_key(&self, mut text: String) -> String {
        for secret in &self.secrets {
            if text.contains(secret) {
                text = text.replace(secret, MASK);
            }
        }
        match &self.word {
            Some(word) if text.contains(word.as_str()) => where_a_key_stands(&text, word),
            _ => text,
        }
    }
}

/// Nobody writes it by chance: long, or letters and digits mixed.
fn is_distinctive(secret: &str) -> bool {
    let digits = secret.bytes().filter(u8::is_ascii_digit).count();
    let letters = secret.bytes().filter(u8::is_ascii_alphabetic).count();
    secret.len() >= 16 || (secret.len() >= MIN_RUN && digits > 0 && letters > 0)
}

/// Masks `word` as a value of its own after a name such as `key`, `X-Api-Key:` or `"token":`.
fn where_a_key_stands(text: &str, word: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, from) = rest.split_at(at);
        let after = &from[word.len()..];
        clean.push_str(before);
        let part_of_more = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let alone = !clean.ends_with(part_of_more) && !after.starts_with(part_of_more);
        let name = clean.trim_end_matches(|c: char| !c.is_alphanumeric());
        let named = ["key", "token", "bearer", "secret"]
            .iter()
            .any(|end| name.to_ascii_lowercase().ends_with(end));
        clean.push_str(if alone && named { MASK } else { word });
        rest = after;
    }
    clean + rest
}

/// Masks what follows the `?` in every word that looks like a URL or a path with parameters.
fn without_queries(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for word in text.split_inclusive(ends_url) {
        let (url, end) = word.split_at(word.trim_end_matches(ends_url).len());
        clean += &match url.split_once('?') {
            Some((address, query)) if query.contains('=') || has_scheme(address) => {
                format!("{address}?{MASK}")
            }
            _ => url.to_owned(),
        };
        clean += end;
    }
    clean
}

/// `:\/\/` is how some servers write `://` in JSON.
fn has_scheme(address: &str) -> bool {
    address.contains("://") || address.contains(r":\/\/")
}

/// Characters that cannot stand in a URL. A quote (`'`) and a backslash can, or hide one that can (`\u0026`).
fn ends_url(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn queries_and_keys_are_masked() {
        let table = [
            ("plain text", "plain text"),
            ("what? really? yes", "what? really? yes"),
            (
                "GET https://files.heygen.ai/a.mp4?X-Amz-Signature=abc&b=1 failed",
                "GET https://files.heygen.ai/a.mp4?*** failed",
            ),
            (
                "<a href=\"https://h/p?token\">",
                "<a href=\"https://h/p?***\">",
            ),
            (
                r#"{"u":"https:\/\/h\/p?t\u0026s"}"#,
                r#"{"u":"https:\/\/h\/p?***"}"#,
            ),
            ("/v3/x?sig=1\n/v3/y?sig=2", "/v3/x?***\n/v3/y?***"),
            ("key abcdefgh-12345678== refused", "key *** refused"),
            (
                r"key abcdefgh-12345678\u003d\u003d",
                r"key ***-***\u003d\u003d",
            ),
        ];
        let redactor = Redactor::new("abcdefgh-12345678==");
        for (text, clean) in table {
            assert_eq!(redactor.clean(text, 1000), clean);
        }
    }

    #[test]
    fn masking_comes_before_cutting() {
        let redactor = Redactor::new("abcdefgh-12345678==");
        assert_eq!(redactor.clean("1234 abcdefgh-12345678==", 12), "1234 ***");
        assert_eq!(redactor.clean("ééé", 3), "é");
    }

    #[test]
    fn a_key_that_is_a_word_is_masked_where_a_key_stands() {
        let table = [
            (
                "The API key is missing or wrong.",
                "The API key is missing or wrong.",
            ),
            ("a wrongly spelt key", "a wrongly spelt key"),
            ("the key wrong-way", "the key wrong-way"),
            ("key wrong refused, wrong!", "key *** refused, wrong!"),
            ("X-Api-Key: wrong", "X-Api-Key: ***"),
            (r#"{"token":"wrong"}"#, r#"{"token":"***"}"#),
        ];
        let redactor = Redactor::new("wrong");
        for (text, clean) in table {
            assert_eq!(redactor.clean(text, 1000), clean);
        }
        assert_eq!(
            Redactor::new("my-password").clean("no password", 100),
            "no password"
        );
    }

    proptest! {
        #[test]
        fn the_key_never_survives(before in ".*", key in "[!-~]{16,40}", after in ".*", max in 0usize..200) {
            let text = format!("{before}{key}{after}");
            let clean = Redactor::new(&key).clean(&text, max);
            // A key made of asterisks is also the mask.
            prop_assume!(!MASK.contains(&key) && !key.contains('*'));
            prop_assert!(!clean.contains(&key));
            prop_assert!(clean.len() <= max);
        }
    }
}
