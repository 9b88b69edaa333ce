//! What a server says of itself: `GET /custody/installation`.

use std::path::PathBuf;

use custody_names::{Location, ResourceGroupName, SubscriptionId, TenantId};
use serde::Deserialize;

/// One installation, as far as a client needs to know it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Installation {
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its subscription.
    pub subscription_id: SubscriptionId,
    /// Who calls from the same process.
    pub administrator: Administrator,
    /// The region that its resources are in unless another is named.
    pub location: Location,
    /// The names that first use gives to what is missing.
    pub defaults: Defaults,
    /// Where everything that it keeps lies.
    pub data_folder: PathBuf,
    /// What opens the embedded key vault.
    pub seal: Seal,
}

/// The seal of the embedded key vault.
#[derive(Clone, Debug, Deserialize)]
pub struct Seal {
    /// `file` or `passphrase`.
    pub kind: String,
    /// What it protects against and what not, in a sentence.
    #[serde(default)]
    pub protects: String,
    /// The file, for a seal that is one.
    #[serde(default)]
    pub place: Option<String>,
}

/// The bootstrap administrator.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Administrator {
    /// Its object id.
    pub principal_id: String,
    /// Its name.
    pub name: String,
}

/// Names for what first use makes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Defaults {
    /// Of the resource group.
    pub resource_group: ResourceGroupName,
    /// Of the key vault.
    pub key_vault: String,
    /// Of the key in it.
    pub key: String,
    /// Of the Backup vault.
    pub backup_vault: String,
    /// Of the vault's identity.
    pub identity: String,
}
