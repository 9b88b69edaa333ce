//! The report of a drill: every step with its time and result, bound to the ledger so that it can be
//! proven later that it was written then and has not changed since.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use custody_activity::{HeadFile, Importance, LedgerError};
use custody_ambient::{Clock, Timestamp};
use custody_names::{CorrelationId, KeyUri, OperationId};
use custody_resources::{Caller, Refusal};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Platform, overview};

/// Version of the report's form.
const FORMAT: u32 = 1;
/// What the record of a report is called on the ledger.
const RECORD: &str = "DrillReport";

/// The step that gives a key back.
pub(crate) const ENABLED_AGAIN: &str = "the key version is enabled again";

/// One step of a drill.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    #[serde(rename = "step")]
    what: &'static str,
    time: Timestamp,
    took_ms: u64,
    /// `Passed` or `Failed`.
    result: &'static str,
    #[serde(skip_serializing_if = "Value::is_null")]
    found: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// The steps so far.
pub(crate) struct Protocol {
    clock: Arc<dyn Clock>,
    steps: Vec<Step>,
}

impl Protocol {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: Arc::clone(clock), steps: Vec::new() }
    }

    /// Takes a step, and writes down how it ended and what it found.
    pub(crate) fn step<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce() -> Result<(T, Value), Refusal>,
    ) -> Option<T> {
        let (time, begun) = (self.clock.now(), self.clock.since_boot());
        let (value, found, refusal) = match work() {
            Ok((value, found)) => (Some(value), found, None),
            Err(refusal) => (None, Value::Null, Some(refusal)),
        };
        self.steps.push(Step {
            what,
            time,
            took_ms: milliseconds(self.clock.since_boot().saturating_sub(begun)),
            result: if refusal.is_none() { "Passed" } else { "Failed" },
            found,
            code: refusal.as_ref().map(|refusal| refusal.code.to_string()),
            message: refusal.as_ref().map(|refusal| refusal.message.clone()),
            fix: refusal.and_then(|refusal| refusal.fix),
        });
        value
    }

    /// Whether every step passed.
    pub(crate) fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.result == "Passed")
    }

    /// Why one did not.
    pub(crate) fn failure(&self) -> Option<&str> {
        let failed = self.steps.iter().find(|step| step.result == "Failed");
        failed.and_then(|step| step.message.as_deref())
    }

    pub(crate) fn to_json(&self) -> Value {
        json!(self.steps)
    }
}

/// What a drill was about.
pub(crate) struct Subject<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) operation: Option<OperationId>,
    pub(crate) key: String,
    pub(crate) live: bool,
    pub(crate) begun: Timestamp,
    /// The ledger's head before anything was done.
    pub(crate) before: Option<HeadFile>,
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// `POST /custody/drills`: what would break if a key or a version of it went, as a report.
pub fn report_on_key(
    platform: &Arc<Platform>,
    key: &KeyUri,
    caller: &Caller,
    correlation: CorrelationId,
) -> Result<Value, Refusal> {
    let begun = platform.clock.now();
    let before = head(platform)?;
    let mut protocol = Protocol::new(&platform.clock);
    let mut dependants = Value::Null;
    protocol.step("what hangs on the key is listed", || {
        dependants = overview::dependants(platform, key, correlation)?;
        Ok(((), dependants.get("summary").cloned().unwrap_or_default()))
    });
    let verdict = match protocol.failure() {
        None => "nothing was changed".to_owned(),
        Some(why) => why.to_owned(),
    };
    let subject =
        Subject { caller, operation: None, key: key.to_string(), live: false, begun, before };
    let more = json!({
        "dependants": dependants,
        "steps": protocol.to_json(),
        "passed": protocol.passed(),
        "verdict": verdict,
    });
    seal(platform, &subject, more)
}

/// The report as it is kept: the drill, the record of it on the ledger, and the ledger's heads before
/// and after. `more` is what was done and found.
pub(crate) fn seal(
    platform: &Platform,
    subject: &Subject<'_>,
    more: Value,
) -> Result<Value, Refusal> {
    let caller = subject.caller;
    let mut report = json!({
        "format": FORMAT,
        "drill": "revoke",
        "live": subject.live,
        "operation": subject.operation,
        "installation": platform.installation.installation_id,
        "key": subject.key,
        "by": { "principalId": caller.principal, "name": caller.name },
        "begun": subject.begun,
        "ended": platform.clock.now(),
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut report, more) {
        fields.extend(more);
    }
    let digest = digest_of(&report);
    let record = json!({
        "category": "AuditEvent",
        "operationName": RECORD,
        "resultType": "Success",
        "identity": { "principalId": caller.principal, "osUser": caller.name },
        "properties": {
            "id": subject.key,
            "jobId": subject.operation,
            "live": subject.live,
            "reportSha256": digest,
        },
    });
    let stands = platform.ledger.append(&record, Importance::Ordinary);
    let stands = stands.map_err(|error| unwritten(&error))?;
    Ok(json!({
        "report": report,
        "ledger": {
            "reportSha256": digest,
            "record": stands,
            "before": subject.before,
            "head": head(platform)?,
        },
    }))
}

/// Whether a report is the one whose record stands on the ledger. `Err` says what does not fit.
pub fn verify_report(platform: &Platform, sealed: &Value) -> Result<(), String> {
    let report = sealed.get("report").ok_or("it is no report of a drill")?;
    let said = |name: &str| sealed.get("ledger").and_then(|ledger| ledger.get(name));
    let sequence = said("record").and_then(|record| record.get("sequence")?.as_u64());
    let sequence = sequence.ok_or("it names no record of the ledger")?;
    let mut lines = platform.ledger.read_from(sequence).map_err(|error| error.to_string())?;
    let line = lines.next().ok_or("the ledger has no such record")?;
    let line = line.map_err(|error| error.to_string())?;
    let record = line.record().ok_or("the ledger has another line in that place")?;
    let digest = record.pointer("/properties/reportSha256").and_then(Value::as_str);
    if line.position.sequence != sequence || record.get("operationName") != Some(&json!(RECORD)) {
        return Err("the ledger has another record in that place".to_owned());
    }
    if digest != Some(digest_of(report).as_str()) {
        return Err("the report was changed after it was written".to_owned());
    }
    Ok(())
}

/// The ledger's head now.
pub(crate) fn head(platform: &Platform) -> Result<Option<HeadFile>, Refusal> {
    platform.ledger.export_head().map_err(|error| unwritten(&error))
}

fn unwritten(error: &LedgerError) -> Refusal {
    Refusal::new(503, "AuditUnavailable", error.to_string())
}

/// SHA-256 of a report, whatever order its members are in and however it is laid out.
fn digest_of(report: &Value) -> String {
    HEXLOWER.encode(digest(&SHA256, canonical(report).as_bytes()).as_ref())
}

fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            let each = sorted.into_iter().map(|(name, value)| {
                format!("{}:{}", Value::from(name.as_str()), canonical(value))
            });
            format!("{{{}}}", each.collect::<Vec<_>>().join(","))
        }
        Value::Array(all) => {
            format!("[{}]", all.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}
