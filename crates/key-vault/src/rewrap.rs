//! Rewrap: a batch of wrapped data keys moves to the newest version without leaving the key vault.

use std::collections::BTreeMap;

use custody_names::{KeyName, KeyVersion, KeyVersionUri};

use crate::algorithm::EncryptionAlgorithm;
use crate::answer::KeyAnswer;
use crate::audit::RequestContext;
use crate::error::{KeyVaultError, Result};
use crate::key_use::KeyUse;
use crate::key_vaults::KeyVaults;
use crate::private_key_pool::Applicant;
use crate::vault::KeyVaultRef;

/// Most data keys in one request.
pub const REWRAP_ITEMS_MAX: usize = 100;

/// A wrapped data key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewrapItem {
    /// The version that wrapped it.
    pub version: KeyVersion,
    /// The wrapped bytes.
    pub wrapped: Vec<u8>,
}

/// What became of one data key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrapped {
    /// The version that had wrapped it.
    pub from: KeyVersionUri,
    /// The bytes wrapped under the newest version, or why there are none.
    pub wrapped: std::result::Result<Vec<u8>, KeyVaultError>,
}

impl KeyVaults {
    /// One data key that cannot be unwrapped fails alone; the newest version must wrap.
    pub(crate) fn rewrap(
        &self,
        applicant: Applicant,
        vault: &KeyVaultRef,
        (name, algorithm): (&KeyName, EncryptionAlgorithm),
        items: &[RewrapItem],
        context: &RequestContext,
    ) -> Result<KeyAnswer> {
        if items.is_empty() || items.len() > REWRAP_ITEMS_MAX {
            let text = format!("a rewrap takes 1 to {REWRAP_ITEMS_MAX} items");
            return Err(KeyVaultError::BadParameter(text));
        }
        let newest = self.usable(vault, name, None, KeyUse::WrapKey, context)?;
        algorithm.check(newest.key.shape)?;
        // Each version's key is opened once, however many items it wrapped.
        let mut opened = BTreeMap::new();
        let items = items.iter().map(|item| {
            let from = opened.entry(&item.version).or_insert_with(|| {
                self.usable(vault, name, Some(&item.version), KeyUse::UnwrapKey, context)
            });
            let wrapped = from.as_ref().map_err(Clone::clone).and_then(|from| {
                let place = self.pool().enter(applicant, from.key.shape)?;
                let plain = from.unwrap(algorithm, &item.wrapped)?;
                drop(place);
                newest.wrap(algorithm, &plain, self.entropy())
            });
            let (vault, key) = (vault.vault.clone(), name.clone());
            let from = KeyVersionUri { vault, key, version: item.version.clone() };
            Rewrapped { from, wrapped }
        });
        let items = items.collect();
        Ok(KeyAnswer::Rewrapped { key: newest.key.id.clone(), items })
    }
}
