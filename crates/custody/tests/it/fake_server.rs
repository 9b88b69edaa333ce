//! A server in memory that behaves like the REST surface as far as the command line can tell, and
//! takes down what it was asked.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Mutex;

use custody_client::{Transport, TransportError};
use http::{Method, Request, Response};
use serde_json::{Value, json};

pub(crate) const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-00000000000a";
pub(crate) const GROUP: &str =
    "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/custody";
pub(crate) const VAULT: &str = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/\
                                custody/providers/Microsoft.DataProtection/backupVaults/main";
pub(crate) const POINT: &str = "3f2a9c77b01e";
const JOB: &str = "00000000-0000-0000-0000-0000000000b0";

/// What a request is answered with.
#[derive(Clone)]
struct Answer {
    status: u16,
    body: Vec<u8>,
    operation: Option<&'static str>,
}

#[derive(Default)]
pub(crate) struct FakeServer {
    resources: Mutex<BTreeMap<String, Value>>,
    scripted: Mutex<BTreeMap<String, Answer>>,
    log: Mutex<Vec<String>>,
    /// Properties that the next job shows, one look after the other; the last stays.
    pub(crate) job: Mutex<Vec<Value>>,
    cancelled: Mutex<bool>,
}

impl FakeServer {
    pub(crate) fn new() -> Self {
        let server = Self::default();
        *server.job.lock().unwrap() = vec![completed(&json!({}))];
        server.script("GET /custody/installation", 200, &installation());
        server
    }

    /// From now on answers requests of this method and path like this.
    pub(crate) fn script(&self, request: &str, status: u16, body: &Value) {
        let answer = Answer { status, body: body.to_string().into_bytes(), operation: None };
        self.scripted.lock().unwrap().insert(request.to_owned(), answer);
    }

    /// From now on answers with these bytes.
    pub(crate) fn script_bytes(&self, request: &str, bytes: &[u8]) {
        let answer = Answer { status: 200, body: bytes.to_vec(), operation: None };
        self.scripted.lock().unwrap().insert(request.to_owned(), answer);
    }

    /// Puts a resource there.
    pub(crate) fn put(&self, id: &str, body: &Value) {
        let mut body = body.clone();
        let fields = body.as_object_mut().unwrap();
        fields.insert("id".into(), id.into());
        fields.insert("name".into(), id.rsplit('/').next().into());
        self.resources.lock().unwrap().insert(id.to_owned(), body);
    }

    pub(crate) fn note(&self, line: &str) {
        self.log.lock().unwrap().push(line.to_owned());
    }

    /// What was asked since the last look.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    /// The changes among them, with their bodies.
    pub(crate) fn take_changes(&self) -> Vec<String> {
        let mut log = self.take_log();
        log.retain(|line| !line.starts_with("GET") && !line.starts_with("OPEN"));
        log
    }

    fn answer(&self, request: &Request<Vec<u8>>) -> Answer {
        let uri = request.uri();
        let host = uri.host().unwrap().trim_end_matches("custody.localhost").trim_end_matches('.');
        let path =
            if host.is_empty() { uri.path().to_owned() } else { format!("{host}:{}", uri.path()) };
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let method = request.method();
        let shown = if body.is_null() { String::new() } else { format!(" {body}") };
        self.note(&format!("{method} {path}{shown}"));
        if let Some(answer) = self.scripted.lock().unwrap().get(&format!("{method} {path}")) {
            return answer.clone();
        }
        match *method {
            Method::GET => self.get(&path),
            Method::PUT | Method::PATCH => self.stored(&path, &body),
            Method::DELETE => {
                let found = self.resources.lock().unwrap().remove(&path).is_some();
                json_answer(if found { 200 } else { 204 }, &json!({}))
            }
            _ => self.act(&path, &body),
        }
    }

    fn get(&self, path: &str) -> Answer {
        if path.contains("/backupJobs/") {
            let mut job = self.job.lock().unwrap();
            let now = if job.len() > 1 { job.remove(0) } else { job[0].clone() };
            let cancelled = *self.cancelled.lock().unwrap();
            let now = if cancelled { status_of("Cancelled", &json!({})) } else { now };
            return json_answer(200, &json!({ "name": JOB, "properties": now }));
        }
        let resources = self.resources.lock().unwrap();
        if let Some(resource) = resources.get(path) {
            return json_answer(200, resource);
        }
        // A collection ends in a type: no name follows it.
        let (scope, kind) = path.rsplit_once("/providers/").unwrap_or((path, ""));
        let levels = kind.split('/').count();
        let is_collection = path.ends_with("/keys")
            || path.ends_with("resourceGroups")
            || (!kind.is_empty() && levels % 2 == 0);
        if !is_collection {
            let error = json!({ "code": "ResourceNotFound", "message": "it is not there" });
            return json_answer(404, &json!({ "error": error }));
        }
        let listed = resources.iter().filter(|(id, _)| {
            let tail = format!("/providers/{kind}/");
            let name = id.rsplit_once(&tail).map(|(_, name)| name);
            id.starts_with(scope) && name.is_some_and(|name| !name.contains('/'))
        });
        let values: Vec<&Value> = listed.map(|(_, value)| value).collect();
        json_answer(200, &json!({ "value": values }))
    }

    fn stored(&self, path: &str, body: &Value) -> Answer {
        let mut body = body.clone();
        if path.contains("userAssignedIdentities") {
            let principal = "00000000-0000-0000-0000-0000000000c1";
            body["properties"] = json!({ "principalId": principal });
        }
        if path.contains("roleAssignments") {
            let scope = path.split("/providers/Microsoft.Authorization").next().unwrap();
            body["properties"]["scope"] = scope.into();
        }
        self.put(path, &body);
        let resources = self.resources.lock().unwrap();
        json_answer(200, &resources[path])
    }

    fn act(&self, path: &str, body: &Value) -> Answer {
        if let Some(key) = path.strip_suffix("/create") {
            self.put(key, &json!({ "key": { "kid": format!("https://{key}/1") } }));
            return json_answer(200, &json!({ "key": body }));
        }
        if path.ends_with("/cancel") {
            *self.cancelled.lock().unwrap() = true;
            return json_answer(202, &json!({}));
        }
        if let Some(item) = path.strip_suffix("/backup") {
            let properties = json!({
                "recoveryPointTime": "2026-11-22T06:00:00Z",
                "size": 3_000_000, "files": 1200, "newBytes": 1_000_000, "warnings": 0,
            });
            let point = format!("{item}/recoveryPoints/{POINT}");
            self.put(&point, &json!({ "properties": properties }));
        }
        Answer { status: 202, body: Vec::new(), operation: Some(JOB) }
    }
}

impl Transport for FakeServer {
    fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Box<dyn Read + Send>>, TransportError> {
        let answer = self.answer(&request);
        let mut response = Response::builder().status(answer.status);
        if let Some(operation) = answer.operation {
            let status = format!("{SUBSCRIPTION}/operationStatus/{operation}");
            response = response.header("azure-asyncoperation", status);
        }
        let body: Box<dyn Read + Send> = Box::new(Cursor::new(answer.body));
        Ok(response.body(body).unwrap())
    }
}

/// The properties of a job that ended well with this result.
pub(crate) fn completed(result: &Value) -> Value {
    status_of("Completed", result)
}

/// The properties of a job in this status.
pub(crate) fn status_of(status: &str, result: &Value) -> Value {
    json!({
        "operation": "Backup",
        "status": status,
        "revision": 3,
        "startTime": "2026-11-22T06:00:00Z",
        "endTime": "2026-11-22T06:00:02.5Z",
        "progress": {
            "phase": "read", "filesDone": 1200, "filesTotal": 1200, "bytesDone": 3_000_000,
            "bytesTotal": 3_000_000, "bytesNew": 1_000_000,
        },
        "result": result,
    })
}

fn json_answer(status: u16, body: &Value) -> Answer {
    Answer { status, body: body.to_string().into_bytes(), operation: None }
}

fn installation() -> Value {
    json!({
        "tenantId": "00000000-0000-0000-0000-00000000000e",
        "subscriptionId": "00000000-0000-0000-0000-00000000000a",
        "administrator": {
            "principalId": "00000000-0000-0000-0000-0000000000ad", "name": "root",
        },
        "location": "local",
        "dataFolder": "/data/custody",
        "defaults": {
            "resourceGroup": "custody", "keyVault": "custody-12345678", "key": "backup",
            "backupVault": "main", "identity": "main-identity",
        },
        "seal": {
            "kind": "file", "place": "/etc/custody/seal",
            "protects": "against whoever gets the data folder without the seal",
        },
    })
}
