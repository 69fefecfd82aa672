//! Where HeyGen is and who asks: the base URL and the API key.

use std::fmt;

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
    authority: String,
    loopback: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    #[error("not a URL of the form https://host[:port][/path]")]
    Malformed,
    #[error(
        "only https is allowed; plain http for this machine (127.0.0.1, [::1], localhost) only"
    )]
    Insecure,
    #[error("a user name or password cannot be part of it")]
    Userinfo,
    #[error("a query or fragment cannot be part of it")]
    QueryOrFragment,
}

impl BaseUrl {
    /// Where HeyGen's API is unless the user says otherwise.
    pub const DEFAULT: &str = "https://api.heygen.com";

    /// Checks and normalises. An error never repeats the input, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let text = text.trim();
        if text.contains(['?', '#']) {
            return Err(BaseUrlError::QueryOrFragment);
        }
        let uri: Uri = text.parse().map_err(|_| BaseUrlError::Malformed)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(BaseUrlError::Malformed);
        };
        if authority.as_str().contains('@') {
            return Err(BaseUrlError::Userinfo);
        }
        let scheme = scheme.to_ascii_lowercase();
        let host = authority.host().to_ascii_lowercase();
        let port = port(&authority.as_str()[authority.host().len()..])?;
        let loopback = net::is_loopback(&host);
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" if loopback => 80,
            _ => return Err(BaseUrlError::Insecure),
        };
        if host.is_empty() {
            return Err(BaseUrlError::Malformed);
        }
        let authority = match port.filter(|port| *port != default_port) {
            Some(port) => format!("{host}:{port}"),
            None => host,
        };
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            text: format!("{scheme}://{authority}{path}"),
            authority,
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
        &self.authority
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

/// The first 12 hexadecimal digits of the key's SHA-256: tells keys apart without telling them.
fn fingerprint(key: &Secret) -> String {
    net::hex(&Sha256::digest(key.expose())[..6])
}

/// The account a request is made under; HeyGen's videos belong to accounts.
pub fn account(base: &BaseUrl, key: &Secret) -> Account {
    Account::new(format!("{base}#{}", fingerprint(key)))
}

/// `after_host` is empty or `:PORT`.
fn port(after_host: &str) -> Result<Option<u16>, BaseUrlError> {
    if after_host.is_empty() {
        return Ok(None);
    }
    match after_host.strip_prefix(':').map(str::parse) {
        Some(Ok(port)) if port != 0 => Ok(Some(port)),
        _ => Err(BaseUrlError::Malformed),
    }
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
        use BaseUrlError::{Insecure, Malformed, QueryOrFragment, Userinfo};
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
            ("http://LOCALHOST:80", Ok("http://localhost")),
            ("http://api.heygen.com", Err(Insecure)),
            ("http://127.0.0.1.evil.com", Err(Insecure)),
            ("http://localhost.evil.com", Err(Insecure)),
            ("http://128.0.0.1", Err(Insecure)),
            ("http://0.0.0.0", Err(Insecure)),
            ("http://[::2]", Err(Insecure)),
            ("ftp://127.0.0.1", Err(Insecure)),
            ("https://user:pw@h", Err(Userinfo)),
            ("http://127.0.0.1@evil.com", Err(Userinfo)),
            ("https://h?x=1", Err(QueryOrFragment)),
            ("https://h/#x", Err(QueryOrFragment)),
            ("https://h:0", Err(Malformed)),
            ("https://h:99999", Err(Malformed)),
            ("https://h:", Err(Malformed)),
            ("https://", Err(Malformed)),
            ("https://:443", Err(Malformed)),
            ("https://a b", Err(Malformed)),
            ("/v3", Err(Malformed)),
            ("api.heygen.com", Err(Malformed)),
            ("", Err(Malformed)),
        ];
        for (text, expected) in table {
            let parsed = BaseUrl::parse(text);
            let parsed = parsed.as_ref().map(BaseUrl::as_str).map_err(|error| *error);
            assert_eq!(parsed, expected, "{text:?}");
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
