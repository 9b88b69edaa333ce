//! The one place where JSON and streams leave as HTTP.

use std::io::{Cursor, Read};

use custody_names::OperationId;
use custody_resources::Refusal;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};

/// A body that is read as it is sent.
pub type Body = Box<dyn Read + Send>;

/// A JSON answer; `None` is an empty body.
pub(crate) fn json(status: u16, body: Option<&Value>) -> Response<Body> {
    let text = body.map(Value::to_string).unwrap_or_default();
    let mut response = Response::new(Box::new(Cursor::new(text.into_bytes())) as Body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    if body.is_some() {
        let kind = header::HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// A stream of bytes.
pub(crate) fn stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = header::HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An ARM error body; the step that mends it goes into `additionalInfo`, where clients that do
/// not know it pass over it.
pub(crate) fn refusal(refusal: &Refusal) -> Response<Body> {
    let mut error = json!({ "code": refusal.code, "message": refusal.message });
    if let (Some(fix), Some(error)) = (&refusal.fix, error.as_object_mut()) {
        let info = json!([{ "type": "fix", "info": { "command": fix } }]);
        error.insert("additionalInfo".into(), info);
    }
    self::json(refusal.status, Some(&json!({ "error": error })))
}

/// Adds the headers that tell how to follow an operation.
pub(crate) fn with_operation(
    mut response: Response<Body>,
    operation: Option<OperationId>,
    status_path: &str,
) -> Response<Body> {
    let Some(id) = operation else { return response };
    let headers = response.headers_mut();
    let mut put = |name: &'static str, text: &str| {
        if let Ok(value) = header::HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    put("azure-asyncoperation", status_path);
    put("location", status_path);
    put("retry-after", "1");
    put("x-custody-operation", &id.to_string());
    response
}
