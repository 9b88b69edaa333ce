//! JSON, plain and in colour, in the key order of the data.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use crate::terminal;

const KEY: Style = AnsiColor::Blue.on_default();
const TEXT: Style = AnsiColor::Green.on_default();
const NUMBER: Style = AnsiColor::Cyan.on_default();
const WORD: Style = AnsiColor::Magenta.on_default();

/// Renders `value` over several lines with a line end at the end.
pub(super) fn render(value: &Value, colour: bool) -> String {
    let mut out = String::new();
    push(&mut out, value, 0, colour);
    out.push('\n');
    out
}

/// A JSON string in which no character is left that a terminal would act upon.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    for character in Value::from(text).to_string().chars() {
        if terminal::is_plain(character) {
            quoted.push(character);
        } else {
            let mut units = [0_u16; 2];
            for unit in character.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{unit:04x}");
            }
        }
    }
    quoted
}

fn push(out: &mut String, value: &Value, depth: usize, colour: bool) {
    match value {
        Value::Array(values) if !values.is_empty() => {
            let items = values.iter().map(|value| (None, value));
            push_many(out, ['[', ']'], items, depth, colour);
        }
        Value::Object(fields) if !fields.is_empty() => {
            let items = fields.iter().map(|(key, value)| (Some(key.as_str()), value));
            push_many(out, ['{', '}'], items, depth, colour);
        }
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        Value::String(text) => push_styled(out, &quoted(text), TEXT, colour),
        Value::Number(number) => push_styled(out, &number.to_string(), NUMBER, colour),
        Value::Null | Value::Bool(_) => push_styled(out, &value.to_string(), WORD, colour),
    }
}

fn push_many<'v>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl Iterator<Item = (Option<&'v str>, &'v Value)>,
    depth: usize,
    colour: bool,
) {
    out.push(open);
    for (at, (key, value)) in items.enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        if let Some(key) = key {
            push_styled(out, &quoted(key), KEY, colour);
            out.push_str(": ");
        }
        push(out, value, depth + 1, colour);
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(close);
}

fn push_styled(out: &mut String, text: &str, style: Style, colour: bool) {
    if colour {
        let _ = write!(out, "{style}{text}{style:#}");
    } else {
        out.push_str(text);
    }
}
