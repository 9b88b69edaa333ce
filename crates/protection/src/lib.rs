//! Backup instances (items), recovery points and jobs.

mod actions;
mod attempt;
mod azure_restore;
mod data_protection_policy;
mod folder;
mod instance;
mod item;
mod job;
mod point;
mod protected_item;
mod protection_container;
mod tasks;
mod workload_point;

pub use data_protection_policy::DataProtectionPolicy;
pub use folder::{FolderSource, SourcePath};
pub use instance::{BackupInstance, InstanceSpec, InstanceStatus, PolicyInfo};
pub use item::{Item, Point, points_of};
pub use job::render_job;
pub use point::{PointStatus, RecoveryPoint};
pub use protected_item::{ProtectedItem, ProtectedItemSpec, ProtectedItemStatus};
pub use protection_container::{ContainerSpec, ProtectionContainer};
pub use tasks::{
    ForgetRequest, OverwritePolicy, OwnerPolicy, RestoreRequest, TASK_BACKUP, TASK_CONFIGURE,
    TASK_FORGET, TASK_RESTORE,
};
pub use workload_point::WorkloadPoint;
