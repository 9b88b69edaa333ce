//! Makes a vault's keyring what its settings ask for: creates it, rewraps it under another version
//! or changes the key. Nothing of the vault's data is touched.

use std::sync::Arc;

use custody_backup_vaults::{
    ApplyEncryption, EncryptionSettings, InfrastructureEncryption, Vault, VaultStatus, rules,
};
use custody_blob_store::{BlobStore, DiskStore};
use custody_envelope::{
    KeyEncryptionKeys as _, KeyTarget, RewrapStep, Ring, Trust, VaultKeys, WrapAlgorithm, WrapKey,
    begin_rewrap, create, finish_key_change, finish_rewrap, prove_wraps, rewrap_step, unwrap,
};
use custody_names::{KeyUri, KeyVersionUri, VaultGuid};
use custody_repository::log::{EntryHash, KeyringHead};
use custody_repository::{Repository, RepositoryError, Rings};
use custody_resources::{Operation, ProvisioningState, Refusal};
use serde::Deserialize as _;
use serde_json::json;

use super::delete_vault::remove_repository;
use crate::error::TaskError;
use crate::job::Job;
use crate::keks::{self, VaultKeks};
use crate::runner::Outcome;
use crate::vault_repository::{parts, store_place};
use crate::vault_session::{KeyWay, VaultSession, note_ring};
use crate::{Platform, fault};

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let input = ApplyEncryption::deserialize(&job.operation.task.input)
        .map_err(|error| Refusal::bug(error.to_string()))?;
    let vault = job.vault()?;
    let ring = if vault.status.keyring.is_none() {
        job.phase("create")?;
        make_repository(job, vault, input.wanted.as_ref())?
    } else if gets_second_layer(&vault, input.wanted.as_ref()) {
        job.phase("create")?;
        make_anew(job, vault, input.wanted.as_ref())?
    } else {
        job.phase("rewrap")?;
        change_ring(job, &vault, input.wanted.as_ref())?
    };
    let id = job.resource().clone();
    let now = job.platform.clock.now();
    let generations = ring.generations().len();
    let number = ring.number();
    let result = json!({ "keyring": number, "generations": generations });
    Ok(Outcome {
        result,
        writes: Box::new(move |world| {
            let mut vault = Vault::expect(&id, world)?;
            note_ring(&mut vault.status, &ring);
            vault.status.applied.clone_from(&input.wanted);
            vault.status.applied_at = Some(now);
            vault.status.error = None;
            vault.set_wanted(input.wanted.clone());
            vault.record.state = ProvisioningState::Succeeded;
            Ok(vec![vault.into_write()?])
        }),
    })
}

/// The settings in force stay in force; a vault that never had any refuses protection and says
/// why, and the same request may be repeated.
pub(super) fn give_up(vault: &mut Vault, operation: &Operation) {
    let made = vault.status.keyring.is_some();
    vault.status.error = super::failure(operation).cloned();
    vault.record.state =
        if made { ProvisioningState::Succeeded } else { ProvisioningState::Failed };
    if made {
        let applied = vault.status.applied.clone();
        vault.set_wanted(applied);
    }
}

/// Whether a second layer is to come beneath a keyring that was made without one: a Recovery
/// Services vault gets it with its first customer key, before anything is protected (rule 74).
fn gets_second_layer(vault: &Vault, wanted: Option<&EncryptionSettings>) -> bool {
    let layered = |settings: Option<&EncryptionSettings>| {
        settings.is_some_and(|settings| {
            settings.infrastructure_encryption == InfrastructureEncryption::Enabled
        })
    };
    layered(wanted) && !layered(vault.status.applied.as_ref()) && !vault.status.ever_protected
}

/// Makes keyring and repository of an empty vault once more. The key is proven first; if anything
/// fails after that, the vault stands as one whose making failed, and the same request mends it.
fn make_anew(
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
fn make_repository(
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

/// Rewraps an existing ring: the same key's newest version keeps the data keys, another key also
/// begins a new generation wrapped by that key alone (DESIGN §5).
fn change_ring(
    job: &Job<'_>,
    vault: &Vault,
    wanted: Option<&EncryptionSettings>,
) -> Result<Ring, TaskError> {
    let platform = job.platform;
    let session = VaultSession::open_to_change(platform, vault, wanted, job.cause())?;
    let guid = session.ring.vault();
    let mut way = way(job, vault, wanted, guid)?;
    let mut allowed: Vec<KeyUri> = session.way.allowed.as_ref().clone();
    allowed.extend(way.allowed.iter().cloned());
    way.allowed = Arc::new(allowed);
    let applied = vault.status.applied.as_ref();
    let target = target(job, vault, (wanted, applied), guid, &way.keks)?;
    let old_key = keks::key_of(vault.status.applied.as_ref(), guid)?;
    let new_key = keks::key_of(wanted, guid)?;
    let same_key = old_key.versionless() == new_key.versionless();
    let ring = rewrap(platform, &session, &way, &target, same_key)?;
    if ring.number() != session.ring.number() {
        let head = KeyringHead { number: ring.number(), hash: EntryHash::from_bytes(ring.hash()) };
        let repository = session.repository(platform, vault)?;
        repository.log()?.keyring_changed(head).map_err(RepositoryError::from)?;
    }
    Ok(ring)
}

/// Before a job: if the vault follows the newest version of its key and there is a newer one, the
/// ring is rewrapped to it (rules 86, 87 and 91). The old version must still be enabled (rule 90).
pub(crate) fn follow_newest(job: &Job<'_>, vault: Vault) -> Result<Vault, TaskError> {
    let status = &vault.status;
    let guid = status.vault_guid.ok_or_else(|| Refusal::bug("the vault has no GUID"))?;
    let key = keks::key_of(status.applied.as_ref(), guid)?;
    if !rules::follows_newest_version(&key) {
        return Ok(vault);
    }
    let keks = VaultKeks::new(job.platform, &vault, status.applied.as_ref(), job.cause())?;
    let newest = keks.describe(&key).map_err(|error| fault::of_key(&error))?;
    let mut of_key = status.wraps().filter(|version| version.versionless() == key.versionless());
    let now = job.platform.clock.now();
    let is_followed = of_key.any(|version| *version == newest.version);
    drop(of_key);
    if is_followed || keks::state_is_active(&newest, now).is_err() {
        return Ok(vault);
    }
    job.phase("rewrap")?;
    let ring = change_ring(job, &vault, status.applied.as_ref())?;
    let noted = job.platform.change_vault(&vault.record.id, |found| {
        note_ring(&mut found.status, &ring);
        found.status.applied_at = Some(now);
    })?;
    Ok(noted)
}

/// The steps of a rewrap, each stored before the next, after which every old recovery point stays
/// readable (rule 92): at any crash point every data key has a
/// working recorded wrap, and afterwards no ring in the store opens with the old key.
fn rewrap(
    platform: &Platform,
    session: &VaultSession,
    way: &KeyWay,
    target: &KeyTarget,
    same_key: bool,
) -> Result<Ring, TaskError> {
    let rings = Rings::new(session.store.as_ref());
    let keys = &session.keys;
    let fault = |error| TaskError::Failed(fault::of_envelope(&error));
    let mut ring = session.ring.clone();
    loop {
        let next = match rewrap_step(&ring, target) {
            RewrapStep::Begin => {
                way.with(platform, |access| begin_rewrap(&ring, keys, target, access))
            }
            RewrapStep::Finish => way.with(platform, |access| {
                let proven = prove_wraps(&ring, keys, target, access)?;
                if same_key {
                    finish_rewrap(&ring, keys, &proven, access)
                } else {
                    finish_key_change(&ring, keys, &proven, access, platform.entropy.as_ref())
                }
            }),
            RewrapStep::Done => break,
        };
        let next = next.map_err(fault)?;
        rings.create(next.number(), next.encoded())?;
        ring = next;
    }
    if ring.number() != session.ring.number() {
        let trust = Trust::Chained(session.ring.known());
        let proof = way.with(platform, |access| unwrap(&ring, &trust, access)).map_err(fault)?;
        keys.lease().extend(proof).map_err(fault)?;
    }
    rings.delete_below(ring.number())?;
    Ok(ring)
}

fn way(
    job: &Job<'_>,
    vault: &Vault,
    wanted: Option<&EncryptionSettings>,
    guid: VaultGuid,
) -> Result<KeyWay, TaskError> {
    let keks = VaultKeks::new(job.platform, vault, wanted, job.cause())?;
    Ok(KeyWay { keks, allowed: Arc::new(keks::keys_of(wanted, guid)?) })
}

/// What the ring is to be wrapped by: the version that the settings mean now, proven to be an RSA
/// key of a size that serves (rules 12–15), enabled and in its time window (rules 5, 17, 18, 85, 86). That the identity may wrap and unwrap with it is
/// proven by doing both. A key other than the `applied` one is assigned, which takes more of its key
/// vault (rules 19, 60) than following it does.
fn target(
    job: &Job<'_>,
    vault: &Vault,
    (wanted, applied): (Option<&EncryptionSettings>, Option<&EncryptionSettings>),
    guid: VaultGuid,
    keks: &VaultKeks,
) -> Result<KeyTarget, TaskError> {
    let key = keks::key_of(wanted, guid)?;
    if wanted.is_none() {
        keks.ensure_platform_key(&key).map_err(|error| fault::of_key(&error))?;
    }
    if let Some(key) = wanted.and_then(EncryptionSettings::addressed_key) {
        keks.require_holder(key).map_err(|error| fault::of_key(&error))?;
    }
    let version = usable_version(job, keks, &key)?;
    let assigned = wanted.and_then(EncryptionSettings::key);
    if assigned.is_some() && assigned != applied.and_then(EncryptionSettings::key) {
        keks.require_recoverable(&key).map_err(|error| fault::of_key(&error))?;
        if vault.is_recovery_services() {
            let place = vault.record.location.as_ref();
            keks.require_region(&key, place).map_err(|error| fault::of_key(&error))?;
        }
    }
    let mut target = KeyTarget::one_key(version, WrapAlgorithm::RsaOaep256);
    let layered = wanted.is_some_and(|wanted| {
        wanted.infrastructure_encryption == InfrastructureEncryption::Enabled
    });
    if layered {
        let layer = keks::second_layer_key(guid)?;
        keks.ensure_platform_key(&layer).map_err(|error| fault::of_key(&error))?;
        let key = usable_version(job, keks, &layer)?;
        target.infrastructure = vec![WrapKey { key, algorithm: WrapAlgorithm::RsaOaep256 }];
    }
    Ok(target)
}

/// Rule 57: permission to read the key, the key itself, and its state come before its assignment.
fn usable_version(
    job: &Job<'_>,
    keks: &VaultKeks,
    key: &KeyUri,
) -> Result<KeyVersionUri, TaskError> {
    let state = keks.describe(key).map_err(|error| fault::of_key(&error))?;
    keks::state_is_fit(&state).map_err(|error| fault::of_key(&error))?;
    keks::state_is_active(&state, job.platform.clock.now())
        .map_err(|error| fault::of_key(&error))?;
    Ok(state.version)
}
