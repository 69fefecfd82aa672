//! The HTTP client for files: never given the API key, sends no credentials, follows redirects by hand.

use std::io::Read;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;
use ureq::http::header::LOCATION;
use ureq::http::response::Parts;
use ureq::unversioned::transport::{Connector, DefaultConnector};

use super::error::{BadUrl, DownloadError, Place};
use super::range::Asked;
use super::surplus::{self, WatchConnector};
use crate::net::{self, AgentOptions, Proxy, Reuse};

/// Redirects followed for one request.
pub(super) const MAX_REDIRECTS: usize = 5;

/// Time-outs of one request. A body as a whole has none: it may be long.
#[derive(Clone, Copy, Debug)]
pub struct FileTimeouts {
    /// Name resolution; and again TCP and TLS together.
    pub connect: Duration,
    /// From the request sent to the response's headers complete.
    pub response: Duration,
    /// Between two reads that bring something.
    pub read: Duration,
}

impl FileTimeouts {
    /// 10 s to connect, `read` (`--read-timeout`) for all the headers and again between bytes of the body.
    pub fn with_read(read: Duration) -> Self {
        Self {
            connect: Duration::from_secs(10),
            response: read,
            read,
        }
    }
}

/// Fetches files, each over a connection of its own (see [`crate::net`]). Creating one does no work: certificates are loaded before the
/// first https request.
#[derive(Clone, Debug)]
pub struct FileClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    allow_loopback_http: bool,
    timeouts: FileTimeouts,
    proxy: Option<Proxy>,
    plain: OnceLock<Agent>,
    tls: OnceLock<Agent>,
    loopback_tls: OnceLock<Agent>,
}

/// The final answer to a request, its body still on the wire. Dropping it unread closes the connection.
pub(super) struct Answer {
    pub(super) head: Parts,
    pub(super) body: Body,
}

/// A body being read.
pub(super) struct Body {
    reader: ureq::BodyReader<'static>,
    /// More bytes were seen behind the proven end.
    pub(super) surplus: bool,
    pub(super) from: Place,
}

impl Body {
    /// Bytes read; 0 is the end as ureq proves it: `Content-Length` reached or the last chunk seen. After an error the
    /// body must not be read again: ureq then reports an end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ureq::Error> {
        let (result, surplus) = surplus::watch(|| self.reader.read(buffer));
        self.surplus |= surplus;
        // `From` unwraps ureq's own errors, time-outs above all, from the io::Error they travel in.
        result.map_err(ureq::Error::from)
    }
}

impl FileClient {
    /// The longest silence allowed within a body.
    pub(super) fn patience(&self) -> Duration {
        self.0.timeouts.read
    }

    /// `allow_loopback_http`: plain http to this machine is fine, because the API is on this machine, too.
    pub fn new(allow_loopback_http: bool, timeouts: FileTimeouts, proxy: Option<Proxy>) -> Self {
        Self(Arc::new(Inner {
            allow_loopback_http,
            timeouts,
            proxy,
            plain: OnceLock::new(),
            tls: OnceLock::new(),
            loopback_tls: OnceLock::new(),
        }))
    }

    /// GETs `url`, or its rest, through up to [`MAX_REDIRECTS`] redirects, each under the same rules.
    pub(super) fn get(&self, url: &str, asked: Option<&Asked>) -> Result<Answer, DownloadError> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let from = Place::of(&url);
            let bad_url = |why| DownloadError::BadUrl {
                why,
                url: from.clone(),
            };
            let target = Target::parse(&url, self.0.allow_loopback_http).map_err(bad_url)?;
            let mut request = self.agent(&target).get(&target.uri);
            if let Some(Asked { offset, etag, .. }) = asked {
                request = request
                    .header("Range", format!("bytes={offset}-"))
                    .header("If-Range", etag);
            }
            let answer = request.call().map_err(|error| {
                let proxy = self.0.proxy.as_ref();
                let route = proxy.and_then(|proxy| proxy.on_the_way_to(&url));
                DownloadError::network(error, &from.clone().by(route))
            })?;
            let (head, body) = answer.into_parts();
            if let (301 | 302 | 303 | 307 | 308, Some(location)) =
                (head.status.as_u16(), head.headers.get(LOCATION))
            {
                let location = location.to_str().map_err(|_| bad_url(BadUrl::Malformed))?;
                url = resolve(&target.uri, location);
                continue;
            }
            let reader = body.into_reader();
            return Ok(Answer {
                head,
                body: Body {
                    reader,
                    surplus: false,
                    from,
                },
            });
        }
        Err(DownloadError::BadUrl {
            why: BadUrl::TooManyRedirects,
            url: Place::of(&url),
        })
    }

    fn agent(&self, target: &Target) -> &Agent {
        let (agent, tls) = match (target.https, target.loopback) {
            (false, _) => (&self.0.plain, false),
            (true, false) => (&self.0.tls, true),
            (true, true) => (&self.0.loopback_tls, true),
        };
        agent.get_or_init(|| self.new_agent(tls, target.loopback))
    }

    fn new_agent(&self, tls: bool, loopback: bool) -> Agent {
        let options = AgentOptions {
            https: tls,
            loopback,
            proxy: self.0.proxy.as_ref(),
            reuse: Reuse::Never,
            connect: self.0.timeouts.connect,
            response: self.0.timeouts.response,
            per_read: self.0.timeouts.read,
            whole: None,
        };
        net::agent(&options, DefaultConnector::new().chain(WatchConnector))
    }
}

/// A URL that may be asked.
struct Target {
    uri: Uri,
    https: bool,
    loopback: bool,
}

impl Target {
    fn parse(url: &str, allow_loopback_http: bool) -> Result<Self, BadUrl> {
        let scheme = url.split(':').next().unwrap_or_default();
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return Err(BadUrl::Scheme);
        }
        let uri: Uri = url.parse().map_err(|_| BadUrl::Malformed)?;
        let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else {
            return Err(BadUrl::Malformed);
        };
        if authority.as_str().contains('@') {
            return Err(BadUrl::UserInfo);
        }
        let loopback = net::is_loopback(host);
        let allowed = https || (loopback && allow_loopback_http);
        if !allowed {
            return Err(BadUrl::Scheme);
        }
        Ok(Self {
            uri,
            https,
            loopback,
        })
    }
}

/// A `Location` relative to the URL that sent it (RFC 3986 §5.2; dot segments are left to the server).
fn resolve(base: &Uri, location: &str) -> String {
    let scheme = base.scheme_str().unwrap_or_default();
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let has_scheme = location.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    });
    if has_scheme {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with(['?', '#']) {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else {
        let path = base.path();
        let folder = path.rfind('/').map_or("/", |slash| &path[..=slash]);
        format!("{scheme}://{authority}{folder}{location}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_permitted_loopback_http_are_asked() {
        for (url, with, without) in [
            ("https://files.example/v?s=1", None, None),
            ("HTTPS://files.example/v", None, None),
            ("http://127.0.0.1:8080/v", None, Some(BadUrl::Scheme)),
            ("http://localhost/v", None, Some(BadUrl::Scheme)),
            ("http://[::1]:8080/v", None, Some(BadUrl::Scheme)),
            (
                "http://files.example/v",
                Some(BadUrl::Scheme),
                Some(BadUrl::Scheme),
            ),
            (
                "http://localhost.example/v",
                Some(BadUrl::Scheme),
                Some(BadUrl::Scheme),
            ),
            (
                "file:///etc/passwd",
                Some(BadUrl::Scheme),
                Some(BadUrl::Scheme),
            ),
            (
                "ftp://127.0.0.1/v",
                Some(BadUrl::Scheme),
                Some(BadUrl::Scheme),
            ),
            (
                "data:video/mp4,x",
                Some(BadUrl::Scheme),
                Some(BadUrl::Scheme),
            ),
            ("/v", Some(BadUrl::Scheme), Some(BadUrl::Scheme)),
            (
                "https://u:p@files.example/v",
                Some(BadUrl::UserInfo),
                Some(BadUrl::UserInfo),
            ),
            ("https://", Some(BadUrl::Malformed), Some(BadUrl::Malformed)),
            (
                "https://a b/v",
                Some(BadUrl::Malformed),
                Some(BadUrl::Malformed),
            ),
        ] {
            assert_eq!(Target::parse(url, true).err(), with, "{url}");
            assert_eq!(Target::parse(url, false).err(), without, "{url}");
        }
    }

    #[test]
    fn a_location_may_be_relative() {
        let base: Uri = "https://h:1/a/b?q".parse().unwrap();
        for (location, url) in [
            ("https://x/y?z", "https://x/y?z"),
            ("//x/y", "https://x/y"),
            ("/y", "https://h:1/y"),
            ("y?z", "https://h:1/a/y?z"),
            ("?z", "https://h:1/a/b?z"),
            ("file:///etc/passwd", "file:///etc/passwd"),
            ("data:,x", "data:,x"),
        ] {
            assert_eq!(resolve(&base, location), url);
        }
    }
}
