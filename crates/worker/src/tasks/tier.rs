//! Moves recovery points to the archive tier, as their policy asks. There is none yet, so the points
//! stay where they are, and the job says so of each. It needs the vault's key as a move does, and fails
//! as visibly without it (rules 62–64, bettered).

use custody_protection::ChosenPoints;
use custody_resources::Refusal;
use serde::Deserialize as _;
use serde_json::json;

use super::expire;
use crate::error::{ARCHIVE_TIER_ABSENT, TaskError};
use crate::job::Job;
use crate::runner::Outcome;
use crate::vault_repository::item_guid;

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let item = job.item()?;
    let input = ChosenPoints::deserialize(&job.operation.task.input)
        .map_err(|error| Refusal::bug(error.to_string()))?;
    job.phase("unlock")?;
    let (vault, session) = job.open_vault()?;
    let repository = session.repository(job.platform, &vault)?;
    job.phase("tier")?;
    let own = item_guid(item.status.item_id);
    let staying = expire::standing(&*repository.history()?, own, &input);
    for point in &staying {
        job.check()?;
        let message = format!(
            "there is no archive tier here yet: the recovery point {point} stays in the vault until \
             it expires"
        );
        job.warn(ARCHIVE_TIER_ABSENT, b"", &message);
    }
    let staying: Vec<String> = staying.iter().map(ToString::to_string).collect();
    Ok(Outcome::only(json!({ "moved": [], "staying": staying })))
}
