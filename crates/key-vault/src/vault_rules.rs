//! What a key vault may become.

use custody_names::{KeyVaultName, ResourceId};
use custody_resources::{Record, Refusal, Request};

use crate::deleted_vault_kind;
use crate::vault_kind::KeyVaultSpec;
use crate::vault_network::{self, NetworkAcls, PublicNetworkAccess};
use crate::vault_policies::check_count;
use crate::{SOFT_DELETE_DAYS_MAX, SOFT_DELETE_DAYS_MIN};

/// How long what is deleted can be recovered unless said otherwise, in days.
pub(crate) const SOFT_DELETE_DAYS_DEFAULT: u32 = SOFT_DELETE_DAYS_MAX;
/// From this api-version on a new key vault decides by roles unless said otherwise (DESIGN §4).
const RBAC_BY_DEFAULT_FROM: &str = "2026-02-01";
/// From this api-version on no key vault is created without soft delete.
const SOFT_DELETE_ALWAYS_FROM: &str = "2026-02-01";

/// The key vault's name.
pub(crate) fn name(id: &ResourceId) -> Result<KeyVaultName, Refusal> {
    key_vault_name(id.name().unwrap_or_default())
}

/// Reads the name of a key vault or managed HSM; the refusal says what makes one.
pub fn key_vault_name(name: &str) -> Result<KeyVaultName, Refusal> {
    name.parse().map_err(|_| {
        let text = format!(
            "The vault name '{name}' is invalid. A vault's name must be between 3-24 alphanumeric \
             characters. The name must begin with a letter, end with a letter or digit, and not \
             contain consecutive hyphens."
        );
        Refusal::new(400, "VaultNameNotValid", text)
    })
}

/// What is asked, with what was left out filled in: from what is stored, else with the defaults.
pub(crate) fn settle(
    asked: KeyVaultSpec,
    stored: Option<&KeyVaultSpec>,
    request: &Request<'_>,
) -> Result<KeyVaultSpec, Refusal> {
    if asked.tenant_id.is_some_and(|tenant| tenant != request.caller.tenant) {
        return Err(bad("properties.tenantId must be the tenant of the subscription"));
    }
    if asked.sku.family != "A" {
        return Err(bad("properties.sku.family must be A"));
    }
    let policies = asked
        .access_policies
        .or_else(|| stored.and_then(|stored| stored.access_policies.clone()))
        .unwrap_or_default();
    check_count(&policies)?;
    let rbac = asked
        .enable_rbac_authorization
        .or_else(|| stored.and_then(|stored| stored.enable_rbac_authorization))
        .unwrap_or_else(|| request.api_version.as_str() >= RBAC_BY_DEFAULT_FROM);
    let soft_delete = soft_delete(asked.enable_soft_delete, stored, request)?;
    let fixed = stored.map(KeyVaultSpec::soft_delete_days);
    let days = retention(asked.soft_delete_retention_in_days, fixed)?;
    let protected = stored.is_some_and(KeyVaultSpec::purge_protection);
    let protection = purge_protection(asked.enable_purge_protection, protected, soft_delete)?;
    Ok(KeyVaultSpec {
        tenant_id: Some(request.caller.tenant),
        access_policies: Some(policies),
        enable_rbac_authorization: Some(rbac),
        enable_soft_delete: Some(soft_delete),
        soft_delete_retention_in_days: Some(days),
        enable_purge_protection: protection.then_some(true),
        enabled_for_deployment: asked.enabled_for_deployment,
        enabled_for_disk_encryption: asked.enabled_for_disk_encryption,
        enabled_for_template_deployment: asked.enabled_for_template_deployment,
        public_network_access: asked
            .public_network_access
            .or_else(|| stored.and_then(|stored| stored.public_network_access))
            .or_else(|| Some(PublicNetworkAccess::default())),
        network_acls: network_acls(
            asked.network_acls,
            stored.and_then(|stored| stored.network_acls.as_ref()),
        )?,
        create_mode: None,
        sku: asked.sku,
    })
}

/// What is left out stays as it is: no update opens a key vault by being silent about it.
pub(crate) fn network_acls(
    asked: Option<NetworkAcls>,
    stored: Option<&NetworkAcls>,
) -> Result<Option<NetworkAcls>, Refusal> {
    match asked {
        Some(asked) => vault_network::settle(asked).map(Some),
        None => Ok(stored.cloned()),
    }
}

/// On by default, and never off again; new key vaults cannot be without it from a certain
/// api-version on.
fn soft_delete(
    asked: Option<bool>,
    stored: Option<&KeyVaultSpec>,
    request: &Request<'_>,
) -> Result<bool, Refusal> {
    let always = request.api_version.as_str() >= SOFT_DELETE_ALWAYS_FROM;
    match (asked, stored.map(KeyVaultSpec::soft_delete)) {
        (Some(false), None) if always => Err(bad(
            "The property \"enableSoftDelete\" cannot be set to false for creating new vault. \
             Soft delete is always enabled.",
        )
        .with_fix("leave enableSoftDelete out")),
        (Some(false), Some(true)) => Err(bad(
            "The property \"enableSoftDelete\" can be set to false only for creating new vault. \
             Enabling the 'soft delete' functionality is an irreversible action.",
        )),
        (Some(asked), _) => Ok(asked),
        (None, stored) => Ok(stored.unwrap_or(true)),
    }
}

/// Between the bounds, and fixed when the key vault is created.
pub(crate) fn retention(asked: Option<u32>, fixed: Option<u32>) -> Result<u32, Refusal> {
    match (asked, fixed) {
        (Some(days), _) if !(SOFT_DELETE_DAYS_MIN..=SOFT_DELETE_DAYS_MAX).contains(&days) => {
            Err(bad(format!(
                "The property \"softDeleteRetentionInDays\" must be from {SOFT_DELETE_DAYS_MIN} to \
                 {SOFT_DELETE_DAYS_MAX}."
            )))
        }
        (Some(days), Some(fixed)) if days != fixed => Err(bad(
            "The property \"softDeleteRetentionInDays\" has been set already and it can't be \
             modified.",
        )),
        (asked, fixed) => Ok(asked.or(fixed).unwrap_or(SOFT_DELETE_DAYS_DEFAULT)),
    }
}

/// Off by default, cannot be asked to be off, and never off again (rules 125, 145).
pub(crate) fn purge_protection(
    asked: Option<bool>,
    stored: bool,
    soft_delete: bool,
) -> Result<bool, Refusal> {
    if asked == Some(false) {
        return Err(bad(
            "The property \"enablePurgeProtection\" cannot be set to false. Enabling the purge \
             protection for a vault is an irreversible action.",
        )
        .with_fix("leave enablePurgeProtection out"));
    }
    let on = asked == Some(true) || stored;
    if on && !soft_delete {
        return Err(bad(
            "The property \"enablePurgeProtection\" needs \"enableSoftDelete\" to be true.",
        ));
    }
    Ok(on)
}

/// The error for a name that another key vault holds, deleted or not.
pub(crate) fn name_taken(name: &KeyVaultName, holder: &Record) -> Refusal {
    if deleted_vault_kind::is_deleted(holder) {
        let text = "A vault with the same name already exists in deleted state. You need to either \
                    recover or purge existing key vault.";
        return Refusal::new(409, "ConflictError", text).with_fix(format!(
            "custody keyvault recover --name {name}, or: custody keyvault purge --name {name}"
        ));
    }
    let text = format!(
        "The vault name '{name}' is already in use. Vault names are globally unique so it is \
         possible that the name is already taken."
    );
    Refusal::new(409, "VaultAlreadyExists", text).with_fix("choose another name")
}

/// The error for a recovery of what was never deleted, or is purged.
pub(crate) fn nothing_deleted(name: &KeyVaultName) -> Refusal {
    let text = format!("The specified deleted vault '{name}' does not exist.");
    Refusal::new(404, "DeletedVaultNotFound", text).with_fix("custody keyvault list-deleted")
}

pub(crate) fn bad(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "BadRequest", text)
}
