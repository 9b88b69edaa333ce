//! `--tags KEY=VALUE …`, as `az` takes them.

use serde_json::{Map, Value};

use crate::error::CliError;

/// The tags as a JSON object. A key without a value gets an empty one.
pub(crate) fn parse(words: &[String]) -> Result<Value, CliError> {
    let mut tags = Map::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        if key.is_empty() {
            return Err(CliError::Usage(format!("the tag {word:?} has no name")));
        }
        tags.insert(key.to_owned(), value.into());
    }
    Ok(Value::Object(tags))
}
