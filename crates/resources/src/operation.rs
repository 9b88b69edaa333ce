//! Operations: plans being carried out.

use custody_ambient::Timestamp;
use custody_names::{CorrelationId, OperationId, ResourceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ActivityEvent, ActivityStatus, Caller, Refusal};

/// What a worker is to do: the name of a task it knows, and its input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// For example `backup` or `rewrap`.
    pub name: String,
    /// What the task needs, in the task's own shape.
    pub input: Value,
}

/// The state of an operation; Azure Backup's words for jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationState {
    /// Accepted, not yet begun.
    Queued,
    /// A worker is at it.
    InProgress,
    /// Somebody asked to stop it; the worker is finishing.
    Cancelling,
    /// Stopped as asked; nothing half-done remains.
    Cancelled,
    /// Done.
    Completed,
    /// Done, but something was left out or is doubtful, and is listed.
    CompletedWithWarnings,
    /// Not done; the error says why.
    Failed,
}

impl OperationState {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::InProgress | Self::Cancelling => false,
            Self::Cancelled | Self::Completed | Self::CompletedWithWarnings | Self::Failed => true,
        }
    }

    /// The word that `Azure-AsyncOperation` polling wants.
    pub fn async_status(self) -> &'static str {
        match self {
            Self::Queued | Self::InProgress | Self::Cancelling => "InProgress",
            Self::Cancelled => "Canceled",
            Self::Completed | Self::CompletedWithWarnings => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// How far an operation is, as shown to people and scripts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// What is being done now, one word: `scan`, `read`, `commit` …
    pub phase: String,
    /// Files done.
    pub files_done: u64,
    /// Files of this phase; 0 as long as nobody knows.
    pub files_total: u64,
    /// Bytes done, as the source counts them.
    pub bytes_done: u64,
    /// Bytes of this phase; 0 as long as nobody knows, and where only the files tell how far it is.
    pub bytes_total: u64,
    /// Whether the totals are those of the last time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub total_is_estimate: bool,
    /// Bytes newly stored.
    pub bytes_new: u64,
    /// What it waits for, while it does nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// Why an operation does not go on for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Since when.
    pub since: Timestamp,
    /// The stable code that it fails with if it has waited in vain.
    pub code: String,
    /// What it waits for and why.
    pub message: String,
}

/// A plan being carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its identifier; a job bears the same.
    pub id: OperationId,
    /// What it changes.
    pub resource: ResourceId,
    /// What is to be done.
    pub task: Task,
    /// The permission name of the request that began it, for the activity log; operations that
    /// were stored before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Where it stands.
    pub state: OperationState,
    /// Who asked.
    pub caller: Caller,
    /// Ties it to the request.
    pub correlation: CorrelationId,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The process that carries it out (opaque; `worker` can tell whether it still lives).
    pub owner: String,
    /// How far it is.
    pub progress: Progress,
    /// What it found or made, in the task's own shape; shown when it has ended.
    pub result: Value,
    /// Why it failed.
    pub error: Option<Refusal>,
}

impl Operation {
    /// The event of its end; none while it has not ended.
    pub fn last_event(&self, now: Timestamp) -> Option<ActivityEvent> {
        let asked = self.asked.as_ref().filter(|_| self.state.is_final())?;
        let (caller, place) = (&self.caller.name, self.resource.clone());
        let begun = ActivityEvent::started(now, caller, asked, place, self.correlation);
        Some(match (self.state, &self.error) {
            (OperationState::Failed, Some(error)) => begun.failed(error),
            (OperationState::Failed, None) => begun.then(ActivityStatus::Failed, 500),
            (OperationState::Cancelled, _) => {
                begun.failed(&Refusal::new(409, "JobCancelled", "the job was cancelled"))
            }
            _ => begun.then(ActivityStatus::Succeeded, 200),
        })
    }
}
