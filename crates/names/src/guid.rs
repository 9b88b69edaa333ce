//! One type per thing that is numbered by a GUID.

use std::fmt;
use std::str::FromStr;

use custody_ambient::{Entropy, EntropyUnavailable, random_array};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::InvalidName;

macro_rules! guid {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random (version 4) identifier.
            pub fn mint(entropy: &dyn Entropy) -> Result<Self, EntropyUnavailable> {
                let bytes = random_array::<16>(entropy)?;
                Ok(Self(uuid::Builder::from_random_bytes(bytes).into_uuid()))
            }

            /// The identifier made of these 16 bytes (big-endian, RFC 9562).
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes of the identifier (big-endian, RFC 9562).
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidName::new($kind, text, "not a GUID"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    };
}

// Append-only and alphabetical.
guid!(
    /// The application id that an identity or application signs in with (`appid`).
    ClientId, "client id");
guid!(
    /// Ties together everything that one request set off.
    CorrelationId, "correlation id");
guid!(
    /// One installation of custody: a data folder and its seal.
    InstallationId, "installation id");
guid!(
    /// An item under protection, as its repository knows it: random, so that the repository's
    /// log can name it in clear.
    ItemId, "item id");
guid!(
    /// An operation: a plan being carried out. A backup job bears the id of its operation.
    OperationId, "operation id");
guid!(
    /// A recovery point.
    PointId, "recovery point id");
guid!(
    /// The object id of a principal: who roles and access policies are granted to.
    PrincipalId, "principal id");
guid!(
    /// A role definition; built-in ones have Azure's own GUIDs.
    RoleDefinitionId, "role definition id");
guid!(
    /// A subscription.
    SubscriptionId, "subscription id");
guid!(
    /// A tenant.
    TenantId, "tenant id");
guid!(
    /// A vault as its cryptography knows it: random, made with the keyring, never the ARM id
    /// (DESIGN §5).
    VaultGuid, "vault GUID");
