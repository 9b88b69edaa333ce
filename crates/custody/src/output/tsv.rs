//! Values between tabs, as `az` prints them: no heads, one object a line, nested data left out.

use serde_json::Value;

use crate::terminal;

pub(super) fn render(value: &Value) -> String {
    let rows: Vec<&Value> = match value {
        Value::Array(values) => values.iter().collect(),
        other => vec![other],
    };
    rows.into_iter().map(|row| line(row) + "\n").collect()
}

fn line(row: &Value) -> String {
    let cells: Vec<String> = match row {
        Value::Object(fields) => fields.values().map(cell).collect(),
        Value::Array(values) => values.iter().map(cell).collect(),
        other => vec![cell(other)],
    };
    cells.join("\t")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null | Value::Object(_) => String::new(),
        Value::Array(values) => values.len().to_string(),
        Value::String(text) => terminal::line(text),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
