//! Backup instances (items), recovery points and jobs.

mod azure_restore;
mod data_protection_policy;
mod instance;
mod job;
mod point;
mod tasks;

pub use data_protection_policy::DataProtectionPolicy;
pub use instance::{BackupInstance, FolderSource, InstanceSpec, InstanceStatus, SourcePath};
pub use job::render_job;
pub use point::{PointStatus, RecoveryPoint};
pub use tasks::{
    ForgetRequest, OverwritePolicy, OwnerPolicy, RestoreRequest, TASK_BACKUP, TASK_FORGET,
    TASK_RESTORE,
};
