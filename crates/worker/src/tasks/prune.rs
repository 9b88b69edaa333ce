//! Frees what no recovery point needs.

use std::time::Duration;

use custody_repository::prune_plan::PruneOptions;
use custody_resources::Refusal;
use serde_json::{Value, json};

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;
use crate::view::PointsView;

/// How long a prune waits for backups that began before it. A dead one is told at once.
const PATIENCE: Duration = Duration::from_mins(10);

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let dry_run = job.operation.task.input.get("dryRun") == Some(&Value::Bool(true));
    job.phase("unlock")?;
    let (vault, session) = job.open_vault()?;
    let repository = session.repository(job.platform, &vault)?;
    job.phase("plan")?;
    let options = options(job)?;
    if dry_run {
        let plan = repository.plan_prune(&options, job)?;
        return Ok(Outcome::only(json!({
            "dryRun": true,
            "packsDeleted": plan.delete.len(),
            "packsRewritten": plan.rewrite.len(),
            "packsKept": plan.keep.len(),
            "bytesFreed": plan.freed_bytes,
            "bytesCopied": plan.rewritten_bytes,
            "bytesUnusedLeft": plan.unused_bytes_left,
        })));
    }
    let report = repository.prune(&options, PATIENCE, job)?;
    // What is given up while it runs is left to the next.
    let freed = vault.status.given_up_points;
    let view =
        PointsView::of_log(&*repository.history()?).at_checkpoint(&repository).having_freed(freed);
    let vault_id = vault.record.id.clone();
    Ok(Outcome {
        result: json!({
            "dryRun": false,
            "packsDeleted": report.removed_packs,
            "packsSpared": report.spared_packs,
            "bytesFreed": report.freed_bytes,
            "bytesCopied": report.rewritten_bytes,
            "objectsDeleted": report.removed_objects,
        }),
        writes: Box::new(move |world| view.writes(&vault_id, world)),
    })
}

/// How much waste is left alone.
fn options(job: &Job<'_>) -> Result<PruneOptions, Refusal> {
    let default = PruneOptions::default();
    let asked = job.operation.task.input.get("unusedPercentMax");
    let Some(asked) = asked.filter(|asked| !asked.is_null()) else { return Ok(default) };
    let percent = asked.as_u64().and_then(|percent| u8::try_from(percent).ok());
    let unused_percent_max = percent.filter(|percent| *percent <= 100).ok_or_else(|| {
        Refusal::bad_request("unusedPercentMax: it is a percentage from 0 to 100")
    })?;
    // Who wants no more than so much waste wants packs rewritten for as little.
    let rewrite_unused_percent_min = default.rewrite_unused_percent_min.min(unused_percent_max);
    Ok(PruneOptions { unused_percent_max, rewrite_unused_percent_min, ..default })
}
