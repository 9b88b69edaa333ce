//! `custody verify`: proves that what is stored can be restored.

use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;

use crate::arguments::VaultOption;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::jobs;
use crate::output::Outcome;
use crate::{items, terminal};

/// Check a vault's repository, and bring its keyring up to the newest key version
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  custody verify\n  custody verify --vault main --read-data\n\n\
    Without --read-data it checks that everything the recovery points need is there; with it, that \
    every byte of it is right.\n\nExit codes: 0 nothing is wrong, 7 the key may not be used, 9 \
    damage was found; the others are in docs/exit-codes.md."
)]
pub(crate) struct Options {
    #[command(flatten)]
    vault: VaultOption,
    /// Read and check all stored data
    #[arg(long)]
    read_data: bool,
}

/// Verifies one vault or all of them.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let mut reports = Vec::new();
    let mut text = String::new();
    let mut exit = ExitCode::Success;
    for vault in items::vaults(context, &options.vault)? {
        let body = json!({ "readData": options.read_data });
        let done = jobs::run(context, &vault, &format!("{vault}/verify"), &body)?;
        let name = vault.name().unwrap_or_default();
        let result = &done.job.result;
        let sound = result.get("ok").and_then(Value::as_bool).unwrap_or(true);
        exit = match (sound, exit) {
            (false, _) | (_, ExitCode::Damaged) => ExitCode::Damaged,
            (true, ExitCode::Success) => done.exit(),
            (true, other) => other,
        };
        let verdict = if sound { "nothing is wrong" } else { "damage was found" };
        let statement = result.get("statement").and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(text, "vault {name}: {verdict} ({})", done.took());
        text += &statement_line(statement);
        text += &damage(result);
        reports.push(done.to_json(json!({ "vault": name, "ok": sound, "result": result })));
    }
    Ok(Outcome::data(reports).with_text(text).ending(exit))
}

fn statement_line(statement: &str) -> String {
    if statement.is_empty() { String::new() } else { format!("  {}\n", terminal::line(statement)) }
}

/// The damage that was found, a line each.
fn damage(result: &Value) -> String {
    let found = result.get("damage").and_then(Value::as_array);
    let lines = found.into_iter().flatten().map(|one| {
        let message = one.get("message").or(Some(one)).and_then(Value::as_str);
        format!("  damaged: {}\n", terminal::line(message.unwrap_or_default()))
    });
    lines.collect()
}
