//! What only the server writes of a vault, of either kind.

use custody_ambient::Timestamp;
use custody_names::{KeyUri, KeyVersionUri, VaultGuid};
use custody_resources::{Identity, Reference, Refusal, Target};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::encryption::EncryptionSettings;
use crate::key_alert::KeyAlert;

/// One generation of data keys and what wraps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationSummary {
    /// Its number.
    pub generation: u32,
    /// The key versions that wrap it.
    pub wraps: Vec<KeyVersionUri>,
}

/// What the ring in force holds, so that "which key version wraps what" needs no key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringSummary {
    /// The ring's number.
    pub number: u64,
    /// SHA-256 of the ring's bytes, hexadecimal: the head the repository must show.
    pub hash: String,
    /// The generations, oldest first.
    pub generations: Vec<GenerationSummary>,
}

/// What only the server writes of a vault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VaultStatus {
    /// The vault as its cryptography knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_guid: Option<VaultGuid>,
    /// What protects the vault now; `None` is the platform-managed key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<EncryptionSettings>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<Timestamp>,
    /// The ring in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyring: Option<KeyringSummary>,
    /// The ring in force itself, base64: the record store's copy (DESIGN §5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<String>,
    /// The repository's fingerprint, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The last seen head of the repository's log: number and SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_head: Option<(u64, String)>,
    /// The newest checkpoint of that log: number and SHA-256. Jobs read the log from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_checkpoint: Option<(u64, String)>,
    /// Where the repository lies, if a store was named; otherwise it lies in the data folder,
    /// wherever that is moved to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_place: Option<String>,
    /// Whether anybody ever tried to protect something in it, with or without success (rule 55).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ever_protected: bool,
    /// Whether a resource guard protects it: written with what puts it under one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_guarded: bool,
    /// Whether a new ring is in force, but what follows is not done: that it lies in the store, that
    /// the rings before it are gone, that the repository's log knows it (rule 70).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_inconsistent: bool,
    /// Why the last update of the encryption settings failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
    /// How many recovery points were given up since the last prune: what they held takes up space
    /// until then.
    #[serde(skip_serializing_if = "is_zero")]
    pub given_up_points: u64,
    /// When the platform last began a prune by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune_tried_at: Option<Timestamp>,
    /// What keeps, or kept, jobs from the key (rules 62 and 63).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub key_alerts: Vec<KeyAlert>,
}

impl VaultStatus {
    /// The key versions that the ring in force is wrapped by.
    pub fn wraps(&self) -> impl Iterator<Item = &KeyVersionUri> {
        self.keyring.iter().flat_map(|ring| &ring.generations).flat_map(|one| &one.wraps)
    }

    /// The key versions that the ring in force is wrapped by, each with the generations of data keys
    /// that it wraps.
    pub fn generations_by_wrap(&self) -> Vec<(&KeyVersionUri, Vec<u32>)> {
        let mut all: Vec<(&KeyVersionUri, Vec<u32>)> = Vec::new();
        for generation in self.keyring.iter().flat_map(|ring| &ring.generations) {
            for wrap in &generation.wraps {
                match all.iter_mut().find(|(version, _)| *version == wrap) {
                    Some((_, generations)) => generations.push(generation.generation),
                    None => all.push((wrap, vec![generation.generation])),
                }
            }
        }
        all
    }

    /// The ring in force as clients see it: what a managed HSM's key wraps is shown by its address
    /// there.
    pub(crate) fn shown_keyring(&self) -> Option<Value> {
        let mut shown = json!(self.keyring.as_ref()?);
        let keys = self.applied.iter().flat_map(EncryptionSettings::addressed_keys);
        let in_hsm: Vec<KeyUri> =
            keys.filter(|key| key.in_managed_hsm).map(|key| key.key_uri.versionless()).collect();
        let generations = shown.get_mut("generations").and_then(Value::as_array_mut);
        for generation in generations.into_iter().flatten() {
            let wraps = generation.get_mut("wraps").and_then(Value::as_array_mut);
            for wrap in wraps.into_iter().flatten() {
                let version: Option<KeyUri> = wrap.as_str().and_then(|text| text.parse().ok());
                let of_key = |version: &KeyUri| in_hsm.contains(&version.versionless());
                if let Some(version) = version.filter(of_key) {
                    *wrap = version.in_managed_hsm().into();
                }
            }
        }
        Some(shown)
    }

    /// What the vault names: the key it is to be under, those its data is under, its identities.
    pub(crate) fn references(
        &self,
        wanted: Option<&EncryptionSettings>,
        identity: Option<&Identity>,
    ) -> Vec<Reference> {
        let mut all = Vec::new();
        for settings in wanted.into_iter().chain(&self.applied) {
            for key in settings.addressed_keys() {
                all.push(Reference::new("encryptedBy", Target::key(&key.key_uri)));
            }
        }
        for version in self.wraps() {
            all.push(Reference::new("encryptedBy", Target::key(&version.versionless())));
            all.push(Reference::new("wrappedBy", Target::KeyVersion(version.to_string())));
        }
        for attached in identity.iter().flat_map(|identity| &identity.user_assigned) {
            all.push(Reference::new("usesIdentity", Target::resource(&attached.id)));
        }
        all.sort_by(|one, two| (&one.relation, &one.to).cmp(&(&two.relation, &two.to)));
        all.dedup();
        all
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
