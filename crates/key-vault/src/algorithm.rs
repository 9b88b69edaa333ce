//! The algorithms of the data plane by their names.

use std::fmt;
use std::str::FromStr;

use custody_envelope::WrapAlgorithm;

use crate::error::{KeyVaultError, Result};
use crate::key_shape::{Curve, KeyShape, OctSize};

/// How something is encrypted, decrypted, wrapped or unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptionAlgorithm {
    /// `RSA-OAEP`: with SHA-1 and MGF1-SHA-1.
    RsaOaep,
    /// `RSA-OAEP-256`: with SHA-256 and MGF1-SHA-256.
    RsaOaep256,
    /// `RSA1_5`: PKCS#1 v1.5, for old partners only; a key vault can refuse it.
    Rsa15,
    /// `A128GCM`, `A192GCM`, `A256GCM`
    Gcm(OctSize),
    /// `A128CBC` and so on: whole blocks.
    Cbc(OctSize),
    /// `A128CBCPAD` and so on: PKCS#7 padding.
    CbcPad(OctSize),
    /// `A128KW` and so on: RFC 3394.
    KeyWrap(OctSize),
    /// `CKM_AES_KEY_WRAP`: RFC 3394 with whatever size the key has.
    CkmKeyWrap,
    /// `CKM_AES_KEY_WRAP_PAD`: RFC 5649 with whatever size the key has.
    CkmKeyWrapPad,
}

const ENCRYPTION: &[(&str, EncryptionAlgorithm)] = {
    use EncryptionAlgorithm as A;
    use OctSize::{Bits128, Bits192, Bits256};
    &[
        ("RSA-OAEP", A::RsaOaep),
        ("RSA-OAEP-256", A::RsaOaep256),
        ("RSA1_5", A::Rsa15),
        ("A128GCM", A::Gcm(Bits128)),
        ("A192GCM", A::Gcm(Bits192)),
        ("A256GCM", A::Gcm(Bits256)),
        ("A128CBC", A::Cbc(Bits128)),
        ("A192CBC", A::Cbc(Bits192)),
        ("A256CBC", A::Cbc(Bits256)),
        ("A128CBCPAD", A::CbcPad(Bits128)),
        ("A192CBCPAD", A::CbcPad(Bits192)),
        ("A256CBCPAD", A::CbcPad(Bits256)),
        ("A128KW", A::KeyWrap(Bits128)),
        ("A192KW", A::KeyWrap(Bits192)),
        ("A256KW", A::KeyWrap(Bits256)),
        ("CKM_AES_KEY_WRAP", A::CkmKeyWrap),
        ("CKM_AES_KEY_WRAP_PAD", A::CkmKeyWrapPad),
    ]
};

impl EncryptionAlgorithm {
    /// The name in `alg`.
    pub fn as_str(self) -> &'static str {
        name(ENCRYPTION, self)
    }

    /// Whether it is one of RSA's.
    pub(crate) fn is_rsa(self) -> bool {
        matches!(self, Self::RsaOaep | Self::RsaOaep256 | Self::Rsa15)
    }

    /// Whether it wraps keys; the others of AES encrypt data.
    pub(crate) fn wraps(self) -> bool {
        self.is_rsa() || matches!(self, Self::KeyWrap(_) | Self::CkmKeyWrap | Self::CkmKeyWrapPad)
    }

    /// Whether it encrypts data.
    pub(crate) fn encrypts(self) -> bool {
        self.is_rsa() || matches!(self, Self::Gcm(_) | Self::Cbc(_) | Self::CbcPad(_))
    }

    /// # Errors
    /// [`KeyVaultError::BadParameter`] if a key of another shape is asked.
    pub(crate) fn check(self, shape: KeyShape) -> Result<()> {
        let fits = match (self, shape) {
            (Self::RsaOaep | Self::RsaOaep256 | Self::Rsa15, KeyShape::Rsa(_)) => true,
            (
                Self::Gcm(size) | Self::Cbc(size) | Self::CbcPad(size) | Self::KeyWrap(size),
                KeyShape::Oct(own),
            ) => size == own,
            (Self::CkmKeyWrap | Self::CkmKeyWrapPad, KeyShape::Oct(own)) => own <= OctSize::Bits256,
            _ => false,
        };
        if fits { Ok(()) } else { Err(unfit(self.as_str(), shape)) }
    }
}

impl From<WrapAlgorithm> for EncryptionAlgorithm {
    fn from(algorithm: WrapAlgorithm) -> Self {
        match algorithm {
            WrapAlgorithm::RsaOaep256 => Self::RsaOaep256,
            WrapAlgorithm::RsaOaep => Self::RsaOaep,
        }
    }
}

impl FromStr for EncryptionAlgorithm {
    type Err = KeyVaultError;

    fn from_str(text: &str) -> Result<Self> {
        parse(ENCRYPTION, text)
    }
}

impl fmt::Display for EncryptionAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The hashes that are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How a digest is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// `RS256` and so on: PKCS#1 v1.5.
    Pkcs1(Hash),
    /// `PS256` and so on: PSS with a salt as long as the hash.
    Pss(Hash),
    /// `RSNULL`: PKCS#1 v1.5 without a DigestInfo (RFC 2437), for old TLS.
    RsNull,
    /// `ES256`, `ES384`, `ES512`, `ES256K`: ECDSA on the one curve that goes with it; the signature
    /// is `r ‖ s`.
    Ecdsa(Curve),
    /// `HS256` and so on: HMAC.
    Hmac(Hash),
}

const SIGNATURE: &[(&str, SignatureAlgorithm)] = {
    use Hash::{Sha256, Sha384, Sha512};
    use SignatureAlgorithm as A;
    &[
        ("RS256", A::Pkcs1(Sha256)),
        ("RS384", A::Pkcs1(Sha384)),
        ("RS512", A::Pkcs1(Sha512)),
        ("PS256", A::Pss(Sha256)),
        ("PS384", A::Pss(Sha384)),
        ("PS512", A::Pss(Sha512)),
        ("RSNULL", A::RsNull),
        ("ES256", A::Ecdsa(Curve::P256)),
        ("ES384", A::Ecdsa(Curve::P384)),
        ("ES512", A::Ecdsa(Curve::P521)),
        ("ES256K", A::Ecdsa(Curve::P256K)),
        // What Key Vault called ES256K before JOSE had a name for it.
        ("ECDSA256", A::Ecdsa(Curve::P256K)),
        ("HS256", A::Hmac(Sha256)),
        ("HS384", A::Hmac(Sha384)),
        ("HS512", A::Hmac(Sha512)),
    ]
};

impl SignatureAlgorithm {
    /// The name in `alg`.
    pub fn as_str(self) -> &'static str {
        name(SIGNATURE, self)
    }

    /// The hash whose digest is signed, if it must be one.
    pub(crate) fn hash(self) -> Option<Hash> {
        match self {
            Self::Pkcs1(hash) | Self::Pss(hash) => Some(hash),
            Self::Ecdsa(Curve::P256 | Curve::P256K) => Some(Hash::Sha256),
            Self::Ecdsa(Curve::P384) => Some(Hash::Sha384),
            Self::Ecdsa(Curve::P521) => Some(Hash::Sha512),
            Self::RsNull | Self::Hmac(_) => None,
        }
    }

    /// # Errors
    /// [`KeyVaultError::BadParameter`] if a key of another shape is asked.
    pub(crate) fn check(self, shape: KeyShape) -> Result<()> {
        let fits = match (self, shape) {
            (Self::Pkcs1(_) | Self::Pss(_) | Self::RsNull, KeyShape::Rsa(_))
            | (Self::Hmac(_), KeyShape::Oct(_)) => true,
            (Self::Ecdsa(curve), KeyShape::Ec(own)) => curve == own,
            _ => false,
        };
        if fits { Ok(()) } else { Err(unfit(self.as_str(), shape)) }
    }
}

impl FromStr for SignatureAlgorithm {
    type Err = KeyVaultError;

    fn from_str(text: &str) -> Result<Self> {
        parse(SIGNATURE, text)
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn name<A: PartialEq>(table: &[(&'static str, A)], wanted: A) -> &'static str {
    table.iter().find(|(_, known)| *known == wanted).map_or("", |(name, _)| *name)
}

fn parse<A: Copy>(table: &[(&'static str, A)], text: &str) -> Result<A> {
    table.iter().find(|(name, _)| *name == text).map(|(_, algorithm)| *algorithm).ok_or_else(|| {
        let text: String = text.chars().take(32).collect();
        let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        let known = known.join(", ");
        KeyVaultError::BadParameter(format!("alg {text:?} is not supported; known are {known}"))
    })
}

fn unfit(algorithm: &str, shape: KeyShape) -> KeyVaultError {
    let (kind, bits) = (shape.kind(), shape.bits());
    let curve = shape.curve().map(|curve| format!(" {}", curve.as_str())).unwrap_or_default();
    KeyVaultError::BadParameter(format!(
        "alg {algorithm} is not possible with an {kind}{curve} key of {bits} bits"
    ))
}
