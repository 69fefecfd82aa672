//! JSON objects whose fields are read one by one.
//!
//! Each field stays raw text until it is asked for: a lone surrogate in a title, or nesting a thousand deep, must not hide
//! the video id beside it, and memory stays bounded by the text's size.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(crate) type Fields<'a> = HashMap<String, &'a RawValue>;

/// A name that occurs twice is an error: readers would disagree about which one counts.
pub(crate) fn fields(json: &str) -> Result<Fields<'_>, serde_json::Error> {
    struct Object;

    impl<'de> Visitor<'de> for Object {
        type Value = Fields<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Fields::new();
            while let Some((name, value)) = map.next_entry::<String, _>()? {
                if fields.insert(name, value).is_some() {
                    return Err(A::Error::custom("duplicate field"));
                }
            }
            Ok(fields)
        }
    }

    let mut json = serde_json::Deserializer::from_str(json);
    let fields = json.deserialize_map(Object)?;
    json.end()?;
    Ok(fields)
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
