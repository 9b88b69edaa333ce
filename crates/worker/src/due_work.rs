//! What items and vaults ask to have done by themselves: backups by their policies' schedules, the
//! expiry of their points and their way to the archive tier, the end of items that were deleted long
//! enough ago, and the prune of what all these held. Each is an operation like one that somebody asked
//! for, so what fails is a failed job and never silent (rule 64, bettered).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use custody_ambient::Timestamp;
use custody_backup_vaults::{TASK_PRUNE, Vault, VaultStatus};
use custody_names::{CorrelationId, OperationId, ResourceId};
use custody_protection::{
    Aging, BackupInput, BackupPolicy, ChosenPoints, DataProtectionPolicy, Item, Point, Policy,
    Protection, TASK_BACKUP, TASK_EXPIRE, TASK_FORGET, TASK_TIER, points_of,
};
use custody_record_store::OperationFilter;
use custody_resources::{
    ActivityEvent, ActivityStatus, Caller, Kind as _, Operation, OperationState, Progress,
    ProvisioningState, Refusal, Stop, Task, World, Write,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::following::PLATFORM_NAME;
use crate::{Housekeeping, Platform, fault};

/// How often points are looked at for expired ones, and the least time between two tries to give up
/// those of one item.
const EXPIRY_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// The least time between two tries to move the points of one item to the archive tier.
const TIERING_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// The least time between two prunes of a vault that the platform begins: each reads what every folder
/// of every point needs. What share of waste is worth copying the rest for is the prune's to decide
/// ([`custody_repository::prune_plan::PruneOptions`]).
const PRUNE_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// Unfinished operations that are looked at before a vault is pruned.
const UNFINISHED_LOOKED_AT: usize = 1_000;
/// So many scheduled operations run at once; the others wait their turn.
const AT_ONCE: usize = 2;

/// What waits to be run, and by how many threads it is.
#[derive(Default)]
pub(crate) struct DueWork {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    expiry_looked_at: Option<Timestamp>,
    waiting: VecDeque<OperationId>,
    threads: usize,
}

/// What an item or a vault has due.
enum Due {
    /// A backup, by the schedule's time.
    Backup(Timestamp),
    /// The expiry of these points.
    Expire(Vec<String>),
    /// The move of these points to the archive tier.
    Tier(Vec<String>),
    /// The prune of a vault.
    Prune,
    /// The end of the time for which it was kept.
    Purge,
}

impl Platform {
    /// Begins what is due by now; what gives something up only if the clock is `believed`. Deleted
    /// items are gone when this returns; backups and expiries go on after it, a few at once.
    pub(crate) fn begin_due_work(self: &Arc<Self>, believed: bool, done: &mut Housekeeping) {
        let due = match self.due_work(believed, &mut done.problems) {
            Ok(due) => due,
            Err(problem) => return done.problems.push(problem),
        };
        for (item, due) in due {
            match self.begin_one(&item, &due) {
                Ok(Some(operation)) if matches!(due, Due::Purge) => {
                    self.carry_out(operation);
                    done.purged_items += 1;
                }
                Ok(Some(operation)) => {
                    self.run_in_turn(operation);
                    done.scheduled += 1;
                }
                // Another process was faster, or the item changed meanwhile.
                Ok(None) => {}
                Err(problem) => done.problems.push(problem),
            }
        }
    }

    fn due_work(
        &self,
        believed: bool,
        problems: &mut Vec<Refusal>,
    ) -> Result<Vec<(ResourceId, Due)>, Refusal> {
        let now = self.clock.now();
        let looks_at_points = believed && {
            let mut state = self.due_work.state.lock().unwrap_or_else(PoisonError::into_inner);
            let looked = state.expiry_looked_at;
            let due = looked.is_none_or(|looked| now.duration_since(looked) >= EXPIRY_EVERY);
            if due {
                state.expiry_looked_at = Some(now);
            }
            due
        };
        let Gathered { mut due, unreadable, aging, wasteful } =
            self.look(|world| gather(now, looks_at_points, world))?;
        problems.extend(unreadable);
        due.retain(|(_, due)| believed || matches!(due, Due::Backup(_)));
        for (item, policy) in aging {
            // One item's points at a time: there may be very many in all.
            let points = self.look(|world| points_of(&item, world))?;
            let mut points: Vec<Aging> = points.iter().map(aging_of).collect();
            let expired = policy.retention.expired(&points, now);
            points.retain(|point| !expired.contains(&point.id));
            let moving = policy.tiering.due(&points, now);
            if !expired.is_empty() {
                due.push((item.clone(), Due::Expire(expired)));
            }
            if !moving.is_empty() {
                due.push((item, Due::Tier(moving)));
            }
        }
        for vault in wasteful {
            let backed_up = due.iter().any(|(of, due)| {
                matches!(due, Due::Backup(_)) && Vault::around(of).as_ref() == Some(&vault)
            });
            if !backed_up && !self.is_busy(&vault)? {
                due.push((vault, Due::Prune));
            }
        }
        Ok(due)
    }

    /// Whether anything is done in the vault: a prune would wait for it, and keep others waiting.
    fn is_busy(&self, vault: &ResourceId) -> Result<bool, Refusal> {
        let found = self.records.operations(&OperationFilter::Unfinished, UNFINISHED_LOOKED_AT);
        let found = found.map_err(|error| fault::of_store(&error))?;
        Ok(found.iter().any(|tracked| vault.contains(&tracked.operation.resource)))
    }

    /// Begins one piece of work, unless what it is for is another by now.
    fn begin_one(&self, of: &ResourceId, due: &Due) -> Result<Option<OperationId>, Refusal> {
        let now = self.clock.now();
        let entropy = self.entropy.as_ref();
        let minted = |error: custody_ambient::EntropyUnavailable| Refusal::bug(error.to_string());
        let id = OperationId::mint(entropy).map_err(minted)?;
        let correlation = CorrelationId::mint(entropy).map_err(minted)?;
        let tenant = self.tenant_around(of)?;
        let caller = Caller { name: PLATFORM_NAME.to_owned(), tenant, ..self.administrator() };
        let mut begun = false;
        let applied = self.records.apply(&mut |world| {
            let Some(changed) = taken_on(of, due, now, world)? else {
                begun = false;
                return Ok(Vec::new());
            };
            begun = true;
            let (task, verb) = task(due)?;
            let asked = format!("{}/{verb}", of.resource_type());
            let event = ActivityEvent::started(now, &caller.name, &asked, of.clone(), correlation);
            let accepted = event.then(ActivityStatus::Accepted, 202);
            let operation = Operation {
                id,
                resource: of.clone(),
                task,
                asked: Some(asked),
                state: OperationState::Queued,
                caller: caller.clone(),
                correlation,
                created: now,
                ended: None,
                owner: self.owner.clone(),
                progress: Progress::default(),
                result: Value::Null,
                error: None,
            };
            Ok(vec![
                changed,
                Write::Operation(Box::new(operation)),
                Write::Activity(event),
                Write::Activity(accepted),
            ])
        });
        applied.map_err(fault::of_apply)?;
        Ok(begun.then_some(id))
    }

    /// Runs an operation as soon as fewer than so many others run.
    fn run_in_turn(self: &Arc<Self>, operation: OperationId) {
        let mut state = self.due_work.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.push_back(operation);
        if state.threads >= AT_ONCE {
            return;
        }
        let platform = Arc::clone(self);
        let begun = thread::Builder::new().name("due-work".into()).spawn(move || {
            while let Some(next) = platform.next_in_turn() {
                platform.carry_out(next);
            }
        });
        // Without a thread it waits for the next round's.
        if let Ok(thread) = begun {
            state.threads += 1;
            drop(state);
            self.remember_thread(thread);
        }
    }

    fn next_in_turn(&self) -> Option<OperationId> {
        let mut state = self.due_work.state.lock().unwrap_or_else(PoisonError::into_inner);
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.threads -= 1;
        }
        next
    }
}

/// What a look at all items found.
struct Gathered {
    due: Vec<(ResourceId, Due)>,
    /// Policies that cannot be read.
    unreadable: Vec<Refusal>,
    /// Items whose points are to be looked at, and the policy of each.
    aging: Vec<(ResourceId, Policy)>,
    /// Vaults in which points were given up since they were last pruned.
    wasteful: Vec<ResourceId>,
}

fn gather(now: Timestamp, looks_at_points: bool, world: &World) -> Result<Gathered, Stop> {
    let root = ResourceId::root();
    let mut found = Gathered {
        due: Vec::new(),
        unreadable: Vec::new(),
        aging: Vec::new(),
        wasteful: Vec::new(),
    };
    let mut policies = HashMap::new();
    for kind in [BackupPolicy::TYPE, DataProtectionPolicy::TYPE] {
        for record in world.below(&root, kind)? {
            match Policy::read(record) {
                Ok(policy) => {
                    let since = record.system.last_modified_at;
                    policies.insert(record.id.canonical(), (policy, since));
                }
                Err(refusal) => found.unreadable.push(Refusal {
                    message: format!("{}: {}", record.id, refusal.message),
                    ..refusal
                }),
            }
        }
    }
    for item in Item::below(&root, world)? {
        let status = &item.status;
        let id = item.record.id.clone();
        if let Some(deletion) = &status.deletion {
            if deletion.purge_at <= now {
                found.due.push((id, Due::Purge));
            }
            continue;
        }
        let policy = item.policy.as_ref().and_then(|policy| policies.get(&policy.canonical()));
        if let Some((policy, since)) = policy.filter(|_| status.protection == Protection::Active) {
            let from = status.scheduled_until.unwrap_or(item.record.system.created_at);
            if let Some(time) = policy.schedule.due(from.max(*since), now) {
                found.due.push((id.clone(), Due::Backup(time)));
            }
        }
        if looks_at_points && status.protection != Protection::Stopped {
            let policy = policy.map(|(policy, _)| policy.clone()).unwrap_or_default();
            found.aging.push((id, policy));
        }
    }
    if looks_at_points {
        let vaults = Vault::below(&root, world)?;
        let wasteful = vaults.into_iter().filter(|vault| wastes_space(&vault.status, now));
        found.wasteful = wasteful.map(|vault| vault.record.id).collect();
    }
    Ok(found)
}

/// Whether points were given up in a vault that was not to be pruned a while ago already.
fn wastes_space(vault: &VaultStatus, now: Timestamp) -> bool {
    let tried = vault.prune_tried_at;
    vault.given_up_points > 0
        && vault.keyring.is_some()
        && tried.is_none_or(|tried| now.duration_since(tried) >= PRUNE_EVERY)
}

fn aging_of(point: &Point) -> Aging {
    Aging {
        id: point.record.id.name().unwrap_or_default().to_owned(),
        taken: point.status.recovery_point_time,
        keep_until: point.status.keep_until,
    }
}

/// What the work is for as it is when it has begun; none if there is nothing to begin any more.
fn taken_on(
    id: &ResourceId,
    due: &Due,
    now: Timestamp,
    world: &World,
) -> Result<Option<Write>, Stop> {
    let Some(record) = world.record(id)? else { return Ok(None) };
    if record.state == ProvisioningState::Deleting {
        return Ok(None);
    }
    if matches!(due, Due::Prune) {
        let mut vault = Vault::read(record)?;
        let goes_on = wastes_space(&vault.status, now) && vault.require_usable().is_ok();
        vault.status.prune_tried_at = Some(now);
        return if goes_on { Ok(Some(vault.into_write()?)) } else { Ok(None) };
    }
    let mut item = Item::read(record)?;
    let status = &mut item.status;
    let keeps_going = status.deletion.is_none() && status.protection != Protection::Stopped;
    let goes_on = match due {
        Due::Backup(time) => {
            let first = status.scheduled_until.is_none_or(|until| until < *time);
            status.scheduled_until = Some(*time);
            first && status.takes_backups().is_ok()
        }
        Due::Expire(_) => {
            keeps_going && tried_long_ago(&mut status.expiry_tried_at, EXPIRY_EVERY, now)
        }
        Due::Tier(_) => {
            keeps_going && tried_long_ago(&mut status.tiering_tried_at, TIERING_EVERY, now)
        }
        Due::Purge => {
            item.record.state = ProvisioningState::Deleting;
            let deletion = status.deletion.as_ref();
            deletion.is_some_and(|deletion| deletion.purge_at <= now)
                && tried_long_ago(&mut status.expiry_tried_at, EXPIRY_EVERY, now)
        }
        Due::Prune => false,
    };
    if goes_on { Ok(Some(item.into_write()?)) } else { Ok(None) }
}

/// Whether it was not tried a while ago already, so that what keeps failing is not tried by every
/// round; from now on it was.
fn tried_long_ago(tried: &mut Option<Timestamp>, every: SignedDuration, now: Timestamp) -> bool {
    tried.replace(now).is_none_or(|tried| now.duration_since(tried) >= every)
}

/// The task, and what the activity log calls it after the type.
fn task(due: &Due) -> Result<(Task, &'static str), Refusal> {
    let (name, input, verb) = match due {
        Due::Backup(_) => {
            (TASK_BACKUP, serde_json::to_value(BackupInput::default()), "backup/action")
        }
        Due::Expire(points) => {
            let input = ChosenPoints { points: points.clone() };
            (TASK_EXPIRE, serde_json::to_value(input), "forget/action")
        }
        Due::Tier(points) => {
            let input = ChosenPoints { points: points.clone() };
            (TASK_TIER, serde_json::to_value(input), "tier/action")
        }
        Due::Prune => (TASK_PRUNE, Ok(json!({})), "prune/action"),
        Due::Purge => (TASK_FORGET, Ok(json!({ "deleteItem": true })), "delete"),
    };
    let input = input.map_err(|error| Refusal::bug(error.to_string()))?;
    Ok((Task { name: name.into(), input }, verb))
}
