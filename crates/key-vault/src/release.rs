//! Secure release: an exportable key leaves for a target that a known authority attests to.
//!
//! The target's token is checked against authorities whose keys were configured beforehand; nothing
//! in the token makes the server look anywhere else. The key leaves wrapped for the key in the token.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use custody_ambient::Timestamp;
use custody_envelope::SecretBytes;
use custody_names::{KeyName, KeyVersion};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::answer::KeyAnswer;
use crate::audit::RequestContext;
use crate::authority::{PublicJwk, ReleaseAuthority};
use crate::crypto;
use crate::error::{KeyVaultError, Result};
use crate::key::Key;
use crate::key_use::KeyUse;
use crate::key_vaults::KeyVaults;
use crate::sealed_box;
use crate::using::UsableKey;
use crate::vault::KeyVaultRef;

/// The server secret that signs releases: a private key on P-256.
const SECRET: &str = "release-signing";
/// Longest target token, in bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Longest nonce, in bytes.
const NONCE_BYTES_MAX: usize = 512;

/// To whom a key shall be released, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRequest {
    /// The target's attestation: a signed token.
    pub target: String,
    /// Comes back in the answer.
    pub nonce: Option<String>,
    /// How the key is wrapped for the target.
    pub algorithm: ReleaseAlgorithm,
}

/// How a released key is wrapped: RSA-OAEP around an AES key, RFC 5649 around the private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReleaseAlgorithm {
    /// `CKM_RSA_AES_KEY_WRAP`: with SHA-1.
    #[default]
    CkmRsaAesKeyWrap,
    /// `RSA_AES_KEY_WRAP_256`: with SHA-256.
    RsaAesKeyWrap256,
    /// `RSA_AES_KEY_WRAP_384`: with SHA-384.
    RsaAesKeyWrap384,
}

impl ReleaseAlgorithm {
    /// The name in `enc`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CkmRsaAesKeyWrap => "CKM_RSA_AES_KEY_WRAP",
            Self::RsaAesKeyWrap256 => "RSA_AES_KEY_WRAP_256",
            Self::RsaAesKeyWrap384 => "RSA_AES_KEY_WRAP_384",
        }
    }
}

impl std::str::FromStr for ReleaseAlgorithm {
    type Err = KeyVaultError;

    fn from_str(text: &str) -> Result<Self> {
        [Self::CkmRsaAesKeyWrap, Self::RsaAesKeyWrap256, Self::RsaAesKeyWrap384]
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or_else(|| {
                KeyVaultError::BadParameter(
                    "enc must be CKM_RSA_AES_KEY_WRAP, RSA_AES_KEY_WRAP_256 or \
                     RSA_AES_KEY_WRAP_384"
                        .to_owned(),
                )
            })
    }
}

impl KeyVaults {
    /// Releases a key if its target's token meets its release policy.
    pub(crate) fn release(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        version: Option<&KeyVersion>,
        request: &ReleaseRequest,
        context: &RequestContext,
    ) -> Result<KeyAnswer> {
        if request.target.len() > TOKEN_BYTES_MAX {
            return Err(bad("target is too long"));
        }
        if request.nonce.as_ref().is_some_and(|nonce| nonce.len() > NONCE_BYTES_MAX) {
            return Err(bad("nonce is too long"));
        }
        let found = self.exportable(vault, name, version, context)?;
        let policy = found.key.release_policy.as_ref();
        let policy = policy.ok_or_else(|| refused("the key has no release policy"))?;
        let (authority, claims) =
            attested(&request.target, self.release_authorities(), context.now)?;
        if !policy.allows(authority, &claims)? {
            return Err(refused("the target does not meet the key's release policy"));
        }
        let target = wrapping_key(&claims)?;
        let private = found.private.as_ref().ok_or(KeyVaultError::Bug("no private key"))?.bytes();
        let wrapped = self.wrap_for(&target, private, request.algorithm)?;
        let token = self.released_token(&found.key, request, &wrapped)?;
        Ok(KeyAnswer::Released { key: found.key.id.clone(), token })
    }

    fn wrap_for(
        &self,
        target: &PublicJwk,
        private: &SecretBytes,
        algorithm: ReleaseAlgorithm,
    ) -> Result<Vec<u8>> {
        let oaep = match algorithm {
            ReleaseAlgorithm::CkmRsaAesKeyWrap => &OAEP_SHA1_MGF1SHA1,
            ReleaseAlgorithm::RsaAesKeyWrap256 => &OAEP_SHA256_MGF1SHA256,
            ReleaseAlgorithm::RsaAesKeyWrap384 => &OAEP_SHA384_MGF1SHA384,
        };
        let public = target.rsa_der().ok_or_else(|| refused("the target's key is no RSA key"))?;
        let key = sealed_box::mint_key(self.entropy())?;
        let head = crypto::rsa::oaep_encrypt(&public, oaep, key.expose())?;
        Ok([head, crypto::wrap_padded(&key, private)?].concat())
    }

    /// The answer as Key Vault signs it: who asked for what, and the key with its ciphertext.
    fn released_token(
        &self,
        key: &Key,
        request: &ReleaseRequest,
        wrapped: &[u8],
    ) -> Result<String> {
        let hsm = json!({
            "schema_version": "1.0",
            "header": {
                "kid": "TpmEphemeralEncryptionKey",
                "alg": "dir",
                "enc": request.algorithm.as_str(),
            },
            "ciphertext": BASE64URL_NOPAD.encode(wrapped),
        });
        let mut asked = json!({ "enc": request.algorithm.as_str(), "kid": key.id.to_string() });
        if let (Some(nonce), Some(fields)) = (&request.nonce, asked.as_object_mut()) {
            fields.insert("nonce".into(), nonce.as_str().into());
        }
        let payload = json!({
            "request": asked,
            "response": { "key": {
                "key": {
                    "kid": key.id.to_string(),
                    "kty": key.shape.key_type(key.hsm),
                    "key_ops": key.operations,
                    "key_hsm": BASE64URL_NOPAD.encode(hsm.to_string().as_bytes()),
                },
                "attributes": { "enabled": key.attributes.enabled, "exportable": true },
            } },
        });
        sign_token(&self.store().server_secret(SECRET)?, &payload)
    }
}

/// The authority that signed the token, and the token's claims, after all checks.
fn attested<'a>(
    token: &str,
    authorities: &'a [ReleaseAuthority],
    now: Timestamp,
) -> Result<(&'a str, Value)> {
    let unread = || refused("the target's token is no signed JSON web token");
    let (signed, signature) = token.rsplit_once('.').ok_or_else(unread)?;
    let (header, claims) = signed.split_once('.').ok_or_else(unread)?;
    let json = |part: &str| {
        let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
    };
    let (header, claims) = json(header).zip(json(claims)).ok_or_else(unread)?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| unread())?;
    let text = |value: &Value, name: &str| value.get(name)?.as_str().map(str::to_owned);
    let issuer = text(&claims, "iss").ok_or_else(unread)?;
    let authority = authorities
        .iter()
        .find(|known| known.is(&issuer))
        .ok_or_else(|| refused("the token's authority is not configured here"))?;
    let algorithm = text(&header, "alg").ok_or_else(unread)?;
    let key_id = text(&header, "kid");
    if !authority.signed(signed.as_bytes(), &signature, &algorithm, key_id.as_deref()) {
        return Err(refused("the token is not signed by a key of its authority"));
    }
    let seconds = |name: &str| claims.get(name).and_then(Value::as_i64);
    if seconds("exp").is_none_or(|end| now.as_second() >= end)
        || seconds("nbf").is_some_and(|start| now.as_second() < start)
    {
        return Err(refused("the token is not valid at this time"));
    }
    Ok((&authority.authority, claims))
}

/// The target's key for encryption, as attestations carry it: `x-ms-runtime.keys`.
fn wrapping_key(claims: &Value) -> Result<PublicJwk> {
    let keys = claims.pointer("/x-ms-runtime/keys").and_then(Value::as_array);
    let usable = |key: &&Value| {
        let operations = key.get("key_ops").and_then(Value::as_array);
        let encrypts = operations.is_none_or(|operations| {
            operations.iter().any(|word| matches!(word.as_str(), Some("encrypt" | "wrapKey")))
        });
        encrypts && key.get("use").and_then(Value::as_str).is_none_or(|word| word == "enc")
    };
    keys.into_iter()
        .flatten()
        .filter(usable)
        .filter_map(PublicJwk::read)
        .find(|key| key.rsa_der().is_some())
        .ok_or_else(|| refused("the token carries no RSA key to wrap for in x-ms-runtime.keys"))
}

fn sign_token(secret: &SecretBytes, payload: &Value) -> Result<String> {
    let bug = |_| KeyVaultError::Bug("the release could not be signed");
    let der = [EC_PRIVATE_KEY_HEAD, secret.expose(), EC_PRIVATE_KEY_TAIL].concat();
    let der = SecretBytes::new(der);
    let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.expose())
        .map_err(|_| KeyVaultError::Bug("the signing secret is no key"))?;
    let point = key.public_key().as_ref();
    let coordinate =
        |from: usize, to: usize| BASE64URL_NOPAD.encode(point.get(from..to).unwrap_or_default());
    let header = json!({
        "alg": "ES256",
        "typ": "JWT",
        "jwk": { "kty": "EC", "crv": "P-256", "x": coordinate(1, 33), "y": coordinate(33, 65) },
    });
    let encode = |part: &Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes());
    let signed = format!("{}.{}", encode(&header), encode(payload));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).map_err(bug)?;
    Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref())))
}

/// `ECPrivateKey` of RFC 5915 around the 32 bytes of a private key on P-256, without its point.
const EC_PRIVATE_KEY_HEAD: &[u8] = &[0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
const EC_PRIVATE_KEY_TAIL: &[u8] =
    &[0xA0, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];

fn bad(text: &str) -> KeyVaultError {
    KeyVaultError::BadParameter(text.to_owned())
}

fn refused(text: &str) -> KeyVaultError {
    KeyVaultError::ReleaseRefused(text.to_owned())
}

impl KeyVaults {
    fn exportable(
        &self,
        vault: &KeyVaultRef,
        name: &KeyName,
        version: Option<&KeyVersion>,
        context: &RequestContext,
    ) -> Result<Arc<UsableKey>> {
        let found = self.store().read(|session| session.version(vault, name, version))?;
        if !found.key.attributes.exportable {
            return Err(refused("the key is not exportable"));
        }
        self.usable(vault, name, Some(&found.key.id.version), KeyUse::Export, context)
    }
}
