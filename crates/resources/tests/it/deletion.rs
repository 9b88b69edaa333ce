//! Deletion.

use custody_resources::ProvisioningState;
use custody_test_world::control_plane::RecordStore as _;
use serde_json::json;

use crate::kinds::{box_path, control_plane};

#[test]
fn what_is_deleted_goes_with_everything_below_it() {
    let plane = control_plane();
    let path = box_path("b");
    plane.put(&path, json!({ "location": "here" })).unwrap();
    let note = format!("{path}/providers/Toy.Shop/notes/n");
    plane.put(&note, json!({})).unwrap();
    assert_eq!(plane.delete(&path).unwrap().status, 200);
    assert_eq!(plane.record(&path), None);
    assert_eq!(plane.record(&note), None);
    assert_eq!(plane.delete(&path).unwrap().status, 204);
    assert_eq!(plane.read(&path).unwrap_err().code, "ResourceNotFound");
}

#[test]
fn a_deletion_with_a_task_keeps_the_record_until_the_worker_is_done() {
    let plane = control_plane();
    let path = box_path("b");
    plane.put(&path, json!({ "location": "here" })).unwrap();
    plane.put(&format!("{path}/toys/t"), json!({})).unwrap();
    let answer = plane.delete(&path).unwrap();
    assert_eq!(answer.status, 202);
    let operation = plane.store.operation(answer.operation.unwrap()).unwrap().unwrap().operation;
    assert_eq!(operation.task.name, "empty");
    assert_eq!(plane.record(&path).unwrap().state, ProvisioningState::Deleting);
    assert_eq!(plane.read(&path).unwrap()["properties"]["provisioningState"], "Deleting");
}
