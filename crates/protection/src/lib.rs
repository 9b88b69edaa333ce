//! Items under protection, their policies, recovery points and jobs.

mod actions;
mod attempt;
mod azure_restore;
mod data_protection_policy;
mod deleted_instance;
mod folder;
mod instance;
mod item;
mod item_status;
mod job;
mod point;
mod policy;
mod protected_item;
mod protection_container;
mod retention;
mod schedule;
mod soft_delete;
mod tasks;
mod tiering;
mod workload_point;
mod workload_policy;

pub use data_protection_policy::DataProtectionPolicy;
pub use deleted_instance::{DeletedBackupInstance, DeletedPoint};
pub use folder::{Compression, FolderSource, SourcePath};
pub use instance::{BackupInstance, InstanceSpec, PolicyInfo};
pub use item::{Item, Point, points_of};
pub use item_status::{ItemStatus, Protection, SoftDeletion};
pub use job::render_job;
pub use point::{PointStatus, RecoveryPoint};
pub use policy::Policy;
pub use protected_item::{ProtectedItem, ProtectedItemSpec};
pub use protection_container::{ContainerSpec, ProtectionContainer};
pub use retention::{Aging, Retention};
pub use schedule::Schedule;
pub use tasks::{
    BackupInput, ChosenPoints, ForgetRequest, OverwritePolicy, OwnerPolicy, RestoreRequest,
    TASK_BACKUP, TASK_CONFIGURE, TASK_EXPIRE, TASK_FORGET, TASK_RESTORE, TASK_SOFT_DELETE,
    TASK_STOP, TASK_TIER, TASK_UNDELETE,
};
pub use tiering::Tiering;
pub use workload_point::WorkloadPoint;
pub use workload_policy::{BackupPolicy, BackupPolicySpec};
