//! How the keys of a vault stand: age, expiry, rotation, what wraps what, and what is to be done.

use std::time::Duration;

use custody_ambient::Timestamp;
use custody_names::{KeyUri, KeyVersion};
use serde::Serialize;
use serde_json::Value;

use crate::encryption::{Failover, KeyVaultProperties};
use crate::key_alert::KeyAlert;
use crate::key_probe::{ProbeHistory, ProbeResult, what_stops};
use crate::vault::Vault;

mod warnings;

pub use warnings::{Severity, Warning};

/// Whether a key is a vault's first one or its standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum KeyRole {
    /// The key of the encryption settings.
    Primary,
    /// The second key around the same data keys.
    Standby,
}

/// A key vault or managed HSM, as far as a vault depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Its name.
    pub name: String,
    /// Whether it is a managed HSM.
    pub managed_hsm: bool,
    /// Where it lies.
    pub location: String,
    /// Whether what is deleted there can be brought back.
    pub soft_delete: bool,
    /// For how long, in days.
    pub soft_delete_days: u32,
    /// Whether what is deleted there stays for that long in any case.
    pub purge_protection: bool,
}

/// A version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVersionFacts {
    /// The version.
    pub version: KeyVersion,
    /// Whether it may be used.
    pub enabled: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Not to be used before.
    pub not_before: Option<Timestamp>,
    /// Not to be used from then on.
    pub expires: Option<Timestamp>,
}

/// What its key vault knows of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyFacts {
    /// What the vault uses it as.
    pub role: KeyRole,
    /// The key as the settings name it.
    pub key: KeyVaultProperties,
    /// What holds it; none if that is gone.
    pub holder: Option<Holder>,
    /// Its versions, the newest first; none if the key is gone.
    pub versions: Vec<KeyVersionFacts>,
    /// Its rotation policy, as the key vault shows it.
    pub rotation_policy: Option<Value>,
    /// When it is rotated by that.
    pub next_rotation: Option<Timestamp>,
}

/// The keys of a vault at one glance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyHealth {
    /// The vault.
    pub vault: String,
    /// The worst of the warnings; `Healthy` without any but advice.
    pub status: &'static str,
    /// What a refusal of one of two keys means; none with a single key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// Each key.
    pub keys: Vec<ShownKey>,
    /// What needs attention, and what mends it; the worst first.
    pub warnings: Vec<Warning>,
    /// What keeps, or kept, jobs and probes from the key.
    pub alerts: Vec<KeyAlert>,
    /// The probes.
    pub probes: ShownProbes,
}

/// A key of a vault.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownKey {
    role: KeyRole,
    key_uri: String,
    follows_newest_version: bool,
    key_vault: Option<Holder>,
    newest_version: Option<ShownVersion>,
    wraps: Vec<ShownWrap>,
    rotation_policy: Option<Value>,
    next_rotation: Option<Timestamp>,
    last_proven: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownVersion {
    version: KeyVersion,
    enabled: bool,
    created: Timestamp,
    age_days: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days_left: Option<i64>,
}

/// A version that wraps data keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownWrap {
    version: KeyVersion,
    generations: Vec<u32>,
    is_newest: bool,
    /// None if the key vault does not know the version any more.
    enabled: Option<bool>,
}

/// The probes of a vault.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownProbes {
    /// How often, in seconds.
    every_seconds: u64,
    next: Option<Timestamp>,
    /// Of the results that are kept, those that succeeded, in percent.
    succeeded_percent: Option<u64>,
    /// The newest last.
    results: Vec<crate::KeyProbe>,
}

/// How the keys of `vault` stand at `now`, with what the documents recommend where it is wanting
/// (rule 123). `history` is what its probes said, which come `every` so
/// often.
pub fn key_health(
    vault: &Vault,
    facts: &[KeyFacts],
    history: &ProbeHistory,
    every: Duration,
    now: Timestamp,
) -> KeyHealth {
    let status = &vault.status;
    let applied = status.applied.as_ref();
    let warnings = warnings::of(vault, facts, history, now);
    let alerts = status.key_alerts.clone();
    let failover = applied.filter(|applied| applied.standby().is_some());
    let stopped = failover.map(|applied| applied.failover).unwrap_or_default();
    let last: Vec<_> = history.last_round().cloned().collect();
    let lost = what_stops(&last, stopped).is_some() || alerts.iter().any(KeyAlert::is_open);
    let worst = warnings.iter().map(|warning| warning.severity).min();
    let word = match worst {
        _ if lost => "Unusable",
        Some(Severity::Error) => "Unusable",
        Some(Severity::Warning) => "Warning",
        Some(Severity::Advice) | None => "Healthy",
    };
    let kept = history.results.len() as u64;
    let good = history.results.iter().filter(|probe| probe.result == ProbeResult::Succeeded);
    KeyHealth {
        vault: vault.record.id.to_string(),
        status: word,
        failover: failover.map(|applied| applied.failover),
        keys: facts.iter().map(|facts| shown(vault, facts, history, now)).collect(),
        warnings,
        alerts,
        probes: ShownProbes {
            every_seconds: every.as_secs(),
            next: history.next(every),
            succeeded_percent: (good.count() as u64 * 100).checked_div(kept),
            results: history.results.iter().cloned().collect(),
        },
    }
}

fn shown(vault: &Vault, facts: &KeyFacts, history: &ProbeHistory, now: Timestamp) -> ShownKey {
    let uri = &facts.key.key_uri;
    let newest = facts.versions.first();
    ShownKey {
        role: facts.role,
        key_uri: facts.key.to_string(),
        follows_newest_version: crate::rules::follows_newest_version(uri),
        key_vault: facts.holder.clone(),
        newest_version: newest.map(|version| ShownVersion {
            version: version.version.clone(),
            enabled: version.enabled,
            created: version.created,
            age_days: days_between(version.created, now),
            not_before: version.not_before,
            expires: version.expires,
            days_left: version.expires.map(|end| days_between(now, end)),
        }),
        wraps: wrapping_versions(vault, uri)
            .into_iter()
            .map(|(version, generations)| ShownWrap {
                is_newest: newest.is_some_and(|newest| newest.version == version),
                enabled: facts.version(&version).map(|known| known.enabled),
                version,
                generations,
            })
            .collect(),
        rotation_policy: facts.rotation_policy.clone(),
        next_rotation: facts.next_rotation,
        last_proven: history.proven.get(&uri.versionless()).copied(),
    }
}

impl KeyFacts {
    fn version(&self, version: &KeyVersion) -> Option<&KeyVersionFacts> {
        self.versions.iter().find(|known| known.version == *version)
    }
}

/// Whole days from one time to a later one; negative if it is earlier.
fn days_between(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs().div_euclid(24 * 3600)
}

/// The versions of a key that wrap data keys of a vault, with the generations.
fn wrapping_versions(vault: &Vault, key: &KeyUri) -> Vec<(KeyVersion, Vec<u32>)> {
    let all = vault.status.generations_by_wrap().into_iter();
    all.filter(|(wrap, _)| wrap.versionless() == key.versionless())
        .map(|(wrap, generations)| (wrap.version.clone(), generations))
        .collect()
}
