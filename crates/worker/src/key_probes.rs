//! Whether vaults can still reach their keys, asked at intervals: a real unwrap on the way that jobs
//! take, so that a lost key is known before a job needs it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use custody_ambient::Timestamp;
use custody_backup_vaults::{Finding, KeyProbe, ProbeHistory, ProbeResult, Vault, what_stops};
use custody_envelope::{
    EnvelopeError, KekFault, KeyAccess, KeyEncryptionKeys as _, Probed, Ring, Trust, probe,
};
use custody_key_vault::Purpose;
use custody_names::{KeyVersionUri, ResourceId, VaultGuid};
use custody_resources::{ProvisioningState, Refusal};
use data_encoding::BASE64;
use serde::Deserialize as _;
use serde_json::json;

use crate::at_once::a_few_at_once;
use crate::keks::{VaultKeks, state_is_active};
use crate::key_access::Cause;
use crate::vault_session::known_ring;
use crate::{Platform, fault};

/// How often a vault under a customer's key is probed unless the configuration says otherwise.
pub const PROBE_EVERY: Duration = Duration::from_hours(1);
/// So many vaults are probed in one round, those first that waited longest; the next round goes on.
const VAULTS_A_ROUND_MAX: usize = 64;
/// So many at once.
const VAULTS_AT_ONCE: usize = 4;
/// At the latest after this time it is looked which vaults there are.
const LOOK_EVERY: Duration = Duration::from_mins(10);
/// A setting of the records holds the probes of a vault; its GUID follows. The vault's own record
/// would change its etag with each.
const SETTING: &str = "key-probes:";

/// When probes are due, and what they found.
pub(crate) struct Probing {
    every: Mutex<Duration>,
    /// When it is looked again which vaults are due, since boot.
    look_again: Mutex<Duration>,
    figures: ProbeFigures,
}

/// Probes since the start, by what they found.
#[derive(Debug, Default)]
pub struct ProbeFigures {
    succeeded: AtomicU64,
    refused: AtomicU64,
    unreachable: AtomicU64,
    failed: AtomicU64,
    waited_ms: AtomicU64,
}

impl Default for Probing {
    fn default() -> Self {
        Self {
            every: Mutex::new(PROBE_EVERY),
            look_again: Mutex::default(),
            figures: ProbeFigures::default(),
        }
    }
}

impl ProbeFigures {
    /// How many probes there were of each result, by its name.
    pub fn by_result(&self) -> [(&'static str, u64); 4] {
        [
            ("failed", self.failed.load(Ordering::Relaxed)),
            ("refused", self.refused.load(Ordering::Relaxed)),
            ("succeeded", self.succeeded.load(Ordering::Relaxed)),
            ("unreachable", self.unreachable.load(Ordering::Relaxed)),
        ]
    }

    /// How long all of them waited for their answers.
    pub fn waited(&self) -> Duration {
        Duration::from_millis(self.waited_ms.load(Ordering::Relaxed))
    }

    fn count(&self, probe: &KeyProbe) {
        let counter = match probe.result {
            ProbeResult::Succeeded => &self.succeeded,
            ProbeResult::Refused => &self.refused,
            ProbeResult::Unreachable => &self.unreachable,
            ProbeResult::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.waited_ms.fetch_add(probe.latency_ms, Ordering::Relaxed);
    }
}

impl Platform {
    /// Probes vaults `every` so often from now on.
    pub fn probe_every(&self, every: Duration) {
        *self.probing.every.lock().unwrap_or_else(PoisonError::into_inner) = every;
    }

    /// How often vaults are probed.
    pub fn probes_every(&self) -> Duration {
        *self.probing.every.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What probes found since the start.
    pub fn probe_figures(&self) -> &ProbeFigures {
        &self.probing.figures
    }

    /// Probes the vaults that are due, and says how many. Nothing is read while none can be.
    pub(crate) fn probe_keys(self: &Arc<Self>) -> Result<usize, Refusal> {
        let mut look_again = match self.probing.look_again.try_lock() {
            Ok(look_again) => look_again,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread of this process is at it.
            Err(TryLockError::WouldBlock) => return Ok(0),
        };
        let since_boot = self.clock.since_boot();
        if since_boot < *look_again {
            return Ok(0);
        }
        let (mut due, next) = self.vaults_due()?;
        let more = due.len() > VAULTS_A_ROUND_MAX;
        due.truncate(VAULTS_A_ROUND_MAX);
        let probed = a_few_at_once(VAULTS_AT_ONCE, &due, |vault| self.probe_vault(vault));
        let count = probed.len();
        let failed = probed.into_iter().find_map(|(_, result)| result.err());
        let pause = next.min(LOOK_EVERY);
        *look_again = if more { since_boot } else { since_boot.saturating_add(pause) };
        failed.map_or(Ok(count), Err)
    }

    /// The vaults that are due, longest waiting first, and how long it is until another one is.
    fn vaults_due(&self) -> Result<(Vec<Vault>, Duration), Refusal> {
        let (every, now) = (self.probes_every(), self.clock.now());
        let all = self.look(|world| Vault::below(&ResourceId::root(), world))?;
        self.forget_probes_of_others(&all)?;
        let mut due = Vec::new();
        let mut next = every;
        for vault in all.into_iter().filter(is_probed) {
            let history = self.probe_history(&vault)?;
            match history.next(every) {
                Some(later) if !history.is_due(every, now) => {
                    let wait = later.duration_since(now);
                    next = next.min(wait.try_into().unwrap_or_default());
                }
                _ => due.push((history.probed_at, vault)),
            }
        }
        due.sort_by_key(|(probed_at, _)| *probed_at);
        Ok((due.into_iter().map(|(_, vault)| vault).collect(), next))
    }

    /// What is kept of vaults that are gone goes.
    fn forget_probes_of_others(&self, vaults: &[Vault]) -> Result<(), Refusal> {
        let known: BTreeSet<String> = vaults
            .iter()
            .filter_map(|vault| vault.status.vault_guid)
            .map(|guid| setting_of(&guid))
            .collect();
        let kept = self.records.settings(SETTING).map_err(|error| fault::of_store(&error))?;
        for name in kept.iter().filter(|name| !known.contains(*name)) {
            let forgotten = self.records.change_setting(name, &mut |_| None);
            forgotten.map_err(|error| fault::of_store(&error))?;
        }
        Ok(())
    }

    /// What the probes of a vault said.
    pub(crate) fn probe_history(&self, vault: &Vault) -> Result<ProbeHistory, Refusal> {
        let Some(guid) = vault.status.vault_guid else { return Ok(ProbeHistory::default()) };
        let found = self.records.setting(&setting_of(&guid));
        let found = found.map_err(|error| fault::of_store(&error))?;
        // What cannot be read was written by another version: the history begins anew.
        Ok(found.and_then(|found| ProbeHistory::deserialize(found).ok()).unwrap_or_default())
    }

    /// Probes a vault now: its keys' attributes are read and its newest data key is unwrapped as jobs
    /// do it. The results are kept; what keeps jobs from the key raises its alert.
    pub(crate) fn probe_vault(self: &Arc<Self>, vault: &Vault) -> Result<(), Refusal> {
        let Some(guid) = vault.status.vault_guid else { return Ok(()) };
        let now = self.clock.now();
        let probes = self.ask_keys(vault, now)?;
        for probe in &probes {
            self.probing.figures.count(probe);
        }
        let mut history = ProbeHistory::default();
        let stored = self.records.change_setting(&setting_of(&guid), &mut |before| {
            let before = before.and_then(|before| ProbeHistory::deserialize(before).ok());
            history = before.unwrap_or_default();
            history.add(&probes, now);
            Some(json!(history))
        });
        stored.map_err(|error| fault::of_store(&error))?;
        let applied = vault.status.applied.as_ref();
        let failover = applied.map(|applied| applied.failover).unwrap_or_default();
        let failure = match what_stops(&probes, failover) {
            Some(probe) => Some(as_refusal(probe)),
            None => standby_unproven(vault, &history, now),
        };
        self.note_key_finding(&vault.record.id, failure.as_ref(), Finding::Probe)
    }

    /// Each key version that the vault needs, as it answers now.
    fn ask_keys(self: &Arc<Self>, vault: &Vault, now: Timestamp) -> Result<Vec<KeyProbe>, Refusal> {
        let versions: BTreeSet<&KeyVersionUri> = vault.status.wraps().collect();
        let correlation = self.mint_correlation()?;
        let cause = Cause { purpose: Some(Purpose::Probe), ..Cause::of(correlation) };
        let keks = match VaultKeks::new(self, vault, vault.status.applied.as_ref(), cause) {
            Ok(keks) => keks,
            // Nobody is left to ask as.
            Err(refusal) => {
                let none = Duration::ZERO;
                let refused = |version: &&KeyVersionUri| told(version, now, none, Some(&refusal));
                return Ok(versions.iter().map(refused).collect());
            }
        };
        let mut probes = Vec::new();
        let mut usable = BTreeSet::new();
        for version in versions {
            let begun = self.clock.since_boot();
            let state = keks.describe(&version.pinned());
            let took = self.clock.since_boot().saturating_sub(begun);
            match state.and_then(|state| state_is_active(&state, now)) {
                Ok(()) => {
                    usable.insert(version);
                }
                Err(error) => probes.push(told(version, now, took, Some(&fault::of_key(&error)))),
            }
        }
        let allowed = |version: &KeyVersionUri| usable.contains(version);
        let access = KeyAccess { keys: &keks, allowed: &allowed, clock: &self.clock };
        for Probed { key, outcome, took } in probe_ring(vault, &access)? {
            let refusal = outcome.err().map(|error| fault_of(&error));
            probes.push(told(&key, now, took, refusal.as_ref()));
        }
        Ok(probes)
    }
}

/// A standby that was not proven for so long raises an alert (DESIGN §5).
const STANDBY_UNPROVEN_MAX: jiff::SignedDuration = jiff::SignedDuration::from_hours(7 * 24);

/// The alert of a standby that has not opened the vault for long, though the vault opens.
fn standby_unproven(vault: &Vault, history: &ProbeHistory, now: Timestamp) -> Option<Refusal> {
    let standby = vault.status.applied.as_ref()?.standby()?;
    let since = history.proven.get(&standby.key_uri.versionless()).copied();
    let since = since.or(vault.status.applied_at)?;
    (now.duration_since(since) >= STANDBY_UNPROVEN_MAX).then(|| {
        let text = format!("the standby key {standby} was not proven since {since}");
        Refusal::new(503, "StandbyKeyNotProven", text)
            .with_fix("custody backup vault key-health --probe")
    })
}

/// The ring is the one on record: what is in the store may not be reached by who probes keys.
fn probe_ring(vault: &Vault, access: &KeyAccess<'_>) -> Result<Vec<Probed>, Refusal> {
    let kept = vault.status.ring.as_ref().and_then(|text| BASE64.decode(text.as_bytes()).ok());
    let kept = kept.ok_or_else(|| Refusal::bug("the vault's record holds no keyring"))?;
    let trust = Trust::Chained(known_ring(&vault.status)?);
    Ring::parse(&kept)
        .and_then(|ring| probe(&ring, &trust, access))
        .map_err(|error| fault::of_envelope(&error))
}

fn is_probed(vault: &Vault) -> bool {
    let settled = vault.record.state != ProvisioningState::Deleting;
    vault.status.applied.is_some() && vault.status.keyring.is_some() && settled
}

fn setting_of(guid: &VaultGuid) -> String {
    format!("{SETTING}{guid}")
}

fn told(
    version: &KeyVersionUri,
    time: Timestamp,
    took: Duration,
    refusal: Option<&Refusal>,
) -> KeyProbe {
    let result = match refusal.map(|refusal| refusal.status) {
        None => ProbeResult::Succeeded,
        Some(403) => ProbeResult::Refused,
        Some(503) => ProbeResult::Unreachable,
        Some(_) => ProbeResult::Failed,
    };
    KeyProbe {
        time,
        key_version: version.clone(),
        latency_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        result,
        code: refusal.map(|refusal| refusal.code.to_string()),
        message: refusal.map(|refusal| refusal.message.clone()),
        fix: refusal.and_then(|refusal| refusal.fix.clone()),
    }
}

/// What jobs would be told.
fn as_refusal(probe: &KeyProbe) -> Refusal {
    let status = match probe.result {
        ProbeResult::Unreachable => 503,
        ProbeResult::Refused => 403,
        ProbeResult::Succeeded | ProbeResult::Failed => 409,
    };
    let message = probe.message.clone().unwrap_or_default();
    let refusal = Refusal::new(status, probe.code.clone().unwrap_or_default(), message);
    match &probe.fix {
        Some(fix) => refusal.with_fix(fix.clone()),
        None => refusal,
    }
}

fn fault_of(error: &EnvelopeError) -> Refusal {
    match error {
        EnvelopeError::Kek(kek) if kek.fault == KekFault::Mismatch => {
            Refusal { status: 409, ..fault::of_key(kek) }
        }
        other => fault::of_envelope(other),
    }
}
