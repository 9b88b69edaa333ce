//! What each verb answers and leaves behind.

use custody_resources::{ActivityStatus, OperationState, ProvisioningState};
use custody_test_world::control_plane::{OperationFilter, RecordStore as _};
use serde_json::{Value, json};

use crate::kinds::{box_path, control_plane};

#[test]
fn put_creates_and_replaces_and_get_shows_it() {
    let plane = control_plane();
    let path = box_path("Red");
    let created = plane
        .put(
            &path,
            json!({ "location": "West Europe", "tags": { "a": "1" }, "properties": { "colour": "red" } }),
        )
        .unwrap();
    assert_eq!(created.status, 201);
    let body = plane.read(&path.to_uppercase().replace("SUBSCRIPTIONS", "subscriptions")).unwrap();
    assert_eq!(Some(&body), created.body.as_ref());
    assert_eq!(body["id"], path);
    assert_eq!(body["type"], "Toy.Shop/boxes");
    assert_eq!(body["location"], "westeurope");
    assert_eq!(
        body["properties"],
        json!({ "colour": "red", "weight": 1, "provisioningState": "Succeeded" })
    );
    plane.clock.advance(std::time::Duration::from_mins(1));
    let replaced =
        plane.put(&path, json!({ "location": "westeurope", "properties": { "size": 3 } })).unwrap();
    let body = replaced.body.unwrap();
    assert_eq!(replaced.status, 200);
    assert_eq!(body["properties"].get("colour"), None, "PUT replaces the properties");
    assert_eq!(body["tags"], json!({ "a": "1" }), "absent tags are kept");
    assert_eq!(body["systemData"]["createdAt"], "2026-01-01T00:00:00Z");
    assert_eq!(body["systemData"]["lastModifiedAt"], "2026-01-01T00:01:00Z");
}

#[test]
fn patch_merges_and_null_removes() {
    let plane = control_plane();
    let path = box_path("b");
    let absent = plane.patch(&path, json!({})).unwrap_err();
    assert_eq!((absent.status, absent.code.as_ref()), (404, "ResourceNotFound"));
    let body = json!({ "location": "here", "properties": { "colour": "red", "size": 3 } });
    plane.put(&path, body).unwrap();
    let check = |patch: Value, expected: Value| {
        let body = plane.patch(&path, patch).unwrap().body.unwrap();
        let mut properties = body["properties"].clone();
        for name in ["weight", "provisioningState"] {
            properties.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(properties, expected);
    };
    check(json!({ "properties": { "size": 4 } }), json!({ "colour": "red", "size": 4 }));
    check(json!({ "properties": { "colour": null } }), json!({ "size": 4 }));
    check(json!({ "tags": { "only": "tags" } }), json!({ "size": 4 }));
    check(json!({}), json!({ "size": 4 }));
}

#[test]
fn bodies_that_make_no_sense_are_refused() {
    let plane = control_plane();
    let path = box_path("b");
    let check = |body: Value, code: &str| {
        let refusal = plane.put(&path, body).unwrap_err();
        assert_eq!((refusal.status, refusal.code.as_ref()), (400, code), "{refusal}");
        assert_eq!(plane.record(&path), None);
    };
    check(json!({}), "LocationRequired");
    check(json!({ "location": "../x" }), "InvalidLocation");
    check(json!({ "location": "here", "properties": { "size": "big" } }), "InvalidRequestContent");
    check(json!({ "location": "here", "properties": { "colour": "invisible" } }), "NoSuchColour");
    check(json!({ "location": "here", "tags": ["a"] }), "InvalidRequestContent");
    check(json!({ "location": "here", "tags": { "a": "x".repeat(513) } }), "InvalidTag");
    let many: serde_json::Map<String, Value> =
        (0..51).map(|n| (n.to_string(), "".into())).collect();
    check(json!({ "location": "here", "tags": many }), "InvalidTag");
}

#[test]
fn a_resource_stays_where_it_lies() {
    let plane = control_plane();
    let path = box_path("b");
    plane.put(&path, json!({ "location": "here" })).unwrap();
    let moved = plane.put(&path, json!({ "location": "there" })).unwrap_err();
    assert_eq!((moved.status, moved.code.as_ref()), (409, "InvalidResourceLocation"));
    assert_eq!(plane.put(&path, json!({})).unwrap().status, 200);
}

#[test]
fn a_task_makes_an_operation_and_keeps_others_out() {
    let plane = control_plane();
    let path = box_path("b");
    let answer =
        plane.put(&path, json!({ "location": "here", "properties": { "paint": true } })).unwrap();
    assert_eq!(answer.status, 201);
    let id = answer.operation.unwrap();
    let operation = plane.store.operation(id).unwrap().unwrap().operation;
    assert_eq!((operation.task.name.as_str(), operation.state), ("paint", OperationState::Queued));
    assert_eq!(operation.resource.as_str(), path);
    assert_eq!(plane.record(&path).unwrap().state, ProvisioningState::Updating);
    for outcome in [plane.put(&path, json!({})), plane.delete(&path)] {
        let busy = outcome.unwrap_err();
        assert_eq!((busy.status, busy.code.as_ref()), (409, "AnotherOperationInProgress"));
    }
}

#[test]
fn actions_answer_at_once_or_begin_an_operation() {
    let plane = control_plane();
    let path = box_path("b");
    let absent = plane.act(&path, "look", Value::Null).unwrap_err();
    assert_eq!(absent.code, "ResourceNotFound");
    plane.put(&path, json!({ "location": "here" })).unwrap();
    let events = plane.store.activity(None, 99).unwrap().len();
    let look = plane.act(&path, "LOOK", Value::Null).unwrap();
    assert_eq!((look.status, look.operation), (200, None));
    assert_eq!(plane.store.activity(None, 99).unwrap().len(), events, "looking leaves no event");
    let shake = plane.act(&path, "shake", Value::Null).unwrap();
    assert_eq!(shake.status, 202);
    let found = plane.store.operations(&OperationFilter::Unfinished, 9).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(Some(found[0].operation.id), shake.operation);
    let event = plane.store.activity(None, 1).unwrap().remove(0);
    assert_eq!(event.operation_name, "Toy.Shop/boxes/shake/action");
    assert_eq!(event.status, ActivityStatus::Accepted);
    let unknown = plane.act(&path, "explode", Value::Null).unwrap_err();
    assert_eq!(unknown.status, 404);
}

#[test]
fn every_write_leaves_its_events() {
    let plane = control_plane();
    let path = box_path("b");
    plane.patch(&path, json!({ "tags": {} })).unwrap_err();
    plane.put(&path, json!({ "location": "here" })).unwrap();
    plane.delete(&path).unwrap();
    plane.delete(&path).unwrap();
    plane.read(&path).unwrap_err();
    let within = path.parse().unwrap();
    let events = plane.store.activity(Some(&within), 99).unwrap();
    let shown: Vec<(&str, ActivityStatus, Option<u16>, Option<&str>)> = events
        .iter()
        .map(|event| {
            let name = event.operation_name.strip_prefix("Toy.Shop/boxes/").unwrap();
            (name, event.status, event.http_status, event.code.as_deref())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("delete", ActivityStatus::Succeeded, Some(200), None),
            ("delete", ActivityStatus::Started, None, None),
            ("write", ActivityStatus::Succeeded, Some(201), None),
            ("write", ActivityStatus::Started, None, None),
            ("write", ActivityStatus::Failed, Some(404), Some("ResourceNotFound")),
            ("write", ActivityStatus::Started, None, None),
        ]
    );
    assert!(events.iter().all(|event| event.caller == "administrator"));
    assert_eq!(events[0].correlation, events[1].correlation);
}
