//! `RSNULL`: PKCS#1 v1.5 signatures without a DigestInfo, which aws-lc's safe interface does not
//! have. The padding is fixed and public; the one private operation is a constant-time power.

use crypto_bigint::BoxedUint;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use custody_envelope::SecretBytes;
use zeroize::{Zeroize as _, Zeroizing};

use super::{damaged, der};
use crate::error::{KeyVaultError, Result};
use crate::key_shape::PublicKey;

/// Bytes that the padding takes at least: `00 01`, eight of `FF`, `00`.
const PADDING_BYTES_MIN: usize = 11;

pub(super) fn sign(private: &SecretBytes, value: &[u8]) -> Result<Vec<u8>> {
    let (modulus, exponent) = der::rsa_private_exponent(private.expose())
        .ok_or_else(|| damaged("a private key in keys.db"))?;
    let padded = padded(value, modulus.len())?;
    power(&padded, exponent, modulus).ok_or(KeyVaultError::Bug("RSNULL did not sign"))
}

/// Whether `signature` is this key's of `value`.
pub(super) fn verify(public: &[u8], value: &[u8], signature: &[u8]) -> Result<bool> {
    let Some(PublicKey::Rsa { modulus, exponent }) = der::rsa_public_key(public) else {
        return Err(damaged("a public key in keys.db"));
    };
    let padded = padded(value, modulus.len())?;
    let found = (signature.len() == modulus.len() && signature < modulus.as_slice())
        .then(|| power(signature, &exponent, &modulus))
        .flatten();
    Ok(found.is_some_and(|found| found == padded))
}

fn padded(value: &[u8], modulus_bytes: usize) -> Result<Vec<u8>> {
    let length_max = modulus_bytes.saturating_sub(PADDING_BYTES_MIN);
    if value.is_empty() || value.len() > length_max {
        return Err(KeyVaultError::BadParameter(format!(
            "RSNULL signs 1 to {length_max} bytes with this key, {} were given",
            value.len()
        )));
    }
    let mut padded = vec![0xFF; modulus_bytes - value.len()];
    for (place, byte) in [(0, 0), (1, 1), (padded.len() - 1, 0)] {
        if let Some(found) = padded.get_mut(place) {
            *found = byte;
        }
    }
    padded.extend_from_slice(value);
    Ok(padded)
}

/// `base ^ exponent mod modulus`, as long as the modulus. Its time depends on the lengths alone.
fn power(base: &[u8], exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>> {
    let bits = u32::try_from(modulus.len().checked_mul(8)?).ok()?;
    let number = |bytes| BoxedUint::from_be_slice(bytes, bits).ok();
    let modulus = BoxedMontyParams::new(number(modulus)?.into_odd().into_option()?);
    let mut exponent = number(exponent)?;
    let result = BoxedMontyForm::new(number(base)?, &modulus).pow(&exponent).retrieve();
    exponent.zeroize();
    let bytes = Zeroizing::new(result.to_be_bytes().into_vec());
    Some(bytes.to_vec())
}
