//! A running job: its progress, its warnings, and whether somebody asked it to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use custody_backup_vaults::Vault;
use custody_entries::display_path;
use custody_names::{OperationId, ResourceId};
use custody_protection::Item;
use custody_resources::{Operation, OperationState, Progress, Refusal};
use serde_json::{Value, json};

use crate::error::TaskError;
use crate::key_access::Cause;
use crate::tasks::follow_newest;
use crate::vault_session::VaultSession;
use crate::{Platform, fault};

/// Warnings listed with a job; all of them are counted.
const WARNINGS_LISTED_MAX: usize = 200;
/// How often progress is stored, and a request to stop noticed.
const STORED_EVERY: Duration = Duration::from_millis(250);

/// What a task sees of its own job.
pub(crate) struct Job<'p> {
    /// Where it runs.
    pub(crate) platform: &'p Arc<Platform>,
    /// The operation as it was begun.
    pub(crate) operation: Operation,
    stop: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    progress: Progress,
    stored_at: Duration,
    warnings: Vec<Value>,
    warning_count: u64,
    log: Vec<String>,
}

impl<'p> Job<'p> {
    pub(crate) fn new(platform: &'p Arc<Platform>, operation: Operation) -> Self {
        let stop = AtomicBool::new(operation.state == OperationState::Cancelling);
        Self { platform, operation, stop, state: Mutex::default() }
    }

    pub(crate) fn id(&self) -> OperationId {
        self.operation.id
    }

    pub(crate) fn resource(&self) -> &ResourceId {
        &self.operation.resource
    }

    /// What ties requests to the key vault to this job.
    pub(crate) fn cause(&self) -> Cause {
        Cause { job: Some(self.operation.id), ..Cause::of(self.operation.correlation) }
    }

    /// The vault that the job works on: its resource, or the vault of the item that is.
    pub(crate) fn vault(&self) -> Result<Vault, Refusal> {
        self.platform.vault_of(self.resource())
    }

    /// The vault opened for this job, rewrapped first if its key has a newer version to follow.
    pub(crate) fn open_vault(&self) -> Result<(Vault, VaultSession), TaskError> {
        let vault = self.vault()?;
        vault.require_usable()?;
        let vault = follow_newest(self, vault)?;
        let session = VaultSession::open(self.platform, &vault, self.cause())?;
        for refused in &session.refused {
            let message = format!("it is not used: {}", refused.error);
            self.warn(refused.error.code(), refused.object().as_bytes(), &message);
        }
        Ok((vault, session))
    }

    /// The item that the job works on: its resource, or the item of the point that is.
    pub(crate) fn item(&self) -> Result<Item, Refusal> {
        self.platform.item_of(self.resource())
    }

    /// The flag that long loops look at.
    pub(crate) fn stop_flag(&self) -> &AtomicBool {
        &self.stop
    }

    /// Ends the task if somebody asked for it.
    pub(crate) fn check(&self) -> Result<(), TaskError> {
        if self.stop.load(Ordering::Relaxed) { Err(TaskError::Cancelled) } else { Ok(()) }
    }

    /// Names what is being done now.
    pub(crate) fn phase(&self, phase: &str) -> Result<(), TaskError> {
        let text = format!("{} {phase}", self.platform.clock.now());
        {
            let mut state = self.lock();
            state.log.push(text);
            phase.clone_into(&mut state.progress.phase);
        }
        self.store_progress()?;
        self.check()
    }

    /// Changes the progress; a new phase is stored at once, the rest a few times a second at most.
    pub(crate) fn report(&self, change: impl FnOnce(&mut Progress)) {
        let due = {
            let mut state = self.lock();
            let before = state.progress.phase.clone();
            change(&mut state.progress);
            let new_phase = state.progress.phase != before;
            new_phase
                || self.platform.clock.since_boot().saturating_sub(state.stored_at) >= STORED_EVERY
        };
        if due {
            // Progress that cannot be stored is no reason to fail; the end of the job will be.
            let _ = self.store_progress();
        }
    }

    /// Keeps a warning for the job's record.
    pub(crate) fn warn(&self, code: &str, path: &[u8], message: &str) {
        let mut state = self.lock();
        state.warning_count += 1;
        if state.warnings.len() < WARNINGS_LISTED_MAX {
            state.warnings.push(json!({
                "code": code,
                "path": display_path(path),
                "message": message,
            }));
        }
    }

    /// Counts warnings that the engine counted but did not list.
    pub(crate) fn count_to(&self, total: u64) {
        let mut state = self.lock();
        state.warning_count = state.warning_count.max(total);
    }

    /// How many warnings there are.
    pub(crate) fn warning_count(&self) -> u64 {
        self.lock().warning_count
    }

    /// The progress as last reported.
    pub(crate) fn progress(&self) -> Progress {
        self.lock().progress.clone()
    }

    /// Adds warnings and log to what the task found.
    pub(crate) fn with_notes(&self, mut result: Value) -> Value {
        let state = self.lock();
        if !result.is_object() {
            result = json!({});
        }
        if let Some(all) = result.as_object_mut() {
            // File names are the customer's data: they stay in the job's sealed warnings in the
            // repository; here they are named only while the job's process lives.
            all.insert("warningCount".into(), state.warning_count.into());
            all.insert("log".into(), json!(state.log));
        }
        result
    }

    fn store_progress(&self) -> Result<(), TaskError> {
        let progress = {
            let mut state = self.lock();
            state.stored_at = self.platform.clock.since_boot();
            state.progress.clone()
        };
        let stored = self.platform.records.update_operation(
            self.id(),
            &self.platform.owner,
            &mut |_world, operation| {
                operation.progress = progress.clone();
                Ok(Vec::new())
            },
        );
        match stored {
            Ok(tracked) => {
                if tracked.operation.state == OperationState::Cancelling {
                    self.stop.store(true, Ordering::Relaxed);
                }
                self.platform.announce();
                Ok(())
            }
            Err(error) => Err(TaskError::Failed(fault::of_apply(error))),
        }
    }

    /// The warnings as the job shows them while its process lives.
    pub(crate) fn warnings(&self) -> Vec<Value> {
        self.lock().warnings.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
