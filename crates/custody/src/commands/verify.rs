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
    after_help = "Examples:\n  custody verify\n  custody verify --read-sample 5\n  custody verify \
    --vault main --read-data\n\n\
    There are three levels. Without an option: the log, the keyring, every index, point and folder \
    is opened, and every pack that the recovery points need is there and as long as it was: nothing \
    is missing or cut. With --read-sample also every byte of so many of a hundred packs is read, \
    decrypted and compared, others each time: decay of a disk is noticed before long. With \
    --read-data every byte of every pack: everything that the points need can be restored. Only a \
    key holder can tell a forged object from a genuine one; the report says what was compared.\n\nExit codes: 0 nothing is wrong, 7 the key may not be used, 9 \
    damage was found; the others are in docs/exit-codes.md."
)]
pub(crate) struct Options {
    #[command(flatten)]
    vault: VaultOption,
    /// Read and check all stored data
    #[arg(long)]
    read_data: bool,
    /// Read and check so many percent of the stored data, chosen at random
    #[arg(
        long,
        value_name = "PERCENT",
        conflicts_with = "read_data",
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    read_sample: Option<u8>,
}

/// Verifies one vault or all of them.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let mut reports = Vec::new();
    let mut text = String::new();
    let mut exit = ExitCode::Success;
    for vault in vaults::all(context, &options.vault)? {
        let mut body = json!({ "readData": options.read_data });
        if let (Value::Object(body), Some(percent)) = (&mut body, options.read_sample) {
            body.insert("readSample".to_owned(), percent.into());
        }
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
        let _ = writeln!(text, "  {}", depth(result));
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
    Ok(Outcome::data(reports).with_report(text).ending(exit))
}

/// How deep the check went.
fn depth(result: &Value) -> String {
    match (result.get("readData").and_then(Value::as_bool), number(result, "readSample")) {
        (Some(true), _) => "every byte was read".to_owned(),
        (_, 0) => "structure only: --read-data reads every byte".to_owned(),
        (_, percent) => format!("structure, and every byte of {percent} % of the packs"),
    }
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
