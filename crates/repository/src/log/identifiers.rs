//! What entries name: objects, sessions, items and other entries.

use std::fmt;

use custody_ambient::{Entropy, EntropyUnavailable, random_array};
use minicbor::{Decode, Encode};

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] #[cbor(with = "minicbor::bytes")] [u8; $length]);

        impl $name {
            /// The identifier made of these bytes.
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }
    };
}

identifier!(
    /// The SHA-256 of a whole entry, as its successor and pins carry it.
    EntryHash, 32);
identifier!(
    /// An item as the log knows it. It says nothing about what the item is.
    ItemGuid, 16);
identifier!(
    /// The SHA-256 of an object's bytes, by which packs, indexes and points are named.
    ObjectId, 32);
identifier!(
    /// One run of a writer.
    SessionId, 16);

impl SessionId {
    /// A new random session.
    pub fn mint(entropy: &dyn Entropy) -> Result<Self, EntropyUnavailable> {
        random_array(entropy).map(Self)
    }
}
