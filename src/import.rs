//! What `add` can read: videos made elsewhere, as the files of people's own scripts and the official client's
//! output name them. Pure.
//!
//! | shape | written by |
//! |---|---|
//! | `{"videoId", "createdAt", "script", "avatarId", "voiceId"}` | the documented pattern: `pending-video.json`, `video-result.json` |
//! | `{"data": {"video_id"}}`, `{"data": {"id"}}` | the official client: create, get |
//! | `{"data": {"session_id"}}`, `video_translation_id`, `video_translation_ids`, `lipsync_id` | the same for other kinds of job |
//! | `{"data": [{"id"}]}`, `{"data": {"items": [{"video_id"}]}}` | the official client: list, statuses, batches |
//!
//! One document may hold several of them, one after the other (JSON Lines) or in an array. Unknown fields are
//! ignored. Nothing is guessed: what has no video id anywhere is an error, so that a failed `create` in a pipe is
//! not mistaken for "nothing to do".

use std::fmt::Display;

use chrono::TimeZone;
use serde_json::value::RawValue;

use crate::each::utf8;
use crate::error::{Problem, Result};
use crate::kind::Kind;
use crate::object::{self, Fields, is_array, is_null};
use crate::time::Timestamp;
use crate::video::{Video, VideoId};
use crate::when::parse_when;

/// Larger than any listing the official client prints; a document is held in memory.
pub(crate) const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// From this number on a `createdAt` counts milliseconds: as seconds it would be the year 5138.
const MILLIS_FROM: f64 = 1e11;

/// The row of a job that was made elsewhere; `base` says everything else about it, and what time it is.
pub(crate) fn made(kind: Kind, id: VideoId, created_at: Option<Timestamp>, base: &Video) -> Video {
    let (session_id, video_id) = match kind {
        Kind::Agent => (Some(id), None),
        _ => (None, Some(id)),
    };
    let mut row = Video {
        kind,
        session_id,
        video_id,
        // Whatever another clock said, nothing was submitted later than now.
        submitted_at: created_at.map_or(base.submitted_at, |at| at.min(base.submitted_at)),
        ..base.clone()
    };
    row.files.retain(|file| kind.has(file.asset));
    row
}

/// Reads one document, which `origin` names in errors. Times without a zone are in `tz`. Returns the rows in the
/// document's order, where an id may occur more than once, and how many ids were `null`: HeyGen has not named them (yet).
///
/// # Errors
/// At the first thing that cannot be used, and when there is no id at all (an empty list is fine: it says so).
pub(crate) fn parse<Tz: TimeZone>(
    origin: &str,
    bytes: &[u8],
    base: &Video,
    tz: &Tz,
) -> Result<(Vec<Video>, usize)> {
    let text = utf8(origin, bytes)?;
    let mut reader = Reader {
        origin,
        base,
        tz,
        rows: Vec::new(),
        skipped: 0,
    };
    let mut documents = 0_usize;
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let value = value.map_err(|error| reader.error("", format!("not JSON: {error}")))?;
        documents += 1;
        // A single document needs no number.
        let place = if documents == 1 {
            String::new()
        } else {
            format!("value {documents}")
        };
        reader.read(value, &place, "data")?;
    }
    if documents == 0 {
        return Err(reader.error("", "it is empty"));
    }
    if reader.rows.is_empty() && reader.skipped > 0 {
        return Err(reader.error("", "every video id in it is null"));
    }
    Ok((reader.rows, reader.skipped))
}

struct Reader<'a, Tz> {
    origin: &'a str,
    base: &'a Video,
    tz: &'a Tz,
    rows: Vec<Video>,
    skipped: usize,
}

impl<Tz: TimeZone> Reader<'_, Tz> {
    /// `place`: a path such as `data[3].id`, empty for all of it. `why` does not repeat the document, which anybody may
    /// have written.
    fn error(&self, place: &str, why: impl Display) -> Problem {
        match place {
            "" => Problem::invalid_body(self.origin, why),
            _ => Problem::invalid_body(format!("{}: {place}", self.origin), why),
        }
    }

    fn fields<'v>(&self, value: &'v RawValue, place: &str) -> Result<Fields<'v>> {
        if !value.get().starts_with('{') {
            return Err(self.error(place, "not a JSON object"));
        }
        object::fields(value.get()).map_err(|error| self.error(place, error))
    }

    /// A video, an array of videos, or an object around one of them that calls it `data`; in there a list may be `items`.
    fn read(&mut self, value: &RawValue, place: &str, name: &str) -> Result<()> {
        if is_array(value) {
            return self.list(value, place);
        }
        let entry = self.fields(value, place)?;
        if named(&entry, &IDS).is_some() || kind_of(&entry).is_some() {
            return self.video(&entry, place);
        }
        match entry.get(name) {
            Some(value) if name == "data" => self.read(value, &below(place, name), "items"),
            Some(value) => self.list(value, &below(place, name)),
            None => Err(self.error(
                place,
                "no video id in it (videoId, video_id, id, or data with one)",
            )),
        }
    }

    fn list(&mut self, value: &RawValue, place: &str) -> Result<()> {
        let values: Vec<&RawValue> = serde_json::from_str(value.get())
            .map_err(|_| self.error(place, "not an array of videos"))?;
        for (index, value) in values.into_iter().enumerate() {
            let place = format!("{place}[{index}]");
            if is_null(value) {
                self.skipped += 1;
            } else {
                self.video(&self.fields(value, &place)?, &place)?;
            }
        }
        Ok(())
    }

    fn video(&mut self, entry: &Fields<'_>, place: &str) -> Result<()> {
        let (kind, name, ids) = match (kind_of(entry), named(entry, &IDS)) {
            (Some((kind, name, ids)), _) if is_array(ids) => {
                let ids = serde_json::from_str(ids.get()).unwrap_or_default();
                (kind, name, ids)
            }
            (Some((kind, name, id)), _) => (kind, name, vec![id]),
            (None, Some((name, id))) if !is_null(id) => (self.base.kind, name, vec![id]),
            // In HeyGen's lists a field that is left out means null.
            (None, _) => {
                self.skipped += 1;
                return Ok(());
            }
        };
        let created_at = match named(entry, &["createdAt", "created_at"]) {
            Some((name, value)) => instant(value, self.base.submitted_at, self.tz)
                .map_err(|why| self.error(&below(place, name), why))?,
            None => None,
        };
        let text = |names: &[&'static str]| object::string(Some(&named(entry, names)?.1));
        for id in ids {
            let error = |why: String| self.error(&below(place, name), why);
            let Some(id) = object::string(Some(&id)) else {
                return Err(error("a video id is text".to_owned()));
            };
            let Some(id) = VideoId::new(id) else {
                let most = VideoId::MAX_BYTES;
                return Err(error(format!("a video id has 1 to {most} bytes")));
            };
            self.rows.push(Video {
                title: text(&["title"]),
                script: text(&["script"]),
                avatar_id: text(&["avatarId", "avatar_id"]),
                voice_id: text(&["voiceId", "voice_id"]),
                ..made(kind, id, created_at, self.base)
            });
        }
        Ok(())
    }
}

/// ISO 8601 text, or a Unix time in seconds or milliseconds as number or text. `null`, an empty text and times before
/// 1970 mean that it is not known.
fn instant<Tz: TimeZone>(
    value: &RawValue,
    now: Timestamp,
    tz: &Tz,
) -> Result<Option<Timestamp>, &'static str> {
    const WHY: &str = "not a time: use 2026-11-23T10:00:00Z or Unix seconds";
    let text = object::string(Some(&value)).unwrap_or_else(|| value.get().to_owned());
    let text = text.trim();
    if is_null(value) || text.is_empty() {
        return Ok(None);
    }
    if let Ok(number) = text.parse::<f64>()
        && number.is_finite()
    {
        let unit = if number < MILLIS_FROM { 1000.0 } else { 1.0 };
        let millis = number * unit;
        // The cast saturates, and so does the timestamp.
        return Ok((millis >= 1.0).then(|| Timestamp::from_millis(millis as i64)));
    }
    // Ages such as `7d`, which parse_when also reads, are no date that a program wrote down.
    if text.as_bytes().get(4) != Some(&b'-') {
        return Err(WHY);
    }
    parse_when(text, now, tz).map(Some).map_err(|_| WHY)
}

const IDS: [&str; 3] = ["videoId", "video_id", "id"];

/// The names of ids that tell what they are the id of. A session's answer also has the id of its video.
const OF_KINDS: [(Kind, &str); 4] = [
    (Kind::Agent, "session_id"),
    (Kind::Translation, "video_translation_id"),
    (Kind::Translation, "video_translation_ids"),
    (Kind::Lipsync, "lipsync_id"),
];

fn kind_of<'a>(entry: &Fields<'a>) -> Option<(Kind, &'static str, &'a RawValue)> {
    let value = |name: &str| entry.get(name).copied().filter(|value| !is_null(value));
    let mut named = OF_KINDS.into_iter();
    named.find_map(|(kind, name)| Some((kind, name, value(name)?)))
}

/// The first of the names that has a value, else the first that is there with `null`.
fn named<'a>(entry: &Fields<'a>, names: &[&'static str]) -> Option<(&'static str, &'a RawValue)> {
    let there = names.iter();
    let there = there.filter_map(|name| Some((*name, *entry.get(*name)?)));
    there.min_by_key(|(_, value)| is_null(value))
}

fn below(place: &str, key: &str) -> String {
    match place {
        "" => key.to_owned(),
        _ => format!("{place}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;
    use proptest::prelude::*;

    const NOW: i64 = 1_764_000_000;

    fn zurich() -> FixedOffset {
        FixedOffset::east_opt(3600).unwrap()
    }

    fn base() -> Video {
        Video {
            submitted_at: Timestamp::from_secs(NOW),
            ..Video::default()
        }
    }

    fn read(text: &str) -> Result<(Vec<Video>, usize)> {
        parse("f", text.as_bytes(), &base(), &zurich())
    }

    fn ids(text: &str) -> (Vec<String>, usize) {
        let (rows, skipped) = read(text).unwrap();
        let ids = rows
            .into_iter()
            .map(|row| row.video_id.unwrap().to_string());
        (ids.collect(), skipped)
    }

    #[test]
    fn every_documented_shape_has_its_ids() {
        for (text, expected, skipped) in [
            (r#"{"videoId":"a"}"#, &["a"][..], 0),
            (r#"{"data":{"video_id":"a","status":"waiting"}}"#, &["a"], 0),
            (r#"{"data":{"id":"a","video_url":null}}"#, &["a"], 0),
            (
                r#"{"data":[{"id":"a"},{"id":"b"}],"has_more":true}"#,
                &["a", "b"],
                0,
            ),
            (
                r#"{"data":{"items":[{"video_id":"a"},{"video_id":null},{}]}}"#,
                &["a"],
                2,
            ),
            (
                "{\"videoId\":\"a\"}\n\n{\"data\":{\"id\":\"b\"}}\n",
                &["a", "b"],
                0,
            ),
            (r#"{"videoId":"a"}{"id":"b"}"#, &["a", "b"], 0),
            (r#"[{"videoId":"a"},null,{"video_id":"b"}]"#, &["a", "b"], 1),
            ("{\"video_id\":null}\n{\"video_id\":\"a\"}", &["a"], 1),
            (r#"{"video_id":null,"id":"a"}"#, &["a"], 0),
            ("\u{feff}{\"id\":\"a\"}", &["a"], 0),
            (r#"{"data":[]}"#, &[], 0),
            ("[]", &[], 0),
            (r#"{"id":"../../etc/x\u0000"}"#, &["../../etc/x\0"], 0),
        ] {
            let expected: Vec<_> = expected.iter().map(|&id| id.to_owned()).collect();
            assert_eq!(ids(text), (expected, skipped), "{text}");
        }
    }

    #[test]
    fn what_a_script_knew_is_kept() {
        let text = r#"{"videoId":"a","createdAt":"2025-11-24T13:00:00.123Z","script":"Hi","avatarId":"av",
            "voiceId":"vo","title":"T","videoUrl":"https://x","extra":{"deep":[]}}"#;
        let row = read(text).unwrap().0.remove(0);
        assert_eq!(row.submitted_at.rfc3339(), "2025-11-24T13:00:00Z");
        let texts = [row.title, row.script, row.avatar_id, row.voice_id];
        assert_eq!(texts.map(Option::unwrap), ["T", "Hi", "av", "vo"]);
        let row = read(r#"{"id":"a","title":5,"script":null}"#)
            .unwrap()
            .0
            .remove(0);
        assert_eq!(row.submitted_at, Timestamp::from_secs(NOW));
        let texts = [row.title, row.script, row.avatar_id, row.voice_id];
        assert_eq!(texts, [None, None, None, None]);
        let later = read(r#"{"id":"a","createdAt":"2026-11-24"}"#)
            .unwrap()
            .0
            .remove(0);
        assert_eq!(later.submitted_at, Timestamp::from_secs(NOW));
    }

    #[test]
    fn times_are_iso_or_unix() {
        for (value, utc) in [
            ("1763989200", Some("2025-11-24T13:00:00Z")),
            ("1763989200.5", Some("2025-11-24T13:00:00Z")),
            ("1763989200000", Some("2025-11-24T13:00:00Z")),
            ("\"1763989200\"", Some("2025-11-24T13:00:00Z")),
            ("\"2025-11-24T13:00:00Z\"", Some("2025-11-24T13:00:00Z")),
            (
                "\"2025-11-24T15:00:00+02:00\"",
                Some("2025-11-24T13:00:00Z"),
            ),
            (
                "\"2025-11-24T14:00:00.123456\"",
                Some("2025-11-24T13:00:00Z"),
            ),
            ("1e300", Some("9999-12-31T23:59:59Z")),
            ("0", None),
            ("-5", None),
            ("null", None),
            ("\"\"", None),
        ] {
            let raw = serde_json::from_str(value).unwrap();
            let at = instant(raw, Timestamp::from_secs(NOW), &zurich()).unwrap();
            assert_eq!(at.map(Timestamp::rfc3339).as_deref(), utc, "{value}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_place() {
        let long = format!(r#"[{{"id":"{}"}}]"#, "x".repeat(513));
        let deep = format!(r#"{{"data":{}"#, "[".repeat(100_000));
        for (text, place, why) in [
            ("", "", "it is empty"),
            (" \n", "", "it is empty"),
            ("not json", "", "not JSON"),
            ("{\"videoId\":\"a\"}\n{\"videoId\":", "", "not JSON"),
            ("\"abc\"", "", "not a JSON object"),
            ("42", "", "not a JSON object"),
            ("{}", "", "no video id"),
            (r#"{"error":{"code":"x"}}"#, "", "no video id"),
            (r#"{"data":{"status":"x"}}"#, "data", "no video id"),
            (r#"{"data":null}"#, "data", "not a JSON object"),
            (r#"{"data":{"items":{}}}"#, "data.items", "not an array"),
            (
                r#"{"data":[{"id":"a"},{"id":7}]}"#,
                "data[1].id",
                "a video id is text",
            ),
            (
                r#"{"data":[{"id":"a"},[]]}"#,
                "data[1]",
                "not a JSON object",
            ),
            (
                "{\"id\":\"a\"}\n{\"id\":{}}",
                "value 2.id",
                "a video id is text",
            ),
            (
                r#"{"videoId":""}"#,
                "videoId",
                "a video id has 1 to 512 bytes",
            ),
            (&long, "[0].id", "a video id has 1 to 512 bytes"),
            (r#"{"videoId":null}"#, "", "every video id in it is null"),
            (
                r#"{"id":"a","createdAt":"soon"}"#,
                "createdAt",
                "not a time",
            ),
            (r#"{"id":"a","createdAt":"7d"}"#, "createdAt", "not a time"),
            (r#"{"id":"a","created_at":[]}"#, "created_at", "not a time"),
            (r#"{"id":"a","id":"b"}"#, "", "duplicate field"),
            (&deep, "", "not JSON"),
        ] {
            let error = read(text).unwrap_err();
            let place = match place {
                "" => String::new(),
                _ => format!("{place}: "),
            };
            let expected = format!("f: {place}{why}");
            assert!(error.message.starts_with(&expected), "{error:?}");
        }
        let second = read("{\"videoId\":\"a\"}\n{\"videoId\":").unwrap_err();
        assert!(second.message.contains("line 2"), "{second:?}");
        let error = parse("f", b"{\"id\":\"\xff\"}", &base(), &chrono::Utc).unwrap_err();
        assert!(error.message.starts_with("f: is not UTF-8"));
    }

    #[test]
    fn deep_nesting_beside_an_id_is_ignored() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(ids(&format!(r#"{{"id":"a","x":{deep}}}"#)).0, ["a"]);
    }

    proptest! {
        #[test]
        fn every_value_of_a_created_at_is_a_time_or_an_error(value in "\"\\PC{0,24}\"|-?[0-9]{1,30}(\\.[0-9]{1,5})?") {
            let text = format!(r#"{{"id":"a","createdAt":{value}}}"#);
            let _any = parse("f", text.as_bytes(), &base(), &chrono::Utc);
        }
    }
}
