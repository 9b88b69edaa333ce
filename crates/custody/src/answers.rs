//! Reading the fields of what the server answers. What is absent is empty.

use custody_names::ResourceId;
use serde_json::Value;

use crate::error::CliError;
use crate::terminal;

/// The members of a list.
pub(crate) fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A text, fit to be shown on a terminal.
pub(crate) fn word(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).map(terminal::line).unwrap_or_default()
}

/// A number.
pub(crate) fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}

/// The id of a resource.
pub(crate) fn id_of(resource: &Value) -> Result<ResourceId, CliError> {
    let id = resource.get("id").and_then(Value::as_str).unwrap_or_default();
    Ok(id.parse()?)
}
