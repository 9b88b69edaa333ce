use custody_directory::{TASK_DELETE_GROUP, group_stays};
use custody_resources::Refusal;
use custody_test_world::control_plane::{RecordStore as _, SUBSCRIPTION};
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
fn a_group_that_holds_something_goes_with_it_or_says_what_stays() {
    let plane = plane();
    let path = identity("one");
    plane.put(&path, json!({ "location": "local" })).unwrap();
    let answer = plane.delete(&group()).unwrap();
    assert_eq!(answer.status, 202);
    let operation = plane.store.operation(answer.operation.unwrap()).unwrap().unwrap().operation;
    assert_eq!(operation.task.name, TASK_DELETE_GROUP);
    let shut = plane.put(&identity("two"), json!({ "location": "local" })).unwrap_err();
    assert_eq!((shut.status, shut.code.as_ref()), (409, "ResourceGroupBeingDeleted"));
    let why = || Refusal::new(409, "InUse", "it is in use");
    let blocker = plane.record(&path).unwrap();
    let refusal = group_stays(&group().parse().unwrap(), &[(blocker.clone(), why())]);
    assert_eq!((refusal.status, refusal.code.as_ref()), (409, "ResourceGroupDeletionBlocked"));
    let named = format!("{path} (InUse: it is in use)");
    assert!(refusal.message.contains(&named), "{refusal}");
    let many: Vec<_> = (0..12).map(|_| (blocker.clone(), why())).collect();
    let refusal = group_stays(&group().parse().unwrap(), &many);
    assert!(refusal.message.contains(" and 2 more"), "{refusal}");
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
