//! The file host: presigned URLs, ranges, entity tags. It knows no API key and wants none.

use std::io::{self, Read};
use std::ops::Range;
use std::thread;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::media;
use super::world::World;
use crate::http::{Payload, Request, Response};
use crate::net::hex;

pub(super) const URL_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

pub(super) struct Signer {
    base: String,
    secret: u128,
}

impl Signer {
    pub(super) fn new(base: String) -> Self {
        let secret = fastrand::u128(..);
        Self { base, secret }
    }

    pub(super) fn url(&self, id: &str, asset: &str, expires: Duration) -> String {
        let seconds = expires.as_secs();
        let signature = self.sign(id, asset, seconds);
        // A lone dot or two would be taken for a relative path and normalised away.
        let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
        let base = &self.base;
        format!("{base}/files/{id}/{asset}?Expires={seconds}&Signature={signature}")
    }

    fn sign(&self, id: &str, asset: &str, seconds: u64) -> String {
        let secret = self.secret;
        let signed = format!("{secret}\n{asset}\n{seconds}\n{id}");
        hex(&Sha256::digest(signed))
    }

    fn allows(&self, request: &Request, id: &str, asset: &str, now: Duration) -> bool {
        let expires = request.parameter("Expires").unwrap_or_default();
        let signature = request.parameter("Signature");
        expires.parse().is_ok_and(|seconds| {
            now < Duration::from_secs(seconds) && signature == Some(self.sign(id, asset, seconds))
        })
    }
}

pub(super) fn answer(world: &World, signer: &Signer, request: &Request) -> Response {
    let segments = request.segments();
    let [root, id, asset] = segments.as_slice() else {
        return refusal(404);
    };
    let Some(kind) = media::content_type(asset).filter(|_| root == "files") else {
        return refusal(404);
    };
    // The signature covers the method: a URL minted for GET refuses HEAD.
    if request.method != "GET" || !signer.allows(request, id, asset, world.now()) {
        return refusal(403);
    }
    let video = world.find(id);
    if !video.is_some_and(|video| world.state(video).is_completed()) {
        return refusal(404);
    }
    let media = world.media(id, asset);
    let etag = media.entity_tag();
    let length = media.length();
    let condition = request.header("If-Range");
    let range = request
        .header("Range")
        .filter(|_| condition.is_none_or(|wanted| wanted == etag))
        .and_then(|range| parse_range(range, length));
    let mut response = match &range {
        None => Response::new(200),
        Some(range) if range.is_empty() => {
            return refusal(416).with_header("Content-Range", format!("bytes */{length}"));
        }
        Some(Range { start, end }) => {
            let range = format!("bytes {start}-{}/{length}", end - 1);
            Response::new(206).with_header("Content-Range", range)
        }
    }
    .with_header("Content-Type", kind)
    .with_header("Accept-Ranges", "bytes")
    .with_header("ETag", etag);
    let range = range.unwrap_or(0..length);
    let length = range.end - range.start;
    let source = media.part(range);
    response.body = Payload::Stream {
        length,
        source: match world.options.throttle {
            None => Box::new(source),
            Some(per_second) => Box::new(Throttled {
                source,
                per_tick: usize::try_from(per_second / 10).map_or(usize::MAX, |n| n.max(1)),
            }),
        },
    };
    response
}

fn refusal(status: u16) -> Response {
    let (code, message) = match status {
        403 => (
            "AccessDenied",
            "Request has expired or its signature does not match",
        ),
        416 => ("InvalidRange", "The requested range is not satisfiable"),
        _ => ("NoSuchKey", "The specified key does not exist."),
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>\n"
    );
    Response::new(status).with_body("application/xml", body)
}

/// The wanted bytes, none if they lie behind the end. `None` for what is not understood, or several ranges at once:
/// the whole is a valid answer (RFC 9110, section 14.2).
fn parse_range(text: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => Some(first..last.saturating_add(1).min(length)),
        (Ok(first), Err(_)) if last.is_empty() => Some(first..length),
        (Err(_), Ok(suffix)) if first.is_empty() => Some(length.saturating_sub(suffix)..length),
        _ => None,
    }
}

/// Ten reads a second.
struct Throttled<R> {
    source: R,
    per_tick: usize,
}

impl<R: Read> Read for Throttled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(100));
        let most = buffer.len().min(self.per_tick);
        self.source.read(&mut buffer[..most])
    }
}
