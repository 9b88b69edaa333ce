//! From a ring to keys, by way of the key vaults that guard them (keyring.md §5).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use custody_ambient::Clock;
use custody_names::{KeyVersionUri, VaultGuid};
use zeroize::Zeroizing;

use crate::derivation::{
    KEY_BYTES, Key, KeyKind, binding_digest, equal, id_sealing_key, key_commitment,
};
use crate::key_set::KeySet;
use crate::ring::{IdKey, Wrap};
use crate::{
    EnvelopeError, Failover, KekError, KekFault, KeyEncryptionKeys, KnownRing, LEASE_DEFAULT, Ring,
    SecretBytes, Trust, VaultKeys, WrappedKey, chain,
};

/// The way to the key encryption keys.
#[derive(Clone, Copy)]
pub struct KeyAccess<'a> {
    /// The provider, or one that passes each call on to the provider of the key's key vault.
    pub keys: &'a dyn KeyEncryptionKeys,
    /// Whether a key version may be called: it is a key of the vault's record or was named by the
    /// user. A ring's key URIs are hints that anyone may have written.
    pub allowed: &'a dyn Fn(&KeyVersionUri) -> bool,
    /// The clock that leases run by.
    pub clock: &'a Arc<dyn Clock>,
}

/// The keys of a genuine ring, just unwrapped: the proof without which no lease begins or goes on.
pub struct Unwrapped {
    pub(crate) ring: KnownRing,
    pub(crate) keys: KeySet,
    /// Generation of the infrastructure key, 0 without one.
    pub(crate) infrastructure: u32,
    /// When the key vaults were asked, not when they answered.
    pub(crate) asked_at: Duration,
    proven: Vec<KeyVersionUri>,
    faults: Vec<KekError>,
}

/// Opens a ring and puts its keys under a lease of [`LEASE_DEFAULT`].
///
/// # Errors
/// As for [`unwrap`].
pub fn unlock(
    ring: &Ring,
    trust: &Trust,
    access: &KeyAccess<'_>,
) -> Result<VaultKeys, EnvelopeError> {
    let unwrapped = unwrap(ring, trust, access)?;
    VaultKeys::under_lease(unwrapped, Arc::clone(access.clock), LEASE_DEFAULT)
}

/// Opens a ring: holds it against `trust`, asks every allowed key that wraps its newest
/// generation, unwraps the other generations and checks that the ring is genuine.
///
/// # Errors
/// The key's own refusal ([`EnvelopeError::Kek`]) if any key refuses, unless the ring says
/// failover; an unreachable key only if no other opens the ring. [`EnvelopeError::RingRolledBack`],
/// [`EnvelopeError::RingUntrusted`], [`EnvelopeError::RingForeignVault`] if `trust` does not hold;
/// [`EnvelopeError::RingDamaged`] and [`EnvelopeError::CommitmentMismatch`] if it is not genuine.
pub fn unwrap(
    ring: &Ring,
    trust: &Trust,
    access: &KeyAccess<'_>,
) -> Result<Unwrapped, EnvelopeError> {
    let asked_at = access.clock.since_boot();
    trust.check(ring)?;
    let mut inquiry = Inquiry::new(ring, *access);
    let mut data_keys = Vec::new();
    for (behind_newest, wrapped) in ring.generations().rev().enumerate() {
        let asked = if behind_newest == 0 { Asked::EveryKey } else { Asked::UntilOpened };
        data_keys.push(inquiry.open(wrapped, KeyKind::Data, asked)?);
    }
    data_keys.reverse();
    let infrastructure = match ring.infrastructure() {
        Some(wrapped) => Some(inquiry.open(wrapped, KeyKind::Infrastructure, Asked::EveryKey)?),
        None => None,
    };
    let newest = data_keys.last().ok_or(EnvelopeError::Bug("a ring without a generation"))?;
    let id_keys = ring.body().id_keys.iter();
    let id_keys = id_keys
        .map(|id_key| open_id_key(id_key, newest, ring.vault()))
        .collect::<Result<Vec<_>, _>>()?;
    let keys = KeySet::new(&data_keys, &id_keys, infrastructure.as_ref())?;
    chain::verify(ring, &keys)?;
    let (proven, faults) = inquiry.outcome();
    let infrastructure = ring.infrastructure().map_or(0, WrappedKey::generation);
    Ok(Unwrapped { ring: ring.known(), keys, infrastructure, asked_at, proven, faults })
}

impl Unwrapped {
    /// The ring that was opened, as the vault's record keeps it.
    pub fn ring(&self) -> &KnownRing {
        &self.ring
    }

    /// The key versions that opened something: a standby counts as proven only if it is here.
    pub fn proven(&self) -> &[KeyVersionUri] {
        &self.proven
    }

    /// What the key versions said that opened nothing, though others did.
    pub fn faults(&self) -> &[KekError] {
        &self.faults
    }
}

/// Unwraps one wrap and checks that it holds a key of this vault and generation, the one that the
/// ring commits to.
pub(crate) fn open_wrap(
    keys: &dyn KeyEncryptionKeys,
    wrap: &Wrap,
    wrapped: &WrappedKey,
    kind: KeyKind,
    vault: VaultGuid,
) -> Result<Key, EnvelopeError> {
    let plain = keys.unwrap(&wrap.key, wrap.algorithm, &wrap.bytes)?;
    let unproven = || EnvelopeError::WrapUnproven { key: wrap.key.clone() };
    let (secret, digest) = plain.expose().split_first_chunk::<KEY_BYTES>().ok_or_else(unproven)?;
    let generation = wrapped.generation;
    if !equal(digest, &binding_digest(kind, vault, generation)) {
        return Err(unproven());
    }
    let commitment = key_commitment(kind, secret, vault, generation)?;
    if !equal(commitment.as_slice(), &wrapped.commitment) {
        return Err(EnvelopeError::CommitmentMismatch { generation });
    }
    Ok(Zeroizing::new(*secret))
}

/// What is wrapped: the key and the digest that binds it (keyring.md §3).
pub(crate) fn wrap_plaintext(
    key: &[u8],
    kind: KeyKind,
    vault: VaultGuid,
    generation: u32,
) -> SecretBytes {
    let mut plain = Vec::with_capacity(2 * KEY_BYTES);
    plain.extend_from_slice(key);
    plain.extend_from_slice(&binding_digest(kind, vault, generation));
    SecretBytes::new(plain)
}

fn open_id_key(id_key: &IdKey, newest: &Key, vault: VaultGuid) -> Result<Key, EnvelopeError> {
    let sealing_key = id_sealing_key(newest.as_slice(), &id_key.salt, vault, id_key.generation)?;
    let sealing_key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, sealing_key.as_slice())?);
    let mut sealed = Zeroizing::new(id_key.sealed);
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let plain = sealing_key
        .open_in_place(nonce, Aad::empty(), sealed.as_mut_slice())
        .map_err(|_| EnvelopeError::damaged_ring("an id key does not open"))?;
    let mut key = Key::default();
    key.copy_from_slice(plain);
    Ok(key)
}

/// Which of a key's wraps are tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// All: a refusal must not be missed because another key was faster.
    EveryKey,
    /// One after the other until one opens.
    UntilOpened,
}

/// The conversation with the key vaults over one ring.
struct Inquiry<'a> {
    ring: &'a Ring,
    access: KeyAccess<'a>,
    answers: BTreeMap<&'a KeyVersionUri, Answer>,
}

/// What a key version has said so far.
enum Answer {
    Opened,
    Failed(KekError),
}

impl<'a> Inquiry<'a> {
    fn new(ring: &'a Ring, access: KeyAccess<'a>) -> Self {
        Self { ring, access, answers: BTreeMap::new() }
    }

    fn open(
        &mut self,
        wrapped: &'a WrappedKey,
        kind: KeyKind,
        asked: Asked,
    ) -> Result<Key, EnvelopeError> {
        let mut key = None;
        for wrap in wrapped.wraps.iter().filter(|wrap| (self.access.allowed)(&wrap.key)) {
            let settled = matches!(self.answers.get(&wrap.key), Some(Answer::Failed(_)));
            if settled || (asked == Asked::UntilOpened && key.is_some()) {
                continue;
            }
            match open_wrap(self.access.keys, wrap, wrapped, kind, self.ring.vault()) {
                Ok(opened) => {
                    self.answers.insert(&wrap.key, Answer::Opened);
                    key = Some(opened);
                }
                Err(EnvelopeError::Kek(error)) => {
                    self.answers.insert(&wrap.key, Answer::Failed(error));
                }
                Err(other) => return Err(other),
            }
        }
        if self.ring.failover() == Failover::Stop
            && let Some(refusal) = self.refusal()
        {
            return Err(refusal.clone().into());
        }
        key.ok_or_else(|| self.why_closed(wrapped))
    }

    /// A refusal by a key of which no other version opened: while a rotation is under way the
    /// old version may be disabled already.
    fn refusal(&self) -> Option<&KekError> {
        let opened = |key: &KeyVersionUri| {
            self.answers.iter().any(|(other, answer)| {
                matches!(answer, Answer::Opened) && other.versionless() == key.versionless()
            })
        };
        self.answers.iter().find_map(|(key, answer)| match answer {
            Answer::Failed(error) if error.fault == KekFault::Refused && !opened(key) => {
                Some(error)
            }
            _ => None,
        })
    }

    /// Why nothing opened: a refusal says most, then that a key may still answer.
    fn why_closed(&self, wrapped: &WrappedKey) -> EnvelopeError {
        let failed = |fault| {
            wrapped.wraps.iter().find_map(|wrap| match self.answers.get(&wrap.key) {
                Some(Answer::Failed(error)) if error.fault == fault => Some(error.clone()),
                _ => None,
            })
        };
        let refused_or_silent = failed(KekFault::Refused).or_else(|| failed(KekFault::Unreachable));
        match (refused_or_silent, failed(KekFault::Mismatch)) {
            (Some(error), _) => error.into(),
            (None, Some(error)) => EnvelopeError::damaged_ring(error),
            (None, None) => EnvelopeError::NoAllowedKey {
                wrapped_by: wrapped.wraps.iter().map(|wrap| wrap.key.clone()).collect(),
            },
        }
    }

    fn outcome(self) -> (Vec<KeyVersionUri>, Vec<KekError>) {
        let (mut proven, mut faults) = (Vec::new(), Vec::new());
        for (key, answer) in self.answers {
            match answer {
                Answer::Opened => proven.push(key.clone()),
                Answer::Failed(error) => faults.push(error),
            }
        }
        (proven, faults)
    }
}
