//! Operations whose process is gone: found at the next start, wound up without a manual step.
//!
//! A process names itself by boot, process id and start time, so that a later process on the same
//! machine can prove it dead. What it was doing is failed cleanly; the repository's own log fences
//! what it had begun there (docs/formats/repository-log.md).

use std::sync::Arc;

use custody_names::ResourceId;
use custody_record_store::{OperationFilter, TrackedOperation};
use custody_repository::log::{HostFacts, HostProbe as _, Liveness, LogError, ProcHost};
use custody_resources::{OperationState, Refusal, Write};
use data_encoding::HEXLOWER;

use crate::error::{INTERRUPTED, StartError, part};
use crate::vault_repository::keyless_log;
use crate::view::PointsView;
use crate::{Platform, fault, tasks};

/// Most unfinished operations looked at in one start.
const ORPHANS_MAX: usize = 10_000;

/// This process as operations name it.
pub(crate) fn this_process() -> Result<String, LogError> {
    let HostFacts { boot_id, process_id, process_start_ticks, process_name_space } =
        ProcHost.own_facts()?;
    let boot = HEXLOWER.encode(&boot_id);
    Ok(format!("{boot}:{process_id}:{process_start_ticks}:{process_name_space}"))
}

/// Fails what dead processes left unfinished, and leaves their records usable.
pub(crate) fn wind_up(platform: &Arc<Platform>) -> Result<(), StartError> {
    let unfinished = platform
        .records
        .operations(&OperationFilter::Unfinished, ORPHANS_MAX)
        .map_err(|error| part(error.code(), &error))?;
    for tracked in unfinished {
        if is_dead(&tracked.operation.owner) {
            wind_up_one(platform, &tracked).map_err(|refusal| StartError::refused(&refusal))?;
        }
    }
    Ok(())
}

fn wind_up_one(platform: &Platform, tracked: &TrackedOperation) -> Result<(), Refusal> {
    let operation = &tracked.operation;
    let taken = platform
        .records
        .take_over(operation.id, &operation.owner, &platform.owner)
        .map_err(|error| fault::of_store(&error))?;
    if !taken {
        return Ok(());
    }
    agree_with_log(platform, &operation.resource);
    let now = platform.clock.now();
    let text =
        "the process that carried it out ended before it was done; nothing committed is lost";
    let stored = platform.records.update_operation(
        operation.id,
        &platform.owner,
        &mut |world, operation| {
            operation.state = OperationState::Failed;
            operation.ended = Some(now);
            operation.error =
                Some(Refusal::new(409, INTERRUPTED, text).with_fix("run the same command again"));
            let mut writes = tasks::undo(operation, world)?;
            writes.extend(operation.last_event(now).map(Write::Activity));
            Ok(writes)
        },
    );
    stored.map(drop).map_err(fault::of_apply)
}

/// Makes the records' points those of the repository's log, which may have gone further than the
/// dead process could tell. A repository that cannot be read now is left to `repair`.
fn agree_with_log(platform: &Platform, resource: &ResourceId) {
    let Ok(vault) = platform.vault_of(resource) else { return };
    if vault.status.keyring.is_none() {
        // What an attempt to make the vault left of its repository is cleared away by the next.
        return;
    }
    let Ok(log) = keyless_log(platform, &vault) else { return };
    let view = PointsView::of_log(&log.history());
    let id = vault.record.id;
    // Records that changed meanwhile are brought to agree by the job that changed them.
    let _ = platform.records.apply(&mut |world| view.writes(&id, world));
}

/// Whether the process is provably gone: another boot of this machine, or no such process.
pub(crate) fn is_dead(owner: &str) -> bool {
    let Some(facts) = facts_of(owner) else { return false };
    let rebooted = ProcHost.own_facts().is_ok_and(|own| own.boot_id != facts.boot_id);
    rebooted || ProcHost.liveness(&facts) == Liveness::Dead
}

fn facts_of(owner: &str) -> Option<HostFacts> {
    let mut parts = owner.split(':');
    Some(HostFacts {
        boot_id: HEXLOWER.decode(parts.next()?.as_bytes()).ok()?.try_into().ok()?,
        process_id: parts.next()?.parse().ok()?,
        process_start_ticks: parts.next()?.parse().ok()?,
        process_name_space: parts.next()?.parse().ok()?,
    })
}
