//! `Microsoft.DataProtection/backupVaults/backupInstances`: an item under protection.

use custody_ambient::Timestamp;
use custody_names::{ItemId, ItemName, ResourceId};
use custody_resources::{
    Act, Action, Change, Identity, Kind, Place, Plan, Reference, Refusal, Removal, Request, Stop,
    Stored, Target, World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::item::shown_with;
use crate::{DataProtectionPolicy, FolderSource, RestoreRequest, actions};

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

/// The states of protection, in ARM's words.
const CONFIGURED: &str = "ProtectionConfigured";
const STOPPED: &str = "ProtectionStopped";
const SUSPENDED: &str = "BackupsSuspended";

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
    const ACTIONS: &'static [Action] = &[
        actions::BACKUP,
        actions::SCAN,
        actions::RESTORE,
        actions::BROWSE,
        actions::CONTENT,
        actions::FORGET,
        Action { name: "validateRestore", permission: "validateRestore/action" },
        Action { name: "stopProtection", permission: "stopProtection/action" },
        Action { name: "resumeProtection", permission: "resumeProtection/action" },
        Action { name: "suspendBackups", permission: "suspendBackups/action" },
        Action { name: "resumeBackups", permission: "resumeBackups/action" },
    ];

    type Spec = InstanceSpec;
    type Status = InstanceStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        let name = change.request.id.name().unwrap_or_default();
        name.parse::<ItemName>()
            .map_err(|error| Refusal::new(400, "InvalidItemName", error.to_string()))?;
        let mut spec = change.spec.clone();
        spec.folder.check()?;
        check_policy(&change.request.id, spec.policy_info.as_ref(), world)?;
        "BackupInstance".clone_into(&mut spec.object_type);
        if spec.friendly_name.is_empty() {
            name.clone_into(&mut spec.friendly_name);
        }
        let status = match change.before {
            Some(stored) => stored.status.clone(),
            None => InstanceStatus {
                item_id: ItemId::mint(change.request.entropy)
                    .map_err(|error| Refusal::bug(error.to_string()))?,
                current_protection_state: CONFIGURED.to_owned(),
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
        if let Some(state) = state_after(action) {
            return become_one(current, state);
        }
        let item = &current.record.id;
        match action {
            "backup" => {
                is_protected(current)?;
                actions::act(action, item, request, world)
            }
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
        let status = &stored.status;
        let state = &status.current_protection_state;
        let known = json!({
            "itemId": status.item_id,
            "currentProtectionState": state,
            "protectionStatus": { "status": state },
            "newestPointTime": status.newest_point_time,
        });
        shown_with(&stored.spec, known)
    }

    fn references(
        spec: &InstanceSpec,
        _status: &InstanceStatus,
        _identity: Option<&Identity>,
    ) -> Vec<Reference> {
        let policy = spec.policy_info.iter();
        policy
            .map(|info| Reference::new("underPolicy", Target::resource(&info.policy_id)))
            .collect()
    }
}

/// The state that a verb leads to, for those that change nothing else.
fn state_after(action: &str) -> Option<&'static str> {
    match action {
        "stopProtection" => Some(STOPPED),
        "suspendBackups" => Some(SUSPENDED),
        "resumeProtection" | "resumeBackups" => Some(CONFIGURED),
        _ => None,
    }
}

fn become_one(current: &Stored<BackupInstance>, state: &str) -> Result<Act, Stop> {
    let mut after = current.clone();
    state.clone_into(&mut after.status.current_protection_state);
    Ok(Act { writes: vec![after.into_write()?], ..Act::default() })
}

fn is_protected(item: &Stored<BackupInstance>) -> Result<(), Refusal> {
    let state = item.status.current_protection_state.as_str();
    if state == CONFIGURED {
        return Ok(());
    }
    let text = format!("no recovery point is taken of {}: {state}", item.record.id);
    Err(Refusal::new(409, "UserErrorBackupInstanceNotProtected", text)
        .with_fix("az dataprotection backup-instance resume-protection"))
}

/// A policy that is named must be one of the item's own vault.
fn check_policy(item: &ResourceId, named: Option<&PolicyInfo>, world: &World) -> Result<(), Stop> {
    let Some(PolicyInfo { policy_id, .. }) = named else { return Ok(()) };
    let is_own = policy_id.parent() == item.parent();
    if is_own && world.stored::<DataProtectionPolicy>(policy_id)?.is_some() {
        return Ok(());
    }
    let text = format!("{policy_id} is no policy of the item's vault");
    Err(Refusal::new(400, "PolicyNotFound", text).into())
}
