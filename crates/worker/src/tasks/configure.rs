//! Looks at what a new or changed item names: a path that is not there is worth a warning now, not
//! only when the first backup leaves it out.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use custody_protection::Item;
use custody_resources::{ProvisioningState, Stop, World, Write};
use serde_json::json;

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
    let id = item.record.id.clone();
    Ok(Outcome {
        result: json!({ "paths": item.folder.paths.len() }),
        writes: Box::new(move |world| {
            let item = Item::expect(&id, world)?;
            Ok(vec![settled(item, ProvisioningState::Succeeded)?])
        }),
    })
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
