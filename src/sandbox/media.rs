//! The files the stand-in serves: small, real, playable, and different for every video.
//!
//! Everything is a pure function of (id, version, asset, size), so a test computes what it must find on disk. A large
//! video is a small clip and a `free` box of padding that is generated while it is sent: no size costs memory. Every 8
//! bytes of padding differ, so a file put together from wrong ranges never passes for the right one.
//!
//! The clips were made once, with ffmpeg 5.1 (H.264, 4 s, 12 frames a second, no sound), each with its own NAME, colours
//! C0 and C1, and TEXT:
//!
//! ```text
//! ffmpeg -f lavfi -i "gradients=s=320x180:r=12:d=4:c0=C0:c1=C1:speed=0.00001:nb_colors=2:seed=7"
//!        -f lavfi -i "color=white:s=26x26:r=12:d=4,format=rgba,geq=r=255:g=255:b=255:a='if(lte(hypot(X-13,Y-13),12),220,0)'"
//!        -filter_complex "[0][1]overlay=x='20+t*64':y='130-abs(sin(t*3.1416))*80',drawtext=text=TEXT:fontcolor=white:
//!          fontsize=30:x=(w-tw)/2:y=30,format=yuv420p"
//!        -c:v libx264 -preset veryslow -crf 34 -movflags +faststart -metadata comment=00000000000000000000000000000000 NAME.mp4
//! ffmpeg -ss 1.6 -i NAME.mp4 -frames:v 1 -q:v 12 NAME.jpg
//! ffmpeg -i sea.mp4 -t 2 -vf "fps=4,scale=160:-1,split[a][b];[a]palettegen=max_colors=12[p];[b][p]paletteuse" loop.gif
//! ```

use std::io::{self, Read};
use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::net::hex;

pub(super) const DURATION: f64 = 4.0;

const CLIPS: [&[u8]; 3] = [
    include_bytes!("media/dawn.mp4"),
    include_bytes!("media/sea.mp4"),
    include_bytes!("media/meadow.mp4"),
];
const THUMBNAILS: [&[u8]; 3] = [
    include_bytes!("media/dawn.jpg"),
    include_bytes!("media/sea.jpg"),
    include_bytes!("media/meadow.jpg"),
];
/// The comment in every clip, which each file replaces by its own.
const COMMENT: &[u8; 32] = b"00000000000000000000000000000000";
const MIN_PADDING: u64 = 32;

/// A file, read from its beginning.
#[derive(Clone, Debug)]
pub struct Media {
    head: Vec<u8>,
    length: u64,
    seed: u64,
    position: u64,
}

/// The `Content-Type` of an asset; `None` where there is no such asset.
pub(super) fn content_type(asset: &str) -> Option<&'static str> {
    match asset {
        "video" | "captioned" => Some("video/mp4"),
        "subtitle" => Some("application/x-subrip"),
        "thumbnail" => Some("image/jpeg"),
        "gif" => Some("image/gif"),
        "audio" => Some("audio/mp4"),
        "vtt" => Some("text/vtt"),
        _ => None,
    }
}

impl Media {
    /// The file of one rendering of a video. The MP4s are exactly `size` bytes long, or as short as they can be (less than
    /// 7 KiB) when that is more; the others are as small as they are.
    pub fn new(id: &str, version: u32, asset: &str, size: u64) -> Self {
        let of_video = Sha256::digest(id);
        let digest = Sha256::digest(format!("{id}\n{version}\n{asset}"));
        let own = hex(&digest[..16]);
        let scene = usize::from(of_video[0]) % CLIPS.len();
        let (head, length) = match asset {
            "subtitle" => whole(subtitles(id, version)),
            "vtt" => whole(format!(
                "WEBVTT\n\n{}",
                subtitles(id, version).replace(',', ".")
            )),
            // Decoders stop at the end of the picture; what follows makes the file one of a kind.
            "thumbnail" => whole([THUMBNAILS[scene], own.as_bytes()].concat()),
            "gif" => whole([include_bytes!("media/loop.gif"), own.as_bytes()].concat()),
            _ => padded(CLIPS[scene], &own, size),
        };
        let seed = digest.iter().take(8);
        let seed = seed.fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        Self {
            head,
            length,
            seed,
            position: 0,
        }
    }

    /// A strong validator: equal tags, equal bytes.
    pub(super) fn entity_tag(&self) -> String {
        format!("\"{:016x}-{}\"", self.seed, self.length)
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn part(mut self, range: Range<u64>) -> io::Take<Self> {
        self.position = range.start;
        self.take(range.end - range.start)
    }

    fn pad(&self, mut offset: u64, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            let word = scramble(self.seed.wrapping_add(offset / 8)).to_le_bytes();
            let skip = usize::try_from(offset % 8).unwrap_or(0);
            let count = (8 - skip).min(buffer.len());
            buffer[..count].copy_from_slice(&word[skip..skip + count]);
            buffer = &mut buffer[count..];
            offset += count as u64;
        }
    }
}

impl Read for Media {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.position));
        let count = left.map_or(buffer.len(), |left| left.min(buffer.len()));
        let buffer = &mut buffer[..count];
        let start = usize::try_from(self.position).unwrap_or(usize::MAX);
        let mut head = self.head.get(start..).unwrap_or_default();
        let from_head = head.read(buffer)?;
        self.pad(self.position + from_head as u64, &mut buffer[from_head..]);
        self.position += count as u64;
        Ok(count)
    }
}

fn whole(bytes: impl Into<Vec<u8>>) -> (Vec<u8>, u64) {
    let bytes = bytes.into();
    let length = bytes.len() as u64;
    (bytes, length)
}

fn subtitles(id: &str, version: u32) -> String {
    let take = "!".repeat(version as usize);
    format!("1\n00:00:00,000 --> 00:00:04,000\nSandbox video {id}{take}\n")
}

/// The clip with a comment of its own and the head of the padding, and the length of both with the padding.
fn padded(clip: &[u8], own: &str, size: u64) -> (Vec<u8>, u64) {
    let mut head = clip.to_vec();
    let comment = clip.windows(COMMENT.len()).position(|part| part == COMMENT);
    if let Some(at) = comment {
        head[at..at + own.len()].copy_from_slice(own.as_bytes());
    }
    let clip = head.len() as u64;
    let padding = size.saturating_sub(clip).max(MIN_PADDING);
    // ISO/IEC 14496-12, 4.2: a length of 1 stands for a longer one after the name.
    head.extend(u32::try_from(padding).unwrap_or(1).to_be_bytes());
    head.extend(b"free");
    if u32::try_from(padding).is_err() {
        head.extend(padding.to_be_bytes());
    }
    (head, clip + padding)
}

/// SplitMix64's finaliser: random access to noise.
fn scramble(value: u64) -> u64 {
    let value = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}
