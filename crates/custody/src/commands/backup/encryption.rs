//! `custody backup vault encryption`, and the options about keys that `create` shares with it.

use clap::{Args, Subcommand, ValueEnum};
use custody_client::kinds;
use custody_names::{KeyUri, ResourceId};
use serde_json::{Map, Value, json};

use super::vault::Named;
use crate::arguments::GroupOption;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::{Column, Outcome};
use crate::vaults::{self, VaultKind};

/// Which key encrypts a vault
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Set or change the customer key, or the identity that uses it
    #[command(after_help = "Examples:\n  custody backup vault encryption update -n main \
        --encryption-key-id https://my-keys.vault.custody.localhost/keys/backup\n  custody backup \
        vault encryption update -n main --mi-user-assigned other-identity\n  custody backup vault \
        encryption update -n main --encryption-key-id URI --dry-run\n  custody backup vault \
        encryption update -n main --standby-key \
        https://other-keys.vault.custody.localhost/keys/backup\n\nA key URI without a \
        version follows the newest version. A Backup vault changes key and identity one at a time. \
        A Recovery Services vault takes its first customer key only until something was protected in \
        it. A customer key cannot be given up for the platform's again. A standby opens the vault while the first \
        key's key vault gives no answer; a refusal of either stops it, unless --failover Any.\n\nExit codes: 0 done, 4 not allowed, 6 a \
        rule forbids the change, 7 the key cannot be used by the identity; the others are in \
        docs/exit-codes.md.")]
    Update(Update),
    /// Show which key encrypts a vault, and which wrap its data keys
    #[command(after_help = "Examples:\n  custody backup vault encryption show -n main\n\nExit \
        codes: 0 done, 5 no such vault; the others are in docs/exit-codes.md.")]
    Show(Named),
}

#[derive(Debug, Args)]
struct Update {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    encryption: EncryptionOptions,
    /// Change nothing: list every check with its result and the command that mends it
    #[arg(long)]
    dry_run: bool,
}

const CHECK_COLUMNS: &[Column] =
    &[("Check", "/what"), ("Result", "/result"), ("Code", "/code"), ("Fix", "/fix")];

/// The options about keys.
#[derive(Debug, Args)]
pub(super) struct EncryptionOptions {
    /// URI of the customer key; without a version it follows the newest
    #[arg(long, value_name = "URI")]
    encryption_key_id: Option<String>,
    /// Let the vault's own identity use the key
    #[arg(long, conflicts_with = "mi_user_assigned")]
    mi_system_assigned: bool,
    /// Let this identity use the key: its name or resource id
    #[arg(long, value_name = "IDENTITY")]
    mi_user_assigned: Option<String>,
    /// A second key, in another key vault, that wraps the same data keys; `none` gives it up
    #[arg(long, value_name = "URI")]
    standby_key: Option<String>,
    /// Whether a refusal of one of two keys stops the vault, or any key is enough [default: Stop]
    #[arg(long, value_enum, ignore_case = true, value_name = "RULE")]
    failover: Option<FailoverRule>,
    /// A second layer of encryption under another key; only when the customer key is first set
    #[arg(long, value_enum, ignore_case = true, value_name = "STATE")]
    infrastructure_encryption: Option<Switch>,
}

/// What a refusal of one of two keys means.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailoverRule {
    /// It stops the vault.
    #[value(name = "Stop")]
    Stop,
    /// Disabling one key alone does not revoke.
    #[value(name = "Any")]
    Any,
}

/// On or off, in ARM's words.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    /// On.
    #[value(name = "Enabled")]
    Enabled,
    /// Off.
    #[value(name = "Disabled")]
    Disabled,
}

const COLUMNS: &[Column] = &[
    ("State", "/state"),
    ("Key", "/keyVaultProperties/keyUri"),
    ("Identity", "/kekIdentity/identityType"),
    ("InfrastructureEncryption", "/infrastructureEncryption"),
    ("Standby", "/standbyKeyProperties/keyUri"),
];

/// Carries out a verb.
pub(super) fn run(options: &Options, context: &Context<'_>) -> Result<Outcome, CliError> {
    let vault = match &options.verb {
        Verb::Update(update) => {
            let client = context.client()?;
            let id = update.named.id(context)?;
            let kind = VaultKind::of(&id).unwrap_or(VaultKind::Backup);
            let mut body = Map::new();
            if !update.encryption.put_into(&mut body, kind, context, update.named.group())? {
                let text = "say what changes: --encryption-key-id, an identity or --standby-key";
                return Err(CliError::Usage(text.to_owned()));
            }
            let body = Value::Object(body);
            if update.dry_run {
                return Ok(checks(&client.post(&format!("{id}/checkEncryption"), &body)?));
            }
            let mut vault = client.patch(id.as_str(), &body)?;
            vaults::name_alike(&mut vault);
            vault
        }
        Verb::Show(named) => named.resource(context)?,
    };
    Ok(Outcome::data(shown(&vault)).with_columns(COLUMNS))
}

/// The checks of a dry run; one that failed makes the command fail as the change would.
fn checks(report: &Value) -> Outcome {
    let list = report.get("checks").cloned().unwrap_or_default();
    let failed = |check: &Value| check.get("result").is_some_and(|result| result != "Passed");
    let first = list.as_array().and_then(|list| list.iter().position(failed));
    let exit = match first {
        None => ExitCode::Success,
        // The request itself breaks a rule; the other checks are about the key.
        Some(0) => ExitCode::Conflict,
        Some(_) => ExitCode::KeyUnavailable,
    };
    Outcome::data(list).with_columns(CHECK_COLUMNS).ending(exit)
}

/// The encryption settings of a vault with the keyring beside them.
fn shown(vault: &Value) -> Value {
    let settings = vault.pointer("/properties/securitySettings/encryptionSettings").cloned();
    let mut settings = match settings {
        Some(Value::Object(settings)) => settings,
        _ => Map::from_iter([("state".to_owned(), json!("Disabled"))]),
    };
    for name in ["keyring", "encryptionStatus", "encryptionError"] {
        let value = vault.get("properties").and_then(|all| all.get(name));
        if let Some(value) = value.filter(|value| !value.is_null()) {
            settings.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(settings)
}

impl EncryptionOptions {
    /// Puts what the options say into the body of a request about a vault of this kind; false if
    /// they say nothing.
    pub(super) fn put_into(
        &self,
        body: &mut Map<String, Value>,
        kind: VaultKind,
        context: &Context<'_>,
        group: &GroupOption,
    ) -> Result<bool, CliError> {
        let user_identity = self.user_identity(context, group)?;
        let mut settings = self.keys()?;
        if self.mi_system_assigned {
            body.insert("identity".to_owned(), json!({ "type": "SystemAssigned" }));
        } else if let Some(id) = &user_identity {
            let attached = json!({
                "type": "UserAssigned",
                "userAssignedIdentities": { id.as_str(): {} },
            });
            body.insert("identity".to_owned(), attached);
        }
        let speaker = match (kind, self.mi_system_assigned, user_identity) {
            (_, false, None) => None,
            (VaultKind::Backup, true, _) => Some(json!({ "identityType": "SystemAssigned" })),
            (VaultKind::Backup, false, Some(id)) => {
                Some(json!({ "identityType": "UserAssigned", "identityId": id }))
            }
            (VaultKind::RecoveryServices, true, _) => {
                Some(json!({ "useSystemAssignedIdentity": true, "userAssignedIdentity": null }))
            }
            (VaultKind::RecoveryServices, false, Some(id)) => {
                Some(json!({ "useSystemAssignedIdentity": false, "userAssignedIdentity": id }))
            }
        };
        settings.extend(speaker.map(|speaker| ("kekIdentity".to_owned(), speaker)));
        if settings.is_empty() {
            return Ok(false);
        }
        let properties = body.entry("properties").or_insert_with(|| json!({}));
        let (place, name) = match kind {
            VaultKind::Backup => {
                settings.insert("state".to_owned(), json!("Enabled"));
                let security = properties.as_object_mut();
                let security =
                    security.map(|all| all.entry("securitySettings").or_insert_with(|| json!({})));
                (security, "encryptionSettings")
            }
            VaultKind::RecoveryServices => (Some(properties), "encryption"),
        };
        if let Some(place) = place.and_then(Value::as_object_mut) {
            place.insert(name.to_owned(), Value::Object(settings));
        }
        Ok(true)
    }

    /// What the options say of the keys: both kinds of vaults call that the same.
    fn keys(&self) -> Result<Map<String, Value>, CliError> {
        let mut settings = Map::new();
        if let Some(uri) = &self.encryption_key_id {
            let uri: KeyUri = uri.parse()?;
            settings.insert("keyVaultProperties".to_owned(), json!({ "keyUri": uri }));
        }
        if let Some(uri) = &self.standby_key {
            let named = match uri.as_str() {
                "none" => Value::Null,
                uri => json!({ "keyUri": uri.parse::<KeyUri>()? }),
            };
            settings.insert("standbyKeyProperties".to_owned(), named);
        }
        if let Some(rule) = self.failover {
            let rule = rule.to_possible_value().map(|value| value.get_name().to_owned());
            settings.insert("failover".to_owned(), json!(rule));
        }
        if let Some(switch) = self.infrastructure_encryption {
            let state = switch.to_possible_value().map(|value| value.get_name().to_owned());
            settings.insert("infrastructureEncryption".to_owned(), json!(state));
        }
        Ok(settings)
    }

    fn user_identity(
        &self,
        context: &Context<'_>,
        group: &GroupOption,
    ) -> Result<Option<ResourceId>, CliError> {
        let Some(identity) = &self.mi_user_assigned else { return Ok(None) };
        if identity.starts_with('/') {
            return Ok(Some(identity.parse()?));
        }
        Ok(Some(context.resource_id(group, kinds::IDENTITY, identity)?))
    }
}
