//! `custody backup deleted-vault`.

use clap::{Args, Subcommand};
use custody_client::Addresses;
use serde_json::{Value, json};

use crate::answers::word;
use crate::commands::group;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Column, Outcome};
use crate::terminal;
use crate::vaults::VaultKind;

/// Vaults that were deleted and can be brought back
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List deleted vaults
    #[command(
        after_help = "Examples:\n  custody backup deleted-vault list -o table\n\nExit codes: 0 \
        done; the others are in docs/exit-codes.md."
    )]
    List(Place),
    /// Show a deleted vault
    #[command(
        after_help = "Examples:\n  custody backup deleted-vault get -n main\n\nExit codes: 0 \
        done, 5 no such deleted vault; the others are in docs/exit-codes.md."
    )]
    Get(Named),
    /// Bring a deleted vault back
    #[command(
        after_help = "Examples:\n  custody backup deleted-vault undelete -n main\n\nIts keyring, \
        its data and its encryption are as they were; roles on the vault itself are granted \
        anew.\n\nExit codes: 0 done, 4 not allowed, 5 no such deleted vault or no such group, 6 a \
        vault of that name is there; the others are in docs/exit-codes.md."
    )]
    Undelete(Undelete),
}

#[derive(Debug, Args)]
struct Place {
    /// Location that they lay in [default: the installation's]
    #[arg(short, long)]
    location: Option<String>,
}

#[derive(Debug, Args)]
struct Named {
    /// Name, as the list shows it, or its resource id
    #[arg(short, long)]
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Undelete {
    #[command(flatten)]
    named: Named,
    /// Resource group to bring it back into [default: its own]
    #[arg(short = 'g', long, value_name = "NAME")]
    resource_group: Option<String>,
}

const COLUMNS: &[Column] =
    &[("Name", "/name"), ("Was", "/properties/vaultId"), ("KeptUntil", "/properties/purgeAt")];

/// Carries out a verb.
pub(super) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let value = match &options.verb {
        Verb::List(place) => list(place, context)?.into(),
        Verb::Get(named) => find(named, context)?,
        Verb::Undelete(options) => return undelete(options, context),
    };
    Ok(Outcome::data(value).with_columns(COLUMNS))
}

/// Deleted vaults of both kinds.
fn list(place: &Place, context: &Context<'_>) -> Result<Vec<Value>, CliError> {
    let location = group::location(context, place.location.as_deref())?;
    let location = location.as_str().unwrap_or_default();
    let subscription = context.addresses()?.subscription();
    let mut all = Vec::new();
    for kind in VaultKind::ALL {
        let kind = format!("{}/locations/{location}/deletedVaults", kind.namespace());
        all.extend(context.client()?.list(&Addresses::collection(&subscription, &kind))?);
    }
    all.iter_mut().for_each(name_alike);
    Ok(all)
}

/// Shows what both kinds tell under the names of Recovery Services as well.
fn name_alike(vault: &mut Value) {
    let Some(properties) = vault.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    let info = properties.get("resourceDeletionInfo").cloned().unwrap_or_default();
    for (name, known) in [
        ("vaultId", properties.get("originalBackupVaultId").cloned()),
        ("vaultDeletionTime", info.get("deletionTime").cloned()),
        ("purgeAt", info.get("scheduledPurgeTime").cloned()),
    ] {
        if let Some(known) = known {
            properties.entry(name).or_insert(known);
        }
    }
}

fn find(named: &Named, context: &Context<'_>) -> Result<Value, CliError> {
    let name = &named.name;
    let mut all = list(&named.place, context)?;
    all.retain(|vault| {
        let is = |field: &str| vault.get(field).and_then(Value::as_str);
        let known = [is("name"), is("id")];
        known.into_iter().flatten().any(|known| known.eq_ignore_ascii_case(name))
    });
    let shown = terminal::line(name);
    match (all.pop(), all.pop()) {
        (Some(vault), None) => Ok(vault),
        (Some(one), Some(other)) => Err(CliError::Usage(format!(
            "deleted vaults of both kinds are called {shown}: name the one you mean by its \
             resource id, {} or {}",
            word(&other, "id"),
            word(&one, "id")
        ))),
        (None, _) => Err(CliError::NotFound {
            message: format!("there is no deleted vault {shown}"),
            fix: "custody backup deleted-vault list".to_owned(),
        }),
    }
}

fn undelete(options: &Undelete, context: &Context<'_>) -> Result<Outcome, CliError> {
    let deleted = find(&options.named, context)?;
    let id = deleted.get("id").and_then(Value::as_str).unwrap_or_default();
    let group = options.resource_group.as_ref();
    let body = json!({ "properties": { "recoveryResourceGroupId": group } });
    context.client()?.act(&format!("{id}/undelete"), &body)?;
    let name = word(&deleted, "name");
    context.say(&format!("back; to see it: custody backup vault show -n {name}"));
    Ok(Outcome::nothing())
}
