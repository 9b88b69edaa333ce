//! Drills: what happens if a key is taken away, tried on a vault that is marked for it.

use custody_resources::{Act, Record, Refusal, Request, Task};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::status::VaultStatus;

/// The tag by which a vault's owner lets its key be disabled for a drill, and its value.
const TAG: (&str, &str) = ("custody-drill", "allowed");

/// Input of [`crate::TASK_DRILL_REVOKE`], and the body that asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DrillRevoke {
    /// Whether the key is really disabled, and enabled again.
    pub live: bool,
    /// Of so many items the newest recovery point is restored afterwards; of all unless it is named.
    pub items_max: Option<usize>,
}

/// Whether live drills may be made on a vault.
pub fn is_marked_for_drills(record: &Record) -> bool {
    let (name, value) = TAG;
    let mut tags = record.tags.iter();
    tags.any(|(key, set)| key.eq_ignore_ascii_case(name) && set.eq_ignore_ascii_case(value))
}

/// A live drill stops every job of the vault: nobody makes one by mistake.
pub fn require_marked_for_drills(record: &Record) -> Result<(), Refusal> {
    if is_marked_for_drills(record) {
        return Ok(());
    }
    let (name, value) = TAG;
    let id = &record.id;
    let text = format!(
        "{id} is not marked for drills: a live one disables its key, and every job under that key \
         fails until it is enabled again"
    );
    Err(Refusal::new(409, "VaultNotMarkedForDrills", text).with_fix(format!(
        "az tag update --operation Merge --tags {name}={value} --resource-id {id}"
    )))
}

/// `POST V/drillRevoke`.
pub(crate) fn act(
    record: &Record,
    status: &VaultStatus,
    request: &Request<'_>,
) -> Result<Act, Refusal> {
    let asked = if request.body.is_null() {
        DrillRevoke::default()
    } else {
        DrillRevoke::deserialize(&request.body)
            .map_err(|error| Refusal::bad_request(error.to_string()))?
    };
    if status.applied.is_none() {
        let text = format!("{} is under the platform's own key, which nobody revokes", record.id);
        return Err(Refusal::new(409, "DrillNeedsCustomerKey", text)
            .with_fix("custody backup vault encryption update --encryption-key-id KEY"));
    }
    if asked.live {
        require_marked_for_drills(record)?;
    }
    let task = Task { name: crate::TASK_DRILL_REVOKE.into(), input: json!(asked) };
    Ok(Act { task: Some(task), ..Act::default() })
}
