//! `custody keyvault`: key vaults and, below them, keys.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Subcommand};
use custody_client::{Addresses, kinds};
use custody_names::ResourceId;
use serde_json::{Value, json};

use crate::arguments::{GroupOption, WithinOption};
use crate::commands::{drill, group, tags};
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Column, Outcome};

mod create;
pub(crate) mod key;
mod policy;

/// Key vaults and keys
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a key vault
    #[command(after_help = "Examples:\n  custody keyvault create -n my-keys \
        --enable-purge-protection\n\nExit codes: 0 done, 6 the name is taken or the vault of that \
        name is deleted (recover or purge it); the others are in docs/exit-codes.md.")]
    Create(create::Create),
    /// Show a key vault
    #[command(
        after_help = "Examples:\n  custody keyvault show -n my-keys\n\nExit codes: 0 done, 5 \
        no such key vault; the others are in docs/exit-codes.md."
    )]
    Show(Named),
    /// List key vaults
    #[command(
        after_help = "Examples:\n  custody keyvault list -o table\n\nExit codes: 0 done; the \
        others are in docs/exit-codes.md."
    )]
    List(WithinOption),
    /// Set what a principal may do with the keys, where access policies decide
    #[command(after_help = "Examples:\n  custody keyvault set-policy -n my-keys --object-id GUID \
        --key-permissions get wrapKey unwrapKey\n\nExit codes: 0 done, 5 no such key vault, 6 roles \
        decide there; the others are in docs/exit-codes.md.")]
    SetPolicy(policy::SetPolicy),
    /// Take a principal's permissions away, where access policies decide
    #[command(after_help = "Examples:\n  custody keyvault delete-policy -n my-keys --object-id \
        GUID\n\nExit codes: 0 done, 5 no such key vault; the others are in docs/exit-codes.md.")]
    DeletePolicy(policy::DeletePolicy),
    /// Delete a key vault; it can be recovered until it is purged
    #[command(
        after_help = "Examples:\n  custody keyvault delete -n my-keys\n\nEverything under its \
        keys cannot be used until it is recovered.\n\nExit codes: 0 done, 5 no such key vault, 10 \
        not confirmed; the others are in docs/exit-codes.md."
    )]
    Delete(Destroyed),
    /// Bring a deleted key vault back
    #[command(
        after_help = "Examples:\n  custody keyvault recover -n my-keys\n\nExit codes: 0 done, \
        5 no such deleted key vault; the others are in docs/exit-codes.md."
    )]
    Recover(Named),
    /// Destroy a deleted key vault and its keys for ever
    #[command(after_help = "Examples:\n  custody keyvault purge -n my-keys\n\nWhat is encrypted \
        under its keys can never be read again.\n\nExit codes: 0 done, 4 or 6 purge protection \
        forbids it, 5 no such deleted key vault, 10 not confirmed; the others are in \
        docs/exit-codes.md.")]
    Purge(Destroyed),
    /// List deleted key vaults
    #[command(
        after_help = "Examples:\n  custody keyvault list-deleted\n\nExit codes: 0 done; the \
        others are in docs/exit-codes.md."
    )]
    ListDeleted,
    Key(key::Options),
}

#[derive(Debug, Args)]
struct Named {
    /// Name of the key vault
    #[arg(short, long)]
    name: String,
    #[command(flatten)]
    group: GroupOption,
}

#[derive(Debug, Args)]
struct Destroyed {
    #[command(flatten)]
    named: Named,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

const COLUMNS: &[Column] = &[
    ("Name", "/name"),
    ("Location", "/location"),
    ("Rbac", "/properties/enableRbacAuthorization"),
    ("PurgeProtection", "/properties/enablePurgeProtection"),
    ("RetentionDays", "/properties/softDeleteRetentionInDays"),
];
const DELETED_COLUMNS: &[Column] = &[
    ("Name", "/name"),
    ("DeletionDate", "/properties/deletionDate"),
    ("ScheduledPurgeDate", "/properties/scheduledPurgeDate"),
    ("VaultId", "/properties/vaultId"),
];

impl Options {
    /// Whether this makes something that may be the first thing of a data folder.
    pub(crate) fn creates(&self) -> bool {
        matches!(self.verb, Verb::Create(_))
    }
}

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    match &options.verb {
        Verb::Create(create) => create::run(create, context),
        Verb::Show(named) => {
            let vault = context.client()?.get(named.id(context)?.as_str())?;
            Ok(Outcome::data(vault).with_columns(COLUMNS))
        }
        Verb::List(within) => {
            let listed = context.resources(within.resource_group.as_deref(), kinds::KEY_VAULT)?;
            Ok(Outcome::data(listed).with_columns(COLUMNS))
        }
        Verb::SetPolicy(policy) => policy::set(policy, context),
        Verb::DeletePolicy(policy) => policy::delete(policy, context),
        Verb::Delete(destroyed) => delete(destroyed, context),
        Verb::Recover(named) => recover(named, context),
        Verb::Purge(destroyed) => purge(destroyed, context),
        Verb::ListDeleted => {
            let deleted = context.client()?.list(&deleted_collection(context)?)?;
            Ok(Outcome::data(deleted).with_columns(DELETED_COLUMNS))
        }
        Verb::Key(options) => key::run(options, context),
    }
}

impl Named {
    fn id(&self, context: &Context<'_>) -> Result<ResourceId, CliError> {
        context.resource_id(&self.group, kinds::KEY_VAULT, &self.name)
    }
}

fn delete(destroyed: &Destroyed, context: &Context<'_>) -> Result<Outcome, CliError> {
    let id = destroyed.named.id(context)?;
    let name = &destroyed.named.name;
    context.client()?.get(id.as_str())?;
    let breaks = drill::what_key_vault_breaks(context, name)?;
    let consequence =
        format!("Deleting the key vault {name} stops what is under its keys.\n{breaks}");
    confirm(context, destroyed.yes, consequence.trim_end(), name)?;
    context.client()?.delete(id.as_str())?;
    context.say(&format!("deleted; to bring it back: custody keyvault recover -n {name}"));
    Ok(Outcome::nothing())
}

fn recover(named: &Named, context: &Context<'_>) -> Result<Outcome, CliError> {
    let deleted = find_deleted(context, &named.name)?;
    let vault_id = deleted.pointer("/properties/vaultId").and_then(Value::as_str);
    let id = match vault_id {
        Some(id) => id.parse()?,
        None => named.id(context)?,
    };
    let location = deleted.pointer("/properties/location").cloned();
    let body = json!({
        "location": location.map_or_else(|| group::location(context, None), Ok)?,
        "properties": {
            "tenantId": context.installation()?.tenant_id,
            "createMode": "recover",
        },
    });
    let vault = context.client()?.put(ResourceId::as_str(&id), &body)?;
    Ok(Outcome::data(vault).with_columns(COLUMNS))
}

fn purge(destroyed: &Destroyed, context: &Context<'_>) -> Result<Outcome, CliError> {
    let name = &destroyed.named.name;
    let deleted = find_deleted(context, name)?;
    let consequence = format!(
        "Purging the key vault {name} destroys its keys for ever: what is encrypted under them can \
         never be read again, by anybody."
    );
    confirm(context, destroyed.yes, &consequence, name)?;
    let place = deleted.get("id").and_then(Value::as_str).unwrap_or_default();
    context.client()?.act(&format!("{place}/purge"), &json!({}))?;
    Ok(Outcome::nothing())
}

fn find_deleted(context: &Context<'_>, name: &str) -> Result<Value, CliError> {
    let deleted = context.client()?.list(&deleted_collection(context)?)?;
    let named = |vault: &Value| {
        vault.get("name").and_then(Value::as_str).is_some_and(|n| n.eq_ignore_ascii_case(name))
    };
    deleted.into_iter().find(named).ok_or_else(|| CliError::NotFound {
        message: format!("there is no deleted key vault {name}"),
        fix: "custody keyvault list-deleted".to_owned(),
    })
}

fn deleted_collection(context: &Context<'_>) -> Result<String, CliError> {
    let subscription = context.addresses()?.subscription();
    Ok(Addresses::collection(&subscription, "Microsoft.KeyVault/deletedVaults"))
}
