//! Symmetric keys: making and importing them, HMAC.

use aws_lc_rs::hmac;
use custody_ambient::Entropy;
use custody_envelope::SecretBytes;
use zeroize::Zeroizing;

use super::{KeyPair, PLAIN_BYTES_MAX};
use crate::algorithm::Hash;
use crate::error::{KeyVaultError, Result};
use crate::key_shape::OctSize;

pub(super) fn generate(size: OctSize, entropy: &dyn Entropy) -> Result<KeyPair> {
    let mut bytes = Zeroizing::new(vec![0; size.bytes()]);
    entropy.fill(&mut bytes)?;
    Ok(KeyPair { private: SecretBytes::new(std::mem::take(&mut *bytes)), public: Vec::new() })
}

/// Its size was checked when it was read.
pub(super) fn import(k: &SecretBytes) -> KeyPair {
    KeyPair { private: SecretBytes::new(k.expose().to_vec()), public: Vec::new() }
}

pub(super) fn authenticate(key: &SecretBytes, hash: Hash, message: &[u8]) -> Result<Vec<u8>> {
    check_length(message)?;
    Ok(hmac::sign(&mac_key(key, hash), message).as_ref().to_vec())
}

pub(super) fn is_authentic(
    key: &SecretBytes,
    hash: Hash,
    message: &[u8],
    tag: &[u8],
) -> Result<bool> {
    check_length(message)?;
    Ok(hmac::verify(&mac_key(key, hash), message, tag).is_ok())
}

fn mac_key(key: &SecretBytes, hash: Hash) -> hmac::Key {
    let algorithm = match hash {
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
        Hash::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::Key::new(algorithm, key.expose())
}

fn check_length(message: &[u8]) -> Result<()> {
    if message.len() <= PLAIN_BYTES_MAX {
        return Ok(());
    }
    let text = format!("HMAC takes at most {PLAIN_BYTES_MAX} bytes here");
    Err(KeyVaultError::BadParameter(text))
}
