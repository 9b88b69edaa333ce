//! What can be done with items of either kind.

use custody_ambient::Timestamp;
use custody_names::ResourceId;
use custody_resources::{
    Act, Action, ProvisioningState, Refusal, Removal, Request, Stop, Task, World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::item::vault_around;
use crate::policy::tag_not_found;
use crate::{
    BackupInput, ForgetRequest, Item, Policy, RestoreRequest, SourcePath, TASK_BACKUP, TASK_FORGET,
    TASK_RESTORE,
};

// The verbs of items of either kind.
/// Takes a recovery point.
pub(crate) const BACKUP: Action = Action { name: "backup", permission: "backup/action" };
/// Says what a backup would take.
pub(crate) const SCAN: Action = Action { name: "scan", permission: "backup/action" };
/// Gives a recovery point back.
pub(crate) const RESTORE: Action = Action { name: "restore", permission: "restore/action" };
/// Lists a folder of a recovery point.
pub(crate) const BROWSE: Action = Action { name: "browse", permission: "restore/action" };
/// Sends a file of a recovery point.
pub(crate) const CONTENT: Action = Action { name: "content", permission: "restore/action" };
/// Says what differs between two recovery points.
pub(crate) const DIFF: Action = Action { name: "diff", permission: "restore/action" };
/// Says which recovery points hold what matches a pattern.
pub(crate) const FIND: Action = Action { name: "find", permission: "restore/action" };
/// Gives recovery points up.
pub(crate) const FORGET: Action = Action { name: "forget", permission: "forget/action" };

/// One of these verbs on an item: the same whatever key the vault is under (rule 83).
pub(crate) fn act(
    action: &str,
    item: &ResourceId,
    request: &Request<'_>,
    world: &World,
) -> Result<Act, Stop> {
    vault_is_ready(&vault_around(item), world)?;
    let item_stored = Item::expect(item, world)?;
    let status = &item_stored.status;
    status.is_not_deleted()?;
    let task = match action {
        "backup" => {
            status.takes_backups()?;
            let input = backup_input(&request.body, &item_stored, request.now, world)?;
            Some(Task { name: TASK_BACKUP.into(), input: to_json(&input)? })
        }
        "restore" => return restore(&read_body(&request.body)?, item, world),
        "forget" => {
            let asked: ForgetRequest = read_body(&request.body)?;
            check_forget(&asked)?;
            (!asked.dry_run).then(|| Task { name: TASK_FORGET.into(), input: request.body.clone() })
        }
        // Looking is answered at once by whoever holds the repository open.
        _ => None,
    };
    Ok(Act { task, ..Act::default() })
}

/// Gives a recovery point of the item back as asked.
pub(crate) fn restore(
    asked: &RestoreRequest,
    item: &ResourceId,
    world: &World,
) -> Result<Act, Stop> {
    vault_is_ready(&vault_around(item), world)?;
    Item::expect(item, world)?.status.is_not_deleted()?;
    let task = Task { name: TASK_RESTORE.into(), input: to_json(asked)? };
    Ok(Act { task: Some(task), ..Act::default() })
}

/// Deleting an item gives up all its recovery points; that needs no key (DESIGN §5).
pub(crate) fn give_up() -> Removal {
    let task = Task { name: TASK_FORGET.into(), input: json!({ "deleteItem": true }) };
    Removal { task: Some(task), writes: Vec::new() }
}

/// Refuses to work in a vault that never got its key.
pub(crate) fn vault_is_ready(vault: &ResourceId, world: &World) -> Result<(), Stop> {
    let ready = world.record(vault)?.is_some_and(|vault| {
        vault.status.get("keyring").is_some() && vault.state != ProvisioningState::Deleting
    });
    if !ready {
        let text = format!("the vault {vault} has no working encryption yet");
        return Err(Refusal::new(409, "VaultNotReady", text)
            .with_fix("custody backup vault show --vault-name VAULT says why")
            .into());
    }
    Ok(())
}

fn check_forget(asked: &ForgetRequest) -> Result<(), Refusal> {
    let empty = ForgetRequest { dry_run: asked.dry_run, ..ForgetRequest::default() };
    if *asked == empty {
        let text = "forget needs points or a rule: what is kept must be said";
        return Err(Refusal::bad_request(text).with_fix("custody forget ITEM --keep-last 7"));
    }
    Ok(())
}

/// What a request says of the point that it asks for: those of workloads say until when it is kept,
/// those of Backup vaults may choose a retention rule of the policy by name.
fn backup_input(
    body: &Value,
    item: &Item,
    now: Timestamp,
    world: &World,
) -> Result<BackupInput, Stop> {
    let until = body.pointer("/properties/recoveryPointExpiryTimeInUTC");
    let until = until.filter(|until| !until.is_null());
    let keep_until = until
        .map(Timestamp::deserialize)
        .transpose()
        .map_err(|error| Refusal::bad_request(format!("recoveryPointExpiryTimeInUTC: {error}")))?;
    let stream = body.get("stream").filter(|stream| !stream.is_null());
    let stream = stream
        .map(String::deserialize)
        .transpose()
        .map_err(|error| Refusal::bad_request(format!("stream: {error}")))?;
    let changed = body.get("changedBlocks").filter(|changed| !changed.is_null());
    let changed_blocks = changed
        .map(SourcePath::deserialize)
        .transpose()
        .map_err(|error| Refusal::bad_request(format!("changedBlocks: {error}")))?;
    let tag = body.pointer("/backupRuleOptions/triggerOption/retentionTagOverride");
    let Some(tag) = tag.and_then(Value::as_str).filter(|tag| !tag.is_empty()) else {
        return Ok(BackupInput { keep_until, stream, changed_blocks });
    };
    let policy = match &item.policy {
        Some(policy) => world.record(policy)?,
        None => None,
    };
    let policy = policy.ok_or_else(|| tag_not_found(tag))?;
    let keep_until = Some(Policy::tagged_until(policy, tag, now)?);
    Ok(BackupInput { keep_until, stream, changed_blocks })
}

fn to_json(value: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(value).map_err(|error| Refusal::bug(error.to_string()))
}

fn read_body<T: for<'de> Deserialize<'de>>(body: &Value) -> Result<T, Refusal> {
    T::deserialize(body).map_err(|error| Refusal::bad_request(error.to_string()))
}
