//! Exportable keys: release policies, and to whom a key is given.

use serde_json::{Value, json};

use crate::world::{KEY_VAULT, World, b64};

fn policy(immutable: bool) -> Value {
    let rules = json!({
        "version": "1.0.0",
        "anyOf": [{
            "authority": "https://attest.example",
            "allOf": [{ "claim": "x-ms-attestation-type", "equals": "sevsnpvm" }],
        }],
    });
    json!({ "immutable": immutable, "data": b64(rules.to_string().as_bytes()) })
}

#[test]
fn an_exportable_key_shows_its_policy_and_is_given_to_nobody_unknown() {
    let world = World::new();
    let attributes = json!({ "exportable": true });
    let body = json!({
        "kty": "RSA-HSM", "attributes": attributes, "release_policy": policy(false),
    });
    let made = world.post(KEY_VAULT, "/keys/k/create", &body);
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(made.body["attributes"]["exportable"], json!(true));
    assert_eq!(made.body["release_policy"]["data"], policy(false)["data"]);
    assert!(made.body["key"]["key_ops"].as_array().unwrap().contains(&json!("export")));

    let release = |target: &str| {
        let body = json!({ "target": target, "enc": "CKM_RSA_AES_KEY_WRAP", "nonce": "n" });
        world.post(KEY_VAULT, "/keys/k//release", &body)
    };
    let claims = b64(json!({ "iss": "https://attest.example" }).to_string().as_bytes());
    let header = b64(json!({ "alg": "none" }).to_string().as_bytes());
    for target in ["", "x", "a.b.c", &format!("{header}.{claims}.")] {
        let refused = release(target);
        assert_eq!((refused.status, refused.code()), (403, "ReleaseRefused"), "{target}");
    }
    let change = json!({ "release_policy": policy(true) });
    assert_eq!(world.patch(KEY_VAULT, "/keys/k", &change).status, 200);
    assert_eq!(world.patch(KEY_VAULT, "/keys/k", &change).code(), "BadParameter");

    world.post(KEY_VAULT, "/keys/plain/create", &json!({ "kty": "RSA" }));
    let refused = world.post(KEY_VAULT, "/keys/plain/release", &json!({ "target": "a.b.c" }));
    assert_eq!((refused.status, refused.code()), (403, "ReleaseRefused"));
}

#[test]
fn policies_that_can_never_be_met_are_refused() {
    let world = World::new();
    let check = |rules: Value| {
        let policy = json!({ "data": b64(rules.to_string().as_bytes()) });
        let attributes = json!({ "exportable": true });
        let body = json!({ "kty": "EC", "attributes": attributes, "release_policy": policy });
        let answer = world.post(KEY_VAULT, "/keys/k/create", &body);
        assert_eq!((answer.status, answer.code()), (400, "BadParameter"), "{rules}");
    };
    let claim = json!({ "claim": "c", "equals": "v" });
    let authority = "https://a.example";
    check(json!({}));
    check(json!({ "anyOf": [] }));
    check(json!({ "version": "2.0.0", "anyOf": [{ "authority": authority, "allOf": [claim] }] }));
    check(json!({ "anyOf": [{ "authority": "http://a.example", "allOf": [claim] }] }));
    check(json!({ "anyOf": [{ "authority": authority }] }));
    check(json!({ "anyOf": [{ "authority": authority, "allOf": [] }] }));
    check(json!({ "anyOf": [{ "authority": authority, "allOf": [{ "claim": "c" }] }] }));
}

#[test]
fn attestation_is_refused_plainly() {
    let world = World::new();
    assert_eq!(world.get(KEY_VAULT, "/keys/k/attestation").code(), "KeyNotFound");
    world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "EC" }));
    let refused = world.get(KEY_VAULT, "/keys/k/attestation");
    assert_eq!((refused.status, refused.code()), (400, "NotSupported"));
}
