use custody_resources::{Caller, Verb};
use custody_test_world::control_plane::{ControlPlane, RecordStore as _, SUBSCRIPTION};
use serde_json::{Value, json};

use crate::{assignment, grant, group, plane};

const SOMEBODY: &str = "00000000-0000-0000-0000-0000000000aa";

fn management(name: &str) -> String {
    format!("/providers/Microsoft.Management/managementGroups/{name}")
}

fn below(parent: &str) -> Value {
    json!({ "properties": { "details": { "parent": { "id": management(parent) } } } })
}

fn member(name: &str) -> String {
    format!("{}/subscriptions/{}", management(name), &SUBSCRIPTION[15..])
}

fn somebody_reads(plane: &ControlPlane) -> bool {
    let mut request = plane.request(Verb::Read, &group(), Value::Null);
    request.caller =
        Caller { principal: SOMEBODY.parse().unwrap(), name: "somebody".into(), ..request.caller };
    plane.send(&request).is_ok()
}

#[test]
fn a_role_at_a_management_group_reaches_the_subscriptions_below() {
    let plane = plane();
    let made = plane.put(&management("top"), json!({ "properties": { "displayName": "Top" } }));
    let made = made.unwrap();
    assert_eq!(made.status, 200, "the client takes no 201");
    assert_eq!(made.body.unwrap()["properties"]["displayName"], "Top");
    plane.put(&management("middle"), below("top")).unwrap();
    plane.put(&management("other"), json!({})).unwrap();
    plane.put(&assignment(&management("top"), 7), grant("Reader", SOMEBODY)).unwrap();
    assert!(!somebody_reads(&plane));
    let before = plane.store.revocation_counter().unwrap();
    assert_eq!(plane.put(&member("middle"), json!({})).unwrap().status, 200);
    assert!(plane.store.revocation_counter().unwrap() > before);
    assert!(somebody_reads(&plane));
    plane.put(&member("other"), json!({})).unwrap();
    assert!(!somebody_reads(&plane), "a subscription is below one group");
    assert!(plane.record(&member("middle")).is_none());
    plane.put(&member("middle"), json!({})).unwrap();
    plane.patch(&management("middle"), below("other")).unwrap();
    assert!(!somebody_reads(&plane), "moved with its group");
    plane.patch(&management("middle"), below("top")).unwrap();
    assert!(somebody_reads(&plane));
    assert_eq!(plane.delete(&member("middle")).unwrap().status, 204);
    assert!(!somebody_reads(&plane));
}

#[test]
fn the_tree_is_a_tree() {
    let plane = plane();
    plane.put(&management("g1"), json!({})).unwrap();
    for depth in 2..=6 {
        plane.put(&management(&format!("g{depth}")), below(&format!("g{}", depth - 1))).unwrap();
    }
    let check = |name: &str, parent: &str| {
        let refusal = plane.put(&management(name), below(parent)).unwrap_err();
        assert_eq!(refusal.code, "InvalidManagementGroupParent", "{name} below {parent}");
    };
    check("g7", "g6");
    check("g1", "g1");
    check("g1", "g3");
    check("new", "absent");
    assert_eq!(plane.put(&management("g2"), json!({})).unwrap().status, 200);
    check("g1", "g2");
    let held = plane.delete(&management("g1")).unwrap_err();
    assert_eq!((held.status, held.code.as_ref()), (409, "ManagementGroupNotEmpty"));
    assert_eq!(plane.delete(&management("g6")).unwrap().status, 204);
    let wrong = plane.put(&management("a b"), json!({})).unwrap_err();
    assert_eq!(wrong.code, "InvalidManagementGroupName");
    let absent = format!("{}/subscriptions/00000000-0000-0000-0000-00000000000f", management("g1"));
    assert_eq!(plane.put(&absent, json!({})).unwrap_err().code, "SubscriptionNotFound");
}

#[test]
fn another_tenants_resources_are_not_there() {
    let plane = plane();
    plane.put(&management("top"), json!({})).unwrap();
    let stranger = |verb: Verb, path: &str| {
        let mut request = plane.request(verb, path, json!({ "location": "local" }));
        request.caller.tenant = "99999999-9999-9999-9999-999999999999".parse().unwrap();
        plane.send(&request).unwrap_err()
    };
    for path in [SUBSCRIPTION.to_owned(), group()] {
        let refusal = stranger(Verb::Read, &path);
        assert_eq!((refusal.status, refusal.code.as_ref()), (404, "SubscriptionNotFound"));
    }
    assert_eq!(stranger(Verb::Put, &group()).code, "SubscriptionNotFound");
    assert_eq!(stranger(Verb::Delete, &management("top")).status, 404);
}
