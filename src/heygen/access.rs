//! Where HeyGen is and who asks: the base URL and the API key.

use std::fmt;
use std::num::NonZeroU16;

use sha2::{Digest, Sha256};
use ureq::http::Uri;

use crate::net;
use crate::secret::Secret;
use crate::video::Account;

/// Where the API is: `https`, or `http` on this machine only, because the key goes there.
///
/// Scheme and host are lower-cased, a default port and trailing slashes dropped, so that one place has one spelling:
/// the text is part of the [`Account`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    loopback: bool,
}

const MALFORMED: &str = "not a URL of the form https://host[:port][/path]";
const INSECURE: &str =
    "only https is allowed; plain http for this machine (127.0.0.1, [::1], localhost) only";
const USERINFO: &str = "a user name or password cannot be part of it";
const QUERY: &str = "a query or fragment cannot be part of it";

impl BaseUrl {
    pub const DEFAULT: &str = "https://api.heygen.com";

    /// Checks and normalises. An error never repeats the input, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.contains(['?', '#']) {
            return Err(QUERY);
        }
        let uri: Uri = text.parse().map_err(|_| MALFORMED)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(MALFORMED);
        };
        if authority.as_str().contains('@') {
            return Err(USERINFO);
        }
        let scheme = scheme.to_ascii_lowercase();
        let host = authority.host().to_ascii_lowercase();
        let port: Option<NonZeroU16> = match &authority.as_str()[host.len()..] {
            "" => None,
            rest => {
                let digits = rest.strip_prefix(':').ok_or(MALFORMED)?;
                Some(digits.parse().map_err(|_| MALFORMED)?)
            }
        };
        let loopback = net::is_loopback(&host);
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" if loopback => 80,
            _ => return Err(INSECURE),
        };
        if host.is_empty() {
            return Err(MALFORMED);
        }
        let port = port.filter(|port| port.get() != default_port);
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            text: format!("{scheme}://{host}{port}{path}"),
            loopback,
        })
    }

    /// Whether the host is this machine; only then may anything go over plain http.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `host[:port]`, as named in messages.
    pub(super) fn authority(&self) -> &str {
        self.text.split('/').nth(2).unwrap_or_default()
    }

    pub(super) fn is_https(&self) -> bool {
        self.text.starts_with("https:")
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The account a request is made under; HeyGen's videos belong to accounts. The first digits of the key's SHA-256 tell keys
/// apart without telling them.
pub fn account(base: &BaseUrl, key: &Secret) -> Account {
    let digest = Sha256::digest(key.expose());
    Account::new(format!("{base}#{}", net::hex(&digest[..6])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_account_does_not_show_its_key() {
        let key = Secret::new("abc").unwrap();
        let base = BaseUrl::parse(BaseUrl::DEFAULT).unwrap();
        let account = account(&base, &key);
        assert_eq!(account.as_str(), "https://api.heygen.com#ba7816bf8f01");
    }

    #[test]
    fn base_urls_are_safe_and_spelt_one_way() {
        let table = [
            ("https://api.heygen.com", Ok("https://api.heygen.com")),
            (
                " HTTPS://API.HeyGen.com:443// ",
                Ok("https://api.heygen.com"),
            ),
            ("https://h:8443/Proxy/", Ok("https://h:8443/Proxy")),
            ("http://127.0.0.1:8080", Ok("http://127.0.0.1:8080")),
            ("http://127.9.9.9", Ok("http://127.9.9.9")),
            ("http://[::1]:1/", Ok("http://[::1]:1")),
            ("http://[::1]8080", Err(MALFORMED)),
            ("http://LOCALHOST:80", Ok("http://localhost")),
            ("http://api.heygen.com", Err(INSECURE)),
            ("http://127.0.0.1.evil.com", Err(INSECURE)),
            ("http://localhost.evil.com", Err(INSECURE)),
            ("http://128.0.0.1", Err(INSECURE)),
            ("http://0.0.0.0", Err(INSECURE)),
            ("http://[::2]", Err(INSECURE)),
            ("ftp://127.0.0.1", Err(INSECURE)),
            ("https://user:pw@h", Err(USERINFO)),
            ("http://127.0.0.1@evil.com", Err(USERINFO)),
            ("https://h?x=1", Err(QUERY)),
            ("https://h/#x", Err(QUERY)),
            ("https://h:0", Err(MALFORMED)),
            ("https://h:99999", Err(MALFORMED)),
            ("https://h:", Err(MALFORMED)),
            ("https://", Err(MALFORMED)),
            ("https://:443", Err(MALFORMED)),
            ("https://a b", Err(MALFORMED)),
            ("/v3", Err(MALFORMED)),
            ("api.heygen.com", Err(MALFORMED)),
            ("", Err(MALFORMED)),
        ];
        for (text, expected) in table {
            let parsed = BaseUrl::parse(text);
            let parsed = parsed.as_ref().map(BaseUrl::as_str);
            assert_eq!(parsed, expected.as_ref().copied(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_does_not(text in ".*") {
            if let Ok(base) = BaseUrl::parse(&text) {
                prop_assert!(base.is_https() || base.is_loopback());
                prop_assert_eq!(BaseUrl::parse(base.as_str()), Ok(base));
            }
        }
    }
}
