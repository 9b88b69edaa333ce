//! Managed identities on a resource.

use custody_test_world::control_plane::{ControlPlane, RecordStore as _};
use serde_json::{Map, Value, json};

use crate::kinds::{box_path, control_plane, identity_path};

fn with_identity(identity: Value) -> Value {
    json!({ "location": "here", "identity": identity })
}

fn both(name: &str) -> Value {
    json!({ "type": "systemassigned,userassigned", "userAssignedIdentities": { identity_path(name): {} } })
}

fn plane_with_box(identity: Value) -> ControlPlane {
    let plane = control_plane();
    for name in ["i", "j"] {
        plane.put(&identity_path(name), json!({})).unwrap();
    }
    plane.put(&box_path("b"), with_identity(identity)).unwrap();
    plane
}

#[test]
fn identities_are_attached_shown_and_kept() {
    let plane = plane_with_box(both("i"));
    let shown = plane.read(&box_path("b")).unwrap()["identity"].clone();
    assert_eq!(shown["type"], "SystemAssigned, UserAssigned");
    assert_eq!(shown["tenantId"], ControlPlane::administrator().tenant.to_string());
    assert!(shown["principalId"].as_str().is_some_and(|id| id.len() == 36), "{shown}");
    let attached = &shown["userAssignedIdentities"][identity_path("i")];
    assert_eq!(
        attached["principalId"],
        plane.read(&identity_path("i")).unwrap()["properties"]["principalId"]
    );
    for body in [json!({}), json!({ "identity": null }), with_identity(both("i"))] {
        let after = plane.put(&box_path("b"), body).unwrap().body.unwrap();
        assert_eq!(after["identity"], shown);
    }
}

#[test]
fn several_identities_of_any_subscription_are_attached() {
    let plane = plane_with_box(json!({ "type": "None" }));
    let elsewhere = "/subscriptions/00000000-0000-0000-0000-000000000002";
    let group = format!("{elsewhere}/resourceGroups/theirs");
    plane.put(elsewhere, json!({})).unwrap();
    plane.put(&group, json!({})).unwrap();
    let far = format!("{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/far");
    plane.put(&far, json!({})).unwrap();
    let all = [identity_path("i"), identity_path("j"), far];
    let named: Map<String, Value> = all.iter().map(|id| (id.clone(), json!({}))).collect();
    let identity = json!({ "type": "UserAssigned", "userAssignedIdentities": named });
    let after = plane.put(&box_path("b"), with_identity(identity)).unwrap().body.unwrap();
    let attached = after["identity"]["userAssignedIdentities"].as_object().unwrap();
    for id in all {
        let own = plane.read(&id).unwrap()["properties"]["principalId"].clone();
        assert_eq!(attached[&id]["principalId"], own, "{id}");
    }
}

#[test]
fn what_detaches_an_identity_may_revoke() {
    let check = |verb: &str, identity: Value, revokes: bool| {
        let plane = plane_with_box(both("i"));
        let before = plane.store.revocation_counter().unwrap();
        let body = json!({ "identity": identity });
        match verb {
            "PUT" => plane.put(&box_path("b"), body),
            _ => plane.patch(&box_path("b"), body),
        }
        .unwrap();
        let raised = plane.store.revocation_counter().unwrap() > before;
        assert_eq!(raised, revokes, "{verb} {identity}");
    };
    check("PUT", both("i"), false);
    check("PUT", both("j"), true);
    check("PATCH", both("j"), false);
    check("PUT", json!({ "type": "None" }), true);
    check("PATCH", json!({ "type": "SystemAssigned" }), true);
    let detach = json!({ identity_path("i"): null, identity_path("j"): {} });
    check(
        "PATCH",
        json!({ "type": "SystemAssigned,UserAssigned", "userAssignedIdentities": detach }),
        true,
    );
}

#[test]
fn a_new_own_identity_is_another_principal() {
    let plane = plane_with_box(json!({ "type": "SystemAssigned" }));
    let own = || plane.read(&box_path("b")).unwrap()["identity"]["principalId"].clone();
    let first = own();
    plane.patch(&box_path("b"), json!({ "identity": { "type": "None" } })).unwrap();
    assert_eq!(own(), Value::Null);
    plane.patch(&box_path("b"), json!({ "identity": { "type": "SystemAssigned" } })).unwrap();
    assert_ne!(own(), first);
    assert_ne!(own(), Value::Null);
}

#[test]
fn identity_blocks_that_make_no_sense_are_refused() {
    let plane = plane_with_box(both("i"));
    let shown = plane.read(&box_path("b")).unwrap()["identity"].clone();
    let check = |identity: Value, code: &str| {
        let refusal = plane.patch(&box_path("b"), json!({ "identity": identity })).unwrap_err();
        assert_eq!((refusal.status, refusal.code.as_ref()), (400, code), "{refusal}");
    };
    check(json!({}), "InvalidIdentity");
    check(json!({ "userAssignedIdentities": { identity_path("j"): {} } }), "InvalidIdentity");
    check(json!({ "type": "Magic" }), "InvalidIdentity");
    let only =
        |identities: Value| json!({ "type": "UserAssigned", "userAssignedIdentities": identities });
    check(only(json!({ identity_path("i"): null })), "InvalidIdentity");
    check(only(json!({ "no id": {} })), "InvalidIdentity");
    check(only(json!({ identity_path("absent"): {} })), "FailedIdentityOperation");
    check(only(json!({ box_path("b"): {} })), "FailedIdentityOperation");
    assert_eq!(plane.read(&box_path("b")).unwrap()["identity"], shown);
    let toy = format!("{}/toys/t", box_path("b"));
    let refusal = plane.put(&toy, with_identity(both("i"))).unwrap_err();
    assert_eq!(refusal.code, "InvalidIdentity");
}
