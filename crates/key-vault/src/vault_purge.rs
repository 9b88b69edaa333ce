//! The task that ends a key vault.

use custody_names::{KeyVaultName, TenantId};
use serde::{Deserialize, Serialize};

/// The name of the task: erase every key of the key vault ([`PurgeKeyVault`]), then remove the
/// record that the operation is on.
pub const TASK_PURGE_KEY_VAULT: &str = "purge-key-vault";

/// Which key vault is to be erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurgeKeyVault {
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its name.
    pub key_vault: KeyVaultName,
}
