//! Makes the keyring and the repository of a vault that has none.

use std::sync::Arc;

use custody_backup_vaults::{EncryptionSettings, Vault, VaultStatus, rules};
use custody_blob_store::{BlobStore, DiskStore};
use custody_envelope::{Ring, VaultKeys, create};
use custody_names::VaultGuid;
use custody_repository::log::EntryHash;
use custody_repository::{Marker, Repository, RepositoryError};
use custody_resources::Refusal;

use super::apply_encryption::{target, way};
use super::delete_vault::remove_repository;
use crate::error::TaskError;
use crate::job::Job;
use crate::vault_repository::{parts, store_place};
use crate::{Platform, fault};

/// Makes keyring and repository of an empty vault once more. The key is proven first; if anything
/// fails after that, the vault stands as one whose making failed, and the same request mends it.
pub(super) fn make_anew(
    job: &Job<'_>,
    vault: Vault,
    wanted: Option<&EncryptionSettings>,
) -> Result<Ring, TaskError> {
    let platform = job.platform;
    let guid = VaultGuid::mint(platform.entropy.as_ref())
        .map_err(|error| Refusal::bug(error.to_string()))?;
    let (ring, keys) = forge(job, &vault, wanted, guid)?;
    let old_place = store_place(platform, &vault.status)?;
    let emptied = platform.records.apply(&mut |world| {
        let mut found = Vault::expect(job.resource(), world)?;
        // Whoever began to protect something since the request was taken keeps his data. From here
        // on nobody can: the vault has no keyring.
        rules::nothing_was_ever_protected(&found.status)?;
        found.status = VaultStatus {
            vault_guid: Some(guid),
            store_place: found.status.store_place.clone(),
            ..VaultStatus::default()
        };
        Ok(vec![found.into_write()?])
    });
    emptied.map_err(fault::of_apply)?;
    let noted = platform.vault(job.resource())?;
    remove_repository(&old_place)?;
    lay(platform, &noted, ring, keys)
}

/// Makes keyring and repository of a new vault. Its GUID and place are on record before anything
/// is made, so that a second attempt finds what a first one left.
pub(super) fn make_repository(
    job: &Job<'_>,
    vault: Vault,
    wanted: Option<&EncryptionSettings>,
) -> Result<Ring, TaskError> {
    let vault = note_place(job, vault)?;
    let guid = vault.status.vault_guid;
    let guid = guid.ok_or_else(|| Refusal::bug("the vault was given no GUID"))?;
    let (ring, keys) = forge(job, &vault, wanted, guid)?;
    lay(job.platform, &vault, ring, keys)
}

/// A new keyring and its keys. That it can be opened is proven before it is stored anywhere.
fn forge(
    job: &Job<'_>,
    vault: &Vault,
    wanted: Option<&EncryptionSettings>,
    guid: VaultGuid,
) -> Result<(Ring, VaultKeys), TaskError> {
    let way = way(job, vault, wanted, guid)?;
    let target = target(job, vault, (wanted, None), guid, &way.keks)?;
    let entropy = job.platform.entropy.as_ref();
    let forged = way.with(job.platform, |access| create(guid, &target, access, entropy));
    Ok(forged.map_err(|error| fault::of_envelope(&error))?)
}

/// Makes the repository of a vault around a keyring.
fn lay(platform: &Platform, vault: &Vault, ring: Ring, keys: VaultKeys) -> Result<Ring, TaskError> {
    let place = store_place(platform, &vault.status)?;
    let begun = DiskStore::create(&place).map_err(RepositoryError::from)?;
    // A repository of this GUID that no keyring on record leads to is what an attempt left that got no
    // further: nothing was ever protected in it.
    if Marker::read(&begun).is_ok_and(|marker| marker.vault == ring.vault()) {
        remove_repository(&place)?;
    }
    let store: Arc<dyn BlobStore> =
        Arc::new(DiskStore::create(&place).map_err(RepositoryError::from)?);
    let fingerprint = EntryHash::from_bytes(*ring.fingerprint().as_bytes());
    Repository::create(parts(platform, store, keys)?, ring.encoded(), fingerprint)?;
    Ok(ring)
}

/// Puts GUID and place of the repository on record, if they are not there from an earlier attempt.
fn note_place(job: &Job<'_>, vault: Vault) -> Result<Vault, TaskError> {
    if vault.status.vault_guid.is_some() {
        return Ok(vault);
    }
    let platform = job.platform;
    let guid = VaultGuid::mint(platform.entropy.as_ref())
        .map_err(|error| Refusal::bug(error.to_string()))?;
    let place = vault.store().map(|store| store.path.clone());
    let noted = platform.change_vault(job.resource(), |found| {
        found.status.vault_guid = Some(guid);
        found.status.store_place.clone_from(&place);
    })?;
    Ok(noted)
}
