//! The way that requests of vaults' identities take to a key vault.

use std::sync::Arc;

use custody_key_vault::{KeyAnswer, KeyOperation, KeyVaultError};

use crate::Platform;

/// What lies between a vault's identity and its key vault. To the embedded key vaults nothing does;
/// drills and tests put here what a distant one can do: be slow, throttle, fail, be away.
pub trait KeyVaultLink: Send + Sync {
    /// Carries one request; `deliver` brings it to the key vault and may be called any number of
    /// times.
    ///
    /// # Errors
    /// The key vault's, or whatever keeps the request from it.
    fn carry(
        &self,
        operation: &KeyOperation<'_>,
        deliver: &dyn Fn() -> Result<KeyAnswer, KeyVaultError>,
    ) -> Result<KeyAnswer, KeyVaultError>;
}

impl Platform {
    /// Lets all further requests of vaults' identities go this way. The first link stays.
    pub fn link_key_vaults(&self, link: Arc<dyn KeyVaultLink>) {
        let _ = self.key_vault_link.set(link);
    }

    pub(crate) fn over_link(
        &self,
        operation: &KeyOperation<'_>,
        deliver: &dyn Fn() -> Result<KeyAnswer, KeyVaultError>,
    ) -> Result<KeyAnswer, KeyVaultError> {
        match self.key_vault_link.get() {
            Some(link) => link.carry(operation, deliver),
            None => deliver(),
        }
    }
}
