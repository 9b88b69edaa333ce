//! Where resources may stand.

use custody_test_world::control_plane::SUBSCRIPTION;
use serde_json::json;

use crate::kinds::{box_path, control_plane, group};

#[test]
fn a_resource_stands_below_a_parent_of_the_right_type_that_exists() {
    let plane = control_plane();
    plane.put(&box_path("b"), json!({ "location": "here" })).unwrap();
    let check = |path: String, expected: Result<u16, &str>| {
        let outcome = plane.put(&path, json!({ "location": "here" }));
        let outcome = outcome.map(|answer| answer.status).map_err(|refusal| refusal.code);
        assert_eq!(
            outcome.as_ref().map_err(AsRef::as_ref),
            expected.as_ref().map_err(|c| *c),
            "{path}"
        );
    };
    check(format!("{}/toys/t", box_path("b")), Ok(201));
    check(format!("{}/toys/t", box_path("absent")), Err("ResourceNotFound"));
    check(format!("{SUBSCRIPTION}/resourceGroups/g2"), Ok(201));
    check(
        format!("{SUBSCRIPTION}/resourceGroups/absent/providers/Toy.Shop/boxes/c"),
        Err("ResourceGroupNotFound"),
    );
    check(format!("{SUBSCRIPTION}/providers/Toy.Shop/boxes/c"), Err("InvalidResourceId"));
    check("/providers/Toy.Shop/boxes/c".to_owned(), Err("InvalidResourceId"));
    check(format!("{}/providers/No.Such/things/c", group()), Err("InvalidResourceType"));
}

#[test]
fn an_extension_stands_at_any_scope_that_exists() {
    let plane = control_plane();
    plane.put(&box_path("b"), json!({ "location": "here" })).unwrap();
    let check = |scope: &str, expected: Result<u16, &str>| {
        let path = format!("{}/providers/Toy.Shop/notes/n", scope.trim_end_matches('/'));
        let outcome = plane.put(&path, json!({}));
        let outcome = outcome.map(|answer| answer.status).map_err(|refusal| refusal.code);
        assert_eq!(
            outcome.as_ref().map_err(AsRef::as_ref),
            expected.as_ref().map_err(|c| *c),
            "{path}"
        );
    };
    check("/", Ok(201));
    check(SUBSCRIPTION, Ok(201));
    check(&group(), Ok(201));
    check(&box_path("b"), Ok(201));
    check(&box_path("absent"), Err("ResourceNotFound"));
    // Something without a record of its own, as a key in a key vault, is part of what holds it.
    check(&format!("{}/screws/s", box_path("b")), Ok(201));
    check(&format!("{}/screws/s", box_path("absent")), Err("ResourceNotFound"));
    check(&format!("{}/providers/No.Such/things/c", group()), Err("ResourceNotFound"));
}

#[test]
fn what_the_server_alone_writes_clients_neither_write_nor_delete() {
    let plane = control_plane();
    plane.put(&box_path("b"), json!({ "location": "here" })).unwrap();
    let path = format!("{}/shadows/s", box_path("b"));
    for outcome in [plane.put(&path, json!({})), plane.delete(&path)] {
        let refusal = outcome.unwrap_err();
        assert_eq!((refusal.status, refusal.code.as_ref()), (405, "MethodNotAllowed"));
    }
}
