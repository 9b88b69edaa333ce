//! Proves a vault's repository: its structure, or every byte of it.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use custody_ambient::random_array;
use custody_repository::{Assurance, CheckLevel, CheckReport, Sample};
use custody_resources::Refusal;
use serde_json::{Value, json};

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;
use crate::view::PointsView;

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let level = level(job)?;
    job.phase("unlock")?;
    let (vault, session) = job.open_vault()?;
    let repository = session.repository(job.platform, &vault)?;
    job.phase("check")?;
    let threads = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let report = repository.check(level, threads, job)?;
    for problem in &report.problems {
        job.warn("RepositoryDamaged", problem.object.as_bytes(), &problem.what);
        for file in &problem.files {
            let message = format!("lost from recovery point {}", file.point);
            job.warn("FileDamaged", &file.path, &message);
        }
    }
    let view = PointsView::read(&repository)?;
    let vault_id = vault.record.id.clone();
    Ok(Outcome {
        result: result(&report, level),
        writes: Box::new(move |world| view.writes(&vault_id, world)),
    })
}

/// How much is read: nothing of the packs, all of them, or so many percent, others each time.
fn level(job: &Job<'_>) -> Result<CheckLevel, Refusal> {
    let input = &job.operation.task.input;
    if input.get("readData") == Some(&Value::Bool(true)) {
        return Ok(CheckLevel::Data);
    }
    let Some(percent) = input.get("readSample").filter(|percent| !percent.is_null()) else {
        return Ok(CheckLevel::Structure);
    };
    let percent = percent.as_u64().and_then(|percent| u8::try_from(percent).ok());
    let percent = percent
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| Refusal::bad_request("readSample: it is a percentage from 1 to 100"))?;
    let seed = random_array::<8>(&*job.platform.entropy)
        .map_err(|error| Refusal::bug(error.to_string()))?;
    Ok(CheckLevel::Sample(Sample { percent, seed: u64::from_be_bytes(seed) }))
}

fn result(report: &CheckReport, level: CheckLevel) -> Value {
    let sample = match level {
        CheckLevel::Sample(Sample { percent, .. }) => Some(percent),
        CheckLevel::Structure | CheckLevel::Data => None,
    };
    json!({
        "ok": report.problems.is_empty(),
        "readData": level == CheckLevel::Data,
        "readSample": sample,
        "objects": report.objects,
        "bytes": report.bytes,
        "unreferencedObjects": report.garbage_objects,
        "unreferencedBytes": report.garbage_bytes,
        "problems": report.problems.len(),
        "damagedFiles": report.problems.iter().map(|problem| problem.files_total).sum::<u64>(),
        "assurance": match report.assurance {
            Assurance::Authenticated => "every object was opened with the key",
            Assurance::HashOnly => "hashes only: a malicious replacement cannot be told",
        },
    })
}
