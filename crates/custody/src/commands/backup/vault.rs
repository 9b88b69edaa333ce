//! `custody backup vault`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use custody_client::SourcePath;
use custody_names::ResourceId;
use serde_json::{Map, Value, json};

use super::encryption::{self, EncryptionOptions};
use super::key_health;
use crate::answers::id_of;
use crate::arguments::{GroupOption, WithinOption};
use crate::commands::{group, tags};
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::human;
use crate::items;
use crate::output::{Column, Outcome};
use crate::vaults::{self, VaultKind};

/// Vaults, Backup vaults and Recovery Services vaults: where recovery points live
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a vault
    #[command(after_help = "Examples:\n  custody backup vault create -n offsite --store \
        /mnt/offsite --mi-user-assigned backup-identity --encryption-key-id \
        https://my-keys.vault.custody.localhost/keys/backup\n  custody backup vault create -n rsv \
        --kind RecoveryServices\n\nWithout --encryption-key-id the platform's own key encrypts it; \
        with it name an identity that may use the key, since a vault has none of its own before it \
        is there. A Backup vault takes a customer key at any time later, a Recovery Services vault only until \
        something is protected in it.\n\nExit codes: 0 done, 4 not allowed, 7 the key cannot be \
        used by the identity; the others are in docs/exit-codes.md.")]
    Create(Create),
    /// Show a vault
    #[command(
        after_help = "Examples:\n  custody backup vault show -n main\n\nWhat Recovery Services \
        vaults tell of encryption and soft delete stands below properties.securitySettings too, as \
        in Backup vaults.\n\nExit codes: 0 done, 2 vaults of both kinds have the name, 5 no such \
        vault; the others are in docs/exit-codes.md."
    )]
    Show(Named),
    /// List vaults of both kinds
    #[command(
        after_help = "Examples:\n  custody backup vault list -o table\n\nExit codes: 0 done; \
        the others are in docs/exit-codes.md."
    )]
    List(WithinOption),
    /// Delete a vault that holds no items; it can be brought back for a while
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
    /// Name of the vault, whichever kind it is of, or its resource id
    #[arg(short, long, visible_alias = "vault-name")]
    pub(super) name: String,
    #[command(flatten)]
    group: GroupOption,
}

#[derive(Debug, Args)]
struct Create {
    /// Name of the vault
    #[arg(short, long, visible_alias = "vault-name")]
    name: String,
    #[command(flatten)]
    group: GroupOption,
    /// Which kind of vault
    #[arg(long, value_enum, ignore_case = true, default_value = "Backup")]
    kind: VaultKind,
    /// Location [default: the installation's]
    #[arg(short, long)]
    location: Option<String>,
    /// Folder for its repository [default: in the data folder]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    #[command(flatten)]
    encryption: EncryptionOptions,
    /// Whether the vault, and what is deleted in it, can be brought back [default: On]
    #[arg(long, value_name = "STATE")]
    soft_delete_state: Option<SoftDeleteState>,
    /// For how many days, 14 to 180 [default: 14]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(14..=180))]
    retention_duration_in_days: Option<u32>,
    /// Tags, KEY=VALUE …
    #[arg(long, num_args = 0.., value_name = "KEY=VALUE")]
    tags: Option<Vec<String>>,
}

/// Whether a deleted vault can be brought back, in the words of Backup vaults.
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
    fn word(self, kind: VaultKind) -> &'static str {
        match (self, kind) {
            (Self::Off, VaultKind::Backup) => "Off",
            (Self::Off, VaultKind::RecoveryServices) => "Disabled",
            (Self::On, VaultKind::Backup) => "On",
            (Self::On, VaultKind::RecoveryServices) => "Enabled",
            (Self::AlwaysOn, _) => "AlwaysOn",
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
    ("Type", "/type"),
    ("Location", "/location"),
    ("Key", "/properties/securitySettings/encryptionSettings/keyVaultProperties/keyUri"),
    ("Store", "/properties/store/path"),
    ("Status", "/properties/provisioningState"),
];

/// Carries out a verb.
pub(super) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let value = match &options.verb {
        Verb::Create(options) => create(options, context)?,
        Verb::Show(named) => named.resource(context)?,
        Verb::List(within) => {
            let group = within.resource_group.as_deref();
            vaults::resources(context, group)?.into_iter().map(|(_, vault)| vault).collect()
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
        vaults::find(context, &group, &self.name)
    }

    /// The vault's resource, with what differs between the kinds named alike.
    pub(super) fn resource(&self, context: &Context<'_>) -> Result<Value, CliError> {
        let mut vault = context.client()?.get(self.id(context)?.as_str())?;
        vaults::name_alike(&mut vault);
        Ok(vault)
    }

    pub(super) fn group(&self) -> &GroupOption {
        &self.group
    }
}

fn create(options: &Create, context: &Context<'_>) -> Result<Value, CliError> {
    let id = context.resource_id(&options.group, options.kind.resource_type(), &options.name)?;
    let mut properties = Map::new();
    if let Some(soft_delete) = soft_delete(options) {
        properties.insert("securitySettings".to_owned(), soft_delete);
    }
    if let Some(store) = &options.store {
        let path = SourcePath::from(context.absolute(store).as_path()).to_json();
        properties.insert("store".to_owned(), json!({ "path": path }));
    }
    let mut body = Map::new();
    body.insert("location".to_owned(), group::location(context, options.location.as_deref())?);
    match options.kind {
        VaultKind::Backup => {
            let storage = json!([{ "datastoreType": "VaultStore", "type": "LocallyRedundant" }]);
            properties.insert("storageSettings".to_owned(), storage);
        }
        VaultKind::RecoveryServices => {
            body.insert("sku".to_owned(), json!({ "name": "Standard" }));
        }
    }
    body.insert("properties".to_owned(), Value::Object(properties));
    options.encryption.put_into(&mut body, options.kind, context, &options.group)?;
    if let Some(words) = &options.tags {
        body.insert("tags".to_owned(), tags::parse(words)?);
    }
    let mut made = context.client()?.put(id.as_str(), &Value::Object(body))?;
    vaults::name_alike(&mut made);
    Ok(made)
}

/// What of soft delete is said, in the words of the vault's kind.
fn soft_delete(options: &Create) -> Option<Value> {
    let (state, days) = match options.kind {
        VaultKind::Backup => ("state", "retentionDurationInDays"),
        VaultKind::RecoveryServices => ("softDeleteState", "softDeleteRetentionPeriodInDays"),
    };
    let mut settings = Map::new();
    if let Some(wanted) = options.soft_delete_state {
        settings.insert(state.to_owned(), wanted.word(options.kind).into());
    }
    if let Some(wanted) = options.retention_duration_in_days {
        settings.insert(days.to_owned(), wanted.into());
    }
    (!settings.is_empty()).then(|| json!({ "softDeleteSettings": settings }))
}

fn delete(options: &Delete, context: &Context<'_>) -> Result<Outcome, CliError> {
    let vault = options.named.resource(context)?;
    let id = id_of(&vault)?;
    let kind = VaultKind::of(&id).unwrap_or(VaultKind::Backup);
    let items = human::count(items::items_of(context, &id)?.len() as u64, "item");
    let name = id.name().unwrap_or_default();
    let consequence = format!("The {} {name} ({items}) will be deleted.", kind.title());
    confirm(context, options.yes, &consequence, name)?;
    context.client()?.delete(id.as_str())?;
    let state = vault.pointer("/properties/securitySettings/softDeleteSettings/state");
    if state != Some(&json!(SoftDeleteState::Off.word(VaultKind::Backup))) {
        let back = format!("custody backup deleted-vault undelete -n {name}");
        context.say(&format!("deleted; for a while it can be brought back: {back}"));
    }
    Ok(Outcome::nothing())
}
