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

use chrono::TimeZone;
use serde_json::value::RawValue;

use crate::kind::Kind;
use crate::object::{self, Fields, is_array, is_null};
use crate::time::Timestamp;
use crate::video::VideoId;
use crate::when::parse_when;

/// Larger than any listing the official client prints; a document is held in memory.
pub(crate) const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// From this number on a `createdAt` counts milliseconds: as seconds it would be the year 5138.
const MILLIS_FROM: f64 = 1e11;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub kind: Option<Kind>,
    /// HeyGen's id: a session's for an agent.
    pub video_id: VideoId,
    pub title: Option<String>,
    pub script: Option<String>,
    pub avatar_id: Option<String>,
    pub voice_id: Option<String>,
    pub created_at: Option<Timestamp>,
}

impl Made {
    pub(crate) fn new(video_id: VideoId) -> Self {
        Self {
            kind: None,
            video_id,
            title: None,
            script: None,
            avatar_id: None,
            voice_id: None,
            created_at: None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Import {
    /// In the document's order; an id may occur more than once.
    pub videos: Vec<Made>,
    /// Entries whose id is `null`: HeyGen has not named them (yet).
    pub skipped: usize,
}

/// Why a document cannot be used. No part of it repeats the document, which anybody may have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportError {
    /// Where in the document: a line, or a path such as `data[3].id`; empty for all of it.
    pub place: String,
    pub why: String,
}

impl ImportError {
    fn new(place: &str, why: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            why: why.into(),
        }
    }
}

/// Reads one document. Times without a zone are in `tz`.
///
/// # Errors
/// At the first thing that cannot be used, and when there is no id at all (an empty list is fine: it says so).
pub(crate) fn parse<Tz: TimeZone>(
    bytes: &[u8],
    now: Timestamp,
    tz: &Tz,
) -> Result<Import, ImportError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ImportError::new("", format!("not UTF-8: {error}")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        import: Import::default(),
        now,
        tz,
    };
    let mut documents = 0_usize;
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let value = value.map_err(|error| ImportError::new("", format!("not JSON: {error}")))?;
        documents += 1;
        // A single document needs no number.
        let place = if documents == 1 {
            String::new()
        } else {
            format!("value {documents}")
        };
        reader.read(value, &place, &["data", "items"])?;
    }
    let import = reader.import;
    if documents == 0 {
        return Err(ImportError::new("", "it is empty"));
    }
    if import.videos.is_empty() && import.skipped > 0 {
        return Err(ImportError::new("", "every video id in it is null"));
    }
    Ok(import)
}

struct Reader<'t, Tz> {
    import: Import,
    now: Timestamp,
    tz: &'t Tz,
}

impl<Tz: TimeZone> Reader<'_, Tz> {
    /// A video, an array of videos, or an object around one of them under the first of `around`.
    fn read(&mut self, value: &RawValue, place: &str, around: &[&str]) -> Result<(), ImportError> {
        if is_array(value) {
            return self.list(value, place);
        }
        let entry = entry(value, place)?;
        match around {
            _ if named(&entry, &IDS).is_some() || kind_of(&entry).is_some() => {
                self.video(&entry, place)
            }
            [name, deeper @ ..] => match entry.get(*name) {
                Some(value) if deeper.is_empty() => self.list(value, &below(place, name)),
                Some(value) => self.read(value, &below(place, name), deeper),
                None => Err(ImportError::new(
                    place,
                    "no video id in it (videoId, video_id, id, or data with one)",
                )),
            },
            [] => Err(ImportError::new(place, "no video id in it")),
        }
    }

    fn list(&mut self, value: &RawValue, place: &str) -> Result<(), ImportError> {
        let values: Vec<&RawValue> = serde_json::from_str(value.get())
            .map_err(|_| ImportError::new(place, "not an array of videos"))?;
        for (index, value) in values.into_iter().enumerate() {
            let place = format!("{place}[{index}]");
            if is_null(value) {
                self.import.skipped += 1;
            } else {
                self.video(&entry(value, &place)?, &place)?;
            }
        }
        Ok(())
    }

    fn video(&mut self, entry: &Fields<'_>, place: &str) -> Result<(), ImportError> {
        if let Some((kind, name)) = kind_of(entry)
            && let Some(value) = entry.get(name).filter(|value| !is_null(value))
        {
            let ids = if is_array(value) {
                serde_json::from_str(value.get()).unwrap_or_default()
            } else {
                vec![*value]
            };
            return ids
                .into_iter()
                .try_for_each(|id| self.made(entry, Some(kind), (name, id), place));
        }
        // In HeyGen's lists a field that is left out means null.
        let Some((key, id)) = named(entry, &IDS).filter(|(_, id)| !is_null(id)) else {
            self.import.skipped += 1;
            return Ok(());
        };
        self.made(entry, None, (key, id), place)
    }

    fn made(
        &mut self,
        entry: &Fields<'_>,
        kind: Option<Kind>,
        (key, id): (&str, &RawValue),
        place: &str,
    ) -> Result<(), ImportError> {
        let place_of = |key: &str| below(place, key);
        let Some(id) = object::string(Some(&id)) else {
            return Err(ImportError::new(&place_of(key), "a video id is text"));
        };
        let Some(video_id) = VideoId::new(id) else {
            let why = format!("a video id has 1 to {} bytes", VideoId::MAX_BYTES);
            return Err(ImportError::new(&place_of(key), why));
        };
        let created_at = match named(entry, &["createdAt", "created_at"]) {
            Some((key, value)) => self
                .instant(value)
                .map_err(|why| ImportError::new(&place_of(key), why))?,
            None => None,
        };
        let text = |names: &[&'static str]| object::string(Some(&named(entry, names)?.1));
        self.import.videos.push(Made {
            kind,
            video_id,
            title: text(&["title"]),
            script: text(&["script"]),
            avatar_id: text(&["avatarId", "avatar_id"]),
            voice_id: text(&["voiceId", "voice_id"]),
            created_at,
        });
        Ok(())
    }

    /// ISO 8601 text, or a Unix time in seconds or milliseconds as number or text. `null`, an empty text and times
    /// before 1970 mean that it is not known.
    fn instant(&self, value: &RawValue) -> Result<Option<Timestamp>, &'static str> {
        const WHY: &str = "not a time: use 2026-11-23T10:00:00Z or Unix seconds";
        if is_null(value) {
            return Ok(None);
        }
        let text = object::string(Some(&value)).unwrap_or_else(|| value.get().to_owned());
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if let Ok(number) = text.parse::<f64>()
            && number.is_finite()
        {
            let millis = if number < MILLIS_FROM {
                number * 1000.0
            } else {
                number
            };
            // The cast saturates, and so does the timestamp.
            return Ok((millis >= 1.0).then(|| Timestamp::from_millis(millis as i64)));
        }
        // Ages such as `7d`, which parse_when also reads, are no date that a program wrote down.
        if text.as_bytes().get(4) != Some(&b'-') {
            return Err(WHY);
        }
        parse_when(text, self.now, self.tz)
            .map(Some)
            .map_err(|_| WHY)
    }
}

const IDS: [&str; 3] = ["videoId", "video_id", "id"];

/// The names of ids that tell what they are the id of. A session's answer also has the id of its video.
const OF_KINDS: [(Kind, &str); 4] = [
    (Kind::Agent, "session_id"),
    (Kind::Translation, "video_translation_id"),
    (Kind::Translation, "video_translation_ids"),
    (Kind::Lipsync, "lipsync_id"),
];

fn kind_of(entry: &Fields<'_>) -> Option<(Kind, &'static str)> {
    let is_there = |name: &str| entry.get(name).is_some_and(|value| !is_null(value));
    OF_KINDS.into_iter().find(|(_, name)| is_there(name))
}

/// The first of the names that has a value, else the first that is there with `null`.
fn named<'a>(entry: &Fields<'a>, names: &[&'static str]) -> Option<(&'static str, &'a RawValue)> {
    let mut there = names
        .iter()
        .filter_map(|name| Some((*name, *entry.get(*name)?)));
    let first = there.next()?;
    let value = std::iter::once(first)
        .chain(there)
        .find(|(_, value)| !is_null(value));
    Some(value.unwrap_or(first))
}

fn entry<'a>(value: &'a RawValue, place: &str) -> Result<Fields<'a>, ImportError> {
    if !value.get().starts_with('{') {
        return Err(ImportError::new(place, "not a JSON object"));
    }
    object::fields(value.get()).map_err(|error| ImportError::new(place, error.to_string()))
}

fn below(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Import, ImportError> {
        let zurich = FixedOffset::east_opt(3600).unwrap();
        parse(
            text.as_bytes(),
            Timestamp::from_secs(1_764_000_000),
            &zurich,
        )
    }

    fn ids(text: &str) -> (Vec<String>, usize) {
        let import = read(text).unwrap();
        let ids = import.videos.iter().map(|made| made.video_id.to_string());
        (ids.collect(), import.skipped)
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
        let made = read(text).unwrap().videos.remove(0);
        assert_eq!(made.created_at.unwrap().rfc3339(), "2025-11-24T13:00:00Z");
        let texts = [made.title, made.script, made.avatar_id, made.voice_id];
        assert_eq!(texts.map(Option::unwrap), ["T", "Hi", "av", "vo"]);
        assert_eq!(
            read(r#"{"id":"a","title":5,"script":null}"#)
                .unwrap()
                .videos,
            [Made::new(VideoId::new("a").unwrap())]
        );
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
            let text = format!(r#"{{"videoId":"a","createdAt":{value}}}"#);
            let at = read(&text).unwrap().videos.remove(0).created_at;
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
            ("{\"videoId\":\"a\"}\n{\"videoId\":", "", "line 2"),
            ("\"abc\"", "", "not a JSON object"),
            ("42", "", "not a JSON object"),
            ("{}", "", "no video id"),
            (r#"{"error":{"code":"x"}}"#, "", "no video id"),
            (r#"{"data":{"status":"x"}}"#, "data", "no video id"),
            (r#"{"data":null}"#, "data", "not a JSON object"),
            (r#"{"data":{"items":{}}}"#, "data.items", "not an array"),
            (r#"{"data":[{"id":"a"},{"id":7}]}"#, "data[1].id", "is text"),
            (
                r#"{"data":[{"id":"a"},[]]}"#,
                "data[1]",
                "not a JSON object",
            ),
            ("{\"id\":\"a\"}\n{\"id\":{}}", "value 2.id", "is text"),
            (r#"{"videoId":""}"#, "videoId", "1 to 512 bytes"),
            (&long, "[0].id", "1 to 512 bytes"),
            (r#"{"videoId":null}"#, "", "is null"),
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
            assert_eq!(error.place, place, "{error:?}");
            assert!(error.why.contains(why), "{error:?}");
        }
        let now = Timestamp::from_secs(0);
        let error = parse(b"{\"id\":\"\xff\"}", now, &chrono::Utc).unwrap_err();
        assert!(error.why.starts_with("not UTF-8"));
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
            let _any = parse(text.as_bytes(), Timestamp::from_secs(0), &chrono::Utc);
        }
    }
}
