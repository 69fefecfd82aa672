//! Whether a body can be the file that was asked for, by the type it is declared to have and by its beginning.

use crate::video::Asset;

/// How much of a body is looked at before a part file is created.
pub(super) const HEAD: usize = 4 * 1024;

/// What is wrong with a `Content-Type`. Hosts that do not know a type say `application/octet-stream`, or nothing.
pub(super) fn wrong_type(asset: Asset, content_type: &str) -> Option<&'static str> {
    let mime = content_type.split(';').next().unwrap_or_default().trim();
    let mime = mime.to_ascii_lowercase();
    let ends = ["/html", "/xml", "/json", "+xml", "+json"];
    if ends.iter().any(|end| mime.ends_with(end)) {
        return Some("sent a page instead of the file");
    }
    if mime.ends_with("mpegurl") {
        return Some("sent a playlist instead of the file");
    }
    let text = mime.starts_with("text/") && !matches!(asset, Asset::Subtitle | Asset::Vtt);
    text.then_some("sent text instead of the file")
}

/// What is wrong with the beginning of a body, whatever its type.
pub(super) fn wrong_beginning(asset: Asset, head: &[u8]) -> Option<String> {
    if head.is_empty() {
        return Some("sent an empty file".to_owned());
    }
    if is_page(head) {
        return Some("sent a page instead of the file".to_owned());
    }
    let (what, formats) = formats(asset);
    let fits = formats.iter().any(|(_, begins)| begins(head));
    (!fits).then(|| format!("sent something that is not {what}"))
}

type Begins = fn(&[u8]) -> bool;

/// What a file of this asset is; for each format, how its name ends and how it begins. Of two that fit the later counts.
pub(super) fn formats(asset: Asset) -> (&'static str, &'static [(&'static str, Begins)]) {
    match asset {
        Asset::Video => ("a video", &[("mp4", is_film), ("webm", is_webm)]),
        Asset::Captioned => (
            "a video",
            &[("captioned.mp4", is_film), ("captioned.webm", is_webm)],
        ),
        Asset::Subtitle => ("subtitles", &[("srt", is_subtitles)]),
        Asset::Thumbnail => ("a picture", &[("jpg", is_picture)]),
        Asset::Gif => ("a GIF", &[("gif", is_animation)]),
        Asset::Audio => (
            "sound",
            &[("m4a", is_mp4), ("mp3", is_mp3), ("wav", is_wave)],
        ),
        Asset::Vtt => ("subtitles", &[("vtt", is_subtitles)]),
    }
}

fn is_mp4(head: &[u8]) -> bool {
    head.get(4..8) == Some(b"ftyp")
}

fn is_film(head: &[u8]) -> bool {
    is_mp4(head) || is_riff(head, b"AVI ")
}

fn is_picture(head: &[u8]) -> bool {
    let magic: [&[u8]; 2] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"];
    is_riff(head, b"WEBP") || magic.iter().any(|magic| head.starts_with(magic))
}

fn is_animation(head: &[u8]) -> bool {
    is_riff(head, b"WEBP") || head.starts_with(b"GIF8")
}

fn is_webm(head: &[u8]) -> bool {
    head.starts_with(&[0x1a, 0x45, 0xdf, 0xa3])
}

fn is_riff(head: &[u8], form: &[u8; 4]) -> bool {
    head.starts_with(b"RIFF") && head.get(8..12) == Some(form)
}

fn is_wave(head: &[u8]) -> bool {
    is_riff(head, b"WAVE")
}

/// An ID3 tag, or the sync word of a first frame of layer III.
fn is_mp3(head: &[u8]) -> bool {
    head.starts_with(b"ID3") || matches!(head, [0xff, second, ..] if second & 0xe6 == 0xe2)
}

/// SRT has the time of its first cue near the beginning, WebVTT its name.
fn is_subtitles(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    !text.contains(&0)
        && (text.starts_with(b"WEBVTT") || text.windows(3).any(|bytes| bytes == b"-->"))
}

fn is_page(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let head = head.trim_ascii_start();
    ["<!doctype", "<html", "<?xml", "<error"]
        .iter()
        .any(|mark| {
            head.get(..mark.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(mark.as_bytes()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_belongs_to_its_asset() {
        let mp4 = b"\0\0\0\x18ftypisom".as_slice();
        let webm = b"\x1a\x45\xdf\xa3...".as_slice();
        let srt = b"\xef\xbb\xbf1\r\n00:00:00,000 --> 00:00:01,000\r\n<i>hi</i>".as_slice();
        let webp = b"RIFF\0\0\0\0WEBP".as_slice();
        for (asset, head, fits) in [
            (Asset::Video, mp4, true),
            (Asset::Captioned, webm, true),
            (Asset::Video, b"RIFF\0\0\0\0AVI ", true),
            (Asset::Video, webp, false),
            (Asset::Captioned, b"RIFF\0\0\0\0WAVE", false),
            (Asset::Video, b"RIFF", false),
            (Asset::Video, b"", false),
            (Asset::Video, b"\0\0\0\x18ft", false),
            (Asset::Video, &[0; 4096], false),
            (Asset::Video, b"{\"error\":1}", false),
            (Asset::Video, b"#EXTM3U\n", false),
            (Asset::Video, b"not found\n", false),
            (Asset::Video, srt, false),
            (Asset::Subtitle, srt, true),
            (Asset::Subtitle, b"WEBVTT\n\n", true),
            (Asset::Subtitle, b"#EXTM3U\n", false),
            (Asset::Subtitle, mp4, false),
            (Asset::Thumbnail, b"\xff\xd8\xff\xe0", true),
            (Asset::Thumbnail, b"\x89PNG\r\n\x1a\n", true),
            (Asset::Thumbnail, webp, true),
            (Asset::Thumbnail, mp4, false),
            (Asset::Vtt, b"WEBVTT\n\n", true),
            (Asset::Audio, mp4, true),
            (Asset::Audio, b"ID3\x04", true),
            (Asset::Audio, b"\xff\xfb\x90\x64", true),
            (Asset::Audio, b"RIFF\0\0\0\0WAVE", true),
            (Asset::Audio, webp, false),
            (Asset::Gif, b"GIF89a", true),
            (Asset::Gif, b"\xff\xd8\xff\xe0", false),
        ] {
            assert_eq!(
                wrong_beginning(asset, head).is_none(),
                fits,
                "{asset} {head:?}"
            );
        }
    }

    #[test]
    fn pages_are_known_by_their_beginning() {
        for page in [
            "<!DOCTYPE html> -->",
            "\n <html> -->",
            "<?xml version= -->",
            "\u{feff}<Error><Code> -->",
        ] {
            assert!(wrong_beginning(Asset::Subtitle, page.as_bytes()).is_some());
        }
    }

    #[test]
    fn text_is_a_type_of_subtitles_alone() {
        for (asset, kind, fits) in [
            (Asset::Video, "video/mp4", true),
            (Asset::Video, "application/octet-stream", true),
            (Asset::Video, "text/plain; charset=utf-8", false),
            (Asset::Video, "application/vnd.apple.mpegurl", false),
            (Asset::Video, "Application/X-MpegURL", false),
            (Asset::Video, "application/problem+json", false),
            (Asset::Subtitle, "text/plain", true),
            (Asset::Subtitle, "text/vtt", true),
            (Asset::Subtitle, "Text/HTML", false),
            (Asset::Thumbnail, "image/svg+xml", false),
        ] {
            assert_eq!(wrong_type(asset, kind).is_none(), fits, "{asset} {kind}");
        }
    }
}
