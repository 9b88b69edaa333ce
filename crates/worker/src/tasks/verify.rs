//! Proves a vault's repository: its structure, or every byte of it.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use custody_repository::{Assurance, CheckLevel, CheckReport};
use serde_json::{Value, json};

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;
use crate::view::PointsView;

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let read_data = job.operation.task.input.get("readData") == Some(&Value::Bool(true));
    let level = if read_data { CheckLevel::Data } else { CheckLevel::Structure };
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
        result: result(&report, read_data),
        writes: Box::new(move |world| view.writes(&vault_id, world)),
    })
}

fn result(report: &CheckReport, read_data: bool) -> Value {
    json!({
        "ok": report.problems.is_empty(),
        "readData": read_data,
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
