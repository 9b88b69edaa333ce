//! The unlocked keys of one vault: what a repository works with.

use std::sync::Arc;
use std::time::Duration;

use custody_ambient::{Clock, Entropy};
use custody_names::VaultGuid;

use crate::derivation::{equal, hmac_sha256, id_purpose_key, mac_key};
use crate::key_set::KeySet;
use crate::{EnvelopeError, Lease, ObjectType, Opener, Sealer, SecretBytes, Unwrapped, seal};

/// The unlocked keys of one vault under a lease. Clones share keys and lease: when it ends, all
/// of them fail with [`EnvelopeError::LeaseEnded`], and so do their sealers and openers.
#[derive(Clone)]
pub struct VaultKeys {
    vault: VaultGuid,
    lease: Lease,
}

/// What a key derived from the id key is for. It stays the same when data keys change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum IdPurpose {
    /// Naming chunks by their content.
    ChunkNames = 1,
    /// Cutting content into chunks.
    ChunkerTable = 2,
}

/// What a MAC vouches for; MACs of one purpose never fit another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum MacPurpose {
    /// An entry of the repository's log.
    LogEntry = 1,
    /// A session's own objects.
    Session = 2,
    /// What a recovery point says in clear.
    Point = 3,
}

impl VaultKeys {
    /// Puts freshly unwrapped keys under a lease of `length`.
    ///
    /// # Errors
    /// [`EnvelopeError::LeaseEnded`] if the key vaults took longer than that to answer.
    pub fn under_lease(
        unwrapped: Unwrapped,
        clock: Arc<dyn Clock>,
        length: Duration,
    ) -> Result<Self, EnvelopeError> {
        let vault = unwrapped.ring().vault;
        Ok(Self { vault, lease: Lease::begin(unwrapped, clock, length)? })
    }

    /// The vault.
    pub fn vault(&self) -> VaultGuid {
        self.vault
    }

    /// The lease that the keys are under.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The generation that new objects are sealed with, from 1.
    pub fn newest_generation(&self) -> u32 {
        self.lease.newest_generation()
    }

    /// What each sealed position is longer by than its content, in bytes.
    pub fn overhead_bytes(&self) -> usize {
        seal::overhead_bytes(self.lease.infrastructure())
    }

    /// Whether the lease is alive.
    ///
    /// # Errors
    /// [`EnvelopeError::LeaseEnded`].
    pub fn check(&self) -> Result<(), EnvelopeError> {
        self.lease.check()
    }

    /// Begins to seal an object with the newest generation, under a fresh salt.
    ///
    /// # Errors
    /// [`EnvelopeError::LeaseEnded`], [`EnvelopeError::Entropy`].
    pub fn sealer(
        &self,
        object: ObjectType,
        entropy: &dyn Entropy,
    ) -> Result<Sealer, EnvelopeError> {
        Sealer::new(&self.lease, object, entropy)
    }

    /// Begins to open an object; `header` is its first [`crate::HEADER_BYTES`] bytes (more are not
    /// looked at). Format, type, vault and key commitment are checked before anything is decrypted.
    ///
    /// # Errors
    /// [`EnvelopeError::NewerFormat`] before all others; [`EnvelopeError::SealDamaged`],
    /// [`EnvelopeError::SealWrongType`], [`EnvelopeError::SealForeignVault`],
    /// [`EnvelopeError::UnknownGeneration`], [`EnvelopeError::CommitmentMismatch`];
    /// [`EnvelopeError::LeaseEnded`].
    pub fn opener(&self, object: ObjectType, header: &[u8]) -> Result<Opener, EnvelopeError> {
        Opener::new(&self.lease, object, header)
    }

    /// 32 bytes derived from the newest id key. They outlive changes of data keys; the caller
    /// keeps them no longer than the lease.
    ///
    /// # Errors
    /// [`EnvelopeError::LeaseEnded`].
    pub fn id_key(&self, purpose: IdPurpose) -> Result<SecretBytes, EnvelopeError> {
        self.with_keys(|keys| {
            let generation = keys.newest_id();
            let id_key = keys.id_key(generation)?;
            let key = id_purpose_key(id_key, self.vault, generation, purpose as u8)?;
            Ok(SecretBytes::new(key.to_vec()))
        })
    }

    /// HMAC-SHA-256 over `data`, under a key of this generation for this purpose.
    ///
    /// # Errors
    /// [`EnvelopeError::UnknownGeneration`], [`EnvelopeError::LeaseEnded`].
    pub fn mac(
        &self,
        purpose: MacPurpose,
        generation: u32,
        data: &[u8],
    ) -> Result<[u8; 32], EnvelopeError> {
        self.with_keys(|keys| {
            let data_key = keys.data_key(generation)?;
            let key = mac_key(data_key, self.vault, generation, purpose as u8)?;
            Ok(hmac_sha256(&key, &[data]))
        })
    }

    /// Checks a MAC in constant time.
    ///
    /// # Errors
    /// [`EnvelopeError::MacMismatch`]; otherwise as for [`VaultKeys::mac`].
    pub fn verify_mac(
        &self,
        purpose: MacPurpose,
        generation: u32,
        data: &[u8],
        tag: &[u8],
    ) -> Result<(), EnvelopeError> {
        let expected = self.mac(purpose, generation, data)?;
        if equal(&expected, tag) { Ok(()) } else { Err(EnvelopeError::MacMismatch) }
    }

    pub(crate) fn with_keys<T>(
        &self,
        with: impl FnOnce(&KeySet) -> Result<T, EnvelopeError>,
    ) -> Result<T, EnvelopeError> {
        self.lease.with_keys(with)
    }
}
