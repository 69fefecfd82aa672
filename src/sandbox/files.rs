//! The file host: presigned URLs, ranges, entity tags. It knows no API key and wants none.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::envelope::xml;
use super::media::{self, Media};
use super::world::{Progress, World};
use crate::http::{Body, Request, Response};
use crate::time::Timestamp;
use crate::video::Asset;

/// Mints and checks URLs.
pub(super) struct Signer {
    base: String,
    secret: u128,
}

impl Signer {
    pub(super) fn new(base: String) -> Self {
        let secret = fastrand::u128(..);
        Self { base, secret }
    }

    pub(super) fn url(&self, id: &str, asset: Asset, expires: Timestamp) -> String {
        let seconds = expires.millis() / 1000;
        let signature = self.sign(id, asset, seconds);
        let id = encode(id);
        let base = &self.base;
        format!("{base}/files/{id}/{asset}?Expires={seconds}&Signature={signature}")
    }

    fn sign(&self, id: &str, asset: Asset, seconds: i64) -> String {
        let secret = self.secret;
        hex(&Sha256::digest(format!(
            "{secret}\n{asset}\n{seconds}\n{id}"
        )))
    }

    fn allows(&self, request: &Request, id: &str, asset: Asset, now: Timestamp) -> bool {
        let expires = request
            .parameter("Expires")
            .and_then(|text| text.parse().ok());
        expires.is_some_and(|seconds| {
            let signature = request.parameter("Signature");
            now < Timestamp::from_secs(seconds) && signature == Some(self.sign(id, asset, seconds))
        })
    }
}

/// The parts of a request, and of the truth, that a fault may have changed.
pub(super) struct Seen {
    /// The `Range` header.
    pub(super) range: Option<String>,
    /// Replaces the real ETag; `Some(None)` is none at all.
    pub(super) etag: Option<Option<String>>,
}

/// Answers one request; file bytes are counted in `served` as they leave.
pub(super) fn answer(
    world: &World,
    signer: &Signer,
    request: &Request,
    seen: &Seen,
    served: &Arc<AtomicU64>,
) -> Response {
    let segments = request.segments();
    let [root, id, asset] = segments.as_slice() else {
        return xml(404);
    };
    let (true, Ok(asset)) = (root == "files", asset.parse::<Asset>()) else {
        return xml(404);
    };
    // The signature covers the method: a URL minted for GET refuses HEAD.
    if request.method != "GET" || !signer.allows(request, id, asset, world.clock.now()) {
        return xml(403);
    }
    let video = world.find(id);
    let progress = video.map(|video| world.progress(video));
    if !matches!(progress, Some(Progress::Completed { .. })) {
        return xml(404);
    }
    let media = world.media(id, asset);
    let etag = seen
        .etag
        .clone()
        .unwrap_or_else(|| Some(entity_tag(&media)));
    let length = media.length();
    let range = seen.range.as_deref().filter(|_| {
        let condition = request.header("If-Range");
        condition.is_none_or(|wanted| etag.as_deref() == Some(wanted) && !wanted.starts_with("W/"))
    });

    let (status, start, end) = match range.map(|range| parse_range(range, length)) {
        None | Some(Range::Ignored) => (200, 0, length),
        Some(Range::Part { start, end }) => (206, start, end),
        Some(Range::Unsatisfiable) => {
            return xml(416).with_header("Content-Range", format!("bytes */{length}"));
        }
    };
    let mut response = Response::new(status)
        .with_header("Content-Type", media::content_type(asset))
        .with_header("Accept-Ranges", "bytes");
    if let Some(etag) = etag {
        response.set_header("ETag", etag);
    }
    if status == 206 {
        let last = end - 1;
        response.set_header("Content-Range", format!("bytes {start}-{last}/{length}"));
    }
    response.body = Body::Stream {
        length: end - start,
        source: Box::new(Counted {
            source: media.reader(start, end),
            count: Arc::clone(served),
        }),
    };
    response
}

/// A strong validator: equal tags, equal bytes.
fn entity_tag(media: &Media) -> String {
    let mut start = vec![0; 64 * 1024];
    let count = media.read_at(0, &mut start);
    let length = media.length();
    let digest = Sha256::new()
        .chain_update(&start[..count])
        .chain_update(length.to_be_bytes())
        .finalize();
    format!("\"{}\"", &hex(&digest)[..32])
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// Not understood, or several at once: the whole is a valid answer (RFC 9110, section 14.2).
    Ignored,
    Unsatisfiable,
    /// From `start` up to, not including, `end`.
    Part {
        start: u64,
        end: u64,
    },
}

fn parse_range(text: &str, length: u64) -> Range {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Range::Ignored;
    };
    let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(length)),
        (Ok(first), Err(_)) if last.is_empty() => (first, length),
        (Err(_), Ok(suffix)) if first.is_empty() => (length.saturating_sub(suffix), length),
        _ => return Range::Ignored,
    };
    if start < end {
        Range::Part { start, end }
    } else {
        Range::Unsatisfiable
    }
}

/// Counts what is read through it.
struct Counted<R> {
    source: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Percent-encodes an id for use as one path segment.
fn encode(id: &str) -> String {
    let mut text = String::new();
    for byte in id.bytes() {
        // A lone dot or two would be taken for a relative path and normalised away.
        if byte.is_ascii_alphanumeric() || b"_-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (text, range) in [
            ("bytes=0-9", Range::Part { start: 0, end: 10 }),
            (
                "bytes=90-",
                Range::Part {
                    start: 90,
                    end: 100,
                },
            ),
            (
                "bytes=90-500",
                Range::Part {
                    start: 90,
                    end: 100,
                },
            ),
            (
                "bytes=-5",
                Range::Part {
                    start: 95,
                    end: 100,
                },
            ),
            ("bytes=-500", Range::Part { start: 0, end: 100 }),
            ("bytes=100-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=9-0", Range::Ignored),
            ("bytes=0-1,3-4", Range::Ignored),
            ("bytes=-", Range::Ignored),
            ("items=0-1", Range::Ignored),
        ] {
            assert_eq!(parse_range(text, 100), range, "{text}");
        }
    }
}
