//! The documents' rules on a vault's encryption settings, one function a rule (`docs/rules.md`;
//! numbers as in the rule list). Where the two kinds of vault differ, the function says so.

use custody_names::{KeyUri, KeyVersionUri};
use custody_resources::{Identity, ProvisioningState, Record, Refusal};

use crate::change::{Asked, EncryptionChange};
use crate::encryption::{
    EncryptionSettings, EncryptionState, Failover, IdentityType, InfrastructureEncryption,
    KekIdentity,
};
use crate::status::VaultStatus;
use crate::vault::Store;

/// The settings a request asks for: its own, or what is stored where it names none (an absent
/// `encryption` in a PUT keeps what is stored). `None` is the platform-managed key: CMK is
/// opt-in (rule 1), and what is not named of the second layer stays as it is (rule 75).
pub(crate) fn wanted_encryption(
    asked: &Asked<EncryptionSettings>,
    stored: Option<&EncryptionSettings>,
    applied: Option<&EncryptionSettings>,
) -> Result<Option<EncryptionSettings>, Refusal> {
    let (asked, named) = match asked {
        Asked::Nothing => return Ok(stored.or(applied).cloned()),
        Asked::Removal => {
            return match applied {
                Some(_) => Err(cannot_return()),
                None => Ok(None),
            };
        }
        Asked::Settings(settings, named) => (settings, *named),
    };
    customer_key_is_for_good(asked, applied)?;
    if asked.state == EncryptionState::Disabled {
        return Ok(None);
    }
    let mut wanted = EncryptionSettings { state: EncryptionState::Enabled, ..asked.clone() };
    if wanted.key().is_none() || wanted.kek_identity.is_none() {
        let text = "enabled encryption settings need keyVaultProperties.keyUri and kekIdentity";
        return Err(Refusal::new(400, "InvalidRestApiParameter", text));
    }
    if let Some(applied) = applied {
        if !named.layer {
            wanted.infrastructure_encryption = applied.infrastructure_encryption;
        }
        if !named.standby {
            wanted.standby_key_properties.clone_from(&applied.standby_key_properties);
        }
        if !named.failover {
            wanted.failover = applied.failover;
        }
    }
    if wanted.standby().is_none() && !named.failover {
        wanted.failover = Failover::default();
    }
    standby_lies_elsewhere(&wanted)?;
    Ok(Some(wanted))
}

/// Why a vault is behind: what it is to catch up with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behind {
    /// Its last change is in force, but what follows it is not done (rule 70).
    Unfinished,
    /// This newer version of one of its keys.
    Version(KeyVersionUri),
}

/// Rules 70, 86 and 87: whether a vault is to be rewrapped. `newest` are the newest versions of the
/// keys that it [follows](follows_newest_version), as far as they may be used now.
pub fn behind(
    status: &VaultStatus,
    newest: impl IntoIterator<Item = KeyVersionUri>,
) -> Option<Behind> {
    if status.is_inconsistent {
        return Some(Behind::Unfinished);
    }
    let is_new = |version: &KeyVersionUri| status.wraps().all(|wrap| wrap != version);
    newest.into_iter().find(is_new).map(Behind::Version)
}

/// DESIGN §5: a standby is for the outage of a key vault, so it lies in another one.
pub fn standby_lies_elsewhere(wanted: &EncryptionSettings) -> Result<(), Refusal> {
    let Some(standby) = wanted.standby() else {
        if wanted.failover == Failover::default() {
            return Ok(());
        }
        let text = "failover says what a refusal of one of two keys means: name a standby key too";
        return Err(Refusal::new(400, "InvalidRestApiParameter", text));
    };
    if wanted.key().is_none_or(|key| key.vault != standby.key_uri.vault) {
        return Ok(());
    }
    let text = format!(
        "the standby key lies in the key vault of the first one, {}: it would be lost with it",
        standby.key_uri.vault
    );
    Err(Refusal::new(400, "UserErrorCMKStandbyKeyInSameKeyVault", text)
        .with_fix("az keyvault create --name ANOTHER --enable-purge-protection true"))
}

/// Rule 51: once a customer key protects the vault it can never return to a platform key.
pub fn customer_key_is_for_good(
    asked: &EncryptionSettings,
    applied: Option<&EncryptionSettings>,
) -> Result<(), Refusal> {
    let leaves = asked.state == EncryptionState::Disabled || asked.key_vault_properties.is_none();
    match applied {
        Some(_) if leaves => Err(cannot_return()),
        _ => Ok(()),
    }
}

fn cannot_return() -> Refusal {
    Refusal::new(
        400,
        "UserErrorCMKCannotBeDisabled",
        "a vault under a customer-managed key cannot return to a platform-managed key (rule 51)",
    )
    .with_fix("name another key to change to: custody backup vault encryption update")
}

/// Rules 52 and 53, for Backup vaults: key and identity may be changed at any time, before or after
/// items are protected; these are all checks that need no key vault. What the key vault itself must
/// say is proven by the operation that follows (rule 5).
pub(crate) fn check_backup_vault(
    change: &EncryptionChange<'_>,
    wanted: &EncryptionSettings,
) -> Result<(), Refusal> {
    check_identity(change, wanted)?;
    if let Some(applied) = change.applied() {
        one_attribute_at_a_time(wanted, applied)?;
    }
    infrastructure_layer_is_fixed(wanted, change.applied(), change.creates())
}

/// Rules 54, 55, 60 and 76, for Recovery Services vaults: a customer key comes before anything else,
/// and then key and identity may be changed at any time, in one request too.
pub(crate) fn check_recovery_services_vault(
    change: &EncryptionChange<'_>,
    wanted: &EncryptionSettings,
) -> Result<(), Refusal> {
    let first = change.applied().is_none();
    // One whose making failed has no key to keep (rule 56): the request that was to make it may be
    // repeated, whatever was tried in it meanwhile.
    let was_made = change.status.keyring.is_some();
    if first && was_made {
        nothing_was_ever_protected(change.status)?;
    }
    key_lies_in_a_key_vault(wanted)?;
    check_identity(change, wanted)?;
    infrastructure_layer_is_fixed(wanted, change.applied(), first)
}

/// Rule 44: keys of managed HSMs are for Backup vaults.
pub fn key_lies_in_a_key_vault(wanted: &EncryptionSettings) -> Result<(), Refusal> {
    if !wanted.addressed_keys().any(|key| key.in_managed_hsm) {
        return Ok(());
    }
    Err(Refusal::new(
        400,
        "UserErrorCMKManagedHsmNotSupported",
        "the key of a Recovery Services vault lies in a key vault: keys of managed HSMs are for \
         Backup vaults (rule 44)",
    )
    .with_fix("az keyvault key create --vault-name NAME --name KEY --kty RSA --size 3072"))
}

/// Rules 54, 55 and 56: a Recovery Services vault into which anybody ever tried to protect something
/// keeps its platform-managed key for ever; so the key is planned with the vault (rule 122).
pub fn nothing_was_ever_protected(status: &VaultStatus) -> Result<(), Refusal> {
    if !status.ever_protected {
        return Ok(());
    }
    Err(Refusal::new(
        400,
        "UserErrorCMKNotSupportedOnVaultWithRegisteredItems",
        "a customer-managed key can only be set on a Recovery Services vault in which nothing was \
         ever protected, or tried to be (rules 54 and 55)",
    )
    .with_fix("create a new vault, set the key there, and protect the items into that"))
}

/// What is true of the identity in both kinds of vault. A request that says nothing of encryption may
/// take away the identity that speaks to the key vault (rule 35): jobs fail until it is back.
fn check_identity(
    change: &EncryptionChange<'_>,
    wanted: &EncryptionSettings,
) -> Result<(), Refusal> {
    let Some(named) = &wanted.kek_identity else { return Ok(()) };
    if matches!(change.asked, Asked::Nothing) && change.applied().is_some() {
        return Ok(());
    }
    user_assigned_at_creation(named, change.creates())?;
    identity_is_attached(named, change.identity)
}

/// Rules 32 and 33: only a user-assigned identity at creation, since the vault's own has no grants yet.
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
/// customer key, for a Recovery Services vault with the one that first sets a customer key, and
/// never changes afterwards.
pub fn infrastructure_layer_is_fixed(
    wanted: &EncryptionSettings,
    applied: Option<&EncryptionSettings>,
    may_begin: bool,
) -> Result<(), Refusal> {
    let now = applied.map(|applied| applied.infrastructure_encryption).unwrap_or_default();
    if may_begin || wanted.infrastructure_encryption == now {
        return Ok(());
    }
    let text = match now {
        InfrastructureEncryption::Disabled => {
            "infrastructure encryption can only be enabled by the request that creates the vault \
             with a customer key, for a Recovery Services vault by the one that first sets the key \
             (rule 74)"
        }
        InfrastructureEncryption::Enabled => {
            "infrastructure encryption cannot be taken away again (rule 75)"
        }
    };
    Err(Refusal::new(400, "UserErrorCMKInfrastructureEncryptionCannotBeModified", text))
}

/// Rules 85, 86 and 88: a URI with a version is pinned to it, one without follows the newest, for
/// vaults of both kinds.
pub fn follows_newest_version(key: &KeyUri) -> bool {
    key.version.is_none()
}

/// Where the repository lies is fixed when the vault is created. Returns where it lies.
pub fn store_place_is_fixed(
    stored: Option<&Option<Store>>,
    asked: Option<Store>,
) -> Result<Option<Store>, Refusal> {
    match stored {
        None => Ok(asked),
        Some(stored) if asked.is_none() || asked == *stored => Ok(stored.clone()),
        Some(_) => Err(Refusal::new(
            400,
            "StoreCannotBeMoved",
            "where a vault's data lies is fixed at creation",
        )
        .with_fix("create another vault with the new store")),
    }
}

/// Rule 61: a vault under a customer key stays in its group and subscription.
pub fn only_platform_key_moves(record: &Record, status: &VaultStatus) -> Result<(), Refusal> {
    if status.applied.is_none() {
        return Ok(());
    }
    let text = format!(
        "{} is encrypted with a customer-managed key and cannot be moved to another group or \
         subscription (rule 61)",
        record.id
    );
    Err(Refusal::new(409, "UserErrorCMKVaultMoveNotSupported", text)
        .with_fix("create a vault at the new place and protect the items there"))
}

/// A vault that never got its key protects nothing: better refused than on the platform key.
pub fn vault_is_usable(record: &Record, status: &VaultStatus) -> Result<(), Refusal> {
    if status.keyring.is_some() && record.state != ProvisioningState::Deleting {
        return Ok(());
    }
    let why = status.error.as_ref().map(|error| format!(": {}", error.message));
    let text = format!("the vault {} is not ready{}", record.id, why.unwrap_or_default());
    Err(Refusal::new(409, "VaultNotReady", text)
        .with_fix("mend the cause and repeat the request that created the vault"))
}
