//! JSON Lines: key order as documented, every key always present, and nothing in it that a terminal would obey.

use std::io;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::TimelineEntry;
use crate::render::fields::Field;
use crate::render::{json_text, text};
use crate::video::{IdempotencyKey, Video};

#[derive(Clone, Copy, Debug)]
pub struct VideoObject<'a> {
    pub video: &'a Video,
    pub fields: &'a [Field],
}

impl<'a> VideoObject<'a> {
    pub fn new(video: &'a Video) -> Self {
        Self {
            video,
            fields: Field::DEFAULT,
        }
    }
}

impl Serialize for VideoObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for field in self.fields {
            map.serialize_entry(field.name(), &field.of(self.video))?;
        }
        map.end()
    }
}

/// Everything about one row, as `show --json` gives it: every field, then `request`, `idempotency_key`, `events`.
#[derive(Clone, Copy, Debug)]
pub struct TicketObject<'a> {
    pub video: &'a Video,
    /// Its request body as it was sent; `None` for a row that was added by id.
    pub request: Option<&'a str>,
    pub events: &'a [TimelineEntry],
}

impl Serialize for TicketObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = self.video.idempotency_key.as_ref();
        let mut map = serializer.serialize_map(None)?;
        for field in Field::ALL {
            map.serialize_entry(field.name(), &field.of(self.video))?;
        }
        map.serialize_entry("request", &self.request.map(RequestBody::new))?;
        map.serialize_entry("idempotency_key", &key.map(IdempotencyKey::as_str))?;
        map.serialize_entry("events", self.events)?;
        map.end()
    }
}

/// A request body: the JSON value that it is, with its own key order and digits, else its text.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum RequestBody<'a> {
    Json(Box<RawValue>),
    Text(&'a str),
}

impl<'a> RequestBody<'a> {
    pub fn new(body: &'a str) -> Self {
        serde_json::from_str::<&RawValue>(body)
            .and_then(|raw| RawValue::from_string(json_text::compact(raw.get())))
            .map_or(Self::Text(body), Self::Json)
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Json(json) => json.get(),
            Self::Text(text) => text,
        }
    }
}

/// One line of JSON without its end: safe on a terminal, and unchanged for whoever parses it.
pub fn to_line(value: &impl Serialize) -> io::Result<String> {
    let json = serde_json::to_string(value)?;
    if !json.contains(text::is_harmful) {
        return Ok(json);
    }
    // There is no white space around strings, a raw value was compacted: what is harmful stands in them.
    let mut line = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match text::is_harmful(c) {
            true => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| line += &format!("\\u{unit:04x}")),
            false => line.push(c),
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests;
