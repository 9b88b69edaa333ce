//! custody's own requests: the installation, the ledger, recovery kits, dependants, status.

use std::sync::Arc;

use custody_activity::{HeadFile, LedgerError, Order};
use custody_envelope::SecretBytes;
use custody_names::{KeyUri, ResourceId};
use custody_protection::FolderSource;
use custody_resources::Refusal;
use custody_worker::{Platform, fault, kits, look, overview, report_on_key, rescue, verify_report};
use data_encoding::BASE64;
use http::{Method, Response};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::own_directory;
use crate::reply::{self, Body};
use crate::server::Call;

/// Most ledger records in one answer.
const RECORDS_MAX: usize = 10_000;

/// Answers one request below `/custody/`.
pub(crate) fn answer(platform: &Arc<Platform>, call: &Call<'_>) -> Result<Response<Body>, Refusal> {
    let segments: Vec<&str> =
        call.path.split('/').filter(|part| !part.is_empty()).skip(1).collect();
    if let Some(answered) = own_directory::answer(platform, call, &segments) {
        return Ok(reply::json(200, Some(&answered?)));
    }
    let body = match (call.method, segments.as_slice()) {
        (&Method::GET, ["installation"]) => overview::installation(platform)?,
        (&Method::GET, ["status"]) => {
            permit(platform, call, "Custody.Platform/status/read")?;
            overview::status(platform)?
        }
        (&Method::GET, ["dependants"]) => dependants(platform, call)?,
        (&Method::POST, ["drills"]) => {
            permit(platform, call, "Custody.Platform/drills/write")?;
            let key = key_of(|name| call.body.get(name).and_then(Value::as_str))?;
            report_on_key(platform, &key, &call.caller, call.correlation)?
        }
        (&Method::GET, ["ledger"]) => {
            permit(platform, call, "Custody.Platform/ledger/read")?;
            records(platform, call)?
        }
        (&Method::GET, ["audit"]) => {
            permit(platform, call, "Custody.Platform/ledger/read")?;
            deliveries(platform)?
        }
        (&Method::GET, ["ledger", "head"]) => {
            permit(platform, call, "Custody.Platform/ledger/read")?;
            let head = platform.ledger.export_head().map_err(|error| ledger_fault(&error))?;
            json!(head)
        }
        (&Method::POST, ["ledger", "verify"]) => {
            permit(platform, call, "Custody.Platform/ledger/read")?;
            verify(platform, call)?
        }
        (&Method::POST, ["scan"]) => {
            permit(platform, call, "Custody.Platform/scan/action")?;
            let folder = call.body.get("folder").cloned().unwrap_or_default();
            let folder = FolderSource::deserialize(folder)
                .map_err(|error| Refusal::bad_request(format!("folder: {error}")))?;
            look::scan_folder(platform, &folder)?
        }
        (&Method::POST, ["repositories"]) => {
            permit(platform, call, "Custody.Platform/repositories/write")?;
            let fingerprint = call.body.get("fingerprint").and_then(Value::as_str);
            let folder = std::path::Path::new(text(&call.body, "path")?);
            let id = rescue::take_in(platform, folder, fingerprint)?;
            json!({ "id": id })
        }
        (&Method::POST, ["recoveryKit"]) => {
            permit(platform, call, "Custody.Platform/recoveryKit/write")?;
            kits::create(platform, &call.caller, &passphrase(&call.body)?)?
        }
        (&Method::POST, ["recoveryKit", "test"]) => {
            permit(platform, call, "Custody.Platform/recoveryKit/write")?;
            let kit = text(&call.body, "kit")?;
            let bytes = BASE64
                .decode(kit.as_bytes())
                .map_err(|error| Refusal::bad_request(format!("the kit is no base64: {error}")))?;
            kits::test(platform, &call.caller, &passphrase(&call.body)?, &bytes)?
        }
        _ => {
            let text = format!("{} {} is not served", call.method, call.path);
            return Err(Refusal::new(404, "InvalidPath", text));
        }
    };
    Ok(reply::json(200, Some(&body)))
}

/// How far each audit destination and event subscription has come.
fn deliveries(platform: &Platform) -> Result<Value, Refusal> {
    let deliveries = platform.deliveries()?;
    let shown = deliveries.iter().map(|(id, delivery)| {
        json!({
            "id": id,
            "sequence": delivery.sequence,
            "problem": delivery.trouble(),
            "failures": delivery.failures,
            "retryAt": delivery.retry_at,
            "damaged": delivery.damaged,
            "dropped": delivery.dropped,
            "lastDropped": delivery.last_dropped,
        })
    });
    Ok(json!({ "value": shown.collect::<Vec<_>>() }))
}

pub(crate) fn permit(
    platform: &Platform,
    call: &Call<'_>,
    permission: &str,
) -> Result<(), Refusal> {
    let looked = platform.records.view(&mut |world| {
        platform.engine.permit(&call.caller, permission, &ResourceId::root(), world)
    });
    looked.map_err(fault::of_apply)
}

fn dependants(platform: &Arc<Platform>, call: &Call<'_>) -> Result<Value, Refusal> {
    permit(platform, call, "Custody.Platform/dependants/read")?;
    let key = key_of(|name| call.parameter(name))?;
    overview::dependants(platform, &key, call.correlation)
}

/// The key that a request names by `keyVault`, `key` and perhaps `version`.
fn key_of<'a>(named: impl Fn(&str) -> Option<&'a str>) -> Result<KeyUri, Refusal> {
    let wanted = |name: &str| {
        named(name).ok_or_else(|| Refusal::bad_request(format!("the parameter {name} is missing")))
    };
    let bad = |error: custody_names::InvalidName| Refusal::bad_request(error.to_string());
    Ok(KeyUri {
        vault: wanted("keyVault")?.parse().map_err(bad)?,
        key: wanted("key")?.parse().map_err(bad)?,
        version: named("version").map(str::parse).transpose().map_err(bad)?,
    })
}

fn records(platform: &Platform, call: &Call<'_>) -> Result<Value, Refusal> {
    let number = |name| call.parameter(name).and_then(|text: &str| text.parse::<u64>().ok());
    let top = number("top").and_then(|top| usize::try_from(top).ok()).unwrap_or(100);
    let order = if number("from").is_some() { Order::OldestFirst } else { Order::NewestFirst };
    let from = number("from").unwrap_or(0);
    let wanted: Vec<&str> = ["job", "key"].iter().filter_map(|name| call.parameter(name)).collect();
    let mut shown = Vec::new();
    for entry in platform.ledger.read(order).map_err(|error| ledger_fault(&error))? {
        let entry = entry.map_err(|error| ledger_fault(&error))?;
        let Some(record) = entry.record().filter(|_| entry.position.sequence >= from) else {
            continue;
        };
        let text = record.to_string();
        if wanted.iter().all(|word| text.contains(word)) {
            shown.push(json!({
                "sequence": entry.position.sequence,
                "time": entry.time,
                "hash": entry.position.hash,
                "record": record,
            }));
        }
        if shown.len() >= top.min(RECORDS_MAX) {
            break;
        }
    }
    Ok(json!({ "value": shown }))
}

fn verify(platform: &Platform, call: &Call<'_>) -> Result<Value, Refusal> {
    let head = match call.body.get("head").filter(|head| !head.is_null()) {
        Some(head) => {
            Some(HeadFile::from_json(&head.to_string()).map_err(|error| ledger_fault(&error))?)
        }
        None => None,
    };
    let report = custody_activity::verify(&platform.folder.ledger(), head.as_ref())
        .map_err(|error| ledger_fault(&error))?;
    let mut body = json!(report);
    let drill = call.body.get("drill").filter(|drill| !drill.is_null());
    let drill = drill.map(|drill| verify_report(platform, drill));
    if let Some(fields) = body.as_object_mut() {
        let fits = drill.as_ref().is_none_or(Result::is_ok);
        fields.insert("ok".into(), (report.passed() && fits).into());
        if let Some(drill) = drill {
            let shown = json!({ "ok": drill.is_ok(), "problem": drill.err() });
            fields.insert("drill".into(), shown);
        }
    }
    Ok(body)
}

fn ledger_fault(error: &LedgerError) -> Refusal {
    let status = match error {
        // The head came with the request.
        LedgerError::InvalidHead(_) => 400,
        _ => 500,
    };
    Refusal::new(status, error.code(), error.to_string())
}

fn text<'b>(body: &'b Value, name: &str) -> Result<&'b str, Refusal> {
    body.get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::bad_request(format!("the body names no {name}")))
}

fn passphrase(body: &Value) -> Result<SecretBytes, Refusal> {
    Ok(SecretBytes::new(text(body, "passphrase")?.as_bytes().to_vec()))
}
