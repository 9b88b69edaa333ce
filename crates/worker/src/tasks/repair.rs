//! Makes again what the repository lost and can be made again (copies of the ring, index objects),
//! and makes the records' view of the points agree with it. Deletes nothing.
//!
//! The job's result says how many recovery points there are (`recoveryPoints`), how many index
//! objects were lost (`lostIndexes`) and written anew (`newIndexes`), how many packs went into
//! those (`reindexedPacks`), and how many packs nothing describes any more (`lostPacks`). Those are
//! warnings too, each by its name.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use custody_repository::log::VoidReason;
use custody_repository::{RepairReport, Repository};
use serde_json::{Value, json};

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;
use crate::view::PointsView;

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let accept_head = job.operation.task.input.get("acceptHead") == Some(&Value::Bool(true));
    job.phase("unlock")?;
    let mut vault = job.vault()?;
    if accept_head {
        vault.status.log_head = None;
    }
    // Opening the vault mends the ring's copies.
    let session = job.open_session(&vault)?;
    let repository = session.repository(job.platform, &vault)?;
    job.phase("repair")?;
    let report = repaired(job, &repository)?;
    let view = PointsView::read(&repository)?.accepting_head(accept_head);
    let points = view.len();
    let vault_id = vault.record.id.clone();
    Ok(Outcome {
        result: result(&report, points),
        writes: Box::new(move |world| view.writes(&vault_id, world)),
    })
}

/// Repairs the repository as far as it may be written to. The records are worth mending even if it
/// may not.
fn repaired(job: &Job<'_>, repository: &Repository) -> Result<RepairReport, TaskError> {
    if let Some(why) = repository.read_only_because() {
        job.warn(why.code(), b"", &why.to_string());
        return Ok(RepairReport::default());
    }
    let threads = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let report = match repository.repair(threads, job) {
        Err(error) if error.code() == VoidReason::IntentOpen.code() => {
            let message = "index objects are lost, and an earlier prune is not finished; run \
                           `custody prune`, then `custody repair` again";
            job.warn(error.code(), b"", message);
            return Ok(RepairReport::default());
        }
        report => report?,
    };
    for pack in &report.lost_packs {
        let message = "no index and no directory of its own describes this pack; `custody verify` \
                       names the files that it costs";
        job.warn("RepositoryDamaged", pack.as_bytes(), message);
    }
    Ok(report)
}

fn result(report: &RepairReport, points: usize) -> Value {
    json!({
        "recoveryPoints": points,
        "lostIndexes": report.lost_indexes.len(),
        "newIndexes": report.indexes,
        "reindexedPacks": report.packs,
        "lostPacks": report.lost_packs.len(),
    })
}
