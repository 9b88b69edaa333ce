//! Attestation authorities whose word counts for a release, with their pinned keys.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

use crate::error::{KeyVaultError, Result};
use crate::release_policy::same_authority;

/// An authority and the keys it signs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseAuthority {
    /// Its URL, as policies and the `iss` of its tokens name it. Nothing is ever fetched from it.
    pub authority: String,
    keys: Vec<PublicJwk>,
}

/// A public key as a JWK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicJwk {
    id: Option<String>,
    numbers: Numbers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Numbers {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { curve: String, point: Vec<u8> },
}

impl ReleaseAuthority {
    /// The authority at this URL with the keys of a JWK set (`{"keys":[…]}`).
    ///
    /// # Errors
    /// [`KeyVaultError::BadParameter`] if the set holds no key that could be used.
    pub fn new(authority: &str, key_set: &Value) -> Result<Self> {
        let keys = key_set.get("keys").and_then(Value::as_array);
        let keys: Vec<_> = keys.into_iter().flatten().filter_map(PublicJwk::read).collect();
        if keys.is_empty() || !authority.starts_with("https://") {
            return Err(KeyVaultError::BadParameter(
                "a release authority is an https URL with a JWK set of RSA or EC keys".to_owned(),
            ));
        }
        Ok(Self { authority: authority.to_owned(), keys })
    }

    pub(crate) fn is(&self, issuer: &str) -> bool {
        same_authority(&self.authority, issuer)
    }

    /// Whether one of its keys made this signature. A named key must be the one with that name.
    pub(crate) fn signed(
        &self,
        message: &[u8],
        signature: &[u8],
        algorithm: &str,
        key_id: Option<&str>,
    ) -> bool {
        let named = |key: &&PublicJwk| key_id.is_none() || key.id.as_deref() == key_id;
        self.keys.iter().filter(named).any(|key| key.signed(message, signature, algorithm))
    }
}

impl PublicJwk {
    pub(crate) fn read(json: &Value) -> Option<Self> {
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        let number = |name: &str| {
            let bytes =
                BASE64URL_NOPAD.decode(text(name)?.trim_end_matches('=').as_bytes()).ok()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            bytes.get(zeros..).map(<[u8]>::to_vec)
        };
        let numbers = match text("kty")? {
            "RSA" => Numbers::Rsa { n: number("n")?, e: number("e")? },
            "EC" => {
                let coordinate = |name: &str| BASE64URL_NOPAD.decode(text(name)?.as_bytes()).ok();
                let point = [vec![0x04], coordinate("x")?, coordinate("y")?].concat();
                Numbers::Ec { curve: text("crv")?.to_owned(), point }
            }
            _ => return None,
        };
        Some(Self { id: text("kid").map(str::to_owned), numbers })
    }

    /// SubjectPublicKeyInfo of an RSA key of at least 2048 bits.
    pub(crate) fn rsa_der(&self) -> Option<Vec<u8>> {
        let Numbers::Rsa { n, e } = &self.numbers else { return None };
        let components = PublicKeyComponents { n, e };
        let key = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?;
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(&key).ok()?;
        Some(der.as_ref().to_vec())
    }

    /// The algorithm must be one of the key's kind: a token cannot choose another.
    fn signed(&self, message: &[u8], signature: &[u8], algorithm: &str) -> bool {
        let (verifying, public): (&'static dyn VerificationAlgorithm, Vec<u8>) = match &self.numbers
        {
            Numbers::Rsa { .. } => {
                let verifying: &'static dyn VerificationAlgorithm = match algorithm {
                    "RS256" => &RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &RSA_PSS_2048_8192_SHA256,
                    "PS384" => &RSA_PSS_2048_8192_SHA384,
                    "PS512" => &RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                let Some(der) = self.rsa_der() else { return false };
                (verifying, der)
            }
            Numbers::Ec { curve, point } => {
                let verifying: &'static dyn VerificationAlgorithm =
                    match (curve.as_str(), algorithm) {
                        ("P-256", "ES256") => &ECDSA_P256_SHA256_FIXED,
                        ("P-384", "ES384") => &ECDSA_P384_SHA384_FIXED,
                        ("P-521", "ES512") => &ECDSA_P521_SHA512_FIXED,
                        _ => return false,
                    };
                (verifying, point.clone())
            }
        };
        UnparsedPublicKey::new(verifying, public).verify(message, signature).is_ok()
    }
}
