//! Carries operations out, each on a thread of its own, and settles what becomes of the record.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use custody_names::OperationId;
use custody_resources::{Operation, OperationState, Progress, Refusal, Stop, World, Write};
use serde_json::Value;

use crate::error::TaskError;
use crate::job::Job;
use crate::{Platform, fault, tasks};

/// What a task achieved.
pub(crate) struct Outcome {
    /// What the job shows.
    pub(crate) result: Value,
    /// What becomes of the records, decided in the transaction that ends the operation.
    pub(crate) writes: Box<Achieved>,
}

/// Decides the writes of an outcome on the records as they are when the operation ends.
pub(crate) type Achieved = dyn Fn(&World) -> Result<Vec<Write>, Stop>;

impl Outcome {
    /// A result that changes no records.
    pub(crate) fn only(result: Value) -> Self {
        Self { result, writes: Box::new(|_| Ok(Vec::new())) }
    }
}

impl Platform {
    /// Begins an operation that this process accepted.
    pub fn begin(self: &Arc<Self>, id: OperationId) {
        let platform = Arc::clone(self);
        let name = format!("operation-{id}");
        let begun = thread::Builder::new().name(name).spawn(move || platform.carry_out(id));
        match begun {
            Ok(thread) => self.remember_thread(thread),
            // Without a thread the caller's own has to do.
            Err(_) => self.carry_out(id),
        }
    }

    /// Carries one operation out from claim to end.
    pub fn carry_out(self: &Arc<Self>, id: OperationId) {
        let Ok(Some(tracked)) = self.records.claim(id, &self.owner) else { return };
        let job = Job::new(self, tracked.operation);
        self.announce();
        let done = catch_unwind(AssertUnwindSafe(|| tasks::run(&job)));
        let done = done.unwrap_or_else(|_| {
            Err(TaskError::Failed(Refusal::bug("the task broke off; this is a bug in custody")))
        });
        self.settle(&job, done);
        self.announce();
    }

    /// Stores the end of an operation together with what it made of the records.
    fn settle(&self, job: &Job<'_>, done: Result<Outcome, TaskError>) {
        // Before the end, so that whoever waits for it finds the alert too. One that cannot be noted
        // is no reason to lose the end: the failed job says the same.
        let failure = match &done {
            Ok(_) => Some(None),
            Err(TaskError::Failed(error)) => Some(Some(error)),
            Err(TaskError::Cancelled) => None,
        };
        if let Some(failure) = failure {
            let _ = self.note_key_use(&job.operation, failure);
        }
        let first = self.store_end(job, &done);
        // If the achievement itself cannot be stored, the failure to do so must be.
        if let Err(refusal) = first {
            let failed = Err(TaskError::Failed(refusal));
            let _ = self.store_end(job, &failed);
        }
    }

    fn store_end(&self, job: &Job<'_>, done: &Result<Outcome, TaskError>) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.keep_warnings(job);
        let stored =
            self.records.update_operation(job.id(), &self.owner, &mut |world, operation| {
                operation.ended = Some(now);
                operation.progress = Progress { waiting: None, ..job.progress() };
                let mut writes = match done {
                    Ok(outcome) => {
                        operation.state = match job.warning_count() {
                            0 => OperationState::Completed,
                            _ => OperationState::CompletedWithWarnings,
                        };
                        operation.result = job.with_notes(outcome.result.clone());
                        (outcome.writes)(world)?
                    }
                    Err(error) => {
                        fail(operation, error);
                        operation.result = job.with_notes(Value::Null);
                        tasks::undo(operation, world)?
                    }
                };
                writes.extend(operation.last_event(now).map(Write::Activity));
                Ok(writes)
            });
        stored.map(|_| ()).map_err(fault::of_apply)
    }
}

fn fail(operation: &mut Operation, error: &TaskError) {
    match error {
        TaskError::Cancelled => operation.state = OperationState::Cancelled,
        TaskError::Failed(refusal) => {
            operation.state = OperationState::Failed;
            operation.error = Some(refusal.clone());
        }
    }
}
