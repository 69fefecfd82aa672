//! One request as it was sent.

use std::net::SocketAddr;

use crate::net;

/// A whole request: the body is read before the handler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// The part of the target before `?`, still percent-encoded.
    pub path: String,
    /// The part after `?`, still percent-encoded; empty when there is none.
    pub query: String,
    /// In the order sent, names as sent, values as text (bytes outside UTF-8 are replaced).
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub peer: SocketAddr,
    pub keep_alive: bool,
}

impl Request {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The first query parameter of that name, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true) == name).then(|| decode(value, true))
        })
    }

    /// The decoded segments of the path: `/a/b%2Fc` is `["a", "b/c"]`.
    pub fn segments(&self) -> Vec<String> {
        self.path
            .trim_start_matches('/')
            .split('/')
            .map(|segment| decode(segment, false))
            .collect()
    }
}

/// Percent-decodes; `plus` also reads `+` as a space, as query strings do.
fn decode(text: &str, plus: bool) -> String {
    if plus {
        net::percent_decoded(&text.replace('+', " "))
    } else {
        net::percent_decoded(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_nonsense_is_kept() {
        for (text, plus, decoded) in [
            ("a%2Fb", false, "a/b"),
            ("a+b", false, "a+b"),
            ("a+b", true, "a b"),
            ("100%", true, "100%"),
            ("%zz%4", true, "%zz%4"),
            ("%C3%A4", true, "ä"),
        ] {
            assert_eq!(decode(text, plus), decoded);
        }
    }
}
