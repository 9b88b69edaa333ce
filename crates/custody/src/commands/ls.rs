//! `custody ls`: what a recovery point holds.

use clap::Args;
use custody_client::SourcePath;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::ffi::OsString;

use crate::arguments::{PointOption, VaultOption};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Column, Outcome, lay_out};
use crate::{human, items, terminal};

/// List what a recovery point holds
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  custody ls documents\n  custody ls documents letters/2026 \
    --long\n  custody ls documents --point '2026-11-01 12:00'\n\nNames are escaped where a \
    terminal would act upon them; -o json has them exactly.\n\nExit codes: 0 done, 5 no such item, \
    point or path, 7 the key may not be used; the others are in docs/exit-codes.md.")]
pub(crate) struct Options {
    /// The item
    item: String,
    /// A path in it [default: its top]
    path: Option<OsString>,
    /// Show mode, owner, size and time too
    #[arg(short, long)]
    long: bool,
    #[command(flatten)]
    point: PointOption,
    #[command(flatten)]
    vault: VaultOption,
}

const COLUMNS: &[Column] = &[
    ("Name", "/name"),
    ("Kind", "/kind"),
    ("Size", "/size"),
    ("Mode", "/mode"),
    ("Uid", "/uid"),
    ("Gid", "/gid"),
    ("Modified", "/modified"),
];

/// Lists one folder of a point.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let item = items::find_item(context, &options.vault, &options.item)?;
    let mut body = json!({ "point": items::point(context, &options.point.point) });
    if let (Some(path), Value::Object(fields)) = (&options.path, &mut body) {
        fields.insert("path".to_owned(), SourcePath::from(path.as_os_str()).to_json());
    }
    let mut answer = context.client()?.post(&format!("{}/browse", item.id), &body)?;
    let entries = match answer.get_mut("value").map(Value::take) {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    };
    let text = if options.long { long(context, &entries) } else { short(&entries) };
    Ok(Outcome::data(entries).with_columns(COLUMNS).with_text(text))
}

fn short(entries: &[Value]) -> String {
    entries.iter().map(|entry| name(entry) + "\n").collect()
}

fn long(context: &Context<'_>, entries: &[Value]) -> String {
    let rows = entries.iter().map(|entry| {
        let number = |name: &str| entry.get(name).and_then(Value::as_u64);
        let mode = number("mode").map(|mode| format!("{:04o}", mode & 0o7777)).unwrap_or_default();
        vec![
            terminal::line(entry.get("kind").and_then(Value::as_str).unwrap_or_default()),
            mode,
            owner(entry, "user", "uid"),
            owner(entry, "group", "gid"),
            number("size").map(human::size).unwrap_or_default(),
            modified(context, entry.get("modified").unwrap_or(&Value::Null)),
            name(entry),
        ]
    });
    let heads = ["Kind", "Mode", "Owner", "Group", "Size", "Modified", "Name"];
    if entries.is_empty() { String::new() } else { lay_out(&heads, rows.collect()) }
}

/// The name of a user or group if the point has it, else the number.
fn owner(entry: &Value, name: &str, number: &str) -> String {
    let named = entry.get(name).and_then(Value::as_str).map(terminal::line);
    let numbered = || entry.get(number).and_then(Value::as_u64).map(|number| number.to_string());
    named.or_else(numbered).unwrap_or_default()
}

/// A time of a file: RFC 3339, or seconds since 1970.
pub(crate) fn modified(context: &Context<'_>, value: &Value) -> String {
    let zone = &context.world.time_zone;
    match (value.as_str(), value.as_i64().map(Timestamp::from_second)) {
        (Some(text), _) => human::time(text, zone),
        (None, Some(Ok(time))) => human::time(&time.to_string(), zone),
        _ => String::new(),
    }
}

/// The name as it may be shown, a folder's with a slash, a link's with where it points.
fn name(entry: &Value) -> String {
    let shown = |field: &str| {
        let path = entry.get(field).and_then(SourcePath::from_json);
        path.map(|path| terminal::path(path.as_bytes()))
    };
    let mut name = shown("name").unwrap_or_default();
    if entry.get("kind").and_then(Value::as_str).is_some_and(|k| k.eq_ignore_ascii_case("folder")) {
        name.push('/');
    }
    if let Some(target) = shown("target") {
        name.push_str(" -> ");
        name.push_str(&target);
    }
    name
}
