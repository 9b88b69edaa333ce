//! The one place where JSON and streams leave as HTTP.

use std::io::{Cursor, Read};

use custody_names::{OperationId, ResourceId};
use custody_resources::Refusal;
use custody_worker::Platform;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};

use crate::base::Base;

/// The api-version of links to operations.
const OPERATIONS_API_VERSION: &str = "2025-07-01";

/// A body that is read as it is sent.
pub type Body = Box<dyn Read + Send>;

/// A JSON answer; `None` is an empty body.
pub(crate) fn json(status: u16, body: Option<&Value>) -> Response<Body> {
    let text = body.map(Value::to_string).unwrap_or_default().into_bytes();
    let length = text.len();
    let mut response = Response::new(Box::new(Cursor::new(text)) as Body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    if body.is_some() {
        let kind = header::HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        // However it is sent, a client may know how much there is.
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

/// A stream of bytes.
pub(crate) fn stream(body: Body) -> Response<Body> {
    stream_of("application/octet-stream", body)
}

/// A stream of JSON values, one a line.
pub(crate) fn json_lines(body: Body) -> Response<Body> {
    stream_of("application/x-ndjson", body)
}

fn stream_of(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An error. Its code is in a header as well, as Azure's guidelines for REST have it: clients are
/// built on that.
pub(crate) fn error(status: u16, error: Value) -> Response<Body> {
    let code = error.get("code").and_then(Value::as_str);
    let code = code.and_then(|code| header::HeaderValue::from_str(code).ok());
    let mut response = json(status, Some(&json!({ "error": error })));
    if let Some(code) = code {
        response.headers_mut().insert("x-ms-error-code", code);
    }
    response
}

/// An ARM error; what mends it goes into `additionalInfo`, where clients that do not know it pass
/// over it.
pub(crate) fn error_of(refusal: &Refusal) -> Value {
    let mut error = json!({ "code": refusal.code, "message": refusal.message });
    let fix = refusal.fix.iter().map(|fix| json!({ "type": "fix", "info": { "command": fix } }));
    let advice = refusal.advice.iter().map(
        |advice| json!({ "type": "recommendedAction", "info": { "recommendedAction": advice } }),
    );
    let info: Vec<Value> = fix.chain(advice).collect();
    if let (false, Some(error)) = (info.is_empty(), error.as_object_mut()) {
        error.insert("additionalInfo".into(), info.into());
    }
    error
}

/// An ARM error body.
pub(crate) fn refusal(refusal: &Refusal) -> Response<Body> {
    let mut response = error(refusal.status, error_of(refusal));
    if refusal.status == 404 {
        let gateway = header::HeaderValue::from_static("gateway");
        response.headers_mut().insert("x-ms-failure-cause", gateway);
    }
    response
}

/// Where an operation is followed: its status, and its result.
pub(crate) struct OperationLinks {
    place: String,
}

/// The links to an operation on `resource`, as the caller reaches them.
pub(crate) fn operation_links(
    base: &Base,
    resource: &ResourceId,
    platform: &Platform,
) -> OperationLinks {
    let subscription = platform.installation.subscription_id;
    let location = &platform.installation.location;
    let kind = resource.resource_type();
    let namespace = kind.as_str().split('/').next().unwrap_or_default();
    let main = base.main();
    OperationLinks {
        place: format!(
            "{main}/subscriptions/{subscription}/providers/{namespace}/locations/{location}"
        ),
    }
}

/// Adds the headers that tell how to follow an operation.
pub(crate) fn with_operation(
    mut response: Response<Body>,
    operation: Option<(OperationId, &OperationLinks)>,
) -> Response<Body> {
    let Some((id, OperationLinks { place })) = operation else { return response };
    let headers = response.headers_mut();
    let mut put = |name: &'static str, text: &str| {
        if let Ok(value) = header::HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    let link = |word: &str| format!("{place}/{word}/{id}?api-version={OPERATIONS_API_VERSION}");
    put("azure-asyncoperation", &link("operationStatus"));
    put("location", &link("operationResults"));
    put("retry-after", "1");
    put("x-custody-operation", &id.to_string());
    response
}
