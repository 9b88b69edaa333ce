//! `…/backupInstances/recoveryPoints`: what can be restored. The truth is the repository's log;
//! these records are its view, and `repair` rebuilds them from it.

use custody_ambient::Timestamp;
use custody_resources::{Change, Kind, Place, Plan, Refusal, Stop, World};
use serde::{Deserialize, Serialize};

/// The kind of recovery points; only the server writes them.
pub struct RecoveryPoint;

/// One recovery point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PointStatus {
    /// When it was committed, by the server's clock: retention goes by this.
    pub recovery_point_time: Timestamp,
    /// Bytes of all files.
    pub size: u64,
    /// Regular files.
    pub files: u64,
    /// Bytes newly stored for it.
    pub new_bytes: u64,
    /// What was left out or is doubtful.
    pub warnings: u64,
    /// Until when whoever asked for it wanted it kept; then no policy is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<Timestamp>,
    /// Whether its object could not be read when it was last looked at.
    #[serde(default)]
    pub damaged: bool,
}

impl Kind for RecoveryPoint {
    const TYPE: &'static str =
        "Microsoft.DataProtection/backupVaults/backupInstances/recoveryPoints";
    const PLACE: Place = Place::Below("Microsoft.DataProtection/backupVaults/backupInstances");
    const WRITABLE: bool = false;

    type Spec = serde_json::Value;
    type Status = PointStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("recovery points are written by the worker").into())
    }
}
