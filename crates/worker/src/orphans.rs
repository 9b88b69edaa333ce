//! Operations whose process is gone: found at the next start, wound up without a manual step.
//!
//! A process names itself by boot, process id and start time, so that a later process on the same
//! machine can prove it dead. What it was doing is failed cleanly; the repository's own log fences
//! what it had begun there (docs/formats/repository-log.md).

use std::sync::Arc;

use custody_record_store::{OperationFilter, TrackedOperation};
use custody_repository::{HostFacts, HostProbe, ProcHost};
use custody_resources::{OperationState, Refusal};

use crate::error::{StartError, part};
use crate::{Platform, fault, tasks};

/// Most unfinished operations looked at in one start.
const ORPHANS_MAX: usize = 10_000;

/// This process as operations name it.
pub(crate) fn this_process() -> Result<String, std::io::Error> {
    Ok(name(&ProcHost.this_process()?))
}

/// Fails what dead processes left unfinished, and leaves their records usable.
pub(crate) fn wind_up(platform: &Arc<Platform>) -> Result<(), StartError> {
    let unfinished = platform
        .records
        .operations(&OperationFilter::Unfinished, ORPHANS_MAX)
        .map_err(|error| part(error.code(), &error))?;
    for tracked in unfinished {
        if is_dead(&tracked.operation.owner) {
            wind_up_one(platform, &tracked)
                .map_err(|refusal| StartError::refused(&refusal))?;
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
    let now = platform.clock.now();
    let text = "the process that carried it out ended before it was done; nothing committed is lost";
    let stored = platform.records.update_operation(
        operation.id,
        &platform.owner,
        &mut |world, operation| {
            operation.state = OperationState::Failed;
            operation.ended = Some(now);
            operation.error = Some(
                Refusal::new(409, "JobInterrupted", text).with_fix("run the same command again"),
            );
            tasks::undo(operation, world)
        },
    );
    stored.map(drop).map_err(fault::of_apply)
}

fn name(facts: &HostFacts) -> String {
    let HostFacts { boot, process, started, .. } = facts;
    format!("{}:{process}:{started}", data_encoding::HEXLOWER.encode(boot))
}

/// Whether the process is provably gone: another boot of this machine, or no such process.
fn is_dead(owner: &str) -> bool {
    let Ok(own) = ProcHost.this_process() else { return false };
    let mut parts = owner.split(':');
    let (Some(boot), Some(Ok(process)), Some(Ok(started))) = (
        parts.next(),
        parts.next().map(str::parse::<u32>),
        parts.next().map(str::parse::<u64>),
    ) else {
        return false;
    };
    if boot != data_encoding::HEXLOWER.encode(&own.boot) {
        return true;
    }
    !ProcHost.is_alive(process, started)
}
