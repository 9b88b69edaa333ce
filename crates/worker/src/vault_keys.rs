//! Which keys are around a vault: the customer's, and the platform's own.

use custody_backup_vaults::EncryptionSettings;
use custody_names::{KeyUri, VaultGuid};
use custody_resources::Refusal;

use crate::key_access::PLATFORM_KEY_VAULT;

/// The key of a vault: the customer's, or the platform's own for this vault (rule 1).
pub(crate) fn key_of(
    settings: Option<&EncryptionSettings>,
    guid: VaultGuid,
) -> Result<KeyUri, Refusal> {
    if let Some(key) = settings.and_then(EncryptionSettings::key) {
        return Ok(key.clone());
    }
    platform_key(&guid.to_string())
}

/// The platform's key for the second layer of a vault.
pub(crate) fn second_layer_key(guid: VaultGuid) -> Result<KeyUri, Refusal> {
    platform_key(&format!("layer-{guid}"))
}

/// The keys that wrap a vault's data keys under these settings: the first one, then the standby.
pub(crate) fn wrapping_keys(
    settings: Option<&EncryptionSettings>,
    guid: VaultGuid,
) -> Result<Vec<KeyUri>, Refusal> {
    let standby = settings.and_then(EncryptionSettings::standby).map(|key| key.key_uri.clone());
    Ok([key_of(settings, guid)?].into_iter().chain(standby).collect())
}

/// Whether every key of `applied` is one of `wanted` as well.
pub(crate) fn all_stay(
    applied: Option<&EncryptionSettings>,
    wanted: Option<&EncryptionSettings>,
    guid: VaultGuid,
) -> Result<bool, Refusal> {
    let wanted = wrapping_keys(wanted, guid)?;
    let stays = |key: &KeyUri| wanted.iter().any(|new| new.versionless() == key.versionless());
    Ok(wrapping_keys(applied, guid)?.iter().all(stays))
}

/// Every key that may open a vault under these settings.
pub(crate) fn keys_of(
    settings: Option<&EncryptionSettings>,
    guid: VaultGuid,
) -> Result<Vec<KeyUri>, Refusal> {
    let mut all = wrapping_keys(settings, guid)?;
    all.push(second_layer_key(guid)?);
    Ok(all)
}

fn platform_key(name: &str) -> Result<KeyUri, Refusal> {
    let bug = |_| Refusal::bug("the platform's own names are valid");
    Ok(KeyUri {
        vault: PLATFORM_KEY_VAULT.parse().map_err(bug)?,
        key: name.parse().map_err(bug)?,
        version: None,
    })
}
