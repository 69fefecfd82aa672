//! One request as it was sent.

use std::net::SocketAddr;

/// A whole request: the body is read before the handler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As sent: `GET`, `POST`, …
    pub method: String,
    /// The part of the target before `?`, still percent-encoded.
    pub path: String,
    /// The part after `?`, still percent-encoded; empty when there is none.
    pub query: String,
    /// In the order sent, names as sent, values as text (bytes outside UTF-8 are replaced).
    pub headers: Vec<(String, String)>,
    /// Without its transfer encoding.
    pub body: Vec<u8>,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Whether the client wants the connection kept open.
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

/// Percent-decodes; `plus` also reads `+` as a space, as query strings do. What is no valid escape stays as it is.
fn decode(text: &str, plus: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) if plus => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(*first),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
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
