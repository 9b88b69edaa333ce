//! Jobs: operations as a backup operator sees them. A job is a view of its operation, so the two
//! can never disagree.

use custody_resources::{Operation, Refusal};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The type of jobs.
const JOB_TYPE: &str = "Microsoft.DataProtection/backupVaults/backupJobs";
/// The type of items, to name the item of a job.
const ITEM_TYPE: &str = "Microsoft.DataProtection/backupVaults/backupInstances";

/// The `UserFacingError` of a failed job.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobError<'a> {
    code: &'a str,
    message: &'a str,
    recommended_action: Vec<&'a str>,
}

/// A job as clients see it.
pub fn render_job(operation: &Operation) -> Value {
    let vault = operation.resource.lineage().find(|id| {
        id.resource_type().as_str().eq_ignore_ascii_case("Microsoft.DataProtection/backupVaults")
    });
    let vault = vault.map(|id| id.to_string()).unwrap_or_default();
    json!({
        "id": format!("{vault}/backupJobs/{}", operation.id),
        "name": operation.id.to_string(),
        "type": JOB_TYPE,
        "properties": Value::Object(properties(operation)),
    })
}

fn properties(operation: &Operation) -> Map<String, Value> {
    let is_item = operation.resource.resource_type().as_str().eq_ignore_ascii_case(ITEM_TYPE);
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| all.insert(name.to_owned(), value);
    put("operation", title(&operation.task.name).into());
    put("operationCategory", title(&operation.task.name).into());
    put("status", json!(operation.state));
    put("startTime", json!(operation.created));
    if let Some(ended) = operation.ended {
        put("endTime", json!(ended));
        let seconds = ended.duration_since(operation.created).as_secs_f64();
        put("duration", json!(seconds));
    }
    put("resource", operation.resource.as_str().into());
    if is_item {
        put("backupInstanceFriendlyName", operation.resource.name().into());
    }
    put("caller", operation.caller.name.as_str().into());
    put("progressEnabled", true.into());
    put("progress", json!(operation.progress));
    let mut result = operation.result.clone();
    for name in ["warnings", "warningCount", "log"] {
        if let Some(value) = result.as_object_mut().and_then(|result| result.remove(name)) {
            put(name, value);
        }
    }
    put("result", result);
    if let Some(error) = &operation.error {
        put("errorDetails", json!([job_error(error)]));
    }
    all
}

fn job_error(error: &Refusal) -> JobError<'_> {
    JobError {
        code: &error.code,
        message: &error.message,
        recommended_action: error.fix.as_deref().into_iter().collect(),
    }
}

fn title(task: &str) -> &str {
    match task {
        "backup" => "Backup",
        "restore" => "Restore",
        "forget" => "Forget",
        "verify" => "Verify",
        "prune" => "Prune",
        "repair" => "Repair",
        "apply-encryption" => "UpdateEncryptionSettings",
        "delete-vault" => "DeleteVault",
        other => other,
    }
}
