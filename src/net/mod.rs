//! What all HTTP needs: one way to make an agent, watched connections (`transport`), proxies, small readers and writers.
//!
//! # No answer goes to the wrong question
//!
//! On a connection that is kept, an answer belongs to a request by its place in the order, and by nothing else. A server
//! or proxy that answers twice, or late, moves every later answer by one: a submission would get another row's video id, a
//! file another video's bytes. ureq looks at a kept connection before it uses it again and leaves one that has something
//! to read. That catches what has arrived by then; what arrives between the look and the answer, it cannot. So:
//!
//! * a POST that creates, and every file, has a connection that carried nothing before and carries nothing after
//!   ([`Reuse::Never`]). Sessions are resumed, so over TLS that costs two round trips;
//! * status requests share connections ([`Reuse::Checked`]): their answers name the videos that they are about, and one
//!   about another video is an error of this run's.

mod agent;
mod proxy;
mod resolver;
pub(crate) mod transport;

use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

pub use agent::Timeouts;
pub(crate) use agent::{AgentOptions, Reuse, agent};
pub(crate) use proxy::Proxy;

use crate::time::{LONGEST_WAIT, Timestamp};

/// Reads a `Retry-After` header (RFC 9110 §10.2.3): whole seconds or an HTTP date. At most [`LONGEST_WAIT`]; a date in the
/// past is zero.
pub(crate) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for a u64 still mean "very long", not "garbage".
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        http_date(value)?.since(now)
    };
    Some(wait.min(LONGEST_WAIT))
}

/// Any of the three forms of an HTTP date (RFC 9110 §5.6.7), from 1970 on.
pub(crate) fn http_date(value: &str) -> Option<Timestamp> {
    httpdate::parse_http_date(value).ok().map(Timestamp::from)
}

/// Whether a host, as it stands in a URL, is this machine. Names are not resolved: any other name could point elsewhere
/// by the time of the request.
pub(crate) fn is_loopback(host: &str) -> bool {
    let v6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
        || v6.is_some_and(|host| host.parse().is_ok_and(|ip: Ipv6Addr| ip.is_loopback()))
}

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One segment of a path, or one value of a query: no text can change the URL it stands in.
pub(crate) fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Each part of a path by itself; of an absolute one without the first slash.
pub(crate) fn percent_encoded_path(path: &Path) -> String {
    let parts = path.strip_prefix("/").unwrap_or(path).components();
    let parts = parts.map(|part| percent_encoded(&part.as_os_str().to_string_lossy()));
    parts.collect::<Vec<_>>().join("/")
}

pub(crate) fn file_url(path: &Path) -> String {
    format!("file:///{}", percent_encoded_path(path))
}

/// What is no valid escape stays as it is.
pub(crate) fn percent_decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Either case; `None` unless all of it is pairs of digits.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks() else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    pairs.iter().map(byte).collect()
}

/// The longest beginning of at most `max` bytes that ends between characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What `source` has, if that is no more than `max` bytes; what was read so far, and why not more, otherwise.
pub(crate) fn read_up_to(source: impl Read, max: u64) -> (Vec<u8>, Option<io::Error>) {
    let mut bytes = Vec::new();
    // One byte more than allowed tells what just fits from what goes on.
    let end = match source.take(max + 1).read_to_end(&mut bytes) {
        Err(error) => Some(error),
        Ok(_) if bytes.len() as u64 > max => Some(io::ErrorKind::FileTooLarge.into()),
        Ok(_) => None,
    };
    (bytes, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110.
        let now = Timestamp::from_secs(784_111_777);
        let table: &[(&str, Option<u64>)] = &[
            ("0", Some(0)),
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("3600", Some(3600)),
            ("3601", Some(3600)),
            ("99999999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Wed, 01 Jan 2098 00:00:00 GMT", Some(3600)),
            ("Mon, 06 Nov 1994 08:50:37 GMT", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("٣", None),
            ("soon", None),
            ("Sun, 06 Nov 1994 08:50:37 +0200", None),
        ];
        for (value, seconds) in table {
            assert_eq!(
                retry_after(value, now),
                seconds.map(Duration::from_secs),
                "{value:?}"
            );
        }
    }

    #[test]
    fn this_machine_has_few_names() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "128.0.0.1",
            "0.0.0.0",
            "[::2]",
            "::1",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn texts_are_encoded_and_decoded() {
        assert_eq!(percent_encoded("a-b_c.d~/ ä?"), "a-b_c.d~%2F%20%C3%A4%3F");
        assert_eq!(percent_decoded("%C3%A4%zz%4+"), "ä%zz%4+");
        assert_eq!(hex(&[0, 0xab]), "00ab");
        assert_eq!(unhex("00Ab"), Some(vec![0, 0xab]));
        for wrong in ["0", "zz", "ä", "0٣"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn reading_is_bounded() {
        assert!(matches!(read_up_to(&b"abc"[..], 3), (bytes, None) if bytes == b"abc"));
        let (_, end) = read_up_to(io::repeat(0), 3);
        assert_eq!(end.unwrap().kind(), io::ErrorKind::FileTooLarge);
    }
}
