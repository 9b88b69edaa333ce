//! `custody find`: which recovery points hold a file.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::arguments::VaultOption;
use crate::commands::ls;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::items::{self, Item, Which};
use crate::lines::{self, Printer};
use crate::output::{Column, Outcome};
use crate::{human, terminal};

/// Digits of a recovery point's id that are shown.
const ID_DIGITS: usize = 8;

/// Find which recovery points hold a file
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  custody find june.txt\n  custody find 'letters/**/*.txt' \
    --item documents --newest\n  custody find '*.sql' --type f --json | jq .path\n\n\
    Patterns are those of gitignore, as protect --exclude takes them: without a slash they match a \
    name anywhere, with one a path from the item's top. Put them in quotes.\n\nEach path is told \
    once for every kind, size and modification time it has, the newest first, with the recovery \
    points that have it so: the first and the last of those that follow each other, and how many \
    they are. A folder is read once for all points that have it alike.\n\nWith -o or --query the \
    data are collected and have no summary; the lines of --json come as they are found.\n\nExit \
    codes: 0 done (also if nothing matches), 5 no such item or point, 7 the key may not be used, 9 \
    a folder's listing is damaged; the others are in docs/exit-codes.md.")]
pub(crate) struct Options {
    /// What to look for
    pattern: String,
    /// Only in this item [default: in all]
    #[arg(long, value_name = "ITEM")]
    item: Option<String>,
    /// Only in this recovery point; may be given several times [default: in all]
    #[arg(long = "point", value_name = "POINT")]
    points: Vec<String>,
    /// Show only the newest version of each path
    #[arg(long, conflicts_with = "all")]
    newest: bool,
    /// Show every version of each path; this is the default
    #[arg(long)]
    all: bool,
    /// Only entries of this type; may be given several times
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    types: Vec<EntryType>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    vault: VaultOption,
}

/// Types of entries, as find(1) names them.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum EntryType {
    /// Files.
    F,
    /// Folders.
    D,
    /// Symbolic links.
    L,
}

impl EntryType {
    fn word(self) -> &'static str {
        match self {
            Self::F => "file",
            Self::D => "folder",
            Self::L => "symlink",
        }
    }
}

const COLUMNS: &[Column] = &[
    ("Item", "/item"),
    ("Path", "/path"),
    ("Kind", "/kind"),
    ("Size", "/size"),
    ("Modified", "/modified"),
    ("Newest", "/spans/0/newest/recoveryPointTime"),
];

/// Searches one item or all and says what was found where.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let item = options.item.as_deref();
    let items = match (item, options.points.as_slice()) {
        (None, []) => items::all_items(context, &options.vault, Which::Protected)?,
        (item, []) => vec![items::find_item(context, &options.vault, item.unwrap_or_default())?],
        (item, points) => vec![items::item_of_points(context, &options.vault, item, points)?],
    };
    let points = options.points.iter().map(|point| items::point(context, point));
    let body = json!({
        "pattern": options.pattern,
        "points": points.collect::<Vec<_>>(),
        "newest": options.newest,
        "kinds": options.types.iter().map(|kind| kind.word()).collect::<Vec<_>>(),
    });
    let mut printer = Printer::new(context, options.json);
    let mut totals = Totals::default();
    for item in &items {
        totals.add(&search(context, item, &body, &mut printer)?);
    }
    printer.summary(&totals.to_json(), summary_text)?;
    let exit = if totals.unreadable == 0 { ExitCode::Success } else { ExitCode::Damaged };
    Ok(printer.finish(COLUMNS).ending(exit))
}

/// Searches one item; its totals.
fn search(
    context: &Context<'_>,
    item: &Item,
    body: &Value,
    printer: &mut Printer<'_>,
) -> Result<Value, CliError> {
    let answer = context.client()?.stream(&format!("{}/find", item.id), body)?;
    lines::for_each(answer, &mut |mut line| {
        if let Value::Object(fields) = &mut line {
            fields.insert("item".to_owned(), item.name.clone().into());
            fields.insert("vault".to_owned(), item.vault.name().into());
        }
        printer.line(line, |line| text(context, line))
    })
}

/// What was found in all items.
#[derive(Default)]
struct Totals {
    points: u64,
    paths: u64,
    versions: u64,
    unreadable: u64,
}

impl Totals {
    fn add(&mut self, one: &Value) {
        let number = |name: &str| one.get(name).and_then(Value::as_u64).unwrap_or_default();
        self.points += number("points");
        self.paths += number("paths");
        self.versions += number("versions");
        self.unreadable += number("unreadable");
    }

    fn to_json(&self) -> Value {
        json!({
            "points": self.points,
            "paths": self.paths,
            "versions": self.versions,
            "unreadable": self.unreadable,
        })
    }
}

fn text(context: &Context<'_>, line: &Value) -> String {
    let item = line.get("item").and_then(Value::as_str).map(terminal::line).unwrap_or_default();
    let is_folder = line.get("kind").and_then(Value::as_str) == Some("folder");
    let path = lines::path(line, "path", is_folder);
    let entry = || {
        let size = line.get("size").and_then(Value::as_u64).map(human::size);
        let modified = ls::modified(context, line.get("modified").unwrap_or(&Value::Null));
        size.into_iter().chain([modified]).collect::<Vec<_>>().join(", ")
    };
    let what = lines::error(line).unwrap_or_else(entry);
    let spans = line.get("spans").and_then(Value::as_array);
    let spans: Vec<String> =
        spans.into_iter().flatten().rev().map(|span| span_text(context, span)).collect();
    format!("{item}: {path}  {what}  in {}\n", spans.join("; "))
}

/// `3f2a9c77 (2026-11-22 07:00:00 +01:00)`, or the first and the last and how many.
fn span_text(context: &Context<'_>, span: &Value) -> String {
    let point = |end: &str| {
        let part = |name: &str| {
            let found = span.pointer(&format!("/{end}/{name}")).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let id: String = part("recoveryPointId").chars().take(ID_DIGITS).collect();
        let time = human::time(&part("recoveryPointTime"), &context.world.time_zone);
        format!("{} ({time})", terminal::line(&id))
    };
    match span.get("points").and_then(Value::as_u64) {
        Some(1) | None => point("newest"),
        Some(points) => {
            format!("{} points, {} to {}", points, point("oldest"), point("newest"))
        }
    }
}

fn summary_text(summary: &Value) -> String {
    let number = |name: &str| summary.get(name).and_then(Value::as_u64).unwrap_or_default();
    let within = human::count(number("points"), "recovery point");
    let found = match number("paths") {
        0 => format!("nothing matches in {within}"),
        paths => format!(
            "{} in {} in {within}",
            human::count(paths, "path"),
            human::count(number("versions"), "version")
        ),
    };
    let damaged = match number("unreadable") {
        0 => String::new(),
        lost => format!("; {} damaged", human::count(lost, "folder listing")),
    };
    format!("{found}{damaged}\n")
}
