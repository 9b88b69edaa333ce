//! `Microsoft.DataProtection/backupVaults/backupInstances`: an item under protection.

use custody_names::{ItemId, ItemName, ResourceId};
use custody_resources::{
    Act, Action, Change, Identity, Kind, Place, Plan, Reference, Refusal, Removal, Request, Stop,
    Stored, World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::deleted_instance::{deleted_place, soft_delete};
use crate::item::shown_with;
use crate::item_status::{ItemStatus, Protection};
use crate::policy::{is_of_vault, under};
use crate::soft_delete::soft_deletion;
use crate::{FolderSource, RestoreRequest, actions};

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
    /// The policy that it is under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_info: Option<PolicyInfo>,
    /// What is read.
    pub folder: FolderSource,
}

/// The policy that an item is under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyInfo {
    /// The policy, one of the same vault.
    pub policy_id: ResourceId,
    /// Kept as the client wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_parameters: Option<Value>,
}

impl Kind for BackupInstance {
    const TYPE: &'static str = "Microsoft.DataProtection/backupVaults/backupInstances";
    const PLACE: Place = Place::Below("Microsoft.DataProtection/backupVaults");
    const ACTIONS: &'static [Action] = &[
        actions::BACKUP,
        actions::SCAN,
        actions::RESTORE,
        actions::BROWSE,
        actions::CONTENT,
        actions::DIFF,
        actions::FIND,
        actions::FORGET,
        Action { name: "validateRestore", permission: "validateRestore/action" },
        Action { name: "stopProtection", permission: "stopProtection/action" },
        Action { name: "resumeProtection", permission: "resumeProtection/action" },
        Action { name: "suspendBackups", permission: "suspendBackups/action" },
        Action { name: "resumeBackups", permission: "resumeBackups/action" },
    ];

    type Spec = InstanceSpec;
    type Status = ItemStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let name = change.request.id.name().unwrap_or_default();
        name.parse::<ItemName>()
            .map_err(|error| Refusal::new(400, "InvalidItemName", error.to_string()))?;
        let mut spec = change.spec.clone();
        spec.folder.check()?;
        let policy = spec.policy_info.as_ref().map(|info| &info.policy_id);
        is_of_vault(policy, &change.request.id, world)?;
        "BackupInstance".clone_into(&mut spec.object_type);
        if spec.friendly_name.is_empty() {
            name.clone_into(&mut spec.friendly_name);
        }
        let status = if let Some(stored) = change.before {
            let mut status = stored.status.clone();
            if spec.policy_info != stored.spec.policy_info {
                status.scheduled_until = Some(change.now());
            }
            status
        } else {
            is_not_kept(&change.request.id, world)?;
            let item_id = ItemId::mint(change.request.entropy)
                .map_err(|error| Refusal::bug(error.to_string()))?;
            ItemStatus::new(item_id, change.now())
        };
        Ok(Plan::done(spec, status))
    }

    /// With data it is kept for a time if the vault keeps what is deleted; otherwise all its recovery
    /// points are given up at once. Neither needs a key (DESIGN §5).
    fn plan_delete(
        current: &Stored<Self>,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Removal, Stop> {
        let id = &current.record.id;
        if current.status.newest_point_time.is_some()
            && let Some(deletion) = soft_deletion(id, request.now, world)?
        {
            return soft_delete(current, deletion, world);
        }
        Ok(actions::give_up())
    }

    fn act(
        action: &str,
        current: &Stored<Self>,
        request: &Request<'_>,
        world: &World,
    ) -> Result<Act, Stop> {
        if let Some(protection) = state_after(action) {
            let mut after = current.clone();
            after.status.become_now(protection, request.now);
            return Ok(Act { writes: vec![after.into_write()?], ..Act::default() });
        }
        let item = &current.record.id;
        match action {
            "restore" => actions::restore(&RestoreRequest::read(&request.body)?, item, world),
            "validateRestore" => {
                let asked = request.body.get("restoreRequestObject").unwrap_or(&request.body);
                let _fits = RestoreRequest::read(asked)?;
                Ok(Act::default())
            }
            _ => actions::act(action, item, request, world),
        }
    }

    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        properties(&stored.spec, &stored.status)
    }

    fn references(
        spec: &InstanceSpec,
        _status: &ItemStatus,
        _identity: Option<&Identity>,
    ) -> Vec<Reference> {
        under(spec.policy_info.as_ref().map(|info| &info.policy_id))
    }
}

/// What clients see of an item of a Backup vault, one that is there or one that was deleted.
pub(crate) fn properties(spec: &InstanceSpec, status: &ItemStatus) -> Result<Value, Refusal> {
    let deletion = status.deletion.as_ref();
    let (state, protected) = match status.protection {
        _ if deletion.is_some() => ("SoftDeleted", "SoftDeleted"),
        Protection::Active => ("ProtectionConfigured", "ProtectionConfigured"),
        Protection::Stopped => ("ProtectionStopped", "ProtectionStopped"),
        Protection::Suspended => ("BackupSchedulesSuspended", "ProtectionStopped"),
    };
    let known = json!({
        "itemId": status.item_id,
        "currentProtectionState": state,
        "protectionStatus": { "status": protected },
        "newestPointTime": status.newest_point_time,
        "deletionInfo": deletion.map(|deletion| json!({
            "deletionTime": deletion.deleted_at,
            "billingEndDate": deletion.purge_at,
            "scheduledPurgeTime": deletion.purge_at,
        })),
    });
    shown_with(spec, known)
}

/// The state that a verb leads to, for those that change nothing else.
fn state_after(action: &str) -> Option<Protection> {
    match action {
        "stopProtection" => Some(Protection::Stopped),
        "suspendBackups" => Some(Protection::Suspended),
        "resumeProtection" | "resumeBackups" => Some(Protection::Active),
        _ => None,
    }
}

/// A name under which a deleted item can still come back is not taken.
fn is_not_kept(item: &ResourceId, world: &World) -> Result<(), Stop> {
    let place = deleted_place(item)?;
    if world.record(&place)?.is_none() {
        return Ok(());
    }
    let text = format!("an item of this name is soft-deleted: {place}");
    Err(Refusal::new(409, "UserErrorItemSoftDeleted", text)
        .with_fix(format!("custody backup deleted-item undelete --name {place}"))
        .into())
}
