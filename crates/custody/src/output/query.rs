//! `--query`: JMESPath, with the key order that people wrote and servers sent.
//!
//! The library sorts the keys of every object. The order of keys that the query itself makes is
//! kept by marking them with their place, and that of objects passed through is looked up in the
//! data by their set of keys.

use std::collections::HashMap;

use jmespath::ast::{Ast, KeyValuePair};
use jmespath::{DEFAULT_RUNTIME, Expression};
use serde_json::{Map, Value};

use crate::error::CliError;

/// Stands before the place of a key that the query made; JSON keys do not begin with it.
const MARK: char = '\u{1}';
/// Digits of the place.
const PLACE_DIGITS: usize = 6;

/// Evaluates `query` over `value`.
pub(super) fn search(query: &str, value: &Value) -> Result<Value, CliError> {
    let wrong = |reason: String| CliError::Usage(format!("--query {query:?}: {reason}"));
    let mut ast = jmespath::parse(query).map_err(|error| wrong(error.to_string()))?;
    mark_places(&mut ast);
    let expression = Expression::new(query, ast, &DEFAULT_RUNTIME);
    let found = expression.search(value).map_err(|error| wrong(error.to_string()))?;
    let found = serde_json::to_value(&found).map_err(|error| wrong(error.to_string()))?;
    let mut orders = HashMap::new();
    collect_orders(value, &mut orders);
    Ok(restore_order(found, &orders))
}

/// Marks the keys of the objects that make up the result; nothing further reads these.
fn mark_places(ast: &mut Ast) {
    match ast {
        Ast::MultiHash { elements, .. } => {
            for (place, KeyValuePair { key, value }) in elements.iter_mut().enumerate() {
                *key = format!("{MARK}{place:0PLACE_DIGITS$}{key}");
                mark_places(value);
            }
        }
        Ast::MultiList { elements, .. } => elements.iter_mut().for_each(mark_places),
        Ast::Projection { rhs, .. } | Ast::Subexpr { rhs, .. } => mark_places(rhs),
        Ast::Condition { then, .. } => mark_places(then),
        Ast::And { lhs, rhs, .. } | Ast::Or { lhs, rhs, .. } => {
            mark_places(lhs);
            mark_places(rhs);
        }
        _ => {}
    }
}

type Orders = HashMap<Vec<String>, Vec<String>>;

fn collect_orders(value: &Value, orders: &mut Orders) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_orders(value, orders)),
        Value::Object(fields) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            orders.entry(sorted(&keys)).or_insert(keys);
            fields.values().for_each(|value| collect_orders(value, orders));
        }
        _ => {}
    }
}

fn restore_order(value: Value, orders: &Orders) -> Value {
    match value {
        Value::Array(values) => {
            values.into_iter().map(|value| restore_order(value, orders)).collect()
        }
        Value::Object(mut fields) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            let order = orders.get(&sorted(&keys)).cloned().unwrap_or_else(|| sorted(&keys));
            let mut ordered = Map::new();
            for key in order {
                if let Some(value) = fields.remove(&key) {
                    ordered.insert(unmarked(&key).to_owned(), restore_order(value, orders));
                }
            }
            Value::Object(ordered)
        }
        other => other,
    }
}

fn unmarked(key: &str) -> &str {
    key.strip_prefix(MARK).and_then(|rest| rest.get(PLACE_DIGITS..)).unwrap_or(key)
}

fn sorted(keys: &[String]) -> Vec<String> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order() {
        let check = |query: &str, expected: &str| {
            let value = serde_json::from_str(
                r#"{"z": {"name": "n", "id": 1, "at": [2, 3]}, "list": [{"b": 1, "a": 2}], "a": 5}"#,
            )
            .unwrap();
            assert_eq!(search(query, &value).unwrap().to_string(), expected, "{query}");
        };
        check("z", r#"{"name":"n","id":1,"at":[2,3]}"#);
        check("{y: a, b: z.id}", r#"{"y":5,"b":1}"#);
        check("{y: a, b: z.id} | b", "1");
        check("list[].{b: b, a: a}", r#"[{"b":1,"a":2}]"#);
        check("list[?b == `1`].{c: b, a: {x: a, d: b}}", r#"[{"c":1,"a":{"x":2,"d":1}}]"#);
        check("list[?b == `1`] | [0]", r#"{"b":1,"a":2}"#);
        check("missing || {q: a, c: a}", r#"{"q":5,"c":5}"#);
        check("sort(keys(z))", r#"["at","id","name"]"#);
        check("[z.{n: name}.n]", r#"["n"]"#);
    }
}
