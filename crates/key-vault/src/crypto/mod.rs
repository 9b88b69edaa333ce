//! The cryptography of keys, by shape: one file for each. Everything is aws-lc's; key generation
//! and padding take their randomness from its generator, which the operating system seeds.

mod aes;
mod aes_wrap;
mod der;
pub(crate) mod ec;
mod implicit_rejection;
mod oct;
mod private_key;
pub(crate) mod rsa;
mod rsa_raw;

use aws_lc_rs::digest::{self, Digest};
use custody_ambient::Entropy;
use custody_envelope::SecretBytes;

use crate::algorithm::{EncryptionAlgorithm, Hash, SignatureAlgorithm};
use crate::error::{KeyVaultError, Result};
use crate::jwk::ImportedKey;
use crate::key_shape::{KeyShape, PublicKey};

pub(crate) use private_key::PrivateKey;

/// Most bytes that one request signs with HMAC or encrypts with AES.
pub(crate) const PLAIN_BYTES_MAX: usize = 256 * 1024;

/// A key pair, or a symmetric key, on its way into the store.
pub(crate) struct KeyPair {
    /// PKCS#8 DER; of a symmetric key its bytes; nothing if only the public half is known.
    pub(crate) private: SecretBytes,
    /// X.509 SubjectPublicKeyInfo DER; of a symmetric key nothing.
    pub(crate) public: Vec<u8>,
}

/// What AES and RSA make of a plaintext.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The ciphertext.
    pub bytes: Vec<u8>,
    /// The initialisation vector, of AES-GCM and AES-CBC.
    pub iv: Option<Vec<u8>>,
    /// The authentication tag, of AES-GCM.
    pub tag: Option<Vec<u8>>,
    /// What is authenticated beside the plaintext, of AES-GCM.
    pub associated: Option<Vec<u8>>,
}

/// Makes a key.
pub(crate) fn generate(shape: KeyShape, entropy: &dyn Entropy) -> Result<KeyPair> {
    match shape {
        KeyShape::Rsa(size) => rsa::generate(size),
        KeyShape::Ec(curve) => ec::generate(curve),
        KeyShape::Oct(size) => oct::generate(size, entropy),
    }
}

/// Checks a key that comes from outside.
pub(crate) fn import(key: &ImportedKey) -> Result<KeyPair> {
    match key {
        ImportedKey::Rsa(components) => rsa::import(components),
        ImportedKey::Ec { curve, x, y, d } => ec::import(*curve, x, y, d),
        ImportedKey::RsaPublic { n, e } => rsa::import_public(n, e),
        ImportedKey::EcPublic { curve, x, y } => ec::import_public(*curve, x, y),
        ImportedKey::Oct { k, .. } => Ok(oct::import(k)),
    }
}

/// The public half as a JWK has it.
pub(crate) fn public_key(shape: KeyShape, der: &[u8]) -> Result<PublicKey> {
    let key = match shape {
        KeyShape::Rsa(_) => der::rsa_public_key(der),
        KeyShape::Ec(curve) => der::ec_public_key(der, curve.bytes()),
        KeyShape::Oct(_) => Some(PublicKey::Secret),
    };
    key.ok_or_else(|| damaged("a public key in keys.db"))
}

/// Encrypts or wraps. `public` serves RSA; AES needs the key itself.
pub(crate) fn encrypt(
    public: &[u8],
    secret: Option<&SecretBytes>,
    algorithm: EncryptionAlgorithm,
    plain: &SecretBytes,
    beside: &Sealed,
    entropy: &dyn Entropy,
) -> Result<Sealed> {
    if algorithm.is_rsa() {
        let bytes = rsa::encrypt(public, algorithm, plain)?;
        return Ok(Sealed { bytes, ..Sealed::default() });
    }
    let key = secret.ok_or(KeyVaultError::Bug("AES was asked without its key"))?;
    aes::encrypt(key, algorithm, plain, beside, entropy)
}

/// Decrypts or unwraps; `None` if the bytes are not of this key.
pub(crate) fn decrypt(
    private: &PrivateKey,
    algorithm: EncryptionAlgorithm,
    sealed: &Sealed,
) -> Result<Option<SecretBytes>> {
    if algorithm.is_rsa() {
        rsa::decrypt(private, algorithm, &sealed.bytes)
    } else {
        aes::decrypt(private.bytes(), algorithm, sealed)
    }
}

/// Signs a digest; with HMAC, the message itself.
pub(crate) fn sign(
    private: &PrivateKey,
    algorithm: SignatureAlgorithm,
    digest: &[u8],
) -> Result<Vec<u8>> {
    match algorithm {
        SignatureAlgorithm::Ecdsa(curve) => {
            ec::sign(private.bytes(), curve, &imported(algorithm, digest)?)
        }
        SignatureAlgorithm::Hmac(hash) => oct::authenticate(private.bytes(), hash, digest),
        SignatureAlgorithm::RsNull => rsa_raw::sign(private.bytes(), digest),
        SignatureAlgorithm::Pkcs1(_) | SignatureAlgorithm::Pss(_) => {
            rsa::sign(private, algorithm, &imported(algorithm, digest)?)
        }
    }
}

/// Whether `signature` is this key's of `digest`.
pub(crate) fn verify(
    public: &[u8],
    secret: Option<&SecretBytes>,
    algorithm: SignatureAlgorithm,
    digest: &[u8],
    signature: &[u8],
) -> Result<bool> {
    match algorithm {
        SignatureAlgorithm::Ecdsa(curve) => {
            Ok(ec::verify(public, curve, &imported(algorithm, digest)?, signature))
        }
        SignatureAlgorithm::Hmac(hash) => {
            let key = secret.ok_or(KeyVaultError::Bug("HMAC was asked without its key"))?;
            oct::is_authentic(key, hash, digest, signature)
        }
        SignatureAlgorithm::RsNull => rsa_raw::verify(public, digest, signature),
        SignatureAlgorithm::Pkcs1(_) | SignatureAlgorithm::Pss(_) => {
            Ok(rsa::verify(public, algorithm, &imported(algorithm, digest)?, signature))
        }
    }
}

/// The digest as the library takes it; it must be as long as the algorithm's hash.
fn imported(algorithm: SignatureAlgorithm, digest: &[u8]) -> Result<Digest> {
    let hash = match algorithm.hash() {
        Some(Hash::Sha256) => &digest::SHA256,
        Some(Hash::Sha384) => &digest::SHA384,
        Some(Hash::Sha512) => &digest::SHA512,
        None => return Err(KeyVaultError::Bug("this algorithm signs no digest of a fixed hash")),
    };
    Digest::import_less_safe(digest, hash).map_err(|_| {
        KeyVaultError::BadParameter(format!(
            "{algorithm} signs a digest of {} bytes, {} were given",
            hash.output_len(),
            digest.len()
        ))
    })
}

/// Wraps bytes of any length (RFC 5649).
pub(crate) fn wrap_padded(key: &SecretBytes, plain: &SecretBytes) -> Result<Vec<u8>> {
    aes_wrap::wrap_padded(key, plain)
}

fn damaged(what: &str) -> KeyVaultError {
    KeyVaultError::Damaged(what.to_owned())
}
