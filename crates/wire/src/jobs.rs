//! Jobs and operations: views of what is being carried out.

use custody_backup_vaults::{RecoveryServicesVault, Vault};
use custody_names::{OperationId, ResourceId};
use custody_protection::render_job;
use custody_record_store::{OperationFilter, TrackedOperation};
use custody_resources::{Kind as _, Operation, Refusal};
use custody_worker::{Platform, fault};
use http::{HeaderValue, Method, Response, header};
use serde_json::{Value, json};

use crate::protected::REFRESHED;
use crate::reply::{self, Body};
use crate::server::Call;

/// Most jobs in one answer.
const JOBS_MAX: usize = 1_000;
/// Longest wait for a job to change, in seconds.
const WAIT_SECONDS_MAX: u64 = 60;
/// The segment of a vault's jobs.
const JOBS: &str = "backupJobs";

/// Answers if the path is one of jobs or operations.
pub(crate) fn answer(
    platform: &Platform,
    call: &Call<'_>,
) -> Result<Option<Response<Body>>, Refusal> {
    let segments = crate::address::segments(&call.path);
    let body = match (call.method, segments.as_slice()) {
        (&Method::GET, [.., status, id])
            if ["operationStatus", "backupOperations"]
                .iter()
                .any(|word| status.eq_ignore_ascii_case(word)) =>
        {
            return operation_status(platform, call, id).map(Some);
        }
        (&Method::GET, [.., deleted, _, operations, id])
            if deleted.eq_ignore_ascii_case("deletedVaults")
                && operations.eq_ignore_ascii_case("operations") =>
        {
            return operation_status(platform, call, id).map(Some);
        }
        (&Method::GET, [.., results, id])
            if results.eq_ignore_ascii_case("operationResults") && *id != REFRESHED =>
        {
            return operation_result(platform, call, id).map(Some);
        }
        (&Method::GET, [vault @ .., jobs]) if jobs.eq_ignore_ascii_case(JOBS) => {
            list_jobs(platform, call, vault)?
        }
        (&Method::GET, [vault @ .., jobs, id]) if jobs.eq_ignore_ascii_case(JOBS) => {
            show_job(platform, call, vault, id)?
        }
        (&Method::POST, [vault @ .., jobs, id, cancel])
            if jobs.eq_ignore_ascii_case(JOBS) && cancel.eq_ignore_ascii_case("cancel") =>
        {
            return cancel_job(platform, call, vault, id).map(Some);
        }
        _ => return Ok(None),
    };
    Ok(Some(reply::json(200, Some(&body))))
}

fn vault_id(segments: &[&str]) -> Result<ResourceId, Refusal> {
    format!("/{}", segments.join("/")).parse().map_err(|error: custody_names::InvalidName| {
        Refusal::new(400, "InvalidResourceId", error.to_string())
    })
}

/// The vault must be there, and the caller allowed on its jobs.
fn permit(
    platform: &Platform,
    call: &Call<'_>,
    vault: &ResourceId,
    verb: &str,
) -> Result<(), Refusal> {
    let permission = format!("{}/{JOBS}/{verb}", vault.resource_type());
    let look = platform.records.view(&mut |world| {
        platform.engine.permit(&call.caller, &permission, vault, world)?;
        Vault::expect(vault, world).map(drop)
    });
    look.map_err(fault::of_apply)
}

fn list_jobs(platform: &Platform, call: &Call<'_>, vault: &[&str]) -> Result<Value, Refusal> {
    let vault = vault_id(vault)?;
    permit(platform, call, &vault, "read")?;
    let found = platform
        .records
        .operations(&OperationFilter::Within(vault), JOBS_MAX)
        .map_err(|error| fault::of_store(&error))?;
    let jobs: Vec<Value> = found.iter().map(|tracked| render_job(&tracked.operation)).collect();
    Ok(json!({ "value": jobs }))
}

fn show_job(
    platform: &Platform,
    call: &Call<'_>,
    vault: &[&str],
    id: &str,
) -> Result<Value, Refusal> {
    let vault = vault_id(vault)?;
    permit(platform, call, &vault, "read")?;
    let number = |name| call.parameter(name).and_then(|text: &str| text.parse::<u64>().ok());
    let wait = number("wait").unwrap_or(0).min(WAIT_SECONDS_MAX);
    let tracked = find(platform, id, |found| vault.contains(&found.operation.resource))?;
    let tracked = match number("after") {
        Some(after) => platform.wait_for_change(tracked, after, wait)?,
        None => tracked,
    };
    let mut job = render_job(&tracked.operation);
    if let Some(properties) = job.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("revision".into(), tracked.revision.into());
        if let Some(warnings) = platform.warnings_of(tracked.operation.id) {
            properties.insert("warnings".into(), warnings.into());
        }
        if let Some(report) = platform.late_drill_report(tracked.operation.id)? {
            properties.insert("result".into(), report);
        }
    }
    Ok(job)
}

fn cancel_job(
    platform: &Platform,
    call: &Call<'_>,
    vault: &[&str],
    id: &str,
) -> Result<Response<Body>, Refusal> {
    let vault = vault_id(vault)?;
    permit(platform, call, &vault, "cancel/action")?;
    let tracked = find(platform, id, |found| vault.contains(&found.operation.resource))?;
    let asked = platform
        .records
        .request_cancel(tracked.operation.id)
        .map_err(|error| fault::of_store(&error))?;
    let job = render_job(&asked.unwrap_or(tracked).operation);
    // The clients of each kind of vault know one status only.
    let of_recovery_services =
        vault.resource_type().as_str().eq_ignore_ascii_case(RecoveryServicesVault::TYPE);
    Ok(reply::json(if of_recovery_services { 202 } else { 200 }, Some(&job)))
}

/// What `Location` leads to: nothing yet, the end, or the error.
fn operation_result(
    platform: &Platform,
    call: &Call<'_>,
    id: &str,
) -> Result<Response<Body>, Refusal> {
    let operation = permitted(platform, call, id)?;
    match operation.error {
        Some(error) => Err(error),
        None if operation.state.is_final() => {
            let job = render_job(&operation);
            let done = json!({ "objectType": "OperationJobExtendedInfo", "jobId": job.get("id") });
            Ok(reply::json(200, Some(&done)))
        }
        None => {
            let links = reply::operation_links(&call.base, &operation.resource, platform);
            Ok(reply::with_operation(reply::json(202, None), Some((operation.id, &links))))
        }
    }
}

/// The operation, for who may read what it changes.
fn permitted(platform: &Platform, call: &Call<'_>, id: &str) -> Result<Operation, Refusal> {
    let TrackedOperation { operation, .. } = find(platform, id, |_| true)?;
    let look = platform.records.view(&mut |world| {
        let permission = format!("{}/read", operation.resource.resource_type());
        platform.engine.permit(&call.caller, &permission, &operation.resource, world)
    });
    look.map_err(fault::of_apply)?;
    Ok(operation)
}

/// How far an operation is and how it ended: what a notification shows of it (rule 80).
fn operation_status(
    platform: &Platform,
    call: &Call<'_>,
    id: &str,
) -> Result<Response<Body>, Refusal> {
    let operation = permitted(platform, call, id)?;
    let mut status = json!({
        "id": call.path,
        "name": operation.id.to_string(),
        "status": operation.state.async_status(),
        "startTime": operation.created,
        "properties": {
            "objectType": "OperationStatusJobExtendedInfo",
            "jobId": operation.id,
            "progress": operation.progress,
            "result": operation.result,
        },
    });
    if let Some(fields) = status.as_object_mut() {
        if let Some(ended) = operation.ended {
            fields.insert("endTime".into(), json!(ended));
        }
        if let Some(error) = &operation.error {
            fields.insert("error".into(), reply::error_of(error));
        }
    }
    let mut response = reply::json(200, Some(&status));
    if operation.ended.is_none() {
        // Clients wait for half a minute if nobody tells them for how long.
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

fn find(
    platform: &Platform,
    id: &str,
    belongs: impl Fn(&TrackedOperation) -> bool,
) -> Result<TrackedOperation, Refusal> {
    let absent = || {
        Refusal::new(404, "JobNotFound", format!("there is no job {id}"))
            .with_fix("custody job list")
    };
    let id: OperationId = id.parse().map_err(|_| absent())?;
    let found = platform.records.operation(id).map_err(|error| fault::of_store(&error))?;
    found.filter(belongs).ok_or_else(absent)
}
