//! What a file is called. Pure: ids and titles in, one legal file name component out.
//!
//! A safe id is its own name. Others are percent-escaped byte by byte, so that different ids never share a name; those
//! that grow too long are cut and end in `~` and a digest of the whole id (`~` itself is always escaped). A title is
//! for people and cleaned without regard to uniqueness, which is why a template must also contain an id.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::content;
use crate::net::cut;
use crate::video::{Asset, RowId, VideoId};

/// Longest stem in bytes: leaves room for `.captioned.webm` and for a part file's affixes below NAME_MAX (255).
const MAX_STEM: usize = 180;
const MAX_ID: usize = 100;
const DIGEST_DIGITS: usize = 16;
const MAX_TITLE: usize = 80;

const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');

const PLACEHOLDERS: [&str; 4] = ["id", "video_id", "title", "date"];
const NO_ID: &str = "must contain {id} or {video_id}, or two videos would share a name";

pub(crate) fn check_template(template: &str) -> Result<(), String> {
    filled(template, |_| String::new()).map(drop)
}

/// A final name without its extension: one component, legal on Linux, macOS and (characters) Windows, never hidden,
/// never an option to a command, at most 180 bytes. An unusable template counts as the default, `{video_id}`.
pub(crate) fn stem(
    template: Option<&str>,
    id: RowId,
    video_id: &VideoId,
    title: Option<&str>,
    date: &str,
) -> String {
    let value = |name: &str| match name {
        "id" => id.to_string(),
        "title" => cleaned(title.unwrap_or_default()),
        "date" => date.to_owned(),
        _ => escaped(video_id.as_str()),
    };
    let name = template.and_then(|template| filled(template, value).ok());
    let mut name = name.unwrap_or_else(|| escaped(video_id.as_str()));
    if name.starts_with(['.', '-', ' ']) {
        name.replace_range(..1, "_");
    }
    if name.ends_with(['.', ' ']) {
        name.replace_range(name.len() - 1.., "_");
    }
    bounded(&name, MAX_STEM, &name)
}

/// The name of a second row that would get the same one: `{title}{id}` is `a11` for `a1` of row 1 and `a` of row 11.
pub(crate) fn own(stem: &str, id: RowId) -> String {
    let end = format!("~{id}");
    cut(stem, MAX_STEM - end.len()).to_owned() + &end
}

fn filled(template: &str, value: impl Fn(&str) -> String) -> Result<String, String> {
    if let Some(c) = template.chars().find(|c| *c == '/' || c.is_control()) {
        return Err(format!(
            "must not contain {c:?}: it names files, not directories"
        ));
    }
    let (mut filled, mut has_id, mut rest) = (String::new(), false, template);
    while let Some(brace) = rest.find(['{', '}']) {
        let (text, from_brace) = rest.split_at(brace);
        filled.extend(text.chars().map(legal));
        let (name, after) = from_brace
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
            .ok_or("unbalanced brace")?;
        if !PLACEHOLDERS.contains(&name) {
            return Err(format!(
                "unknown placeholder {{{name}}}; there are {{id}}, {{video_id}}, {{title}} and {{date}}"
            ));
        }
        filled += &value(name);
        has_id |= matches!(name, "id" | "video_id");
        rest = after;
    }
    filled.extend(rest.chars().map(legal));
    has_id.then_some(filled).ok_or_else(|| NO_ID.to_owned())
}

fn escaped(id: &str) -> String {
    let mut name = utf8_percent_encode(id, UNSAFE).to_string();
    // A leading dash would make the name an option to a command.
    if name.starts_with('-') {
        name.replace_range(..1, "%2D");
    }
    bounded(&name, MAX_ID, id)
}

fn cleaned(title: &str) -> String {
    let title: String = title.trim().chars().map(legal).collect();
    match cut(&title, MAX_TITLE).trim() {
        "" => "untitled".to_owned(),
        title => title.to_owned(),
    }
}

/// `_` for what some file system or terminal would stumble over.
fn legal(c: char) -> char {
    match c {
        '<' | '>' | ':' | '"' | '/' | '\\' | '|' | '?' | '*' => '_',
        // Invisible, or turning the direction of the text around them.
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => '_',
        c if c.is_control() => '_',
        c => c,
    }
}

/// What is cut ends in a digest of all that it was made from: what differs late still differs.
fn bounded(name: &str, max: usize, whole: &str) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    let digest = super::hex(Sha256::new_with_prefix(whole));
    cut(name, max - 1 - DIGEST_DIGITS).to_owned() + "~" + &digest[..DIGEST_DIGITS]
}

/// Whether `stem` is one component that is safe under any of the names made from it.
pub(super) fn is_safe_stem(stem: &str) -> bool {
    !stem.is_empty()
        && stem.len() <= MAX_STEM
        && !stem.starts_with(['.', '-'])
        && !stem.contains(|c: char| c == '/' || c.is_control())
}

pub(crate) fn candidates(stem: &str, asset: Asset) -> Vec<String> {
    let (_, formats) = content::formats(asset);
    let names = formats.iter().map(|(end, _)| format!("{stem}.{end}"));
    names.collect()
}

/// The final name of a file that begins with `head`: WebM, MP3 and WAV are known by their magic, all else is what was asked for.
pub(super) fn file_name(stem: &str, asset: Asset, head: &[u8]) -> String {
    let (_, formats) = content::formats(asset);
    let known = formats.iter().rposition(|(_, begins)| begins(head));
    candidates(stem, asset).swap_remove(known.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: &str = "2026-02-28";

    fn of_id(id: &str) -> String {
        stem(None, RowId(1), &VideoId::new(id).unwrap(), None, DAY)
    }

    fn of(template: &str, title: &str) -> String {
        stem(
            Some(template),
            RowId(7),
            &VideoId::new("abc").unwrap(),
            Some(title),
            DAY,
        )
    }

    #[test]
    fn a_safe_id_is_its_own_name_and_others_are_escaped() {
        for (id, name) in [
            ("0f3a_B-9", "0f3a_B-9"),
            ("../../etc/x", "%2E%2E%2F%2E%2E%2Fetc%2Fx"),
            ("/abs", "%2Fabs"),
            (".", "%2E"),
            ("-rf", "%2Drf"),
            ("a%2Fb", "a%252Fb"),
            ("a\0b", "a%00b"),
            ("a.", "a%2E"),
            ("é~", "%C3%A9%7E"),
        ] {
            assert_eq!(of_id(id), name);
        }
        let long = of_id(&"a".repeat(300));
        assert_eq!(long.len(), 100);
        assert_ne!(long, of_id(&"a".repeat(301)));
    }

    #[test]
    fn titles_are_cleaned() {
        for (template, title, name) in [
            ("{title}-{id}", "Launch: the/movie?", "Launch_ the_movie_-7"),
            ("{title} {video_id}", "", "untitled abc"),
            ("{title} {video_id}", "..", "_. abc"),
            ("{title}-{id}", "-rf", "_rf-7"),
            ("{id} {title}", "dots...", "7 dots.._"),
            ("{id} {title}", "\u{202e}4pm", "7 _4pm"),
            (".{id}", "", "_7"),
            ("{id}.", "", "7_"),
            ("{nonsense}", "", "abc"),
        ] {
            assert_eq!(of(template, title), name, "{template} {title}");
        }
    }

    #[test]
    fn templates_are_checked() {
        let unknown = |name: &str| {
            Err(format!(
                "unknown placeholder {{{name}}}; there are {{id}}, {{video_id}}, {{title}} and {{date}}"
            ))
        };
        let unbalanced = Err("unbalanced brace".to_owned());
        let illegal = |c: char| {
            Err(format!(
                "must not contain {c:?}: it names files, not directories"
            ))
        };
        for (template, result) in [
            ("{video_id}", Ok(())),
            ("{title} ({id})", Ok(())),
            ("{date} {video_id}", Ok(())),
            ("{date}", Err(NO_ID.to_owned())),
            ("", Err(NO_ID.to_owned())),
            ("{title}", Err(NO_ID.to_owned())),
            ("{ID}", unknown("ID")),
            ("{id", unbalanced.clone()),
            ("id}", unbalanced),
            ("{{id}}", unknown("{id")),
            ("a/{id}", illegal('/')),
            ("{id}\n", illegal('\n')),
        ] {
            assert_eq!(check_template(template), result, "{template}");
        }
    }

    #[test]
    fn the_extension_follows_asset_and_content() {
        let webm = [0x1a, 0x45, 0xdf, 0xa3, 0];
        for (asset, head, name) in [
            (Asset::Video, &b"\0\0\0\x18ftyp"[..], "v.mp4"),
            (Asset::Video, &webm, "v.webm"),
            (Asset::Video, b"", "v.mp4"),
            (Asset::Captioned, b"", "v.captioned.mp4"),
            (Asset::Captioned, &webm, "v.captioned.webm"),
            (Asset::Subtitle, &webm, "v.srt"),
            (Asset::Thumbnail, b"", "v.jpg"),
            (Asset::Audio, b"\0\0\0\x18ftyp", "v.m4a"),
            (Asset::Audio, b"ID3\x04", "v.mp3"),
            (Asset::Audio, b"\xff\xfb\x90", "v.mp3"),
            (Asset::Audio, b"RIFF\0\0\0\0WAVE", "v.wav"),
            (Asset::Vtt, b"", "v.vtt"),
            (Asset::Gif, b"", "v.gif"),
        ] {
            assert_eq!(file_name("v", asset, head), name);
        }
    }

    fn template() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("{id}".to_owned()),
            Just("{title}".to_owned()),
            "[^{}/\\p{Cc}]{0,40}"
        ];
        proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat() + "{video_id}")
    }

    proptest! {
        #[test]
        fn every_name_is_one_legal_component(
            template in prop_oneof![template(), ".*"], id in ".{1,200}", title in ".{0,300}",
        ) {
            prop_assume!(VideoId::new(id.as_str()).is_some());
            let name = stem(Some(&template), RowId(i64::MAX), &VideoId::new(id).unwrap(), Some(&title), DAY);
            prop_assert!(is_safe_stem(&own(&name, RowId(i64::MAX))));
            prop_assert!(is_safe_stem(&name));
            prop_assert!(!name.ends_with(['.', ' ']));
            prop_assert!(!name.contains(['<', '>', ':', '"', '\\', '|', '?', '*']));
            let path = std::path::Path::new(&name);
            prop_assert_eq!(path.components().count(), 1);
            prop_assert_eq!(path.file_name(), Some(std::ffi::OsStr::new(&name)));
            for full in candidates(&name, Asset::Captioned) {
                prop_assert!(full.len() <= 255);
            }
        }

        #[test]
        fn different_ids_have_different_names(a in "[-a.%2Ee~/]{1,60}", b in "[-a.%2Ee~/]{1,60}") {
            prop_assert_eq!(a == b, of_id(&a) == of_id(&b));
        }
    }
}
