//! YAML 1.2, block style, in the key order of the data.

use serde_json::Value;

use super::json::quoted;

pub(super) fn render(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Array(values) if !values.is_empty() => push_list(&mut out, values, 0),
        Value::Object(fields) if !fields.is_empty() => push_fields(&mut out, fields, 0),
        other => {
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
    out
}

fn push_list(out: &mut String, values: &[Value], depth: usize) {
    for value in values {
        let start = out.len();
        push_nested(out, value, depth + 1);
        // What was written at the deeper level begins with its indentation; the dash takes its
        // place, so that the first field stands on the line of the dash.
        let indent = "  ".repeat(depth);
        let inner = out.split_off(start);
        let inner = inner.strip_prefix('\n').unwrap_or(&inner).trim_start_matches(' ');
        out.push_str(&indent);
        out.push_str("- ");
        out.push_str(inner);
    }
}

fn push_fields(out: &mut String, fields: &serde_json::Map<String, Value>, depth: usize) {
    for (key, value) in fields {
        out.push_str(&"  ".repeat(depth));
        out.push_str(&text(key));
        out.push(':');
        push_nested(out, value, depth + 1);
    }
}

/// A value after `key:` or in place of a list's item: on the same line if it is one line, else
/// from the next line on.
fn push_nested(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Array(values) if !values.is_empty() => {
            out.push('\n');
            push_list(out, values, depth);
        }
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            push_fields(out, fields, depth);
        }
        other => {
            out.push(' ');
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

/// A string, in quotes unless it can be mistaken for nothing else. A JSON string is a YAML
/// double-quoted one.
fn text(string: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let starts_well = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    if starts_well && string.chars().all(plain) && !is_word(string) {
        string.to_owned()
    } else {
        quoted(string)
    }
}

/// Words that some YAML reader takes for a boolean, a null or a number.
fn is_word(string: &str) -> bool {
    const WORDS: [&str; 11] =
        ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "inf", "nan"];
    WORDS.iter().any(|word| string.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    #[test]
    fn values() {
        let check = |json: &str, expected: &str| {
            let value = serde_json::from_str(json).unwrap();
            assert_eq!(super::render(&value), expected, "{json}");
        };
        check("[]", "[]\n");
        check("{}", "{}\n");
        check("null", "null\n");
        check(r#""yes""#, "\"yes\"\n");
        check(r#"{"b": 1, "a": {}, "c": []}"#, "b: 1\na: {}\nc: []\n");
        check(r#"{"a": {"b": {"c": "d"}}}"#, "a:\n  b:\n    c: d\n");
        check(r#"{"a": [1, {"b": 2, "c": [3]}]}"#, "a:\n  - 1\n  - b: 2\n    c:\n      - 3\n");
        check(r"[[1, 2], [3]]", "- - 1\n  - 2\n- - 3\n");
        check(r#"{"1": "2", "x y": "a: b"}"#, "\"1\": \"2\"\n\"x y\": \"a: b\"\n");
        check(
            r#"["12", "-", "1e3", "/v/x", "2026-11-22"]"#,
            "- \"12\"\n- \"-\"\n- \"1e3\"\n- /v/x\n- \"2026-11-22\"\n",
        );
        check(r#"["\u001b[31m", "\u202e", "é"]"#, "- \"\\u001b[31m\"\n- \"\\u202e\"\n- \"é\"\n");
        check(r#"[{"deep": [{"er": null}]}]"#, "- deep:\n    - er: null\n");
    }
}
