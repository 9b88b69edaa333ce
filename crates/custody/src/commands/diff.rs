//! `custody diff`: what differs between two recovery points.

use std::ffi::OsString;

use clap::Args;
use custody_client::SourcePath;
use serde_json::{Value, json};

use crate::arguments::VaultOption;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::lines::{self, Printer};
use crate::output::{Column, Outcome};
use crate::{human, items, terminal};

/// Show what differs between two recovery points
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  custody diff 3f2a9c77 81d0b2ee\n  custody diff 2026-11-01 \
    latest letters --item documents\n  custody diff 3f2a9c77 latest --json | jq .path\n\n\
    Before each path stands + if the newer point alone has it, - if the older one alone has it, \
    M if it holds something else, U if its metadata alone differ, R if it was renamed within its \
    folder, ! if a folder's listing is damaged. What M and U name is what differs. Entries that \
    went to another folder are told as - and +. Folders that hold the same in both points are \
    not read.\n\nWith -o or --query the data are collected and have no summary; the lines of \
    --json come as they are found.\n\nExit codes: 0 done, 5 no such item, point or path, 7 the \
    key may not be used, 9 a folder's listing is damaged; the others are in docs/exit-codes.md.")]
pub(crate) struct Options {
    /// The older recovery point: an id (its beginning will do), latest, or a time
    #[arg(value_name = "POINT")]
    old: String,
    /// The newer recovery point
    #[arg(value_name = "POINT")]
    new: String,
    /// Only what lies at or below this path of the item
    path: Option<OsString>,
    /// The item [default: the one that has the points]
    #[arg(long, value_name = "ITEM")]
    item: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    vault: VaultOption,
}

const COLUMNS: &[Column] = &[
    ("Change", "/change"),
    ("Path", "/path"),
    ("From", "/from"),
    ("Aspects", "/aspects"),
    ("OldSize", "/old/size"),
    ("NewSize", "/new/size"),
];

/// Compares and says what differs.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let points = [options.old.clone(), options.new.clone()];
    let item = items::item_of_points(context, &options.vault, options.item.as_deref(), &points)?;
    let mut body = json!({
        "old": items::point(context, &options.old),
        "new": items::point(context, &options.new),
    });
    if let (Some(path), Value::Object(fields)) = (&options.path, &mut body) {
        fields.insert("path".to_owned(), SourcePath::from(path.as_os_str()).to_json());
    }
    let answer = context.client()?.stream(&format!("{}/diff", item.id), &body)?;
    let mut printer = Printer::new(context, options.json);
    let summary = lines::for_each(answer, &mut |line| printer.line(line, text))?;
    printer.summary(&summary, summary_text)?;
    let is_whole = summary.get("unreadable").and_then(Value::as_u64) == Some(0);
    let exit = if is_whole { ExitCode::Success } else { ExitCode::Damaged };
    Ok(printer.finish(COLUMNS).ending(exit))
}

fn text(line: &Value) -> String {
    let change = line.get("change").and_then(Value::as_str).unwrap_or_default();
    let path = lines::path(line, "path", is_folder(line));
    let size = |side: &str| {
        line.pointer(&format!("/{side}/size")).and_then(Value::as_u64).map(human::size)
    };
    let aspects = lines::words(line.get("aspects"));
    let told = match change {
        "added" => format!("+ {path}{}", lines::after(size("new"))),
        "removed" => format!("- {path}{}", lines::after(size("old"))),
        "changed" => {
            let sizes = match (size("old"), size("new")) {
                (Some(old), Some(new)) => Some(format!("{old} -> {new}")),
                (old, new) => old.or(new),
            };
            format!("M {path}{}{}", lines::after(Some(aspects)), lines::after(sizes))
        }
        "metadata" => format!("U {path}{}", lines::after(Some(aspects))),
        "renamed" => {
            let from = lines::path(line, "from", is_folder(line));
            let aspects = Some(aspects).filter(|aspects| !aspects.is_empty());
            format!("R {from} -> {path}{}{}", lines::after(aspects), lines::after(size("new")))
        }
        _ => format!("! {path}{}", lines::after(lines::error(line))),
    };
    told + "\n"
}

fn is_folder(line: &Value) -> bool {
    let is_folder = |side: &str| line.pointer(side).and_then(Value::as_str) == Some("folder");
    is_folder("/new/kind") || (line.get("new").is_none() && is_folder("/old/kind"))
}

fn summary_text(summary: &Value) -> String {
    let tally = |name: &str| {
        let number = |part: &str| {
            let found = summary.pointer(&format!("/{name}/{part}"));
            found.and_then(Value::as_u64).unwrap_or_default()
        };
        (number("entries"), human::size(number("bytes")))
    };
    let sort = |name: &str, word: &str| {
        let (entries, bytes) = tally(name);
        (entries > 0).then(|| format!("{} {word} ({bytes})", human::count(entries, "entry")))
    };
    let sorts = [
        sort("added", "added"),
        sort("removed", "removed"),
        sort("changed", "changed"),
        sort("renamed", "renamed"),
        sort("metadata", "changed in metadata alone"),
    ];
    let mut parts: Vec<String> = sorts.into_iter().flatten().collect();
    let unreadable = summary.get("unreadable").and_then(Value::as_u64).unwrap_or_default();
    if unreadable > 0 {
        parts.push(format!("{} not compared", human::count(unreadable, "folder")));
    }
    if parts.is_empty() {
        return "nothing differs\n".to_owned();
    }
    terminal::line(&parts.join(", ")) + "\n"
}
