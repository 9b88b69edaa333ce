//! RSA: making and importing keys, OAEP, PKCS#1 v1.5, PSS.

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeyPair as RsaKeyPair, KeyPairComponents, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256,
    OaepAlgorithm, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey,
    Pkcs1PublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, UnparsedPublicKey, VerificationAlgorithm,
};
use custody_envelope::SecretBytes;
use zeroize::Zeroizing;

use super::{KeyPair, PrivateKey, damaged, implicit_rejection};
use crate::algorithm::{EncryptionAlgorithm, Hash, SignatureAlgorithm};
use crate::error::{KeyVaultError, Result};
use crate::jwk::RsaComponents;
use crate::key_shape::RsaSize;

pub(super) fn generate(size: RsaSize) -> Result<KeyPair> {
    let size = match size {
        RsaSize::Bits2048 => KeySize::Rsa2048,
        RsaSize::Bits3072 => KeySize::Rsa3072,
        RsaSize::Bits4096 => KeySize::Rsa4096,
    };
    let bug = |_| KeyVaultError::Bug("an RSA key could not be made");
    pair(&RsaKeyPair::generate(size).map_err(bug)?)
}

/// All numbers must fit together.
pub(super) fn import(numbers: &RsaComponents) -> Result<KeyPair> {
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n: numbers.n.as_slice(), e: numbers.e.as_slice() },
        d: numbers.d.expose(),
        p: numbers.p.expose(),
        q: numbers.q.expose(),
        dP: numbers.dp.expose(),
        dQ: numbers.dq.expose(),
        qInv: numbers.qi.expose(),
    };
    let key = RsaKeyPair::from_components(&components).map_err(|_| {
        let text = "n, e, d, p, q, dp, dq and qi are no RSA key pair";
        KeyVaultError::BadParameter(text.to_owned())
    })?;
    pair(&key)
}

/// The modulus must be odd and the exponent one that RSA can have.
pub(super) fn import_public(n: &[u8], e: &[u8]) -> Result<KeyPair> {
    let wrong = || KeyVaultError::BadParameter("n and e are no public key of RSA".to_owned());
    let key = PublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
    let key = key.map_err(|_| wrong())?;
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(&key).map_err(|_| wrong())?;
    Ok(KeyPair { private: SecretBytes::new(Vec::new()), public: public.as_ref().to_vec() })
}

/// Encrypts under a public key (SubjectPublicKeyInfo DER).
pub(crate) fn encrypt(
    public: &[u8],
    algorithm: EncryptionAlgorithm,
    plain: &SecretBytes,
) -> Result<Vec<u8>> {
    let bad_key = |_| damaged("a public key");
    let key = PublicEncryptingKey::from_der(public).map_err(|_| damaged("a public key"))?;
    let mut sealed = vec![0; key.key_size_bytes()];
    let plain = plain.expose();
    let length = if let Some(oaep) = oaep(algorithm) {
        let key = OaepPublicEncryptingKey::new(key).map_err(bad_key)?;
        check_length(plain, key.max_plaintext_size(oaep))?;
        key.encrypt(oaep, plain, &mut sealed, None).map(|sealed| sealed.len())
    } else {
        let key = Pkcs1PublicEncryptingKey::new(key).map_err(bad_key)?;
        check_length(plain, key.max_plaintext_size())?;
        key.encrypt(plain, &mut sealed).map(|sealed| sealed.len())
    };
    sealed.truncate(length.map_err(|_| KeyVaultError::Bug("RSA encryption failed"))?);
    Ok(sealed)
}

/// RSA-OAEP under a public key (SubjectPublicKeyInfo DER) that is not one of ours.
pub(crate) fn oaep_encrypt(
    public: &[u8],
    oaep: &'static OaepAlgorithm,
    plain: &[u8],
) -> Result<Vec<u8>> {
    let key = PublicEncryptingKey::from_der(public).map_err(|_| damaged("a public key"))?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| damaged("a public key"))?;
    let mut sealed = vec![0; key.ciphertext_size()];
    key.encrypt(oaep, plain, &mut sealed, None)
        .map(|sealed| sealed.to_vec())
        .map_err(|_| KeyVaultError::Bug("RSA-OAEP failed"))
}

/// Decrypts with a private key (PKCS#8 DER); `None` if the bytes are not of this key.
pub(super) fn decrypt(
    private: &PrivateKey,
    algorithm: EncryptionAlgorithm,
    sealed: &[u8],
) -> Result<Option<SecretBytes>> {
    let bad_key = |_| damaged("a private key in keys.db");
    let key = private.decrypting()?.clone();
    let mut buffer = Zeroizing::new(vec![0; key.key_size_bytes()]);
    if let Some(oaep) = oaep(algorithm) {
        let key = OaepPrivateDecryptingKey::new(key).map_err(bad_key)?;
        let plain = key.decrypt(oaep, sealed, &mut buffer, None);
        return Ok(plain.ok().map(|plain| SecretBytes::new(plain.to_vec())));
    }
    if sealed.len() != buffer.len() {
        return Ok(None);
    }
    // Bad padding is answered with other bytes, never with an error.
    let mut other = implicit_rejection::synthetic(private.bytes().expose(), sealed)?;
    let key = Pkcs1PrivateDecryptingKey::new(key).map_err(bad_key)?;
    let plain = match key.decrypt(sealed, &mut buffer) {
        Ok(plain) => Zeroizing::new(plain.to_vec()),
        Err(_) => Zeroizing::new(std::mem::take(&mut *other)),
    };
    Ok(Some(SecretBytes::new(plain.to_vec())))
}

pub(super) fn sign(
    private: &PrivateKey,
    algorithm: SignatureAlgorithm,
    digest: &Digest,
) -> Result<Vec<u8>> {
    let key = private.signing()?;
    let encoding: &'static dyn RsaEncoding = match algorithm {
        SignatureAlgorithm::Pkcs1(Hash::Sha256) => &RSA_PKCS1_SHA256,
        SignatureAlgorithm::Pkcs1(Hash::Sha384) => &RSA_PKCS1_SHA384,
        SignatureAlgorithm::Pkcs1(Hash::Sha512) => &RSA_PKCS1_SHA512,
        SignatureAlgorithm::Pss(Hash::Sha256) => &RSA_PSS_SHA256,
        SignatureAlgorithm::Pss(Hash::Sha384) => &RSA_PSS_SHA384,
        SignatureAlgorithm::Pss(Hash::Sha512) => &RSA_PSS_SHA512,
        _ => return Err(KeyVaultError::Bug("this algorithm is not RSA's")),
    };
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign_digest(encoding, digest, &mut signature)
        .map_err(|_| KeyVaultError::Bug("RSA did not sign"))?;
    Ok(signature)
}

pub(super) fn verify(
    public: &[u8],
    algorithm: SignatureAlgorithm,
    digest: &Digest,
    signature: &[u8],
) -> bool {
    let encoding: &'static dyn VerificationAlgorithm = match algorithm {
        SignatureAlgorithm::Pkcs1(Hash::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
        SignatureAlgorithm::Pkcs1(Hash::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
        SignatureAlgorithm::Pkcs1(Hash::Sha512) => &RSA_PKCS1_2048_8192_SHA512,
        SignatureAlgorithm::Pss(Hash::Sha256) => &RSA_PSS_2048_8192_SHA256,
        SignatureAlgorithm::Pss(Hash::Sha384) => &RSA_PSS_2048_8192_SHA384,
        SignatureAlgorithm::Pss(Hash::Sha512) => &RSA_PSS_2048_8192_SHA512,
        _ => return false,
    };
    UnparsedPublicKey::new(encoding, public).verify_digest(digest, signature).is_ok()
}

fn pair(key: &RsaKeyPair) -> Result<KeyPair> {
    let bug = |_| KeyVaultError::Bug("an RSA key could not be encoded");
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).map_err(bug)?;
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(key).map_err(bug)?;
    Ok(KeyPair {
        private: SecretBytes::new(private.as_ref().to_vec()),
        public: public.as_ref().to_vec(),
    })
}

fn check_length(plain: &[u8], length_max: usize) -> Result<()> {
    if !plain.is_empty() && plain.len() <= length_max {
        return Ok(());
    }
    Err(KeyVaultError::BadParameter(format!(
        "{} bytes cannot be wrapped by this key; it takes 1 to {length_max}",
        plain.len()
    )))
}

fn oaep(algorithm: EncryptionAlgorithm) -> Option<&'static OaepAlgorithm> {
    match algorithm {
        EncryptionAlgorithm::RsaOaep256 => Some(&OAEP_SHA256_MGF1SHA256),
        EncryptionAlgorithm::RsaOaep => Some(&OAEP_SHA1_MGF1SHA1),
        _ => None,
    }
}
