//! Sealed boxes: AES-256-GCM under a random nonce, bound to the place where they lie
//! (`docs/formats/keys-db.md`).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use custody_ambient::{Entropy, random_array};
use custody_envelope::SecretBytes;
use minicbor::Encode;
use zeroize::Zeroizing;

use crate::error::{KeyVaultError, Result};

/// Length of every symmetric key, in bytes.
pub(crate) const KEY_BYTES: usize = 32;

/// Random bytes for a key.
pub(crate) fn mint_key(entropy: &dyn Entropy) -> Result<SecretBytes> {
    let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
    entropy.fill(&mut bytes)?;
    Ok(SecretBytes::new(std::mem::take(&mut *bytes)))
}

/// Seals `plain` under `key`; it opens only with the same associated data.
pub(crate) fn seal(
    key: &SecretBytes,
    associated: &[u8],
    plain: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>> {
    let nonce: [u8; NONCE_LEN] = random_array(entropy)?;
    let mut bytes = Zeroizing::new(plain.to_vec());
    let tag = cipher(key)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated),
            &mut bytes,
        )
        .map_err(|_| KeyVaultError::Bug("AES-GCM did not seal"))?;
    Ok([&nonce, bytes.as_slice(), tag.as_ref()].concat())
}

/// Opens a box; `None` if key, associated data or bytes are not those of the sealing.
pub(crate) fn open(
    key: &SecretBytes,
    associated: &[u8],
    sealed: &[u8],
) -> Result<Option<SecretBytes>> {
    let Some((nonce, body)) = sealed.split_first_chunk::<NONCE_LEN>() else { return Ok(None) };
    let mut bytes = Zeroizing::new(body.to_vec());
    let opened = cipher(key)?.open_in_place(
        Nonce::assume_unique_for_key(*nonce),
        Aad::from(associated),
        &mut bytes,
    );
    Ok(opened.ok().map(|plain| SecretBytes::new(plain.to_vec())))
}

/// CBOR bytes of a small value, as associated data or file. The buffer does not grow for seals,
/// so no copy of a root key stays behind in freed memory.
pub(crate) fn cbor(value: impl Encode<()>) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1_024);
    minicbor::encode(value, &mut bytes).map_err(|_| KeyVaultError::Bug("CBOR did not encode"))?;
    Ok(bytes)
}

fn cipher(key: &SecretBytes) -> Result<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key.expose())
        .map(LessSafeKey::new)
        .map_err(|_| KeyVaultError::Bug("a symmetric key is not 32 bytes long"))
}
