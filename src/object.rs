//! JSON objects whose fields are read one by one.
//!
//! Each field stays raw text until it is asked for: a lone surrogate in a title, or nesting a thousand deep, must not hide
//! the video id beside it, and memory stays bounded by the text's size.

use std::collections::HashMap;

use serde_json::value::RawValue;

pub(crate) type Fields<'a> = HashMap<String, &'a RawValue>;

/// Of a name that occurs twice the last one counts, as with most readers.
pub(crate) fn fields(json: &str) -> Result<Fields<'_>, serde_json::Error> {
    serde_json::from_str(json)
}

/// The text a value is; `None` for any other kind of value.
pub(crate) fn string(raw: Option<&&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}

/// A number, or text that is one.
pub(crate) fn number(raw: Option<&&RawValue>) -> Option<f64> {
    serde_json::from_str::<f64>(raw?.get())
        .ok()
        .or_else(|| string(raw)?.trim().parse().ok())
        .filter(|number| number.is_finite())
}

pub(crate) fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

pub(crate) fn is_array(raw: &RawValue) -> bool {
    raw.get().starts_with('[')
}
