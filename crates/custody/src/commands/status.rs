//! `custody status`: everything at one glance.

use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;

use crate::answers::{id_of, list, number, word};
use crate::context::Context;
use crate::error::CliError;
use crate::output::Outcome;
use crate::vaults::VaultKind;
use crate::{human, terminal};

/// Show vaults, their keys and what those last answered, newest points, and what needs attention
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  custody status\n  custody status -o json --query \
    'warnings[].code'\n\nExit codes: 0 done, also if something needs attention; the others are in \
    docs/exit-codes.md.")]
pub(crate) struct Options {}

/// Shows the status.
pub(crate) fn run(_options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let status = context.client()?.get("/custody/status")?;
    let text = text(context, &status);
    Ok(Outcome::data(status).with_text(text))
}

fn text(context: &Context<'_>, status: &Value) -> String {
    let mut text = String::new();
    let mut push = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for vault in list(status, "vaults") {
        vault_lines(context, vault).into_iter().for_each(&mut push);
    }
    if list(status, "vaults").is_empty() {
        push("no vaults yet; custody protect FOLDER makes one".to_owned());
    }
    if let Some(seal) = status.get("seal") {
        push(format!("seal: {} ({})", word(seal, "kind"), word(seal, "place")));
        push(format!("  {}", word(seal, "protects")));
    }
    let jobs = status.get("jobs").unwrap_or(&Value::Null);
    let (running, failed) = (number(jobs, "running"), number(jobs, "failedLast7Days"));
    push(format!("jobs: {running} running, {failed} failed in the last 7 days"));
    let ledger = status.get("ledger").unwrap_or(&Value::Null);
    push(format!("ledger: {}", human::count(number(ledger, "records"), "record")));
    for warning in list(status, "warnings") {
        push(format!("warning: {} ({})", word(warning, "message"), word(warning, "code")));
        if !word(warning, "fix").is_empty() {
            push(format!("  to mend it: {}", word(warning, "fix")));
        }
    }
    text
}

fn vault_lines(context: &Context<'_>, vault: &Value) -> Vec<String> {
    let zone = &context.world.time_zone;
    let newest = match vault.get("newestPoint") {
        Some(Value::String(time)) => format!(", newest of {}", human::time(time, zone)),
        Some(point) if point.is_object() => {
            format!(", newest of {}", human::time(&word(point, "time"), zone))
        }
        _ => String::new(),
    };
    let mut lines = vec![format!(
        "{} {}: {}, {}{newest}",
        title(vault),
        word(vault, "name"),
        human::count(number(vault, "items"), "item"),
        human::count(number(vault, "recoveryPoints"), "recovery point"),
    )];
    let encryption = vault.get("encryption").unwrap_or(&Value::Null);
    let key = [word(encryption, "type"), word(encryption, "keyUri")];
    let key = key.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let mut line = format!("  key: {key}");
    if !word(encryption, "state").is_empty() {
        let _ = write!(line, ", {}", word(encryption, "state"));
    }
    lines.push(line);
    lines.extend(key_lines(context, vault, word(encryption, "type") == "CustomerManaged"));
    if !word(vault, "storePlace").is_empty() {
        lines.push(format!("  store: {}", word(vault, "storePlace")));
    }
    let older = list(vault, "olderGenerations").len() as u64;
    if older > 0 {
        let generations = human::count(older, "older data key generation");
        lines.push(format!("  {generations} once wrapped by another key"));
    }
    for warning in list(vault, "warnings") {
        let message = warning.as_str().map_or_else(|| word(warning, "message"), terminal::line);
        lines.push(format!("  warning: {message}"));
    }
    lines
}

fn title(vault: &Value) -> &'static str {
    id_of(vault).ok().and_then(|id| VaultKind::of(&id)).map_or("vault", VaultKind::title)
}

/// Each key version: which data keys it wraps, and what it said when it was last asked. Keys of the
/// platform are not asked.
fn key_lines(context: &Context<'_>, vault: &Value, is_customers: bool) -> Vec<String> {
    let probes = list(vault, "lastProbe");
    let wraps = list(vault, "wraps");
    let of = |version: &str, all: &[Value]| {
        all.iter().find(|one| word(one, "keyVersion") == version).cloned()
    };
    let mut lines = Vec::new();
    for wrap in wraps {
        let version = word(wrap, "keyVersion");
        let generations = list(wrap, "generations").iter().map(Value::to_string);
        let generations = generations.collect::<Vec<_>>().join(", ");
        let said = match of(&version, probes) {
            Some(probe) => format!(", {}", probed(context, &probe)),
            None if is_customers => ", never probed: a server does it".to_owned(),
            None => String::new(),
        };
        lines.push(format!("  {version} wraps data key generation {generations}{said}"));
    }
    for probe in probes {
        let version = word(probe, "keyVersion");
        if of(&version, wraps).is_none() {
            lines.push(format!("  {version} wraps nothing any more, {}", probed(context, probe)));
        }
    }
    lines
}

/// What a key version said when it was last asked.
fn probed(context: &Context<'_>, probe: &Value) -> String {
    let time = human::time(&word(probe, "time"), &context.world.time_zone);
    let result = word(probe, "result").to_lowercase();
    let mut text = format!("probed {time}: {result} in {} ms", number(probe, "latencyMs"));
    if !word(probe, "code").is_empty() {
        let _ = write!(text, " ({})", word(probe, "code"));
    }
    text
}
