//! `…/protectedItems/recoveryPoints`: what can be restored of an item in a Recovery Services vault.

use custody_names::ResourceId;
use custody_resources::{
    Act, Action, Change, Kind, Place, Plan, Refusal, Request, Stop, Stored, World,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::item::shown_with;
use crate::point::PointStatus;
use crate::{OverwritePolicy, OwnerPolicy, RestoreRequest, SourcePath, actions};

/// The kind of recovery points of protected items; only the server writes them.
pub struct WorkloadPoint;

/// The `properties` of a restore in the shape of workloads. Files go into a folder of this machine.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadRestore {
    target_info: Option<TargetInfo>,
    /// custody's own: what to restore, relative to the point's root.
    path: Option<SourcePath>,
    /// custody's own.
    #[serde(default)]
    owner: OwnerPolicy,
    /// custody's own.
    #[serde(default)]
    sync: bool,
    #[serde(default)]
    verify_existing: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetInfo {
    #[serde(default)]
    overwrite_option: OverwriteOption,
    target_directory_for_file_restore: Option<SourcePath>,
}

#[derive(Default, Deserialize)]
enum OverwriteOption {
    #[default]
    FailOnConflict,
    Overwrite,
}

impl Kind for WorkloadPoint {
    const TYPE: &'static str = "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints";
    const PLACE: Place = Place::Below(
        "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems",
    );
    const WRITABLE: bool = false;
    const ACTIONS: &'static [Action] = &[Action { name: "restore", permission: "restore/action" }];

    type Spec = Value;
    type Status = PointStatus;

    fn plan(_change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        Err(Refusal::bug("recovery points are written by the worker").into())
    }

    fn act(
        _action: &str,
        current: &Stored<Self>,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Act, Stop> {
        let id = &current.record.id;
        let asked = request.body.get("properties").unwrap_or(&Value::Null);
        let asked = WorkloadRestore::deserialize(asked)
            .map_err(|error| Refusal::bad_request(format!("properties: {error}")))?;
        let (target, overwrite) = asked
            .target_info
            .and_then(|info| Some((info.target_directory_for_file_restore?, info.overwrite_option)))
            .ok_or_else(|| {
                let text = "a folder is restored as files into another: \
                            targetInfo.targetDirectoryForFileRestore names it";
                Refusal::new(400, "RestoreTargetNotSupported", text)
                    .with_fix("az backup recoveryconfig show --restore-mode RestoreAsFiles")
            })?;
        let restore = RestoreRequest {
            point: id.name().unwrap_or_default().to_owned(),
            target,
            path: asked.path,
            overwrite: match overwrite {
                OverwriteOption::FailOnConflict => OverwritePolicy::Never,
                OverwriteOption::Overwrite => OverwritePolicy::Always,
            },
            owner: asked.owner,
            device: false,
            verify_existing: asked.verify_existing,
            sync: asked.sync,
        };
        actions::restore(&restore, &id.parent().unwrap_or_else(ResourceId::root), world)
    }

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        let known = json!({
            "objectType": "AzureWorkloadRecoveryPoint",
            "recoveryPointTimeInUTC": stored.status.recovery_point_time,
            "type": "Full",
        });
        shown_with(&stored.status, known)
    }
}
