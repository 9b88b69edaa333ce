//! Tables for people.

use comfy_table::{ContentLineStyle, LineStyle, Table, TableStyle};
use serde_json::Value;

use crate::terminal;

/// A column of a table: its head, and where its values are (a JSON pointer, RFC 6901).
pub(crate) type Column = (&'static str, &'static str);

/// Renders an object or a list of objects as a table, with these columns or with every plain field.
pub(super) fn render(value: &Value, columns: &[Column]) -> String {
    let rows: Vec<&Value> = match value {
        Value::Array(values) => values.iter().collect(),
        Value::Null => Vec::new(),
        other => vec![other],
    };
    let columns = if columns.is_empty() { plain_fields(&rows) } else { named(columns) };
    if rows.is_empty() {
        return String::new();
    }
    let heads: Vec<&str> = columns.iter().map(|(head, _)| head.as_str()).collect();
    let cells = rows.iter().map(|row| {
        columns.iter().map(|(_, pointer)| cell(row.pointer(pointer).unwrap_or(&Value::Null)))
    });
    lay_out(&heads, cells.map(Iterator::collect).collect())
}

/// Lays out rows of cells below their heads.
pub(crate) fn lay_out(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    const STYLE: TableStyle = TableStyle::new()
        .header_lines(ContentLineStyle::none().junction(' '))
        .header_separator(LineStyle::none().fill('-').junction(' '))
        .content_lines(ContentLineStyle::none().junction(' '));
    let mut table = Table::new();
    table.load_style(STYLE).set_header(heads.to_vec()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn named(columns: &[Column]) -> Vec<(String, String)> {
    columns.iter().map(|(head, pointer)| ((*head).to_owned(), (*pointer).to_owned())).collect()
}

/// Every field that is neither list nor object in any row, in the order of first appearance.
fn plain_fields(rows: &[&Value]) -> Vec<(String, String)> {
    let mut columns: Vec<(String, String)> = Vec::new();
    for row in rows {
        match row {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
                    let known = columns.iter().any(|(_, known)| *known == pointer);
                    if !known && !value.is_object() && !value.is_array() && !value.is_null() {
                        columns.push((capitalised(key), pointer));
                    }
                }
            }
            _ if columns.iter().all(|(_, pointer)| !pointer.is_empty()) => {
                columns.push(("Result".to_owned(), String::new()));
            }
            _ => {}
        }
    }
    columns
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => terminal::line(text),
        other => terminal::line(&other.to_string()),
    }
}

fn capitalised(key: &str) -> String {
    let mut characters = key.chars();
    let first = characters.next().map(|first| first.to_uppercase().collect::<String>());
    terminal::line(&format!("{}{}", first.unwrap_or_default(), characters.as_str()))
}
