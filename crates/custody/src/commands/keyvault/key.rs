//! `custody keyvault key`: keys and their versions.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Subcommand};
use custody_names::{KeyName, KeyUri, KeyVaultName, KeyVersion};
use serde_json::{Map, Value, json};

use crate::commands::{drill, tags};
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::human;
use crate::output::{Column, Outcome};
use crate::set_up::KEY_BITS;

/// Keys and their versions
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a key, or a new version of it
    #[command(
        after_help = "Examples:\n  custody keyvault key create --vault-name my-keys -n backup \
        --size 4096\n\nExit codes: 0 done, 4 not allowed, 6 a key of that name is deleted (recover \
        or purge it); the others are in docs/exit-codes.md."
    )]
    Create(Create),
    /// Show a key's newest or named version
    #[command(
        after_help = "Examples:\n  custody keyvault key show -n backup\n\nExit codes: 0 done, \
        4 not allowed, 5 no such key; the others are in docs/exit-codes.md."
    )]
    Show(Versioned),
    /// List keys
    #[command(after_help = "Examples:\n  custody keyvault key list --vault-name my-keys -o \
        table\n\nExit codes: 0 done, 4 not allowed; the others are in docs/exit-codes.md.")]
    List(VaultNamed),
    /// List a key's versions
    #[command(after_help = "Examples:\n  custody keyvault key list-versions -n backup -o \
        table\n\nExit codes: 0 done, 4 not allowed, 5 no such key; the others are in \
        docs/exit-codes.md.")]
    ListVersions(Named),
    /// Make a new version; vaults that follow the newest are rewrapped under it
    #[command(after_help = "Examples:\n  custody keyvault key rotate -n backup && custody \
        verify\n\nNo data is written anew. After verify, drill revoke says whether the old version \
        can be disabled.\n\nExit codes: 0 done, 4 not allowed, 5 no such key; the others are in \
        docs/exit-codes.md.")]
    Rotate(Named),
    /// Enable or disable a key or a version, or change when it may be used
    #[command(after_help = "Examples:\n  custody keyvault key set-attributes -n backup --enabled \
        false\n  custody keyvault key set-attributes -n backup --version \
        0123456789abcdef0123456789abcdef --enabled false --yes\n  custody keyvault key \
        set-attributes -n backup --expires 2027-12-31T00:00:00Z\n\nDisabling what vaults depend on \
        shows them and asks; --enabled true makes everything work again.\n\nExit codes: 0 done, 4 \
        not allowed, 5 no such key, 10 not confirmed; the others are in docs/exit-codes.md.")]
    SetAttributes(SetAttributes),
    /// Delete a key; it can be recovered until it is purged
    #[command(after_help = "Examples:\n  custody keyvault key delete -n backup\n\nExit codes: 0 \
        done, 4 not allowed, 5 no such key, 10 not confirmed; the others are in \
        docs/exit-codes.md.")]
    Delete(Destroyed),
    /// Bring a deleted key back
    #[command(after_help = "Examples:\n  custody keyvault key recover -n backup\n\nExit codes: 0 \
        done, 4 not allowed, 5 no such deleted key; the others are in docs/exit-codes.md.")]
    Recover(Named),
    /// Destroy a deleted key for ever
    #[command(
        after_help = "Examples:\n  custody keyvault key purge -n backup\n\nWhat is encrypted \
        under it can never be read again.\n\nExit codes: 0 done, 4 or 6 purge protection forbids \
        it, 5 no such deleted key, 10 not confirmed; the others are in docs/exit-codes.md."
    )]
    Purge(Destroyed),
    /// List deleted keys
    #[command(
        after_help = "Examples:\n  custody keyvault key list-deleted\n\nExit codes: 0 done, 4 \
        not allowed; the others are in docs/exit-codes.md."
    )]
    ListDeleted(VaultNamed),
}

#[derive(Debug, Args)]
struct VaultNamed {
    /// Key vault [default: the installation's]
    #[arg(long, value_name = "NAME")]
    vault_name: Option<String>,
}

#[derive(Debug, Args)]
struct Named {
    #[command(flatten)]
    vault: VaultNamed,
    /// Name of the key
    #[arg(short, long, required_unless_present = "id")]
    name: Option<String>,
    /// Instead of the names: the key's URI, https://…/keys/NAME[/VERSION]
    #[arg(long, value_name = "URI", conflicts_with_all = ["name", "vault_name"])]
    id: Option<String>,
}

#[derive(Debug, Args)]
struct Versioned {
    #[command(flatten)]
    named: Named,
    /// Version [default: the newest]
    #[arg(short, long, conflicts_with = "id")]
    version: Option<String>,
}

#[derive(Debug, Args)]
struct Destroyed {
    #[command(flatten)]
    named: Named,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct Validity {
    /// Not to be used from this time on
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Not to be used before this time
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// Operations that the key may be used for
    #[arg(long, num_args = 0.., value_name = "OPERATION")]
    ops: Option<Vec<String>>,
    /// Tags, KEY=VALUE …
    #[arg(long, num_args = 0.., value_name = "KEY=VALUE")]
    tags: Option<Vec<String>>,
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    named: Named,
    /// Kind of key
    #[arg(long, default_value = "RSA")]
    kty: String,
    /// Size in bits: 2048, 3072 or 4096
    #[arg(long, value_name = "BITS", default_value_t = KEY_BITS)]
    size: u32,
    /// Make it disabled
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    disabled: Option<bool>,
    #[command(flatten)]
    validity: Validity,
}

#[derive(Debug, Args)]
struct SetAttributes {
    #[command(flatten)]
    versioned: Versioned,
    /// Whether it may be used
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    enabled: Option<bool>,
    #[command(flatten)]
    validity: Validity,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

const COLUMNS: &[Column] = &[
    ("Kid", "/key/kid"),
    ("Enabled", "/attributes/enabled"),
    ("NotBefore", "/attributes/nbf"),
    ("Expires", "/attributes/exp"),
];
const LIST_COLUMNS: &[Column] = &[
    ("Kid", "/kid"),
    ("Enabled", "/attributes/enabled"),
    ("NotBefore", "/attributes/nbf"),
    ("Expires", "/attributes/exp"),
];

/// A key as the command line names it.
struct Key {
    vault: KeyVaultName,
    name: KeyName,
    version: Option<KeyVersion>,
}

/// Carries out a verb.
pub(crate) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let keys = |vault: &KeyVaultName| Ok::<_, CliError>(context.client()?.key_vault(vault));
    let (value, columns) = match &options.verb {
        Verb::Create(create) => {
            let key = create.named.key(context)?;
            (keys(&key.vault)?.create(&key.name, &creation(create, context)?)?, COLUMNS)
        }
        Verb::Show(versioned) => {
            let key = versioned.key(context)?;
            (keys(&key.vault)?.show(&key.name, key.version.as_ref())?, COLUMNS)
        }
        Verb::List(vault) => (keys(&vault.name(context)?)?.list()?.into(), LIST_COLUMNS),
        Verb::ListVersions(named) => {
            let key = named.key(context)?;
            (keys(&key.vault)?.versions(&key.name)?.into(), LIST_COLUMNS)
        }
        Verb::Rotate(named) => {
            let key = named.key(context)?;
            (keys(&key.vault)?.rotate(&key.name)?, COLUMNS)
        }
        Verb::SetAttributes(set) => (set_attributes(set, context)?, COLUMNS),
        Verb::Delete(destroyed) => (delete(destroyed, context)?, COLUMNS),
        Verb::Recover(named) => {
            let key = named.key(context)?;
            (keys(&key.vault)?.recover(&key.name)?, COLUMNS)
        }
        Verb::Purge(destroyed) => return purge(destroyed, context),
        Verb::ListDeleted(vault) => {
            (keys(&vault.name(context)?)?.list_deleted()?.into(), LIST_COLUMNS)
        }
    };
    Ok(Outcome::data(value).with_columns(columns))
}

fn creation(create: &Create, context: &Context<'_>) -> Result<Value, CliError> {
    let mut body = json!({ "kty": create.kty, "key_size": create.size });
    let enabled = create.disabled.map(|disabled| !disabled);
    add(&mut body, enabled, &create.validity, context)?;
    Ok(body)
}

fn set_attributes(set: &SetAttributes, context: &Context<'_>) -> Result<Value, CliError> {
    let key = set.versioned.key(context)?;
    if set.enabled == Some(false) {
        let breaks = drill::what_breaks(context, &key.vault, &key.name, key.version.as_ref())?;
        if let Some(breaks) = breaks {
            let consequence = format!("Disabling it stops what depends on it:\n{breaks}");
            confirm(context, set.yes, consequence.trim_end(), key.name.as_str())?;
        }
    }
    let mut body = json!({});
    add(&mut body, set.enabled, &set.validity, context)?;
    let keys = context.client()?.key_vault(&key.vault);
    Ok(keys.update(&key.name, key.version.as_ref(), &body)?)
}

fn delete(destroyed: &Destroyed, context: &Context<'_>) -> Result<Value, CliError> {
    let key = destroyed.named.key(context)?;
    let keys = context.client()?.key_vault(&key.vault);
    keys.show(&key.name, None)?;
    let breaks = drill::what_breaks(context, &key.vault, &key.name, None)?.unwrap_or_default();
    let consequence = format!("Deleting the key {} stops what depends on it.\n{breaks}", key.name);
    confirm(context, destroyed.yes, consequence.trim_end(), key.name.as_str())?;
    let deleted = keys.delete(&key.name)?;
    context.say(&format!(
        "deleted; to bring it back: custody keyvault key recover --vault-name {} -n {}",
        key.vault, key.name
    ));
    Ok(deleted)
}

fn purge(destroyed: &Destroyed, context: &Context<'_>) -> Result<Outcome, CliError> {
    let key = destroyed.named.key(context)?;
    let breaks = drill::what_breaks(context, &key.vault, &key.name, None)?.unwrap_or_default();
    let consequence = format!(
        "Purging the key {} destroys it for ever: what is encrypted under it can never be read \
         again, by anybody.\n{breaks}",
        key.name
    );
    confirm(context, destroyed.yes, consequence.trim_end(), key.name.as_str())?;
    context.client()?.key_vault(&key.vault).purge(&key.name)?;
    Ok(Outcome::nothing())
}

/// Adds what the options say to the body of a request.
fn add(
    body: &mut Value,
    enabled: Option<bool>,
    validity: &Validity,
    context: &Context<'_>,
) -> Result<(), CliError> {
    let mut attributes = Map::new();
    if let Some(enabled) = enabled {
        attributes.insert("enabled".to_owned(), enabled.into());
    }
    for (name, text) in [("exp", &validity.expires), ("nbf", &validity.not_before)] {
        if let Some(text) = text {
            let time = human::parse_time(text, &context.world.time_zone).ok_or_else(|| {
                CliError::Usage(format!("{text:?} is no time; write 2027-12-31T00:00:00Z"))
            })?;
            attributes.insert(name.to_owned(), time.as_second().into());
        }
    }
    let Value::Object(fields) = body else { return Ok(()) };
    if !attributes.is_empty() {
        fields.insert("attributes".to_owned(), Value::Object(attributes));
    }
    if let Some(ops) = &validity.ops {
        fields.insert("key_ops".to_owned(), json!(ops));
    }
    if let Some(words) = &validity.tags {
        fields.insert("tags".to_owned(), tags::parse(words)?);
    }
    Ok(())
}

impl VaultNamed {
    fn name(&self, context: &Context<'_>) -> Result<KeyVaultName, CliError> {
        match &self.vault_name {
            Some(name) => Ok(name.parse()?),
            None => Ok(context.installation()?.defaults.key_vault.parse()?),
        }
    }
}

impl Named {
    fn key(&self, context: &Context<'_>) -> Result<Key, CliError> {
        if let Some(id) = &self.id {
            let KeyUri { vault, key, version } = id.parse()?;
            return Ok(Key { vault, name: key, version });
        }
        let name = self.name.as_deref().unwrap_or_default().parse()?;
        Ok(Key { vault: self.vault.name(context)?, name, version: None })
    }
}

impl Versioned {
    fn key(&self, context: &Context<'_>) -> Result<Key, CliError> {
        let mut key = self.named.key(context)?;
        if let Some(version) = &self.version {
            key.version = Some(version.parse()?);
        }
        Ok(key)
    }
}
