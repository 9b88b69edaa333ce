//! Exportable keys: release policies, and to whom a key is given.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use custody_wire::ReleaseAuthority;
use serde_json::{Value, json};

use crate::world::{Answer, KEY_VAULT, NOW, World, b64, unb64};

const AUTHORITY: &str = "https://attest.example";

/// An authority that the server knows, and one that it does not.
fn authority() -> (EcdsaKeyPair, ReleaseAuthority) {
    let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (x, y) = signer.public_key().as_ref().split_first().unwrap().1.split_at(32);
    let (x, y) = (b64(x), b64(y));
    let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": y }] });
    (signer, ReleaseAuthority::new(AUTHORITY, &keys).unwrap())
}

fn token(signer: &EcdsaKeyPair, claims: &Value) -> String {
    let part = |value: &Value| b64(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&json!({ "alg": "ES256", "kid": "a" })), part(claims));
    let signature = signer.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", b64(signature.as_ref()))
}

/// A world with an exportable key `k` and a key `target` of whom it may go to, and the claims of
/// one that may have it.
fn exportable(authorities: Vec<ReleaseAuthority>) -> (World, Value) {
    let world = World::with_authorities(authorities);
    let target = world.post(KEY_VAULT, "/keys/target/create", &json!({ "kty": "RSA" })).body;
    let body = json!({
        "kty": "EC-HSM", "attributes": { "exportable": true }, "release_policy": policy(false),
    });
    assert_eq!(world.post(KEY_VAULT, "/keys/k/create", &body).status, 200);
    let now = NOW.parse::<jiff::Timestamp>().unwrap().as_second();
    let (n, e) = (&target["key"]["n"], &target["key"]["e"]);
    let claims = json!({
        "iss": AUTHORITY, "exp": now + 60, "nbf": now, "x-ms-attestation-type": "sevsnpvm",
        "x-ms-runtime": { "keys": [{ "kty": "RSA", "key_ops": ["encrypt"], "n": n, "e": e }] },
    });
    (world, claims)
}

fn release(world: &World, target: &str) -> Answer {
    let body = json!({ "target": target, "enc": "RSA_AES_KEY_WRAP_256", "nonce": "n" });
    world.post(KEY_VAULT, "/keys/k//release", &body)
}

#[test]
fn a_key_is_released_to_whom_a_configured_authority_attests_to() {
    let (signer, known) = authority();
    let (world, claims) = exportable(vec![known]);
    let answer = release(&world, &token(&signer, &claims));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let released = answer.text("/value").to_owned();
    let json = |text: &str| serde_json::from_slice::<Value>(&unb64(text)).unwrap();
    let payload = json(released.split('.').nth(1).unwrap());
    assert_eq!(payload["request"]["nonce"], "n");
    let hsm = json(payload["response"]["key"]["key"]["key_hsm"].as_str().unwrap());
    let wrapped = unb64(hsm["ciphertext"].as_str().unwrap());
    // The target opens it: the head is an AES key, wrapped for the key that its token named.
    let opened = json!({ "alg": "RSA-OAEP-256", "value": b64(wrapped.split_at(256).0) });
    let opened = world.post(KEY_VAULT, "/keys/target//unwrapkey", &opened);
    assert_eq!(opened.status, 200, "{}", opened.body);
    assert_eq!(unb64(opened.text("/value")).len(), 32);
}

#[test]
fn a_key_is_released_to_nobody_else() {
    let (signer, known) = authority();
    let (world, good) = exportable(vec![known]);
    let check = |signer: &EcdsaKeyPair, change: &dyn Fn(&mut Value), what: &str| {
        let mut claims = good.clone();
        change(&mut claims);
        let refused = release(&world, &token(signer, &claims));
        assert_eq!((refused.status, refused.code()), (403, "ReleaseRefused"), "{what}");
    };
    let (stranger, _) = authority();
    check(&stranger, &|_| {}, "a wrong signature");
    let end = good["nbf"].clone();
    check(&signer, &|claims| claims["exp"] = end.clone(), "an expired token");
    check(&signer, &|claims| claims["x-ms-attestation-type"] = json!("other"), "wrong claims");
    check(&signer, &|claims| claims["iss"] = json!("https://other.example"), "an unknown one");
    // The authority that a policy and a token name is not known unless it is configured.
    let (world, good) = exportable(Vec::new());
    let refused = release(&world, &token(&signer, &good));
    assert_eq!((refused.status, refused.code()), (403, "ReleaseRefused"));
}

fn policy(immutable: bool) -> Value {
    let rules = json!({
        "version": "1.0.0",
        "anyOf": [{
            "authority": AUTHORITY,
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
