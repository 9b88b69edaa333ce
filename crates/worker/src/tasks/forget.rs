//! Gives up recovery points, by name or by a retention rule. Needs no key: what is appended to the
//! repository's log is signed by this server and confirmed at the next unwrap (DESIGN §5).

use std::time::Duration;

use custody_names::ResourceId;
use custody_protection::{ForgetRequest, Item};
use custody_repository::log::{ForgetReason, History, ItemGuid, ObjectId};
use custody_repository::retention::{Candidate, RetentionPolicy};
use custody_resources::{Refusal, Stop, World, Write};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::error::TaskError;
use crate::job::Job;
use crate::runner::Outcome;
use crate::vault_repository::{item_guid, keyless_log, note_head};

/// The days that a rule counts in.
const DAY: Duration = Duration::from_hours(24);

/// What a forget would do.
pub(crate) struct Choice {
    /// Points that stay, each with its reasons.
    pub(crate) keep: Vec<(ObjectId, i64, Vec<String>)>,
    /// Points that go.
    pub(crate) forget: Vec<(ObjectId, i64)>,
}

impl Choice {
    /// As clients see it.
    pub(crate) fn render(&self) -> Value {
        let time = |ms: &i64| Timestamp::from_millisecond(*ms).ok();
        json!({
            "keep": self.keep.iter().map(|(point, ms, reasons)| json!({
                "point": point.to_string(), "time": time(ms), "reasons": reasons,
            })).collect::<Vec<_>>(),
            "forget": self.forget.iter().map(|(point, ms)| json!({
                "point": point.to_string(), "time": time(ms),
            })).collect::<Vec<_>>(),
        })
    }
}

pub(super) fn run(job: &Job<'_>) -> Result<Outcome, TaskError> {
    let item = job.item()?;
    let vault = job.vault()?;
    let delete_item = job.operation.task.input.get("deleteItem") == Some(&Value::Bool(true));
    job.phase("forget")?;
    let log = keyless_log(job.platform, &vault)?;
    let history = log.history();
    let own = item_guid(item.status.item_id);
    let choice = if delete_item {
        Choice { keep: Vec::new(), forget: of_item(&history, own) }
    } else {
        let asked = ForgetRequest::deserialize(&job.operation.task.input)
            .map_err(|error| Refusal::bug(error.to_string()))?;
        choose(&history, own, &asked, job.platform.clock.now())?
    };
    let why = if delete_item { ForgetReason::ItemDeleted } else { ForgetReason::Requested };
    let mut head = history.head();
    for (point, _) in &choice.forget {
        job.check()?;
        head = Some(log.forget(*point, why).map_err(custody_repository::RepositoryError::from)?);
    }
    let (item_id, vault_id) = (item.record.id.clone(), vault.record.id.clone());
    let gone: Vec<String> = choice.forget.iter().map(|(point, _)| point.to_string()).collect();
    Ok(Outcome {
        result: choice.render(),
        writes: Box::new(move |world| {
            let mut writes = if delete_item {
                vec![Write::Remove(item_id.clone())]
            } else {
                remove(&item_id, &gone, world)?
            };
            if let Some(head) = head {
                let mut vault = custody_backup_vaults::Vault::expect(&vault_id, world)?;
                note_head(&mut vault.status, head);
                let waste = &mut vault.status.given_up_points;
                *waste = waste.saturating_add(gone.len() as u64);
                writes.push(vault.into_write()?);
            }
            Ok(writes)
        }),
    })
}

/// Which of an item's points stay and which go.
pub(crate) fn choose(
    history: &History,
    item: ItemGuid,
    asked: &ForgetRequest,
    now: Timestamp,
) -> Result<Choice, Refusal> {
    let points = of_item(history, item);
    if !asked.points.is_empty() {
        return by_name(points, &asked.points);
    }
    let count = |asked: Option<u32>| asked.unwrap_or(0);
    let policy = RetentionPolicy {
        last: count(asked.keep_last),
        hourly: count(asked.keep_hourly),
        daily: count(asked.keep_daily),
        weekly: count(asked.keep_weekly),
        monthly: count(asked.keep_monthly),
        yearly: count(asked.keep_yearly),
        within: asked.keep_within_days.map(|days| DAY.saturating_mul(days)),
    };
    let candidates: Vec<Candidate> = points
        .iter()
        .map(|(point, ms)| Candidate { point: *point, received: moment(*ms) })
        .collect();
    let mut choice = Choice { keep: Vec::new(), forget: Vec::new() };
    for decision in policy.select(&candidates, now, &TimeZone::UTC) {
        let received = decision.received.as_millisecond();
        if decision.kept_because.is_empty() {
            choice.forget.push((decision.point, received));
        } else {
            let reasons = decision.kept_because.iter().map(ToString::to_string);
            choice.keep.push((decision.point, received, reasons.collect()));
        }
    }
    Ok(choice)
}

fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

fn by_name(points: Vec<(ObjectId, i64)>, wanted: &[String]) -> Result<Choice, Refusal> {
    for name in wanted {
        let hits = points.iter().filter(|(point, _)| point.to_string().starts_with(name)).count();
        if hits != 1 || name.len() < 4 {
            let text =
                format!("{name} names {hits} recovery points of the item; give the whole id");
            return Err(Refusal::new(404, "PointNotFound", text).with_fix("custody points ITEM"));
        }
    }
    let named = |point: &ObjectId| {
        let text = point.to_string();
        wanted.iter().any(|name| text.starts_with(name))
    };
    let (forget, keep): (Vec<_>, Vec<_>) = points.into_iter().partition(|(point, _)| named(point));
    let keep = keep.into_iter().map(|(point, ms)| (point, ms, vec!["not named".to_owned()]));
    Ok(Choice { keep: keep.collect(), forget })
}

fn of_item(history: &History, item: ItemGuid) -> Vec<(ObjectId, i64)> {
    let own = history.points().iter().filter(|(_, point)| point.item == item);
    own.map(|(name, point)| (*name, point.received_ms)).collect()
}

fn remove(item: &ResourceId, gone: &[String], world: &World) -> Result<Vec<Write>, Stop> {
    let mut writes = Vec::new();
    let mut newest = None;
    let mut item = Item::expect(item, world)?;
    for point in item.points(world)? {
        if gone.iter().any(|name| point.record.id.name() == Some(name)) {
            writes.push(Write::Remove(point.record.id));
        } else {
            newest = newest.max(Some(point.status.recovery_point_time));
        }
    }
    item.status.newest_point_time = newest;
    writes.push(item.into_write()?);
    Ok(writes)
}
