//! What makes a ring genuine (keyring.md §4).

use std::fmt;
use std::str::FromStr;

use custody_names::{InvalidName, VaultGuid};

use crate::derivation::{
    KEY_BYTES, endorsement_key, equal, hmac_sha256, ring_before_key, ring_key, sha256,
};
use crate::key_set::KeySet;
use crate::ring::Body;
use crate::{EnvelopeError, Ring, VaultKeys};

/// What all rings of one vault have in common: written down in the vault's record, the ledger and
/// the recovery kit. 64 hexadecimal digits as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// What a vault's record keeps of the newest ring it has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRing {
    /// The vault.
    pub vault: VaultGuid,
    /// The ring's number.
    pub number: u64,
    /// SHA-256 of the ring.
    pub hash: [u8; 32],
    /// The fingerprint of the vault's rings.
    pub fingerprint: Fingerprint,
}

/// What a ring is held against before it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is the ring on record, or a later one of the same vault. An older one is refused.
    Chained(KnownRing),
    /// It is a ring with this fingerprint. An older one cannot be told from the newest.
    Fingerprint(Fingerprint),
    /// Whatever is found is believed. Anyone who can write to the store may have made it: a caller
    /// that uses this says so plainly to whoever asked.
    FirstUse,
}

impl Fingerprint {
    /// The fingerprint of the vault whose first ring has this hash and whose first data key has
    /// this commitment.
    pub(crate) fn of(first_ring: [u8; KEY_BYTES], commitment: [u8; KEY_BYTES]) -> Self {
        Self(sha256(&[b"custody/1 fingerprint\0", &first_ring, &commitment]))
    }

    /// The fingerprint made of these 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let wrong = || InvalidName {
            kind: "fingerprint",
            text: text.chars().take(200).collect(),
            reason: "it must be 64 hexadecimal digits",
        };
        if text.len() != 2 * KEY_BYTES || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; KEY_BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl Trust {
    /// What can be told before anything is unwrapped.
    pub(crate) fn check(&self, ring: &Ring) -> Result<(), EnvelopeError> {
        match self {
            Self::Chained(known) => known.check(ring),
            Self::Fingerprint(expected) => check_fingerprint(ring, expected),
            Self::FirstUse => Ok(()),
        }
    }
}

impl KnownRing {
    fn check(&self, ring: &Ring) -> Result<(), EnvelopeError> {
        if ring.vault() != self.vault {
            let (found, expected) = (ring.vault(), self.vault);
            return Err(EnvelopeError::RingForeignVault { found, expected });
        }
        let same_number = ring.number() == self.number;
        if ring.number() < self.number || (same_number && ring.hash() != self.hash) {
            let (known, found) = (self.number, ring.number());
            return Err(EnvelopeError::RingRolledBack { known, found });
        }
        let is_next = self.number.checked_add(1) == Some(ring.number());
        if is_next && ring.before() != Some(self.hash) {
            let why = "it does not follow the keyring on record";
            return Err(EnvelopeError::RingUntrusted { why });
        }
        check_fingerprint(ring, &self.fingerprint)
    }
}

fn check_fingerprint(ring: &Ring, expected: &Fingerprint) -> Result<(), EnvelopeError> {
    if ring.fingerprint() == *expected {
        Ok(())
    } else {
        Err(EnvelopeError::RingUntrusted { why: "its fingerprint is another one" })
    }
}

/// Whether `next` is the ring made after `previous`, by someone who held the vault's keys.
/// `keys` are those of `next`.
///
/// # Errors
/// [`EnvelopeError::RingForeignVault`], [`EnvelopeError::RingUntrusted`] or
/// [`EnvelopeError::RingDamaged`] if it is not; [`EnvelopeError::LeaseEnded`] if it cannot be told.
pub fn follows(previous: &Ring, next: &Ring, keys: &VaultKeys) -> Result<(), EnvelopeError> {
    if next.vault() != previous.vault() {
        let (found, expected) = (next.vault(), previous.vault());
        return Err(EnvelopeError::RingForeignVault { found, expected });
    }
    let untrusted = |why| Err(EnvelopeError::RingUntrusted { why });
    if previous.number().checked_add(1) != Some(next.number()) {
        return untrusted("its number is not the next one");
    }
    let first = previous.body().chain.as_ref().map_or_else(|| previous.hash(), |chain| chain.first);
    let fits = next.body().chain.as_ref().is_some_and(|chain| {
        chain.before == previous.hash()
            && chain.first == first
            && chain.generation == previous.newest_generation()
    });
    if !fits {
        return untrusted("it does not name the keyring before it");
    }
    let carried = previous.generations().zip(next.generations());
    if next.generations().len() < previous.generations().len()
        || carried.into_iter().any(|(old, new)| old.commitment != new.commitment)
    {
        return untrusted("it does not keep the generations of the keyring before it");
    }
    keys.with_keys(|keys| verify(next, keys))
}

/// Checks endorsements and both MACs of a ring with its own keys, whose commitments have been
/// checked.
pub(crate) fn verify(ring: &Ring, keys: &KeySet) -> Result<(), EnvelopeError> {
    let forged = |what: &str| Err(EnvelopeError::damaged_ring(what));
    let vault = ring.vault();
    let generations = &ring.body().data_keys;
    for (before, data_key) in generations.iter().zip(generations.iter().skip(1)) {
        let key = keys.data_key(before.key.generation)?;
        let (generation, commitment) = (data_key.key.generation, &data_key.key.commitment);
        let expected = endorse(key, vault, generation, commitment)?;
        if !data_key.endorsement.is_some_and(|given| equal(&given, &expected)) {
            return forged("a generation is not endorsed by the one before it");
        }
    }
    let (body, mac_before, mac) = ring.signed();
    let before = match &ring.body().chain {
        Some(chain) => Some((chain.generation, keys.data_key(chain.generation)?)),
        None => None,
    };
    let newest = (ring.newest_generation(), keys.data_key(ring.newest_generation())?);
    let (expected_before, expected) = macs(body, vault, before, newest)?;
    if !equal(mac_before, &expected_before) {
        return forged("the signature of the keyring before it does not fit");
    }
    if !equal(mac, &expected) {
        return forged("its signature does not fit");
    }
    Ok(())
}

/// Signs a body into a ring. `before` and `newest` are generation and data key of the newest
/// generation of the ring before (none for the first) and of this one.
pub(crate) fn sign(
    body: Body,
    before: Option<(u32, &[u8])>,
    newest: (u32, &[u8]),
) -> Result<Ring, EnvelopeError> {
    let (mac_before, mac) = macs(&body.encode()?, body.vault, before, newest)?;
    Ring::assemble(body, mac_before, mac)
}

/// What the generation before says of a new one: that it was made by someone who held its key.
pub(crate) fn endorse(
    key_before: &[u8],
    vault: VaultGuid,
    generation: u32,
    commitment: &[u8; KEY_BYTES],
) -> Result<[u8; KEY_BYTES], EnvelopeError> {
    let before = generation.saturating_sub(1);
    let key = endorsement_key(key_before, vault, before)?;
    Ok(hmac_sha256(&key, &[vault.as_bytes(), &generation.to_be_bytes(), commitment]))
}

/// The MAC under the ring before (empty without one) and the MAC under the ring itself.
fn macs(
    body: &[u8],
    vault: VaultGuid,
    before: Option<(u32, &[u8])>,
    (generation, newest): (u32, &[u8]),
) -> Result<(Vec<u8>, [u8; KEY_BYTES]), EnvelopeError> {
    let mac_before = match before {
        Some((generation, key)) => {
            hmac_sha256(&ring_before_key(key, vault, generation)?, &[body]).to_vec()
        }
        None => Vec::new(),
    };
    let mac = hmac_sha256(&ring_key(newest, vault, generation)?, &[body, &mac_before]);
    Ok((mac_before, mac))
}

#[cfg(test)]
mod tests {
    use custody_ambient::Timestamp;

    use super::*;
    use crate::derivation::{Key, KeyKind, key_commitment};
    use crate::ring::{Chain, DataKey, IdKey, Wrap};
    use crate::{Failover, WrapAlgorithm, WrappedKey};

    const VAULT: VaultGuid = VaultGuid::from_bytes([1; 16]);

    /// The second ring of a vault, made after a change of key, signed by whoever holds `keys`.
    /// The second generation is endorsed by whoever holds `endorser`.
    fn second_ring(keys: &[Key; 2], endorser: &Key) -> Ring {
        let data_key = |generation: u32, key: &Key| {
            let commitment = *key_commitment(KeyKind::Data, &**key, VAULT, generation).unwrap();
            let wrap = Wrap {
                key: "https://kv1.vault.azure.net/keys/k/00000000000000000000000000000001"
                    .parse()
                    .unwrap(),
                algorithm: WrapAlgorithm::RsaOaep256,
                bytes: vec![0; 256],
            };
            let made = Timestamp::UNIX_EPOCH;
            let key = WrappedKey { generation, made, commitment, wraps: vec![wrap] };
            let endorse = || endorse(&**endorser, VAULT, generation, &commitment).unwrap();
            DataKey { key, endorsement: (generation > 1).then(endorse) }
        };
        let body = Body {
            vault: VAULT,
            number: 2,
            made: Timestamp::UNIX_EPOCH,
            chain: Some(Chain { before: [2; 32], first: [2; 32], generation: 1 }),
            data_keys: vec![data_key(1, &keys[0]), data_key(2, &keys[1])],
            id_keys: vec![IdKey { generation: 1, sealed_by: 2, salt: [3; 32], sealed: [4; 48] }],
            infrastructure: None,
            failover: Failover::Stop,
            rewrap_under_way: false,
        };
        sign(body, Some((1, &*keys[0])), (2, &*keys[1])).unwrap()
    }

    #[test]
    fn a_generation_is_genuine_by_the_one_before_it() {
        let keys = [Key::new([1; 32]), Key::new([2; 32])];
        let known = KeySet::new(&keys, &[], None).unwrap();
        assert_eq!(verify(&second_ring(&keys, &keys[0]), &known), Ok(()));
        let forged = verify(&second_ring(&keys, &keys[1]), &known).unwrap_err();
        assert!(forged.to_string().contains("not endorsed"), "{forged}");
    }

    #[test]
    fn both_signatures_count() {
        let keys = [Key::new([1; 32]), Key::new([2; 32])];
        let ring = second_ring(&keys, &keys[0]);
        let check = |known: [[u8; 32]; 2], expected: &str| {
            let known = KeySet::new(&known.map(Key::new), &[], None).unwrap();
            let error = verify(&ring, &known).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check([[9; 32], [2; 32]], "not endorsed");
        check([[1; 32], [9; 32]], "its signature does not fit");

        // A ring whose maker did not hold the key of the ring before.
        let (_, _, mac) = ring.signed();
        let forged = Ring::assemble(ring.body().clone(), vec![0; 32], *mac).unwrap();
        let known = KeySet::new(&keys, &[], None).unwrap();
        let error = verify(&forged, &known).unwrap_err().to_string();
        assert!(error.contains("the signature of the keyring before"), "{error}");
    }
}
