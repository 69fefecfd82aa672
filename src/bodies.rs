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

/// The longest body; HeyGen takes scripts of 5,000 characters, so this is generous.
const MAX_BODY: usize = 10 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq)]
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

/// Top-level fields given as flags; they win over the body's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub avatar_id: Option<String>,
    pub voice_id: Option<String>,
    pub script: Option<String>,
    pub title: Option<String>,
}

impl Overrides {
    pub(crate) fn is_empty(&self) -> bool {
        self.fields().next().is_none()
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, &String)> {
        [
            ("avatar_id", &self.avatar_id),
            ("voice_id", &self.voice_id),
            ("script", &self.script),
            ("title", &self.title),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }

    pub(crate) fn alone(&self) -> Result<Body> {
        self.over(one("the flags".to_owned(), r#"{"type":"avatar"}"#)?)
    }

    /// `body` with these fields set.
    pub(crate) fn over(&self, body: Body) -> Result<Body> {
        if self.is_empty() {
            return Ok(body);
        }
        let invalid = |error: serde_json::Error| Problem::invalid_body(&body.place, error);
        // Raw values, so that the fields that stay keep their bytes.
        let mut fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&body.raw).map_err(invalid)?;
        for (name, value) in self.fields() {
            let value = serde_json::value::to_raw_value(value).map_err(invalid)?;
            fields.insert(name.to_owned(), value);
        }
        let raw = serde_json::to_string(&fields).map_err(invalid)?;
        body.with_raw(body.place.clone(), &raw)
    }
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
            data: None,
            kind: Kind::Video,
            template: None,
        }),
        Ok(_) => invalid("is not a JSON object".to_owned()),
        Err(error) => invalid(format!("is not JSON that HeyGen could read: {error}")),
    }
}

impl Body {
    pub(crate) fn for_line(&self, line: &Line, allow_empty: bool) -> Result<Self> {
        let raw = line.fill_json(&self.raw, allow_empty)?;
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

    pub(crate) fn title(&self) -> Option<String> {
        text(&self.value, "/title")
    }

    /// The script: flat (v3), an agent's prompt, or of the first of the older `video_inputs`.
    pub(crate) fn script(&self) -> Option<String> {
        text(&self.value, "/script")
            .or_else(|| text(&self.value, "/prompt"))
            .or_else(|| text(&self.value, "/video_inputs/0/voice/input_text"))
    }

    pub(crate) fn avatar_id(&self) -> Option<String> {
        text(&self.value, "/avatar_id")
            .or_else(|| text(&self.value, "/video_inputs/0/character/avatar_id"))
    }

    pub(crate) fn voice_id(&self) -> Option<String> {
        text(&self.value, "/voice_id")
            .or_else(|| text(&self.value, "/video_inputs/0/voice/voice_id"))
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
        let digest = Sha256::digest(canonical);
        crate::net::hex(&digest)
    }
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let flags = Overrides {
            script: Some("new".to_owned()),
            ..Overrides::default()
        };
        assert_eq!(
            flags.over(body).unwrap().raw,
            r#"{"n":1.50,"script":"new"}"#
        );
        assert_eq!(
            flags.alone().unwrap().raw,
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
        assert_eq!(body.script().as_deref(), Some("Hi"));
        assert_eq!(body.avatar_id().as_deref(), Some("A"));
        assert_eq!(body.voice_id().as_deref(), Some("V"));
    }
}
