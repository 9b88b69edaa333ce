//! Jobs: operations that a backup operator cares about.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ClientError;
use crate::error::JOB_FAILED;

/// One job as it stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// What it does: `Backup`, `Restore`, `Rewrap` …
    pub operation: String,
    /// How it stands: `Queued`, `InProgress`, `Cancelling`, `Cancelled`, `Completed`,
    /// `CompletedWithWarnings` or `Failed`.
    pub status: String,
    /// Grows with each change, so that a client can wait for the next.
    #[serde(default)]
    pub revision: Option<u64>,
    /// When it started (RFC 3339).
    #[serde(default)]
    pub start_time: Option<String>,
    /// When it ended (RFC 3339).
    #[serde(default)]
    pub end_time: Option<String>,
    /// How far it is.
    #[serde(default)]
    pub progress: Progress,
    /// What it brought; what stands in it depends on the operation.
    #[serde(default)]
    pub result: Value,
    /// Why it failed.
    #[serde(default)]
    pub error_details: Vec<Value>,
    /// The first warnings.
    #[serde(default)]
    pub warnings: Vec<JobWarning>,
    /// How many warnings there are in all.
    #[serde(default)]
    pub warning_count: u64,
}

/// How far a job is. What is not known yet is none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// The step it is at.
    pub phase: String,
    /// Files dealt with.
    pub files_done: u64,
    /// Files to deal with.
    pub files_total: Option<u64>,
    /// Bytes dealt with.
    pub bytes_done: u64,
    /// Bytes to deal with.
    pub bytes_total: Option<u64>,
    /// Whether there is so much to deal with only if it is as much as the last time.
    pub total_is_estimate: bool,
    /// Bytes that had to be stored because no earlier point holds them.
    pub bytes_new: u64,
    /// What it waits for, while it does nothing else.
    pub waiting: Option<Waiting>,
}

/// Why a job does not go on for a while.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Waiting {
    /// Since when, RFC 3339.
    pub since: String,
    /// The stable code that it fails with if it waits in vain.
    pub code: String,
    /// What it waits for and why.
    pub message: String,
}

/// Something that a job could not do and went on without.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct JobWarning {
    /// A stable code.
    pub code: String,
    /// The path it is about, with what a terminal would act upon escaped by the server.
    #[serde(default)]
    pub path: Option<String>,
    /// What happened.
    #[serde(default)]
    pub message: String,
}

/// How a job ended that did not bring what it was started for.
#[derive(Clone, Debug, PartialEq)]
pub enum JobError {
    /// It failed.
    Failed(ClientError),
    /// It was cancelled.
    Cancelled,
}

impl Job {
    /// Reads the resource of a job.
    pub(crate) fn from_resource(resource: &Value) -> Result<Self, ClientError> {
        let properties = resource.get("properties").unwrap_or(resource);
        Self::deserialize(properties).map_err(ClientError::unexpected)
    }

    /// Whether it will not change any more.
    pub fn has_ended(&self) -> bool {
        matches!(
            self.status.as_str(),
            "Cancelled" | "Completed" | "CompletedWithWarnings" | "Failed"
        )
    }

    /// How it went, once it has ended.
    pub fn outcome(&self) -> Result<(), JobError> {
        match self.status.as_str() {
            "Failed" => Err(JobError::Failed(self.failure())),
            "Cancelled" => Err(JobError::Cancelled),
            _ => Ok(()),
        }
    }

    fn failure(&self) -> ClientError {
        let first = self.error_details.first().and_then(ClientError::from_job);
        first.unwrap_or_else(|| {
            ClientError::new(JOB_FAILED, format!("the {} job failed", self.operation))
        })
    }
}
