//! Keys that are made unless they are there, as ARM makes them: the same request again changes
//! nothing, whoever sends it first.

use custody_ambient::Timestamp;
use custody_names::KeyName;

use crate::crypto::KeyPair;
use crate::error::{KeyVaultError, Result};
use crate::key::{Key, NewKey, not_found};
use crate::key_rows::Birth;
use crate::rotation_policy::RotationPolicy;
use crate::session::Session;
use crate::vault::KeyVaultRef;

impl Session<'_> {
    /// Whether there is a key of this name that is not deleted.
    pub(crate) fn has_key(&self, vault: &KeyVaultRef, name: &KeyName) -> Result<bool> {
        match self.version(vault, name, None) {
            Ok(_) => Ok(true),
            Err(KeyVaultError::KeyNotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The key as it is, or made with its rotation policy. `made` has no key pair if the key was
    /// there a moment ago; should it have gone since, it is not found.
    pub(crate) fn create_if_absent(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        new: &NewKey,
        made: (Option<&KeyPair>, Option<&RotationPolicy>),
        now: Timestamp,
    ) -> Result<Key> {
        if self.has_key(vault, name)? {
            return self.version(vault, name, None).map(|row| row.key);
        }
        let (pair, policy) = made;
        let pair = pair.ok_or_else(|| not_found(name, None))?;
        let key = self.create(vault, name, new, pair, Birth::made(now))?;
        if let Some(policy) = policy {
            self.set_rotation_policy(vault, name, policy, now)?;
        }
        Ok(key)
    }
}
