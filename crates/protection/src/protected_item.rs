//! `…/protectionContainers/protectedItems`: an item under protection in a Recovery Services vault,
//! a folder in the shape of a workload.

use custody_ambient::Timestamp;
use custody_names::{ItemId, ResourceId};
use custody_resources::{
    Act, Action, Answers, Change, Kind, Place, Plan, Refusal, Removal, Request, Stop, Stored, Task,
    World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::attempt::{self, WORKLOAD};
use crate::item::{shown_with, vault_around};
use crate::protection_container::ProtectionContainer;
use crate::{FolderSource, TASK_CONFIGURE, actions};

/// Items of workloads, as the clients name their shapes. Rule 84: a customer's key makes no
/// difference to any of them.
const TYPES: [&str; 6] = [
    "AzureVmWorkloadProtectedItem",
    "AzureVmWorkloadSQLDatabase",
    "AzureVmWorkloadSQLInstance",
    "AzureVmWorkloadSAPHanaDatabase",
    "AzureVmWorkloadSAPAseDatabase",
    "GenericProtectedItem",
];

/// The kind of items.
pub struct ProtectedItem;

/// What a client may write of an item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProtectedItemSpec {
    /// The discriminator.
    pub protected_item_type: String,
    /// `AzureWorkload`.
    pub backup_management_type: String,
    /// Kept as the client wrote it.
    pub workload_type: String,
    /// A name for people.
    pub friendly_name: String,
    /// The policy.
    pub policy_id: String,
    /// Kept as the client wrote it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_resource_id: String,
    /// custody's own: what is read. Absent, the item's container names it.
    pub folder: FolderSource,
}

/// What only the server writes of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProtectedItemStatus {
    /// The item as the repository knows it.
    pub item_id: ItemId,
    /// When its newest recovery point was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_point_time: Option<Timestamp>,
}

impl Kind for ProtectedItem {
    const TYPE: &'static str =
        "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems";
    const PLACE: Place =
        Place::Within(ProtectionContainer::TYPE, "Microsoft.RecoveryServices/vaults");
    const ANSWERS: Answers = Answers { created: 202, replaced: 202, patching: 202, deleted: 202 };
    const ACTIONS: &'static [Action] = &[
        actions::BACKUP,
        actions::SCAN,
        actions::RESTORE,
        actions::BROWSE,
        actions::CONTENT,
        actions::FORGET,
    ];

    type Spec = ProtectedItemSpec;
    type Status = ProtectedItemStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let id = &change.request.id;
        attempt::is_well_formed(id, &change.spec.protected_item_type, "protectedItemType")?;
        if change.spec.folder != FolderSource::default() {
            change.spec.folder.check()?;
        }
        attempt::attempt(id, world, || protect(&change, world))
    }

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

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        let Stored { record, spec, status } = stored;
        let newest = status.newest_point_time;
        let container = record.id.parent();
        let container = container.as_ref().and_then(ResourceId::name);
        let known = json!({
            "containerName": container,
            "vaultId": vault_around(&record.id),
            "policyName": spec.policy_id.rsplit('/').next(),
            "itemId": status.item_id,
            "protectionState": if newest.is_some() { "Protected" } else { "IRPending" },
            "protectedItemHealthStatus": if newest.is_some() { "Healthy" } else { "IRPending" },
            "protectionStatus": "Healthy",
            "lastBackupStatus": if newest.is_some() { "Healthy" } else { "IRPending" },
            "lastBackupTime": newest,
            "lastRecoveryPoint": newest,
        });
        shown_with(spec, known)
    }
}

fn protect(change: &Change<'_, ProtectedItem>, world: &World) -> Result<Plan<ProtectedItem>, Stop> {
    let id = &change.request.id;
    let name = id.name().unwrap_or_default();
    let mut spec = change.spec.clone();
    attempt::is_supported(&spec.protected_item_type, &spec.backup_management_type, &TYPES)?;
    let container = id.parent().unwrap_or_else(ResourceId::root);
    let Some(container) = world.stored::<ProtectionContainer>(&container)? else {
        let text = format!("the container {container} is not registered with the vault");
        return Err(Refusal::new(400, "ContainerNotRegistered", text)
            .with_fix("register it first: PUT …/backupFabrics/Azure/protectionContainers/NAME")
            .into());
    };
    if spec.folder == FolderSource::default() {
        let stored = change.before.map(|stored| &stored.spec.folder);
        let folders = container.spec.folders.iter();
        let named = folders.clone().find(|(one, _)| one.eq_ignore_ascii_case(name));
        let folder = stored.or(named.map(|(_, folder)| folder)).cloned();
        spec.folder = folder.ok_or_else(|| {
            let text = "the request names no folder, and the item's container none for this item";
            Refusal::new(400, "SourceNotNamed", text).with_fix("properties.folder.paths")
        })?;
    }
    check_policy(&spec.policy_id, &vault_around(id), world)?;
    WORKLOAD.clone_into(&mut spec.backup_management_type);
    if spec.friendly_name.is_empty() {
        name.rsplit(';').next().unwrap_or(name).clone_into(&mut spec.friendly_name);
    }
    let status = match change.before {
        Some(stored) => stored.status.clone(),
        None => ProtectedItemStatus {
            item_id: ItemId::mint(change.request.entropy)
                .map_err(|error| Refusal::bug(error.to_string()))?,
            newest_point_time: None,
        },
    };
    let task = Task { name: TASK_CONFIGURE.into(), input: Value::Null };
    Ok(Plan { task: Some(task), ..Plan::done(spec, status) })
}

/// A policy that is named must be one of the vault's.
fn check_policy(policy: &str, vault: &ResourceId, world: &World) -> Result<(), Stop> {
    if policy.is_empty() {
        return Ok(());
    }
    let id: Option<ResourceId> = policy.parse().ok();
    let known = match id.filter(|id| id.parent().as_ref() == Some(vault)) {
        Some(id) => world.record(&id)?.is_some(),
        None => false,
    };
    if known {
        return Ok(());
    }
    let text = format!("the vault has no policy {policy}");
    Err(Refusal::new(400, "PolicyNotFound", text).with_fix("az backup policy list").into())
}
