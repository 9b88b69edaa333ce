//! How the keys of a vault stand: what the records, the key vault and the probes know together.

use std::sync::Arc;

use custody_backup_vaults::{
    Holder, KeyFacts, KeyRole, KeyVaultProperties, KeyVersionFacts, key_health,
};
use custody_key_vault::KeyItem;
use custody_names::ResourceId;
use custody_resources::Refusal;
use serde_json::{Value, json};

use crate::{Platform, fault};

/// `GET V/keyHealth`. No key is used. What it shows of a key are its attributes, which its vault's
/// identity could read; whoever may read the vault's health need have no right on the key.
pub fn show(platform: &Platform, id: &ResourceId) -> Result<Value, Refusal> {
    let vault = platform.vault(id)?;
    let mut keys = Vec::new();
    let applied = vault.status.applied.as_ref();
    let roles = [KeyRole::Primary, KeyRole::Standby];
    for (role, key) in roles.into_iter().zip(applied.iter().flat_map(|now| now.addressed_keys())) {
        keys.push(facts(platform, role, key)?);
    }
    let history = platform.probe_history(&vault)?;
    let (every, now) = (platform.probes_every(), platform.clock.now());
    Ok(json!(key_health(&vault, &keys, &history, every, now)))
}

/// `POST V/probeKey`: probes at once, and shows how the keys stand then.
pub fn probe(platform: &Arc<Platform>, id: &ResourceId) -> Result<Value, Refusal> {
    let vault = platform.vault(id)?;
    if vault.status.applied.is_some() {
        platform.probe_vault(&vault)?;
    }
    show(platform, id)
}

fn facts(
    platform: &Platform,
    role: KeyRole,
    key: &KeyVaultProperties,
) -> Result<KeyFacts, Refusal> {
    let mut known = KeyFacts {
        role,
        key: key.clone(),
        holder: None,
        versions: Vec::new(),
        rotation_policy: None,
        next_rotation: None,
    };
    let Some(found) = platform.key_holder(&key.key_uri)? else { return Ok(known) };
    let holder = &found.vault;
    known.holder = Some(Holder {
        name: holder.vault.to_string(),
        managed_hsm: holder.managed_hsm,
        location: holder.location.clone(),
        soft_delete: holder.soft_delete,
        soft_delete_days: holder.soft_delete_days,
        purge_protection: holder.purge_protection,
    });
    let looked = platform.key_vaults.key_facts(holder, &key.key_uri.key);
    if let Some(own) = looked.map_err(|error| fault::of_key_vault(&error))? {
        known.versions = own.versions.into_iter().map(version).collect();
        known.rotation_policy = own.policy.map(|policy| json!(policy));
        known.next_rotation = own.next_rotation;
    }
    Ok(known)
}

fn version(item: KeyItem) -> KeyVersionFacts {
    KeyVersionFacts {
        version: item.id.version,
        enabled: item.attributes.enabled && !item.attributes.below_floor,
        created: item.attributes.created,
        not_before: item.attributes.not_before,
        expires: item.attributes.expires,
    }
}
