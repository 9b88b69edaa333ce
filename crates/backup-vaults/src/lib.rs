//! Backup vaults and their encryption rules.
//!
//! A vault is one repository, one keyring and one domain of deduplication. What a client may
//! write of it is [`VaultSpec`]; which key protects it now is in [`VaultStatus`], and only the
//! worker that proved the key writes that (DESIGN §4, §5).

mod encryption;
pub mod rules;
mod vault;

pub use encryption::{
    ApplyEncryption, EncryptionSettings, EncryptionState, IdentityType, InfrastructureEncryption,
    KekIdentity, KeyVaultProperties,
};
pub use vault::{
    BackupVault, GenerationSummary, KeyringSummary, SecuritySettings, Store, VaultSpec, VaultStatus,
};

/// The task that makes a vault's keyring what its settings ask for.
pub const TASK_APPLY_ENCRYPTION: &str = "apply-encryption";
/// The task that deletes a vault's repository and then its record.
pub const TASK_DELETE_VAULT: &str = "delete-vault";
/// The task that proves every object of a vault's repository.
pub const TASK_VERIFY: &str = "verify";
/// The task that frees what no recovery point needs.
pub const TASK_PRUNE: &str = "prune";
/// The task that rebuilds indexes, ring copies and the record store's view from the repository.
pub const TASK_REPAIR: &str = "repair";
