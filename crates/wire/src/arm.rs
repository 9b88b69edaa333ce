//! ARM requests: one handler for every kind, and the views that are no kinds of their own.

use std::sync::Arc;

use custody_access::{RoleDefinition, built_in_roles};
use custody_backup_vaults::BackupVault;
use custody_names::{OperationId, ResourceId};
use custody_protection::render_job;
use custody_record_store::{OperationFilter, TrackedOperation};
use custody_resources::{Answer, Kind as _, Refusal, Request, Verb};
use custody_worker::{Platform, fault, look};
use http::{Method, Response};
use serde_json::{Value, json};

use crate::address::{self, Address};
use crate::reply::{self, Body};
use crate::server::Call;

/// Most jobs in one answer.
const JOBS_MAX: usize = 1_000;
/// Longest wait for a job to change, in seconds.
const WAIT_SECONDS_MAX: u64 = 60;
/// The segment of a vault's jobs.
const JOBS: &str = "backupJobs";

/// Answers one ARM request.
pub(crate) fn answer(platform: &Arc<Platform>, call: &Call<'_>) -> Result<Response<Body>, Refusal> {
    if call.parameter("api-version").is_none() {
        let text = "The api-version query parameter (?api-version=) is required for all requests.";
        return Err(Refusal::new(400, "MissingApiVersionParameter", text));
    }
    if let Some(response) = view(platform, call)? {
        return Ok(response);
    }
    let Address { id, listed, verb } = address::parse(call.method, &call.path)?;
    let action = match &verb {
        Verb::Action(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    let request = request(platform, call, id, listed, verb)?;
    let answer = with_next_link(platform.decide(&request)?, &request);
    if let Some(operation) = answer.operation {
        platform.begin(operation);
    }
    if let (Some(action), None) = (action, answer.operation)
        && let Some(looked) = look_into(platform, &request, &action)?
    {
        return Ok(looked);
    }
    let status_path = status_path(platform, answer.operation);
    let response = reply::json(answer.status, answer.body.as_ref());
    Ok(reply::with_operation(response, answer.operation, &status_path))
}

fn request<'a>(
    platform: &'a Platform,
    call: &Call<'_>,
    id: ResourceId,
    listed: Option<String>,
    verb: Verb,
) -> Result<Request<'a>, Refusal> {
    let entropy = platform.entropy.as_ref();
    let body = match (&verb, call.parameter("$skiptoken")) {
        (Verb::List, Some(token)) => {
            let skip: u64 =
                token.parse().map_err(|_| Refusal::bad_request("$skiptoken is not ours"))?;
            json!({ "$skip": skip })
        }
        _ => call.body.clone(),
    };
    Ok(Request {
        id,
        listed,
        verb,
        body,
        api_version: call.parameter("api-version").unwrap_or_default().to_owned(),
        if_match: call.if_match.clone(),
        caller: call.caller.clone(),
        correlation: call.correlation,
        operation: OperationId::mint(entropy).map_err(|error| Refusal::bug(error.to_string()))?,
        owner: platform.owner.clone(),
        now: platform.clock.now(),
        hosts: custody_resources::Hosts::default(),
        entropy,
    })
}

/// The engine counts pages; the wire makes a link of the count.
fn with_next_link(mut answer: Answer, request: &Request<'_>) -> Answer {
    let (Verb::List, Some(Value::Object(body))) = (&request.verb, &mut answer.body) else {
        return answer;
    };
    if let Some(skip) = body.remove("$skip") {
        let listed = request.listed.as_deref().unwrap_or_default();
        let place = request.id.as_str().trim_end_matches('/');
        let version = &request.api_version;
        let link = format!(
            "https://custody.localhost{place}/providers/{listed}?api-version={version}&$skiptoken={skip}"
        );
        body.insert("nextLink".into(), link.into());
    }
    answer
}

/// Actions that look into a vault and change nothing: answered at once.
fn look_into(
    platform: &Arc<Platform>,
    request: &Request<'_>,
    action: &str,
) -> Result<Option<Response<Body>>, Refusal> {
    let body = match action {
        "browse" => look::browse(platform, request)?,
        "scan" => look::scan(platform, request)?,
        "forget" => look::preview_forget(platform, request)?,
        "content" => return Ok(Some(reply::stream(look::content(platform, request)?))),
        _ => return Ok(None),
    };
    Ok(Some(reply::json(200, Some(&body))))
}

fn status_path(platform: &Platform, operation: Option<OperationId>) -> String {
    let subscription = platform.installation.subscription_id;
    let location = &platform.installation.location;
    let id = operation.map(|id| id.to_string()).unwrap_or_default();
    format!(
        "https://custody.localhost/subscriptions/{subscription}/providers/\
         Microsoft.DataProtection/locations/{location}/operationStatus/{id}?api-version=2025-07-01"
    )
}

/// Paths that show something else than a record.
fn view(platform: &Platform, call: &Call<'_>) -> Result<Option<Response<Body>>, Refusal> {
    let segments: Vec<&str> = call.path.split('/').filter(|part| !part.is_empty()).collect();
    let body = match (call.method, segments.as_slice()) {
        (&Method::GET, [.., status, id]) if status.eq_ignore_ascii_case("operationStatus") => {
            operation_status(platform, call, id)?
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
            cancel_job(platform, call, vault, id)?
        }
        (&Method::GET, [.., kind]) if kind.eq_ignore_ascii_case("roleDefinitions") => {
            let wanted = call.parameter("roleName");
            let roles = built_in_roles().iter();
            let shown = roles
                .filter(|role| wanted.is_none_or(|name| role.role_name.eq_ignore_ascii_case(name)));
            json!({ "value": shown.map(render_role).collect::<Vec<_>>() })
        }
        _ => return Ok(None),
    };
    Ok(Some(reply::json(200, Some(&body))))
}

fn render_role(role: &RoleDefinition) -> Value {
    let id = format!("/providers/Microsoft.Authorization/roleDefinitions/{}", role.id);
    json!({
        "id": id,
        "name": role.id.to_string(),
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.role_name,
            "type": "BuiltInRole",
            "description": role.description,
            "assignableScopes": ["/"],
            "permissions": [{
                "actions": role.actions,
                "notActions": role.not_actions,
                "dataActions": role.data_actions,
                "notDataActions": role.not_data_actions,
            }],
        },
    })
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
    let permission = format!("{}/{JOBS}/{verb}", BackupVault::TYPE);
    let look = platform.records.view(&mut |world| {
        platform.engine.permit(&call.caller, &permission, vault, world)?;
        world.expect::<BackupVault>(vault).map(|_| ())
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
    }
    Ok(job)
}

fn cancel_job(
    platform: &Platform,
    call: &Call<'_>,
    vault: &[&str],
    id: &str,
) -> Result<Value, Refusal> {
    let vault = vault_id(vault)?;
    permit(platform, call, &vault, "cancel/action")?;
    let tracked = find(platform, id, |found| vault.contains(&found.operation.resource))?;
    let asked = platform
        .records
        .request_cancel(tracked.operation.id)
        .map_err(|error| fault::of_store(&error))?;
    Ok(render_job(&asked.unwrap_or(tracked).operation))
}

fn operation_status(platform: &Platform, call: &Call<'_>, id: &str) -> Result<Value, Refusal> {
    let TrackedOperation { operation, .. } = find(platform, id, |_| true)?;
    let look = platform.records.view(&mut |world| {
        let permission = format!("{}/read", operation.resource.resource_type());
        platform.engine.permit(&call.caller, &permission, &operation.resource, world)
    });
    look.map_err(fault::of_apply)?;
    let mut status = json!({
        "id": call.path,
        "name": operation.id.to_string(),
        "status": operation.state.async_status(),
        "startTime": operation.created,
        "properties": { "progress": operation.progress, "result": operation.result },
    });
    if let Some(fields) = status.as_object_mut() {
        if let Some(ended) = operation.ended {
            fields.insert("endTime".into(), json!(ended));
        }
        if let Some(error) = &operation.error {
            fields.insert("error".into(), json!({ "code": error.code, "message": error.message }));
        }
    }
    Ok(status)
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
