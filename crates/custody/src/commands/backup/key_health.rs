//! `custody backup vault key-health`: how the keys of a vault stand.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::vault::Named;
use crate::answers::{list, word};
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::human;
use crate::output::Outcome;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    named: Named,
    /// Use the key now, as a job would, and see whether it answers
    #[arg(long)]
    probe: bool,
}

/// Shows how the keys stand; a key that cannot be used makes the command fail as a job would.
pub(super) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let id = options.named.id(context)?;
    let client = context.client()?;
    let health = if options.probe {
        client.post(&format!("{id}/probeKey"), &json!({}))?
    } else {
        client.get(&format!("{id}/keyHealth"))?
    };
    let exit = match word(&health, "status").as_str() {
        "Unusable" => ExitCode::KeyUnavailable,
        "Warning" => ExitCode::CompletedWithWarnings,
        _ => ExitCode::Success,
    };
    let text = text(&health, context);
    Ok(Outcome::data(health).with_text(text).ending(exit))
}

fn text(health: &Value, context: &Context<'_>) -> String {
    let mut text = format!("keys: {}\n", word(health, "status"));
    if list(health, "keys").is_empty() {
        text.push_str("the platform's own key protects this vault; it is not probed\n");
    }
    for key in list(health, "keys") {
        key_lines(&mut text, key);
    }
    for warning in list(health, "warnings") {
        let (severity, code) = (word(warning, "severity").to_lowercase(), word(warning, "code"));
        let _ = writeln!(text, "{severity}: {} ({code})", word(warning, "message"));
        let _ = writeln!(text, "  to mend it: {}", word(warning, "fix"));
    }
    if !list(health, "keys").is_empty() {
        probe_lines(&mut text, health.get("probes").unwrap_or(&Value::Null), context);
    }
    text
}

fn key_lines(text: &mut String, key: &Value) {
    let _ = writeln!(text, "{} key {}", word(key, "role").to_lowercase(), word(key, "keyUri"));
    if let Some(newest) = key.get("newestVersion").filter(|newest| newest.is_object()) {
        let days = |name: &str| newest.get(name).and_then(Value::as_i64);
        let _ = write!(text, "  newest version {}", word(newest, "version"));
        if newest.get("enabled") == Some(&Value::Bool(false)) {
            text.push_str(" (disabled)");
        }
        let _ = write!(text, ", {} day(s) old", days("ageDays").unwrap_or_default());
        match days("daysLeft") {
            Some(left) => _ = writeln!(text, ", expires in {left} day(s)"),
            None => text.push_str(", without expiry\n"),
        }
    }
    for wrap in list(key, "wraps") {
        let generations = human::count(list(wrap, "generations").len() as u64, "generation");
        let _ = writeln!(text, "  version {} wraps {generations}", word(wrap, "version"));
    }
    let rotation = word(key, "nextRotation");
    if !rotation.is_empty() {
        let _ = writeln!(text, "  is rotated {rotation}");
    }
}

fn probe_lines(text: &mut String, probes: &Value, context: &Context<'_>) {
    let zone = &context.world.time_zone;
    let results = list(probes, "results");
    let Some(last) = results.last() else {
        text.push_str("never probed: a running server does it, and --probe\n");
        return;
    };
    let percent = probes.get("succeededPercent").and_then(Value::as_u64).unwrap_or_default();
    let latency = last.get("latencyMs").and_then(Value::as_u64).unwrap_or_default();
    let _ = writeln!(
        text,
        "last probe {}: {} in {latency} ms; of {} {percent} % succeeded",
        human::time(&word(last, "time"), zone),
        word(last, "result").to_lowercase(),
        human::count(results.len() as u64, "probe"),
    );
}
