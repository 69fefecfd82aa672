//! The proxy that the environment names.

use ureq::http::Uri;

/// Where a proxy may be named, in ureq's order: the first that is set is used, or is an error.
const VARIABLES: [&str; 6] = [
    "ALL_PROXY",
    "all_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
];

/// An HTTP (`CONNECT`) or SOCKS proxy, and which hosts are asked without it.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub(super) inner: ureq::Proxy,
    variable: &'static str,
}

impl Proxy {
    /// What `variable` gives for the proxies' variables and for `NO_PROXY`.
    /// An error is the name of the one that cannot be used: its value may hold a password.
    pub fn find<'a>(
        variable: impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>,
    ) -> Result<Option<Self>, &'static str> {
        let set = VARIABLES
            .into_iter()
            .find_map(|name| Some((name, variable(name)?)));
        let Some((name, value)) = set else {
            return Ok(None);
        };
        let no_proxy = variable("NO_PROXY").or_else(|| variable("no_proxy"));
        let inner = parse(value.trim(), no_proxy.as_deref().unwrap_or_default()).ok_or(name)?;
        Ok(Some(Self {
            inner,
            variable: name,
        }))
    }

    /// ` through the proxy HOST:PORT of HTTPS_PROXY`, if `url` is asked for that way.
    pub(crate) fn on_the_way_to(&self, url: &str) -> Option<String> {
        let uri: Uri = url.parse().ok()?;
        let Self { inner, variable } = self;
        let proxied = !super::is_loopback(uri.host()?) && !inner.is_no_proxy(&uri);
        let (host, port) = (inner.host(), inner.port());
        proxied.then(|| format!(" through the proxy {host}:{port} of {variable}"))
    }
}

fn parse(value: &str, no_proxy: &str) -> Option<ureq::Proxy> {
    let parsed = ureq::Proxy::new(value).ok()?;
    if parsed.host().is_empty() {
        return None;
    }
    let mut builder = ureq::Proxy::builder(parsed.protocol())
        .host(parsed.host())
        .port(parsed.port());
    if let Some(name) = parsed.username() {
        builder = builder.username(name);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    let hosts = no_proxy.split(',').map(str::trim);
    hosts
        .filter(|host| !host.is_empty())
        .fold(builder, ureq::ProxyBuilder::no_proxy)
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn find(set: &[(&str, &'static str)]) -> Result<Option<Proxy>, &'static str> {
        Proxy::find(|name| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| Cow::Borrowed(*value))
        })
    }

    #[test]
    fn the_first_that_is_set_is_used_or_refused() {
        assert!(find(&[]).unwrap().is_none());
        for (value, place) in [
            ("http://proxy.example:3128", "proxy.example:3128"),
            (
                "http://user:p%40ss@proxy.example:3128",
                "proxy.example:3128",
            ),
            ("socks5://proxy.example", "proxy.example:1080"),
            ("proxy.example:8080", "proxy.example:8080"),
            ("http://[::1]:8080/", "[::1]:8080"),
        ] {
            let proxy = find(&[("HTTPS_PROXY", value)]).unwrap().unwrap();
            assert_eq!(
                proxy.on_the_way_to("https://api.heygen.com/v3").unwrap(),
                format!(" through the proxy {place} of HTTPS_PROXY")
            );
            assert_eq!(proxy.on_the_way_to("http://127.0.0.1:1/"), None);
        }
        for value in [
            "ftp://proxy.example",
            "a b",
            "http://",
            "://",
            "/tmp/socket",
        ] {
            let set = [
                ("https_proxy", value),
                ("HTTP_PROXY", "http://proxy.example"),
            ];
            assert_eq!(find(&set).unwrap_err(), "https_proxy", "{value}");
        }
    }

    #[test]
    fn some_hosts_are_asked_directly() {
        let set = [
            ("ALL_PROXY", "http://proxy.example"),
            ("NO_PROXY", " api.heygen.com , .internal,"),
        ];
        let proxy = find(&set).unwrap().unwrap();
        for (url, proxied) in [
            ("https://api.heygen.com/", false),
            ("https://a.internal/", false),
            ("https://files.heygen.com/", true),
        ] {
            assert_eq!(proxy.on_the_way_to(url).is_some(), proxied, "{url}");
        }
    }
}
