//! What can be asked of a key vault's keys, and what it needs.

use custody_access::KeyPermission;
use custody_envelope::SecretBytes;
use custody_names::{KeyName, KeyVersion};

use crate::algorithm::{EncryptionAlgorithm, SignatureAlgorithm};
use crate::crypto::Sealed;
use crate::jwk::ImportedKey;
use crate::key::{AttributeChange, Change, NewKey};
use crate::key_list::Page;
use crate::key_use::KeyUse;
use crate::release::ReleaseRequest;
use crate::rewrap::RewrapItem;
use crate::rotation_policy::RotationPolicy;

/// One request to the data plane. Where a version may be left out, the newest is meant.
pub enum KeyOperation<'a> {
    /// Take a sealed copy of all versions. Answered by [`KeyAnswer::Backup`](crate::KeyAnswer).
    Backup {
        /// Its name.
        name: &'a KeyName,
    },
    /// Make a key, or a new version if the name is taken. Answered by `KeyAnswer::Key`.
    Create {
        /// Its name.
        name: &'a KeyName,
        /// What it shall be.
        key: &'a NewKey,
    },
    /// Make a key unless there is one of that name, as ARM does. Answered by `KeyAnswer::Key`.
    CreateIfAbsent {
        /// Its name.
        name: &'a KeyName,
        /// What it shall be.
        key: &'a NewKey,
        /// The rotation policy that it is made with.
        policy: Option<&'a RotationPolicy>,
    },
    /// Decrypt. Answered by `KeyAnswer::Decrypted`.
    Decrypt {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
        /// How it was encrypted.
        algorithm: EncryptionAlgorithm,
        /// The ciphertext and what goes with it.
        sealed: &'a Sealed,
    },
    /// Soft-delete a key. Answered by `KeyAnswer::DeletedKey`.
    Delete {
        /// Its name.
        name: &'a KeyName,
    },
    /// Encrypt. Answered by `KeyAnswer::Encrypted`.
    Encrypt {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
        /// How to encrypt.
        algorithm: EncryptionAlgorithm,
        /// The plaintext.
        plain: &'a SecretBytes,
        /// IV and associated data, where the algorithm takes them; `bytes` is not looked at.
        beside: &'a Sealed,
    },
    /// Read a key. Answered by `KeyAnswer::Key`.
    Get {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
    },
    /// Read a soft-deleted key. Answered by `KeyAnswer::DeletedKey`.
    GetDeleted {
        /// Its name.
        name: &'a KeyName,
    },
    /// Read the rotation policy. Answered by `KeyAnswer::RotationPolicy`.
    GetRotationPolicy {
        /// Its name.
        name: &'a KeyName,
    },
    /// Take a key in from outside, as a new version if the name is taken. Answered by
    /// `KeyAnswer::Key`.
    Import {
        /// Its name.
        name: &'a KeyName,
        /// What it shall be; of the shape of `material`.
        key: &'a NewKey,
        /// The key itself.
        material: &'a ImportedKey,
    },
    /// List the newest version of every key. Answered by `KeyAnswer::Keys`.
    List {
        /// Which part of the list.
        page: Page<'a>,
    },
    /// List the soft-deleted keys. Answered by `KeyAnswer::DeletedKeys`.
    ListDeleted {
        /// Which part of the list.
        page: Page<'a>,
    },
    /// List the versions of a key, newest first. Answered by `KeyAnswer::Versions`.
    ListVersions {
        /// Its name.
        name: &'a KeyName,
        /// Which part of the list.
        page: Page<'a>,
    },
    /// Erase a soft-deleted key. Answered by `KeyAnswer::Purged`.
    Purge {
        /// Its name.
        name: &'a KeyName,
    },
    /// Random bytes. Answered by `KeyAnswer::Random`.
    Random {
        /// How many (1–128).
        count: u32,
    },
    /// Bring a soft-deleted key back. Answered by `KeyAnswer::Key`.
    Recover {
        /// Its name.
        name: &'a KeyName,
    },
    /// Give an exportable key to an attested target. Answered by `KeyAnswer::Released`.
    Release {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
        /// To whom and how.
        request: &'a ReleaseRequest,
    },
    /// Put a backed-up key back. Answered by `KeyAnswer::Key`.
    Restore {
        /// What the backup was answered with.
        blob: &'a [u8],
    },
    /// Unwrap under the versions that wrapped, wrap under the newest; nothing unwrapped leaves.
    /// Answered by `KeyAnswer::Rewrapped`.
    Rewrap {
        /// Its name.
        name: &'a KeyName,
        /// How the data keys are wrapped, before and after.
        algorithm: EncryptionAlgorithm,
        /// The wrapped data keys.
        items: &'a [RewrapItem],
    },
    /// Make a new version like the newest. Answered by `KeyAnswer::Key`.
    Rotate {
        /// Its name.
        name: &'a KeyName,
    },
    /// Give a key a rotation policy. Answered by `KeyAnswer::RotationPolicy`.
    SetRotationPolicy {
        /// Its name.
        name: &'a KeyName,
        /// The policy.
        policy: &'a RotationPolicy,
    },
    /// Sign. Answered by `KeyAnswer::Signed`.
    Sign {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
        /// How to sign.
        algorithm: SignatureAlgorithm,
        /// The digest; with HMAC, the message.
        digest: &'a [u8],
    },
    /// Unwrap a data key. Answered by `KeyAnswer::Unwrapped`.
    Unwrap {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
        /// How it was wrapped.
        algorithm: EncryptionAlgorithm,
        /// The wrapped bytes.
        wrapped: &'a [u8],
    },
    /// Change attributes, permitted operations or tags. Answered by `KeyAnswer::Key`.
    Update {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
        /// What shall change.
        change: &'a AttributeChange,
    },
    /// Check a signature. Answered by `KeyAnswer::Verified`.
    Verify {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
        /// How it was signed.
        algorithm: SignatureAlgorithm,
        /// The digest; with HMAC, the message.
        digest: &'a [u8],
        /// The signature.
        signature: &'a [u8],
    },
    /// Wrap a data key. Answered by `KeyAnswer::Wrapped`.
    Wrap {
        /// Its name.
        name: &'a KeyName,
        /// The version.
        version: Option<&'a KeyVersion>,
        /// How to wrap it.
        algorithm: EncryptionAlgorithm,
        /// The data key.
        plain: &'a SecretBytes,
    },
}

impl KeyOperation<'_> {
    /// The permission that it needs; a rewrap needs that to wrap, too.
    pub fn permission(&self) -> KeyPermission {
        match self {
            Self::Backup { .. } => KeyPermission::Backup,
            Self::Create { .. } | Self::CreateIfAbsent { .. } => KeyPermission::Create,
            Self::Decrypt { .. } => KeyPermission::Decrypt,
            Self::Delete { .. } => KeyPermission::Delete,
            Self::Encrypt { .. } => KeyPermission::Encrypt,
            // A key vault gives random bytes to whoever may read a key; a managed HSM asks for more.
            Self::Get { .. } | Self::GetDeleted { .. } | Self::Random { .. } => KeyPermission::Get,
            Self::GetRotationPolicy { .. } => KeyPermission::GetRotationPolicy,
            Self::Import { .. } => KeyPermission::Import,
            Self::List { .. } | Self::ListDeleted { .. } | Self::ListVersions { .. } => {
                KeyPermission::List
            }
            Self::Purge { .. } => KeyPermission::Purge,
            Self::Recover { .. } => KeyPermission::Recover,
            Self::Release { .. } => KeyPermission::Release,
            Self::Restore { .. } => KeyPermission::Restore,
            Self::Rotate { .. } => KeyPermission::Rotate,
            Self::SetRotationPolicy { .. } => KeyPermission::SetRotationPolicy,
            Self::Sign { .. } => KeyPermission::Sign,
            Self::Unwrap { .. } | Self::Rewrap { .. } => KeyPermission::UnwrapKey,
            Self::Update { .. } => KeyPermission::Update,
            Self::Verify { .. } => KeyPermission::Verify,
            Self::Wrap { .. } => KeyPermission::WrapKey,
        }
    }

    /// Whether what hangs on the key will not open afterwards: it is disabled or deleted.
    pub fn takes_out_of_use(&self) -> bool {
        match self {
            Self::Delete { .. } => true,
            Self::Update { change, .. } => {
                change.enabled == Some(false) || matches!(change.floor, Change::Set(_))
            }
            _ => false,
        }
    }

    /// The data action of a managed HSM that it needs.
    pub(crate) fn hsm_data_action(&self) -> &'static str {
        match self {
            Self::GetDeleted { .. } | Self::ListDeleted { .. } => {
                "Microsoft.KeyVault/managedHsm/keys/deletedKeys/read/action"
            }
            Self::Random { .. } => "Microsoft.KeyVault/managedHsm/rng/action",
            other => other.permission().hsm_data_action(),
        }
    }

    /// Its name in the log (`operationName`).
    pub(crate) fn audit_name(&self) -> &'static str {
        match self {
            Self::Backup { .. } => "KeyBackup",
            Self::Create { .. } => "KeyCreate",
            Self::CreateIfAbsent { .. } => "KeyCreateIfNotExist",
            Self::Decrypt { .. } => "KeyDecrypt",
            Self::Delete { .. } => "KeyDelete",
            Self::Encrypt { .. } => "KeyEncrypt",
            Self::Get { .. } => "KeyGet",
            Self::GetDeleted { .. } => "KeyGetDeleted",
            Self::GetRotationPolicy { .. } => "KeyRotationPolicyGet",
            Self::Import { .. } => "KeyImport",
            Self::List { .. } => "KeyList",
            Self::ListDeleted { .. } => "KeyListDeleted",
            Self::ListVersions { .. } => "KeyListVersions",
            Self::Purge { .. } => "KeyPurge",
            Self::Random { .. } => "RandomBytesGet",
            Self::Recover { .. } => "KeyRecover",
            Self::Release { .. } => "KeyRelease",
            Self::Restore { .. } => "KeyRestore",
            Self::Rewrap { .. } => "KeyRewrap",
            Self::Rotate { .. } => "KeyRotate",
            Self::SetRotationPolicy { .. } => "KeyRotationPolicySet",
            Self::Sign { .. } => "KeySign",
            Self::Unwrap { .. } => "KeyUnwrap",
            Self::Update { .. } => "KeyUpdate",
            Self::Verify { .. } => "KeyVerify",
            Self::Wrap { .. } => "KeyWrap",
        }
    }

    /// Its path in the data plane, below the key vault's host.
    pub(crate) fn path(&self) -> String {
        let key = self.key().map(|(name, version)| {
            let version = version.map(|version| format!("/{version}")).unwrap_or_default();
            format!("/{name}{version}")
        });
        let key = key.unwrap_or_default();
        let verb = match self {
            Self::Backup { .. } => "/backup",
            Self::Create { .. } | Self::CreateIfAbsent { .. } => "/create",
            Self::Decrypt { .. } => "/decrypt",
            Self::Encrypt { .. } => "/encrypt",
            Self::GetDeleted { .. } | Self::Purge { .. } | Self::ListDeleted { .. } => {
                return format!("/deletedkeys{key}");
            }
            Self::Delete { .. }
            | Self::Get { .. }
            | Self::Import { .. }
            | Self::List { .. }
            | Self::Update { .. } => "",
            Self::GetRotationPolicy { .. } | Self::SetRotationPolicy { .. } => "/rotationpolicy",
            Self::ListVersions { .. } => "/versions",
            Self::Random { .. } => return "/rng".to_owned(),
            Self::Recover { .. } => return format!("/deletedkeys{key}/recover"),
            Self::Release { .. } => "/release",
            Self::Restore { .. } => "/restore",
            Self::Rewrap { .. } => "/rewrap",
            Self::Rotate { .. } => "/rotate",
            Self::Sign { .. } => "/sign",
            Self::Unwrap { .. } => "/unwrapkey",
            Self::Verify { .. } => "/verify",
            Self::Wrap { .. } => "/wrapkey",
        };
        format!("/keys{key}{verb}")
    }

    /// The key that it names, and the version if it names one.
    pub(crate) fn key(&self) -> Option<(&KeyName, Option<&KeyVersion>)> {
        match self {
            Self::List { .. }
            | Self::ListDeleted { .. }
            | Self::Random { .. }
            | Self::Restore { .. } => None,
            Self::Backup { name }
            | Self::Create { name, .. }
            | Self::CreateIfAbsent { name, .. }
            | Self::Delete { name }
            | Self::GetDeleted { name }
            | Self::GetRotationPolicy { name }
            | Self::Import { name, .. }
            | Self::ListVersions { name, .. }
            | Self::Purge { name }
            | Self::Recover { name }
            | Self::Rewrap { name, .. }
            | Self::Rotate { name }
            | Self::SetRotationPolicy { name, .. } => Some((name, None)),
            Self::Decrypt { name, version, .. }
            | Self::Encrypt { name, version, .. }
            | Self::Get { name, version }
            | Self::Release { name, version, .. }
            | Self::Sign { name, version, .. }
            | Self::Unwrap { name, version, .. }
            | Self::Update { name, version, .. }
            | Self::Verify { name, version, .. }
            | Self::Wrap { name, version, .. } => Some((name, *version)),
        }
    }

    /// The name of its algorithm, if it has one.
    pub(crate) fn algorithm(&self) -> Option<&'static str> {
        match self {
            Self::Decrypt { algorithm, .. }
            | Self::Encrypt { algorithm, .. }
            | Self::Rewrap { algorithm, .. }
            | Self::Unwrap { algorithm, .. }
            | Self::Wrap { algorithm, .. } => Some(algorithm.as_str()),
            Self::Sign { algorithm, .. } | Self::Verify { algorithm, .. } => {
                Some(algorithm.as_str())
            }
            _ => None,
        }
    }

    /// How it encrypts or decrypts, and what use of the key that is.
    pub(crate) fn encryption(&self) -> Option<(EncryptionAlgorithm, KeyUse)> {
        match self {
            Self::Decrypt { algorithm, .. } => Some((*algorithm, KeyUse::Decrypt)),
            Self::Encrypt { algorithm, .. } => Some((*algorithm, KeyUse::Encrypt)),
            Self::Rewrap { algorithm, .. } | Self::Unwrap { algorithm, .. } => {
                Some((*algorithm, KeyUse::UnwrapKey))
            }
            Self::Wrap { algorithm, .. } => Some((*algorithm, KeyUse::WrapKey)),
            _ => None,
        }
    }
}
