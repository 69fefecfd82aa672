//! JSON Lines: key order as documented, every key always present, and nothing in it that a terminal would obey.

use std::io;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::TimelineEntry;
use crate::render::fields::Field;
use crate::render::text;
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
        map.serialize_entry("request", &self.request.map(request))?;
        map.serialize_entry("idempotency_key", &key.map(IdempotencyKey::as_str))?;
        map.serialize_entry("events", self.events)?;
        map.end()
    }
}

/// A request body as JSON on one line, with its own key order and digits; of a damaged one the text.
pub fn request(body: &str) -> Box<RawValue> {
    let line = match serde_json::from_str::<&RawValue>(body) {
        // No token of JSON has one of these in it.
        Ok(json) => json
            .get()
            .split(['\n', '\r', '\t'])
            .map(str::trim)
            .collect(),
        Err(_) => serde_json::Value::from(body).to_string(),
    };
    RawValue::from_string(line).unwrap_or_default()
}

/// One line of JSON without its end: safe on a terminal, and unchanged for whoever parses it.
pub fn to_line(value: &impl Serialize) -> io::Result<String> {
    let json = serde_json::to_string(value)?;
    if !json.contains(text::is_harmful) {
        return Ok(json);
    }
    // There is no line break outside of strings: what is harmful stands in them.
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
