//! JSON Lines: key order as documented, every key always present, and nothing in it that a terminal would obey.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use serde_json::value::RawValue;

use crate::render::fields::Field;
use crate::render::{json_text, text};
use crate::video::{Event, File, IdempotencyKey, LastError, Video};

/// A video as a JSON object of some fields.
#[derive(Clone, Copy, Debug)]
pub struct VideoObject<'a> {
    /// The row.
    pub video: &'a Video,
    /// Its keys, in order.
    pub fields: &'a [Field],
}

impl<'a> VideoObject<'a> {
    /// The object that commands and hooks give by default.
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
    /// The row.
    pub video: &'a Video,
    /// Its request body as it was sent; `None` for a row that was added by id.
    pub request: Option<&'a str>,
    /// Its timeline, oldest first.
    pub events: &'a [Event],
}

impl Serialize for TicketObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = self.video.idempotency_key.as_ref();
        let events: Vec<_> = self.events.iter().map(EventObject::new).collect();
        let mut map = serializer.serialize_map(None)?;
        for field in Field::ALL {
            map.serialize_entry(field.name(), &field.of(self.video))?;
        }
        map.serialize_entry("request", &self.request.map(Request::new))?;
        map.serialize_entry("idempotency_key", &key.map(IdempotencyKey::as_str))?;
        map.serialize_entry("events", &events)?;
        map.end()
    }
}

/// A request body: the JSON value that it is, with its own key order and digits, else its text.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Request<'a> {
    /// On one line.
    Json(Box<RawValue>),
    /// What is no JSON.
    Text(&'a str),
}

impl<'a> Request<'a> {
    /// `body` as it was typed.
    pub fn new(body: &'a str) -> Self {
        serde_json::from_str::<&RawValue>(body)
            .and_then(|raw| RawValue::from_string(json_text::compact(raw.get())))
            .map_or(Self::Text(body), Self::Json)
    }

    /// Its text.
    pub fn text(&self) -> &str {
        match self {
            Self::Json(json) => json.get(),
            Self::Text(text) => text,
        }
    }
}

/// One of a video's `files`.
#[derive(Serialize)]
pub(in crate::render) struct FileObject<'a> {
    asset: &'static str,
    state: &'static str,
    path: Option<Cow<'a, str>>,
    bytes: Option<u64>,
    sha256: Option<&'a str>,
    saved_at: Option<String>,
}

impl<'a> FileObject<'a> {
    pub(in crate::render) fn new(file: &'a File) -> Self {
        Self {
            asset: file.asset.word(),
            state: file.state.word(),
            path: file.path.as_ref().map(|path| path.to_string_lossy()),
            bytes: file.bytes,
            sha256: file.sha256.as_deref(),
            saved_at: file.saved_at.map(crate::time::Timestamp::rfc3339),
        }
    }
}

/// A video's `last_error`.
#[derive(Serialize)]
pub(in crate::render) struct ErrorObject<'a> {
    code: &'a str,
    message: &'a str,
    at: String,
}

impl<'a> ErrorObject<'a> {
    pub(in crate::render) fn new(error: &'a LastError) -> Self {
        Self {
            code: &error.code,
            message: &error.message,
            at: error.at.rfc3339(),
        }
    }
}

/// One of a video's `events`.
#[derive(Serialize)]
struct EventObject<'a> {
    at: String,
    kind: &'static str,
    count: i64,
    detail: &'a serde_json::Value,
}

impl<'a> EventObject<'a> {
    fn new(event: &'a Event) -> Self {
        Self {
            at: event.at.rfc3339(),
            kind: event.kind.word(),
            count: event.count,
            detail: &event.detail,
        }
    }
}

/// Writes `value` as one line of JSON, without the line end. Control, bidi and invisible characters are written as
/// `\u` escapes: safe on a terminal, and unchanged for whoever parses it.
///
/// # Errors
/// What `out` returns, or a value that has no JSON form.
pub fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, HarmlessFormatter);
    value.serialize(&mut serializer).map_err(io::Error::from)
}

/// [`write_line`] into a string.
///
/// # Errors
/// A value that has no JSON form.
pub fn to_line(value: &impl Serialize) -> io::Result<String> {
    let mut line = Vec::new();
    write_line(&mut line, value)?;
    String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Compact JSON without a harmful character.
struct HarmlessFormatter;

impl Formatter for HarmlessFormatter {
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
            for unit in chars.by_ref().take(1).flat_map(utf16) {
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

fn utf16(c: char) -> impl Iterator<Item = u16> {
    let mut units = [0; 2];
    let len = c.encode_utf16(&mut units).len();
    units.into_iter().take(len)
}

#[cfg(test)]
mod tests;
