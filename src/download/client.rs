//! The HTTP client for files: never given the API key, sends no credentials, follows redirects by hand.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use ureq::Agent;
use ureq::http::Uri;
use ureq::http::header::{CONTENT_DISPOSITION, LOCATION};
use ureq::http::response::Parts;
use ureq::http::uri::Scheme;

use super::error::{DownloadError, DownloadResult, shown};
use super::stop;
use crate::net::transport::{self, WatchingConnector};
use crate::net::{self, AgentOptions, Proxy, Reuse, Timeouts};
use crate::video::Part;

pub(super) const MAX_REDIRECTS: usize = 5;

/// Fetches files, each over a connection of its own (see [`crate::net`]). Creating one does no work: certificates are loaded before the
/// first https request.
#[derive(Clone, Debug)]
pub(crate) struct FileClient {
    allow_loopback_http: bool,
    /// The longest silence allowed, before an answer and within one. A body as a whole may be long.
    silence: Duration,
    proxy: Option<Proxy>,
    /// For plain http, for https, and for https to this machine.
    agents: Arc<[OnceLock<Agent>; 3]>,
}

/// A body on its way, judged as it comes. Dropping it unread closes the connection.
pub(super) struct FileBody {
    reader: ureq::BodyReader<'static>,
    pub(super) from: String,
    /// Of the whole file.
    got: u64,
    pub(super) total: Option<u64>,
    max: u64,
    patience: Duration,
    /// When it was last looked whether it comes at a pace at all, and how much was here then: a byte now and then
    /// defeats every time-out per read.
    then: (Instant, u64),
}

/// What has to come within five times the longest silence allowed.
const SLOWEST: u64 = 64 * 1024;

impl FileBody {
    /// It is the file of `total` bytes, from byte `got` on; one of more than `max` bytes is refused.
    pub(super) fn expect(mut self, got: u64, total: Option<u64>, max: u64) -> DownloadResult<Self> {
        if total.is_some_and(|total| total > max) {
            return Err(DownloadError::too_large(&self.from, max));
        }
        (self.got, self.total, self.max) = (got, total, max);
        self.then = (Instant::now(), got);
        Ok(self)
    }

    /// Bytes read; 0 is the proven end: `Content-Length` reached or the last chunk seen. After an error it must not be
    /// read again: ureq then reports an end. To give up here is to have been sent something that is not the file.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> DownloadResult<usize> {
        if stop::is_requested() {
            return Err(DownloadError::stopped());
        }
        let (from, total) = (&self.from, self.total);
        if self.then.0.elapsed() >= self.patience {
            if self.got - self.then.1 < SLOWEST {
                let too_slow = ureq::Error::Timeout(ureq::Timeout::RecvBody);
                return Err(DownloadError::network(&too_slow, from));
            }
            self.then = (Instant::now(), self.got);
        }
        let (read, surplus) = transport::read_noting_surplus(|| self.reader.read(buffer));
        // `From` unwraps ureq's own errors, time-outs above all, from the io::Error they travel in.
        let bytes = read.map_err(|error| match ureq::Error::from(error) {
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                DownloadError::cut_short(self.got, total, from)
            }
            error => DownloadError::network(&error, from),
        })?;
        self.got += bytes as u64;
        if surplus || total.is_some_and(|total| self.got > total) {
            let what = "sent more bytes than it announced";
            Err(DownloadError::content(from, what))
        } else if self.got > self.max {
            Err(DownloadError::too_large(from, self.max))
        } else if bytes == 0 && total.is_some_and(|total| self.got < total) {
            Err(DownloadError::cut_short(self.got, total, from))
        } else {
            Ok(bytes)
        }
    }
}

impl FileClient {
    /// `allow_loopback_http`: plain http to this machine is fine, because the API is on this machine, too.
    pub(crate) fn new(allow_loopback_http: bool, silence: Duration, proxy: Option<Proxy>) -> Self {
        Self {
            allow_loopback_http,
            silence,
            proxy,
            agents: Arc::default(),
        }
    }

    /// GETs `url`, or its rest, through up to [`MAX_REDIRECTS`] redirects, each under the same rules.
    pub(super) fn get(
        &self,
        url: &str,
        rest_of: Option<&Part>,
    ) -> DownloadResult<(Parts, FileBody)> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let from = shown(&url);
            let bad_url = |why| DownloadError::bad_url(&from, why);
            let uri = usable(&url, self.allow_loopback_http).map_err(bad_url)?;
            let mut request = self.agent(&uri).get(&uri);
            if let Some(part) = rest_of
                && let Some(etag) = &part.etag
            {
                request = request
                    .header("Range", format!("bytes={}-", part.bytes))
                    .header("If-Range", etag);
            }
            let answer = request.call().map_err(|error| {
                let proxy = self.proxy.as_ref();
                let route = proxy.and_then(|proxy| proxy.on_the_way_to(&url));
                DownloadError::network(&error, &(from.clone() + &route.unwrap_or_default()))
            })?;
            let (head, body) = answer.into_parts();
            if let (301 | 302 | 303 | 307 | 308, Some(location)) =
                (head.status.as_u16(), head.headers.get(LOCATION))
            {
                let location = location.to_str().map_err(|_| bad_url(MALFORMED))?;
                url = resolve(&uri, location);
                continue;
            }
            if head.status.is_success() && is_named_otherwise(&uri, &head) {
                return Err(DownloadError::mixed_up(&from));
            }
            let body = FileBody {
                reader: body.into_reader(),
                from,
                got: 0,
                total: None,
                max: u64::MAX,
                patience: self.silence.saturating_mul(5),
                then: (Instant::now(), 0),
            };
            return Ok((head, body));
        }
        let why = format_args!("redirected more than {MAX_REDIRECTS} times");
        Err(DownloadError::bad_url(&shown(&url), why))
    }

    fn agent(&self, uri: &Uri) -> &Agent {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let loopback = uri.host().is_some_and(net::is_loopback);
        let one = usize::from(https) + usize::from(https && loopback);
        self.agents[one].get_or_init(|| {
            let options = AgentOptions {
                https,
                loopback,
                proxy: self.proxy.as_ref(),
                reuse: Reuse::Never,
                timeouts: Timeouts {
                    response: self.silence,
                    per_read: self.silence,
                    ..Timeouts::default()
                },
                whole: None,
            };
            let connector = WatchingConnector::ending(stop::is_requested);
            net::agent(&options, connector)
        })
    }
}

/// A presigned URL can name the file that its host is to answer with; an answer with another name is an answer to
/// another question.
fn is_named_otherwise(uri: &Uri, head: &Parts) -> bool {
    let parameters = uri.query().unwrap_or_default().split('&');
    let wanted = parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("response-content-disposition"));
    let wanted = wanted.map(|(_, wanted)| net::percent_decoded(&wanted.replace('+', " ")));
    let named = head.headers.get(CONTENT_DISPOSITION);
    let named = named.and_then(|named| named.to_str().ok());
    let names = wanted.as_deref().map(file_names);
    let (wanted, named) = names.zip(named.map(file_names)).unwrap_or_default();
    // A host that writes plain names only leaves the other letters out, or puts signs for them.
    let plain = |name: &String| name.chars().filter(char::is_ascii).collect();
    let is_same = |name| named.contains(name) || named.contains(&plain(name));
    !named.is_empty() && !wanted.is_empty() && !wanted.iter().any(is_same)
}

/// Letters and digits of the plain names in a `Content-Disposition`: hosts write all the rest in ways of their own.
fn file_names(disposition: &str) -> Vec<String> {
    let text = disposition.to_lowercase();
    let after = |key| text.split_once(key).map_or("", |(_, name)| name);
    let extended = after("filename*=").split(';').next();
    let extended = extended.and_then(|name| name.splitn(3, '\'').nth(2));
    let plain = after("filename=");
    let plain = match plain.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => plain.split(';').next(),
    };
    let names = extended
        .into_iter()
        .chain(plain.filter(|name| name.is_ascii()));
    let names = names.map(|name| net::percent_decoded(name).to_lowercase());
    let names = names.map(|name| name.chars().filter(|c| c.is_alphanumeric()).collect());
    names.filter(|name: &String| !name.is_empty()).collect()
}

const MALFORMED: &str = "not a valid URL";
const SCHEME: &str = "refused, only https is fetched from";
/// It would be sent as `Authorization`.
const USER_INFO: &str = "refused, it contains a user name";

/// What may not stand in a URL as it is; browsers escape it.
const UNESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

fn usable(url: &str, allow_loopback_http: bool) -> Result<Uri, &'static str> {
    let url = url.trim();
    let scheme = url.split(':').next().unwrap_or_default();
    let https = scheme.eq_ignore_ascii_case("https");
    if !https && !scheme.eq_ignore_ascii_case("http") {
        return Err(SCHEME);
    }
    let url = utf8_percent_encode(url, UNESCAPED).to_string();
    let uri: Uri = url.parse().map_err(|_| MALFORMED)?;
    let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else {
        return Err(MALFORMED);
    };
    if authority.as_str().contains('@') {
        return Err(USER_INFO);
    }
    let allowed = https || allow_loopback_http && net::is_loopback(host);
    allowed.then_some(uri).ok_or(SCHEME)
}

/// A `Location` relative to the URL that sent it (RFC 3986 §5.2; dot segments are left to the server).
fn resolve(base: &Uri, location: &str) -> String {
    let scheme = base.scheme_str().unwrap_or_default();
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    match location.split_once(':') {
        Some((own, _)) if !own.is_empty() && own.chars().all(plain) => return location.to_owned(),
        _ if location.starts_with("//") => return format!("{scheme}:{location}"),
        _ => {}
    }
    let path = base.path();
    let start = match location.chars().next() {
        Some('/') => "",
        Some('?' | '#') => path,
        _ => path.rfind('/').map_or("/", |slash| &path[..=slash]),
    };
    format!("{scheme}://{authority}{start}{location}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_permitted_loopback_http_are_asked() {
        for (url, with, without) in [
            ("https://files.example/v?s=1", None, None),
            ("HTTPS://files.example/v", None, None),
            ("http://127.0.0.1:8080/v", None, Some(SCHEME)),
            ("http://localhost/v", None, Some(SCHEME)),
            ("http://[::1]:8080/v", None, Some(SCHEME)),
            ("http://files.example/v", Some(SCHEME), Some(SCHEME)),
            ("http://localhost.example/v", Some(SCHEME), Some(SCHEME)),
            ("file:///etc/passwd", Some(SCHEME), Some(SCHEME)),
            ("ftp://127.0.0.1/v", Some(SCHEME), Some(SCHEME)),
            ("data:video/mp4,x", Some(SCHEME), Some(SCHEME)),
            ("/v", Some(SCHEME), Some(SCHEME)),
            (
                "https://u:p@files.example/v",
                Some(USER_INFO),
                Some(USER_INFO),
            ),
            ("https://", Some(MALFORMED), Some(MALFORMED)),
            ("https://a b/v", Some(MALFORMED), Some(MALFORMED)),
            (" https://h/a b{1}|ü.mp4?c=^d ", None, None),
        ] {
            assert_eq!(usable(url, true).err(), with, "{url}");
            assert_eq!(usable(url, false).err(), without, "{url}");
        }
    }

    #[test]
    fn an_answer_has_the_name_that_its_url_gives_it() {
        let is_other = |query: &str, name: Option<&str>| {
            let uri: Uri = format!("https://h/v?{query}").parse().unwrap();
            let mut answer = ureq::http::Response::builder();
            if let Some(name) = name {
                answer = answer.header("Content-Disposition", name);
            }
            is_named_otherwise(&uri, &answer.body(()).unwrap().into_parts().0)
        };
        let query = "a=b&response-content-disposition=attachment%3B+filename%3D%22a.mp4%22";
        assert!(!is_other(query, Some("attachment; filename=\"a.mp4\"")));
        assert!(is_other(query, Some("attachment; filename=\"b.mp4\"")));
        assert!(!is_other(query, None));
        assert!(is_other(query, Some("attachment;FileName=x")));
        let real = "response-content-disposition=attachment%3B+filename%2A%3DUTF-8%27%27It's+My%2520Vid%25C3%25A9o.mp4%3B";
        for (name, is_it) in [
            ("filename*=UTF-8''It's%20My%20Vid%C3%A9o.mp4;", true),
            ("FILENAME*=utf-8'en'its_my_vid%c3%89o.MP4", true),
            (
                "filename=\"x.mp4\"; filename*=UTF-8''Its%20My%20Vid%C3%A9o.mp4",
                true,
            ),
            ("filename=\"It's%20My%20Vid%C3%A9o.mp4\"", true),
            ("filename*=UTF-8''My%20Vid%C3%A9o.mp4;", false),
            ("filename*=UTF-8''Your%20Vid%C3%A9o.mp4;", false),
            ("filename=\"It_s My Vid_o.mp4\"", true),
            ("filename=\"Your Video.mp4\"", false),
        ] {
            let named = format!("attachment; {name}");
            assert_eq!(is_other(real, Some(&named)), !is_it, "{name}");
        }
        for same in [
            "inline",
            "attachment;filename=a.mp4 ; filename*=UTF-8''b.mp4",
        ] {
            assert!(!is_other(query, Some(same)), "{same}");
        }
        let umlaut = "response-content-disposition=attachment%3B%20filename%3D%22%C3%BC.mp4%22";
        assert!(!is_other(umlaut, Some("attachment; filename=\"_.mp4\"")));
        assert!(!is_other("a=b", Some("attachment; filename=\"b.mp4\"")));
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
