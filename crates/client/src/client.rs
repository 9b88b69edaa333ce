//! Requests and answers.

use std::fmt::Write as _;
use std::io::Read;
use std::sync::Arc;

use custody_ambient::Clock;
use custody_names::KeyVaultName;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::error::INVALID_REQUEST;
use crate::{ClientError, Installation, KeyVault, Transport};

/// The host of everything but the key vaults.
const MAIN_HOST: &str = "https://custody.localhost";
/// The api-version that ARM requests are made with.
const ARM_API_VERSION: &str = "2026-02-01";
/// Longest JSON answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Most pages of one list that are followed.
const PAGES_MAX: usize = 100_000;

/// Speaks to one server.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// An operation that the server has begun and goes on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its id; the job of an operation has the same.
    pub operation: String,
    /// Where its status is.
    pub status_uri: String,
}

/// What a server answered to a change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) body: Value,
    pub(crate) accepted: Option<Accepted>,
}

impl Client {
    /// A client that sends through `transport`; `clock` paces its waiting.
    pub fn new(transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Self { transport, clock }
    }

    /// What the server says of itself.
    pub fn installation(&self) -> Result<Installation, ClientError> {
        let body = self.get("/custody/installation")?;
        Installation::deserialize(body).map_err(ClientError::unexpected)
    }

    /// Reads one resource or view.
    pub fn get(&self, path: &str) -> Result<Value, ClientError> {
        Ok(self.exchange(Method::GET, path, None)?.body)
    }

    /// Reads one resource; none if it does not exist.
    pub fn find(&self, path: &str) -> Result<Option<Value>, ClientError> {
        match self.get(path) {
            Ok(body) => Ok(Some(body)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all pages of a list.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, ClientError> {
        let mut values = Vec::new();
        let mut next = Some(path.to_owned());
        for _page in 0..PAGES_MAX {
            let Some(path) = next.take() else { return Ok(values) };
            let mut body = self.get(&path)?;
            match body.get_mut("value").map(Value::take) {
                Some(Value::Array(page)) => values.extend(page),
                _ => return Err(ClientError::unexpected("a list without \"value\"")),
            }
            next = body.get("nextLink").and_then(Value::as_str).map(str::to_owned);
        }
        Err(ClientError::unexpected("a list that does not end"))
    }

    /// Creates or replaces a resource, and waits until the server is done with it.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let answer = self.exchange(Method::PUT, path, Some(body))?;
        self.settled(path, answer)
    }

    /// Changes a resource, and waits until the server is done with it.
    pub fn patch(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        let answer = self.exchange(Method::PATCH, path, Some(body))?;
        self.settled(path, answer)
    }

    /// Deletes a resource, and waits until it is gone. Deleting what is not there is no error.
    pub fn delete(&self, path: &str) -> Result<(), ClientError> {
        let answer = self.exchange(Method::DELETE, path, None)?;
        match answer.accepted {
            Some(accepted) => self.wait_for_operation(&accepted).map(drop),
            None => Ok(()),
        }
    }

    /// An action that answers at once.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        Ok(self.exchange(Method::POST, path, Some(body))?.body)
    }

    /// An action that the server may go on with after answering; waits until it is done.
    pub fn act(&self, path: &str, body: &Value) -> Result<(), ClientError> {
        match self.exchange(Method::POST, path, Some(body))?.accepted {
            Some(accepted) => self.wait_for_operation(&accepted).map(drop),
            None => Ok(()),
        }
    }

    /// An action that the server goes on with after answering; does not wait for it.
    pub fn start(&self, path: &str, body: &Value) -> Result<Accepted, ClientError> {
        let answer = self.exchange(Method::POST, path, Some(body))?;
        answer.accepted.ok_or_else(|| ClientError::unexpected("no operation was begun"))
    }

    /// An action whose answer is a stream of bytes.
    pub fn stream(&self, path: &str, body: &Value) -> Result<Box<dyn Read + Send>, ClientError> {
        Ok(self.send(Method::POST, path, Some(body))?.into_body())
    }

    /// The data plane of a key vault.
    pub fn key_vault(&self, name: &KeyVaultName) -> KeyVault<'_> {
        KeyVault::new(self, name)
    }

    pub(crate) fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ClientError> {
        let response = self.send(method, path, body)?;
        let accepted = accepted(&response);
        let bytes = read_all(response.into_body())?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).map_err(ClientError::unexpected)?
        };
        Ok(Answer { body, accepted })
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<http::Response<Box<dyn Read + Send>>, ClientError> {
        let mut request = http::Request::builder().method(method).uri(uri(path));
        if body.is_some() {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let request = request.body(body).map_err(|error| {
            ClientError::new(INVALID_REQUEST, format!("{path} is no address: {error}"))
        })?;
        let response = self.transport.send(request)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(ClientError::from_answer(status.as_u16(), &read_all(response.into_body())?))
    }

    /// Waits for the operation of an answer, if it began one, and then reads the resource.
    fn settled(&self, path: &str, answer: Answer) -> Result<Value, ClientError> {
        match answer.accepted {
            Some(accepted) => {
                self.wait_for_operation(&accepted)?;
                self.get(path)
            }
            None => Ok(answer.body),
        }
    }
}

fn accepted(response: &http::Response<Box<dyn Read + Send>>) -> Option<Accepted> {
    if !matches!(response.status(), StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::OK) {
        return None;
    }
    let header = |name: &str| response.headers().get(name)?.to_str().ok();
    let status_uri = header("azure-asyncoperation")?;
    let last_segment = || status_uri.split('?').next()?.rsplit('/').next();
    let operation = header("x-custody-operation").or_else(last_segment)?;
    Some(Accepted { operation: operation.to_owned(), status_uri: status_uri.to_owned() })
}

fn read_all(body: Box<dyn Read + Send>) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    let read = body.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| ClientError::unexpected(format!("it broke off: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > ANSWER_BYTES_MAX) {
        return Err(ClientError::unexpected("it is too long"));
    }
    Ok(bytes)
}

/// The full URI of a path on the main host, with the api-version where one is needed. URIs that
/// the server itself gave (next pages, operations) stay as they are.
fn uri(path: &str) -> String {
    if path.starts_with("https://") {
        return path.to_owned();
    }
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut uri = format!("{MAIN_HOST}{}", encode(path));
    let mut separator = '?';
    let needs_version = !path.starts_with("/custody/") && !query.contains("api-version=");
    let version = needs_version.then(|| format!("api-version={ARM_API_VERSION}"));
    for part in [version.as_deref(), Some(query)].into_iter().flatten().filter(|q| !q.is_empty()) {
        uri.push(separator);
        uri.push_str(part);
        separator = '&';
    }
    uri
}

/// Percent-encodes what may not stand in a path or query value as it is (RFC 3986 §2.3), `/`
/// excepted.
pub fn encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/()".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        let check = |path: &str, expected: &str| assert_eq!(uri(path), expected);
        check("/custody/status", "https://custody.localhost/custody/status");
        check(
            "/subscriptions/s/a b",
            "https://custody.localhost/subscriptions/s/a%20b?api-version=2026-02-01",
        );
        check(
            "/subscriptions?$top=2",
            "https://custody.localhost/subscriptions?api-version=2026-02-01&$top=2",
        );
        check("/x?api-version=1", "https://custody.localhost/x?api-version=1");
        check("https://kv.vault.custody.localhost/keys", "https://kv.vault.custody.localhost/keys");
        check("/é", "https://custody.localhost/%C3%A9?api-version=2026-02-01");
    }
}
