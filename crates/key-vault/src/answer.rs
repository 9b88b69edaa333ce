//! What the key vault answers.

use custody_envelope::SecretBytes;
use custody_names::{KeyUri, KeyVersionUri};

use crate::crypto::Sealed;
use crate::key::{DeletedKey, DeletedKeyItem, Key, KeyItem};
use crate::kit_notes::KitNote;
use crate::rewrap::Rewrapped;
use crate::rotation_policy::RotationPolicy;

/// What a request is answered with. It has no `Debug`, since it may hold a data key.
pub enum KeyAnswer {
    /// A sealed copy of a key.
    Backup(Vec<u8>),
    /// What was decrypted.
    Decrypted {
        /// The version that decrypted it.
        key: KeyVersionUri,
        /// The plaintext.
        plain: SecretBytes,
    },
    /// A soft-deleted key.
    DeletedKey(DeletedKey),
    /// Soft-deleted keys.
    DeletedKeys {
        /// Those of this page.
        keys: Vec<DeletedKeyItem>,
        /// Where the next page begins, if there is one.
        next: Option<String>,
    },
    /// What was encrypted.
    Encrypted {
        /// The version that encrypted it.
        key: KeyVersionUri,
        /// The ciphertext and what goes with it.
        sealed: Sealed,
    },
    /// A key version.
    Key(Key),
    /// Keys, by their newest versions.
    Keys {
        /// Those of this page.
        keys: Vec<KeyItem>,
        /// Where the next page begins, if there is one.
        next: Option<String>,
    },
    /// The key is erased.
    Purged {
        /// The recovery kits that still open it: nothing here can reach those.
        kits: Vec<KitNote>,
    },
    /// Random bytes.
    Random(SecretBytes),
    /// A key on its way to its target.
    Released {
        /// The version.
        key: KeyVersionUri,
        /// A signed token with the key in it, wrapped for the target.
        token: String,
    },
    /// Data keys that are wrapped by the newest version now.
    Rewrapped {
        /// That version.
        key: KeyVersionUri,
        /// What became of each, in the order of the request.
        items: Vec<Rewrapped>,
    },
    /// A rotation policy.
    RotationPolicy {
        /// The key.
        key: KeyUri,
        /// Its policy, or what counts without one.
        policy: RotationPolicy,
    },
    /// A signature.
    Signed {
        /// The version that signed.
        key: KeyVersionUri,
        /// The signature.
        signature: Vec<u8>,
    },
    /// An unwrapped data key.
    Unwrapped {
        /// The version that unwrapped it.
        key: KeyVersionUri,
        /// The data key.
        plain: SecretBytes,
    },
    /// Versions of a key.
    Versions {
        /// Those of this page, newest first.
        keys: Vec<KeyItem>,
        /// Where the next page begins, if there is one.
        next: Option<String>,
    },
    /// Whether a signature is good.
    Verified {
        /// The version that it was checked with.
        key: KeyVersionUri,
        /// Whether it is.
        valid: bool,
    },
    /// A wrapped data key.
    Wrapped {
        /// The version that wrapped it.
        key: KeyVersionUri,
        /// The wrapped bytes.
        wrapped: Vec<u8>,
    },
}

impl KeyAnswer {
    /// The version that the answer is about, if it is about one.
    pub(crate) fn version(&self) -> Option<&KeyVersionUri> {
        match self {
            Self::Key(key) => Some(&key.id),
            Self::Decrypted { key, .. }
            | Self::Encrypted { key, .. }
            | Self::Released { key, .. }
            | Self::Rewrapped { key, .. }
            | Self::Signed { key, .. }
            | Self::Unwrapped { key, .. }
            | Self::Verified { key, .. }
            | Self::Wrapped { key, .. } => Some(key),
            Self::Backup(_)
            | Self::DeletedKey(_)
            | Self::DeletedKeys { .. }
            | Self::Keys { .. }
            | Self::Purged { .. }
            | Self::Random(_)
            | Self::RotationPolicy { .. }
            | Self::Versions { .. } => None,
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        if matches!(self, Self::Purged { .. }) { 204 } else { 200 }
    }
}
