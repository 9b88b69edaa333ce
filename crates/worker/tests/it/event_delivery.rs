//! Subscribers of a key vault are told what happens to its keys.

use std::sync::Arc;
use std::time::Duration;

use custody_activity::Order;
use custody_key_vault::{Curve, KeyAnswer, KeyOperation, KeyShape, NewKey, RotationPolicy};
use custody_names::{KeyName, ResourceId};
use custody_resources::Verb;
use custody_worker::{Delivery, PostOffice};
use serde_json::{Value, json};

use crate::receiver::{Receiver, post_office, round};
use crate::site::Site;

const DAY: Duration = Duration::from_hours(24);
pub(crate) const HOOK: &str = "https://hook.example/in?code=secret";

/// A site with a key vault `kv-1` that somebody has subscribed to.
pub(crate) fn subscribed(properties: Value) -> (Site, ResourceId, Arc<Receiver>) {
    let site = Site::new();
    let vault = site.key_vault("kv-1");
    let id = format!("{vault}/providers/Microsoft.EventGrid/eventSubscriptions/mine");
    let id: ResourceId = id.parse().unwrap();
    let mut all = json!({ "destination": {
        "endpointType": "WebHook", "properties": { "endpointUrl": HOOK },
    } });
    all.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
    site.put(&id, json!({ "properties": all }));
    (site, id, Receiver::willing())
}

pub(crate) fn create(site: &Site, vault: &str, name: &str, life: Option<Duration>) -> String {
    let name: KeyName = name.parse().unwrap();
    let mut key = NewKey::of_shape(KeyShape::Ec(Curve::P256));
    key.expires = life.map(|life| site.platform.clock.now() + life);
    version(site.ask_key_vault(vault, &KeyOperation::Create { name: &name, key: &key }))
}

fn version(answer: KeyAnswer) -> String {
    let KeyAnswer::Key(key) = answer else { panic!("no key") };
    key.id.version.to_string()
}

pub(crate) fn state(site: &Site, id: &ResourceId) -> Delivery {
    site.platform.deliveries().unwrap().remove(&id.to_string()).unwrap()
}

/// Kinds and keys of the events that were taken, the validation aside.
pub(crate) fn told(receiver: &Receiver) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for post in receiver.taken(HOOK) {
        let event = post.body.get(0).unwrap_or(&post.body).clone();
        let kind = event.get("eventType").or_else(|| event.get("type")).unwrap().as_str().unwrap();
        let kind = kind.rsplit('.').next().unwrap().to_owned();
        if kind != "SubscriptionValidationEvent" {
            found.push((kind, event["subject"].as_str().unwrap().to_owned()));
        }
    }
    found
}

pub(crate) fn pair(kind: &str, key: &str) -> (String, String) {
    (kind.to_owned(), key.to_owned())
}

#[test]
fn new_versions_near_expiries_and_expiries_are_told_in_order() {
    let (site, id, receiver) = subscribed(json!({}));
    let office = post_office(&site, &receiver);
    round(&office);
    let validation = &receiver.taken(HOOK)[0];
    assert_eq!(validation.header("aeg-event-type"), "SubscriptionValidation");
    let kind = "Microsoft.EventGrid.SubscriptionValidationEvent";
    assert_eq!(validation.body[0]["eventType"], kind);

    site.key_vault("kv-2");
    create(&site, "kv-2", "elsewhere", None);
    let expires = site.platform.clock.now() + 40 * DAY;
    let first = create(&site, "kv-1", "k", Some(40 * DAY));
    round(&office);
    let post = receiver.taken(HOOK).pop().unwrap();
    let event = &post.body[0];
    let expected = json!([{
        "id": event["id"],
        "topic": id.parent().unwrap(),
        "subject": "k",
        "eventType": "Microsoft.KeyVault.KeyNewVersionCreated",
        "eventTime": "2026-11-22T06:00:00Z",
        "data": {
            "Id": format!("https://kv-1.vault.keys.example:8443/keys/k/{first}"),
            "VaultName": "kv-1",
            "ObjectType": "Key",
            "ObjectName": "k",
            "Version": first,
            "NBF": null,
            "EXP": expires.as_second(),
        },
        "dataVersion": "1",
        "metadataVersion": "1",
    }]);
    assert_eq!(post.body, expected);
    assert_eq!(post.header("aeg-event-type"), "Notification");
    assert_eq!(post.header("aeg-subscription-name"), "mine");
    assert_eq!(post.header("aeg-delivery-count"), "1");

    // Near expiry, expiry; then a rotation by a caller, and one by the policy.
    for _ in 0..2 {
        site.clock.advance(30 * DAY);
        assert!(site.platform.housekeep().problems.is_empty());
    }
    let name: KeyName = "k".parse().unwrap();
    site.ask_key_vault("kv-1", &KeyOperation::Rotate { name: &name });
    let policy = r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P30D"},
        "action":{"type":"Rotate"}}]}"#;
    let policy: RotationPolicy = serde_json::from_str(policy).unwrap();
    let set = KeyOperation::SetRotationPolicy { name: &name, policy: &policy };
    site.ask_key_vault("kv-1", &set);
    site.clock.advance(30 * DAY);
    assert!(site.platform.housekeep().problems.is_empty());
    // The oldest of them are past the day that an event lives.
    round(&office);
    let made = pair("KeyNewVersionCreated", "k");
    assert_eq!(told(&receiver), [made.clone(), made]);
    assert_eq!(state(&site, &id).dropped, 3);
}

#[test]
fn expiries_are_told_when_they_come() {
    let (site, _, receiver) = subscribed(json!({}));
    let office = post_office(&site, &receiver);
    create(&site, "kv-1", "k", Some(40 * DAY));
    round(&office);
    for _ in 0..2 {
        site.clock.advance(30 * DAY);
        assert!(site.platform.housekeep().problems.is_empty());
        round(&office);
    }
    let expected = ["KeyNewVersionCreated", "KeyNearExpiry", "KeyExpired"];
    assert_eq!(told(&receiver), expected.map(|kind| pair(kind, "k")));
}

#[test]
fn cloud_events_go_to_whoever_allowed_them() {
    let schema = json!({ "eventDeliverySchema": "CloudEventSchemaV1_0" });
    let (site, id, receiver) = subscribed(schema);
    let office = post_office(&site, &receiver);
    receiver.be_willing(false);
    create(&site, "kv-1", "k", None);
    round(&office);
    assert_eq!(receiver.asked(), [(HOOK.to_owned(), "keys.example".to_owned())]);
    assert_eq!(receiver.tries(HOOK), 0, "nothing is sent to who did not say yes");
    assert_eq!(state(&site, &id).problem.as_deref(), Some("it did not say yes"));

    receiver.be_willing(true);
    site.clock.advance(Duration::from_secs(10));
    round(&office);
    let post = receiver.taken(HOOK).pop().unwrap();
    assert_eq!(post.header("content-type"), "application/cloudevents+json; charset=utf-8");
    assert_eq!(post.body["specversion"], "1.0");
    assert_eq!(post.body["type"], "Microsoft.KeyVault.KeyNewVersionCreated");
    assert_eq!(post.body["source"], id.parent().unwrap().to_string());
    assert_eq!(post.body["data"]["ObjectName"], "k");

    create(&site, "kv-1", "k", None);
    round(&office);
    assert_eq!(receiver.asked().len(), 2, "once it has said yes it is not asked again");
    assert_eq!(told(&receiver).len(), 2);
    let elsewhere = json!({ "destination": {
        "endpointType": "WebHook", "properties": { "endpointUrl": "https://other.example/" },
    } });
    site.ask(&id, Verb::Patch, elsewhere).unwrap();
    create(&site, "kv-1", "k", None);
    round(&office);
    assert_eq!(receiver.asked().len(), 3, "another address is another receiver");
    assert_eq!(receiver.taken("https://other.example/").len(), 1);
}

#[test]
fn who_does_not_answer_the_validation_gets_nothing() {
    let (site, id, receiver) = subscribed(json!({}));
    let office = post_office(&site, &receiver);
    receiver.be_willing(false);
    create(&site, "kv-1", "k", None);
    round(&office);
    assert_eq!(told(&receiver), []);
    assert!(state(&site, &id).problem.unwrap().contains("validationResponse"));
}

#[test]
fn who_is_down_is_tried_again_at_growing_intervals_and_gets_all_in_order() {
    let (site, id, receiver) = subscribed(json!({}));
    let office = post_office(&site, &receiver);
    round(&office);
    receiver.refuse("hook.example: it answered 503 Service Unavailable");
    for name in ["a", "b", "c"] {
        create(&site, "kv-1", name, None);
    }
    let tries = || receiver.tries(HOOK) - 1; // the validation aside
    round(&office);
    for (wait, expected) in [(9, 1), (1, 2), (29, 2), (1, 3), (59, 3), (1, 4), (299, 4), (1, 5)] {
        round(&office);
        site.clock.advance(Duration::from_secs(wait));
        round(&office);
        assert_eq!(tries(), expected, "the first event alone is tried");
    }
    let now = state(&site, &id);
    assert_eq!((now.failures, now.dropped), (5, 0));
    assert!(now.problem.unwrap().contains("503"));

    // Another process carries on where this one ended.
    drop(office);
    receiver.accept();
    let office =
        PostOffice::new(site.again(), receiver.clone(), custody_resources::Hosts::default());
    site.clock.advance(Duration::from_mins(10));
    round(&office);
    let made = |key: &str| pair("KeyNewVersionCreated", key);
    assert_eq!(told(&receiver), [made("a"), made("b"), made("c")]);
    assert_eq!(receiver.taken(HOOK)[1].header("aeg-delivery-count"), "6");
    assert_eq!(state(&site, &id).problem, None);
    round(&office);
    assert_eq!(told(&receiver).len(), 3);
}

#[test]
fn what_cannot_be_delivered_is_given_up_visibly() {
    let check = |policy: Value, waits: &[u64], attempts: u32| {
        let (site, id, receiver) = subscribed(json!({ "retryPolicy": policy }));
        let office = post_office(&site, &receiver);
        round(&office);
        receiver.refuse("hook.example: it answered 500");
        create(&site, "kv-1", "lost", None);
        round(&office);
        for wait in waits {
            site.clock.advance(Duration::from_secs(*wait));
            round(&office);
        }
        let now = state(&site, &id);
        let last = now.last_dropped.unwrap();
        assert_eq!((now.dropped, last.attempts), (1, attempts));
        assert_eq!(
            (last.subject.as_str(), last.reason.as_str()),
            ("lost", "hook.example: it answered 500")
        );
        let mut entries = site.platform.ledger.read(Order::NewestFirst).unwrap();
        let record = entries.find_map(|entry| entry.unwrap().record().cloned()).unwrap();
        assert_eq!(record["operationName"], "EventDropped");
        assert_eq!(record["properties"]["eventId"], last.event_id);
        assert!(!record.to_string().contains("secret"), "{record}");

        receiver.accept();
        create(&site, "kv-1", "next", None);
        round(&office);
        assert_eq!(told(&receiver), [pair("KeyNewVersionCreated", "next")]);
    };
    check(json!({ "maxDeliveryAttempts": 1 }), &[], 1);
    check(json!({ "maxDeliveryAttempts": 3 }), &[10, 30], 3);
    // After the third try the next would come after the minute is over.
    check(json!({ "eventTimeToLiveInMinutes": 1 }), &[10, 30], 3);
}

#[test]
fn a_subscription_is_shown_without_the_secret_in_its_url() {
    let (site, id, _) = subscribed(json!({ "filter": { "subjectBeginsWith": "back" } }));
    let shown = site.ask(&id, Verb::Read, Value::Null).unwrap();
    assert!(!shown.to_string().contains("secret"), "{shown}");
    let properties = &shown["properties"];
    assert_eq!(
        properties["destination"]["properties"]["endpointBaseUrl"],
        "https://hook.example/in"
    );
    assert_eq!(properties["filter"]["subjectBeginsWith"], "back");
    assert_eq!(properties["retryPolicy"]["maxDeliveryAttempts"], 30);
    assert_eq!(properties["eventDeliverySchema"], "EventGridSchema");
    assert_eq!(properties["provisioningState"], "Succeeded");
    let full = site.ask(&id, Verb::Action("getFullUrl".to_owned()), Value::Null).unwrap();
    assert_eq!(full, json!({ "endpointUrl": HOOK }));
    // `az eventgrid event-subscription update` sends the properties themselves.
    let changed = site.ask(&id, Verb::Patch, json!({ "labels": ["l"] })).unwrap();
    assert_eq!(changed["properties"]["labels"], json!(["l"]));
    assert_eq!(changed["properties"]["filter"]["subjectBeginsWith"], "back");
    let elsewhere = site.id("Custody.Audit/destinations/x");
    let below = format!("{elsewhere}/providers/Microsoft.EventGrid/eventSubscriptions/mine");
    let refused = site.ask(
        &below.parse().unwrap(),
        Verb::Put,
        json!({ "properties": {
        "destination": { "endpointType": "WebHook", "properties": { "endpointUrl": HOOK } },
    } }),
    );
    assert_eq!(refused.unwrap_err().status, 400);
}
