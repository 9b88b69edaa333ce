//! The keys that tokens are signed with. The newest one signs; older ones verify until the last
//! token that they signed has expired. Their stored form is sealed in `keys.db`
//! (`docs/formats/keys-db.md`).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use custody_ambient::Timestamp;
use custody_envelope::SecretBytes;
use data_encoding::BASE64URL_NOPAD;
use minicbor::{Decoder, Encoder};
use serde_json::{Value, json};

use crate::der::rsa_numbers;
use crate::jwt::{self, Parts};
use crate::token::MANAGED_IDENTITY_SECONDS;

/// A signing key is replaced after this long.
pub const SIGNING_KEY_DAYS: i64 = 90;
/// How long another process may go on signing with a key after it was replaced.
pub const SIGNING_KEY_LAG_SECONDS: i64 = 60;
/// How long a replaced key still verifies: until the last token it signed has expired.
const RETIRED_SECONDS: i64 = MANAGED_IDENTITY_SECONDS + SIGNING_KEY_LAG_SECONDS;
/// Most keys kept.
const KEYS_MAX: usize = 16;
const DAY_SECONDS: i64 = 86_400;
/// The head of the stored form.
const FORMAT: (&str, u8) = ("custody signing keys", 1);
/// Room for the stored form, so that it does not grow and leave copies of a key behind.
const STORED_BYTES_MAX: usize = 16 << 10;

/// The keys, newest first.
pub struct SigningKeys(Vec<SigningKey>);

struct SigningKey {
    /// Its name: the thumbprint of the public key as JWK (RFC 7638).
    id: String,
    created: Timestamp,
    retired: Option<Timestamp>,
    /// `RSAPublicKey` (RFC 8017), DER.
    public: Vec<u8>,
    /// Gone when it is retired.
    pair: Option<RsaKeyPair>,
}

impl SigningKeys {
    /// The stored form of `old` with a new key before it; retired keys lose their private part.
    pub fn with_new_key(old: Option<&Self>, now: Timestamp) -> Option<SecretBytes> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).ok()?;
        let kept: Vec<&SigningKey> = old.map_or(Vec::new(), |old| {
            old.0.iter().filter(|key| key.verifies(now)).take(KEYS_MAX - 1).collect()
        });
        let mut stored = Vec::with_capacity(STORED_BYTES_MAX);
        let mut cbor = Encoder::new(&mut stored);
        cbor.array(3).ok()?.str(FORMAT.0).ok()?.u8(FORMAT.1).ok()?;
        cbor.array(u64::try_from(kept.len() + 1).ok()?).ok()?;
        cbor.array(3).ok()?.i64(now.as_second()).ok()?.null().ok()?.bytes(private.as_ref()).ok()?;
        for key in kept {
            let retired = key.retired.unwrap_or(now).as_second();
            cbor.array(3).ok()?.i64(key.created.as_second()).ok()?.i64(retired).ok()?;
            cbor.bytes(&key.public).ok()?;
        }
        Some(SecretBytes::new(stored))
    }

    /// Reads the stored form.
    pub fn read(stored: &SecretBytes) -> Option<Self> {
        let mut cbor = Decoder::new(stored.expose());
        let whole = (cbor.array().ok()?, cbor.str().ok()?, cbor.u8().ok()?);
        if whole != (Some(3), FORMAT.0, FORMAT.1) {
            return None;
        }
        let count = usize::try_from(cbor.array().ok()??).ok().filter(|count| *count <= KEYS_MAX)?;
        let keys: Option<Vec<SigningKey>> =
            (0..count).map(|_| SigningKey::read(&mut cbor)).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self)
    }

    /// Whether the newest key has signed for so long that another should.
    pub fn are_due(&self, now: Timestamp) -> bool {
        let newest = self.0.first().map(|key| key.created.as_second());
        newest.is_none_or(|made| now.as_second() - made > SIGNING_KEY_DAYS * DAY_SECONDS)
    }

    /// The name of the key that signs.
    pub fn newest(&self) -> &str {
        self.0.first().map_or("", |key| &key.id)
    }

    /// The public keys as a JWK set (RFC 7517 §5).
    pub fn jwks(&self, issuer: &str, now: Timestamp) -> Value {
        let known = self.0.iter().filter(|key| key.verifies(now));
        json!({ "keys": known.map(|key| key.jwk(issuer)).collect::<Vec<_>>() })
    }

    /// Signs these claims.
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        let key = self.0.first()?;
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": key.id, "x5t": key.id });
        jwt::sign(key.pair.as_ref()?, &header, claims)
    }

    /// Whether one of these keys signed it, the one that it names.
    pub(crate) fn signed<C>(&self, token: &Parts<'_, C>, now: Timestamp) -> bool {
        let Some(id) = token.header.kid.as_deref() else { return false };
        let Some(algorithm) = jwt::algorithm(&token.header.alg, &["RS256"]) else { return false };
        let named = self.0.iter().find(|key| key.id == id && key.verifies(now));
        named.is_some_and(|key| token.is_signed_by(&key.public, algorithm))
    }

    /// Whether what the key of this name signed is still believed.
    pub(crate) fn verify_with(&self, id: &str, now: Timestamp) -> bool {
        self.0.iter().any(|key| key.id == id && key.verifies(now))
    }

    /// Whether a key of this name is among them.
    pub fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id == id)
    }
}

impl SigningKey {
    fn read(cbor: &mut Decoder<'_>) -> Option<Self> {
        cbor.array().ok()?.filter(|fields| *fields == 3)?;
        let created = Timestamp::from_second(cbor.i64().ok()?).ok()?;
        if cbor.datatype().ok()? == minicbor::data::Type::Null {
            cbor.null().ok()?;
            let pair = RsaKeyPair::from_pkcs8(cbor.bytes().ok()?).ok()?;
            let public = pair.public_key().as_ref().to_vec();
            return Some(Self {
                id: name(&public)?,
                created,
                retired: None,
                public,
                pair: Some(pair),
            });
        }
        let retired = Timestamp::from_second(cbor.i64().ok()?).ok()?;
        let public = cbor.bytes().ok()?.to_vec();
        Some(Self { id: name(&public)?, created, retired: Some(retired), public, pair: None })
    }

    fn verifies(&self, now: Timestamp) -> bool {
        self.retired.is_none_or(|at| now.as_second() - at.as_second() < RETIRED_SECONDS)
    }

    fn jwk(&self, issuer: &str) -> Value {
        let (modulus, exponent) = rsa_numbers(&self.public).unwrap_or_default();
        json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.id,
            "x5t": self.id,
            "n": BASE64URL_NOPAD.encode(modulus),
            "e": BASE64URL_NOPAD.encode(exponent),
            "issuer": issuer,
        })
    }
}

/// The thumbprint of a public key as JWK: its members in the order that RFC 7638 §3 prescribes.
fn name(public: &[u8]) -> Option<String> {
    let (modulus, exponent) = rsa_numbers(public)?;
    let encode = |number| BASE64URL_NOPAD.encode(number);
    let jwk = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(exponent), encode(modulus));
    Some(encode(digest(&SHA256, jwk.as_bytes()).as_ref()))
}
