//! The client against answers that a test writes down.
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};

use custody_client::{Client, ClientError, JobError, SourcePath, Transport, TransportError, Wish};
use custody_names::ResourceId;
use custody_test_world::FixedClock;
use http::{Request, Response};
use serde_json::{Value, json};

/// Gives the answers it was made with, one after the other, and takes down what was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<(u16, Value, Option<&'static str>)>>,
    asked: Mutex<Vec<String>>,
}

impl Transport for Script {
    fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Box<dyn Read + Send>>, TransportError> {
        let uri = request.uri().to_string();
        let uri = uri.trim_start_matches("https://custody.localhost");
        self.asked.lock().unwrap().push(format!("{} {uri}", request.method()));
        let next = self.answers.lock().unwrap().pop_front();
        let (status, body, operation) =
            next.ok_or_else(|| TransportError { reason: "the script is over".to_owned() })?;
        let mut response = Response::builder().status(status);
        if let Some(operation) = operation {
            response = response.header("azure-asyncoperation", operation);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let body: Box<dyn Read + Send> = Box::new(Cursor::new(body.into_bytes()));
        Ok(response.body(body).unwrap())
    }
}

fn client(answers: Vec<(u16, Value, Option<&'static str>)>) -> (Client, Arc<Script>) {
    let script = Arc::new(Script { answers: Mutex::new(answers.into()), ..Script::default() });
    let clock = Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z"));
    (Client::new(script.clone(), clock), script)
}

fn asked(script: &Script) -> Vec<String> {
    std::mem::take(&mut script.asked.lock().unwrap())
}

#[test]
fn lists_follow_their_next_link() {
    let (client, script) = client(vec![
        (200, json!({ "value": [1, 2], "nextLink": "https://custody.localhost/x?page=2" }), None),
        (200, json!({ "value": [3], "nextLink": null }), None),
    ]);
    assert_eq!(client.list("/x").unwrap(), [json!(1), json!(2), json!(3)]);
    assert_eq!(asked(&script), ["GET /x?api-version=2026-02-01", "GET /x?page=2"]);
}

#[test]
fn errors_are_read_from_every_shape() {
    let check = |status: u16, body: Value, expected: ClientError| {
        let (client, _) = client(vec![(status, body, None)]);
        let expected = ClientError { status: Some(status), ..expected };
        assert_eq!(client.get("/x").unwrap_err(), expected);
    };
    let fix = json!([{ "type": "other" }, { "type": "fix", "info": { "command": "mend it" } }]);
    check(
        409,
        json!({ "error": { "code": "Conflict", "message": "no", "additionalInfo": fix } }),
        ClientError::new("Conflict", "no").with_fix("mend it"),
    );
    check(
        403,
        json!({ "error": {
            "code": "Forbidden", "message": "no", "innererror": { "code": "KeyDisabled" },
        } }),
        ClientError {
            inner_code: Some("KeyDisabled".to_owned()),
            ..ClientError::new("Forbidden", "no")
        },
    );
    check(400, json!({ "code": "Bare", "message": "no" }), ClientError::new("Bare", "no"));
    check(
        502,
        Value::Null,
        ClientError::new("UnexpectedAnswer", "the server answered with status 502"),
    );
}

#[test]
fn what_is_missing_is_found_to_be_none() {
    let (client, _) = client(vec![
        (404, json!({ "error": { "code": "ResourceNotFound", "message": "" } }), None),
        (403, json!({ "error": { "code": "AuthorizationFailed", "message": "" } }), None),
    ]);
    assert_eq!(client.find("/x").unwrap(), None);
    assert_eq!(client.find("/x").unwrap_err().code, "AuthorizationFailed");
    assert_eq!(client.find("/x").unwrap_err().code, "ServerUnreachable");
}

#[test]
fn changes_wait_for_their_operation() {
    let operation = Some("/operations/1");
    let (client, script) = client(vec![
        (201, json!({ "state": "Provisioning" }), operation),
        (200, json!({ "status": "InProgress" }), None),
        (200, json!({ "status": "succeeded" }), None),
        (200, json!({ "state": "Succeeded" }), None),
    ]);
    assert_eq!(client.put("/x", &json!({})).unwrap(), json!({ "state": "Succeeded" }));
    let version = "?api-version=2026-02-01";
    let look = format!("GET /operations/1{version}");
    let expected = [format!("PUT /x{version}"), look.clone(), look, format!("GET /x{version}")];
    assert_eq!(asked(&script), expected);
}

#[test]
fn an_operation_that_fails_says_why() {
    let failed = json!({ "status": "Failed", "error": { "code": "KeyDisabled", "message": "no" } });
    let (client, _) = client(vec![(202, Value::Null, Some("/operations/1")), (200, failed, None)]);
    assert_eq!(client.delete("/x").unwrap_err(), ClientError::new("KeyDisabled", "no"));
}

#[test]
fn jobs_are_waited_for_by_revision_and_cancelled_once() {
    let job = |status: &str, revision: u64| {
        let properties = json!({ "operation": "Backup", "status": status, "revision": revision });
        (200, json!({ "properties": properties }), None)
    };
    let (client, script) = client(vec![
        job("Queued", 1),
        job("InProgress", 2),
        (202, Value::Null, None),
        job("Cancelling", 3),
        job("Cancelled", 4),
    ]);
    let vault: ResourceId = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/g/\
                             providers/Microsoft.DataProtection/backupVaults/v"
        .parse()
        .unwrap();
    let mut looks = 0;
    let mut seen = |_: &custody_client::Job| {
        looks += 1;
        if looks < 2 { Wish::Continue } else { Wish::Cancel }
    };
    let ended = client.wait_for_job(&vault, "j", &mut seen).unwrap();
    assert_eq!(ended.outcome(), Err(JobError::Cancelled));
    let tails: Vec<String> = asked(&script)
        .iter()
        .map(|line| line.rsplit("backupJobs/").next().unwrap().into())
        .collect();
    let version = "api-version=2026-02-01";
    assert_eq!(
        tails,
        [
            format!("j?{version}"),
            format!("j?{version}&wait=1&after=1"),
            format!("j/cancel?{version}"),
            format!("j?{version}&wait=1&after=2"),
            format!("j?{version}&wait=1&after=3"),
        ]
    );
}

/// Each kind of vault tells in its own words why a job failed: they are read alike.
#[test]
fn a_failed_job_says_why_in_either_kind_of_vault() {
    let vault: ResourceId = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/g/\
                             providers/Microsoft.RecoveryServices/vaults/v"
        .parse()
        .unwrap();
    let check = |details: Value, code: &str, message: &str, fix: Option<&str>| {
        let properties =
            json!({ "operation": "Backup", "status": "Failed", "errorDetails": details });
        let (client, _) = client(vec![(200, json!({ "properties": properties }), None)]);
        let job = client.wait_for_job(&vault, "j", &mut |_| Wish::Continue).unwrap();
        let Err(JobError::Failed(error)) = job.outcome() else { panic!("{details}") };
        let said = (error.code.as_str(), error.message.as_str(), error.fix.as_deref());
        assert_eq!(said, (code, message, fix), "{details}");
    };
    let (code, why, fix) = ("KeyDisabled", "the key is disabled", Some("custody enable"));
    let backup = json!([{ "code": code, "message": why, "recommendedAction": [fix] }]);
    check(backup, code, why, fix);
    let text = format!("{code}: {why}");
    let recovery = json!([{ "errorTitle": code, "errorString": text, "recommendations": [fix] }]);
    check(recovery, code, why, fix);
    check(json!([{ "errorTitle": code, "errorString": why }]), code, why, None);
    check(json!([]), "JobFailed", "the Backup job failed", None);
}

#[test]
fn paths_survive_json_byte_for_byte() {
    let check = |bytes: &[u8], expected: Value| {
        let path = SourcePath::from(OsStr::from_bytes(bytes));
        assert_eq!(path.to_json(), expected);
        assert_eq!(SourcePath::from_json(&expected).unwrap().as_bytes(), bytes);
    };
    check(b"/a/b", json!("/a/b"));
    check("/Zo\u{eb}\n".as_bytes(), json!("/Zo\u{eb}\n"));
    check(b"caf\xe9", json!({ "base64": "Y2Fm6Q==" }));
    check(b"", json!(""));
    for value in [json!(3), json!({ "base64": "?" }), json!({}), Value::Null] {
        assert_eq!(SourcePath::from_json(&value), None, "{value}");
    }
}
