//! Gives up recovery points that nothing keeps any more. By itself, so not without the vault's key:
//! who took the key away means that nothing goes on here, and the job that fails says so while the
//! points stay (rules 62–64, bettered). Somebody who asks for it gives points up without a key.

use custody_protection::ChosenPoints;
use custody_repository::log::{ForgetReason, History, ItemGuid, ObjectId};
use custody_resources::Refusal;
use serde::Deserialize as _;
use serde_json::json;

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;
use crate::vault_repository::item_guid;
use crate::view::PointsView;

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let item = job.item()?;
    let input = ChosenPoints::deserialize(&job.operation.task.input)
        .map_err(|error| Refusal::bug(error.to_string()))?;
    job.phase("unlock")?;
    let (vault, session) = job.open_vault()?;
    let repository = session.repository(job.platform, &vault)?;
    job.phase("expire")?;
    let log = repository.log()?;
    let own = item_guid(item.status.item_id);
    let gone = standing(&log.history(), own, &input);
    for point in &gone {
        job.check()?;
        log.forget(*point, ForgetReason::Expired)
            .map_err(custody_repository::RepositoryError::from)?;
    }
    let view = PointsView::of_log(&log.history());
    let vault_id = vault.record.id.clone();
    let expired: Vec<String> = gone.iter().map(ToString::to_string).collect();
    Ok(Outcome {
        result: json!({ "expired": expired }),
        writes: Box::new(move |world| view.writes(&vault_id, world)),
    })
}

/// Those of the chosen points of an item that stand: one that somebody gave up meanwhile is gone.
pub(super) fn standing(history: &History, item: ItemGuid, chosen: &ChosenPoints) -> Vec<ObjectId> {
    let points = history.points().iter();
    points
        .filter(|(name, point)| point.item == item && chosen.points.contains(&name.to_string()))
        .map(|(name, _)| *name)
        .collect()
}
