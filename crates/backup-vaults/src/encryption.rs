//! Encryption settings as clients write them (`properties.securitySettings.encryptionSettings`).

use std::fmt;

use custody_names::{InvalidName, KeyUri, ResourceId};
use serde::{Deserialize, Serialize};

/// Whether a customer key protects the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EncryptionState {
    /// It does. Clients that send back what they read say so too while the last change of the
    /// settings is unfinished (rule 70).
    #[serde(alias = "Inconsistent")]
    Enabled,
    /// It does not; once enabled, asking for this is refused (rule 51).
    Disabled,
}

/// Which identity speaks to the key vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentityType {
    /// The vault's own.
    SystemAssigned,
    /// An attached one.
    UserAssigned,
}

/// The identity that speaks to the key vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KekIdentity {
    /// Which sort.
    pub identity_type: IdentityType,
    /// The attached identity, if it is user-assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_id: Option<ResourceId>,
}

/// The key: one that lives in a key vault (rule 4) or, for a Backup vault, in a managed HSM
/// (rule 44).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenKey", into = "WrittenKey")]
pub struct KeyVaultProperties {
    /// With a version it is pinned to that, without one it follows the newest (rules 85, 86).
    pub key_uri: KeyUri,
    /// Whether the key was addressed as one of a managed HSM.
    pub in_managed_hsm: bool,
}

/// The key as it is written and stored: by an address that says what holds it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenKey {
    key_uri: String,
}

impl TryFrom<WrittenKey> for KeyVaultProperties {
    type Error = InvalidName;

    fn try_from(WrittenKey { key_uri }: WrittenKey) -> Result<Self, InvalidName> {
        let in_managed_hsm = KeyUri::names_managed_hsm(&key_uri);
        Ok(Self { key_uri: key_uri.parse()?, in_managed_hsm })
    }
}

impl From<KeyVaultProperties> for WrittenKey {
    fn from(key: KeyVaultProperties) -> Self {
        Self { key_uri: key.to_string() }
    }
}

impl fmt::Display for KeyVaultProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.in_managed_hsm {
            f.write_str(&self.key_uri.in_managed_hsm())
        } else {
            self.key_uri.fmt(f)
        }
    }
}

/// The optional second layer beneath the customer key (rule 11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InfrastructureEncryption {
    /// One layer.
    #[default]
    Disabled,
    /// A second layer under a key of the platform's.
    Enabled,
}

/// What a definite refusal of one of two keys means (DESIGN §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failover {
    /// It stops the vault, whatever the other key says: each owner can revoke alone.
    #[default]
    Stop,
    /// Either key is enough: disabling one alone does not revoke.
    Any,
}

impl Failover {
    /// Whether it is the rule that holds unless another is asked for.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What protects a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionSettings {
    /// Whether a customer key is meant.
    pub state: EncryptionState,
    /// The key; needed when enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_vault_properties: Option<KeyVaultProperties>,
    /// Who speaks to the key vault; needed when enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kek_identity: Option<KekIdentity>,
    /// The second layer.
    #[serde(default)]
    pub infrastructure_encryption: InfrastructureEncryption,
    /// A second key, of another key vault, that wraps the same data keys. custody's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby_key_properties: Option<KeyVaultProperties>,
    /// What a refusal of one of the two means. custody's own.
    #[serde(default, skip_serializing_if = "Failover::is_usual")]
    pub failover: Failover,
}

impl EncryptionSettings {
    /// The customer's key, if one protects the vault.
    pub fn key(&self) -> Option<&KeyUri> {
        self.addressed_key().map(|key| &key.key_uri)
    }

    /// The standby, if there is one.
    pub fn standby(&self) -> Option<&KeyVaultProperties> {
        self.addressed_key().and(self.standby_key_properties.as_ref())
    }

    /// Every key that protects the vault, the first one first, with what holds it.
    pub fn addressed_keys(&self) -> impl Iterator<Item = &KeyVaultProperties> {
        self.addressed_key().into_iter().chain(self.standby())
    }

    /// The same with what holds it.
    pub fn addressed_key(&self) -> Option<&KeyVaultProperties> {
        match self.state {
            EncryptionState::Disabled => None,
            EncryptionState::Enabled => self.key_vault_properties.as_ref(),
        }
    }
}

/// Input of [`crate::TASK_APPLY_ENCRYPTION`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplyEncryption {
    /// What is wanted; `None` is the platform-managed key (rule 1).
    pub wanted: Option<EncryptionSettings>,
    /// Whether the vault's repository is to be made first.
    pub create: bool,
}
