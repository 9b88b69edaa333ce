//! The first ring of a vault.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use custody_ambient::{Entropy, Timestamp, random_array};
use custody_names::{KeyVersionUri, VaultGuid};
use zeroize::Zeroizing;

use crate::derivation::{Key, KeyKind, id_sealing_key, key_commitment};
use crate::key_set::random_key;
use crate::ring::{Body, DataKey, IdKey, SEALED_ID_KEY_BYTES, Wrap};
use crate::unwrap::wrap_plaintext;
use crate::{
    EnvelopeError, Failover, KeyAccess, KeyEncryptionKeys, LEASE_DEFAULT, Ring, Trust, VaultKeys,
    WRAPS_MAX, WrapAlgorithm, WrappedKey, chain, unwrap,
};

/// A key version and how it is to wrap. A wrap that stands under the version already is left as
/// it is, whatever its algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrapKey {
    /// The key version.
    pub key: KeyVersionUri,
    /// The algorithm.
    pub algorithm: WrapAlgorithm,
}

/// What a vault's keys are to be wrapped by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTarget {
    /// The customer's keys, or the platform's where the customer brings none: 1 to 4, each of
    /// which alone opens the vault.
    pub keys: Vec<WrapKey>,
    /// The platform's keys for the second layer; empty for a vault without infrastructure
    /// encryption. Whether a vault has one is settled by its first ring.
    pub infrastructure: Vec<WrapKey>,
    /// What a definite refusal of one of several keys means.
    pub failover: Failover,
}

/// Makes the first ring of a vault and unlocks it: an AES-256 data key, wrapped by the key
/// encryption keys, which encrypt nothing else (rule 2). Every wrap has been unwrapped once when this
/// returns; nothing has been stored.
///
/// # Errors
/// [`EnvelopeError::TargetInvalid`], the answer of a key that does not wrap or unwrap,
/// [`EnvelopeError::Entropy`].
pub fn create(
    vault: VaultGuid,
    target: &KeyTarget,
    access: &KeyAccess<'_>,
    entropy: &dyn Entropy,
) -> Result<(Ring, VaultKeys), EnvelopeError> {
    target.check()?;
    let made = to_the_millisecond(access.clock.now())?;
    let data_key = random_key(entropy)?;
    let maker = KeyMaker { vault, generation: 1, made, keys: access.keys };
    let first = maker.wrap(&data_key, KeyKind::Data, &target.keys)?;
    let infrastructure = if target.infrastructure.is_empty() {
        None
    } else {
        let key = random_key(entropy)?;
        Some(maker.wrap(&key, KeyKind::Infrastructure, &target.infrastructure)?)
    };
    let body = Body {
        vault,
        number: 1,
        made,
        chain: None,
        data_keys: vec![DataKey { key: first, endorsement: None }],
        id_keys: vec![seal_id_key(&random_key(entropy)?, 1, (1, &data_key), vault, entropy)?],
        infrastructure,
        failover: target.failover,
        rewrap_under_way: false,
    };
    let ring = chain::sign(body, None, (1, data_key.as_slice()))?;
    let unwrapped = unwrap(&ring, &Trust::Chained(ring.known()), access)?;
    if let Some(fault) = unwrapped.faults().first() {
        return Err(fault.clone().into());
    }
    let unproven = |key: &&WrapKey| !unwrapped.proven().contains(&key.key);
    if let Some(WrapKey { key, .. }) = target.all().find(unproven) {
        return Err(EnvelopeError::WrapUnproven { key: key.clone() });
    }
    let keys = VaultKeys::under_lease(unwrapped, Arc::clone(access.clock), LEASE_DEFAULT)?;
    Ok((ring, keys))
}

impl KeyTarget {
    /// Most keys at a time: a rewrap holds the wraps of two targets.
    const KEYS_MAX: usize = WRAPS_MAX / 2;

    /// One key for the data and none for a second layer.
    pub fn one_key(key: KeyVersionUri, algorithm: WrapAlgorithm) -> Self {
        let keys = vec![WrapKey { key, algorithm }];
        Self { keys, infrastructure: Vec::new(), failover: Failover::Stop }
    }

    pub(crate) fn check(&self) -> Result<(), EnvelopeError> {
        let invalid = |why| Err(EnvelopeError::TargetInvalid { why });
        if self.keys.is_empty() {
            return invalid("at least one key must wrap it");
        }
        for keys in [&self.keys, &self.infrastructure] {
            let versions: BTreeSet<_> = keys.iter().map(|key| &key.key).collect();
            if versions.len() != keys.len() {
                return invalid("a key version is named twice");
            }
            if keys.len() > Self::KEYS_MAX {
                return invalid("more than four keys are named");
            }
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &WrapKey> {
        self.keys.iter().chain(&self.infrastructure)
    }
}

/// Makes the entry of a new key in a ring.
pub(crate) struct KeyMaker<'a> {
    pub(crate) vault: VaultGuid,
    pub(crate) generation: u32,
    pub(crate) made: Timestamp,
    pub(crate) keys: &'a dyn KeyEncryptionKeys,
}

impl KeyMaker<'_> {
    pub(crate) fn wrap(
        &self,
        key: &Key,
        kind: KeyKind,
        by: &[WrapKey],
    ) -> Result<WrappedKey, EnvelopeError> {
        let plain = wrap_plaintext(key.as_slice(), kind, self.vault, self.generation);
        let wrap = |by: &WrapKey| -> Result<Wrap, EnvelopeError> {
            let bytes = self.keys.wrap(&by.key, by.algorithm, &plain)?;
            Ok(Wrap { key: by.key.clone(), algorithm: by.algorithm, bytes })
        };
        Ok(WrappedKey {
            generation: self.generation,
            made: self.made,
            commitment: *key_commitment(kind, key.as_slice(), self.vault, self.generation)?,
            wraps: by.iter().map(wrap).collect::<Result<_, _>>()?,
        })
    }
}

/// Seals an id key under a data key, with a fresh salt.
pub(crate) fn seal_id_key(
    id_key: &Key,
    generation: u32,
    (sealed_by, data_key): (u32, &Key),
    vault: VaultGuid,
    entropy: &dyn Entropy,
) -> Result<IdKey, EnvelopeError> {
    let salt = random_array(entropy)?;
    let sealing_key = id_sealing_key(data_key.as_slice(), &salt, vault, generation)?;
    let sealing_key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, sealing_key.as_slice())?);
    let mut plain = Zeroizing::new(**id_key);
    // A fresh salt makes a fresh key, which seals this once.
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let tag = sealing_key.seal_in_place_separate_tag(nonce, Aad::empty(), plain.as_mut_slice())?;
    let mut sealed = [0; SEALED_ID_KEY_BYTES];
    let bytes = plain.iter().chain(tag.as_ref());
    sealed.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    Ok(IdKey { generation, sealed_by, salt, sealed })
}

/// What a ring can keep of a time.
pub(crate) fn to_the_millisecond(now: Timestamp) -> Result<Timestamp, EnvelopeError> {
    Timestamp::from_millisecond(now.as_millisecond())
        .map_err(|_| EnvelopeError::Bug("a time is no time"))
}
