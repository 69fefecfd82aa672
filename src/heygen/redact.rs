//! Keeps secrets out of text that may be printed, logged or stored: the API key, and the signatures of presigned URLs.

/// What stands in the place of a secret.
const MASK: &str = "***";

/// A run of letters and digits of the key that is at least this long is a secret on its own: a server that echoes the key
/// may have escaped what stands between the runs (`\u003d`, `%3D`).
const MIN_RUN: usize = 8;

/// Knows the secrets of one client.
#[derive(Clone)]
pub(super) struct Redactor {
    /// Longest first, so that no part of the key is masked before the whole.
    secrets: Vec<String>,
}

impl Redactor {
    pub(super) fn new(key: &str) -> Self {
        let mut secrets: Vec<String> = key
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|run| run.len() >= MIN_RUN)
            .chain([key])
            .filter(|secret| !secret.is_empty())
            .map(str::to_owned)
            .collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// `text` without secrets, then cut to at most `max` bytes: cutting first could leave half a secret unrecognised.
    pub(super) fn clean(&self, text: &str, max: usize) -> String {
        let mut clean = without_queries(text);
        for secret in &self.secrets {
            if clean.contains(secret) {
                clean = clean.replace(secret, MASK);
            }
        }
        truncate(&mut clean, max);
        clean
    }
}

/// Masks what follows the `?` in every word that looks like a URL or a path with parameters.
fn without_queries(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for word in text.split_inclusive(ends_url) {
        let (url, end) = match word.char_indices().next_back() {
            Some((at, last)) if ends_url(last) => word.split_at(at),
            _ => (word, ""),
        };
        match url.split_once('?') {
            Some((address, query)) if query.contains('=') || has_scheme(address) => {
                clean.push_str(address);
                clean.push('?');
                clean.push_str(MASK);
            }
            _ => clean.push_str(url),
        }
        clean.push_str(end);
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

/// Cuts to at most `max` bytes without cutting a character in two.
pub(super) fn truncate(text: &mut String, max: usize) {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
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

    proptest! {
        #[test]
        fn the_key_never_survives(before in ".*", key in "[!-~]{4,40}", after in ".*", max in 0usize..200) {
            let text = format!("{before}{key}{after}");
            let clean = Redactor::new(&key).clean(&text, max);
            // A key made of asterisks is also the mask.
            prop_assume!(!MASK.contains(&key) && !key.contains('*'));
            prop_assert!(!clean.contains(&key));
            prop_assert!(clean.len() <= max);
        }
    }
}
