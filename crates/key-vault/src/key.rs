//! Keys, their attributes, and what attributes allow.

use std::collections::{BTreeMap, BTreeSet};

use custody_ambient::Timestamp;
use custody_names::{KeyName, KeyVersion, KeyVersionUri};

use crate::error::{KeyVaultError, Result};
use crate::key_shape::{KeyShape, PublicKey, RsaSize};
use crate::key_use::KeyUse;
use crate::release_policy::ReleasePolicy;
use crate::vault::KeyVaultRef;

/// Most tags of a key.
pub const TAGS_MAX: usize = 15;
/// Longest name and longest value of a tag, in characters.
pub const TAG_CHARS_MAX: usize = 256;

/// One version of a key, without its private part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Key vault, name and version.
    pub id: KeyVersionUri,
    /// Kind and size.
    pub shape: KeyShape,
    /// Whether it is said to lie in hardware (`kty` ends in `-HSM`).
    pub hsm: bool,
    /// Enabled, not before, expires, created, updated, exportable.
    pub attributes: KeyAttributes,
    /// What it may be used for (`key_ops`).
    pub operations: BTreeSet<KeyUse>,
    /// The owner's tags.
    pub tags: BTreeMap<String, String>,
    /// The public key.
    pub public_key: PublicKey,
    /// Where it may be released to, if it is exportable.
    pub release_policy: Option<ReleasePolicy>,
    /// The oldest version of the key that is not refused, if one was set
    /// (`min_decryption_version`).
    pub floor: Option<KeyVersion>,
}

/// A key or key version as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyItem {
    /// Key vault, name and version.
    pub id: KeyVersionUri,
    /// Kind and size.
    pub shape: KeyShape,
    /// The attributes.
    pub attributes: KeyAttributes,
    /// The owner's tags.
    pub tags: BTreeMap<String, String>,
}

/// A soft-deleted key as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedKeyItem {
    /// Its newest version.
    pub item: KeyItem,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// When it will be purged by itself.
    pub scheduled_purge: Timestamp,
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
    /// Whether it may be released.
    pub exportable: bool,
    /// Where its bytes come from.
    pub origin: KeyOrigin,
    /// Below its key's floor: refuses every cryptographic operation.
    pub below_floor: bool,
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

/// Where a version's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// Made in the key vault.
    Made,
    /// Taken in from outside.
    Imported,
    /// Taken in from outside, and only the public half: it encrypts, wraps and verifies.
    ImportedPublic,
}

impl KeyOrigin {
    pub(crate) fn to_number(self) -> u8 {
        match self {
            Self::Made => 0,
            Self::Imported => 1,
            Self::ImportedPublic => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Made, Self::Imported, Self::ImportedPublic]
            .into_iter()
            .find(|origin| origin.to_number() == number)
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
            Standing::NotYetValid if wanted.needs_active() => {
                return Err(KeyVaultError::KeyNotYetValid(wanted));
            }
            Standing::Expired if wanted.needs_active() => {
                return Err(KeyVaultError::KeyExpired(wanted));
            }
            Standing::Active | Standing::NotYetValid | Standing::Expired => {}
        }
        if self.attributes.below_floor {
            return Err(KeyVaultError::KeyBelowFloor(wanted));
        }
        if self.operations.contains(&wanted) {
            Ok(())
        } else {
            Err(KeyVaultError::OperationNotPermitted(wanted))
        }
    }
}

/// What a new key, or a new version made by `create`, shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Kind and size.
    pub shape: KeyShape,
    /// Whether it shall be said to lie in hardware; always so in a managed HSM.
    pub hsm: bool,
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
    /// Whether it may be released under its release policy.
    pub exportable: bool,
    /// Where it may be released to.
    pub release_policy: Option<ReleasePolicy>,
}

impl NewKey {
    /// An enabled RSA key for every use, without dates or tags.
    pub fn of_size(size: RsaSize) -> Self {
        Self::of_shape(KeyShape::Rsa(size))
    }

    /// An enabled key for what such keys are usually made for, without dates or tags.
    pub fn of_shape(shape: KeyShape) -> Self {
        Self {
            shape,
            hsm: false,
            enabled: true,
            not_before: None,
            expires: None,
            operations: shape.usual_operations(),
            tags: BTreeMap::new(),
            exportable: false,
            release_policy: None,
        }
    }

    /// Whether such a key can be, and in a key vault of this kind.
    pub(crate) fn check(&self, vault: &KeyVaultRef, origin: KeyOrigin) -> Result<()> {
        let bad = |message: &str| Err(KeyVaultError::BadParameter(message.to_owned()));
        check_attributes(self.not_before, self.expires, &self.tags)?;
        check_operations(self.shape, origin, &self.operations)?;
        if matches!(self.shape, KeyShape::Oct(_)) && !vault.managed_hsm {
            return bad("kty oct and oct-HSM are for managed HSMs; a key vault holds RSA and EC");
        }
        match (self.exportable, &self.release_policy) {
            (true, None) => bad("an exportable key needs a release_policy"),
            (false, Some(_)) => bad("a release_policy is for exportable keys"),
            _ => Ok(()),
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
    /// Where it may be released to, unless the present policy is immutable.
    pub release_policy: Option<ReleasePolicy>,
    /// The oldest version of the key that is not refused; versions before it do nothing any more.
    pub floor: Change<KeyVersion>,
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
            release_policy: None,
            floor: Change::Keep,
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

/// Only what a key like this can do may stand in `key_ops`.
pub(crate) fn check_operations(
    shape: KeyShape,
    origin: KeyOrigin,
    operations: &BTreeSet<KeyUse>,
) -> Result<()> {
    let public = origin == KeyOrigin::ImportedPublic;
    let can = |wanted: KeyUse| shape.can(wanted) && (!public || wanted.needs_public_half_only());
    match operations.iter().find(|wanted| !can(**wanted)) {
        None => Ok(()),
        Some(wanted) => {
            let kind = shape.kind();
            let text = format!("key_ops: {wanted} is not possible with {kind} keys");
            Err(KeyVaultError::BadParameter(text))
        }
    }
}

/// `name` or `name/version`, as the error for a key that is not there names it.
pub(crate) fn not_found(name: &KeyName, version: Option<&KeyVersion>) -> KeyVaultError {
    KeyVaultError::KeyNotFound(match version {
        Some(version) => format!("{name}/{version}"),
        None => name.to_string(),
    })
}
