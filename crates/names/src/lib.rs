//! Every identifier of the product as a parsed type.
//!
//! A value of one of these types is valid by construction: the only way to make one is to parse
//! or to mint it. ARM identifiers compare without regard to case and keep the case they were
//! first written in; key URIs are canonical (key vault, key, version), whatever host and port a
//! request came by (DESIGN §8).

mod guid;
mod key_uri;
mod label;
mod resource_id;

pub use guid::{
    ClientId, CorrelationId, InstallationId, ItemId, OperationId, PointId, PrincipalId,
    RoleDefinitionId, SubscriptionId, TenantId, VaultGuid,
};
pub use key_uri::{KeyName, KeyUri, KeyVaultName, KeyVersion, KeyVersionUri};
pub use label::{ItemName, Location, ResourceGroupName, ResourceName};
pub use resource_id::{ResourceId, ResourceType};

/// A text that is no identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind}: {reason}")]
pub struct InvalidName {
    /// What was wanted, for example "key name".
    pub kind: &'static str,
    /// What was given, shortened to 200 characters.
    pub text: String,
    /// Which rule it breaks.
    pub reason: &'static str,
}

impl InvalidName {
    fn new(kind: &'static str, text: &str, reason: &'static str) -> Self {
        Self { kind, text: text.chars().take(200).collect(), reason }
    }
}
