//! What a key may be used for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a key can be used for (`key_ops`), in the order in which Key Vault lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyUse {
    /// Encrypt.
    Encrypt,
    /// Decrypt.
    Decrypt,
    /// Sign.
    Sign,
    /// Verify a signature.
    Verify,
    /// Wrap a data key.
    WrapKey,
    /// Unwrap a data key.
    UnwrapKey,
    /// Bring other keys in, wrapped under this one.
    Import,
    /// Leave the key vault, to where its release policy allows.
    Export,
}

impl KeyUse {
    /// The cryptographic uses: what an RSA key is made for unless its maker says less.
    pub const EACH: [Self; 6] =
        [Self::Encrypt, Self::Decrypt, Self::Sign, Self::Verify, Self::WrapKey, Self::UnwrapKey];

    /// Whether it protects something new or lets the key out, as against opening or checking what
    /// was protected before: that needs a key within its dates.
    pub(crate) fn needs_active(self) -> bool {
        !matches!(self, Self::Decrypt | Self::Verify | Self::UnwrapKey)
    }

    /// Whether the public half of a key pair suffices for it.
    pub(crate) fn needs_public_half_only(self) -> bool {
        matches!(self, Self::Encrypt | Self::WrapKey | Self::Verify)
    }
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::WrapKey => "wrapKey",
            Self::UnwrapKey => "unwrapKey",
            Self::Import => "import",
            Self::Export => "export",
        })
    }
}
