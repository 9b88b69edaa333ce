//! The part of OData's `$filter` that Azure's clients send to Graph: comparisons joined by `and`.

use serde_json::Value;

/// Longest filter, in bytes.
const FILTER_BYTES_MAX: usize = 4 << 10;
/// Most comparisons in one.
const TESTS_MAX: usize = 16;

/// A filter over objects as they are shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter(Vec<Test>);

#[derive(Debug, PartialEq, Eq)]
struct Test {
    property: String,
    relation: Relation,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// `appId eq 'x'`
    Equals,
    /// `startswith(displayName,'x')`
    StartsWith,
    /// `servicePrincipalNames/any(c:c eq 'x')`
    Holds,
}

impl Filter {
    /// Reads a filter; none if it holds anything else.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if text.len() > FILTER_BYTES_MAX {
            return None;
        }
        let mut tests = Vec::new();
        let mut rest = text.trim();
        loop {
            let (test, after) = Test::read(rest)?;
            tests.push(test);
            rest = after.trim_start();
            if rest.is_empty() {
                return Some(Self(tests));
            }
            let (word, after) = rest.split_once(' ')?;
            if !word.eq_ignore_ascii_case("and") || tests.len() == TESTS_MAX {
                return None;
            }
            rest = after.trim_start();
        }
    }

    /// Whether the object passes.
    pub(crate) fn passes(&self, object: &Value) -> bool {
        self.0.iter().all(|test| test.passes(object))
    }
}

impl Test {
    /// A comparison at the head of `text`, and what follows it.
    fn read(text: &str) -> Option<(Self, &str)> {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric())?;
        let (property, rest) = text.split_at_checked(end)?;
        if property.eq_ignore_ascii_case("startswith") {
            let (property, rest) = rest.strip_prefix('(')?.split_once(',')?;
            let (value, rest) = literal(rest.trim_start())?;
            let test = Self::new(property.trim(), Relation::StartsWith, value);
            return Some((test, rest.trim_start().strip_prefix(')')?));
        }
        if let Some(lambda) = rest.strip_prefix("/any(") {
            let (variable, rest) = lambda.split_once(':')?;
            let rest = rest.trim_start().strip_prefix(variable.trim())?;
            let (value, rest) = literal(equals(rest)?)?;
            let test = Self::new(property, Relation::Holds, value);
            return Some((test, rest.trim_start().strip_prefix(')')?));
        }
        let (value, rest) = literal(equals(rest)?)?;
        Some((Self::new(property, Relation::Equals, value), rest))
    }

    fn new(property: &str, relation: Relation, value: String) -> Self {
        Self { property: property.to_owned(), relation, value }
    }

    /// Graph compares texts without regard to case.
    fn passes(&self, object: &Value) -> bool {
        let found = object.get(&self.property);
        let is = |value: &Value| match value {
            Value::String(text) => text.to_lowercase() == self.value.to_lowercase(),
            Value::Bool(truth) => truth.to_string() == self.value,
            _ => false,
        };
        match (self.relation, found) {
            (Relation::Equals, Some(value)) => is(value),
            (Relation::StartsWith, Some(Value::String(text))) => {
                text.to_lowercase().starts_with(&self.value.to_lowercase())
            }
            (Relation::Holds, Some(Value::Array(values))) => values.iter().any(is),
            _ => false,
        }
    }
}

fn equals(text: &str) -> Option<&str> {
    let rest = text.trim_start();
    let word = rest.get(..3).filter(|word| word.eq_ignore_ascii_case("eq "))?;
    rest.get(word.len()..).map(str::trim_start)
}

/// A text in quotes, in which a quote is doubled, or a bare word; and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('\'') else {
        let end = text.find([' ', ')']).unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(end)?;
        return (!word.is_empty()).then(|| (word.to_owned(), rest));
    };
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let (piece, after) = rest.split_once('\'')?;
        value.push_str(piece);
        match after.strip_prefix('\'') {
            Some(after) => {
                value.push('\'');
                rest = after;
            }
            None => return Some((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters() {
        let object = json!({
            "appId": "a-1", "displayName": "It's Backup", "accountEnabled": true,
            "servicePrincipalNames": ["a-1", "api://x"],
        });
        let check = |text: &str, expected: Option<bool>| {
            let passes = Filter::read(text).map(|filter| filter.passes(&object));
            assert_eq!(passes, expected, "{text}");
        };
        check("appId eq 'A-1'", Some(true));
        check("appId eq 'b'", Some(false));
        check("other eq 'b'", Some(false));
        check("displayName eq 'it''s backup'", Some(true));
        check("startswith(displayName,'It')", Some(true));
        check("startswith(displayName, 'x') and appId eq 'a-1'", Some(false));
        check("servicePrincipalNames/any(c:c eq 'api://x')", Some(true));
        check("servicePrincipalNames/any(x: x eq 'y')", Some(false));
        check("accountEnabled eq true", Some(true));
        for text in [
            "",
            "appId",
            "appId ne 'x'",
            "appId eq 'x",
            "appId eq 'x' or appId eq 'y'",
            "appId eq 'x' and",
            "servicePrincipalNames/any(c:d eq 'x')",
            "startswith(displayName,'x'",
        ] {
            check(text, None);
        }
    }
}
