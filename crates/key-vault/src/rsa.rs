//! RSA: making keys, wrapping and unwrapping. Key generation and the padding of a wrap take their
//! randomness from aws-lc's own generator, which is seeded by the operating system.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey,
    OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use custody_envelope::{SecretBytes, WrapAlgorithm};
use zeroize::Zeroizing;

use crate::error::{KeyVaultError, Result};
use crate::key::{PublicKey, RsaSize};

/// A fresh key pair on its way into the store.
pub(crate) struct KeyPair {
    /// PKCS#8 DER.
    pub(crate) private: SecretBytes,
    /// X.509 SubjectPublicKeyInfo DER.
    pub(crate) public: Vec<u8>,
}

pub(crate) fn generate(size: RsaSize) -> Result<KeyPair> {
    let size = match size {
        RsaSize::Bits2048 => KeySize::Rsa2048,
        RsaSize::Bits3072 => KeySize::Rsa3072,
        RsaSize::Bits4096 => KeySize::Rsa4096,
    };
    let bug = |_| KeyVaultError::Bug("an RSA key could not be made");
    let private = PrivateDecryptingKey::generate(size).map_err(bug)?;
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(&private.public_key()).map_err(bug)?;
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&private).map_err(bug)?;
    Ok(KeyPair {
        private: SecretBytes::new(private.as_ref().to_vec()),
        public: public.as_ref().to_vec(),
    })
}

/// Wraps `plain` under a public key (SubjectPublicKeyInfo DER).
pub(crate) fn wrap(
    public: &[u8],
    algorithm: WrapAlgorithm,
    plain: &SecretBytes,
) -> Result<Vec<u8>> {
    let oaep = oaep(algorithm);
    let key = PublicEncryptingKey::from_der(public).map_err(|_| damaged("a public key"))?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| damaged("a public key"))?;
    let length_max = key.max_plaintext_size(oaep);
    if plain.expose().is_empty() || plain.expose().len() > length_max {
        return Err(KeyVaultError::BadParameter(format!(
            "{} bytes cannot be wrapped by this key; it takes 1 to {length_max}",
            plain.expose().len()
        )));
    }
    let mut wrapped = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(oaep, plain.expose(), &mut wrapped, None)
        .map_err(|_| KeyVaultError::Bug("RSA-OAEP failed"))?
        .len();
    wrapped.truncate(length);
    Ok(wrapped)
}

/// Unwraps with a private key (PKCS#8 DER); `None` if the bytes are no wrap of this key.
pub(crate) fn unwrap(
    private: &SecretBytes,
    algorithm: WrapAlgorithm,
    wrapped: &[u8],
) -> Result<Option<SecretBytes>> {
    let key = PrivateDecryptingKey::from_pkcs8(private.expose())
        .map_err(|_| damaged("a private key in keys.db"))?;
    let key =
        OaepPrivateDecryptingKey::new(key).map_err(|_| damaged("a private key in keys.db"))?;
    let mut buffer = Zeroizing::new(vec![0; key.min_output_size()]);
    let plain = key.decrypt(oaep(algorithm), wrapped, &mut buffer, None);
    Ok(plain.ok().map(|plain| SecretBytes::new(plain.to_vec())))
}

/// The numbers of a public key (SubjectPublicKeyInfo DER, RFC 5280 and RFC 8017 A.1.1).
pub(crate) fn public_key(der: &[u8]) -> Result<PublicKey> {
    read_public_key(der).ok_or_else(|| damaged("a public key in keys.db"))
}

fn read_public_key(der: &[u8]) -> Option<PublicKey> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    const INTEGER: u8 = 0x02;
    let (info, _) = element(der, SEQUENCE)?;
    let (_algorithm, rest) = element(info, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    let (numbers, _) = element(bits.strip_prefix(&[0])?, SEQUENCE)?;
    let (modulus, rest) = element(numbers, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    let number = |bytes: &[u8]| bytes.strip_prefix(&[0]).unwrap_or(bytes).to_vec();
    Some(PublicKey { modulus: number(modulus), exponent: number(exponent) })
}

/// The content of the DER element at the head of `der`, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81 | 0x82 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn oaep(algorithm: WrapAlgorithm) -> &'static OaepAlgorithm {
    match algorithm {
        WrapAlgorithm::RsaOaep256 => &OAEP_SHA256_MGF1SHA256,
        WrapAlgorithm::RsaOaep => &OAEP_SHA1_MGF1SHA1,
    }
}

fn damaged(what: &str) -> KeyVaultError {
    KeyVaultError::Damaged(what.to_owned())
}
