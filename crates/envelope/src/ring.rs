//! The keyring object (keyring.md §2).

use std::collections::BTreeSet;

use custody_ambient::Timestamp;
use custody_names::{KeyVersionUri, VaultGuid};
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::derivation::{KEY_BYTES, sha256};
use crate::{EnvelopeError, Fingerprint, KnownRing, WrapAlgorithm, cbor};

/// The newest format of a keyring that this version reads, and the one it writes.
pub const RING_FORMAT: u64 = 1;
/// Largest ring, in bytes.
pub const RING_BYTES_MAX: usize = 1 << 20;
/// Most data key generations in a ring.
pub const GENERATIONS_MAX: usize = 256;
/// Most wraps of one key: those of two key targets, during a rewrap.
pub const WRAPS_MAX: usize = 8;
/// Largest wrap, in bytes: that of RSA-8192.
pub const WRAP_BYTES_MAX: usize = 1024;

const MAGIC: &str = "custody keyring";
const ID_GENERATIONS_MAX: usize = 16;
/// A 32-byte key and its 16-byte tag.
pub(crate) const SEALED_ID_KEY_BYTES: usize = KEY_BYTES + 16;

/// One numbered keyring object: a vault's keys, each wrapped. Holds nothing secret.
///
/// A ring is immutable; its bytes are the only spelling of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    body: Body,
    body_bytes: Vec<u8>,
    mac_before: Vec<u8>,
    mac: [u8; KEY_BYTES],
    encoded: Vec<u8>,
}

/// What a definite refusal of one of several keys means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Failover {
    /// It stops the vault, whatever the other keys say.
    #[default]
    #[n(0)]
    Stop,
    /// Any key is enough: disabling one key alone does not revoke.
    #[n(1)]
    Any,
}

/// A key of the vault with everything that opens it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct WrappedKey {
    #[n(0)]
    pub(crate) generation: u32,
    #[cbor(n(1), with = "cbor::time_ms")]
    pub(crate) made: Timestamp,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) commitment: [u8; KEY_BYTES],
    #[n(3)]
    pub(crate) wraps: Vec<Wrap>,
}

/// A key of the vault as one key encryption key wrapped it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Wrap {
    #[cbor(n(0), with = "cbor::key_version_uri")]
    pub(crate) key: KeyVersionUri,
    #[n(1)]
    pub(crate) algorithm: WrapAlgorithm,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) bytes: Vec<u8>,
}

/// What a ring says under its MACs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Body {
    #[cbor(n(0), with = "cbor::vault_guid")]
    pub(crate) vault: VaultGuid,
    #[n(1)]
    pub(crate) number: u64,
    #[cbor(n(2), with = "cbor::time_ms")]
    pub(crate) made: Timestamp,
    #[n(3)]
    pub(crate) chain: Option<Chain>,
    #[n(4)]
    pub(crate) data_keys: Vec<DataKey>,
    #[n(5)]
    pub(crate) id_keys: Vec<IdKey>,
    #[n(6)]
    pub(crate) infrastructure: Option<WrappedKey>,
    #[n(7)]
    pub(crate) failover: Failover,
    /// Whether it holds wraps that nobody has proven yet.
    #[n(8)]
    pub(crate) rewrap_under_way: bool,
}

/// What a ring says of the rings before it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Chain {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) before: [u8; KEY_BYTES],
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) first: [u8; KEY_BYTES],
    /// The newest data key generation of the ring before.
    #[n(2)]
    pub(crate) generation: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct DataKey {
    #[n(0)]
    pub(crate) key: WrappedKey,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) endorsement: Option<[u8; KEY_BYTES]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct IdKey {
    #[n(0)]
    pub(crate) generation: u32,
    /// The data key generation that seals it.
    #[n(1)]
    pub(crate) sealed_by: u32,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) salt: [u8; KEY_BYTES],
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) sealed: [u8; SEALED_ID_KEY_BYTES],
}

impl Ring {
    /// Reads a ring. That it is well formed says nothing about whether it is genuine: see
    /// [`crate::unwrap`].
    ///
    /// # Errors
    /// [`EnvelopeError::NewerFormat`] before anything else is looked at;
    /// [`EnvelopeError::RingDamaged`] for anything but the one spelling of a ring within limits.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let mut decoder = Decoder::new(bytes);
        let entries = decoder.array().map_err(EnvelopeError::damaged_ring)?;
        if decoder.str().map_err(EnvelopeError::damaged_ring)? != MAGIC {
            return Err(EnvelopeError::damaged_ring("it is no keyring"));
        }
        let format = decoder.u64().map_err(EnvelopeError::damaged_ring)?;
        if format > RING_FORMAT {
            let what = "keyring";
            return Err(EnvelopeError::NewerFormat { what, found: format, known: RING_FORMAT });
        }
        if bytes.len() > RING_BYTES_MAX {
            return Err(EnvelopeError::damaged_ring("it is larger than a keyring can be"));
        }
        if format != RING_FORMAT || entries != Some(5) {
            return Err(EnvelopeError::damaged_ring("its first entries do not fit"));
        }
        let mut next = || decoder.bytes().map_err(EnvelopeError::damaged_ring);
        let (body, mac_before, mac) = (next()?, next()?, next()?);
        let mac = mac
            .try_into()
            .map_err(|_| EnvelopeError::damaged_ring("a signature has the wrong length"))?;
        let body = minicbor::decode::<Body>(body).map_err(EnvelopeError::damaged_ring)?;
        let ring = Self::assemble(body, mac_before.to_vec(), mac)?;
        if ring.encoded != bytes {
            return Err(EnvelopeError::damaged_ring("it holds something unknown"));
        }
        Ok(ring)
    }

    /// Puts a ring together from its parts, if they keep the format's rules.
    pub(crate) fn assemble(
        body: Body,
        mac_before: Vec<u8>,
        mac: [u8; KEY_BYTES],
    ) -> Result<Self, EnvelopeError> {
        body.check().map_err(EnvelopeError::damaged_ring)?;
        if mac_before.len() != body.chain.as_ref().map_or(0, |_| KEY_BYTES) {
            return Err(EnvelopeError::damaged_ring("a signature has the wrong length"));
        }
        let body_bytes = body.encode()?;
        let encoded = encode_ring(&body_bytes, &mac_before, &mac)
            .map_err(|_| EnvelopeError::Bug("a ring cannot be encoded"))?;
        if encoded.len() > RING_BYTES_MAX {
            return Err(EnvelopeError::damaged_ring("it is larger than a keyring can be"));
        }
        Ok(Self { body, body_bytes, mac_before, mac, encoded })
    }

    /// The bytes to store.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// SHA-256 of the bytes.
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[&self.encoded])
    }

    /// The vault it says it belongs to.
    pub fn vault(&self) -> VaultGuid {
        self.body.vault
    }

    /// Its number, from 1.
    pub fn number(&self) -> u64 {
        self.body.number
    }

    /// When it was made, to the millisecond.
    pub fn made(&self) -> Timestamp {
        self.body.made
    }

    /// SHA-256 of the ring before; none for the first.
    pub fn before(&self) -> Option<[u8; 32]> {
        self.body.chain.as_ref().map(|chain| chain.before)
    }

    /// What the vault's rings are recognised by where no record knows one.
    pub fn fingerprint(&self) -> Fingerprint {
        let first = self.body.chain.as_ref().map_or_else(|| self.hash(), |chain| chain.first);
        let commitment = self.body.data_keys.first().map_or([0; 32], |first| first.key.commitment);
        Fingerprint::of(first, commitment)
    }

    /// What a vault's record keeps of the newest ring it has seen.
    pub fn known(&self) -> KnownRing {
        KnownRing {
            vault: self.vault(),
            number: self.number(),
            hash: self.hash(),
            fingerprint: self.fingerprint(),
        }
    }

    /// What a definite refusal of one of several keys means.
    pub fn failover(&self) -> Failover {
        self.body.failover
    }

    /// Whether a rewrap has begun and is not finished: some wraps may not have been proven yet.
    pub fn is_rewrap_under_way(&self) -> bool {
        self.body.rewrap_under_way
    }

    /// The newest data key generation, from 1.
    pub fn newest_generation(&self) -> u32 {
        self.body.data_keys.last().map_or(0, |newest| newest.key.generation)
    }

    /// The data keys by generation, oldest first, with what wraps each.
    pub fn generations(&self) -> impl DoubleEndedIterator<Item = &WrappedKey> + ExactSizeIterator {
        self.body.data_keys.iter().map(|data_key| &data_key.key)
    }

    /// The key of the second layer, if the vault has infrastructure encryption.
    pub fn infrastructure(&self) -> Option<&WrappedKey> {
        self.body.infrastructure.as_ref()
    }

    /// Every key version that wraps something in this ring, the infrastructure key included.
    pub fn key_versions(&self) -> BTreeSet<&KeyVersionUri> {
        let keys = self.generations().chain(self.infrastructure());
        keys.flat_map(|key| &key.wraps).map(|wrap| &wrap.key).collect()
    }

    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    /// The body's bytes, the MAC under the ring before (empty in the first) and the own MAC.
    pub(crate) fn signed(&self) -> (&[u8], &[u8], &[u8; KEY_BYTES]) {
        (&self.body_bytes, &self.mac_before, &self.mac)
    }
}

impl WrappedKey {
    /// The generation, from 1.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// When the key was made, to the millisecond.
    pub fn made(&self) -> Timestamp {
        self.made
    }

    /// The wraps; each alone opens the key.
    pub fn wraps(&self) -> &[Wrap] {
        &self.wraps
    }

    fn check(&self) -> Result<(), &'static str> {
        let versions: BTreeSet<_> = self.wraps.iter().map(|wrap| &wrap.key).collect();
        let length_fits = |wrap: &Wrap| (1..=WRAP_BYTES_MAX).contains(&wrap.bytes.len());
        match () {
            () if !(1..=WRAPS_MAX).contains(&self.wraps.len()) => {
                Err("a key has no or too many wraps")
            }
            () if versions.len() != self.wraps.len() => {
                Err("a key is wrapped twice by one version")
            }
            () if !self.wraps.iter().all(length_fits) => Err("a wrap has an impossible length"),
            () => Ok(()),
        }
    }
}

impl Wrap {
    /// The key version that wrapped it.
    pub fn key(&self) -> &KeyVersionUri {
        &self.key
    }

    /// The algorithm it was wrapped with.
    pub fn algorithm(&self) -> WrapAlgorithm {
        self.algorithm
    }

    /// The ciphertext.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body {
    /// The bytes that the MACs cover.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, EnvelopeError> {
        minicbor::to_vec(self).map_err(|_| EnvelopeError::Bug("a ring cannot be encoded"))
    }

    /// The rules of the format that the types do not hold.
    fn check(&self) -> Result<(), &'static str> {
        let newest = self.data_keys.last().map_or(0, |newest| newest.key.generation);
        if !(1..=GENERATIONS_MAX).contains(&self.data_keys.len())
            || !(1..=ID_GENERATIONS_MAX).contains(&self.id_keys.len())
        {
            return Err("it has no or too many generations");
        }
        if self.number == 0 || self.chain.is_some() != (self.number > 1) {
            return Err("its number and its chain contradict each other");
        }
        let chained = |chain: &Chain| (1..=newest).contains(&chain.generation);
        if !self.chain.as_ref().is_none_or(chained) {
            return Err("its chain names a generation that it does not have");
        }
        for (expected, data_key) in (1..).zip(&self.data_keys) {
            if data_key.key.generation != expected {
                return Err("its generations are not numbered from 1 without gaps");
            }
            if data_key.endorsement.is_some() != (expected > 1) {
                return Err("an endorsement is missing or too many");
            }
            data_key.key.check()?;
        }
        for (expected, id_key) in (1..).zip(&self.id_keys) {
            if id_key.generation != expected || id_key.sealed_by != newest {
                return Err("its id keys are not in order or not under the newest generation");
            }
        }
        match &self.infrastructure {
            Some(key) if key.generation == 0 => Err("the infrastructure key has no generation"),
            Some(key) => key.check(),
            None => Ok(()),
        }
    }
}

fn encode_ring(
    body: &[u8],
    mac_before: &[u8],
    mac: &[u8],
) -> Result<Vec<u8>, minicbor::encode::Error<std::convert::Infallible>> {
    let mut encoder = Encoder::new(Vec::new());
    encoder.array(5)?.str(MAGIC)?.u64(RING_FORMAT)?;
    encoder.bytes(body)?.bytes(mac_before)?.bytes(mac)?;
    Ok(encoder.into_writer())
}
