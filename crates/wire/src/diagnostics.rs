//! `{resource}/providers/Microsoft.Insights/diagnosticSettingsCategories[/NAME]`: what of a resource
//! can be sent to audit destinations.

use custody_activity::{AUDIT_EVENT, AUDIT_GROUPS};
use custody_names::ResourceId;
use custody_resources::{Refusal, not_found};
use serde_json::{Value, json};

use crate::tenancy::exists;
use crate::views::View;

const TYPE: &str = "Microsoft.Insights/diagnosticSettingsCategories";

/// All categories: there is one.
pub(crate) fn categories(view: &View<'_>) -> Result<Value, Refusal> {
    check(view)?;
    Ok(json!({ "value": [audit_event(view)] }))
}

/// The category of this name, in any case.
pub(crate) fn category(view: &View<'_>, name: &str) -> Result<Value, Refusal> {
    check(view)?;
    if name.eq_ignore_ascii_case(AUDIT_EVENT) {
        return Ok(audit_event(view));
    }
    let id: ResourceId = format!("{}/providers/{TYPE}/{name}", view.place)
        .parse()
        .map_err(|error: custody_names::InvalidName| Refusal::bad_request(error.to_string()))?;
    Err(not_found(&id))
}

fn check(view: &View<'_>) -> Result<(), Refusal> {
    view.look(&format!("{TYPE}/read"), |world| exists(&view.place, world))
}

fn audit_event(view: &View<'_>) -> Value {
    json!({
        "id": format!("{}/providers/{TYPE}/{AUDIT_EVENT}", view.place),
        "name": AUDIT_EVENT,
        "type": TYPE,
        "properties": { "categoryType": "Logs", "categoryGroups": AUDIT_GROUPS },
    })
}
