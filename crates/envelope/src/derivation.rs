//! Every key that is made from another, by label (keyring.md §3).
//!
//! A label ends with a zero byte and everything after it has a fixed length, so that no two
//! inputs can be read as one another.

use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use custody_names::VaultGuid;
use zeroize::Zeroizing;

use crate::EnvelopeError;

/// Length of every key, salt, commitment, hash and MAC, in bytes.
pub(crate) const KEY_BYTES: usize = 32;

/// A secret of 32 bytes on its way, zeroed when dropped.
pub(crate) type Key = Zeroizing<[u8; KEY_BYTES]>;

/// What a 32-byte secret in a ring is for; decides the labels it is bound with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Data,
    Infrastructure,
}

impl KeyKind {
    fn digest_label(self) -> &'static [u8] {
        match self {
            Self::Data => b"custody/1 data key\0",
            Self::Infrastructure => b"custody/1 infrastructure key\0",
        }
    }

    fn commitment_label(self) -> &'static [u8] {
        match self {
            Self::Data => b"custody/1 data key commitment\0",
            Self::Infrastructure => b"custody/1 infrastructure key commitment\0",
        }
    }
}

/// The second half of a wrap's plaintext: what the key in the first half is bound to.
pub(crate) fn binding_digest(kind: KeyKind, vault: VaultGuid, generation: u32) -> [u8; KEY_BYTES] {
    sha256(&[kind.digest_label(), vault.as_bytes(), &generation.to_be_bytes()])
}

/// What a ring says of a key in public, so that no other key can take its place.
pub(crate) fn key_commitment(
    kind: KeyKind,
    key: &[u8],
    vault: VaultGuid,
    generation: u32,
) -> Result<Key, EnvelopeError> {
    from_generation(kind.commitment_label(), key, vault, generation)
}

/// The key under which a generation endorses the next.
pub(crate) fn endorsement_key(
    data_key: &[u8],
    vault: VaultGuid,
    generation: u32,
) -> Result<Key, EnvelopeError> {
    from_generation(b"custody/1 endorsement\0", data_key, vault, generation)
}

/// The key of the MAC under the ring before; `generation` is the newest of that ring.
pub(crate) fn ring_before_key(
    data_key: &[u8],
    vault: VaultGuid,
    generation: u32,
) -> Result<Key, EnvelopeError> {
    from_generation(b"custody/1 ring before\0", data_key, vault, generation)
}

/// The key of the MAC under the ring itself; `generation` is its newest.
pub(crate) fn ring_key(
    data_key: &[u8],
    vault: VaultGuid,
    generation: u32,
) -> Result<Key, EnvelopeError> {
    from_generation(b"custody/1 ring\0", data_key, vault, generation)
}

/// The key that seals an id key.
pub(crate) fn id_sealing_key(
    data_key: &[u8],
    salt: &[u8; KEY_BYTES],
    vault: VaultGuid,
    id_generation: u32,
) -> Result<Key, EnvelopeError> {
    let generation = id_generation.to_be_bytes();
    derive(data_key, salt, &[b"custody/1 id key\0", vault.as_bytes(), &generation])
}

/// What an id key is used as.
pub(crate) fn id_purpose_key(
    id_key: &[u8],
    vault: VaultGuid,
    id_generation: u32,
    purpose: u8,
) -> Result<Key, EnvelopeError> {
    let generation = id_generation.to_be_bytes();
    let info: [&[u8]; 4] = [b"custody/1 id purpose\0", vault.as_bytes(), &generation, &[purpose]];
    derive(id_key, &[], &info)
}

/// The key of a repository's MACs.
pub(crate) fn mac_key(
    data_key: &[u8],
    vault: VaultGuid,
    generation: u32,
    purpose: u8,
) -> Result<Key, EnvelopeError> {
    let generation = generation.to_be_bytes();
    derive(data_key, &[], &[b"custody/1 mac\0", vault.as_bytes(), &generation, &[purpose]])
}

/// The three uses of an object's salt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ObjectUse {
    FirstLayer,
    SecondLayer,
    Commitment,
}

/// A sub-key or the commitment of one object.
pub(crate) fn object_key(
    secret: &[u8],
    salt: &[u8; KEY_BYTES],
    usage: ObjectUse,
    vault: VaultGuid,
    object_type: u8,
) -> Result<Key, EnvelopeError> {
    let label: &[u8] = match usage {
        ObjectUse::FirstLayer => b"custody/1\0",
        ObjectUse::SecondLayer => b"custody/1 second layer\0",
        ObjectUse::Commitment => b"custody/1 commitment\0",
    };
    derive(secret, salt, &[label, vault.as_bytes(), &[object_type]])
}

/// SHA-256 over the parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; KEY_BYTES];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(crate) fn hmac_sha256(key: &Key, parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()));
    for part in parts {
        context.update(part);
    }
    let mut out = [0; KEY_BYTES];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// Compares in constant time.
pub(crate) fn equal(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

fn from_generation(
    label: &[u8],
    key: &[u8],
    vault: VaultGuid,
    generation: u32,
) -> Result<Key, EnvelopeError> {
    derive(key, &[], &[label, vault.as_bytes(), &generation.to_be_bytes()])
}

fn derive(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> Result<Key, EnvelopeError> {
    let mut key = Key::default();
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, hkdf::HKDF_SHA256)?
        .fill(key.as_mut_slice())?;
    Ok(key)
}
