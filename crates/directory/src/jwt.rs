//! JSON Web Tokens in the compact form (RFC 7515), as far as this product makes and takes them:
//! signed with RSA and SHA-256, and nothing in the header is ever followed or obeyed.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RsaKeyPair,
    RsaParameters, UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Longest token or assertion, in bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 << 10;
/// The `typ` of tokens and assertions.
const TYPE: &str = "JWT";

/// What a header may say.
#[derive(Deserialize)]
pub(crate) struct Header {
    /// The algorithm it claims to be signed with.
    pub(crate) alg: String,
    /// What it claims to be.
    typ: Option<String>,
    /// The name of the key that it claims to be signed with.
    pub(crate) kid: Option<String>,
    /// SHA-1 of the certificate, base64url.
    pub(crate) x5t: Option<String>,
    /// SHA-256 of the certificate, base64url.
    #[serde(rename = "x5t#S256")]
    pub(crate) x5t_s256: Option<String>,
    /// Extensions that must be understood (RFC 7515 §4.1.11): none is.
    crit: Option<Value>,
}

/// A token taken apart; nothing in it is true before its signature was verified.
pub(crate) struct Parts<'t, C> {
    pub(crate) header: Header,
    pub(crate) claims: C,
    signed: &'t [u8],
    signature: Vec<u8>,
}

/// Takes a token apart.
pub(crate) fn parse<C: DeserializeOwned>(token: &str) -> Option<Parts<'_, C>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).ok();
    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    let typed = header.typ.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case(TYPE));
    if !typed || header.crit.is_some() {
        return None;
    }
    let claims = serde_json::from_slice(&decode(claims)?).ok()?;
    Some(Parts { header, claims, signed: signed.as_bytes(), signature: decode(signature)? })
}

impl<C> Parts<'_, C> {
    /// Whether `public_key` (RFC 8017 or SubjectPublicKeyInfo, DER) signed it in this way.
    pub(crate) fn is_signed_by(
        &self,
        public_key: &[u8],
        algorithm: &'static RsaParameters,
    ) -> bool {
        UnparsedPublicKey::new(algorithm, public_key).verify(self.signed, &self.signature).is_ok()
    }
}

/// The algorithm of this name, if it is one of `allowed`.
pub(crate) fn algorithm(name: &str, allowed: &[&str]) -> Option<&'static RsaParameters> {
    match name {
        name if !allowed.contains(&name) => None,
        "RS256" => Some(&RSA_PKCS1_2048_8192_SHA256),
        "PS256" => Some(&RSA_PSS_2048_8192_SHA256),
        _ => None,
    }
}

/// Signs with RS256. Its padding needs no randomness.
pub(crate) fn sign(pair: &RsaKeyPair, header: &Value, claims: &Value) -> Option<String> {
    let encode = |part: &Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
    Some(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
}
