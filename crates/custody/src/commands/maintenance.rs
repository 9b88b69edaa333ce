//! What prune and repair share: one job for each vault, and its result.

use serde_json::{Value, json};
use std::fmt::Write as _;

use crate::arguments::VaultOption;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::Outcome;
use crate::{human, jobs, terminal, vaults};

/// Runs `action` on the vaults that the option stands for.
pub(crate) fn run(
    context: &Context<'_>,
    option: &VaultOption,
    action: &str,
    body: &Value,
) -> Result<Outcome, CliError> {
    let mut reports = Vec::new();
    let mut text = String::new();
    let mut exit = ExitCode::Success;
    for vault in vaults::all(context, option)? {
        let done = jobs::run(context, &vault, &format!("{vault}/{action}"), body)?;
        let name = vault.name().unwrap_or_default();
        let result = &done.job.result;
        let _ = writeln!(text, "vault {name}: {action} done in {}", done.took());
        text += &facts(result);
        let has_lost = result.get("lostPacks").and_then(Value::as_u64).unwrap_or_default() > 0;
        exit = match (has_lost, exit, done.exit()) {
            (true, ..) | (_, ExitCode::Damaged, _) => ExitCode::Damaged,
            (_, earlier, ExitCode::Success) => earlier,
            (.., own) => own,
        };
        reports.push(done.to_json(json!({ "vault": name, "result": result })));
    }
    Ok(Outcome::data(reports).with_report(text).ending(exit))
}

/// The plain facts of a result, a line each: `packsDeleted: 3`, sizes in words.
fn facts(result: &Value) -> String {
    let fields = result.as_object().into_iter().flatten();
    let lines = fields.filter_map(|(name, value)| {
        let shown = match value {
            Value::Number(number) if name.to_lowercase().contains("bytes") => {
                human::size(number.as_u64().unwrap_or_default())
            }
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::String(text) => terminal::line(text),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        (name != "warningCount").then(|| format!("  {}: {shown}\n", terminal::line(name)))
    });
    lines.collect()
}
