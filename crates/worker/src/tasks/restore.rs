//! Gives a recovery point back into a folder.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

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
    let mut target = folders::target(&request)?;
    let threads = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let report = repository.restore(point, &path, &mut target, threads, job)?;
    for warning in report.warnings.iter().chain(&target.complete()) {
        job.warn(warning.code, &warning.path, &warning.message);
    }
    if request.sync {
        job.phase("sync")?;
        target.sync().map_err(|error| Refusal::new(503, error.code, error.message))?;
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
        "warningsByCode": target.warning_counts(),
    })))
}
