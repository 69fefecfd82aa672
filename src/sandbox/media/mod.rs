//! The files the stand-in serves: small, real, playable, and different for every video.
//!
//! Everything is a pure function of (id, asset, size), so a test computes what it must find on disk. A large video is a
//! small head plus padding that is generated while it is sent: no size costs memory. Every 8 bytes of padding differ, so
//! a file put together from wrong ranges never passes for the right one.

mod mp4;
mod picture;

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::video::Asset;

/// Seconds of video in every file.
pub const DURATION: f64 = mp4::FRAMES as f64;

/// One generated file.
#[derive(Clone, Debug)]
pub struct Media {
    head: Vec<u8>,
    length: u64,
    seed: u64,
}

/// The `Content-Type` of an asset.
pub fn content_type(asset: Asset) -> &'static str {
    match asset {
        Asset::Video | Asset::Captioned => "video/mp4",
        Asset::Subtitle => "application/x-subrip",
        Asset::Thumbnail => "image/jpeg",
        Asset::Gif => "image/gif",
    }
}

/// All bytes of one file; see [`Media::new`].
pub fn bytes(id: &str, asset: Asset, size: u64) -> Vec<u8> {
    Media::new(id, asset, size).bytes()
}

/// The file of a video that was rendered again `version` times: as [`Media::new`], with other bytes each time.
pub fn version(id: &str, version: u32, asset: Asset, size: u64) -> Media {
    match version {
        0 => Media::new(id, asset, size),
        version => Media::new(&format!("{id}#{version}"), asset, size),
    }
}

impl Media {
    /// The file of one video. The two MP4s are exactly `size` bytes long, or their smallest possible size (about 7 KiB)
    /// when that is more; the others are as small as they are.
    pub fn new(id: &str, asset: Asset, size: u64) -> Self {
        let digest = Sha256::digest(format!("{id}\n{asset}"));
        let seed = digest
            .iter()
            .take(8)
            .fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        let colour = [digest[8], digest[9], digest[10]];
        let (head, length) = match asset {
            Asset::Video | Asset::Captioned => mp4::head(colour, size),
            Asset::Subtitle => whole(subtitles(id)),
            Asset::Thumbnail => whole(picture::jpeg(colour)),
            Asset::Gif => whole(picture::gif(colour)),
        };
        Self { head, length, seed }
    }

    /// In bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.length).unwrap_or(usize::MAX)];
        self.read_at(0, &mut bytes);
        bytes
    }

    /// Fills `buffer` from `offset` on; returns how much there was.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let left = self.length.saturating_sub(offset);
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let buffer = &mut buffer[..count];
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let head = self.head.get(start..).unwrap_or_default();
        let from_head = head.len().min(count);
        buffer[..from_head].copy_from_slice(&head[..from_head]);
        self.pad(offset + from_head as u64, &mut buffer[from_head..]);
        count
    }

    /// The bytes `start..end`, front to back.
    pub fn reader(self, start: u64, end: u64) -> impl Read + Send {
        Reader {
            position: start,
            end: end.min(self.length),
            media: self,
        }
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

struct Reader {
    media: Media,
    position: u64,
    end: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let want = left.min(buffer.len());
        let count = self.media.read_at(self.position, &mut buffer[..want]);
        self.position += count as u64;
        Ok(count)
    }
}

fn whole(bytes: Vec<u8>) -> (Vec<u8>, u64) {
    let length = bytes.len() as u64;
    (bytes, length)
}

fn subtitles(id: &str) -> Vec<u8> {
    let seconds = mp4::FRAMES;
    format!("1\n00:00:00,000 --> 00:00:{seconds:02},000\nSandbox video {id}\n").into_bytes()
}

/// SplitMix64's finaliser: random access to noise.
fn scramble(value: u64) -> u64 {
    let value = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn videos_have_the_wanted_size_and_their_own_content() {
        let one = bytes("one", Asset::Video, 20_000);
        assert_eq!(one.len(), 20_000);
        assert_eq!(one, bytes("one", Asset::Video, 20_000));
        let two = bytes("two", Asset::Video, 20_000);
        let captioned = bytes("one", Asset::Captioned, 20_000);
        for other in [&two, &captioned] {
            let same = one[10_000..]
                .iter()
                .zip(&other[10_000..])
                .filter(|(a, b)| a == b);
            assert!(same.count() < 200);
        }
    }

    #[test]
    fn any_range_is_a_slice_of_the_whole() {
        let media = Media::new("one", Asset::Video, 12_345);
        let all = bytes("one", Asset::Video, 12_345);
        for (start, end) in [(0, 1), (6_000, 8_003), (12_000, 12_345), (12_344, 99_999)] {
            let mut part = Vec::new();
            let mut reader = media.clone().reader(start, end);
            reader.read_to_end(&mut part).unwrap();
            let end = usize::try_from(end).unwrap().min(all.len());
            assert_eq!(part, all[usize::try_from(start).unwrap()..end]);
        }
    }

    #[test]
    fn boxes_fill_the_file_exactly() {
        for size in [0, 7_000, 100_000] {
            let file = bytes("one", Asset::Video, size);
            let mut names = Vec::new();
            let mut at = 0;
            while at < file.len() {
                let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
                names.push(String::from_utf8(file[at + 4..at + 8].to_vec()).unwrap());
                at += usize::try_from(length).unwrap();
            }
            assert_eq!(at, file.len());
            assert_eq!(names, ["ftyp", "moov", "mdat", "free"]);
        }
    }

    #[test]
    fn a_file_of_many_gigabytes_is_no_burden() {
        let media = Media::new("one", Asset::Video, 6_000_000_000);
        let mut tail = [0; 64];
        assert_eq!(media.read_at(5_999_999_990, &mut tail), 10);
    }
}
