//! The activity log in the shape of `Microsoft.Insights/eventtypes/management/values`.

use custody_ambient::Timestamp;
use custody_names::{CorrelationId, ResourceId};
use custody_resources::{ActivityEvent, Refusal};
use custody_worker::fault;
use serde_json::{Value, json};

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
            ("status", Comparison::Equal) => event.status.eq_ignore_ascii_case(value),
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
    let failed = event.status == "Failed";
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
        "eventName": { "value": "EndRequest", "localizedValue": "End request" },
        "eventTimestamp": event.time,
        "id": format!("{}/events/{id}/ticks/{}", event.resource, ticks(event.time)),
        "level": if failed { "Error" } else { "Informational" },
        "operationId": event.correlation,
        "operationName": both(&event.operation_name),
        "properties": event.code.as_ref().map_or_else(|| json!({}), |code| json!({ "statusCode": code })),
        "resourceGroupName": event.resource.resource_group_name().unwrap_or_default(),
        "resourceId": event.resource,
        "resourceProviderName": both(&namespace(event)),
        "resourceType": both(event.resource.resource_type().as_str()),
        "status": both(&event.status),
        "subStatus": both(event.code.as_deref().unwrap_or_default()),
        "submissionTimestamp": event.time,
        "subscriptionId": subscription,
        "tenantId": view.call.caller.tenant,
    })
}

/// An id that stays the same whenever the event is shown: the events of a request differ in their
/// status.
fn event_id(event: &ActivityEvent) -> CorrelationId {
    let mut bytes = *event.correlation.as_bytes();
    for (byte, mark) in bytes.iter_mut().zip(event.status.bytes()) {
        *byte ^= mark;
    }
    CorrelationId::from_bytes(bytes)
}

/// .NET's count: tenths of microseconds since the year 1.
fn ticks(time: Timestamp) -> i128 {
    const UNIX_EPOCH_TICKS: i128 = 621_355_968_000_000_000;
    UNIX_EPOCH_TICKS + time.as_nanosecond() / 100
}
