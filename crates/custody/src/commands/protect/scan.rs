//! `--dry-run`: what would be taken.

use std::fmt::Write as _;
use std::path::PathBuf;

use custody_client::SourcePath;
use serde_json::{Value, json};

use super::Options;
use super::registration::Registration;
use crate::context::Context;
use crate::error::CliError;
use crate::items;
use crate::output::{Column, Outcome};
use crate::{human, terminal};

const COLUMNS: &[Column] = &[("Kind", "/kind"), ("Size", "/size"), ("Path", "/path")];

/// Walks the paths with the patterns that would be used; makes no item and no vault.
pub(super) fn run(
    options: &Options,
    context: &Context<'_>,
    paths: &[PathBuf],
) -> Result<Outcome, CliError> {
    let registration = Registration { options, paths };
    let vault = options.vault(context)?;
    let items = match context.client()?.find(vault.as_str())? {
        Some(_) => items::items_of(context, &vault)?,
        None => Vec::new(),
    };
    let kept =
        registration.find(&items)?.and_then(|item| item.resource.pointer("/properties/folder"));
    let folder = registration.folder(kept);
    let mut found = context.client()?.post("/custody/scan", &json!({ "folder": folder }))?;
    let text = text(&found);
    let entries = found.get_mut("value").map_or_else(|| json!([]), Value::take);
    let value = if context.format().is_some() { entries } else { found };
    Ok(Outcome::data(value).with_columns(COLUMNS).with_text(text))
}

fn text(found: &Value) -> String {
    let listed = found.get("value").and_then(Value::as_array);
    let mut text = String::new();
    for entry in listed.into_iter().flatten() {
        let path = entry.get("path").and_then(SourcePath::from_json);
        let path = path.map(|path| terminal::path(path.as_bytes())).unwrap_or_default();
        text.push_str(&path);
        text.push('\n');
    }
    for left in found.get("leftOut").and_then(Value::as_array).into_iter().flatten() {
        let path = left.get("path").and_then(SourcePath::from_json);
        let path = path.map(|path| terminal::path(path.as_bytes())).unwrap_or_default();
        let reason = left.get("reason").and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(text, "left out: {path} ({})", reason_in_words(reason));
    }
    for warning in found.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        let word = |name: &str| warning.get(name).and_then(Value::as_str).unwrap_or_default();
        let (path, message) = (terminal::line(word("path")), terminal::line(word("message")));
        let _ = writeln!(text, "warning: {path}: {message}");
    }
    let number = |name: &str| found.get(name).and_then(Value::as_u64).unwrap_or_default();
    let _ = writeln!(
        text,
        "would take {}, {}; nothing was taken",
        human::count(number("files"), "file"),
        human::size(number("bytes")),
    );
    text
}

fn reason_in_words(reason: &str) -> String {
    match reason {
        "own" => "custody's own".to_owned(),
        "cache" => "marked as a cache".to_owned(),
        "otherFileSystem" => "on another file system".to_owned(),
        other => terminal::line(other),
    }
}
