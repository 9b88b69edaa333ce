//! `custody backup item`: what is protected in vaults of either kind.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::arguments::VaultOption;
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::human;
use crate::items::{self, Item, Which};
use crate::output::{Column, Outcome};
use crate::vaults::VaultKind;

/// What is protected: stop its protection, or delete it with its recovery points
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List items
    #[command(
        after_help = "Examples:\n  custody backup item list -o table\n  custody backup item \
        list --vault main\n\nExit codes: 0 done, 5 no such vault; the others are in \
        docs/exit-codes.md."
    )]
    List(VaultOption),
    /// Show an item
    #[command(after_help = "Examples:\n  custody backup item show -n documents\n\nExit codes: 0 \
        done, 5 no such item; the others are in docs/exit-codes.md.")]
    Show(Named),
    /// Take no more recovery points of an item; those that there are stay until they are deleted
    #[command(
        after_help = "Examples:\n  custody backup item stop-protection -n documents\n\nNothing is \
        deleted and nothing expires any more. In a Recovery Services vault the item's policy is \
        forgotten too.\n\nExit codes: 0 done, 4 not allowed, 5 no such item, 10 not confirmed; the \
        others are in docs/exit-codes.md."
    )]
    StopProtection(Confirmed),
    /// Take recovery points of an item again
    #[command(
        after_help = "Examples:\n  custody backup item resume-protection -n documents\n\nIn a \
        Recovery Services vault the item is under no policy then: custody protect takes its points, \
        and az backup protection resume puts it under one.\n\nExit codes: 0 done, 4 not allowed, 5 no \
        such item; the others are in docs/exit-codes.md."
    )]
    ResumeProtection(Named),
    /// Delete an item with its recovery points; it can be brought back for a while
    #[command(
        after_help = "Examples:\n  custody backup item delete -n documents\n\nIt is kept for as many \
        days as the vault's soft delete says: custody backup deleted-item list. Where that is off it \
        is gone at once. Neither needs the vault's key. custody forget gives up single recovery \
        points.\n\nExit codes: 0 done, 4 not allowed, 5 no such item, 10 not confirmed; the others \
        are in docs/exit-codes.md."
    )]
    Delete(Confirmed),
}

/// Which item.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// Name of the item, or its resource id
    #[arg(short, long)]
    name: String,
    #[command(flatten)]
    vault: VaultOption,
}

#[derive(Debug, Args)]
struct Confirmed {
    #[command(flatten)]
    named: Named,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

const COLUMNS: &[Column] = &[
    ("Name", "/name"),
    ("Vault", "/vault"),
    ("State", "/state"),
    ("NewestPoint", "/newestPoint"),
    ("Policy", "/policy"),
];

/// Carries out a verb.
pub(super) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let value = match &options.verb {
        Verb::List(vault) => {
            items::all_items(context, vault, Which::Protected)?.iter().map(plain).collect()
        }
        Verb::Show(named) => plain(&named.find(context, Which::Protected)?),
        Verb::StopProtection(options) => return stop(options, context),
        Verb::ResumeProtection(named) => return resume(named, context),
        Verb::Delete(options) => return delete(options, context),
    };
    Ok(Outcome::data(value).with_columns(COLUMNS))
}

impl Named {
    /// The item, one that is protected or one that was deleted.
    pub(super) fn find(&self, context: &Context<'_>, which: Which) -> Result<Item, CliError> {
        items::find(context, &self.vault, &self.name, which)
    }
}

/// An item of either kind without the envelope of ARM.
pub(super) fn plain(item: &Item) -> Value {
    let either = |names: [&str; 2]| names.into_iter().find_map(|name| item.property(name)).cloned();
    let policy = item.property("policyInfo").and_then(|info| info.get("policyId"));
    let policy = policy.or_else(|| item.property("policyId")).and_then(Value::as_str);
    let policy = policy.and_then(|policy| policy.rsplit('/').next());
    let deleted = item.property("deletionInfo");
    json!({
        "name": item.name,
        "vault": item.vault.name(),
        "id": item.id,
        "state": either(["currentProtectionState", "protectionState"]),
        "newestPoint": either(["newestPointTime", "lastRecoveryPoint"]),
        "policy": policy.filter(|policy| !policy.is_empty()),
        "folder": item.property("folder"),
        "deletedAt": deleted
            .and_then(|deleted| deleted.get("deletionTime"))
            .or_else(|| item.property("deferredDeleteTimeInUTC")),
        "keptUntil": deleted
            .and_then(|deleted| deleted.get("scheduledPurgeTime"))
            .or_else(|| item.property("scheduledPurgeTime")),
    })
}

fn stop(options: &Confirmed, context: &Context<'_>) -> Result<Outcome, CliError> {
    let item = options.named.find(context, Which::Protected)?;
    let consequence = format!(
        "No more recovery points of {} will be taken; what {} has of it ({}) stays.",
        item.name,
        item.vault.name().unwrap_or_default(),
        points_of(&item, context)?
    );
    confirm(context, options.yes, &consequence, &item.name)?;
    turn(&item, "stopProtection", &json!({ "protectionState": "ProtectionStopped" }), context)?;
    Ok(Outcome::nothing())
}

fn resume(named: &Named, context: &Context<'_>) -> Result<Outcome, CliError> {
    let item = named.find(context, Which::Protected)?;
    turn(&item, "resumeProtection", &json!({ "protectionState": "Protected" }), context)?;
    Ok(Outcome::nothing())
}

/// Puts an item into another state. Backup vaults have a verb for that; in Recovery Services vaults
/// the state is written with the item.
pub(super) fn turn(
    item: &Item,
    verb: &str,
    state: &Value,
    context: &Context<'_>,
) -> Result<(), CliError> {
    let client = context.client()?;
    if VaultKind::of(&item.vault) != Some(VaultKind::RecoveryServices) {
        return Ok(client.act(&format!("{}/{verb}", item.id), &json!({}))?);
    }
    let mut properties = json!({ "protectedItemType": item.property("protectedItemType") });
    if let (Value::Object(all), Value::Object(state)) = (&mut properties, state) {
        all.extend(state.clone());
    }
    client.put(item.id.as_str(), &json!({ "properties": properties }))?;
    Ok(())
}

fn delete(options: &Confirmed, context: &Context<'_>) -> Result<Outcome, CliError> {
    let item = options.named.find(context, Which::Protected)?;
    let vault = item.vault.name().unwrap_or_default();
    let consequence =
        format!("{} with {} in {vault} will be deleted.", item.name, points_of(&item, context)?);
    confirm(context, options.yes, &consequence, &item.name)?;
    context.client()?.delete(item.id.as_str())?;
    // Whether it was kept is the vault's to decide: it is looked up, not guessed.
    let all = items::list(context, &item.vault, Which::Deleted)?;
    if let Some(kept) = all.iter().find(|kept| kept.name.eq_ignore_ascii_case(&item.name)) {
        let until = plain(kept).get("keptUntil").and_then(Value::as_str).map(str::to_owned);
        let until = until.map(|until| human::time(&until, &context.world.time_zone));
        let until = until.map(|until| format!("until {until}")).unwrap_or_default();
        context.say(&format!(
            "deleted; {until} it can be brought back: custody backup deleted-item undelete -n {} \
             --vault {vault}",
            item.name
        ));
    }
    Ok(Outcome::nothing())
}

fn points_of(item: &Item, context: &Context<'_>) -> Result<String, CliError> {
    let points = context.client()?.list(&format!("{}/recoveryPoints", item.id))?;
    Ok(human::count(points.len() as u64, "recovery point"))
}
