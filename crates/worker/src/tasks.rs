//! The tasks: one file each. A task does its work and says what becomes of the records.

mod apply_encryption;
mod backup;
mod configure;
mod delete_group;
mod delete_vault;
mod drill_revoke;
mod expire;
mod forget;
mod make_repository;
mod prune;
mod repair;
mod restore;
mod tier;
mod verify;

use custody_backup_vaults::{
    TASK_APPLY_ENCRYPTION, TASK_DELETE_VAULT, TASK_DRILL_REVOKE, TASK_PRUNE, TASK_PURGE_VAULT,
    TASK_REPAIR, TASK_UNDELETE_VAULT, TASK_VERIFY, Vault,
};
use custody_directory::TASK_DELETE_GROUP;
use custody_key_vault::TASK_PURGE_KEY_VAULT;
use custody_protection::{
    TASK_BACKUP, TASK_CONFIGURE, TASK_EXPIRE, TASK_FORGET, TASK_RESTORE, TASK_SOFT_DELETE,
    TASK_STOP, TASK_TIER, TASK_UNDELETE,
};
use custody_resources::{
    Operation, OperationState, ProvisioningState, Record, Refusal, Stop, World, Write,
};

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;

pub(crate) use apply_encryption::follow_newest;
pub(crate) use forget::choose;

/// Carries out whatever the job's operation asks for.
pub(crate) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    job.check()?;
    match job.operation.task.name.as_str() {
        TASK_APPLY_ENCRYPTION => apply_encryption::run(job),
        TASK_BACKUP => backup::run(job),
        TASK_CONFIGURE => configure::run(job),
        TASK_STOP | TASK_UNDELETE => configure::settle(job),
        TASK_SOFT_DELETE => configure::soft_delete(job),
        TASK_EXPIRE => expire::run(job),
        TASK_TIER => tier::run(job),
        TASK_RESTORE => restore::run(job),
        TASK_FORGET => forget::run(job),
        TASK_VERIFY => verify::run(job),
        TASK_PRUNE => prune::run(job),
        TASK_REPAIR => repair::run(job),
        TASK_DELETE_VAULT => delete_vault::run(job),
        TASK_UNDELETE_VAULT => delete_vault::undelete(job),
        TASK_PURGE_VAULT => delete_vault::purge(job),
        TASK_DRILL_REVOKE => drill_revoke::run(job),
        TASK_PURGE_KEY_VAULT => delete_vault::purge_key_vault(job),
        TASK_DELETE_GROUP => delete_group::run(job),
        other => Err(TaskError::Failed(Refusal::bug(format!("no task is called {other}")))),
    }
}

/// What becomes of the records when an operation fails, is cancelled or its process died.
pub(crate) fn undo(operation: &Operation, world: &World) -> Result<Vec<Write>, Stop> {
    let Some(record) = world.record(&operation.resource)? else { return Ok(Vec::new()) };
    match operation.task.name.as_str() {
        TASK_APPLY_ENCRYPTION => {
            let mut vault = Vault::read(record)?;
            apply_encryption::give_up(&mut vault, operation);
            Ok(vec![vault.into_write()?])
        }
        TASK_CONFIGURE | TASK_STOP | TASK_UNDELETE => {
            configure::give_up(&operation.resource, world)
        }
        TASK_DELETE_VAULT | TASK_FORGET | TASK_SOFT_DELETE | TASK_DELETE_GROUP
        | TASK_PURGE_VAULT | TASK_PURGE_KEY_VAULT
            if record.state == ProvisioningState::Deleting =>
        {
            Ok(vec![settled(record)])
        }
        TASK_UNDELETE_VAULT if record.state == ProvisioningState::Updating => {
            Ok(vec![settled(record)])
        }
        _ => Ok(Vec::new()),
    }
}

/// The record as it stays where it was.
fn settled(record: &Record) -> Write {
    let mut staying = record.clone();
    staying.state = ProvisioningState::Succeeded;
    staying.revision += 1;
    Write::Put(Box::new(staying))
}

/// Whether the operation failed for a reason that its vault should show.
pub(crate) fn failure(operation: &Operation) -> Option<&Refusal> {
    match operation.state {
        OperationState::Failed => operation.error.as_ref(),
        _ => None,
    }
}
