//! From a passphrase to a key, for the seal and the recovery kit (`docs/formats/keys-db.md`).

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use custody_ambient::{Entropy, random_array};
use custody_envelope::SecretBytes;
use zeroize::Zeroizing;

use crate::error::{KeyVaultError, Result};
use crate::sealed_box::KEY_BYTES;

/// Memory that a guess costs, in KiB. Part of format 1.
const MEMORY_KIB: u32 = 64 << 10;
/// Passes over that memory. Part of format 1.
const PASSES: u32 = 3;
/// Lanes. Part of format 1.
const LANES: u32 = 1;
/// Longest passphrase, in bytes.
const PASSPHRASE_BYTES_MAX: usize = 1_024;

/// Length of a salt, in bytes.
pub(crate) const SALT_BYTES: usize = 16;
/// Length of the value that tells a wrong passphrase from a damaged file, in bytes.
pub(crate) const CHECK_BYTES: usize = 32;

/// A key that was derived from a passphrase, and what to recognise it by.
pub(crate) struct DerivedKey {
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) check: [u8; CHECK_BYTES],
    pub(crate) key: SecretBytes,
}

/// A key under a fresh salt.
pub(crate) fn fresh(passphrase: &SecretBytes, entropy: &dyn Entropy) -> Result<DerivedKey> {
    derive(passphrase, random_array(entropy)?)
}

/// The key under a known salt, if the passphrase is the one that made `check`.
pub(crate) fn known(
    passphrase: &SecretBytes,
    salt: [u8; SALT_BYTES],
    check: &[u8; CHECK_BYTES],
) -> Result<SecretBytes> {
    let derived = derive(passphrase, salt)?;
    verify_slices_are_equal(&derived.check, check).map_err(|_| KeyVaultError::WrongPassphrase)?;
    Ok(derived.key)
}

fn derive(passphrase: &SecretBytes, salt: [u8; SALT_BYTES]) -> Result<DerivedKey> {
    let length = passphrase.expose().len();
    if length == 0 || length > PASSPHRASE_BYTES_MAX {
        return Err(KeyVaultError::BadParameter(format!(
            "a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes, this one has {length}"
        )));
    }
    let bug = |_| KeyVaultError::Bug("argon2id failed");
    let mut output = Zeroizing::new([0; KEY_BYTES + CHECK_BYTES]);
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(output.len())).map_err(bug)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose(), &salt, output.as_mut_slice())
        .map_err(bug)?;
    let (key, check) = output.split_at(KEY_BYTES);
    let check = check.try_into().map_err(|_| KeyVaultError::Bug("argon2id output is short"))?;
    Ok(DerivedKey { salt, check, key: SecretBytes::new(key.to_vec()) })
}
