//! Request bodies as people keep them: an object, an array of objects, JSON Lines. Pure.
//!
//! A body goes to HeyGen as the bytes that were typed: fields are added there often, and numbers and duplicate keys
//! must not change on the way. Only what is needed for searching and for finding duplicates is looked at.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::each::{Line, utf8};
use crate::error::{Problem, Result};
use crate::kind::Kind;
use crate::store::NewVideo;
use crate::video::{IdempotencyKey, Video};

/// The longest body; HeyGen takes scripts of 5,000 characters, so this is generous.
const MAX_BODY: usize = 10 * 1024 * 1024;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Body {
    pub place: String,
    pub raw: String,
    /// The same, parsed.
    pub value: Value,
    /// The line of a table that it was made from: two people of one name get a video each.
    pub data: Option<Map<String, Value>>,
    pub kind: Kind,
    pub template: Option<String>,
}

/// A body made of flags; those that are `null` were not given.
pub(crate) fn of_flags(mut flags: Value) -> Result<Body> {
    if let Some(fields) = flags.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    one("the flags".to_owned(), &flags.to_string())
}

/// All bodies in one text; `origin` names it in errors.
pub(crate) fn parse(origin: &str, bytes: &[u8]) -> Result<Vec<Body>> {
    let invalid = |why: String| Problem::invalid_body(origin, why);
    let not_json = |error: serde_json::Error| invalid(format!("is not JSON: {error}"));
    let text = utf8(origin, bytes)?;
    let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let values = values.map(|value| value.map(RawValue::get));
    let values: Vec<&str> = values.collect::<Result<_, _>>().map_err(not_json)?;
    let (part, raws) = match values.as_slice() {
        [] => return Err(invalid("is empty".to_owned())),
        [array] if array.starts_with('[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(array).map_err(not_json)?;
            ("element", elements.into_iter().map(RawValue::get).collect())
        }
        [object] => return Ok(vec![one(origin.to_owned(), object)?]),
        _ => ("body", values),
    };
    if raws.is_empty() {
        return Err(invalid("is an empty array".to_owned()));
    }
    let bodies = raws.iter().enumerate();
    let bodies = bodies.map(|(index, raw)| one(format!("{origin}, {part} {}", index + 1), raw));
    bodies.collect()
}

fn one(place: String, raw: &str) -> Result<Body> {
    let invalid = |why: String| Err(Problem::invalid_body(&place, why));
    let length = raw.len();
    if length > MAX_BODY {
        return invalid(format!(
            "is {length} bytes long; at most {MAX_BODY} are sent"
        ));
    }
    match serde_json::from_str::<Value>(raw) {
        Ok(Value::Object(fields)) if fields.is_empty() => invalid("is an empty object".to_owned()),
        Ok(value @ Value::Object(_)) => Ok(Body {
            place,
            raw: raw.to_owned(),
            value,
            ..Body::default()
        }),
        Ok(_) => invalid("is not a JSON object".to_owned()),
        Err(error) => invalid(format!("is not JSON that HeyGen could read: {error}")),
    }
}

impl Body {
    /// With these top-level fields, which win over its own.
    pub(crate) fn with(self, fields: &BTreeMap<&str, String>) -> Result<Self> {
        if fields.is_empty() {
            return Ok(self);
        }
        let invalid = |error: serde_json::Error| Problem::invalid_body(&self.place, error);
        // Raw values, so that the fields that stay keep their bytes.
        let mut all: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&self.raw).map_err(invalid)?;
        for (name, value) in fields {
            let value = serde_json::value::to_raw_value(value).map_err(invalid)?;
            all.insert((*name).to_owned(), value);
        }
        let raw = serde_json::to_string(&all).map_err(invalid)?;
        self.with_raw(self.place.clone(), &raw)
    }

    pub(crate) fn for_line(&self, line: &Line) -> Result<Self> {
        if !self.raw.contains("{{") {
            let why = "names no column: every line would get the same video";
            let problem = Problem::invalid_body(&self.place, why);
            return Err(problem.with_hint("write {{column}} where the lines differ"));
        }
        let raw = line.fill_json(&self.raw)?;
        let mut body = self.with_raw(line.place.clone(), &raw)?;
        body.data = Some(line.values.clone());
        Ok(body)
    }

    fn with_raw(&self, place: String, raw: &str) -> Result<Self> {
        Ok(Self {
            kind: self.kind,
            template: self.template.clone(),
            data: self.data.clone(),
            ..one(place, raw)?
        })
    }

    /// The row that asks for this, and what else is in `base`.
    pub(crate) fn row(&self, mut base: Video) -> NewVideo {
        base.files.retain(|file| self.kind.has(file.asset));
        // Flat (v3), an agent's prompt, or of the first of the older `video_inputs`.
        let text = |pointers: &[&str]| {
            let mut found = pointers
                .iter()
                .filter_map(|at| self.value.pointer(at)?.as_str());
            found.next().map(str::to_owned)
        };
        let video = Video {
            kind: self.kind,
            template_id: self.template.clone(),
            idempotency_key: Some(IdempotencyKey::random()),
            data: self.data.clone(),
            title: text(&["/title"]),
            script: text(&["/script", "/prompt", "/video_inputs/0/voice/input_text"]),
            avatar_id: text(&["/avatar_id", "/video_inputs/0/character/avatar_id"]),
            voice_id: text(&["/voice_id", "/video_inputs/0/voice/voice_id"]),
            ..base
        };
        NewVideo {
            video,
            request: Some(self.raw.clone()),
            body_hash: Some(self.hash()),
            request_key: None,
        }
    }

    /// Equal for bodies that are equal as JSON values and ask for the same: keys in any order, white space ignored.
    pub(crate) fn hash(&self) -> String {
        // serde_json keeps objects sorted by key, so its text is canonical.
        let mut canonical = self.value.to_string();
        canonical.extend(self.data.clone().map(|data| Value::from(data).to_string()));
        // What a body without a kind hashed to before there were kinds stays as it was.
        if self.kind != Kind::Video {
            let template = self.template.as_deref().unwrap_or_default();
            canonical = format!("{} {template} {canonical}", self.kind);
        }
        crate::net::hex(&Sha256::digest(canonical))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn raws(text: &str) -> Vec<String> {
        let bodies = parse("b.json", text.as_bytes()).unwrap();
        bodies.into_iter().map(|body| body.raw).collect()
    }

    #[test]
    fn objects_arrays_and_lines_are_kept_as_typed() {
        assert_eq!(raws(r#" {"a": 1.0} "#), [r#"{"a": 1.0}"#]);
        assert_eq!(
            raws(r#"[{"a":1e2}, {"a" : 12345678901234567890123}]"#),
            [r#"{"a":1e2}"#, r#"{"a" : 12345678901234567890123}"#]
        );
        assert_eq!(
            raws("{\"a\":1}\n\n{\"a\":2}\r\n"),
            [r#"{"a":1}"#, r#"{"a":2}"#]
        );
        assert_eq!(raws("\u{feff}{\"a\":1}"), [r#"{"a":1}"#]);
        assert_eq!(raws(r#"{"a":1,"a":2}"#), [r#"{"a":1,"a":2}"#]);
    }

    #[test]
    fn what_is_not_a_body_is_named() {
        let table = [
            ("", "b.json: is empty"),
            ("  \n", "b.json: is empty"),
            ("[]", "b.json: is an empty array"),
            ("{}", "b.json: is an empty object"),
            ("[{\"a\":1}, 7]", "b.json, element 2: is not a JSON object"),
            ("{\"a\":1}\n\"x\"", "b.json, body 2: is not a JSON object"),
            ("{\"a\":NaN}", "b.json: is not JSON"),
            ("{\"a\":1", "b.json: is not JSON"),
        ];
        for (text, message) in table {
            let error = parse("b.json", text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{text:?}: {error}");
        }
        assert!(parse("b", b"{\"a\":\"\xff\"}").is_err());
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
        assert!(parse("b", deep.as_bytes()).is_err());
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BODY));
        assert!(parse("b", long.as_bytes()).is_err());
    }

    #[test]
    fn flags_win_and_the_rest_keeps_its_bytes() {
        let body = parse("b", br#"{"script":"old","n":1.50}"#)
            .unwrap()
            .remove(0);
        let flags = BTreeMap::from([("script", "new".to_owned())]);
        assert_eq!(
            body.with(&flags).unwrap().raw,
            r#"{"n":1.50,"script":"new"}"#
        );
        let alone = of_flags(json!({"type": "avatar", "title": null})).unwrap();
        assert_eq!(
            alone.with(&flags).unwrap().raw,
            r#"{"script":"new","type":"avatar"}"#
        );
    }

    #[test]
    fn equal_values_have_equal_hashes() {
        let hash = |text: &str| parse("b", text.as_bytes()).unwrap()[0].hash();
        assert_eq!(
            hash(r#"{"a":1,"b":[2]}"#),
            hash("{ \"b\" : [ 2 ],\n\"a\":1 }")
        );
        assert_ne!(hash(r#"{"a":1}"#), hash(r#"{"a":2}"#));
    }

    #[test]
    fn the_older_shape_is_searchable_too() {
        let text = br#"{"video_inputs":[{"character":{"avatar_id":"A"},"voice":{"input_text":"Hi","voice_id":"V"}}]}"#;
        let body = parse("b", text).unwrap().remove(0);
        let row = body.row(Video::default()).video;
        assert_eq!(row.script.as_deref(), Some("Hi"));
        assert_eq!(row.avatar_id.as_deref(), Some("A"));
        assert_eq!(row.voice_id.as_deref(), Some("V"));
    }
}
