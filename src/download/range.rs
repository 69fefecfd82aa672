//! What a response means, given what was asked. Pure: headers in, a decision out.
//!
//! RFC 9110 §13.1.5 (`If-Range`), §14 (ranges), §8.6 (`Content-Length`); RFC 9112 §6 (message length).

use std::time::Duration;

use ureq::http::header::{
    self, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    TRANSFER_ENCODING,
};
use ureq::http::response::Parts;
use ureq::http::{HeaderMap, Version};

use super::content;
use super::error::{DownloadError, DownloadResult};
use crate::net;
use crate::time::Timestamp;
use crate::video::{Asset, Part};

/// A validator is stored; one longer than this is none.
const MAX_ETAG: usize = 512;

const EMPTY: &str = "sent an empty file";
/// Neither a length nor a chunked terminator: the end cannot be told from a cut connection.
const END_UNKNOWN: &str = "sent a file whose end cannot be proven";
const LENGTHS: &str = "sent contradictory or impossible lengths";
const PART: &str = "sent a part of the file although all of it was asked for";
const ENCODED: &str = "sent a compressed file although that was not asked for";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// `None`: chunked, proven by its terminator.
    pub(super) length: Option<u64>,
    /// Only a strong one: nothing else allows going on later.
    pub(super) etag: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// The body is exactly the missing bytes up to `total`.
    Append {
        total: u64,
    },
    Complete,
    Whole(Whole),
    /// It does not add up: take nothing from it and ask once more, without a range.
    Again,
}

/// Judges the answer to a plain request; `from` is who answered.
pub(super) fn whole(asset: Asset, from: &str, answer: &Parts) -> DownloadResult<Whole> {
    let headers = &answer.headers;
    match answer.status.as_u16() {
        200 if is_only_a_part(headers) => Err(DownloadError::content(from, PART)),
        200 => Ok(Whole {
            length: length(asset, answer).map_err(|what| DownloadError::content(from, what))?,
            etag: strong_etag(headers).map(str::to_owned),
        }),
        status @ (408 | 416 | 425 | 429 | 500..=599) => {
            Err(DownloadError::busy(from, status, retry_after(headers)))
        }
        status @ 400..=499 => Err(DownloadError::refused(from, status)),
        status => {
            let what = format_args!("answered out of turn (HTTP {status})");
            Err(DownloadError::content(from, what))
        }
    }
}

/// Judges the answer to a request for what follows `part`, with `Range` and `If-Range`.
pub(super) fn rest(asset: Asset, from: &str, part: &Part, answer: &Parts) -> DownloadResult<Rest> {
    let etag = strong_etag(&answer.headers);
    let same_file = etag.is_some() && etag == part.etag.as_deref();
    let fits = |total| same_file && part.total.is_none_or(|known| known == total);
    let is_long = |bytes| {
        length(asset, answer).is_ok_and(|length| length.is_none_or(|length| length == bytes))
    };
    let range = text(&answer.headers, &CONTENT_RANGE).and_then(content_range);
    Ok(match (answer.status.as_u16(), range) {
        (206, Some((Some((first, last)), total)))
            if fits(total)
                && first == part.bytes
                && last + 1 == total
                && is_long(total - first) =>
        {
            Rest::Append { total }
        }
        (416, Some((None, total))) if fits(total) && total == part.bytes => Rest::Complete,
        // Some hosts refuse any request for a part.
        (206 | 400 | 405 | 412 | 416, _) => Rest::Again,
        (200, _) if is_only_a_part(&answer.headers) => Rest::Again,
        // The same file cannot have another length.
        (200, _) if same_file && !part.total.is_none_or(is_long) => Rest::Again,
        _ => Rest::Whole(whole(asset, from, answer)?),
    })
}

/// Whether an answer that should be all of the file says that it is not.
fn is_only_a_part(headers: &HeaderMap) -> bool {
    let is_all = |range| matches!(range, Some((Some((0, last)), total)) if last + 1 == total);
    text(headers, &CONTENT_RANGE).is_some_and(|range| !is_all(content_range(range)))
}

fn length(asset: Asset, answer: &Parts) -> Result<Option<u64>, &'static str> {
    let headers = &answer.headers;
    if list(headers, &CONTENT_ENCODING).any(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(ENCODED);
    }
    let wrong = text(headers, &CONTENT_TYPE).and_then(|kind| content::wrong_type(asset, kind));
    if let Some(what) = wrong {
        return Err(what);
    }
    let mut lengths = list(headers, &CONTENT_LENGTH);
    let chunked = match list(headers, &TRANSFER_ENCODING).collect::<Vec<_>>()[..] {
        [] => false,
        // ureq reads a chunked HTTP/1.0 body, which cannot exist, up to the end of the connection.
        [one] if one.eq_ignore_ascii_case("chunked") && answer.version == Version::HTTP_11 => true,
        _ => return Err(LENGTHS),
    };
    match (lengths.next(), chunked) {
        (None, true) => Ok(None),
        (None, false) => Err(END_UNKNOWN),
        (Some(first), false) if lengths.all(|other| other == first) => match decimal(first) {
            None => Err(LENGTHS),
            Some(0) => Err(EMPTY),
            some => Ok(some),
        },
        (Some(_), _) => Err(LENGTHS),
    }
}

/// The `ETag` if it is strong (RFC 9110 §8.8.3): equal ones mean equal bytes.
fn strong_etag(headers: &HeaderMap) -> Option<&str> {
    text(headers, &ETAG).filter(|etag| is_strong(etag))
}

pub(super) fn is_strong(etag: &str) -> bool {
    (3..=MAX_ETAG).contains(&etag.len())
        && etag.starts_with('"')
        && etag
            .find('"')
            .is_some_and(|open| etag[open + 1..].find('"') == Some(etag.len() - 2))
}

/// First and last byte, and the total, of `bytes 5-9/10` or `bytes */10`; an unknown total (`/*`) proves nothing.
fn content_range(value: &str) -> Option<(Option<(u64, u64)>, u64)> {
    let (unit, rest) = value.split_once(' ')?;
    let (range, total) = rest.split_once('/')?;
    let total = decimal(total).filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    if range == "*" {
        return Some((None, total));
    }
    let (first, last) = range.split_once('-')?;
    let (first, last) = (decimal(first)?, decimal(last)?);
    (first <= last && last < total).then_some((Some((first, last)), total))
}

/// A date counts from the answer's own `Date`, since no clock is needed then, theirs or ours.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let sent = text(headers, &header::DATE).and_then(net::http_date);
    let sent = sent.unwrap_or(Timestamp::from_millis(i64::MAX));
    net::retry_after(text(headers, &header::RETRY_AFTER)?, sent)
}

/// `1*DIGIT`, nothing else: `parse` alone would take a sign. No file has 2^63 bytes, and no column holds that many.
fn decimal(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    let number = plain.then(|| digits.parse::<u64>().ok()).flatten();
    number.filter(|number| i64::try_from(*number).is_ok())
}

/// A header's value if it is there once and readable.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::trim),
        _ => None,
    }
}

/// The elements of a list header; unreadable ones are there, as something nobody asked for.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.to_str().unwrap_or("?").split(',').map(str::trim))
}

#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/ranges.rs"]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::Response;

    /// `200 ETag:"a" Content-Length:5` → the head of an HTTP/1.1 answer.
    fn head(line: &str) -> Parts {
        let (status, headers) = line.split_once('|').unwrap_or((line, ""));
        let mut answer = Response::builder().status(status.trim().parse::<u16>().unwrap());
        for field in headers.split('|') {
            if let Some((name, value)) = field.trim().split_once(": ") {
                answer = answer.header(name, value);
            }
        }
        answer.body(()).unwrap().into_parts().0
    }

    fn judged(line: &str) -> DownloadResult<Whole> {
        whole(Asset::Video, "h", &head(line))
    }

    fn part() -> Part {
        Part {
            name: String::new(),
            bytes: 5,
            sha256: String::new(),
            etag: Some("\"a\"".to_owned()),
            total: Some(10),
        }
    }

    fn after(part: &Part, line: &str) -> Rest {
        rest(Asset::Video, "h", part, &head(line)).unwrap()
    }

    #[test]
    fn a_whole_file_needs_a_provable_end() {
        let taken = |length, etag: Option<&str>| {
            Ok(Whole {
                length,
                etag: etag.map(str::to_owned),
            })
        };
        let bad = |why| Err(DownloadError::content("h", why));
        let out_of_turn = |status| {
            let what = format!("answered out of turn (HTTP {status})");
            Err(DownloadError::content("h", what))
        };
        let refused = |status| Err(DownloadError::refused("h", status));
        for (line, expected) in [
            (
                "200 | Content-Length: 7 | ETag: \"a\"",
                taken(Some(7), Some("\"a\"")),
            ),
            (
                "200 | Content-Length: 7 | ETag: W/\"a\"",
                taken(Some(7), None),
            ),
            ("200 | Content-Length: 7 | ETag: a", taken(Some(7), None)),
            (
                "200 | Content-Length: 7 | ETag: \"a\" | ETag: \"b\"",
                taken(Some(7), None),
            ),
            (
                "200 | Content-Length: 7 | Content-Length: 7",
                taken(Some(7), None),
            ),
            ("200 | Transfer-Encoding: chunked", taken(None, None)),
            (
                "200 | Content-Length: 7 | Content-Encoding: identity",
                taken(Some(7), None),
            ),
            (
                "200 | Content-Length: 7 | Content-Type: video/mp4",
                taken(Some(7), None),
            ),
            ("200", bad(END_UNKNOWN)),
            ("200 | Content-Length: 0", bad(EMPTY)),
            ("200 | Content-Length: 7 | Content-Length: 8", bad(LENGTHS)),
            ("200 | Content-Length: 7, 8", bad(LENGTHS)),
            ("200 | Content-Length: +7", bad(LENGTHS)),
            ("200 | Content-Length: 99999999999999999999", bad(LENGTHS)),
            ("200 | Content-Length: 9223372036854775808", bad(LENGTHS)),
            (
                "200 | Content-Length: 9223372036854775807",
                taken(Some(i64::MAX as u64), None),
            ),
            (
                "200 | Content-Length: 7 | Transfer-Encoding: chunked",
                bad(LENGTHS),
            ),
            ("200 | Transfer-Encoding: gzip, chunked", bad(LENGTHS)),
            (
                "200 | Content-Length: 7 | Content-Encoding: gzip",
                bad(ENCODED),
            ),
            (
                "200 | Content-Length: 7 | Content-Type: Text/HTML; charset=utf-8",
                bad("sent a page instead of the file"),
            ),
            (
                "200 | Content-Length: 7 | Content-Type: application/json",
                bad("sent a page instead of the file"),
            ),
            (
                "206 | Content-Length: 7 | Content-Range: bytes 0-6/7",
                out_of_turn(206),
            ),
            (
                "200 | Content-Length: 7 | Content-Range: bytes 0-6/7",
                taken(Some(7), None),
            ),
            (
                "200 | Content-Length: 7 | Content-Range: bytes 3-9/10",
                bad(PART),
            ),
            ("204", out_of_turn(204)),
            ("304", out_of_turn(304)),
            ("403", refused(403)),
            ("404", refused(404)),
            ("410", refused(410)),
        ] {
            assert_eq!(judged(line), expected, "{line}");
        }
        let mut http10 = head("200 | Transfer-Encoding: chunked");
        http10.version = Version::HTTP_10;
        assert_eq!(whole(Asset::Video, "h", &http10), bad(LENGTHS));
    }

    #[test]
    fn the_rest_is_taken_only_when_everything_agrees() {
        let fits = "206 | ETag: \"a\" | Content-Length: 5 | Content-Range: bytes 5-9/10";
        assert_eq!(after(&part(), fits), Rest::Append { total: 10 });
        let unknown = Part {
            total: None,
            ..part()
        };
        assert_eq!(after(&unknown, fits), Rest::Append { total: 10 });
        for line in [
            "206 | ETag: \"b\" | Content-Length: 5 | Content-Range: bytes 5-9/10",
            "206 | ETag: W/\"a\" | Content-Length: 5 | Content-Range: bytes 5-9/10",
            "206 | Content-Length: 5 | Content-Range: bytes 5-9/10",
            "206 | ETag: \"a\" | Content-Length: 5",
            "206 | ETag: \"a\" | Content-Length: 6 | Content-Range: bytes 4-9/10",
            "206 | ETag: \"a\" | Content-Length: 4 | Content-Range: bytes 5-8/10",
            "206 | ETag: \"a\" | Content-Length: 4 | Content-Range: bytes 5-9/10",
            "206 | ETag: \"a\" | Content-Length: 6 | Content-Range: bytes 5-10/11",
            "206 | ETag: \"a\" | Content-Length: 5 | Content-Range: bytes 5-9/*",
            "206 | ETag: \"a\" | Content-Length: 5 | Content-Range: bytes 5-9/9223372036854775808",
            "206 | ETag: \"a\" | Content-Length: 5 | Content-Range: items 5-9/10",
            "206 | ETag: \"a\" | Content-Length: 5 | Content-Range: bytes 9-5/10",
            "206 | ETag: \"a\" | Content-Range: bytes 5-9/10",
            "206 | ETag: \"a\" | Content-Length: 90 | Content-Type: multipart/byteranges; boundary=x",
            "416 | ETag: \"a\" | Content-Range: bytes */10",
            "416 | ETag: \"a\"",
            "200 | ETag: \"b\" | Content-Length: 5 | Content-Range: bytes 5-9/10",
            "200 | ETag: \"a\" | Content-Length: 5",
        ] {
            assert_eq!(after(&part(), line), Rest::Again, "{line}");
        }
    }

    #[test]
    fn a_416_completes_only_what_it_proves() {
        let all = Part {
            bytes: 10,
            ..part()
        };
        let line = "416 | ETag: \"a\" | Content-Range: bytes */10";
        assert_eq!(after(&all, line), Rest::Complete);
        for line in [
            "416 | Content-Range: bytes */10",
            "416 | ETag: \"b\" | Content-Range: bytes */10",
            "416 | ETag: \"a\" | Content-Range: bytes */11",
        ] {
            assert_eq!(after(&all, line), Rest::Again, "{line}");
        }
        // Ten were announced.
        let shorter = "416 | ETag: \"a\" | Content-Range: bytes */5";
        assert_eq!(after(&part(), shorter), Rest::Again);
    }

    #[test]
    fn a_200_to_a_range_is_the_whole_file() {
        let answer = after(&part(), "200 | ETag: \"b\" | Content-Length: 12");
        let (length, etag) = (Some(12), Some("\"b\"".to_owned()));
        assert_eq!(answer, Rest::Whole(Whole { length, etag }));
    }

    #[test]
    fn a_wait_is_seconds_or_a_date_and_bounded() {
        for (line, seconds) in [
            ("429 | Retry-After: 7", Some(7)),
            ("503 | Retry-After: 999999999", Some(3600)),
            (
                "503 | Date: Sun, 06 Nov 1994 08:49:37 GMT | Retry-After: Sun, 06 Nov 1994 08:49:40 GMT",
                Some(3),
            ),
            ("503 | Retry-After: Sun, 06 Nov 1994 08:49:40 GMT", Some(0)),
            ("503 | Retry-After: -1", None),
            ("500", None),
        ] {
            let status = head(line).status.as_u16();
            let retry_after = seconds.map(Duration::from_secs);
            let expected = DownloadError::busy("h", status, retry_after);
            assert_eq!(judged(line), Err(expected), "{line}");
        }
    }

    #[test]
    fn only_quoted_tags_are_strong() {
        for (tag, strong) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("a", false),
            ("\"", false),
            ("\"\"", false),
            ("\"a\"b\"", false),
        ] {
            assert_eq!(is_strong(tag), strong, "{tag}");
        }
    }
}
