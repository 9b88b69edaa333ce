//! Vaults of either kind by the names people use, and what is called differently in each.

use custody_client::kinds;
use custody_names::{ResourceGroupName, ResourceId};
use serde_json::{Map, Value, json};

use crate::answers::id_of;
use crate::arguments::VaultOption;
use crate::context::Context;
use crate::error::CliError;
use crate::terminal;

/// Which of Azure's two kinds of vaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum VaultKind {
    /// A Backup vault (az dataprotection backup-vault)
    #[value(name = "Backup")]
    Backup,
    /// A Recovery Services vault (az backup vault)
    #[value(name = "RecoveryServices")]
    RecoveryServices,
}

impl VaultKind {
    /// Both of them.
    pub(crate) const ALL: [Self; 2] = [Self::Backup, Self::RecoveryServices];

    /// The kind that `vault` is of; none if it is no vault.
    pub(crate) fn of(vault: &ResourceId) -> Option<Self> {
        let found = vault.resource_type();
        Self::ALL.into_iter().find(|kind| kind.resource_type().eq_ignore_ascii_case(found.as_str()))
    }

    /// Its resource type.
    pub(crate) fn resource_type(self) -> &'static str {
        match self {
            Self::Backup => kinds::BACKUP_VAULT,
            Self::RecoveryServices => kinds::RECOVERY_SERVICES_VAULT,
        }
    }

    /// The provider that it is of.
    pub(crate) fn namespace(self) -> &'static str {
        self.resource_type().split('/').next().unwrap_or_default()
    }

    /// What people call such a vault.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Backup => "Backup vault",
            Self::RecoveryServices => "Recovery Services vault",
        }
    }
}

/// The vault of this name in a resource group, whichever kind it is of, or of this resource id.
///
/// # Errors
/// Refuses a name that no vault has, and one that vaults of both kinds have: it says how each is
/// named.
pub(crate) fn find(
    context: &Context<'_>,
    group: &ResourceGroupName,
    name: &str,
) -> Result<ResourceId, CliError> {
    let found = look_up(context, group, name)?;
    found.ok_or_else(|| CliError::NotFound {
        message: format!("there is no vault {} in the group {group}", terminal::line(name)),
        fix: "custody backup vault list -o table".to_owned(),
    })
}

fn look_up(
    context: &Context<'_>,
    group: &ResourceGroupName,
    name: &str,
) -> Result<Option<ResourceId>, CliError> {
    if name.starts_with('/') {
        let id: ResourceId = name.parse()?;
        return VaultKind::of(&id).map(|_| Some(id)).ok_or_else(|| {
            CliError::Usage(format!("{} is no vault's resource id", terminal::line(name)))
        });
    }
    let mut found = Vec::new();
    for kind in VaultKind::ALL {
        let id = context.addresses()?.resource(group, kind.resource_type(), name)?;
        if context.client()?.find(id.as_str())?.is_some() {
            found.push(id);
        }
    }
    if let [backup, other] = found.as_slice() {
        return Err(CliError::Usage(format!(
            "a Backup vault and a Recovery Services vault are called {}: name the one you mean by \
             its resource id, {backup} or {other}",
            terminal::line(name)
        )));
    }
    Ok(found.pop())
}

/// The vault in which something comes under protection: that of this name, or of the
/// configuration's, or the installation's. If there is none, a Backup vault is to be made.
pub(crate) fn target(
    context: &Context<'_>,
    group: Option<&str>,
    name: Option<&str>,
) -> Result<ResourceId, CliError> {
    let group = context.group(group)?;
    let name = match name.or(context.config.vault.as_deref()) {
        Some(name) => name,
        None => &context.installation()?.defaults.backup_vault,
    };
    match look_up(context, &group, name)? {
        Some(id) => Ok(id),
        None => Ok(context.addresses()?.resource(&group, kinds::BACKUP_VAULT, name)?),
    }
}

/// The vaults that an option stands for: the named one, or all.
pub(crate) fn all(
    context: &Context<'_>,
    option: &VaultOption,
) -> Result<Vec<ResourceId>, CliError> {
    let group = option.resource_group.as_deref();
    if let Some(name) = option.vault.as_deref().or(context.config.vault.as_deref()) {
        return Ok(vec![find(context, &context.group(group)?, name)?]);
    }
    resources(context, group)?.iter().map(|(_, vault)| id_of(vault)).collect()
}

/// The vaults of a resource group, or all, with what is called differently
/// [named alike](name_alike).
pub(crate) fn resources(
    context: &Context<'_>,
    group: Option<&str>,
) -> Result<Vec<(VaultKind, Value)>, CliError> {
    let mut all = Vec::new();
    for kind in VaultKind::ALL {
        for mut vault in context.resources(group, kind.resource_type())? {
            name_alike(&mut vault);
            all.push((kind, vault));
        }
    }
    Ok(all)
}

/// Shows what Recovery Services vaults tell of their encryption and soft delete under the names of
/// Backup vaults as well, so that one query reads both.
pub(crate) fn name_alike(vault: &mut Value) {
    let Some(properties) = vault.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(encryption) = properties.get("encryption").and_then(Value::as_object) {
        let alike = as_of_backup(encryption);
        let security = properties.entry("securitySettings").or_insert_with(|| json!({}));
        if let Some(security) = security.as_object_mut() {
            security.entry("encryptionSettings").or_insert(alike);
        }
    }
    let kept = properties
        .get_mut("securitySettings")
        .and_then(|security| security.get_mut("softDeleteSettings"))
        .and_then(Value::as_object_mut);
    let Some(kept) = kept else { return };
    if let Some(state) = kept.get("softDeleteState").and_then(Value::as_str) {
        let alike = match state {
            "Enabled" => "On",
            "Disabled" => "Off",
            other => other,
        };
        let alike = alike.to_owned();
        kept.entry("state").or_insert(alike.into());
    }
    if let Some(days) = kept.get("softDeleteRetentionPeriodInDays").cloned() {
        kept.entry("retentionDurationInDays").or_insert(days);
    }
}

fn as_of_backup(encryption: &Map<String, Value>) -> Value {
    let mut alike = encryption.clone();
    alike.insert("state".to_owned(), "Enabled".into());
    let identity = encryption.get("kekIdentity");
    let own = identity.and_then(|identity| identity.get("useSystemAssignedIdentity"));
    let attached = identity.and_then(|identity| identity.get("userAssignedIdentity"));
    let identity = if own == Some(&Value::Bool(true)) {
        json!({ "identityType": "SystemAssigned" })
    } else {
        json!({ "identityType": "UserAssigned", "identityId": attached })
    };
    alike.insert("kekIdentity".to_owned(), identity);
    Value::Object(alike)
}
