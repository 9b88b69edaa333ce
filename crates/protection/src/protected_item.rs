//! `…/protectionContainers/protectedItems`: an item under protection in a Recovery Services vault,
//! a folder in the shape of a workload.

use custody_names::{ItemId, ResourceId};
use custody_resources::{
    Act, Action, Answers, Change, Identity, Kind, Place, Plan, Reference, Refusal, Removal,
    Request, Stop, Stored, Task, World, not_found,
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::attempt::{self, WORKLOAD};
use crate::item::{shown_with, vault_around};
use crate::item_status::{ItemStatus, Protection};
use crate::policy::{self, is_of_vault, under};
use crate::protection_container::ProtectionContainer;
use crate::soft_delete::soft_deletion;
use crate::{FolderSource, TASK_CONFIGURE, TASK_SOFT_DELETE, TASK_STOP, TASK_UNDELETE, actions};

/// Items of workloads, as the clients name their shapes, and what the clients call what is in each:
/// they leave it to the server to say. Rule 84: a customer's key makes no difference to any of them.
const TYPES: [(&str, &str); 6] = [
    ("AzureVmWorkloadProtectedItem", ""),
    ("AzureVmWorkloadSQLDatabase", "SQLDataBase"),
    ("AzureVmWorkloadSQLInstance", "SQLDB"),
    ("AzureVmWorkloadSAPHanaDatabase", "SAPHanaDatabase"),
    ("AzureVmWorkloadSAPAseDatabase", "SAPAseDatabase"),
    ("GenericProtectedItem", ""),
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

/// What a request asks of an item's protection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Protection by these settings, or what the item has of it with others.
    Protect,
    /// An end of it; the points are kept (`az backup protection disable`).
    Stop,
    /// The same, but the points expire by the policy
    /// (`--retain-recovery-points-as-per-policy`).
    Suspend,
    /// That it comes back (`az backup protection undelete`).
    Undelete,
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
        actions::DIFF,
        actions::FIND,
        actions::FORGET,
    ];

    type Spec = ProtectedItemSpec;
    type Status = ItemStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let id = &change.request.id;
        attempt::is_well_formed(id, &change.spec.protected_item_type, "protectedItemType")?;
        if change.spec.folder != FolderSource::default() {
            change.spec.folder.check()?;
        }
        match Wish::read(&change.request.body)? {
            Wish::Protect => attempt::attempt(id, world, || protect(&change, world)),
            wish => end_protection(&change, wish),
        }
    }

    fn plan_delete(
        current: &Stored<Self>,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let status = &current.status;
        status.is_not_deleted()?;
        if status.newest_point_time.is_some()
            && let Some(deletion) = soft_deletion(&current.record.id, request.now, world)?
        {
            let input =
                serde_json::to_value(deletion).map_err(|error| Refusal::bug(error.to_string()))?;
            let task = Task { name: TASK_SOFT_DELETE.into(), input };
            return Ok(Removal { task: Some(task), writes: Vec::new() });
        }
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
        let policy = Some(&spec.policy_id).filter(|policy| !policy.is_empty());
        let deletion = status.deletion.as_ref();
        let known = json!({
            "containerName": container,
            "vaultId": vault_around(&record.id),
            "policyName": policy.and_then(|policy| policy.rsplit('/').next()),
            "itemId": status.item_id,
            "protectionState": match status.protection {
                _ if deletion.is_some() => "ProtectionStopped",
                Protection::Stopped => "ProtectionStopped",
                Protection::Suspended => "BackupsSuspended",
                Protection::Active if newest.is_some() => "Protected",
                Protection::Active => "IRPending",
            },
            "isScheduledForDeferredDelete": deletion.map(|_| true),
            "deferredDeleteTimeInUTC": deletion.map(|deletion| deletion.deleted_at),
            "scheduledPurgeTime": deletion.map(|deletion| deletion.purge_at),
            "protectedItemHealthStatus": if newest.is_some() { "Healthy" } else { "IRPending" },
            "protectionStatus": "Healthy",
            "lastBackupStatus": if newest.is_some() { "Healthy" } else { "IRPending" },
            "lastBackupTime": newest,
            "lastRecoveryPoint": newest,
        });
        shown_with(spec, known)
    }

    fn dress(stored: &Stored<Self>, request: &Request<'_>, body: &mut Map<String, Value>) {
        let Some(deletion) = &stored.status.deletion else { return };
        if let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) {
            let left = deletion.purge_at.duration_since(request.now).max(SignedDuration::ZERO);
            let (hours, minutes, seconds) =
                (left.as_hours(), left.as_mins() % 60, left.as_secs() % 60);
            let left = format!("{}.{:02}:{minutes:02}:{seconds:02}", hours / 24, hours % 24);
            properties.insert("deferredDeleteTimeRemaining".into(), left.into());
        }
    }

    fn references(
        spec: &ProtectedItemSpec,
        _status: &ItemStatus,
        _identity: Option<&Identity>,
    ) -> Vec<Reference> {
        under(spec.policy_id.parse().ok().as_ref())
    }
}

impl Wish {
    fn read(body: &Value) -> Result<Self, Refusal> {
        let asked = body.get("properties").unwrap_or(&Value::Null);
        if asked.get("isRehydrate") == Some(&Value::Bool(true)) {
            return Ok(Self::Undelete);
        }
        match asked.get("protectionState").and_then(Value::as_str).unwrap_or_default() {
            "ProtectionStopped" => Ok(Self::Stop),
            "BackupsSuspended" => Ok(Self::Suspend),
            "" | "IRPending" | "Protected" => Ok(Self::Protect),
            other => {
                let text = format!(
                    "protectionState {other:?} cannot be asked for: ProtectionStopped, \
                     BackupsSuspended or Protected can"
                );
                Err(Refusal::bad_request(text))
            }
        }
    }
}

/// Ends the protection of an item that is there, or takes a deleted one back without it.
fn end_protection(
    change: &Change<'_, ProtectedItem>,
    wish: Wish,
) -> Result<Plan<ProtectedItem>, Stop> {
    let before = change.before.ok_or_else(|| not_found(&change.request.id))?;
    let Stored { mut spec, mut status, .. } = before.clone();
    let mut name = TASK_STOP;
    if wish == Wish::Undelete {
        if status.deletion.take().is_none() {
            let text = format!("{} is not soft-deleted", change.request.id);
            return Err(Refusal::new(409, "UserErrorItemNotSoftDeleted", text).into());
        }
        name = TASK_UNDELETE;
    }
    status.is_not_deleted()?;
    if wish == Wish::Suspend {
        status.become_now(Protection::Suspended, change.now());
    } else {
        status.become_now(Protection::Stopped, change.now());
        spec.policy_id.clear();
    }
    let task = Task { name: name.into(), input: Value::Null };
    Ok(Plan { task: Some(task), ..Plan::done(spec, status) })
}

fn protect(change: &Change<'_, ProtectedItem>, world: &World) -> Result<Plan<ProtectedItem>, Stop> {
    let id = &change.request.id;
    let name = id.name().unwrap_or_default();
    let mut spec = change.spec.clone();
    let known = TYPES.map(|(item, _)| item);
    attempt::is_supported(&spec.protected_item_type, &spec.backup_management_type, &known)?;
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
    let asked_for_policy = !spec.policy_id.is_empty();
    if let Some(stored) = change.before {
        keep_unsaid(&mut spec, &stored.spec);
    }
    if asked_for_policy {
        let policy = spec.policy_id.parse().map_err(|_| policy::not_found(&spec.policy_id))?;
        is_of_vault(Some(&policy), id, world)?;
    }
    WORKLOAD.clone_into(&mut spec.backup_management_type);
    if spec.workload_type.is_empty() {
        let is_it = |(item, _): &&(&str, &str)| spec.protected_item_type.eq_ignore_ascii_case(item);
        let word = TYPES.iter().find(is_it).map_or("", |(_, word)| *word);
        let word = Some(word).filter(|word| !word.is_empty());
        word.unwrap_or(&container.spec.workload_type).clone_into(&mut spec.workload_type);
    }
    if spec.friendly_name.is_empty() {
        name.rsplit(';').next().unwrap_or(name).clone_into(&mut spec.friendly_name);
    }
    let status = status_of(change, &spec, asked_for_policy)?;
    let task = Task { name: TASK_CONFIGURE.into(), input: Value::Null };
    Ok(Plan { task: Some(task), ..Plan::done(spec, status) })
}

/// The status after the request: it may resume what was stopped.
fn status_of(
    change: &Change<'_, ProtectedItem>,
    spec: &ProtectedItemSpec,
    asked_for_policy: bool,
) -> Result<ItemStatus, Refusal> {
    let now = change.now();
    let Some(stored) = change.before else {
        let item_id = ItemId::mint(change.request.entropy)
            .map_err(|error| Refusal::bug(error.to_string()))?;
        return Ok(ItemStatus::new(item_id, now));
    };
    let mut status = stored.status.clone();
    status.is_not_deleted()?;
    let state = change.request.body.pointer("/properties/protectionState");
    if asked_for_policy || state.is_some_and(Value::is_string) {
        status.become_now(Protection::Active, now);
    }
    if spec.policy_id != stored.spec.policy_id {
        status.scheduled_until = Some(now);
    }
    Ok(status)
}

/// What a request leaves out stays: `az` names the policy alone to resume protection.
fn keep_unsaid(spec: &mut ProtectedItemSpec, stored: &ProtectedItemSpec) {
    for (said, stored) in [
        (&mut spec.workload_type, &stored.workload_type),
        (&mut spec.friendly_name, &stored.friendly_name),
        (&mut spec.source_resource_id, &stored.source_resource_id),
        (&mut spec.policy_id, &stored.policy_id),
    ] {
        if said.is_empty() {
            said.clone_from(stored);
        }
    }
}
