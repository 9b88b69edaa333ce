//! What access policies grant on keys, and the data action that means the same under roles.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use custody_names::{PrincipalId, TenantId};
use serde::{Deserialize, Serialize};

macro_rules! key_permissions {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $data_action:literal, $hsm:literal;)*) => {
        /// A permission on keys as access policies name it (`KeyPermissions` of the API).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum KeyPermission {
            $($(#[$doc])* $variant,)*
        }

        impl KeyPermission {
            /// Every permission, `all` included.
            pub const EACH: &[Self] = &[$(Self::$variant),*];

            /// The word of the API, `wrapKey` for example.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The data action that a role must grant for the same use.
            pub fn data_action(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("Microsoft.KeyVault/vaults/", $data_action),)*
                }
            }

            /// The data action that a local role of a managed HSM must grant for the same use.
            pub fn hsm_data_action(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("Microsoft.KeyVault/managedHsm/", $hsm),)*
                }
            }
        }

        impl FromStr for KeyPermission {
            type Err = UnknownKeyPermission;

            /// Case does not distinguish.
            fn from_str(text: &str) -> Result<Self, UnknownKeyPermission> {
                $(if text.eq_ignore_ascii_case($word) {
                    return Ok(Self::$variant);
                })*
                Err(UnknownKeyPermission(text.chars().take(64).collect()))
            }
        }
    };
}

key_permissions! {
    /// Everything, purge included.
    All = "all", "keys/*", "keys/*";
    /// Take a sealed copy of all versions.
    Backup = "backup", "keys/backup/action", "keys/backup/action";
    /// Make a key or a new version of it.
    Create = "create", "keys/create/action", "keys/create";
    /// Decrypt with the private key.
    Decrypt = "decrypt", "keys/decrypt/action", "keys/decrypt/action";
    /// Soft-delete a key.
    Delete = "delete", "keys/delete", "keys/delete";
    /// Encrypt with the public key.
    Encrypt = "encrypt", "keys/encrypt/action", "keys/encrypt/action";
    /// Read a key's public part and attributes.
    Get = "get", "keys/read", "keys/read/action";
    /// Read the rotation policy.
    GetRotationPolicy = "getrotationpolicy", "keyrotationpolicies/read", "keys/read/action";
    /// Bring a key from outside.
    Import = "import", "keys/import/action", "keys/import/action";
    /// List keys, versions and deleted keys.
    List = "list", "keys/read", "keys/read/action";
    /// Erase a soft-deleted key.
    Purge = "purge", "keys/purge/action", "keys/deletedKeys/delete";
    /// Bring a soft-deleted key back.
    Recover = "recover", "keys/recover/action", "keys/deletedKeys/recover/action";
    /// Release an exportable key to an attested environment.
    Release = "release", "keys/release/action", "keys/release/action";
    /// Restore a backed-up key.
    Restore = "restore", "keys/restore/action", "keys/restore/action";
    /// Make a new version.
    Rotate = "rotate", "keys/rotate/action", "keys/rotate/action";
    /// Change the rotation policy.
    SetRotationPolicy = "setrotationpolicy", "keyrotationpolicies/write", "keys/write/action";
    /// Sign a digest.
    Sign = "sign", "keys/sign/action", "keys/sign/action";
    /// Unwrap a data key.
    UnwrapKey = "unwrapKey", "keys/unwrap/action", "keys/unwrap/action";
    /// Change attributes, tags and permitted operations.
    Update = "update", "keys/update/action", "keys/write/action";
    /// Verify a signature.
    Verify = "verify", "keys/verify/action", "keys/verify/action";
    /// Wrap a data key.
    WrapKey = "wrapKey", "keys/wrap/action", "keys/wrap/action";
}

impl fmt::Display for KeyPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<KeyPermission> for &'static str {
    fn from(permission: KeyPermission) -> Self {
        permission.as_str()
    }
}

impl TryFrom<String> for KeyPermission {
    type Error = UnknownKeyPermission;

    fn try_from(text: String) -> Result<Self, UnknownKeyPermission> {
        text.parse()
    }
}

/// A word that is no permission on keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKeyPermission(String);

impl fmt::Display for UnknownKeyPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no permission on keys; known are:", self.0)?;
        KeyPermission::EACH.iter().try_for_each(|known| write!(f, " {known}"))
    }
}

impl std::error::Error for UnknownKeyPermission {}

/// One principal's permissions in a key vault that works with access policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicy {
    /// The tenant whose principal this is; a principal of another tenant is not meant.
    pub tenant: TenantId,
    /// The object id of the principal.
    pub principal: PrincipalId,
    /// What it may do with keys.
    pub keys: BTreeSet<KeyPermission>,
}

impl AccessPolicy {
    /// Whether the policy grants `wanted`, by name or by `all`.
    pub fn grants(&self, wanted: KeyPermission) -> bool {
        self.keys.contains(&wanted) || self.keys.contains(&KeyPermission::All)
    }
}
