//! The documents' rules on a Backup vault's encryption settings, one function a rule
//! (`docs/rules.md`; numbers as in the rule list).

use custody_names::KeyUri;
use custody_resources::{Identity, ProvisioningState, Refusal, Stop, Stored};

use crate::encryption::{
    EncryptionSettings, EncryptionState, IdentityType, InfrastructureEncryption, KekIdentity,
};
use crate::vault::{BackupVault, VaultSpec, VaultStatus};

/// The settings a request asks for: its own, or what is stored where it names none (an absent
/// `encryption` in a PUT keeps what is stored). `None` is the platform-managed key: CMK is
/// opt-in (rule 1).
pub fn wanted_encryption(
    asked: Option<EncryptionSettings>,
    stored: Option<&EncryptionSettings>,
    applied: Option<&EncryptionSettings>,
) -> Result<Option<EncryptionSettings>, Refusal> {
    let Some(mut asked) = asked else {
        return Ok(stored.or(applied).cloned());
    };
    customer_key_is_for_good(&asked, applied)?;
    if asked.state == EncryptionState::Disabled {
        return Ok(None);
    }
    asked.state = EncryptionState::Enabled;
    if asked.key().is_none() || asked.kek_identity.is_none() {
        let text = "enabled encryption settings need keyVaultProperties.keyUri and kekIdentity";
        return Err(Refusal::new(400, "InvalidRestApiParameter", text));
    }
    Ok(Some(asked))
}

/// Rule 51: once a customer key protects the vault it can never return to a platform key.
pub fn customer_key_is_for_good(
    asked: &EncryptionSettings,
    applied: Option<&EncryptionSettings>,
) -> Result<(), Refusal> {
    let leaves = asked.state == EncryptionState::Disabled || asked.key_vault_properties.is_none();
    match applied {
        Some(_) if leaves => Err(Refusal::new(
            400,
            "UserErrorCMKCannotBeDisabled",
            "a vault under a customer-managed key cannot return to a platform-managed key (rule 51)",
        )
        .with_fix("name another key to change to: custody backup vault encryption update")),
        _ => Ok(()),
    }
}

/// Rules 52 and 53: key and identity may be changed at any time, before or after items are
/// protected; these are all checks that need no key vault. What the key vault itself must say is proven by the
/// operation that follows (rule 5).
pub fn check_change(
    wanted: Option<&EncryptionSettings>,
    status: &VaultStatus,
    identity: Option<&Identity>,
    creating: bool,
) -> Result<(), Refusal> {
    let Some(wanted) = wanted else { return Ok(()) };
    let applied = status.applied.as_ref();
    if let Some(kek_identity) = &wanted.kek_identity {
        user_assigned_at_creation(kek_identity, creating)?;
        identity_is_attached(kek_identity, identity)?;
    }
    if let Some(applied) = applied {
        one_attribute_at_a_time(wanted, applied)?;
    }
    infrastructure_layer_is_fixed(wanted, applied, creating)
}

/// Rule 32: only a user-assigned identity at creation, since the vault's own has no grants yet.
pub fn user_assigned_at_creation(identity: &KekIdentity, creating: bool) -> Result<(), Refusal> {
    match identity.identity_type {
        IdentityType::SystemAssigned if creating => Err(Refusal::new(
            400,
            "UserErrorCMKSystemAssignedIdentityAtCreation",
            "a new vault's system-assigned identity has no access to the key yet (rule 32)",
        )
        .with_fix("create the vault with a user-assigned identity, or enable the key afterwards")),
        _ => Ok(()),
    }
}

/// Rule 34: the identity named must be attached to the vault.
pub fn identity_is_attached(
    named: &KekIdentity,
    attached: Option<&Identity>,
) -> Result<(), Refusal> {
    let stands = match (&named.identity_type, &named.identity_id) {
        (IdentityType::SystemAssigned, None) => {
            attached.is_some_and(|identity| identity.system_assigned.is_some())
        }
        (IdentityType::UserAssigned, Some(id)) => {
            attached.is_some_and(|identity| identity.user_assigned(id).is_some())
        }
        (IdentityType::SystemAssigned, Some(_)) | (IdentityType::UserAssigned, None) => {
            let text = "cmkIdentity parameter is invalid: identityId belongs to UserAssigned alone";
            return Err(Refusal::new(400, "InvalidRestApiParameter", text));
        }
    };
    if stands {
        return Ok(());
    }
    Err(Refusal::new(
        400,
        "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault",
        "the identity named in kekIdentity is not attached to the vault (rule 34)",
    )
    .with_fix("attach it in the same request: identity.userAssignedIdentities"))
}

/// Rule 36: one request must not change both key and identity, judged against what is stored.
pub fn one_attribute_at_a_time(
    wanted: &EncryptionSettings,
    applied: &EncryptionSettings,
) -> Result<(), Refusal> {
    if wanted.key() != applied.key() && wanted.kek_identity != applied.kek_identity {
        return Err(Refusal::new(
            400,
            "UserErrorCMKKeyUriAndIdentityUpdateNotAllowedTogether",
            "key and identity may not be changed in one request (rule 36)",
        )
        .with_fix("change the identity first, then the key"));
    }
    Ok(())
}

/// Rules 11, 74 and 75: the second layer comes with the request that creates the vault under a
/// customer key, and never changes afterwards.
pub fn infrastructure_layer_is_fixed(
    wanted: &EncryptionSettings,
    applied: Option<&EncryptionSettings>,
    creating: bool,
) -> Result<(), Refusal> {
    let now = applied.map(|applied| applied.infrastructure_encryption).unwrap_or_default();
    if creating || wanted.infrastructure_encryption == now {
        return Ok(());
    }
    let text = match now {
        InfrastructureEncryption::Disabled => {
            "infrastructure encryption can only be enabled by the request that creates the vault \
             with a customer key (rule 74)"
        }
        InfrastructureEncryption::Enabled => {
            "infrastructure encryption cannot be taken away again (rule 75)"
        }
    };
    Err(Refusal::new(400, "UserErrorCMKInfrastructureEncryptionCannotBeModified", text))
}

/// Rules 85 and 86: a URI with a version is pinned to it, one without follows the newest.
pub fn follows_newest_version(key: &KeyUri) -> bool {
    key.version.is_none()
}

/// Where the repository lies is fixed when the vault is created.
pub fn store_place_is_fixed(
    stored: Option<&VaultSpec>,
    spec: &mut VaultSpec,
) -> Result<(), Refusal> {
    let Some(stored) = stored else { return Ok(()) };
    if spec.store.is_none() {
        spec.store.clone_from(&stored.store);
    }
    if spec.store == stored.store {
        return Ok(());
    }
    Err(Refusal::new(400, "StoreCannotBeMoved", "where a vault's data lies is fixed at creation")
        .with_fix("create another vault with the new store"))
}

/// A vault that never got its key protects nothing: better refused than on the platform key.
pub fn vault_is_usable(vault: &Stored<BackupVault>) -> Result<(), Stop> {
    let record = &vault.record;
    match record.state {
        ProvisioningState::Succeeded | ProvisioningState::Updating
            if vault.status.keyring.is_some() =>
        {
            Ok(())
        }
        ProvisioningState::Failed if vault.status.keyring.is_some() => Ok(()),
        _ => {
            let why = vault.status.error.as_ref().map(|error| format!(": {}", error.message));
            let text = format!("the vault {} is not ready{}", record.id, why.unwrap_or_default());
            Err(Refusal::new(409, "VaultNotReady", text)
                .with_fix("mend the cause and repeat the request that created the vault")
                .into())
        }
    }
}
