//! Jobs: operations as a backup operator sees them. A job is a view of its operation, so the two
//! can never disagree.

use custody_resources::{Operation, OperationState, Refusal};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::item::{Item, VAULT_TYPES, is_one_of};

/// The collection of a vault's jobs.
const JOBS: &str = "backupJobs";
/// The type of vaults whose clients know the jobs of `Microsoft.RecoveryServices`.
const RECOVERY_SERVICES: &str = "Microsoft.RecoveryServices/vaults";
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
    let vault = operation.resource.lineage().find(|id| is_one_of(id, &VAULT_TYPES));
    let of_recovery_services = vault.as_ref().is_some_and(|id| is_one_of(id, &[RECOVERY_SERVICES]));
    let mut properties = properties(operation);
    if of_recovery_services {
        recast(&mut properties, operation);
    }
    let [recovery_services, backup] = VAULT_TYPES;
    let kind = if of_recovery_services { recovery_services } else { backup };
    let vault = vault.map(|id| id.to_string()).unwrap_or_default();
    json!({
        "id": format!("{vault}/{JOBS}/{}", operation.id),
        "name": operation.id.to_string(),
        "type": format!("{kind}/{JOBS}"),
        "properties": Value::Object(properties),
    })
}

/// The same job in the words of Recovery Services (rule 79). It is an `AzureWorkloadJob` also where
/// the vault itself was worked on: `az backup job show` fails on a job of another type that has no
/// list of tasks, and a `VaultJob` cannot have one.
fn recast(properties: &mut Map<String, Value>, operation: &Operation) {
    let item = Item::around(&operation.resource);
    let name = item.as_ref().unwrap_or(&operation.resource).name().unwrap_or_default();
    let mut put = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    put("jobType", "AzureWorkloadJob".into());
    put("backupManagementType", "AzureWorkload".into());
    put("entityFriendlyName", name.into());
    put("activityId", operation.correlation.to_string().into());
    let running = matches!(operation.state, OperationState::Queued | OperationState::InProgress);
    if running {
        put("status", json!(OperationState::InProgress));
        put("actionsInfo", json!(["Cancellable"]));
    }
    if let Some(ended) = operation.ended {
        let seconds = ended.duration_since(operation.created).as_secs_f64();
        put("duration", format!("PT{seconds}S").into());
    }
    if let Some(error) = &operation.error {
        put(
            "errorDetails",
            json!([{
                "errorCode": error.status,
                "errorTitle": error.code,
                "errorString": format!("{}: {}", error.code, error.message),
                "recommendations": job_error(error).recommended_action,
            }]),
        );
    }
    let bag = json!({ "Operation id": operation.id, "Caller": operation.caller.name });
    let task = json!({ "taskId": title(&operation.task.name), "status": operation.state });
    put("extendedInfo", json!({ "propertyBag": bag, "tasksList": [task] }));
}

fn properties(operation: &Operation) -> Map<String, Value> {
    let item = Item::around(&operation.resource);
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
    if let Some(item) = item {
        put("backupInstanceFriendlyName", item.name().into());
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
        recommended_action: error.recommended_actions(),
    }
}

fn title(task: &str) -> &str {
    match task {
        "backup" => "Backup",
        "restore" => "Restore",
        "configure-protection" => "ConfigureBackup",
        "forget" => "Forget",
        "expire" => "Expire",
        "tier" => "Tiering",
        "stop-protection" => "DisableBackup",
        "soft-delete" => "DeleteBackupData",
        "undelete" => "Undelete",
        "verify" => "Verify",
        "prune" => "Prune",
        "repair" => "Repair",
        "apply-encryption" => "UpdateEncryptionSettings",
        "delete-vault" => "DeleteVault",
        "drill-revoke" => "DrillRevoke",
        other => other,
    }
}
