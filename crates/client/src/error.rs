//! Why a call did not bring what was asked for.

use serde_json::Value;

use crate::TransportError;

// The client's own codes.
pub(crate) const INVALID_REQUEST: &str = "InvalidRequest";
pub(crate) const JOB_FAILED: &str = "JobFailed";
pub(crate) const OPERATION_FAILED: &str = "OperationFailed";
pub(crate) const OPERATION_TIMED_OUT: &str = "OperationTimedOut";
const SERVER_UNREACHABLE: &str = "ServerUnreachable";
const UNEXPECTED_ANSWER: &str = "UnexpectedAnswer";

/// A refused, failed or garbled call. The codes are the server's and the client's own, all listed
/// in `docs/errors.md`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// HTTP status, or none if there was no answer or the failure is that of a job.
    pub status: Option<u16>,
    /// A stable code.
    pub code: String,
    /// The finer code that key vaults add (`KeyDisabled`).
    pub inner_code: Option<String>,
    /// What happened and why.
    pub message: String,
    /// The command that mends it.
    pub fix: Option<String>,
    /// Further errors, as the server sent them.
    pub details: Box<[Value]>,
}

impl ClientError {
    /// An error with nothing but a code and a message.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status: None,
            code: code.into(),
            inner_code: None,
            message: message.into(),
            fix: None,
            details: Box::default(),
        }
    }

    /// Adds the command that mends it.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Whether this says that the thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status == Some(404)
    }

    /// An answer that is not what the interface promises.
    pub(crate) fn unexpected(what: impl std::fmt::Display) -> Self {
        Self::new(UNEXPECTED_ANSWER, format!("the server's answer cannot be understood: {what}"))
    }

    /// Reads the error of an answer with this status: ARM's `{"error":{…}}` or a bare error.
    pub(crate) fn from_answer(status: u16, body: &[u8]) -> Self {
        let parsed: Option<Value> = serde_json::from_slice(body).ok();
        let error = parsed.as_ref().map(|body| body.get("error").unwrap_or(body));
        let read = error.and_then(Self::from_value);
        let mut error = read.unwrap_or_else(|| {
            Self::new(UNEXPECTED_ANSWER, format!("the server answered with status {status}"))
        });
        error.status = Some(status);
        error
    }

    /// Reads a job's error of either kind of vault: `{code, message, recommendedAction?}` or
    /// `{errorTitle, errorString, recommendations?}`, whose text begins with the code.
    pub(crate) fn from_job(error: &Value) -> Option<Self> {
        let text = |name: &str| error.get(name).and_then(Value::as_str);
        let Some(code) = text("errorTitle") else { return Self::from_value(error) };
        let message = text("errorString").unwrap_or_default();
        let message = message.strip_prefix(code).and_then(|rest| rest.strip_prefix(": "));
        let mut read = Self::new(code, message.or(text("errorString")).unwrap_or_default());
        let advice = error.pointer("/recommendations/0").and_then(Value::as_str);
        read.fix = advice.map(str::to_owned);
        Some(read)
    }

    /// Reads `{code, message, details?, innererror?, additionalInfo?}`.
    pub(crate) fn from_value(error: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let inner = error.get("innererror").or_else(|| error.get("innerError"));
        let details = error.get("details").and_then(Value::as_array).cloned();
        Some(Self {
            status: None,
            code: error.get("code").and_then(text)?,
            inner_code: inner.and_then(|inner| inner.get("code")).and_then(text),
            message: error.get("message").and_then(text).unwrap_or_default(),
            fix: fix_of(error),
            details: details.unwrap_or_default().into_boxed_slice(),
        })
    }
}

impl From<TransportError> for ClientError {
    fn from(error: TransportError) -> Self {
        Self::new(SERVER_UNREACHABLE, error.to_string())
    }
}

/// The command in `additionalInfo`, or a job error's first recommended action.
fn fix_of(error: &Value) -> Option<String> {
    let infos = error.get("additionalInfo").and_then(Value::as_array);
    let command = infos.into_iter().flatten().find_map(|info| {
        let is_fix = info.get("type").and_then(Value::as_str) == Some("fix");
        if is_fix { info.pointer("/info/command").and_then(Value::as_str) } else { None }
    });
    let action = || error.pointer("/recommendedAction/0").and_then(Value::as_str);
    command.or_else(action).map(str::to_owned)
}
