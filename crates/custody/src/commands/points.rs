//! `custody points`: what can be restored.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::arguments::VaultOption;
use crate::context::Context;
use crate::error::CliError;
use crate::items::{self, Item, Which};
use crate::output::{Column, Outcome, lay_out};
use crate::{human, terminal};

/// List recovery points
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  custody points\n  custody points documents -o json\n\n\
    Exit codes: 0 done, 5 no such item; the others are in docs/exit-codes.md.")]
pub(crate) struct Options {
    /// The item [default: all items]
    pub item: Option<String>,
    #[command(flatten)]
    vault: VaultOption,
}

const COLUMNS: &[Column] = &[
    ("Item", "/item"),
    ("Vault", "/vault"),
    ("Id", "/id"),
    ("Time", "/time"),
    ("Files", "/files"),
    ("Size", "/size"),
    ("NewBytes", "/newBytes"),
    ("Warnings", "/warnings"),
];

/// Lists the points of one item or of all, oldest first.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let items = match &options.item {
        Some(name) => vec![items::find_item(context, &options.vault, name)?],
        None => items::all_items(context, &options.vault, Which::Protected)?,
    };
    let mut points = Vec::new();
    for item in &items {
        points.extend(points_of(context, item)?);
    }
    let text = text(context, &points);
    Ok(Outcome::data(points).with_columns(COLUMNS).with_text(text))
}

/// The recovery points of an item in plain form, oldest first.
pub(crate) fn points_of(context: &Context<'_>, item: &Item) -> Result<Vec<Value>, CliError> {
    let listed = context.client()?.list(&format!("{}/recoveryPoints", item.id))?;
    let mut points: Vec<Value> = listed.iter().map(|point| plain(item, point)).collect();
    points.sort_by_key(taken);
    Ok(points)
}

/// When a point in plain form was taken. As texts such times do not sort: a fraction of a second
/// is written without its last zeros.
pub(crate) fn taken(point: &Value) -> Option<Timestamp> {
    point.get("time").and_then(Value::as_str)?.parse().ok()
}

/// A recovery point without the envelope of ARM.
pub(crate) fn plain(item: &Item, point: &Value) -> Value {
    let property = |name: &str| {
        point.get("properties").and_then(|all| all.get(name)).cloned().unwrap_or_default()
    };
    json!({
        "item": item.name,
        "vault": item.vault.name(),
        "id": point.get("name"),
        "time": property("recoveryPointTime"),
        "files": property("files"),
        "size": property("size"),
        "newBytes": property("newBytes"),
        "warnings": property("warnings"),
    })
}

fn text(context: &Context<'_>, points: &[Value]) -> String {
    if points.is_empty() {
        return "no recovery points yet; custody protect FOLDER takes one\n".to_owned();
    }
    let zone = &context.world.time_zone;
    let rows = points.iter().map(|point| {
        let word = |name: &str| point.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| point.get(name).and_then(Value::as_u64).unwrap_or_default();
        vec![
            terminal::line(word("item")),
            terminal::line(&word("id").chars().take(12).collect::<String>()),
            human::time(word("time"), zone),
            number("files").to_string(),
            human::size(number("size")),
            human::size(number("newBytes")),
            match number("warnings") {
                0 => String::new(),
                warnings => warnings.to_string(),
            },
        ]
    });
    lay_out(&["Item", "Point", "Time", "Files", "Size", "New", "Warnings"], rows.collect())
}
