use custody_test_world::control_plane::{ControlPlane, RecordStore as _};
use serde_json::json;

use crate::{identity, plane};

#[test]
fn an_identity_is_minted_once() {
    let plane = plane();
    let body = json!({ "location": "local" });
    let created = plane.put(&identity("main"), body.clone()).unwrap();
    assert_eq!(created.status, 201);
    let properties = created.body.unwrap()["properties"].clone();
    assert_eq!(properties["tenantId"], json!(ControlPlane::administrator().tenant));
    assert_ne!(properties["principalId"], properties["clientId"]);
    let again = plane.put(&identity("MAIN"), body.clone()).unwrap();
    assert_eq!((again.status, &again.body.unwrap()["properties"]), (200, &properties));
    let other = plane.put(&identity("other"), body.clone()).unwrap().body.unwrap();
    assert_ne!(other["properties"]["principalId"], properties["principalId"]);
    // The end of an identity may end access to keys; a new one of the same name is somebody else.
    let before = plane.store.revocation_counter().unwrap();
    plane.delete(&identity("main")).unwrap();
    assert!(plane.store.revocation_counter().unwrap() > before);
    let anew = plane.put(&identity("main"), body).unwrap().body.unwrap();
    assert_ne!(anew["properties"]["principalId"], properties["principalId"]);
}

#[test]
fn names_follow_the_rule() {
    let plane = plane();
    let check = |name: &str, fits: bool| {
        let outcome = plane.put(&identity(name), json!({ "location": "local" }));
        let code = outcome.err().map(|refusal| refusal.code);
        assert_eq!(code.as_deref(), (!fits).then_some("InvalidResourceName"), "{name}");
    };
    check("abc", true);
    check("1-b_C", true);
    check("ab", false);
    check("-abc", false);
    check("a b c", false);
    check(&"a".repeat(128), true);
    check(&"a".repeat(129), false);
}
