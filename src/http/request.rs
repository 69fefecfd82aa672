use std::net::SocketAddr;

use crate::net::percent_decoded;

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
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn parameter(&self, name: &str) -> Option<String> {
        let query = self.query.replace('+', " ");
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decoded(key) == name).then(|| percent_decoded(value))
        })
    }

    /// The decoded segments of the path: `/a/b%2Fc` is `["a", "b/c"]`.
    pub fn segments(&self) -> Vec<String> {
        let path = self.path.trim_start_matches('/');
        path.split('/').map(percent_decoded).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_nonsense_is_kept() {
        for (text, in_path, in_query) in [
            ("a%2Fb", "a/b", "a/b"),
            ("a+b", "a+b", "a b"),
            ("100%", "100%", "100%"),
            ("%zz%4", "%zz%4", "%zz%4"),
            ("%C3%A4", "ä", "ä"),
        ] {
            let request = Request {
                method: "GET".to_owned(),
                path: format!("/{text}"),
                query: format!("x=1&n={text}"),
                headers: Vec::new(),
                body: Vec::new(),
                peer: ([127, 0, 0, 1], 1).into(),
                keep_alive: true,
            };
            assert_eq!(request.segments(), [in_path]);
            assert_eq!(request.parameter("n").as_deref(), Some(in_query));
        }
    }
}
