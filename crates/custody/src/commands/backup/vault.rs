//! `custody backup vault`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use custody_client::{Addresses, SourcePath, kinds};
use custody_names::ResourceId;
use serde_json::{Map, Value, json};

use super::encryption::{self, EncryptionOptions};
use super::key_health;
use crate::arguments::GroupOption;
use crate::commands::{group, tags};
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::human;
use crate::items;
use crate::output::{Column, Outcome};

/// Backup vaults: where recovery points live
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a Backup vault
    #[command(after_help = "Examples:\n  custody backup vault create -n offsite --store \
        /mnt/offsite --mi-user-assigned backup-identity --encryption-key-id \
        https://my-keys.vault.custody.localhost/keys/backup\n\nWithout --encryption-key-id the \
        platform's own key encrypts it; a customer key can be set later.\n\nExit codes: 0 done, 4 \
        not allowed, 7 the key cannot be used by the identity; the others are in \
        docs/exit-codes.md.")]
    Create(Create),
    /// Show a Backup vault
    #[command(
        after_help = "Examples:\n  custody backup vault show -n main\n\nExit codes: 0 done, 5 \
        no such vault; the others are in docs/exit-codes.md."
    )]
    Show(Named),
    /// List Backup vaults
    #[command(
        after_help = "Examples:\n  custody backup vault list -o table\n\nExit codes: 0 done; \
        the others are in docs/exit-codes.md."
    )]
    List(GroupOption),
    /// Delete a Backup vault that holds no items; it can be brought back for a while
    #[command(
        after_help = "Examples:\n  custody backup vault delete -n test\n\nIt is kept for as many \
        days as its soft delete says, 14 unless told otherwise: custody backup deleted-vault \
        list.\n\nExit codes: 0 done, 5 no such vault, 6 it holds items, 10 not confirmed; the \
        others are in docs/exit-codes.md."
    )]
    Delete(Delete),
    Encryption(encryption::Options),
    /// Show how the keys of a vault stand: age, expiry, rotation, what wraps what, and its probes
    #[command(
        after_help = "Examples:\n  custody backup vault key-health -n main\n  custody backup vault \
        key-health -n main --probe -o json\n\nA running server probes each vault under a customer \
        key once an hour.\n\nExit codes: 0 done, 3 something needs attention, 5 no such vault, 7 the \
        key cannot be used; the others are in docs/exit-codes.md."
    )]
    KeyHealth(key_health::Options),
}

#[derive(Clone, Debug, Args)]
pub(super) struct Named {
    /// Name of the Backup vault
    #[arg(short, long, visible_alias = "vault-name")]
    pub(super) name: String,
    #[command(flatten)]
    group: GroupOption,
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    named: Named,
    /// Location [default: the installation's]
    #[arg(short, long)]
    location: Option<String>,
    /// Folder for its repository [default: in the data folder]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    #[command(flatten)]
    encryption: EncryptionOptions,
    /// Whether a deleted vault can be brought back [default: On]
    #[arg(long, value_name = "STATE")]
    soft_delete_state: Option<SoftDeleteState>,
    /// For how many days, 14 to 180 [default: 14]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(14..=180))]
    retention_duration_in_days: Option<u32>,
    /// Tags, KEY=VALUE …
    #[arg(long, num_args = 0.., value_name = "KEY=VALUE")]
    tags: Option<Vec<String>>,
}

/// Whether a deleted vault can be brought back, in Azure's words.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
enum SoftDeleteState {
    /// It is gone at once
    Off,
    /// It can
    On,
    /// It can, which is never changed again
    AlwaysOn,
}

impl SoftDeleteState {
    fn word(self) -> &'static str {
        match self {
            Self::Off => "Off",
            Self::On => "On",
            Self::AlwaysOn => "AlwaysOn",
        }
    }
}

#[derive(Debug, Args)]
struct Delete {
    #[command(flatten)]
    named: Named,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

const COLUMNS: &[Column] = &[
    ("Name", "/name"),
    ("Location", "/location"),
    ("Key", "/properties/securitySettings/encryptionSettings/keyVaultProperties/keyUri"),
    ("Store", "/properties/store/path"),
    ("Status", "/properties/provisioningState"),
];

/// Carries out a verb.
pub(super) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let value = match &options.verb {
        Verb::Create(options) => create(options, context)?,
        Verb::Show(named) => context.client()?.get(named.id(context)?.as_str())?,
        Verb::List(group) => {
            let scope = match &group.resource_group {
                Some(group) => context.addresses()?.group(&group.parse()?),
                None => context.addresses()?.subscription(),
            };
            context.client()?.list(&Addresses::collection(&scope, kinds::BACKUP_VAULT))?.into()
        }
        Verb::Delete(options) => return delete(options, context),
        Verb::Encryption(options) => return encryption::run(options, context),
        Verb::KeyHealth(options) => return key_health::run(options, context),
    };
    Ok(Outcome::data(value).with_columns(COLUMNS))
}

impl Named {
    pub(super) fn id(&self, context: &Context<'_>) -> Result<ResourceId, CliError> {
        let group = context.group(self.group.resource_group.as_deref())?;
        Ok(context.addresses()?.resource(&group, kinds::BACKUP_VAULT, &self.name)?)
    }

    pub(super) fn group(&self) -> &GroupOption {
        &self.group
    }
}

fn create(options: &Create, context: &Context<'_>) -> Result<Value, CliError> {
    let mut properties = Map::new();
    properties.insert(
        "storageSettings".to_owned(),
        json!([{ "datastoreType": "VaultStore", "type": "LocallyRedundant" }]),
    );
    let mut security = Map::new();
    let settings = options.encryption.settings(context, options.named.group())?;
    security.extend(settings.map(|settings| ("encryptionSettings".to_owned(), json!(settings))));
    security.extend(soft_delete(options).map(|one| ("softDeleteSettings".to_owned(), one)));
    if !security.is_empty() {
        properties.insert("securitySettings".to_owned(), Value::Object(security));
    }
    if let Some(store) = &options.store {
        let path = SourcePath::from(context.absolute(store).as_path()).to_json();
        properties.insert("store".to_owned(), json!({ "path": path }));
    }
    let mut body = json!({
        "location": group::location(context, options.location.as_deref())?,
        "properties": properties,
    });
    if let Value::Object(fields) = &mut body {
        if let Some(identity) = options.encryption.identity(context, options.named.group())? {
            fields.insert("identity".to_owned(), identity);
        }
        if let Some(words) = &options.tags {
            fields.insert("tags".to_owned(), tags::parse(words)?);
        }
    }
    Ok(context.client()?.put(options.named.id(context)?.as_str(), &body)?)
}

/// What of soft delete is said.
fn soft_delete(options: &Create) -> Option<Value> {
    let mut settings = Map::new();
    if let Some(state) = options.soft_delete_state {
        settings.insert("state".to_owned(), state.word().into());
    }
    if let Some(days) = options.retention_duration_in_days {
        settings.insert("retentionDurationInDays".to_owned(), days.into());
    }
    (!settings.is_empty()).then_some(Value::Object(settings))
}

fn delete(options: &Delete, context: &Context<'_>) -> Result<Outcome, CliError> {
    let id = options.named.id(context)?;
    let vault = context.client()?.get(id.as_str())?;
    let items = human::count(items::items_of(context, &id)?.len() as u64, "item");
    let name = id.name().unwrap_or_default();
    let consequence = format!("The Backup vault {name} ({items}) will be deleted.");
    confirm(context, options.yes, &consequence, name)?;
    context.client()?.delete(id.as_str())?;
    let state = vault.pointer("/properties/securitySettings/softDeleteSettings/state");
    if state != Some(&json!(SoftDeleteState::Off.word())) {
        let back = format!("custody backup deleted-vault undelete -n {name}");
        context.say(&format!("deleted; for a while it can be brought back: {back}"));
    }
    Ok(Outcome::nothing())
}
