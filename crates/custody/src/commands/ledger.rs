//! `custody ledger`: every use of every key.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::{Column, Outcome};
use crate::terminal;

/// Longest file with a head or a report in it, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The record of every use of every key
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show records
    #[command(after_help = "Examples:\n  custody ledger show --top 20 -o table\n  custody ledger \
        show --key backup\n\nExit codes: 0 done; the others are in docs/exit-codes.md.")]
    Show(Show),
    /// Prove that the ledger is what was written
    #[command(
        after_help = "Examples:\n  custody ledger verify --head head.json\n  custody ledger \
        verify --report drill.json\n\nWithout a head \
        kept elsewhere it cannot be told whether the end was cut off; the answer says so.\n\nExit \
        codes: 0 nothing is wrong, 9 it was changed or cut; the others are in docs/exit-codes.md."
    )]
    Verify(Verify),
    /// Print the signed head, to be kept elsewhere
    #[command(
        after_help = "Examples:\n  custody ledger head > head.json\n\nExit codes: 0 done; the \
        others are in docs/exit-codes.md."
    )]
    Head,
}

#[derive(Debug, Args)]
struct Show {
    /// At most this many records
    #[arg(long, value_name = "N")]
    top: Option<u64>,
    /// From this sequence number on
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// Only those of this job
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Only those of this key
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

#[derive(Debug, Args)]
struct Verify {
    /// A head kept elsewhere
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// The report of a drill, with the head in it: whether it is as it was written then
    #[arg(long, value_name = "FILE", conflicts_with = "head")]
    report: Option<PathBuf>,
}

const COLUMNS: &[Column] = &[
    ("Sequence", "/sequence"),
    ("Time", "/time"),
    ("Operation", "/record/operationName"),
    ("Result", "/record/resultSignature"),
    ("Key", "/record/properties/id"),
    ("Caller", "/record/identity/osUser"),
    ("Job", "/record/properties/jobId"),
];

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    match &options.verb {
        Verb::Show(show) => {
            let records = context.client()?.list(&format!("/custody/ledger{}", query(show)))?;
            Ok(Outcome::data(records).with_columns(COLUMNS))
        }
        Verb::Verify(verify) => run_verify(verify, context),
        Verb::Head => Ok(Outcome::data(context.client()?.get("/custody/ledger/head")?)),
    }
}

fn run_verify(options: &Verify, context: &Context<'_>) -> Result<Outcome, CliError> {
    let body = match (&options.head, &options.report) {
        (Some(path), _) => json!({ "head": read_file(context, path, "head")? }),
        (None, Some(path)) => {
            let report = read_file(context, path, "report")?;
            json!({ "head": report.pointer("/ledger/head"), "drill": report })
        }
        (None, None) => json!({}),
    };
    let report = context.client()?.post("/custody/ledger/verify", &body)?;
    let sound = report.get("ok").and_then(Value::as_bool).unwrap_or_default();
    let statement = report.get("statement").and_then(Value::as_str).unwrap_or_default();
    let drill = report.pointer("/drill/problem").and_then(Value::as_str);
    let verdict = match (sound, drill) {
        (true, _) => "the ledger is sound".to_owned(),
        (false, None) => "the ledger was changed or cut".to_owned(),
        (false, Some(problem)) => format!("the report does not hold: {}", terminal::line(problem)),
    };
    let text = format!("{verdict}: {}\n", terminal::line(statement));
    let exit = if sound { ExitCode::Success } else { ExitCode::Damaged };
    Ok(Outcome::data(report).with_text(text).ending(exit))
}

fn read_file(context: &Context<'_>, path: &std::path::Path, what: &str) -> Result<Value, CliError> {
    let path = context.absolute(path);
    let shown = terminal::path(path.as_os_str().as_encoded_bytes());
    let failed = |reason| CliError::Path { path: shown.clone(), reason };
    if std::fs::metadata(&path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(CliError::Usage(format!("{shown} is no {what}: it is too long")));
    }
    let text = std::fs::read(&path).map_err(failed)?;
    serde_json::from_slice(&text)
        .map_err(|error| CliError::Usage(format!("{shown} is no {what}: {error}")))
}

fn query(show: &Show) -> String {
    let mut parts = Vec::new();
    for (name, value) in [("top", show.top), ("from", show.from)] {
        parts.extend(value.map(|value| format!("{name}={value}")));
    }
    for (name, value) in [("job", &show.job), ("key", &show.key)] {
        parts.extend(
            value.as_ref().map(|value| format!("{name}={}", custody_client::encode(value))),
        );
    }
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}
