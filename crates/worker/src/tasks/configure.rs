//! Settles a new or changed item. What it names is looked at: a path that is not there is worth a
//! warning now, not only when the first backup leaves it out.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use custody_protection::{Item, Protection, SoftDeletion};
use custody_resources::{ProvisioningState, Refusal, Stop, World, Write};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let item = job.item()?;
    job.phase("look")?;
    for path in &item.folder.paths {
        let bytes = path.bytes()?;
        if let Err(error) = fs::symlink_metadata(OsStr::from_bytes(&bytes)) {
            job.warn("SourceUnreadable", &bytes, &error.to_string());
        }
    }
    Ok(ends_settled(job, json!({ "paths": item.folder.paths.len() })))
}

/// Settles an item whose protection was ended or that was taken back: the records say it already.
pub(super) fn settle(job: &Job<'_>) -> Result<Outcome, TaskError> {
    job.phase("settle")?;
    Ok(ends_settled(job, json!({})))
}

/// Marks an item as deleted; nothing of its data is touched before the time to keep it is over.
pub(super) fn soft_delete(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let deletion = SoftDeletion::deserialize(&job.operation.task.input)
        .map_err(|error| Refusal::bug(error.to_string()))?;
    job.phase("delete")?;
    let id = job.resource().clone();
    Ok(Outcome {
        result: json!({ "keptUntil": deletion.purge_at }),
        writes: Box::new(move |world| {
            let mut item = Item::expect(&id, world)?;
            item.status.protection = Protection::Stopped;
            item.status.deletion = Some(deletion.clone());
            Ok(vec![settled(item, ProvisioningState::Succeeded)?])
        }),
    })
}

fn ends_settled(job: &Job<'_>, result: Value) -> Outcome {
    let id = job.resource().clone();
    Outcome {
        result,
        writes: Box::new(move |world| {
            let item = Item::expect(&id, world)?;
            Ok(vec![settled(item, ProvisioningState::Succeeded)?])
        }),
    }
}

/// An item whose looking over was given up stays, and says so.
pub(super) fn give_up(item: &custody_names::ResourceId, world: &World) -> Result<Vec<Write>, Stop> {
    let item = Item::expect(item, world)?;
    Ok(vec![settled(item, ProvisioningState::Failed)?])
}

fn settled(mut item: Item, state: ProvisioningState) -> Result<Write, Stop> {
    item.record.state = state;
    Ok(item.into_write()?)
}
