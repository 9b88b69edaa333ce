//! `Microsoft.DataProtection/backupVaults/backupInstances`: an item under protection.

use custody_ambient::Timestamp;
use custody_names::{ItemId, ItemName};
use custody_resources::{
    Act, Action, Change, Kind, Place, Plan, Refusal, Removal, Request, Stop, Stored, World,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FolderSource, actions};

/// The kind of items.
pub struct BackupInstance;

/// What a client may write of an item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceSpec {
    /// Always `BackupInstance`.
    pub object_type: String,
    /// A name for people.
    pub friendly_name: String,
    /// Kept as the client wrote it.
    pub data_source_info: Value,
    /// What is read.
    pub folder: FolderSource,
}

/// What only the server writes of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The item as the repository knows it.
    pub item_id: ItemId,
    /// `ProtectionConfigured`, ARM's word.
    pub current_protection_state: String,
    /// When its newest recovery point was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_point_time: Option<Timestamp>,
}

impl Kind for BackupInstance {
    const TYPE: &'static str = "Microsoft.DataProtection/backupVaults/backupInstances";
    const PLACE: Place = Place::Below("Microsoft.DataProtection/backupVaults");
    const ACTIONS: &'static [Action] = actions::ACTIONS;

    type Spec = InstanceSpec;
    type Status = InstanceStatus;

    fn plan(change: Change<'_, Self>, _world: &World) -> Result<Plan<Self>, Stop> {
        let name = change.request.id.name().unwrap_or_default();
        name.parse::<ItemName>()
            .map_err(|error| Refusal::new(400, "InvalidItemName", error.to_string()))?;
        let mut spec = change.spec.clone();
        spec.folder.check()?;
        "BackupInstance".clone_into(&mut spec.object_type);
        if spec.friendly_name.is_empty() {
            name.clone_into(&mut spec.friendly_name);
        }
        let status = match change.before {
            Some(stored) => stored.status.clone(),
            None => InstanceStatus {
                item_id: ItemId::mint(change.request.entropy)
                    .map_err(|error| Refusal::bug(error.to_string()))?,
                current_protection_state: "ProtectionConfigured".to_owned(),
                newest_point_time: None,
            },
        };
        Ok(Plan::done(spec, status))
    }

    /// Deleting an item gives up all its recovery points; that needs no key (DESIGN §5).
    fn plan_delete(
        _current: &Stored<Self>,
        _request: &Request<'_>,
        _world: &World,
    ) -> Result<Removal, Stop> {
        Ok(actions::give_up())
    }

    fn act(
        action: &str,
        current: &Stored<Self>,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Act, Stop> {
        actions::act(action, &current.record.id, request, world)
    }
}
