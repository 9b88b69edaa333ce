//! Booleans as ARM takes them.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};
use serde_json::Value;

/// Reads an optional boolean; ARM takes `"true"` and `"False"` for it too, as templates write them.
/// For `#[serde(deserialize_with)]`.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(flag)),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        other => Err(D::Error::custom(format!("{other} is no boolean"))),
    }
}
