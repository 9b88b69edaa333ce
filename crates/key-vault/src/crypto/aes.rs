//! AES: GCM, CBC with and without padding, key wrap.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use aws_lc_rs::cipher::{
    self, AES_CBC_IV_LEN, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use custody_ambient::{Entropy, random_array};
use custody_envelope::SecretBytes;
use zeroize::Zeroizing;

use super::{PLAIN_BYTES_MAX, Sealed, aes_wrap, damaged};
use crate::algorithm::EncryptionAlgorithm;
use crate::error::{KeyVaultError, Result};

/// Length of the tag of AES-GCM, in bytes.
const TAG_BYTES: usize = 16;
const BLOCK_BYTES: usize = 16;

/// `beside` brings the IV for CBC (made here if it is absent) and the associated data for GCM,
/// whose IV is always made here: one that came twice would give the key away.
pub(super) fn encrypt(
    key: &SecretBytes,
    algorithm: EncryptionAlgorithm,
    plain: &SecretBytes,
    beside: &Sealed,
    entropy: &dyn Entropy,
) -> Result<Sealed> {
    if plain.expose().len() > PLAIN_BYTES_MAX {
        return Err(bad(format!("AES takes at most {PLAIN_BYTES_MAX} bytes here")));
    }
    match algorithm {
        EncryptionAlgorithm::Gcm(_) => {
            if beside.iv.is_some() || beside.tag.is_some() {
                return Err(bad("iv and tag of AES-GCM are made by the key vault".to_owned()));
            }
            gcm_encrypt(key, plain, beside.associated.as_deref(), entropy)
        }
        EncryptionAlgorithm::Cbc(_) | EncryptionAlgorithm::CbcPad(_) => {
            let iv = match &beside.iv {
                Some(iv) => cbc_iv(iv)?,
                None => random_array(entropy)?,
            };
            let bytes = if matches!(algorithm, EncryptionAlgorithm::CbcPad(_)) {
                cbc_pad_encrypt(key, plain, iv)?
            } else {
                cbc_encrypt(key, plain, iv)?
            };
            Ok(Sealed { bytes, iv: Some(iv.to_vec()), ..Sealed::default() })
        }
        EncryptionAlgorithm::CkmKeyWrapPad => {
            Ok(Sealed { bytes: aes_wrap::wrap_padded(key, plain)?, ..Sealed::default() })
        }
        _ => Ok(Sealed { bytes: aes_wrap::wrap(key, plain)?, ..Sealed::default() }),
    }
}

/// `None` if the bytes are not authentic, or not padded as they should be.
pub(super) fn decrypt(
    key: &SecretBytes,
    algorithm: EncryptionAlgorithm,
    sealed: &Sealed,
) -> Result<Option<SecretBytes>> {
    match algorithm {
        EncryptionAlgorithm::Gcm(_) => gcm_decrypt(key, sealed),
        EncryptionAlgorithm::Cbc(_) => cbc_decrypt(key, sealed),
        EncryptionAlgorithm::CbcPad(_) => cbc_pad_decrypt(key, sealed),
        EncryptionAlgorithm::CkmKeyWrapPad => aes_wrap::unwrap_padded(key, &sealed.bytes),
        _ => aes_wrap::unwrap(key, &sealed.bytes),
    }
}

fn gcm_encrypt(
    key: &SecretBytes,
    plain: &SecretBytes,
    associated: Option<&[u8]>,
    entropy: &dyn Entropy,
) -> Result<Sealed> {
    let iv: [u8; NONCE_LEN] = random_array(entropy)?;
    let mut bytes = Zeroizing::new(plain.expose().to_vec());
    let tag = gcm_key(key)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(iv),
            Aad::from(associated.unwrap_or_default()),
            &mut bytes,
        )
        .map_err(|_| KeyVaultError::Bug("AES-GCM did not seal"))?;
    Ok(Sealed {
        bytes: bytes.to_vec(),
        iv: Some(iv.to_vec()),
        tag: Some(tag.as_ref().to_vec()),
        associated: associated.map(<[u8]>::to_vec),
    })
}

fn gcm_decrypt(key: &SecretBytes, sealed: &Sealed) -> Result<Option<SecretBytes>> {
    let iv = sealed.iv.as_deref().unwrap_or_default();
    let iv: [u8; NONCE_LEN] =
        iv.try_into().map_err(|_| bad(format!("iv of AES-GCM has {NONCE_LEN} bytes")))?;
    let tag = sealed.tag.as_deref().unwrap_or_default();
    if tag.len() != TAG_BYTES {
        return Err(bad(format!("tag of AES-GCM has {TAG_BYTES} bytes")));
    }
    let mut bytes = Zeroizing::new([&sealed.bytes, tag].concat());
    let associated = Aad::from(sealed.associated.as_deref().unwrap_or_default());
    let opened =
        gcm_key(key)?.open_in_place(Nonce::assume_unique_for_key(iv), associated, &mut bytes);
    Ok(opened.ok().map(|plain| SecretBytes::new(plain.to_vec())))
}

fn cbc_encrypt(key: &SecretBytes, plain: &SecretBytes, iv: [u8; 16]) -> Result<Vec<u8>> {
    let mut bytes = Zeroizing::new(plain.expose().to_vec());
    check_blocks(&bytes)?;
    let cipher = EncryptingKey::cbc(block_key(key)?).map_err(|_| cipher_bug())?;
    cipher
        .less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(FixedLength::from(iv)))
        .map_err(|_| cipher_bug())?;
    Ok(bytes.to_vec())
}

fn cbc_pad_encrypt(key: &SecretBytes, plain: &SecretBytes, iv: [u8; 16]) -> Result<Vec<u8>> {
    // Room for the padding, so that the plaintext is not copied when it is added.
    let mut bytes = Zeroizing::new(Vec::with_capacity(plain.expose().len() + BLOCK_BYTES));
    bytes.extend_from_slice(plain.expose());
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(block_key(key)?).map_err(|_| cipher_bug())?;
    cipher
        .less_safe_encrypt(&mut *bytes, EncryptionContext::Iv128(FixedLength::from(iv)))
        .map_err(|_| cipher_bug())?;
    Ok(bytes.to_vec())
}

fn cbc_decrypt(key: &SecretBytes, sealed: &Sealed) -> Result<Option<SecretBytes>> {
    check_blocks(&sealed.bytes)?;
    let iv = cbc_iv(sealed.iv.as_deref().unwrap_or_default())?;
    let mut bytes = Zeroizing::new(sealed.bytes.clone());
    let cipher = DecryptingKey::cbc(block_key(key)?).map_err(|_| cipher_bug())?;
    let plain = cipher
        .decrypt(&mut bytes, DecryptionContext::Iv128(FixedLength::from(iv)))
        .map_err(|_| cipher_bug())?;
    Ok(Some(SecretBytes::new(plain.to_vec())))
}

fn cbc_pad_decrypt(key: &SecretBytes, sealed: &Sealed) -> Result<Option<SecretBytes>> {
    check_blocks(&sealed.bytes)?;
    let iv = cbc_iv(sealed.iv.as_deref().unwrap_or_default())?;
    let mut bytes = Zeroizing::new(sealed.bytes.clone());
    let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(block_key(key)?).map_err(|_| cipher_bug())?;
    let plain = cipher.decrypt(&mut bytes, DecryptionContext::Iv128(FixedLength::from(iv)));
    Ok(plain.ok().map(|plain| SecretBytes::new(plain.to_vec())))
}

fn gcm_key(key: &SecretBytes) -> Result<LessSafeKey> {
    let algorithm = match key.expose().len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        _ => &AES_256_GCM,
    };
    let key = UnboundKey::new(algorithm, key.expose());
    key.map(LessSafeKey::new).map_err(|_| damaged("a symmetric key in keys.db"))
}

/// The key for one of AES's block modes.
pub(super) fn block_key(key: &SecretBytes) -> Result<UnboundCipherKey> {
    let algorithm = match key.expose().len() {
        16 => &cipher::AES_128,
        24 => &cipher::AES_192,
        _ => &cipher::AES_256,
    };
    UnboundCipherKey::new(algorithm, key.expose())
        .map_err(|_| damaged("a symmetric key in keys.db"))
}

fn cbc_iv(iv: &[u8]) -> Result<[u8; AES_CBC_IV_LEN]> {
    iv.try_into().map_err(|_| bad(format!("iv of AES-CBC has {AES_CBC_IV_LEN} bytes")))
}

fn check_blocks(bytes: &[u8]) -> Result<()> {
    if !bytes.is_empty() && bytes.len().is_multiple_of(BLOCK_BYTES) {
        return Ok(());
    }
    Err(bad(format!("AES-CBC takes whole blocks of {BLOCK_BYTES} bytes")))
}

fn cipher_bug() -> KeyVaultError {
    KeyVaultError::Bug("AES-CBC failed")
}

fn bad(text: String) -> KeyVaultError {
    KeyVaultError::BadParameter(text)
}
