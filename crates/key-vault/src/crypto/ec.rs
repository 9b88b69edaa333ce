//! EC: making and importing keys, ECDSA over digests.

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED,
    ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    EcdsaVerificationAlgorithm, KeyPair as _, ParsedPublicKey, UnparsedPublicKey,
};
use custody_envelope::SecretBytes;

use super::{KeyPair, damaged};
use crate::error::{KeyVaultError, Result};
use crate::key_shape::Curve;

pub(super) fn generate(curve: Curve) -> Result<KeyPair> {
    let bug = |_| KeyVaultError::Bug("an EC key could not be made");
    pair(&EcdsaKeyPair::generate(signing(curve)).map_err(bug)?)
}

/// The point must be on the curve and belong to `d`.
pub(super) fn import(curve: Curve, x: &[u8], y: &[u8], d: &SecretBytes) -> Result<KeyPair> {
    let point = [&[0x04], x, y].concat();
    let key = EcdsaKeyPair::from_private_key_and_public_key(signing(curve), d.expose(), &point)
        .map_err(|_| {
            let curve = curve.as_str();
            KeyVaultError::BadParameter(format!("x, y and d are no key pair of {curve}"))
        })?;
    pair(&key)
}

/// The point must be on the curve.
pub(super) fn import_public(curve: Curve, x: &[u8], y: &[u8]) -> Result<KeyPair> {
    let point = [&[0x04], x, y].concat();
    let wrong = || {
        let curve = curve.as_str();
        KeyVaultError::BadParameter(format!("x and y are no point on {curve}"))
    };
    let key = ParsedPublicKey::new(verifying(curve), &point).map_err(|_| wrong())?;
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(&key).map_err(|_| wrong())?;
    Ok(KeyPair { private: SecretBytes::new(Vec::new()), public: public.as_ref().to_vec() })
}

pub(super) fn sign(private: &SecretBytes, curve: Curve, digest: &Digest) -> Result<Vec<u8>> {
    let key = EcdsaKeyPair::from_pkcs8(signing(curve), private.expose())
        .map_err(|_| damaged("a private key in keys.db"))?;
    let signature = key.sign_digest(digest).map_err(|_| KeyVaultError::Bug("ECDSA failed"))?;
    Ok(signature.as_ref().to_vec())
}

pub(super) fn verify(public: &[u8], curve: Curve, digest: &Digest, signature: &[u8]) -> bool {
    UnparsedPublicKey::new(verifying(curve), public).verify_digest(digest, signature).is_ok()
}

fn pair(key: &EcdsaKeyPair) -> Result<KeyPair> {
    let bug = |_| KeyVaultError::Bug("an EC key could not be encoded");
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).map_err(bug)?;
    let private = key.to_pkcs8v1().map_err(bug)?;
    Ok(KeyPair {
        private: SecretBytes::new(private.as_ref().to_vec()),
        public: public.as_ref().to_vec(),
    })
}

fn signing(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
        Curve::P256K => &ECDSA_P256K1_SHA256_FIXED_SIGNING,
    }
}

fn verifying(curve: Curve) -> &'static EcdsaVerificationAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED,
        Curve::P256K => &ECDSA_P256K1_SHA256_FIXED,
    }
}
