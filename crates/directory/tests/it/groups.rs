use custody_test_world::control_plane::SUBSCRIPTION;
use serde_json::json;

use crate::{assignment, grant, group, identity, plane};

#[test]
fn a_group_is_created_changed_and_deleted() {
    let plane = plane();
    let path = format!("{SUBSCRIPTION}/resourceGroups/more");
    assert_eq!(plane.put(&path, json!({ "location": "local" })).unwrap().status, 201);
    let tagged = plane.put(&path, json!({ "location": "local", "tags": { "a": "b" } })).unwrap();
    assert_eq!((tagged.status, &tagged.body.unwrap()["tags"]["a"]), (200, &json!("b")));
    let listed = plane.list(SUBSCRIPTION, "Microsoft.Resources/subscriptions/resourceGroups");
    assert_eq!(listed.unwrap(), ["G", "more"]);
    assert_eq!(plane.delete(&path).unwrap().status, 200);
    assert_eq!(plane.read(&path).unwrap_err().code, "ResourceGroupNotFound");
}

#[test]
fn a_group_that_holds_something_stays_and_says_what() {
    let plane = plane();
    plane.put(&identity("one"), json!({ "location": "local" })).unwrap();
    let refusal = plane.delete(&group()).unwrap_err();
    assert_eq!((refusal.status, refusal.code.as_ref()), (409, "ResourceGroupNotEmpty"));
    assert_eq!(
        refusal.message,
        "the resource group 'G' still holds 1 resource(s): \
         one (Microsoft.ManagedIdentity/userAssignedIdentities)"
    );
    for number in 0..11 {
        plane.put(&identity(&format!("id-{number:02}")), json!({ "location": "local" })).unwrap();
    }
    let refusal = plane.delete(&group()).unwrap_err();
    assert!(refusal.message.ends_with(" and 2 more"), "{refusal}");
}

#[test]
fn its_own_role_assignments_go_with_a_group() {
    let plane = plane();
    let path = assignment(&group(), 1);
    plane.put(&path, grant("Reader", "00000000-0000-0000-0000-0000000000aa")).unwrap();
    assert_eq!(plane.delete(&group()).unwrap().status, 200);
    assert_eq!(plane.record(&path), None);
}

#[test]
fn the_subscription_is_the_server_s() {
    let plane = plane();
    let shown = plane.read(SUBSCRIPTION).unwrap();
    assert_eq!(shown["displayName"], "Local");
    assert_eq!(plane.delete(SUBSCRIPTION).unwrap_err().status, 405);
    assert_eq!(plane.put(SUBSCRIPTION, json!({})).unwrap_err().status, 405);
}
