//! Backup and restore, rotation policies, rewrap, floors, dependants, old padding, random bytes.

use http::Method;
use serde_json::{Value, json};

use crate::world::{HSM, KEY_VAULT, World, b64, unb64};

#[test]
fn backups_bring_keys_back_where_they_belong() {
    let world = World::new();
    let tags = json!({ "owner": "kim" });
    world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "RSA", "tags": tags }));
    let first = world.get(KEY_VAULT, "/keys/k").body;
    world.post(KEY_VAULT, "/keys/k/rotate", &Value::Null);
    let newest = world.get(KEY_VAULT, "/keys/k").body;
    let policy = json!({ "attributes": { "expiryTime": "P90D" } });
    world.put(KEY_VAULT, "/keys/k/rotationpolicy", &policy);
    let plain = b64(&[5; 32]);
    let wrap = json!({ "alg": "RSA-OAEP-256", "value": plain });
    let wrapped = world.post(KEY_VAULT, "/keys/k/wrapkey", &wrap);
    let blob = world.post(KEY_VAULT, "/keys/k/backup", &Value::Null);
    assert_eq!(blob.status, 200, "{}", blob.body);
    let blob = json!({ "value": blob.text("/value") });
    let restore = |host: &str| world.post(host, "/keys/restore", &blob);

    assert_eq!((restore(KEY_VAULT).status, restore(KEY_VAULT).code()), (409, "KeyAlreadyExists"));
    world.delete(KEY_VAULT, "/keys/k");
    assert_eq!(restore(KEY_VAULT).code(), "ObjectIsDeletedButRecoverable");
    assert_eq!(world.delete(KEY_VAULT, "/deletedkeys/k").status, 204);
    let restored = restore(KEY_VAULT);
    assert_eq!((restored.status, &restored.body), (200, &newest));
    let kid = first["key"]["kid"].as_str().unwrap();
    assert_eq!(world.get("", kid).body, first);
    let unwrap = json!({ "alg": "RSA-OAEP-256", "value": wrapped.text("/value") });
    assert_eq!(world.post(KEY_VAULT, "/keys/k/unwrapkey", &unwrap).text("/value"), plain);
    let policy = world.get(KEY_VAULT, "/keys/k/rotationpolicy");
    assert_eq!(policy.text("/attributes/expiryTime"), "P90D");

    // Another key vault of the same subscription and geography takes it, a managed HSM does not.
    world.key_vault("kv2", &json!({}));
    assert_eq!(restore("https://kv2.vault.custody.localhost").status, 200);
    assert_eq!((restore(HSM).status, restore(HSM).code()), (400, "BadParameter"));
    let elsewhere = World::new();
    assert_eq!(elsewhere.post(KEY_VAULT, "/keys/restore", &blob).code(), "BadParameter");
    let mut broken = unb64(blob["value"].as_str().unwrap());
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    let broken = json!({ "value": b64(&broken) });
    assert_eq!(elsewhere.post(KEY_VAULT, "/keys/restore", &broken).code(), "BadParameter");
}

#[test]
fn a_purged_key_vault_takes_its_keys_with_it() {
    let world = World::new();
    let deleted = "providers/Microsoft.KeyVault/locations/local";
    let subscription = world.group.split("/resourceGroups").next().unwrap();
    for (host, kind, gone, name) in [
        (KEY_VAULT, "vaults", "deletedVaults", "kv1"),
        (HSM, "managedHSMs", "deletedManagedHSMs", "hsm1"),
    ] {
        world.post(host, "/keys/k/create", &json!({ "kty": "RSA-HSM" }));
        let arm = |method, path: String| {
            let uri = format!("https://custody.localhost{path}?api-version=2026-02-01");
            let answer = world.send(method, &uri, None);
            world.server.finish();
            answer
        };
        let own = format!("{}/providers/Microsoft.KeyVault/{kind}/{name}", world.group);
        assert!(arm(Method::DELETE, own).status < 300);
        let place = format!("{subscription}/{deleted}/{gone}/{name}");
        assert_eq!(arm(Method::GET, place.clone()).status, 200);
        assert!(arm(Method::POST, format!("{place}/purge")).status < 300);
        assert_eq!(arm(Method::GET, place).status, 404);
    }
    world.key_vault("kv1", &json!({}));
    assert_eq!(world.get(KEY_VAULT, "/keys").body["value"], json!([]));
}

#[test]
fn rotation_policies_are_checked_and_shown() {
    let world = World::new();
    world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "EC" }));
    let unset = world.get(KEY_VAULT, "/keys/k/rotationpolicy").body;
    assert_eq!(unset["id"], json!(format!("{KEY_VAULT}/keys/k/rotationpolicy")));
    let action = &unset["lifetimeActions"][0];
    assert_eq!(action["trigger"]["timeBeforeExpiry"], json!("P30D"));
    assert_eq!(action["action"]["type"], json!("Notify"));
    let rotate = |field: &str, period: &str, kind: &str| json!({ "trigger": { field: period }, "action": { "type": kind } });
    let check = |actions: Value, expiry: Option<&str>, status: u16| {
        let body = json!({ "lifetimeActions": actions, "attributes": { "expiryTime": expiry } });
        let answer = world.put(KEY_VAULT, "/keys/k/rotationpolicy", &body);
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        if status == 200 {
            assert_eq!(
                answer.body["lifetimeActions"].as_array().map(Vec::len),
                Some(body["lifetimeActions"].as_array().unwrap().len())
            );
            assert_eq!(answer.body, world.get(KEY_VAULT, "/keys/k/rotationpolicy").body);
        }
    };
    let after = |period: &str| rotate("timeAfterCreate", period, "rotate");
    let before = |period: &str| rotate("timeBeforeExpiry", period, "Rotate");
    let notify = |period: &str| rotate("timeBeforeExpiry", period, "NOTIFY");
    check(json!([after("P90D"), notify("P30D")]), Some("P2Y"), 200);
    check(json!([after("P1M")]), None, 200);
    check(json!([before("P30D")]), Some("P1Y6M"), 200);
    check(json!([]), Some("P28D"), 200);
    check(json!([after("P6D")]), None, 400);
    check(json!([after("P84D")]), Some("P90D"), 400);
    check(json!([before("P30D")]), None, 400);
    check(json!([before("P85D")]), Some("P90D"), 400);
    check(json!([]), Some("P27D"), 400);
    check(json!([notify("P6D")]), Some("P90D"), 400);
    check(json!([rotate("timeAfterCreate", "P30D", "Notify")]), None, 400);
    check(json!([after("P30D"), after("P60D")]), None, 400);
    check(json!([rotate("timeAfterCreate", "P30D", "Delete")]), None, 400);
    check(json!([{ "trigger": {}, "action": { "type": "Rotate" } }]), None, 400);
    for period in ["90D", "P", "PT", "P1X", "P1D2M", "P-1D", "P1.5D", "P1D1D", "P99999999D", "PD"] {
        check(json!([after(period)]), None, 400);
    }
}

#[test]
fn a_rotated_key_lives_as_long_as_its_policy_says() {
    let world = World::new();
    world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "EC" }));
    let body = json!({ "attributes": { "expiryTime": "P1M" } });
    world.put(KEY_VAULT, "/keys/k/rotationpolicy", &body);
    let rotated = world.post(KEY_VAULT, "/keys/k/rotate", &Value::Null);
    let created = rotated.body["attributes"]["created"].as_i64().unwrap();
    let expires = rotated.body["attributes"]["exp"].as_i64().unwrap();
    assert_eq!(expires - created, 30 * 24 * 60 * 60); // November
}

#[test]
fn a_batch_of_data_keys_moves_to_the_newest_version() {
    let world = World::new();
    world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "RSA" }));
    let wrap = |plain: u8| {
        let body = json!({ "alg": "RSA-OAEP-256", "value": b64(&[plain; 32]) });
        let answer = world.post(KEY_VAULT, "/keys/k/wrapkey", &body);
        json!({ "kid": answer.text("/kid"), "value": answer.text("/value") })
    };
    let mut items = vec![wrap(1)];
    world.post(KEY_VAULT, "/keys/k/rotate", &Value::Null);
    items.push(wrap(2));
    world.post(KEY_VAULT, "/keys/k/rotate", &Value::Null);
    let mut damaged = items[0].clone();
    damaged["value"] = json!(b64(&[1; 256]));
    items.push(damaged);
    let body = json!({ "alg": "RSA-OAEP-256", "items": items });
    let path = "/keys/k/rewrap";
    assert_eq!(world.post(KEY_VAULT, path, &body).code(), "BadParameter");
    let answer = world.own(Method::POST, KEY_VAULT, path, &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let newest = world.get(KEY_VAULT, "/keys/k").text("/key/kid").to_owned();
    assert_eq!(answer.text("/kid"), newest);
    for (number, plain) in [(0, 1_u8), (1, 2)] {
        let item = &answer.body["items"][number];
        assert_eq!(item["kid"], json!(newest));
        let body = json!({ "alg": "RSA-OAEP-256", "value": item["value"] });
        let opened = world.post(KEY_VAULT, "/keys/k/unwrapkey", &body);
        assert_eq!(unb64(opened.text("/value")), [plain; 32]);
    }
    assert_eq!(answer.body["items"][2]["error"]["code"], json!("BadParameter"));
}

#[test]
fn versions_below_the_floor_do_nothing() {
    let world = World::new();
    world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "RSA" }));
    let body = json!({ "alg": "RSA-OAEP", "value": b64(&[1; 32]) });
    let wrapped = world.post(KEY_VAULT, "/keys/k/wrapkey", &body);
    let old = wrapped.text("/kid").rsplit('/').next().unwrap().to_owned();
    let rotated = world.post(KEY_VAULT, "/keys/k/rotate", &Value::Null);
    let new = rotated.text("/key/kid").rsplit('/').next().unwrap().to_owned();
    let unwrap = json!({ "alg": "RSA-OAEP", "value": wrapped.text("/value") });
    let opened =
        || world.post(KEY_VAULT, &format!("/keys/k/{old}/unwrapkey"), &unwrap).code().to_owned();
    let floor = json!({ "attributes": { "min_decryption_version": new } });
    world.patch(KEY_VAULT, "/keys/k", &floor);
    assert_eq!(opened(), "OK"); // Key Vault's own api-versions know no floors
    let own = |method: Method, path: &str, body: &Value| {
        let answer = world.own(method, KEY_VAULT, path, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["attributes"]["min_decryption_version"].clone()
    };
    assert_eq!(own(Method::GET, "/keys/k", &Value::Null), Value::Null);
    assert_eq!(own(Method::PATCH, "/keys/k", &floor), json!(new));
    assert_eq!(own(Method::GET, "/keys/k", &Value::Null), json!(new));
    assert_eq!(own(Method::GET, &format!("/keys/k/{old}"), &Value::Null), json!(new));
    let theirs = world.get(KEY_VAULT, "/keys/k").body;
    assert_eq!(theirs["attributes"].get("min_decryption_version"), None);
    assert_eq!(opened(), "KeyBelowFloor");
    assert_eq!(world.post(KEY_VAULT, "/keys/k/wrapkey", &body).status, 200);
    let none = json!({ "attributes": { "min_decryption_version": "" } });
    assert_eq!(own(Method::PATCH, "/keys/k", &none), Value::Null);
    assert_eq!(opened(), "OK");
    let absent = json!({ "attributes": { "min_decryption_version": "0".repeat(32) } });
    assert_eq!(world.own(Method::PATCH, KEY_VAULT, "/keys/k", &absent).code(), "KeyNotFound");
}

#[test]
fn a_body_that_is_no_json_is_a_bad_parameter() {
    let world = World::new();
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100)).into_bytes();
    let twice = br#"{"kty":"RSA","kty":"EC"}"#.to_vec();
    for body in [b"{".to_vec(), b"\xff\xfe".to_vec(), b"{} {}".to_vec(), twice, deep] {
        for host in [KEY_VAULT, HSM] {
            let uri = format!("{host}/keys/k/create?api-version=7.6");
            let answer = world.send_bytes(Method::POST, &uri, body.clone());
            assert_eq!((answer.status, answer.code()), (400, "BadParameter"), "{}", answer.body);
        }
    }
}

#[test]
fn dependants_are_shown() {
    let world = World::new();
    world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "RSA" }));
    let report = world.own(Method::GET, KEY_VAULT, "/keys/k/dependants", &Value::Null);
    assert_eq!(report.status, 200, "{}", report.body);
    assert_eq!(report.body["summary"]["vaults"], json!(0));
    assert_eq!(world.get(KEY_VAULT, "/keys/k/dependants").code(), "BadParameter");
    let deleted = world.delete(KEY_VAULT, "/keys/k");
    assert_eq!(deleted.status, 200);
    assert!(!deleted.headers.contains_key("x-custody-dependants"));
}

#[test]
fn bad_padding_is_answered_like_good_padding() {
    let world = World::new();
    world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "RSA" }));
    let decrypt = |sealed: &[u8]| {
        let body = json!({ "alg": "RSA1_5", "value": b64(sealed) });
        world.post(KEY_VAULT, "/keys/k/decrypt", &body)
    };
    let mut lengths = std::collections::BTreeSet::new();
    for number in 1..20 {
        let garbage = [number; 256];
        let first = decrypt(&garbage);
        assert_eq!(first.status, 200);
        assert_eq!(first.body, decrypt(&garbage).body, "the same answer each time");
        lengths.insert(unb64(first.text("/value")).len());
    }
    assert!(lengths.len() > 5 && lengths.iter().all(|length| *length <= 245), "{lengths:?}");
    assert_eq!(decrypt(&[1; 255]).status, 400);

    world.key_vault("kv9", &json!({ "custody-refuse-rsa1-5": "true" }));
    let host = "https://kv9.vault.custody.localhost";
    world.post(host, "/keys/k/create", &json!({ "kty": "RSA" }));
    let body = json!({ "alg": "RSA1_5", "value": b64(&[1; 16]) });
    let refused = world.post(host, "/keys/k/wrapkey", &body);
    assert_eq!((refused.status, refused.code()), (403, "AlgorithmRefused"));
}

#[test]
fn random_bytes() {
    let world = World::new();
    for host in [KEY_VAULT, HSM] {
        let bytes = world.post(host, "/rng", &json!({ "count": 128 }));
        assert_eq!(unb64(bytes.text("/value")).len(), 128);
        for count in [json!(0), json!(129), json!("5"), Value::Null] {
            let answer = world.post(host, "/rng", &json!({ "count": count }));
            assert_eq!((answer.status, answer.code()), (400, "BadParameter"), "{count}");
        }
    }
}
