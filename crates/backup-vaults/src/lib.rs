//! Recovery Services vaults, Backup vaults and their encryption rules.
//!
//! A vault is one repository, one keyring and one domain of deduplication. What a client may
//! write of it is its kind's spec; which key protects it now is in [`VaultStatus`], and only the
//! worker that proved the key writes that (DESIGN §4, §5). Who works on keys and data knows a
//! [`Vault`], whichever of the two kinds it is.

mod backup_policy;
mod backup_vault;
mod change;
mod encryption;
mod key_alert;
mod recovery_services_vault;
pub mod rules;
mod status;
mod vault;

pub use backup_vault::{BackupVault, BackupVaultSpec, SecuritySettings};
pub use encryption::{
    ApplyEncryption, EncryptionSettings, EncryptionState, IdentityType, InfrastructureEncryption,
    KekIdentity, KeyVaultProperties,
};
pub use key_alert::KeyAlert;
pub use recovery_services_vault::{
    CmkKekIdentity, ENCRYPTION_CONFIG, RecoveryServicesSpec, RecoveryServicesVault,
    VaultEncryption, encryption_config,
};
pub use status::{GenerationSummary, KeyringSummary, VaultStatus};
pub use vault::{Store, VAULT_TYPES, Vault, items_of};

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
