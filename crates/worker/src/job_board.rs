//! What is known of a running job: its progress, its warnings, what it waits for, and whether
//! somebody asked it to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use custody_backup_vaults::{Finding, Vault};
use custody_entries::display_path;
use custody_envelope::{EnvelopeError, LeaseEnd};
use custody_names::{OperationId, ResourceId};
use custody_resources::{Operation, OperationState, Progress, Waiting};
use serde_json::{Value, json};

use crate::error::{CANCELLED, INTERRUPTED, TaskError};
use crate::{Platform, fault, keks};

/// Warnings listed with a job; all of them are counted.
const WARNINGS_LISTED_MAX: usize = 200;
/// How often progress is stored, and a request to stop noticed.
const STORED_EVERY: Duration = Duration::from_millis(250);

/// Where a job's threads write down how far they are.
pub(crate) struct Board {
    platform: Arc<Platform>,
    id: OperationId,
    vault: Option<ResourceId>,
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

impl Board {
    pub(crate) fn of(platform: &Arc<Platform>, operation: &Operation) -> Self {
        Self {
            platform: Arc::clone(platform),
            id: operation.id,
            vault: Vault::around(&operation.resource),
            stop: AtomicBool::new(operation.state == OperationState::Cancelling),
            state: Mutex::default(),
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_phase(&self, phase: &str) -> Result<(), TaskError> {
        self.log(phase);
        phase.clone_into(&mut self.lock().progress.phase);
        self.store_progress()
    }

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

    /// Shows that the job waits for its key vault, and since when and why; raises the vault's alert.
    pub(crate) fn pauses(&self, reason: &LeaseEnd) {
        let LeaseEnd { code, message, .. } = reason;
        let begins = {
            let mut state = self.lock();
            let (code, message) = ((*code).to_owned(), message.clone());
            let since = state.progress.waiting.as_ref().map(|waiting| waiting.since);
            let now = self.platform.clock.now();
            let since_now = since.unwrap_or(now);
            state.progress.waiting = Some(Waiting { since: since_now, code, message });
            since.is_none()
        };
        if begins {
            self.log(&format!("waits for its key vault: {message}"));
            let error = EnvelopeError::LeaseEnded { reason: reason.clone() };
            if keks::says_key_is_lost(code) {
                self.note_alert(Some(&fault::of_envelope(&error)));
            }
        }
        let _ = self.store_progress();
    }

    /// Shows that the keys are back.
    pub(crate) fn goes_on(&self) {
        if self.lock().progress.waiting.take().is_none() {
            return;
        }
        self.log("the key vault answers again");
        self.note_alert(None);
        let _ = self.store_progress();
    }

    /// Why a job that waits is to wait no longer: somebody cancelled it, or the server stops.
    pub(crate) fn why_to_stop(&self) -> Option<LeaseEnd> {
        // One that cannot be read is looked at again a moment later.
        if let Ok(Some(tracked)) = self.platform.records.operation(self.id)
            && tracked.operation.state == OperationState::Cancelling
        {
            self.stop.store(true, Ordering::Relaxed);
        }
        if self.is_stopped() {
            let message = "the job was cancelled".to_owned();
            return Some(LeaseEnd { code: CANCELLED, message, retryable: false });
        }
        self.platform.is_stopping().then(|| {
            let message = "the server was stopped while the job waited for its key vault; nothing \
                           committed is lost";
            LeaseEnd { code: INTERRUPTED, message: message.to_owned(), retryable: true }
        })
    }

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

    pub(crate) fn count_to(&self, total: u64) {
        let mut state = self.lock();
        state.warning_count = state.warning_count.max(total);
    }

    pub(crate) fn warning_count(&self) -> u64 {
        self.lock().warning_count
    }

    pub(crate) fn progress(&self) -> Progress {
        self.lock().progress.clone()
    }

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

    pub(crate) fn warnings(&self) -> Vec<Value> {
        self.lock().warnings.clone()
    }

    fn note_alert(&self, failure: Option<&custody_resources::Refusal>) {
        // An alert that cannot be noted is no reason to give the job up: it shows the same itself.
        if let Some(vault) = &self.vault {
            let _ = self.platform.note_key_finding(vault, failure, Finding::Pause);
        }
    }

    fn log(&self, what: &str) {
        let text = format!("{} {what}", self.platform.clock.now());
        self.lock().log.push(text);
    }

    fn store_progress(&self) -> Result<(), TaskError> {
        let progress = {
            let mut state = self.lock();
            state.stored_at = self.platform.clock.since_boot();
            state.progress.clone()
        };
        let stored = self.platform.records.update_operation(
            self.id,
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
