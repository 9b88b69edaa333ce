//! `custody drill`: what would happen, or what does where it is asked to happen.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use custody_names::{KeyName, KeyVaultName, KeyVersion};
use serde_json::{Value, json};
use std::fmt::Write as _;

use crate::answers::{list, word};
use crate::arguments::GroupOption;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::Outcome;
use crate::{human, jobs, vaults};

mod report;

/// Rehearse the loss of a key
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What would become unreadable if a key or a version of it went
    #[command(
        after_help = "Examples:\n  custody drill revoke --key backup\n  custody drill revoke \
        --key backup --version 0123456789abcdef0123456789abcdef\n  custody drill revoke --key backup \
        --report drill.json\n  custody drill revoke --live --vault test --report drill.json\n\nNothing \
        is changed unless --live says so: then the key version that wraps the vault is disabled until \
        nothing can be read any more, enabled again whatever happens, and the newest recovery points \
        are restored to nowhere. That takes the tag custody-drill=allowed on every vault under that \
        version, and the right to change the key.\n\nA report is written as JSON to FILE and as text to \
        FILE.txt; `custody ledger verify --report FILE` proves it later.\n\nExit codes: 0 done, 1 a live \
        drill failed, 5 no such key or vault, 6 the vault is not marked for drills; the others are in \
        docs/exit-codes.md."
    )]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Revoke {
    /// Name of the key whose loss is thought through
    #[arg(long, value_name = "NAME", required_unless_present = "live", conflicts_with = "live")]
    key: Option<String>,
    /// Key vault that it lies in [default: the installation's]
    #[arg(long, value_name = "NAME", conflicts_with = "live")]
    vault_name: Option<String>,
    /// Version [default: all]
    #[arg(long, conflicts_with = "live")]
    version: Option<String>,
    /// Really disable the key version that wraps --vault, measure, and enable it again
    #[arg(long, requires = "vault")]
    live: bool,
    /// Vault to make a live drill on: its name, whichever kind it is of, or its resource id
    #[arg(long, value_name = "NAME", requires = "live")]
    vault: Option<String>,
    #[command(flatten)]
    group: GroupOption,
    /// Restore the newest recovery point of so many items afterwards [default: of all]
    #[arg(long, value_name = "N", requires = "live")]
    items_max: Option<u64>,
    /// Write a report that can be proven later
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let Verb::Revoke(revoke) = &options.verb;
    if let Some(path) = &revoke.report {
        report::require_new(context, path)?;
    }
    if let Some(vault) = &revoke.vault {
        return live(revoke, vault, context);
    }
    let vault: KeyVaultName = match &revoke.vault_name {
        Some(name) => name.parse()?,
        None => context.installation()?.defaults.key_vault.parse()?,
    };
    let key: KeyName = revoke.key.as_deref().unwrap_or_default().parse()?;
    let version = revoke.version.as_deref().map(str::parse::<KeyVersion>).transpose()?;
    let Some(path) = &revoke.report else {
        let found = dependants(context, &vault, &key, version.as_ref())?;
        let text = format!("{}{}", versions(&found), summary(&found));
        return Ok(Outcome::data(found).with_text(text));
    };
    let body = json!({ "keyVault": vault, "key": key, "version": version });
    let sealed = context.client()?.post("/custody/drills", &body)?;
    report::write(context, path, &sealed)?;
    let found = sealed.pointer("/report/dependants").cloned().unwrap_or_default();
    let text = format!("{}{}", versions(&found), summary(&found));
    Ok(Outcome::data(sealed).with_text(text))
}

/// Takes the key of a vault away for a moment.
fn live(revoke: &Revoke, vault: &str, context: &Context<'_>) -> Result<Outcome, CliError> {
    let group = context.group(revoke.group.resource_group.as_deref())?;
    let id = vaults::find(context, &group, vault)?;
    let name = id.name().unwrap_or_default();
    let consequence = format!(
        "The key version that wraps {name} will be disabled for a moment: every job under it fails."
    );
    confirm(context, revoke.yes, &consequence, name)?;
    let body = json!({ "live": true, "itemsMax": revoke.items_max });
    let done = jobs::run(context, &id, &format!("{id}/drillRevoke"), &body)?;
    let sealed = done.job.result.clone();
    if let Some(path) = &revoke.report {
        report::write(context, path, &sealed)?;
    }
    let passed = sealed.pointer("/report/passed").and_then(Value::as_bool).unwrap_or_default();
    let exit = if passed { ExitCode::Success } else { ExitCode::Failure };
    let text = report::text(&sealed);
    Ok(Outcome::data(sealed).with_text(text).ending(exit))
}

/// What disabling or destroying a key would break, in lines; none if nothing depends on it.
pub(crate) fn what_breaks(
    context: &Context<'_>,
    vault: &KeyVaultName,
    key: &KeyName,
    version: Option<&KeyVersion>,
) -> Result<Option<String>, CliError> {
    let report = match dependants(context, vault, key, version) {
        Ok(report) => report,
        // A key that is deleted has no report to show; its purge is confirmed without one.
        Err(CliError::Server(error)) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let hangs = |version: &Value| !list(version, "vaults").is_empty();
    let breaks = list(&report, "versions").iter().any(hangs);
    Ok(breaks.then(|| format!("{}{}", versions(&report), summary(&report))))
}

/// The same for all keys of a key vault.
pub(crate) fn what_key_vault_breaks(context: &Context<'_>, name: &str) -> Result<String, CliError> {
    let vault: KeyVaultName = name.parse()?;
    let host = format!("https://{vault}.").to_ascii_lowercase();
    let mut lines = String::new();
    for (kind, resource) in vaults::resources(context, None)? {
        let names_it = |key: &str| {
            let uri = format!("/properties/securitySettings/encryptionSettings/{key}/keyUri");
            let uri = resource.pointer(&uri).and_then(Value::as_str);
            uri.is_some_and(|uri| uri.to_ascii_lowercase().starts_with(&host))
        };
        if names_it("keyVaultProperties") || names_it("standbyKeyProperties") {
            let _ = writeln!(lines, "  {} {}", kind.title(), word(&resource, "name"));
        }
    }
    Ok(lines)
}

fn dependants(
    context: &Context<'_>,
    vault: &KeyVaultName,
    key: &KeyName,
    version: Option<&KeyVersion>,
) -> Result<Value, CliError> {
    let version = version.map(|version| format!("&version={version}")).unwrap_or_default();
    let path = format!("/custody/dependants?key={key}&keyVault={vault}{version}");
    Ok(context.client()?.get(&path)?)
}

fn versions(report: &Value) -> String {
    let mut text = String::new();
    for version in list(report, "versions") {
        let safely = version.get("retireSafely").and_then(Value::as_bool).unwrap_or_default();
        let verdict = if safely { "can be retired safely" } else { "is needed" };
        let _ = writeln!(
            text,
            "version {}{}: {verdict}: {}",
            word(version, "version"),
            state(version),
            word(version, "because"),
        );
        for vault in list(version, "vaults") {
            let other = match (word(vault, "otherKey"), vault.get("stopsAlone")) {
                (other, _) if other.is_empty() => String::new(),
                (other, Some(Value::Bool(true))) => {
                    format!(" (stops, though {other} wraps it too)")
                }
                (other, _) => {
                    format!(" ({other} opens it as well: disabling this key alone does not revoke)")
                }
            };
            let _ = writeln!(text, "  vault {}{other}", word(vault, "name"));
            for item in list(vault, "items") {
                let points = item.get("recoveryPoints").and_then(Value::as_u64).unwrap_or_default();
                let points = human::count(points, "recovery point");
                let _ = writeln!(text, "    {}: {points}", word(item, "name"));
            }
        }
    }
    text
}

fn state(version: &Value) -> &'static str {
    let flag = |name: &str| version.get(name).and_then(Value::as_bool);
    match (flag("enabled"), flag("newest").or_else(|| flag("current"))) {
        (Some(false), _) => " (disabled)",
        (_, Some(true)) => " (newest)",
        _ => "",
    }
}

fn summary(report: &Value) -> String {
    let number = |name: &str| {
        let all = report.get("summary").and_then(|summary| summary.get(name));
        all.and_then(Value::as_u64).unwrap_or_default()
    };
    if number("vaults") == 0 {
        return "nothing depends on this key\n".to_owned();
    }
    format!(
        "without the key {}, {} and {} cannot be read\n",
        human::count(number("vaults"), "vault"),
        human::count(number("items"), "item"),
        human::count(number("recoveryPoints"), "recovery point"),
    )
}
