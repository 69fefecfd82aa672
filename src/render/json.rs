//! JSON Lines: key order as documented, every key always present, and nothing in it that a terminal would obey.

use std::io::{self, Write};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
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
    let mut line = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, SanitizingFormatter);
    value.serialize(&mut serializer)?;
    String::from_utf8(line).map_err(io::Error::other)
}

struct SanitizingFormatter;

impl Formatter for SanitizingFormatter {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(text::is_harmful) {
            let (clean, from) = rest.split_at(at);
            let mut chars = from.chars();
            out.write_all(clean.as_bytes())?;
            for unit in chars.next().unwrap_or_default().encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = chars.as_str();
        }
        out.write_all(rest.as_bytes())
    }

    /// A raw value was compacted: what is harmful in it stands in its strings.
    fn write_raw_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        self.write_string_fragment(out, fragment)
    }
}

#[cfg(test)]
mod tests;
