//! What can be asked of a key vault's keys, and the answers.

use custody_access::KeyPermission;
use custody_envelope::{SecretBytes, WrapAlgorithm};
use custody_names::{KeyName, KeyVersion, KeyVersionUri};

use crate::key::{AttributeChange, DeletedKey, Key, NewKey};
use crate::kit_notes::KitNote;

/// One request to the data plane. Where a version may be left out, the newest is meant.
pub enum KeyOperation<'a> {
    /// Make a key, or a new version if the name is taken. Answered by [`KeyAnswer::Key`].
    Create {
        /// Its name.
        name: &'a KeyName,
        /// What it shall be.
        key: &'a NewKey,
    },
    /// Soft-delete a key. Answered by [`KeyAnswer::DeletedKey`].
    Delete {
        /// Its name.
        name: &'a KeyName,
    },
    /// Read a key. Answered by [`KeyAnswer::Key`].
    Get {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
    },
    /// Read a soft-deleted key. Answered by [`KeyAnswer::DeletedKey`].
    GetDeleted {
        /// Its name.
        name: &'a KeyName,
    },
    /// List the newest version of every key. Answered by [`KeyAnswer::Keys`].
    List,
    /// List the soft-deleted keys. Answered by [`KeyAnswer::DeletedKeys`].
    ListDeleted,
    /// List the versions of a key, newest first. Answered by [`KeyAnswer::Keys`].
    ListVersions {
        /// Its name.
        name: &'a KeyName,
    },
    /// Erase a soft-deleted key. Answered by [`KeyAnswer::Purged`].
    Purge {
        /// Its name.
        name: &'a KeyName,
    },
    /// Bring a soft-deleted key back. Answered by [`KeyAnswer::Key`].
    Recover {
        /// Its name.
        name: &'a KeyName,
    },
    /// Make a new version like the newest. Answered by [`KeyAnswer::Key`].
    Rotate {
        /// Its name.
        name: &'a KeyName,
    },
    /// Unwrap a data key. Answered by [`KeyAnswer::Unwrapped`].
    Unwrap {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
        /// How it was wrapped.
        algorithm: WrapAlgorithm,
        /// The wrapped bytes.
        wrapped: &'a [u8],
    },
    /// Change attributes, permitted operations or tags. Answered by [`KeyAnswer::Key`].
    Update {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
        /// What shall change.
        change: &'a AttributeChange,
    },
    /// Wrap a data key. Answered by [`KeyAnswer::Wrapped`].
    Wrap {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
        /// How to wrap it.
        algorithm: WrapAlgorithm,
        /// The data key.
        plain: &'a SecretBytes,
    },
}

/// What a request is answered with. It has no `Debug`, since it may hold a data key.
pub enum KeyAnswer {
    /// A key version.
    Key(Key),
    /// Keys, or versions of a key.
    Keys(Vec<Key>),
    /// A soft-deleted key.
    DeletedKey(DeletedKey),
    /// Soft-deleted keys.
    DeletedKeys(Vec<DeletedKey>),
    /// The key is erased.
    Purged {
        /// The recovery kits that still open it: nothing here can reach those.
        kits: Vec<KitNote>,
    },
    /// A wrapped data key.
    Wrapped {
        /// The version that wrapped it.
        key: KeyVersionUri,
        /// The wrapped bytes.
        wrapped: Vec<u8>,
    },
    /// An unwrapped data key.
    Unwrapped {
        /// The version that unwrapped it.
        key: KeyVersionUri,
        /// The data key.
        plain: SecretBytes,
    },
}

impl KeyOperation<'_> {
    /// The permission that it needs.
    pub fn permission(&self) -> KeyPermission {
        match self {
            Self::Create { .. } => KeyPermission::Create,
            Self::Delete { .. } => KeyPermission::Delete,
            Self::Get { .. } | Self::GetDeleted { .. } => KeyPermission::Get,
            Self::List | Self::ListDeleted | Self::ListVersions { .. } => KeyPermission::List,
            Self::Purge { .. } => KeyPermission::Purge,
            Self::Recover { .. } => KeyPermission::Recover,
            Self::Rotate { .. } => KeyPermission::Rotate,
            Self::Unwrap { .. } => KeyPermission::UnwrapKey,
            Self::Update { .. } => KeyPermission::Update,
            Self::Wrap { .. } => KeyPermission::WrapKey,
        }
    }

    /// Its name in the log (`operationName`).
    pub(crate) fn audit_name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "KeyCreate",
            Self::Delete { .. } => "KeyDelete",
            Self::Get { .. } => "KeyGet",
            Self::GetDeleted { .. } => "KeyGetDeleted",
            Self::List => "KeyList",
            Self::ListDeleted => "KeyListDeleted",
            Self::ListVersions { .. } => "KeyListVersions",
            Self::Purge { .. } => "KeyPurge",
            Self::Recover { .. } => "KeyRecover",
            Self::Rotate { .. } => "KeyRotate",
            Self::Unwrap { .. } => "KeyUnwrap",
            Self::Update { .. } => "KeyUpdate",
            Self::Wrap { .. } => "KeyWrap",
        }
    }

    /// Its path in the data plane, below the key vault's host.
    pub(crate) fn path(&self) -> String {
        let versioned = |version: Option<&KeyVersion>| {
            version.map(|version| format!("/{version}")).unwrap_or_default()
        };
        match self {
            Self::Create { name, .. } => format!("/keys/{name}/create"),
            Self::Delete { name } => format!("/keys/{name}"),
            Self::Get { name, version } | Self::Update { name, version, .. } => {
                format!("/keys/{name}{}", versioned(*version))
            }
            Self::GetDeleted { name } | Self::Purge { name } => format!("/deletedkeys/{name}"),
            Self::List => "/keys".to_owned(),
            Self::ListDeleted => "/deletedkeys".to_owned(),
            Self::ListVersions { name } => format!("/keys/{name}/versions"),
            Self::Recover { name } => format!("/deletedkeys/{name}/recover"),
            Self::Rotate { name } => format!("/keys/{name}/rotate"),
            Self::Unwrap { name, version, .. } => {
                format!("/keys/{name}{}/unwrapkey", versioned(*version))
            }
            Self::Wrap { name, version, .. } => {
                format!("/keys/{name}{}/wrapkey", versioned(*version))
            }
        }
    }

    /// The key that it names, and the version if it names one.
    pub(crate) fn key(&self) -> Option<(&KeyName, Option<&KeyVersion>)> {
        match self {
            Self::List | Self::ListDeleted => None,
            Self::Create { name, .. }
            | Self::Delete { name }
            | Self::GetDeleted { name }
            | Self::ListVersions { name }
            | Self::Purge { name }
            | Self::Recover { name }
            | Self::Rotate { name } => Some((name, None)),
            Self::Get { name, version }
            | Self::Unwrap { name, version, .. }
            | Self::Update { name, version, .. }
            | Self::Wrap { name, version, .. } => Some((name, *version)),
        }
    }

    /// The name of its algorithm, if it has one.
    pub(crate) fn algorithm(&self) -> Option<&'static str> {
        match self {
            Self::Unwrap { algorithm, .. } | Self::Wrap { algorithm, .. } => {
                Some(match algorithm {
                    WrapAlgorithm::RsaOaep256 => "RSA-OAEP-256",
                    WrapAlgorithm::RsaOaep => "RSA-OAEP",
                })
            }
            _ => None,
        }
    }
}

impl KeyAnswer {
    /// The version that the answer is about, if it is about one.
    pub(crate) fn version(&self) -> Option<&KeyVersionUri> {
        match self {
            Self::Key(key) => Some(&key.id),
            Self::Wrapped { key, .. } | Self::Unwrapped { key, .. } => Some(key),
            Self::DeletedKey(_) | Self::Keys(_) | Self::DeletedKeys(_) | Self::Purged { .. } => {
                None
            }
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        if matches!(self, Self::Purged { .. }) { 204 } else { 200 }
    }
}
