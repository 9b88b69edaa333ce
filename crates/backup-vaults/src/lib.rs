//! Recovery Services vaults, Backup vaults and their encryption rules.
//!
//! A vault is one repository, one keyring and one domain of deduplication. What a client may
//! write of it is its kind's spec; which key protects it now is in [`VaultStatus`], and only the
//! worker that proved the key writes that (DESIGN §4, §5). Who works on keys and data knows a
//! [`Vault`], whichever of the two kinds it is.

mod backup_policy;
mod backup_vault;
mod change;
mod deleted_vault;
mod drill;
mod encryption;
mod guard_proxy;
mod guarding;
mod key_alert;
mod key_health;
mod key_probe;
mod recovery_services_vault;
mod resource_guard;
pub mod rules;
mod soft_delete;
mod status;
mod vault;

pub use backup_vault::{BackupVault, BackupVaultSpec, SecuritySettings};
pub use deleted_vault::{
    DeletableVault, DeletedBackupVault, DeletedRecoveryServicesVault, DeletedVault,
    DeletedVaultStatus, DeletedVaultView, UndeleteVault, softly_deleted, vaults_that_name,
};
pub use drill::{DrillRevoke, is_marked_for_drills, require_marked_for_drills};
pub use encryption::{
    ApplyEncryption, EncryptionSettings, EncryptionState, Failover, IdentityType,
    InfrastructureEncryption, KekIdentity, KeyVaultProperties,
};
pub use guard_proxy::{
    GuardProxy, GuardProxySpec, GuardProxyStatus, GuardedVault, UNLOCKED_MINUTES, Unlocked,
};
pub use guarding::ResourceGuards;
pub use key_alert::{Finding, KeyAlert, STANDBY_NOT_PROVEN};
pub use key_health::{
    Holder, KeyFacts, KeyHealth, KeyRole, KeyVersionFacts, Severity, Warning, key_health,
};
pub use key_probe::{KeyProbe, PROBES_KEPT_MAX, ProbeHistory, ProbeResult, what_stops};
pub use recovery_services_vault::{
    CmkKekIdentity, ENCRYPTION_CONFIG, RecoveryServicesSpec, RecoveryServicesVault,
    VaultEncryption, encryption_config,
};
pub use resource_guard::{NoStatus, ResourceGuard, ResourceGuardSpec, guard_requests};
pub use soft_delete::{SOFT_DELETE_DAYS_MAX, SOFT_DELETE_DAYS_MIN, SoftDelete, SoftDeleteState};
pub use status::{GenerationSummary, KeyringSummary, VaultStatus};
pub use vault::{Store, VAULT_TYPES, Vault, items_of};

/// The task that makes a vault's keyring what its settings ask for.
pub const TASK_APPLY_ENCRYPTION: &str = "apply-encryption";
/// The task that deletes a vault, softly if its settings say so: then nothing of its data is touched.
pub const TASK_DELETE_VAULT: &str = "delete-vault";
/// The task that brings a softly deleted vault back ([`UndeleteVault`]).
pub const TASK_UNDELETE_VAULT: &str = "undelete-vault";
/// The task that removes the repository of a softly deleted vault and then its record.
pub const TASK_PURGE_VAULT: &str = "purge-vault";
/// The task that tries what happens if the vault's key is taken away.
pub const TASK_DRILL_REVOKE: &str = "drill-revoke";
/// The task that proves every object of a vault's repository.
pub const TASK_VERIFY: &str = "verify";
/// The task that frees what no recovery point needs.
pub const TASK_PRUNE: &str = "prune";
/// The task that rebuilds indexes, ring copies and the record store's view from the repository.
pub const TASK_REPAIR: &str = "repair";
