//! Makes a vault's keyring what its settings ask for: creates it, rewraps it under another version
//! or changes the key. Nothing of the vault's data is touched.

use std::sync::Arc;

use custody_backup_vaults::{
    ApplyEncryption, BackupVault, EncryptionSettings, InfrastructureEncryption, rules,
};
use custody_blob_store::{BlobStore, DiskStore};
use custody_envelope::{
    KeyEncryptionKeys as _, KeyTarget, RewrapStep, Ring, Trust, WrapAlgorithm, WrapKey,
    begin_rewrap, create, finish_key_change, finish_rewrap, prove_wraps, rewrap_step, unwrap,
};
use custody_names::{KeyUri, KeyVersionUri, VaultGuid};
use custody_repository::log::{EntryHash, KeyringHead};
use custody_repository::{Repository, RepositoryError, Rings};
use custody_resources::{Operation, ProvisioningState, Refusal, Stored};
use serde::Deserialize as _;
use serde_json::json;

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
            let mut vault = world.expect::<BackupVault>(&id)?;
            note_ring(&mut vault.status, &ring);
            vault.status.applied.clone_from(&input.wanted);
            vault.status.applied_at = Some(now);
            vault.status.error = None;
            vault.spec.security_settings.encryption_settings.clone_from(&input.wanted);
            vault.record.state = ProvisioningState::Succeeded;
            Ok(vec![vault.into_write()?])
        }),
    })
}

/// The settings in force stay in force; a vault that never had any refuses protection and says
/// why, and the same request may be repeated.
pub(super) fn give_up(vault: &mut Stored<BackupVault>, operation: &Operation) {
    let made = vault.status.keyring.is_some();
    vault.status.error = super::failure(operation).cloned();
    vault.record.state =
        if made { ProvisioningState::Succeeded } else { ProvisioningState::Failed };
    if made {
        let applied = vault.status.applied.clone();
        vault.spec.security_settings.encryption_settings = applied;
    }
}

/// Makes keyring and repository of a new vault. Its GUID and place are on record before anything
/// is made, so that a second attempt finds what a first one left.
fn make_repository(
    job: &Job<'_>,
    vault: Stored<BackupVault>,
    wanted: Option<&EncryptionSettings>,
) -> Result<Ring, TaskError> {
    let platform = job.platform;
    let vault = note_place(job, vault)?;
    let status = &vault.status;
    let guid = status.vault_guid.ok_or_else(|| Refusal::bug("the vault was given no GUID"))?;
    let way = way(job, &vault, wanted, guid)?;
    let target = target(job, (wanted, None), guid, &way.keks)?;
    let place = store_place(platform, status)?;
    let store: Arc<dyn BlobStore> =
        Arc::new(DiskStore::create(&place).map_err(RepositoryError::from)?);
    let entropy = platform.entropy.as_ref();
    let (ring, keys) = way
        .with(platform, |access| create(guid, &target, access, entropy))
        .map_err(|error| fault::of_envelope(&error))?;
    let fingerprint = EntryHash::from_bytes(*ring.fingerprint().as_bytes());
    Repository::create(parts(platform, store, keys)?, ring.encoded(), fingerprint)?;
    Ok(ring)
}

/// Puts GUID and place of the repository on record, if they are not there from an earlier attempt.
fn note_place(job: &Job<'_>, vault: Stored<BackupVault>) -> Result<Stored<BackupVault>, TaskError> {
    if vault.status.vault_guid.is_some() {
        return Ok(vault);
    }
    let platform = job.platform;
    let guid = VaultGuid::mint(platform.entropy.as_ref())
        .map_err(|error| Refusal::bug(error.to_string()))?;
    let place = vault.spec.store.as_ref().map(|store| store.path.clone());
    let noted = platform.change::<BackupVault>(job.resource(), |found| {
        found.status.vault_guid = Some(guid);
        found.status.store_place.clone_from(&place);
    })?;
    Ok(noted)
}

/// Rewraps an existing ring: the same key's newest version keeps the data keys, another key also
/// begins a new generation wrapped by that key alone (DESIGN §5).
fn change_ring(
    job: &Job<'_>,
    vault: &Stored<BackupVault>,
    wanted: Option<&EncryptionSettings>,
) -> Result<Ring, TaskError> {
    let platform = job.platform;
    let session = VaultSession::open(platform, vault, job.cause())?;
    let guid = session.ring.vault();
    let mut way = way(job, vault, wanted, guid)?;
    let mut allowed: Vec<KeyUri> = session.way.allowed.as_ref().clone();
    allowed.extend(way.allowed.iter().cloned());
    way.allowed = Arc::new(allowed);
    let target = target(job, (wanted, vault.status.applied.as_ref()), guid, &way.keks)?;
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
pub(crate) fn follow_newest(
    job: &Job<'_>,
    vault: Stored<BackupVault>,
) -> Result<Stored<BackupVault>, TaskError> {
    let status = &vault.status;
    let guid = status.vault_guid.ok_or_else(|| Refusal::bug("the vault has no GUID"))?;
    let key = keks::key_of(status.applied.as_ref(), guid)?;
    if !rules::follows_newest_version(&key) {
        return Ok(vault);
    }
    let keks = VaultKeks::new(job.platform, &vault, status.applied.as_ref(), job.cause())?;
    let newest = keks.describe(&key).map_err(|error| fault::of_key(&error))?;
    let generations = status.keyring.iter().flat_map(|ring| &ring.generations);
    let wrapped = generations.flat_map(|generation| &generation.wraps);
    let mut of_key = wrapped.filter(|version| version.versionless() == key.versionless());
    let now = job.platform.clock.now();
    if of_key.any(|version| *version == newest.version)
        || keks::state_is_active(&newest, now).is_err()
    {
        return Ok(vault);
    }
    job.phase("rewrap")?;
    let ring = change_ring(job, &vault, status.applied.as_ref())?;
    let noted = job.platform.change::<BackupVault>(&vault.record.id, |found| {
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
    vault: &Stored<BackupVault>,
    wanted: Option<&EncryptionSettings>,
    guid: VaultGuid,
) -> Result<KeyWay, TaskError> {
    let keks = VaultKeks::new(job.platform, vault, wanted, job.cause())?;
    Ok(KeyWay { keks, allowed: Arc::new(keks::keys_of(wanted, guid)?) })
}

/// What the ring is to be wrapped by: the version that the settings mean now, proven enabled and
/// in its time window (rules 5, 17, 18, 85, 86). That the identity may wrap and unwrap with it is
/// proven by doing both. A key other than the `applied` one is assigned, which takes more of its key
/// vault (rule 19) than following it does.
fn target(
    job: &Job<'_>,
    (wanted, applied): (Option<&EncryptionSettings>, Option<&EncryptionSettings>),
    guid: VaultGuid,
    keks: &VaultKeks,
) -> Result<KeyTarget, TaskError> {
    let key = keks::key_of(wanted, guid)?;
    if wanted.is_none() {
        keks.ensure_platform_key(&key).map_err(|error| fault::of_key(&error))?;
    }
    let version = usable_version(job, keks, &key)?;
    let assigned = wanted.and_then(EncryptionSettings::key);
    if assigned.is_some() && assigned != applied.and_then(EncryptionSettings::key) {
        keks.require_recoverable(&key).map_err(|error| fault::of_key(&error))?;
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

fn usable_version(
    job: &Job<'_>,
    keks: &VaultKeks,
    key: &KeyUri,
) -> Result<KeyVersionUri, TaskError> {
    let state = keks.describe(key).map_err(|error| fault::of_key(&error))?;
    keks::state_is_active(&state, job.platform.clock.now())
        .map_err(|error| fault::of_key(&error))?;
    Ok(state.version)
}
