//! `custody subscription`.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::answers::list;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::human;
use crate::output::Outcome;
use crate::terminal;

/// Subscriptions
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Move a subscription to another tenant of this installation
    #[command(
        after_help = "Examples:\n  custody subscription transfer --subscription GUID --tenant \
        GUID --dry-run\n\nRole assignments, access policies and the identities of vaults end, since \
        they were given to the old tenant's principals; key vaults pass along with their keys. Until a \
        vault has an identity in the new tenant, that identity its grant, and the encryption \
        settings name it, its jobs fail.\n\nExit codes: 0 done, 4 not allowed, 5 no such \
        subscription or tenant, 6 something would be lost by it (the answer names it), 10 not \
        confirmed; the others are in docs/exit-codes.md."
    )]
    Transfer(Transfer),
}

#[derive(Debug, Args)]
struct Transfer {
    /// The subscription
    #[arg(short, long, value_name = "GUID")]
    subscription: String,
    /// The tenant that it is to belong to
    #[arg(short, long, value_name = "GUID")]
    tenant: String,
    /// Only say what would end and what stands in the way
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let Verb::Transfer(transfer) = &options.verb;
    let path = format!("/custody/subscriptions/{}/transfer", transfer.subscription);
    let body = |dry_run| json!({ "tenantId": transfer.tenant, "dryRun": dry_run });
    let plan = context.client()?.post(&path, &body(true))?;
    if transfer.dry_run {
        let text = consequence(&plan);
        return Ok(Outcome::data(plan).with_text(text));
    }
    if list(&plan, "blockers").is_empty() {
        confirm(context, transfer.yes, &consequence(&plan), &transfer.subscription)?;
    }
    let done = context.client()?.post(&path, &body(false))?;
    let text = "transferred; assign identities anew, grant them their keys, and update the \
                encryption of each vault that is listed. Then make a new recovery kit.\n";
    Ok(Outcome::data(done).with_text(text.to_owned()))
}

/// What a transfer ends, in lines.
fn consequence(plan: &Value) -> String {
    let mut text = String::new();
    let grants = plan.get("roleAssignments").and_then(Value::as_u64).unwrap_or_default();
    // Writing into a string does not fail.
    let _ = writeln!(text, "{} will end.", human::count(grants, "role assignment"));
    for (field, what) in [
        ("vaults", "loses its identities and cannot use its key until it has others"),
        ("keyVaults", "passes along, without its access policies"),
    ] {
        for one in list(plan, field) {
            let id = one.get("id").and_then(Value::as_str).unwrap_or_default();
            let _ = writeln!(text, "{} {what}.", terminal::line(id));
        }
    }
    for id in list(plan, "identities").iter().filter_map(Value::as_str) {
        let _ = writeln!(text, "{} becomes another principal.", terminal::line(id));
    }
    for blocker in list(plan, "blockers") {
        let part = |name: &str| blocker.get(name).and_then(Value::as_str).unwrap_or_default();
        let (message, fix) = (terminal::line(part("message")), terminal::line(part("fix")));
        let _ = writeln!(text, "In the way: {message} ({fix}).");
    }
    text
}
