//! Keys, their attributes, and what attributes allow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use custody_ambient::Timestamp;
use custody_names::{KeyName, KeyVersionUri};
use serde::{Deserialize, Serialize};

use crate::error::{KeyVaultError, Result};

/// Most tags of a key.
pub const TAGS_MAX: usize = 15;
/// Longest name and longest value of a tag, in characters.
pub const TAG_CHARS_MAX: usize = 256;

/// One version of a key, without its private part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Key vault, name and version.
    pub id: KeyVersionUri,
    /// Size and kind; every key is RSA.
    pub size: RsaSize,
    /// Enabled, not before, expires, created, updated.
    pub attributes: KeyAttributes,
    /// What it may be used for (`key_ops`).
    pub operations: BTreeSet<KeyUse>,
    /// The owner's tags.
    pub tags: BTreeMap<String, String>,
    /// The public key.
    pub public_key: PublicKey,
}

/// A public key as a JWK has it; both numbers big-endian without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// `n`
    pub modulus: Vec<u8>,
    /// `e`
    pub exponent: Vec<u8>,
}

/// A soft-deleted key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedKey {
    /// Its newest version.
    pub key: Key,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// When it will be purged by itself.
    pub scheduled_purge: Timestamp,
}

/// The attributes of a key version; times are whole seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAttributes {
    /// Whether it may be used.
    pub enabled: bool,
    /// Nothing is wrapped with it before this time (`nbf`).
    pub not_before: Option<Timestamp>,
    /// Nothing is wrapped with it from this time on (`exp`).
    pub expires: Option<Timestamp>,
    /// When the version was made.
    pub created: Timestamp,
    /// When its attributes were last changed.
    pub updated: Timestamp,
}

impl KeyAttributes {
    /// Where the key stands at `now`. "Enabled and active" (rule 18) is [`Standing::Active`].
    pub fn standing(&self, now: Timestamp) -> Standing {
        if !self.enabled {
            Standing::Disabled
        } else if self.not_before.is_some_and(|start| now < start) {
            Standing::NotYetValid
        } else if self.expires.is_some_and(|end| now >= end) {
            Standing::Expired
        } else {
            Standing::Active
        }
    }
}

/// Whether a key may be used (rules 17 and 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Enabled and within its dates.
    Active,
    /// Disabled by its owner: refuses every cryptographic operation.
    Disabled,
    /// Its `nbf` lies ahead: what it once protected opens, nothing new is protected.
    NotYetValid,
    /// Its `exp` has passed: what it once protected opens, nothing new is protected.
    Expired,
}

impl Key {
    /// Whether the key may be used so at `now`. Stricter than Azure in one respect: a disabled key
    /// refuses what needs only its public half, too.
    pub fn permits(&self, wanted: KeyUse, now: Timestamp) -> Result<()> {
        match self.attributes.standing(now) {
            Standing::Disabled => return Err(KeyVaultError::KeyDisabled(wanted)),
            Standing::NotYetValid if wanted.protects() => {
                return Err(KeyVaultError::KeyNotYetValid(wanted));
            }
            Standing::Expired if wanted.protects() => {
                return Err(KeyVaultError::KeyExpired(wanted));
            }
            Standing::Active | Standing::NotYetValid | Standing::Expired => {}
        }
        if self.operations.contains(&wanted) {
            Ok(())
        } else {
            Err(KeyVaultError::OperationNotPermitted(wanted))
        }
    }
}

/// What a key can be used for (`key_ops`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyUse {
    /// Decrypt.
    Decrypt,
    /// Encrypt.
    Encrypt,
    /// Sign.
    Sign,
    /// Unwrap a data key.
    UnwrapKey,
    /// Verify a signature.
    Verify,
    /// Wrap a data key.
    WrapKey,
}

impl KeyUse {
    /// All uses: what a key is made for unless its maker says less.
    pub const EACH: [Self; 6] =
        [Self::Decrypt, Self::Encrypt, Self::Sign, Self::UnwrapKey, Self::Verify, Self::WrapKey];

    /// Whether it protects something new, as against opening what was protected before.
    fn protects(self) -> bool {
        matches!(self, Self::Encrypt | Self::Sign | Self::WrapKey)
    }
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decrypt => "decrypt",
            Self::Encrypt => "encrypt",
            Self::Sign => "sign",
            Self::UnwrapKey => "unwrapKey",
            Self::Verify => "verify",
            Self::WrapKey => "wrapKey",
        })
    }
}

/// The sizes of RSA keys.
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

/// What a new key, or a new version made by `create`, shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Its size.
    pub size: RsaSize,
    /// Whether it may be used.
    pub enabled: bool,
    /// `nbf`
    pub not_before: Option<Timestamp>,
    /// `exp`
    pub expires: Option<Timestamp>,
    /// What it may be used for.
    pub operations: BTreeSet<KeyUse>,
    /// The owner's tags.
    pub tags: BTreeMap<String, String>,
}

impl NewKey {
    /// An enabled key for every use, without dates or tags.
    pub fn of_size(size: RsaSize) -> Self {
        Self {
            size,
            enabled: true,
            not_before: None,
            expires: None,
            operations: KeyUse::EACH.into(),
            tags: BTreeMap::new(),
        }
    }
}

/// What shall become of a value that may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays.
    Keep,
    /// It is taken away.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T> Change<T> {
    pub(crate) fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(after) => Some(after),
        }
    }
}

/// A change of a key version's attributes; what is `None` or `Keep` stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeChange {
    /// Enable or disable.
    pub enabled: Option<bool>,
    /// `nbf`
    pub not_before: Change<Timestamp>,
    /// `exp`
    pub expires: Change<Timestamp>,
    /// What it may be used for.
    pub operations: Option<BTreeSet<KeyUse>>,
    /// All tags.
    pub tags: Option<BTreeMap<String, String>>,
}

impl AttributeChange {
    /// The change that changes nothing, to start from.
    pub fn nothing() -> Self {
        Self {
            enabled: None,
            not_before: Change::Keep,
            expires: Change::Keep,
            operations: None,
            tags: None,
        }
    }
}

/// Dates and tags must make sense.
pub(crate) fn check_attributes(
    not_before: Option<Timestamp>,
    expires: Option<Timestamp>,
    tags: &BTreeMap<String, String>,
) -> Result<()> {
    let bad = |message: String| Err(KeyVaultError::BadParameter(message));
    if let (Some(start), Some(end)) = (not_before, expires)
        && start >= end
    {
        return bad(format!("exp ({end}) must lie after nbf ({start})"));
    }
    if tags.len() > TAGS_MAX {
        return bad(format!("a key may have {TAGS_MAX} tags, {} were given", tags.len()));
    }
    let long = |text: &String| text.chars().count() > TAG_CHARS_MAX;
    if tags.iter().any(|(name, value)| name.is_empty() || long(name) || long(value)) {
        return bad(format!("names and values of tags may have {TAG_CHARS_MAX} characters"));
    }
    Ok(())
}

/// `name` or `name/version`, as the error for a key that is not there names it.
pub(crate) fn not_found(
    name: &KeyName,
    version: Option<&custody_names::KeyVersion>,
) -> KeyVaultError {
    KeyVaultError::KeyNotFound(match version {
        Some(version) => format!("{name}/{version}"),
        None => name.to_string(),
    })
}
