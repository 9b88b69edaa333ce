//! `custody verify`: proves that what is stored can be restored.

use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;

use crate::answers::number;
use crate::arguments::VaultOption;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::jobs;
use crate::output::Outcome;
use crate::{human, terminal, vaults};

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
    for vault in vaults::all(context, &options.vault)? {
        let body = json!({ "readData": options.read_data });
        let done = jobs::run(context, &vault, &format!("{vault}/verify"), &body)?;
        let name = vault.name().unwrap_or_default();
        let result = &done.job.result;
        let sound = number(result, "problems") == 0;
        exit = match (sound, exit) {
            (false, _) | (_, ExitCode::Damaged) => ExitCode::Damaged,
            (true, ExitCode::Success) => done.exit(),
            (true, other) => other,
        };
        let _ = writeln!(text, "vault {name}: {} ({})", verdict(result), done.took());
        if let Some(assurance) = result.get("assurance").and_then(Value::as_str) {
            let objects = human::count(number(result, "objects"), "object");
            let size = human::size(number(result, "bytes"));
            let _ = writeln!(text, "  {objects}, {size}: {}", terminal::line(assurance));
            if number(result, "unreferencedObjects") > 0 {
                let objects = human::count(number(result, "unreferencedObjects"), "object");
                let size = human::size(number(result, "unreferencedBytes"));
                let _ = writeln!(
                    text,
                    "  {objects}, {size}: used by no recovery point; custody prune frees them"
                );
            }
        }
        reports.push(done.to_json(json!({ "vault": name, "ok": sound, "result": result })));
    }
    Ok(Outcome::data(reports).with_text(text).ending(exit))
}

/// Whether something is wrong; what is wrong was listed as warnings of the job.
fn verdict(result: &Value) -> String {
    match (number(result, "problems"), number(result, "damagedFiles")) {
        (0, _) => "nothing is wrong".to_owned(),
        (problems, files) => {
            let (problems, files) =
                (human::count(problems, "problem"), human::count(files, "file"));
            format!("damage was found: {problems}, which cost {files}")
        }
    }
}
