//! Makes a vault's keyring what its settings ask for: rewraps it under another version or changes
//! the key. Nothing of the vault's data is touched.

use std::sync::Arc;

use custody_ambient::Timestamp;
use custody_backup_vaults::{
    ApplyEncryption, EncryptionSettings, InfrastructureEncryption, Vault, rules,
};
use custody_envelope::{
    KekError, KeyEncryptionKeys as _, KeyTarget, RewrapStep, Ring, Trust, WrapAlgorithm, WrapKey,
    begin_rewrap, finish_key_change, finish_rewrap, prove_wraps, rewrap_step, unwrap,
};
use custody_names::{KeyUri, KeyVersionUri, ResourceId, VaultGuid};
use custody_repository::{RepositoryError, Rings};
use custody_resources::{Operation, ProvisioningState, Refusal};
use serde::Deserialize as _;
use serde_json::json;

use super::make_repository::{make_anew, make_repository};
use crate::error::TaskError;
use crate::job::Job;
use crate::keks::{self, VaultKeks};
use crate::runner::Outcome;
use crate::vault_session::{KeyWay, RefusedRing, VaultSession, note_ring};
use crate::{Platform, failover, fault, vault_keys};

/// How often a change begins anew because somebody else changed the ring meanwhile.
const CHANGE_ATTEMPTS_MAX: u32 = 5;

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
            note_finished(&mut vault, &ring, now);
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

/// Rewraps an existing ring. A job that follows a rotation and an operation may both be at it: whoever
/// finds himself overtaken looks again and goes on from there.
fn change_ring(
    job: &Job<'_>,
    vault: &Vault,
    wanted: Option<&EncryptionSettings>,
) -> Result<Ring, TaskError> {
    let mut changed = change_ring_once(job, vault, wanted);
    for _ in 1..CHANGE_ATTEMPTS_MAX {
        match &changed {
            Err(TaskError::Failed(refusal)) if *refusal == overtaken() => {}
            _ => break,
        }
        let vault = job.platform.vault(&vault.record.id)?;
        changed = change_ring_once(job, &vault, wanted);
    }
    changed
}

/// The same key's newest version, and a standby beside it, keep the data keys; without a key of
/// before, a new generation begins that it never wrapped (DESIGN §5).
fn change_ring_once(
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
    // A key that goes away knows the data keys so far; one that comes beside another does not.
    let keeps_data_keys = vault_keys::all_stay(applied, wanted, guid)?;
    let vault_id = &vault.record.id;
    let settings = (applied != wanted).then_some(wanted).flatten();
    let change = Change { vault: vault_id, target: &target, settings, keeps_data_keys };
    let ring = rewrap(platform, &session, &way, &change)?;
    if ring.number() == session.ring.number() && !vault.status.is_inconsistent {
        // The log knows this ring: it is not read for nothing.
        return Ok(ring);
    }
    session.tell_ring(platform, vault, &ring)?;
    Ok(ring)
}

/// Before a job: if the vault follows the newest version of its key and there is a newer one, the
/// ring is rewrapped to it (rules 86, 87 and 91). The old version must still be enabled (rule 90).
pub(crate) fn follow_newest(job: &Job<'_>, vault: Vault) -> Result<Vault, TaskError> {
    let status = &vault.status;
    let guid = status.vault_guid.ok_or_else(|| Refusal::bug("the vault has no GUID"))?;
    let mut keys = vault_keys::wrapping_keys(status.applied.as_ref(), guid)?;
    let several = keys.len() > 1;
    keys.retain(rules::follows_newest_version);
    if keys.is_empty() {
        return Ok(vault);
    }
    let keks = VaultKeks::new(job.platform, &vault, status.applied.as_ref(), job.cause())?;
    let now = job.platform.clock.now();
    let mut usable = Vec::new();
    for key in &keys {
        match keks.describe(key) {
            Ok(newest) if keks::state_is_active(&newest, now).is_ok() => {
                usable.push(newest.version);
            }
            Ok(_) => {}
            // A rewrap takes all keys. Whether the job can go on without this one is decided where
            // the vault is opened.
            Err(_) if several => return Ok(vault),
            Err(error) => return Err(fault::of_key(&error).into()),
        }
    }
    if rules::behind(status, usable).is_none() {
        return Ok(vault);
    }
    job.phase("rewrap")?;
    let ring = change_ring(job, &vault, status.applied.as_ref())?;
    Ok(job.platform.change_vault(&vault.record.id, |found| note_finished(found, &ring, now))?)
}

/// Notes that nothing of a change is left to be done, unless a later one has begun.
fn note_finished(vault: &mut Vault, ring: &Ring, now: Timestamp) {
    let status = &mut vault.status;
    let known = status.keyring.as_ref().map_or(0, |known| known.number);
    if known < ring.number() {
        note_ring(status, ring);
        status.applied_at = Some(now);
    }
    status.is_inconsistent &= known > ring.number();
}

fn overtaken() -> Refusal {
    let text = "the vault's keyring was changed by another operation meanwhile";
    Refusal::new(409, "KeyringChanged", text).with_fix("run the same command again")
}

/// A change of what wraps a vault.
struct Change<'c> {
    vault: &'c ResourceId,
    target: &'c KeyTarget,
    /// The settings that come into force with it, if others than before.
    settings: Option<&'c EncryptionSettings>,
    keeps_data_keys: bool,
}

/// The steps of a rewrap, each stored before the next, after which every old recovery point stays
/// readable (rule 92): at any crash point every data key has a
/// working recorded wrap, and afterwards no ring in the store opens with the old key.
fn rewrap(
    platform: &Platform,
    session: &VaultSession,
    way: &KeyWay,
    change: &Change<'_>,
) -> Result<Ring, TaskError> {
    let target = change.target;
    let rings = Rings::new(session.store.as_ref());
    let keys = &session.keys;
    let fault = |error| TaskError::Failed(fault::of_envelope(&error));
    let mut ring = session.ring.clone();
    loop {
        let step = rewrap_step(&ring, target);
        let next = match step {
            RewrapStep::Begin => {
                way.with(platform, |access| begin_rewrap(&ring, keys, target, access))
            }
            RewrapStep::Finish => way.with(platform, |access| {
                let proven = prove_wraps(&ring, keys, target, access)?;
                if change.keeps_data_keys {
                    finish_rewrap(&ring, keys, &proven, access)
                } else {
                    finish_key_change(&ring, keys, &proven, access, platform.entropy.as_ref())
                }
            }),
            RewrapStep::Done => break,
        };
        let next = next.map_err(fault)?;
        if step == RewrapStep::Finish {
            // It opens with the keys that are wanted alone: the record must name them first.
            put_in_force(platform, change, &next)?;
        }
        match rings.create(next.number(), next.encoded()) {
            Err(RepositoryError::AlreadyExists) => {
                // Not another operation's, if it was no ring of this vault before.
                let foreign = session.refused.iter().find(|ring| ring.number == next.number());
                return Err(foreign.map_or_else(overtaken, RefusedRing::in_the_way).into());
            }
            created => created?,
        }
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

/// Notes on record that a ring and, if the key changes, the settings that go with it are in force.
/// Whatever happens after this, the vault opens with them: the record holds the ring itself, and whoever
/// opens the vault next puts it into the store. What follows is made up for (rule 70).
fn put_in_force(platform: &Platform, change: &Change<'_>, ring: &Ring) -> Result<(), Refusal> {
    let now = platform.clock.now();
    let noted = platform.records.apply(&mut |world| {
        let mut found = Vault::expect(change.vault, world)?;
        let status = &mut found.status;
        if status.keyring.as_ref().is_some_and(|known| known.number >= ring.number()) {
            return Err(overtaken().into());
        }
        note_ring(status, ring);
        status.is_inconsistent = true;
        status.applied_at = Some(now);
        if let Some(settings) = change.settings {
            status.applied = Some(settings.clone());
        }
        Ok(vec![found.into_write()?])
    });
    noted.map(drop).map_err(fault::of_apply)
}

pub(super) fn way(
    job: &Job<'_>,
    vault: &Vault,
    wanted: Option<&EncryptionSettings>,
    guid: VaultGuid,
) -> Result<KeyWay, TaskError> {
    let keks = VaultKeks::new(job.platform, vault, wanted, job.cause())?;
    Ok(KeyWay { keks, allowed: Arc::new(vault_keys::keys_of(wanted, guid)?) })
}

/// What the ring is to be wrapped by: the version that the settings mean now, proven to be an RSA
/// key of a size that serves (rules 12–15), enabled and in its time window (rules 5, 17, 18, 85, 86). That the identity may wrap and unwrap with it is
/// proven by doing both. A key other than the `applied` one is assigned, which takes more of its key
/// vault (rules 19, 60) than following it does, but of Backup vaults no region (rule 24).
pub(super) fn target(
    job: &Job<'_>,
    vault: &Vault,
    (wanted, applied): (Option<&EncryptionSettings>, Option<&EncryptionSettings>),
    guid: VaultGuid,
    keks: &VaultKeks,
) -> Result<KeyTarget, TaskError> {
    if wanted.is_none() {
        let key = vault_keys::key_of(None, guid)?;
        keks.ensure_platform_key(&key).map_err(|error| fault::of_key(&error))?;
    }
    for key in wanted.iter().flat_map(|wanted| wanted.addressed_keys()) {
        keks.require_holder(key).map_err(|error| fault::of_key(&error))?;
    }
    let mut keys = Vec::new();
    for key in vault_keys::wrapping_keys(wanted, guid)? {
        let version = usable_version(job, keks, &key)?;
        let mut known = applied.iter().flat_map(|applied| applied.addressed_keys());
        if wanted.is_some() && !known.any(|known| known.key_uri == key) {
            fit_to_be_assigned(vault, &key, keks).map_err(|error| fault::of_key(&error))?;
        }
        keys.push(WrapKey { key: version, algorithm: WrapAlgorithm::RsaOaep256 });
    }
    let failover = failover::failover_of(wanted);
    let mut target = KeyTarget { keys, infrastructure: Vec::new(), failover };
    let layered = wanted.is_some_and(|wanted| {
        wanted.infrastructure_encryption == InfrastructureEncryption::Enabled
    });
    if layered {
        let layer = vault_keys::second_layer_key(guid)?;
        keks.ensure_platform_key(&layer).map_err(|error| fault::of_key(&error))?;
        let key = usable_version(job, keks, &layer)?;
        target.infrastructure = vec![WrapKey { key, algorithm: WrapAlgorithm::RsaOaep256 }];
    }
    Ok(target)
}

/// What is asked of a key's key vault when the key is assigned. Backup vaults of every region take
/// one (rule 10).
fn fit_to_be_assigned(vault: &Vault, key: &KeyUri, keks: &VaultKeks) -> Result<(), KekError> {
    keks.require_recoverable(key)?;
    if vault.is_recovery_services() {
        keks.require_region(key, vault.record.location.as_ref())?;
    }
    Ok(())
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
