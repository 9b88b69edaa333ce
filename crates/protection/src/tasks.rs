//! What the tasks on an item take as input.

use custody_ambient::Timestamp;
use serde::{Deserialize, Serialize};

use crate::SourcePath;

/// Takes a recovery point.
pub const TASK_BACKUP: &str = "backup";
/// Looks at what a new or changed item names before it counts as protected.
pub const TASK_CONFIGURE: &str = "configure-protection";
/// Ends an item's protection and keeps its recovery points.
pub const TASK_STOP: &str = "stop-protection";
/// Marks an item as deleted and keeps it for a time.
pub const TASK_SOFT_DELETE: &str = "soft-delete";
/// Takes a soft-deleted item back.
pub const TASK_UNDELETE: &str = "undelete";
/// Gives up recovery points that nothing keeps any more, as a job that needs the vault's key.
pub const TASK_EXPIRE: &str = "expire";
/// Moves recovery points to the archive tier, as a job that needs the vault's key.
pub const TASK_TIER: &str = "tier";
/// Gives a recovery point back into a folder.
pub const TASK_RESTORE: &str = "restore";
/// Gives up recovery points by a retention rule or by name.
pub const TASK_FORGET: &str = "forget";

/// What a backup is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupInput {
    /// Until when its point is kept; none leaves that to the item's policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<Timestamp>,
    /// The stream that is to be read, for an item that is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// A list of what has changed of the item's one image, on this machine
    /// (docs/formats/changed-blocks.md).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_blocks: Option<SourcePath>,
}

/// What an expiry or a tiering is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenPoints {
    /// The points, by their ids.
    pub points: Vec<String>,
}

/// What to do with a file that stands at the target, unless it is the one restored (by size, time and
/// permissions): that one stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverwritePolicy {
    /// Keep it and say so.
    #[default]
    Never,
    /// Replace it if it is older than the entry restored.
    Older,
    /// Replace it.
    Always,
}

/// How owners are given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerPolicy {
    /// By number.
    #[default]
    Numeric,
    /// By name where this machine knows it, else by number.
    Name,
    /// Not at all.
    None,
}

/// Body of `POST …/restore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreRequest {
    /// `latest`, a point's id or a time: the newest point at or before it.
    #[serde(default = "latest")]
    pub point: String,
    /// An absolute folder on this machine.
    pub target: SourcePath,
    /// What to restore, relative to the point's root; absent, all of it.
    #[serde(default)]
    pub path: Option<SourcePath>,
    /// What to do with what stands there.
    #[serde(default)]
    pub overwrite: OverwritePolicy,
    /// How owners are given back.
    #[serde(default)]
    pub owner: OwnerPolicy,
    /// Whether the content of files that stand there already, and look right, is compared.
    #[serde(default)]
    pub verify_existing: bool,
    /// Whether the target is a block device, onto which the one file is written.
    #[serde(default)]
    pub device: bool,
    /// Whether the job ends only when everything is on the disk, so that it outlives a power cut.
    #[serde(default)]
    pub sync: bool,
}

/// Body of `POST …/forget`: points by id, or how many of which age to keep. At least one field
/// must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ForgetRequest {
    /// Exactly these points.
    pub points: Vec<String>,
    /// Keep the newest so many.
    pub keep_last: Option<u32>,
    /// Keep the newest of so many hours that have one.
    pub keep_hourly: Option<u32>,
    /// The same by days.
    pub keep_daily: Option<u32>,
    /// The same by weeks (ISO 8601).
    pub keep_weekly: Option<u32>,
    /// The same by months.
    pub keep_monthly: Option<u32>,
    /// The same by years.
    pub keep_yearly: Option<u32>,
    /// Keep all that are at most so many days older than the newest.
    pub keep_within_days: Option<u32>,
    /// Only say what would be kept and forgotten.
    pub dry_run: bool,
}

fn latest() -> String {
    "latest".to_owned()
}
