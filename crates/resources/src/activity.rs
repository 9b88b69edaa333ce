//! The activity log: what became of every write, in the same transaction.
//!
//! One write is several events with one correlation id: `Started`, then `Accepted` if an operation
//! goes on, then `Succeeded` or `Failed` (`arm-api.md` §3). Who may not even ask leaves `Failed`
//! alone.

use custody_ambient::Timestamp;
use custody_names::{CorrelationId, ResourceId};
use serde::{Deserialize, Serialize};

use crate::{Refusal, Write};

/// Longest message of an error that an event keeps, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 1_000;

/// One event of the activity log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityEvent {
    /// When.
    pub time: Timestamp,
    /// Who.
    pub caller: String,
    /// The permission name of what was done, `Microsoft.KeyVault/vaults/write` for example.
    pub operation_name: String,
    /// To what.
    pub resource: ResourceId,
    /// How far it had come.
    pub status: ActivityStatus,
    /// The HTTP status of the answer; none while there was no answer yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The code of the error, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ties together what one request set off.
    pub correlation: CorrelationId,
}

/// How far something had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActivityStatus {
    /// It began.
    Started,
    /// It goes on as an operation.
    Accepted,
    /// It is done.
    Succeeded,
    /// It was refused, or failed.
    Failed,
}

impl ActivityStatus {
    /// The word of the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Accepted => "Accepted",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

impl ActivityEvent {
    /// That `caller` began something.
    pub fn started(
        time: Timestamp,
        caller: impl Into<String>,
        operation_name: impl Into<String>,
        resource: ResourceId,
        correlation: CorrelationId,
    ) -> Self {
        Self {
            time,
            caller: caller.into(),
            operation_name: operation_name.into(),
            resource,
            status: ActivityStatus::Started,
            http_status: None,
            code: None,
            message: None,
            correlation,
        }
    }

    /// That the same came so far and was answered so.
    #[must_use]
    pub fn then(&self, status: ActivityStatus, http_status: u16) -> Self {
        Self { status, http_status: Some(http_status), ..self.clone() }
    }

    /// That the same failed.
    #[must_use]
    pub fn failed(&self, refusal: &Refusal) -> Self {
        let message: String = refusal.message.chars().take(MESSAGE_CHARACTERS_MAX).collect();
        Self {
            code: Some(refusal.code.to_string()),
            message: Some(message),
            ..self.then(ActivityStatus::Failed, refusal.status)
        }
    }

    /// The events of something that is done when its request is answered.
    pub fn done(self, http_status: u16) -> [Write; 2] {
        let ended = self.then(ActivityStatus::Succeeded, http_status);
        [Write::Activity(self), Write::Activity(ended)]
    }
}
