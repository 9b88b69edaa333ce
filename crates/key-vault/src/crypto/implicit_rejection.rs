//! Implicit rejection of bad PKCS#1 v1.5 padding: what is answered instead of an error, so that an
//! answer tells nothing about the padding (draft-irtf-cfrg-rsa-guidance, section 7.2).
//!
//! The synthetic plaintext depends on the key and the ciphertext alone: asking twice gives the same
//! answer, as a true decryption does. It is made for every ciphertext, good or bad.

use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

use crate::error::{KeyVaultError, Result};

/// Bytes that padding takes at least: `00 02`, eight of padding, `00`.
const PADDING_BYTES_MIN: usize = 11;
/// Candidates for the length; each is right with a chance of at least a half.
const LENGTH_CANDIDATES: usize = 128;

/// The synthetic plaintext for `ciphertext` under the private key `private` (any fixed encoding).
pub(super) fn synthetic(private: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let modulus_bytes = ciphertext.len();
    let secret = digest::digest(&digest::SHA256, private);
    let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()), ciphertext);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
    let lengths = stream(&key, b"length", 2 * LENGTH_CANDIDATES)?;
    let mut message = stream(&key, b"message", modulus_bytes)?;
    let length_max = modulus_bytes.saturating_sub(PADDING_BYTES_MIN);
    let mask = (length_max + 1).next_power_of_two() - 1;
    // All candidates are looked at whichever fits: the last that fits is taken.
    let length = lengths.as_chunks::<2>().0.iter().fold(0, |chosen, candidate| {
        let candidate = usize::from(u16::from_be_bytes(*candidate)) & mask;
        if candidate <= length_max { candidate } else { chosen }
    });
    message.drain(..modulus_bytes - length);
    Ok(message)
}

/// Bytes that look random to whoever does not know the key.
fn stream(key: &hmac::Key, label: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>> {
    let bits = u16::try_from(length * 8).map_err(|_| KeyVaultError::Bug("too long a stream"))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + digest::SHA256.output_len()));
    let mut block = 0_u16;
    while bytes.len() < length {
        let mut context = hmac::Context::with_key(key);
        context.update(&block.to_be_bytes());
        context.update(label);
        context.update(&bits.to_be_bytes());
        bytes.extend_from_slice(context.sign().as_ref());
        block += 1;
    }
    bytes.truncate(length);
    Ok(bytes)
}
