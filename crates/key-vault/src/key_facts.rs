//! What the key vault knows of a key, for the platform itself.

use custody_ambient::Timestamp;
use custody_names::KeyName;

use crate::error::{KeyVaultError, Result};
use crate::key::KeyItem;
use crate::key_list::Page;
use crate::key_vaults::KeyVaults;
use crate::rotation_policy::RotationPolicy;
use crate::vault::KeyVaultRef;

/// A key as its owner sees it, without its private part.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyFacts {
    /// Its versions, the newest first.
    pub versions: Vec<KeyItem>,
    /// Its rotation policy, if it was given one.
    pub policy: Option<RotationPolicy>,
    /// When it is rotated by that: never while its newest version is disabled.
    pub next_rotation: Option<Timestamp>,
}

impl KeyVaults {
    /// What is known of a key, if there is such a key: for the platform, which tells by it how the
    /// vaults under the key stand. Nothing is used, so nothing is recorded.
    ///
    /// # Errors
    /// The store's.
    pub fn key_facts(&self, vault: &KeyVaultRef, name: &KeyName) -> Result<Option<KeyFacts>> {
        let found = self.store().read(|session| {
            let (versions, _) = session.versions(vault, name, Page::WHOLE)?;
            Ok((versions, session.rotation_policy(vault, name)?))
        });
        let (versions, policy) = match found {
            Ok(found) => found,
            Err(KeyVaultError::KeyNotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let newest = versions.first().filter(|newest| newest.attributes.enabled);
        let next_rotation = newest.zip(policy.as_ref()).and_then(|(newest, policy)| {
            policy.rotates(newest.attributes.created, newest.attributes.expires)
        });
        Ok(Some(KeyFacts { versions, policy, next_rotation }))
    }
}
