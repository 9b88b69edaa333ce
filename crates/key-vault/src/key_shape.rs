//! What a key is made of: kind, size, curve, and the public half.

use std::collections::BTreeSet;

use crate::error::{KeyVaultError, Result};
use crate::key_use::KeyUse;

/// Kind and size of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyShape {
    /// `RSA`
    Rsa(RsaSize),
    /// `EC`
    Ec(Curve),
    /// `oct`: a symmetric key of so many bits. In a managed HSM only.
    Oct(OctSize),
}

impl KeyShape {
    /// The size as `key_size` shows it.
    pub fn bits(self) -> u32 {
        match self {
            Self::Rsa(size) => size.bits(),
            Self::Ec(curve) => curve.bits(),
            Self::Oct(size) => size.bits(),
        }
    }

    /// `RSA`, `EC` or `oct`; with `-HSM` where the key is said to lie in hardware.
    pub fn key_type(self, hsm: bool) -> &'static str {
        match (self, hsm) {
            (Self::Rsa(_), false) => "RSA",
            (Self::Rsa(_), true) => "RSA-HSM",
            (Self::Ec(_), false) => "EC",
            (Self::Ec(_), true) => "EC-HSM",
            (Self::Oct(_), false) => "oct",
            (Self::Oct(_), true) => "oct-HSM",
        }
    }

    /// What such a key is made for unless its maker says less.
    pub fn usual_operations(self) -> BTreeSet<KeyUse> {
        match self {
            Self::Rsa(_) => KeyUse::EACH.into(),
            Self::Ec(_) | Self::Oct(OctSize::Bits384 | OctSize::Bits512) => {
                [KeyUse::Sign, KeyUse::Verify].into()
            }
            Self::Oct(_) => {
                [KeyUse::Encrypt, KeyUse::Decrypt, KeyUse::WrapKey, KeyUse::UnwrapKey].into()
            }
        }
    }

    /// Whether a key like this can be used so at all: no EC key wraps a data key (rule 12).
    pub(crate) fn can(self, wanted: KeyUse) -> bool {
        match self {
            Self::Rsa(_) | Self::Oct(_) => true,
            Self::Ec(_) => matches!(wanted, KeyUse::Sign | KeyUse::Verify | KeyUse::Export),
        }
    }

    /// The word of the kind, as the store and backups keep it.
    pub(crate) fn kind(self) -> &'static str {
        self.key_type(false)
    }

    /// The curve's name, where there is one.
    pub fn curve(self) -> Option<Curve> {
        match self {
            Self::Ec(curve) => Some(curve),
            Self::Rsa(_) | Self::Oct(_) => None,
        }
    }

    /// What the store and backups keep: kind, size in bits, curve.
    pub(crate) fn read(kind: &str, bits: u32, curve: Option<&str>) -> Result<Self> {
        match (kind, curve) {
            ("RSA", None) => RsaSize::try_from(bits).map(Self::Rsa),
            ("EC", Some(curve)) => curve.parse().map(Self::Ec),
            ("oct", None) => OctSize::try_from(bits).map(Self::Oct),
            _ => Err(KeyVaultError::BadParameter(format!("there are no {kind} keys"))),
        }
    }
}

/// The sizes of RSA keys: what encrypts a vault has 2048 bits at least (rules 12, 15, 16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RsaSize {
    /// 2048 bits.
    Bits2048,
    /// 3072 bits, the default.
    Bits3072,
    /// 4096 bits.
    Bits4096,
}

impl RsaSize {
    /// The size in bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::Bits2048 => 2048,
            Self::Bits3072 => 3072,
            Self::Bits4096 => 4096,
        }
    }
}

impl TryFrom<u32> for RsaSize {
    type Error = KeyVaultError;

    fn try_from(bits: u32) -> Result<Self> {
        match bits {
            2048 => Ok(Self::Bits2048),
            3072 => Ok(Self::Bits3072),
            4096 => Ok(Self::Bits4096),
            _ => Err(KeyVaultError::BadParameter(format!(
                "key_size {bits} is not supported for RSA keys; it must be 2048, 3072 or 4096"
            ))),
        }
    }
}

/// The curves of EC keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Curve {
    /// NIST P-256, the default; signs `ES256`.
    P256,
    /// NIST P-384; signs `ES384`.
    P384,
    /// NIST P-521; signs `ES512`.
    P521,
    /// SECG secp256k1; signs `ES256K`.
    P256K,
}

impl Curve {
    /// The name in `crv`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::P256K => "P-256K",
        }
    }

    /// The size of its field in bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::P256 | Self::P256K => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    /// Length of a coordinate and of a private key, in bytes.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::P256 | Self::P256K => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl std::str::FromStr for Curve {
    type Err = KeyVaultError;

    fn from_str(text: &str) -> Result<Self> {
        [Self::P256, Self::P384, Self::P521, Self::P256K]
            .into_iter()
            .find(|curve| curve.as_str() == text)
            .ok_or_else(|| {
                KeyVaultError::BadParameter(
                    "crv is not supported; it must be P-256, P-384, P-521 or P-256K".to_owned(),
                )
            })
    }
}

/// The sizes of symmetric keys. Those above 256 bits serve HMAC alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OctSize {
    /// 128 bits.
    Bits128,
    /// 192 bits.
    Bits192,
    /// 256 bits, the default.
    Bits256,
    /// 384 bits.
    Bits384,
    /// 512 bits.
    Bits512,
}

impl OctSize {
    /// The size in bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::Bits128 => 128,
            Self::Bits192 => 192,
            Self::Bits256 => 256,
            Self::Bits384 => 384,
            Self::Bits512 => 512,
        }
    }

    /// The size in bytes.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Bits128 => 16,
            Self::Bits192 => 24,
            Self::Bits256 => 32,
            Self::Bits384 => 48,
            Self::Bits512 => 64,
        }
    }
}

impl TryFrom<u32> for OctSize {
    type Error = KeyVaultError;

    fn try_from(bits: u32) -> Result<Self> {
        [Self::Bits128, Self::Bits192, Self::Bits256, Self::Bits384, Self::Bits512]
            .into_iter()
            .find(|size| size.bits() == bits)
            .ok_or_else(|| {
                KeyVaultError::BadParameter(format!(
                    "key_size {bits} is not supported for oct keys; it must be 128, 192 or 256, or \
                     384 or 512 for HMAC"
                ))
            })
    }
}

/// A public key as a JWK has it: big-endian numbers. Those of RSA are without leading zeros, those
/// of EC as long as the curve's field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// An RSA key's.
    Rsa {
        /// `n`
        modulus: Vec<u8>,
        /// `e`
        exponent: Vec<u8>,
    },
    /// An EC key's.
    Ec {
        /// `x`
        x: Vec<u8>,
        /// `y`
        y: Vec<u8>,
    },
    /// A symmetric key has none.
    Secret,
}
