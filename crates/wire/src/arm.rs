//! ARM requests: one handler for every kind, beside the views that are no kinds of their own.

use std::sync::Arc;

use custody_directory::UserAssignedIdentity;
use custody_names::{OperationId, ResourceId};
use custody_resources::{Answer, Kind as _, Refusal, Request, Verb};
use custody_worker::{Platform, dry_run, key_health, look, search};
use http::{HeaderValue, Method, Response, header};
use serde_json::{Value, json};

use crate::address::{self, Address};
use crate::reply::{self, Body};
use crate::server::Call;
use crate::{api_version, arm_keys, jobs, links, metadata, protected, undelete, views};

/// Answers one ARM request.
pub(crate) fn answer(platform: &Arc<Platform>, call: &Call<'_>) -> Result<Response<Body>, Refusal> {
    if let Some(answer) = metadata::answer(&call.base, call.method, &call.path, &call.query) {
        return answer;
    }
    api_version::check(&call.query)?;
    if let Some(response) = jobs::answer(platform, call)? {
        return Ok(response);
    }
    if let Some(response) = arm_keys::answer(platform, call)? {
        return Ok(response);
    }
    if let Some(response) = views::answer(platform, call)? {
        return Ok(response);
    }
    let Address { id, listed, verb } = address::parse(call.method, &call.path)?;
    let id = address::spelled(&id, platform.engine.registry());
    let id = views::record_of(platform, call, id)?;
    if let Some(response) = undelete::answer(platform, call, &id, &verb)? {
        return Ok(response);
    }
    let action = match &verb {
        Verb::Action(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    let request = request(platform, call, id, listed, verb)?;
    let answer = with_next_link(platform.decide(&request)?, &request, call);
    if let Some(operation) = answer.operation {
        platform.begin(operation);
    }
    if let (Some(action), None) = (action, answer.operation)
        && let Some(looked) = look_into(platform, &request, &action)?
    {
        return Ok(looked);
    }
    if call.method == Method::HEAD {
        // Whether it is there is all that is asked.
        return Ok(reply::json(204, None));
    }
    let links = reply::operation_links(&call.base, &request.id, platform);
    let mut response = reply::json(answer.status, answer.body.as_ref());
    if protected::is_container(&request.id) && request.verb != Verb::Read {
        protected::say_where_it_ends(&mut response, &call.base, &request.id);
    }
    if answer.status == 201 && is_identity(&request.id) {
        let place =
            format!("{}{}?api-version={}", call.base.main(), request.id, request.api_version);
        if let Ok(place) = HeaderValue::from_str(&place) {
            response.headers_mut().insert(header::LOCATION, place);
        }
    }
    Ok(reply::with_operation(response, answer.operation.map(|id| (id, &links))))
}

/// Of kinds whose clients wait for nothing after a 201, identities alone are answered with where
/// they lie, as in Azure: other clients would take it for an operation to follow.
fn is_identity(id: &ResourceId) -> bool {
    id.resource_type().as_str().eq_ignore_ascii_case(UserAssignedIdentity::TYPE)
}

/// A request to the engine.
pub(crate) fn request<'a>(
    platform: &'a Platform,
    call: &Call<'_>,
    id: ResourceId,
    listed: Option<String>,
    verb: Verb,
) -> Result<Request<'a>, Refusal> {
    let entropy = platform.entropy.as_ref();
    let body = match (&verb, call.parameter("$skiptoken")) {
        (Verb::List, Some(token)) => {
            json!({ "$skip": links::skip(Some(token))? })
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
        hosts: call.base.hosts(),
        entropy,
    })
}

/// The engine counts pages; the wire makes a link of the count.
fn with_next_link(mut answer: Answer, request: &Request<'_>, call: &Call<'_>) -> Answer {
    let (Verb::List, Some(Value::Object(body))) = (&request.verb, &mut answer.body) else {
        return answer;
    };
    if let Some(skip) = body.remove("$skip").and_then(|skip| skip.as_u64()) {
        body.insert("nextLink".into(), links::next(call, skip).into());
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
        "checkencryption" => dry_run::check_encryption(platform, request)?,
        "probekey" => key_health::probe(platform, &request.id)?,
        "validateforbackup" => look::validate_backup(platform, request)?,
        "content" => return Ok(Some(reply::stream(look::content(platform, request)?))),
        "diff" => return Ok(Some(reply::json_lines(search::diff(platform, request)?))),
        "find" => return Ok(Some(reply::json_lines(search::find(platform, request)?))),
        _ => return Ok(None),
    };
    Ok(Some(reply::json(200, Some(&body))))
}
