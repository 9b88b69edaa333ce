//! The activity log: one event for every write, in the same transaction.

use custody_ambient::Timestamp;
use custody_names::{CorrelationId, ResourceId};
use serde::{Deserialize, Serialize};

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
    /// `Started`, `Accepted`, `Succeeded` or `Failed`.
    pub status: String,
    /// The code of the error, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Ties together what one request set off.
    pub correlation: CorrelationId,
}
