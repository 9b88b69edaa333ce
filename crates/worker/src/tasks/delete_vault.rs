//! Deletes a vault that holds no items, softly if its settings say so, brings it back, or removes it
//! for good: its repository, then its record. None of it needs a key, so that a vault whose key or
//! identity is lost can be deleted too.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use custody_backup_vaults::{DeletedVaultView, UndeleteVault, Vault, softly_deleted};
use custody_directory::principal_of;
use custody_key_vault::{
    DeletedKeyVaultKind, DeletedManagedHsmKind, KeyVaultKind, RequestContext, VaultOperation,
    deleted_key_vault_ref, key_vault_ref,
};
use custody_names::ResourceId;
use custody_resources::{Kind as _, Refusal, Write};
use serde::Deserialize as _;
use serde_json::json;

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;
use crate::vault_repository::store_place;

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let vault = job.vault()?;
    job.phase("delete")?;
    match vault.soft_delete().days_kept() {
        Some(days) => Ok(delete_softly(job, &vault, days)),
        None => remove(job, &vault, vault.record.id.clone()),
    }
}

/// Nothing of the data is touched: the records go where deleted vaults stand.
fn delete_softly(job: &Job<'_>, vault: &Vault, days: u32) -> Outcome {
    let id = vault.record.id.clone();
    let (now, caller) = (job.platform.clock.now(), job.operation.caller.clone());
    Outcome {
        result: json!({ "deleted": id, "keptForDays": days }),
        writes: Box::new(move |world| {
            softly_deleted(&Vault::expect(&id, world)?, days, &caller, now, world)
        }),
    }
}

/// Brings a softly deleted vault back.
pub(super) fn undelete(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let UndeleteVault { to } = UndeleteVault::deserialize(&job.operation.task.input)
        .map_err(|error| Refusal::bug(error.to_string()))?;
    job.phase("undelete")?;
    let id = job.resource().clone();
    let (now, caller) = (job.platform.clock.now(), job.operation.caller.clone());
    Ok(Outcome {
        result: json!({ "vaultId": to }),
        writes: Box::new(move |world| {
            DeletedVaultView::expect(&id, world)?.returned(&to, &caller, now, world)
        }),
    })
}

/// Removes a softly deleted vault for good.
pub(super) fn purge(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let deleted = job.platform.look(|world| DeletedVaultView::expect(job.resource(), world))?;
    job.phase("purge")?;
    remove(job, &deleted.vault, deleted.record.id)
}

/// Removes the repository of a vault, and `record` with all below it.
fn remove(job: &Job<'_>, vault: &Vault, record: ResourceId) -> Result<Outcome, TaskError> {
    if let Some(guid) = vault.status.vault_guid {
        remove_cache(&job.platform.folder.cache(guid))?;
        remove_repository(&store_place(job.platform, &vault.status)?)?;
    }
    Ok(Outcome {
        result: json!({ "deleted": vault.record.id }),
        writes: Box::new(move |_| Ok(vec![Write::Remove(record.clone())])),
    })
}

/// Erases the keys of a key vault that was deleted, softly or for good, then its record.
pub(super) fn purge_key_vault(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let platform = job.platform;
    let id = job.resource().clone();
    job.phase("purge")?;
    let kind = id.resource_type();
    let is = |wanted: &str| kind.as_str().eq_ignore_ascii_case(wanted);
    let vault = if is(DeletedKeyVaultKind::TYPE) {
        deleted_key_vault_ref(&platform.stored::<DeletedKeyVaultKind>(&id)?)?
    } else if is(DeletedManagedHsmKind::TYPE) {
        deleted_key_vault_ref(&platform.stored::<DeletedManagedHsmKind>(&id)?)?
    } else {
        key_vault_ref(&platform.stored::<KeyVaultKind>(&id)?)?
    };
    let context = RequestContext {
        job: Some(job.id()),
        trusted: true,
        ..RequestContext::begun(platform.clock.as_ref(), job.operation.correlation)
    };
    let caller = principal_of(&job.operation.caller);
    platform
        .key_vaults
        .perform_on_vault(&caller, &vault, VaultOperation::Purge, &context)
        .map_err(|error| Refusal::new(error.answer().status, error.code(), error.to_string()))?;
    Ok(Outcome {
        result: json!({ "purged": id }),
        writes: Box::new(move |_| Ok(vec![Write::Remove(id.clone())])),
    })
}

/// Removes what this machine kept of a vault's index.
fn remove_cache(place: &Path) -> Result<(), Refusal> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            let text = format!("the cache of the vault's index cannot be removed: {error}");
            Err(Refusal::new(503, "StoreUnavailable", text))
        }
        _ => Ok(()),
    }
}

/// Removes what a repository consists of and nothing else: the folder may hold a stranger's files.
pub(super) fn remove_repository(place: &Path) -> Result<(), Refusal> {
    const PARTS: [&str; 8] =
        ["log", "heartbeat", "packs", "index", "points", "bad", "keys", ".tmp"];
    let failed = |error: std::io::Error| {
        Refusal::new(503, "StoreUnavailable", format!("the repository cannot be removed: {error}"))
    };
    let gone = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    };
    // The marker goes first: a repository half removed must not open.
    gone(fs::remove_file(place.join("custody-repository")))?;
    for part in PARTS {
        gone(fs::remove_dir_all(place.join(part)))?;
    }
    gone(fs::remove_file(place.join(".reserve")))?;
    match fs::remove_dir(place) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        other => gone(other),
    }
}
