//! Gives a recovery point back into a folder.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use custody_entries::TargetError;
use custody_protection::RestoreRequest;
use custody_resources::Refusal;
use serde::Deserialize as _;
use serde_json::json;

use crate::error::TaskError;
use crate::folders;
use crate::job::Job;
use crate::look::resolve;
use crate::runner::Outcome;

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let request = RestoreRequest::deserialize(&job.operation.task.input)
        .map_err(|error| Refusal::bug(error.to_string()))?;
    let item = job.item()?;
    job.phase("unlock")?;
    let (vault, session) = job.open_vault()?;
    let repository = session.repository(job.platform, &vault)?;
    let point = resolve(&repository, &item, &request.point)?;
    let path = match &request.path {
        Some(path) => path.bytes()?,
        None => Vec::new(),
    };
    job.phase("restore")?;
    let threads = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let unsynced = |error: TargetError| Refusal::new(503, error.code, error.message);
    let (report, counts) = if request.device {
        let mut device = folders::device(&request)?;
        let report = repository.restore(point, &path, &mut device, threads, job)?;
        device.sync().map_err(unsynced)?;
        let counts = report.warnings.iter().fold(BTreeMap::new(), |mut counts, warning| {
            *counts.entry(warning.code).or_default() += 1;
            counts
        });
        (report, counts)
    } else {
        let mut target = folders::target(&request)?;
        let mut report = repository.restore(point, &path, &mut target, threads, job)?;
        report.warnings.append(&mut target.complete());
        if request.sync {
            job.phase("sync")?;
            target.sync().map_err(unsynced)?;
        }
        (report, target.warning_counts())
    };
    for warning in &report.warnings {
        job.warn(warning.code, &warning.path, &warning.message);
    }
    Ok(Outcome::only(json!({
        "recoveryPointId": point.to_string(),
        "files": report.files,
        "bytes": report.bytes,
        "replacedFiles": report.replaced_files,
        "reusedBytes": report.reused_bytes,
        "takenOverFiles": report.taken_over_files,
        "takenOverBytes": report.taken_over_bytes,
        "comparedFiles": report.compared_files,
        "keptFiles": report.kept_files,
        "warningsByCode": counts,
    })))
}
