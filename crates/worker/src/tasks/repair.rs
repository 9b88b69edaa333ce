//! Mends the ring's copies and makes the records' view of the points agree with the repository. Deletes
//! nothing.

use serde_json::{Value, json};

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;
use crate::vault_session::VaultSession;
use crate::view::PointsView;

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let accept_head = job.operation.task.input.get("acceptHead") == Some(&Value::Bool(true));
    job.phase("unlock")?;
    let mut vault = job.vault()?;
    if accept_head {
        vault.status.log_head = None;
    }
    // Opening the vault mends the ring's copies.
    let session = VaultSession::open(job.platform, &vault, job.cause())?;
    let repository = session.repository(job.platform, &vault)?;
    job.phase("repair")?;
    let view = PointsView::read(&repository)?.accepting_head(accept_head);
    let points = view.len();
    let vault_id = vault.record.id.clone();
    Ok(Outcome {
        result: json!({ "recoveryPoints": points }),
        writes: Box::new(move |world| view.writes(&vault_id, world)),
    })
}
