//! What would break: which vaults, items and recovery points hang on a key, version by version.
//! Rule 124, from the reference index and the keyrings; nothing is changed by asking.

use custody_ambient::Timestamp;
use custody_backup_vaults::{Failover, Vault, items_of, rules, vaults_that_name};
use custody_names::{KeyUri, KeyVersion};
use custody_protection::points_of;
use custody_resources::{Stop, World};
use serde::Serialize;

/// One version of the key, as the key vault tells it.
#[derive(Clone, Debug)]
pub(crate) struct VersionFacts {
    /// The version.
    pub(crate) version: KeyVersion,
    /// Whether it may be used.
    pub(crate) enabled: bool,
    /// When it was made.
    pub(crate) created: Timestamp,
}

/// The report of `drill revoke`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependants {
    /// The key.
    pub key: KeyUri,
    /// Its versions, newest first.
    pub versions: Vec<VersionReport>,
    /// What would become unreadable if the whole key went.
    pub summary: Summary,
}

/// Counts of what would become unreadable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Vaults.
    pub vaults: usize,
    /// Items in them.
    pub items: usize,
    /// Recovery points of those.
    pub recovery_points: usize,
}

/// One version and what hangs on it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionReport {
    /// The version.
    pub version: KeyVersion,
    /// Whether it may be used now.
    pub enabled: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is the newest.
    pub newest: bool,
    /// Whether it can be disabled or purged without losing anything.
    pub retire_safely: bool,
    /// Why, or why not.
    pub because: String,
    /// The vaults that it wraps keys of.
    pub vaults: Vec<VaultReport>,
}

/// A vault that hangs on a version.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultReport {
    /// Its resource id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The generations of data keys that the version wraps.
    pub generations: Vec<u32>,
    /// The other key that wraps them too, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_key: Option<KeyUri>,
    /// Whether the loss of this key alone stops the vault: not if either of two keys is enough.
    pub stops_alone: bool,
    /// Its items and how many recovery points each would lose.
    pub items: Vec<ItemReport>,
}

/// An item that hangs on a version.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemReport {
    /// Its name.
    pub name: String,
    /// Its recovery points.
    pub recovery_points: usize,
}

/// Rule 124: reports on a key whose versions are `facts`, newest first.
pub(crate) fn dependants(
    key: &KeyUri,
    facts: &[VersionFacts],
    world: &World,
) -> Result<Dependants, Stop> {
    let vaults = vaults_that_name(key, world)?;
    let mut versions = Vec::new();
    for (place, fact) in facts.iter().enumerate() {
        versions.push(report(key, fact, place == 0, &vaults, world)?);
    }
    let mut summary = Summary { vaults: vaults.len(), ..Summary::default() };
    for vault in &vaults {
        for item in items(vault, world)? {
            summary.items += 1;
            summary.recovery_points += item.recovery_points;
        }
    }
    Ok(Dependants { key: key.versionless(), versions, summary })
}

/// How many vaults hang on the key; with a version, how many on that one: their keyring is wrapped
/// by it, or they are pinned to it.
pub(crate) fn vaults_on(key: &KeyUri, world: &World) -> Result<usize, Stop> {
    let mut count = 0;
    for vault in vaults_that_name(key, world)? {
        let Some(version) = &key.version else {
            count += 1;
            continue;
        };
        let wrapped = key.at(version.clone());
        let wraps = vault.status.wraps().any(|version| *version == wrapped);
        let mut applied = vault.status.applied.iter().flat_map(|applied| applied.addressed_keys());
        count += usize::from(wraps || applied.any(|applied| applied.key_uri == *key));
    }
    Ok(count)
}

fn report(
    key: &KeyUri,
    fact: &VersionFacts,
    newest: bool,
    vaults: &[Vault],
    world: &World,
) -> Result<VersionReport, Stop> {
    let version = key.at(fact.version.clone());
    let mut hanging = Vec::new();
    let mut awaited = 0_usize;
    for vault in vaults {
        let ring = vault.status.keyring.iter().flat_map(|ring| &ring.generations);
        let generations: Vec<u32> = ring
            .filter(|generation| generation.wraps.contains(&version))
            .map(|generation| generation.generation)
            .collect();
        let mut keys = vault.status.applied.iter().flat_map(|applied| applied.addressed_keys());
        let applied = keys.find(|applied| applied.key_uri.versionless() == key.versionless());
        let applied = applied.map(|applied| &applied.key_uri);
        let pinned = applied.is_some_and(|uri| uri.version.as_ref() == Some(&fact.version));
        let follows = newest && applied.is_some_and(rules::follows_newest_version);
        if generations.is_empty() {
            awaited += usize::from(pinned || follows);
            continue;
        }
        let settings = vault.status.applied.as_ref();
        let keys = settings.iter().flat_map(|settings| settings.addressed_keys());
        let mut others = keys.map(|other| other.key_uri.versionless());
        let other = others.find(|other| *other != key.versionless());
        hanging.push(VaultReport {
            id: vault.record.id.to_string(),
            name: vault.record.id.name().unwrap_or_default().to_owned(),
            generations,
            stops_alone: other.is_none()
                || settings.is_none_or(|now| now.failover == Failover::Stop),
            other_key: other,
            items: items(vault, world)?,
        });
    }
    let saved = hanging.iter().filter(|vault| !vault.stops_alone).count();
    let because = match (hanging.len(), awaited) {
        (0, 0) => "no keyring is wrapped by it and no vault asks for it".to_owned(),
        (0, waiting) => format!("{waiting} vault(s) will be rewrapped to it at their next job"),
        (count, _) if saved > 0 => format!(
            "the keyrings of {count} vault(s) are wrapped by it; disabling this key alone does not \
             revoke: {saved} of them open by another key as well"
        ),
        (count, _) => format!("the keyrings of {count} vault(s) are wrapped by it"),
    };
    Ok(VersionReport {
        version: fact.version.clone(),
        enabled: fact.enabled,
        created: fact.created,
        newest,
        retire_safely: hanging.is_empty() && awaited == 0,
        because,
        vaults: hanging,
    })
}

fn items(vault: &Vault, world: &World) -> Result<Vec<ItemReport>, Stop> {
    let mut all = Vec::new();
    for item in items_of(&vault.record.id, world)? {
        all.push(ItemReport {
            name: item.id.name().unwrap_or_default().to_owned(),
            recovery_points: points_of(&item.id, world)?.len(),
        });
    }
    Ok(all)
}
