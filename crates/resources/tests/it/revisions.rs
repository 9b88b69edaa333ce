//! Etags and If-Match.

use custody_resources::{Precondition, Verb};
use serde_json::{Value, json};

use crate::kinds::{box_path, control_plane};

#[test]
fn if_match_lets_only_the_present_etag_through() {
    let plane = control_plane();
    let path = box_path("b");
    let send = |verb: Verb, etag: &str| {
        let mut request = plane.request(verb, &path, json!({ "location": "here" }));
        request.if_match = Some(Precondition::Etag(etag.to_owned()));
        plane.send(&request).map(|answer| answer.status).map_err(|refusal| refusal.status)
    };
    assert_eq!(send(Verb::Put, "*"), Err(412), "there is nothing to match yet");
    plane.put(&path, json!({ "location": "here" })).unwrap();
    let first = plane.read(&path).unwrap()["etag"].as_str().unwrap().to_owned();
    assert_eq!(send(Verb::Put, &first), Ok(200));
    let second = plane.read(&path).unwrap()["etag"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    for verb in [Verb::Put, Verb::Patch, Verb::Delete, Verb::Action("shake".to_owned())] {
        assert_eq!(send(verb.clone(), &first), Err(412), "{verb:?}");
    }
    assert_eq!(send(Verb::Action("look".to_owned()), &second), Ok(200));
    assert_eq!(send(Verb::Put, "*"), Ok(200));
    assert_eq!(send(Verb::Delete, "*"), Ok(200));
}

#[test]
fn if_none_match_makes_what_is_not_there_and_changes_nothing() {
    let plane = control_plane();
    let path = box_path("b");
    let send = |verb: Verb| {
        let mut request = plane.request(verb, &path, json!({ "location": "here" }));
        request.if_match = Some(Precondition::Absent);
        plane.send(&request).map_err(|refusal| (refusal.status, refusal.code.into_owned()))
    };
    assert_eq!(send(Verb::Put).unwrap().status, 201);
    let made = plane.read(&path).unwrap();
    let failed = (412, "PreconditionFailed".to_owned());
    for verb in [Verb::Put, Verb::Patch, Verb::Delete] {
        assert_eq!(send(verb.clone()).unwrap_err(), failed, "{verb:?}");
    }
    assert_eq!(plane.read(&path).unwrap(), made);
}

#[test]
fn a_claimed_name_is_one_resource_s() {
    let plane = control_plane();
    plane.put(&box_path("b"), json!({ "location": "here" })).unwrap();
    let other = format!("{}/resourceGroups/other", custody_test_world::control_plane::SUBSCRIPTION);
    plane.put(&other, Value::Null).unwrap();
    let path = format!("{other}/providers/Toy.Shop/boxes/B");
    let taken = plane.put(&path, json!({ "location": "here" })).unwrap_err();
    assert_eq!((taken.status, taken.code.as_ref()), (409, "NameNotAvailable"));
    assert_eq!(plane.record(&path), None);
    plane.delete(&box_path("b")).unwrap();
    assert_eq!(plane.put(&path, json!({ "location": "here" })).unwrap().status, 201);
}
