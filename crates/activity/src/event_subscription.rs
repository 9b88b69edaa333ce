//! Who is told what happens to the keys of a key vault (`az eventgrid event-subscription`).

use custody_ambient::Timestamp;
use custody_names::ResourceId;
use custody_resources::{
    Act, Action, Answers, Change, Kind, Place, Plan, Refusal, Request, Stop, Stored, World,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::audit_destination::NoStatus;
use crate::web_address::is_web_address;

/// Longest URL of a webhook, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// Most event subscriptions of one key vault.
const SUBSCRIPTIONS_MAX: usize = 100;
/// Most labels of a subscription, and longest of them in bytes.
const LABELS_MAX: usize = 64;
/// Most deliveries that a subscription may ask for (Azure's limit), and what it gets unless it asks.
const ATTEMPTS_MAX: u32 = 30;
/// Longest time that an event is worth telling, in minutes (Azure's limit), and the default.
const TIME_TO_LIVE_MINUTES_MAX: u32 = 1_440;
/// The kinds of event of a key vault, those that custody tells of first.
const EVENT_TYPES: [&str; 10] = [
    "Microsoft.KeyVault.KeyNewVersionCreated",
    "Microsoft.KeyVault.KeyNearExpiry",
    "Microsoft.KeyVault.KeyExpired",
    "Microsoft.KeyVault.CertificateNewVersionCreated",
    "Microsoft.KeyVault.CertificateNearExpiry",
    "Microsoft.KeyVault.CertificateExpired",
    "Microsoft.KeyVault.SecretNewVersionCreated",
    "Microsoft.KeyVault.SecretNearExpiry",
    "Microsoft.KeyVault.SecretExpired",
    "Microsoft.KeyVault.VaultAccessPolicyChanged",
];

/// What a webhook may say beside its URL, without effect.
const WEBHOOK_WORDS: [&str; 3] =
    ["endpointBaseUrl", "maxEventsPerBatch", "preferredBatchSizeInKilobytes"];

/// `Microsoft.EventGrid/eventSubscriptions`, below a key vault.
pub struct EventSubscription;

/// Who is told what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventSubscriptionSpec {
    /// Who.
    pub destination: EventDestination,
    /// What.
    #[serde(default)]
    pub filter: EventFilter,
    /// In which form.
    #[serde(default)]
    pub event_delivery_schema: DeliverySchema,
    /// How persistently.
    #[serde(default)]
    pub retry_policy: RetryPolicy,
    /// Kept as the client wrote them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time_utc: Option<Timestamp>,
    /// Refused unless empty: what is never delivered is in the delivery's state and on the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_destination: Option<Value>,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "endpointType", content = "properties")]
pub enum EventDestination {
    /// A webhook.
    #[serde(alias = "webhook")]
    WebHook(Webhook),
}

/// A webhook. Its URL may hold a secret: it is shown to those alone who may ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Where events are posted to.
    pub endpoint_url: String,
    /// What else a client wrote: the size of batches, which are of one event always. Anything that
    /// would change how an event is posted is refused.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// What a subscriber is told of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventFilter {
    /// The kinds of event; all where there is no list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub included_event_types: Option<Vec<String>>,
    /// How the name of the key begins.
    #[serde(deserialize_with = "text_or_null")]
    pub subject_begins_with: String,
    /// How it ends.
    #[serde(deserialize_with = "text_or_null")]
    pub subject_ends_with: String,
    /// Whether case distinguishes there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_subject_case_sensitive: Option<bool>,
    /// Refused unless empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advanced_filters: Option<Vec<Value>>,
    /// Says something about advanced filters alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_advanced_filtering_on_arrays: Option<bool>,
}

/// The form of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliverySchema {
    /// Event Grid's own.
    #[default]
    EventGridSchema,
    /// CloudEvents 1.0, in structured JSON.
    #[serde(rename = "CloudEventSchemaV1_0")]
    CloudEvents,
}

/// How persistently an event is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryPolicy {
    /// How often at most.
    pub max_delivery_attempts: u32,
    /// For how long after it happened, in minutes.
    pub event_time_to_live_in_minutes: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_delivery_attempts: ATTEMPTS_MAX,
            event_time_to_live_in_minutes: TIME_TO_LIVE_MINUTES_MAX,
        }
    }
}

impl EventSubscriptionSpec {
    /// The webhook's URL.
    pub fn url(&self) -> &str {
        let EventDestination::WebHook(hook) = &self.destination;
        &hook.endpoint_url
    }

    /// Whether the subscriber is told of such an event about the key of this name at `now`.
    pub fn wants(&self, event_type: &str, subject: &str, now: Timestamp) -> bool {
        let EventFilter { included_event_types, subject_begins_with, subject_ends_with, .. } =
            &self.filter;
        let fold = |text: &str| match self.filter.is_subject_case_sensitive {
            Some(true) => text.to_owned(),
            _ => text.to_lowercase(),
        };
        let subject = fold(subject);
        let types = included_event_types.as_deref().unwrap_or_default();
        (types.is_empty() || types.iter().any(|known| known.eq_ignore_ascii_case(event_type)))
            && subject.starts_with(&fold(subject_begins_with))
            && subject.ends_with(&fold(subject_ends_with))
            && self.expiration_time_utc.is_none_or(|end| now < end)
    }
}

impl Kind for EventSubscription {
    const TYPE: &'static str = "Microsoft.EventGrid/eventSubscriptions";
    const PLACE: Place = Place::Below("Microsoft.KeyVault/vaults");
    const ANSWERS: Answers = Answers { replaced: 201, ..Answers::USUAL };
    const ACTIONS: &'static [Action] =
        &[Action { name: "getFullUrl", permission: "getFullUrl/action" }];
    const PATCH_IS_FLAT: bool = true;

    type Spec = EventSubscriptionSpec;
    type Status = NoStatus;

    fn plan(change: Change<'_, Self>, world: &World) -> Result<Plan<Self>, Stop> {
        check(&change.spec)?;
        let vault = change.request.id.parent().unwrap_or_else(ResourceId::root);
        let others = world.children(&vault, Self::TYPE)?.len();
        if change.before.is_none() && others >= SUBSCRIPTIONS_MAX {
            let text = format!("a key vault has {SUBSCRIPTIONS_MAX} event subscriptions at most");
            return Err(Refusal::new(409, "Conflict", text).into());
        }
        Ok(Plan::done(change.spec, NoStatus {}))
    }

    fn act(
        _action: &str,
        current: &Stored<Self>,
        _request: &Request<'_>,
        _world: &World,
    ) -> Result<Act, Stop> {
        let body = json!({ "endpointUrl": current.spec.url() });
        Ok(Act { body: Some(body), ..Act::default() })
    }

    /// As Event Grid shows it: of the URL the part before the query alone.
    fn properties(stored: &Stored<Self>) -> Result<Value, Refusal> {
        let EventSubscriptionSpec { filter, event_delivery_schema, retry_policy, labels, .. } =
            &stored.spec;
        let base = stored.spec.url().split('?').next();
        let types = filter.included_event_types.as_deref().filter(|types| !types.is_empty());
        let told = EVENT_TYPES.iter().take(3).map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut shown = json!({
            "topic": stored.record.id.parent(),
            "destination": {
                "endpointType": "WebHook",
                "properties": {
                    "endpointUrl": null,
                    "endpointBaseUrl": base,
                    "maxEventsPerBatch": 1,
                    "preferredBatchSizeInKilobytes": 64,
                },
            },
            "filter": {
                "subjectBeginsWith": filter.subject_begins_with,
                "subjectEndsWith": filter.subject_ends_with,
                "includedEventTypes": types.unwrap_or(&told),
            },
            "labels": labels,
            "eventDeliverySchema": event_delivery_schema,
            "retryPolicy": retry_policy,
            "expirationTimeUtc": stored.spec.expiration_time_utc,
        });
        let shown_filter = shown.pointer_mut("/filter").and_then(Value::as_object_mut);
        if let (Some(sensitive), Some(shown)) = (filter.is_subject_case_sensitive, shown_filter) {
            shown.insert("isSubjectCaseSensitive".to_owned(), sensitive.into());
        }
        Ok(shown)
    }
}

/// What would not be carried out is refused rather than stored.
fn check(spec: &EventSubscriptionSpec) -> Result<(), Refusal> {
    let refuse = |text: &str| Err(Refusal::new(400, "InvalidRequest", text.to_owned()));
    let url = spec.url();
    if url.len() > URL_BYTES_MAX || !is_web_address(url) {
        return refuse(
            "properties.destination.properties.endpointUrl: an https:// URL of at most 2,048 bytes \
             is needed (http:// for localhost alone)",
        );
    }
    let EventDestination::WebHook(hook) = &spec.destination;
    let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let means_something = |(name, value): (&String, &Value)| {
        !(is_empty(value) || WEBHOOK_WORDS.contains(&name.as_str()))
    };
    if hook.others.iter().any(means_something) {
        return refuse("properties.destination.properties: a webhook is posted to as it is");
    }
    let filter = &spec.filter;
    if filter.advanced_filters.as_ref().is_some_and(|filters| !filters.is_empty()) {
        return refuse("properties.filter.advancedFilters: filter by type and subject");
    }
    let known = |name: &String| EVENT_TYPES.iter().any(|known| known.eq_ignore_ascii_case(name));
    if !filter.included_event_types.iter().flatten().all(known) {
        return refuse("properties.filter.includedEventTypes: a key vault has no such event");
    }
    if spec.dead_letter_destination.as_ref().is_some_and(|letters| !letters.is_null()) {
        return refuse(
            "properties.deadLetterDestination: there is none; what could not be delivered is on \
             the ledger",
        );
    }
    let RetryPolicy { max_delivery_attempts, event_time_to_live_in_minutes } = spec.retry_policy;
    if !(1..=ATTEMPTS_MAX).contains(&max_delivery_attempts) {
        return refuse("properties.retryPolicy.maxDeliveryAttempts must be 1 to 30");
    }
    if !(1..=TIME_TO_LIVE_MINUTES_MAX).contains(&event_time_to_live_in_minutes) {
        return refuse("properties.retryPolicy.eventTimeToLiveInMinutes must be 1 to 1440");
    }
    let labels = spec.labels.as_deref().unwrap_or_default();
    if labels.len() > LABELS_MAX || labels.iter().any(|label| label.len() > LABELS_MAX) {
        return refuse("properties.labels: at most 64 of at most 64 bytes");
    }
    Ok(())
}

fn text_or_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(properties: Value) -> Result<EventSubscriptionSpec, String> {
        let spec: EventSubscriptionSpec =
            serde_json::from_value(properties).map_err(|error| error.to_string())?;
        check(&spec).map(|()| spec).map_err(|refusal| refusal.message)
    }

    fn with(change: &str, value: Value) -> Value {
        let mut properties = json!({
            "destination": {
                "endpointType": "WebHook",
                "properties": { "endpointUrl": "https://hook.example/in?code=s" },
            },
            "filter": { "isSubjectCaseSensitive": false },
        });
        if let (Some((path, name)), false) = (change.rsplit_once('/'), change.is_empty()) {
            properties.pointer_mut(path).unwrap()[name] = value;
        }
        properties
    }

    #[test]
    fn what_would_not_be_carried_out_is_refused() {
        let check = |change: &str, value: Value, good: bool| {
            let outcome = spec(with(change, value.clone()));
            assert_eq!(outcome.is_ok(), good, "{change} {value}: {outcome:?}");
        };
        check("", Value::Null, true);
        check("/eventDeliverySchema", json!("CloudEventSchemaV1_0"), true);
        check("/eventDeliverySchema", json!("CustomInputSchema"), false);
        check("/destination/endpointType", json!("EventHub"), false);
        let url = "/destination/properties/endpointUrl";
        check(url, json!("http://127.0.0.1:9000/in"), true);
        for bad in [
            "http://hook.example/in",
            "https://",
            "https://user:secret@hook.example/in",
            "http://127.0.0.1@hook.example/",
            "http://localhost.evil.example/in",
            "https://hook.example\\@evil.example/",
            "https://hook.example/a b",
            "ftp://hook.example/",
        ] {
            check(url, json!(bad), false);
        }
        check("/destination/properties/maxEventsPerBatch", json!(10), true);
        check("/destination/properties/deliveryAttributeMappings", json!([]), true);
        check("/destination/properties/azureActiveDirectoryTenantId", json!("t"), false);
        check("/filter/advancedFilters", json!([]), true);
        check("/filter/advancedFilters", json!([{ "key": "k" }]), false);
        let types = "/filter/includedEventTypes";
        check(types, Value::Null, true);
        check(types, json!(["microsoft.keyvault.keyexpired"]), true);
        check(types, json!(["Microsoft.Storage.BlobCreated"]), false);
        check("/filter/subjectBeginsWith", Value::Null, true);
        check("/retryPolicy", json!({ "maxDeliveryAttempts": 3 }), true);
        check("/retryPolicy", json!({ "maxDeliveryAttempts": 31 }), false);
        check("/retryPolicy", json!({ "eventTimeToLiveInMinutes": 0 }), false);
        check("/deadLetterDestination", Value::Null, true);
        check("/deadLetterDestination", json!({ "endpointType": "StorageBlob" }), false);
        check("/labels", json!(["x".repeat(65)]), false);
    }

    #[test]
    fn filters_choose_by_type_subject_and_time() {
        let now: Timestamp = "2026-11-22T06:00:00Z".parse().unwrap();
        let check = |change: &str, value: Value, wanted: bool| {
            let spec = spec(with(change, value.clone())).unwrap();
            let got = spec.wants("Microsoft.KeyVault.KeyExpired", "Backup-Key", now);
            assert_eq!(got, wanted, "{change} {value}");
        };
        check("", Value::Null, true);
        check("/filter/includedEventTypes", json!(["Microsoft.KeyVault.KeyExpired"]), true);
        check("/filter/includedEventTypes", json!(["Microsoft.KeyVault.KeyNearExpiry"]), false);
        check("/filter/subjectBeginsWith", json!("backup"), true);
        check("/filter/subjectBeginsWith", json!("key"), false);
        check("/filter/subjectEndsWith", json!("-KEY"), true);
        let sensitive = json!({ "isSubjectCaseSensitive": true, "subjectBeginsWith": "backup" });
        check("/filter", sensitive, false);
        check("/expirationTimeUtc", json!("2026-11-22T06:00:01Z"), true);
        check("/expirationTimeUtc", json!("2026-11-22T06:00:00Z"), false);
    }
}
