//! The activity log in the shape of `Microsoft.Insights/eventtypes/management/values`.

use aws_lc_rs::digest::{SHA256, digest};
use custody_ambient::Timestamp;
use custody_names::{CorrelationId, ResourceId};
use custody_resources::{ActivityEvent, ActivityStatus, Refusal};
use custody_worker::fault;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::filter::{self, Comparison, Term};
use crate::links;
use crate::tenancy::exists;
use crate::views::View;

/// Most events that one query looks at, newest first.
const EVENTS_MAX: usize = 20_000;

/// `GET S/providers/Microsoft.Insights/eventtypes/management/values?$filter=…`.
pub(crate) fn events(view: &View<'_>) -> Result<Value, Refusal> {
    let terms = filter::parse(view.call.parameter("$filter"))?;
    view.look("Microsoft.Insights/eventtypes/values/read", |world| exists(&view.place, world))?;
    let found = view.platform.records.activity(Some(&view.place), EVENTS_MAX);
    let mut shown = Vec::new();
    for event in found.map_err(|error| fault::of_store(&error))? {
        if fits(&event, &terms)? {
            shown.push(render(view, &event));
        }
    }
    links::page(view.call, shown)
}

fn fits(event: &ActivityEvent, terms: &[Term]) -> Result<bool, Refusal> {
    for term in terms {
        let Term::Compare { field, with, value } = term else {
            return Err(filter::unknown(term));
        };
        let holds = match (field.as_str(), with) {
            ("eventtimestamp", Comparison::AtLeast) => event.time >= time(value, term)?,
            ("eventtimestamp", Comparison::AtMost) => event.time <= time(value, term)?,
            ("resourcegroupname", Comparison::Equal) => event
                .resource
                .resource_group_name()
                .is_some_and(|own| own.eq_ignore_ascii_case(value)),
            ("resourceuri" | "resourceid", Comparison::Equal) => {
                let wanted: Option<ResourceId> = value.parse().ok();
                wanted.is_some_and(|wanted| wanted.contains(&event.resource))
            }
            ("resourceprovider", Comparison::Equal) => namespace(event).eq_ignore_ascii_case(value),
            ("resourcetype", Comparison::Equal) => {
                event.resource.resource_type().as_str().eq_ignore_ascii_case(value)
            }
            ("correlationid", Comparison::Equal) => {
                event.correlation.to_string().eq_ignore_ascii_case(value)
            }
            ("caller", Comparison::Equal) => event.caller.eq_ignore_ascii_case(value),
            ("status", Comparison::Equal) => event.status.as_str().eq_ignore_ascii_case(value),
            ("operations" | "operationname", Comparison::Equal) => {
                event.operation_name.eq_ignore_ascii_case(value)
            }
            // All events are of the channels and the level that clients ask for by habit.
            ("eventchannels" | "levels", Comparison::Equal) => true,
            _ => return Err(filter::unknown(term)),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Clients write the time with or without zone, and with more digits than a clock has.
fn time(text: &str, term: &Term) -> Result<Timestamp, Refusal> {
    let zoned = text.parse::<Timestamp>();
    zoned.or_else(|_| format!("{text}Z").parse()).map_err(|_| filter::unknown(term))
}

fn namespace(event: &ActivityEvent) -> String {
    let kind = event.resource.resource_type();
    kind.as_str().split('/').next().unwrap_or_default().to_owned()
}

fn render(view: &View<'_>, event: &ActivityEvent) -> Value {
    let both = |text: &str| json!({ "value": text, "localizedValue": text });
    let id = event_id(event);
    let (name, local_name) = match event.status {
        ActivityStatus::Started => ("BeginRequest", "Begin request"),
        _ => ("EndRequest", "End request"),
    };
    let failed = event.status == ActivityStatus::Failed;
    let subscription = event.resource.subscription_id();
    json!({
        "authorization": { "action": event.operation_name, "scope": event.resource },
        "caller": event.caller,
        "category": both("Administrative"),
        "channels": "Operation",
        "claims": {},
        "correlationId": event.correlation,
        "description": "",
        "eventDataId": id,
        "eventName": { "value": name, "localizedValue": local_name },
        "eventTimestamp": event.time,
        "id": format!("{}/events/{id}/ticks/{}", event.resource, ticks(event.time)),
        "level": if failed { "Error" } else { "Informational" },
        "operationId": event.correlation,
        "operationName": operation_name(&event.operation_name),
        "properties": properties(event),
        "resourceGroupName": event.resource.resource_group_name().unwrap_or_default(),
        "resourceId": event.resource,
        "resourceProviderName": both(&namespace(event)),
        "resourceType": both(event.resource.resource_type().as_str()),
        "status": both(event.status.as_str()),
        "subStatus": sub_status(event),
        "submissionTimestamp": event.time,
        "subscriptionId": subscription,
        "tenantId": view.call.caller.tenant,
    })
}

/// The permission of a change of a Backup vault, and what the document calls it (rule 78).
const BACKUP_VAULT_UPDATE: (&str, &str) =
    ("Microsoft.DataProtection/backupVaults/write", "Backup Vault update (PATCH)");

fn operation_name(name: &str) -> Value {
    let (update, called) = BACKUP_VAULT_UPDATE;
    let local = if name.eq_ignore_ascii_case(update) { called } else { name };
    json!({ "value": name, "localizedValue": local })
}

/// How the request was answered, as ARM tells it.
fn properties(event: &ActivityEvent) -> Value {
    let mut all = Map::new();
    if let Some(reason) = reason(event) {
        all.insert("statusCode".into(), reason.into());
    }
    if let Some(code) = &event.code {
        let error = json!({ "error": { "code": code, "message": event.message } });
        all.insert("statusMessage".into(), error.to_string().into());
    }
    Value::Object(all)
}

fn sub_status(event: &ActivityEvent) -> Value {
    let (Some(status), Some(reason)) = (event.http_status, reason(event)) else {
        return json!({ "value": "", "localizedValue": "" });
    };
    let text = format!("{reason} (HTTP Status Code: {status})");
    json!({ "value": reason, "localizedValue": text })
}

/// The name of the HTTP status, as .NET writes it: `NotFound`.
fn reason(event: &ActivityEvent) -> Option<String> {
    let status = StatusCode::from_u16(event.http_status?).ok()?;
    Some(status.canonical_reason()?.replace(' ', ""))
}

/// An id that stays the same whenever the event is shown: the events of a request differ in what
/// they are about and how far that had come.
fn event_id(event: &ActivityEvent) -> CorrelationId {
    let ActivityEvent { correlation, resource, operation_name, status, time, .. } = event;
    let text = format!("{correlation} {resource} {operation_name} {} {time}", status.as_str());
    let hash = digest(&SHA256, text.as_bytes());
    let head = hash.as_ref().first_chunk::<16>().copied().unwrap_or_default();
    CorrelationId::from_bytes(head)
}

/// .NET's count: tenths of microseconds since the year 1.
fn ticks(time: Timestamp) -> i128 {
    const UNIX_EPOCH_TICKS: i128 = 621_355_968_000_000_000;
    UNIX_EPOCH_TICKS + time.as_nanosecond() / 100
}
