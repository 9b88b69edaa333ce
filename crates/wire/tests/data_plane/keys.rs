//! Key types, bundles, lists, routes and errors.

use http::Method;
use serde_json::{Value, json};

use crate::world::{API, HSM, KEY_VAULT, World, b64, unb64};

#[test]
fn every_type_of_key_has_its_bundle() {
    let world = World::new();
    let check = |host: &str, body: Value, expected: (&str, u64), fields: &[&str]| {
        let made = world.post(host, "/keys/k/create", &body);
        assert_eq!(made.status, 200, "{body}: {}", made.body);
        assert_eq!(made.text("/key/kty"), expected.0);
        assert_eq!(made.body.pointer("/attributes/key_size"), Some(&json!(expected.1)));
        for field in ["n", "e", "crv", "x", "y", "d", "k", "p"] {
            let wanted = fields.contains(&field);
            assert_eq!(made.body["key"].get(field).is_some(), wanted, "{body}: {field}");
        }
        let kid = made.text("/key/kid");
        assert!(kid.starts_with(&format!("{host}/keys/k/")), "{kid}");
        assert_eq!(kid.rsplit('/').next().unwrap().len(), 32);
        let shown = world.get(host, "/keys/k/");
        assert_eq!(shown.body, made.body);
    };
    let (rsa, ec): (&[&str], &[&str]) = (&["n", "e"], &["crv", "x", "y"]);
    check(KEY_VAULT, json!({ "kty": "RSA" }), ("RSA", 2048), rsa);
    check(KEY_VAULT, json!({ "kty": "RSA-HSM", "key_size": 3072 }), ("RSA-HSM", 3072), rsa);
    check(KEY_VAULT, json!({ "kty": "EC" }), ("EC", 256), ec);
    check(KEY_VAULT, json!({ "kty": "EC", "crv": "P-384" }), ("EC", 384), ec);
    check(KEY_VAULT, json!({ "kty": "EC-HSM", "crv": "P-521" }), ("EC-HSM", 521), ec);
    check(KEY_VAULT, json!({ "kty": "EC", "crv": "P-256K" }), ("EC", 256), ec);
    check(HSM, json!({ "kty": "oct", "key_size": 192 }), ("oct-HSM", 192), &[]);
    check(HSM, json!({ "kty": "oct-HSM" }), ("oct-HSM", 256), &[]);
    check(HSM, json!({ "kty": "RSA" }), ("RSA-HSM", 2048), rsa);
}

#[test]
fn bad_keys_are_refused() {
    let world = World::new();
    let check = |body: Value, part: &str| {
        let answer = world.post(KEY_VAULT, "/keys/k/create", &body);
        assert_eq!((answer.status, answer.code()), (400, "BadParameter"), "{body}");
        assert!(answer.message().contains(part), "{body}: {}", answer.message());
    };
    check(json!({}), "kty");
    check(json!({ "kty": "DSA" }), "kty");
    check(json!({ "kty": "RSA", "key_size": 1024 }), "2048, 3072 or 4096");
    check(json!({ "kty": "RSA", "key_size": "2048" }), "does not fit");
    check(json!({ "kty": "RSA", "public_exponent": 3 }), "65537");
    check(json!({ "kty": "EC", "crv": "P-224" }), "crv");
    check(json!({ "kty": "EC", "crv": "P-256", "key_size": 384 }), "key_size");
    check(json!({ "kty": "EC", "key_ops": ["encrypt"] }), "not possible with EC");
    check(json!({ "kty": "RSA", "key_ops": ["fly"] }), "does not fit");
    check(json!({ "kty": "oct" }), "managed HSM");
    check(json!({ "kty": "RSA", "attributes": { "exportable": true } }), "release_policy");
    check(json!({ "kty": "RSA", "attributes": { "nbf": 2, "exp": 1 } }), "exp");
    check(json!([1, 2]), "object");
}

#[test]
fn signatures_are_made_and_verified() {
    let world = World::new();
    let check = |host: &str, key: Value, algorithm: &str, digest_bytes: usize| {
        let mut key = key;
        key["key_ops"] = json!(["sign", "verify"]);
        assert_eq!(world.post(host, "/keys/s/create", &key).status, 200);
        let digest = b64(&vec![0x5A; digest_bytes]);
        let body = json!({ "alg": algorithm, "value": digest });
        let signed = world.post(host, "/keys/s//sign", &body);
        assert_eq!(signed.status, 200, "{algorithm}: {}", signed.body);
        let verify = |digest: &str, signature: &str| {
            let body = json!({ "alg": algorithm, "digest": digest, "value": signature });
            world.post(host, "/keys/s/verify", &body).body["value"].as_bool().unwrap()
        };
        let signature = signed.text("/value");
        assert!(verify(&digest, signature), "{algorithm}");
        assert!(!verify(&b64(&vec![0x5B; digest_bytes]), signature), "{algorithm}");
        let mut other = unb64(signature);
        *other.last_mut().unwrap() ^= 1;
        assert!(!verify(&digest, &b64(&other)), "{algorithm}");
        if !algorithm.starts_with("HS") && algorithm != "RSNULL" {
            let body = json!({ "alg": algorithm, "value": b64(&vec![1; digest_bytes - 1]) });
            assert_eq!(world.post(host, "/keys/s/sign", &body).code(), "BadParameter");
        }
    };
    for (algorithm, bytes) in [
        ("RS256", 32),
        ("RS384", 48),
        ("RS512", 64),
        ("PS256", 32),
        ("PS384", 48),
        ("PS512", 64),
        ("RSNULL", 36),
    ] {
        check(KEY_VAULT, json!({ "kty": "RSA" }), algorithm, bytes);
    }
    for (curve, algorithm, bytes) in [
        ("P-256", "ES256", 32),
        ("P-384", "ES384", 48),
        ("P-521", "ES512", 64),
        ("P-256K", "ES256K", 32),
    ] {
        check(KEY_VAULT, json!({ "kty": "EC", "crv": curve }), algorithm, bytes);
    }
    for (algorithm, size) in [("HS256", 256), ("HS384", 384), ("HS512", 512)] {
        check(HSM, json!({ "kty": "oct", "key_size": size }), algorithm, 100);
    }
}

#[test]
fn rsnull_signs_what_rs256_signs_without_its_frame() {
    /// RFC 8017 9.2: `DigestInfo` of SHA-256 up to the digest.
    const DIGEST_INFO: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let world = World::new();
    world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "RSA" }));
    let digest = [7; 32];
    let sign = |algorithm: &str, value: &[u8]| {
        let body = json!({ "alg": algorithm, "value": b64(value) });
        world.post(KEY_VAULT, "/keys/k/sign", &body).text("/value").to_owned()
    };
    assert_eq!(sign("RSNULL", &[&DIGEST_INFO[..], &digest].concat()), sign("RS256", &digest));
}

#[test]
fn what_is_encrypted_is_decrypted() {
    let world = World::new();
    let check = |host: &str, key: Value, verbs: (&str, &str), algorithm: &str, plain: &[u8]| {
        assert_eq!(world.post(host, "/keys/e/create", &key).status, 200);
        let body = json!({ "alg": algorithm, "value": b64(plain) });
        let sealed = world.post(host, &format!("/keys/e/{}", verbs.0), &body);
        assert_eq!(sealed.status, 200, "{algorithm}: {}", sealed.body);
        let mut body = json!({ "alg": algorithm });
        for field in ["value", "iv", "tag", "aad"] {
            if let Some(value) = sealed.body.get(field) {
                body[field] = value.clone();
            }
        }
        let opened = world.post(host, &format!("/keys/e//{}", verbs.1), &body);
        assert_eq!(opened.status, 200, "{algorithm}: {}", opened.body);
        assert_eq!(unb64(opened.text("/value")), plain, "{algorithm}");
    };
    let rsa = || json!({ "kty": "RSA" });
    for algorithm in ["RSA-OAEP", "RSA-OAEP-256", "RSA1_5"] {
        check(KEY_VAULT, rsa(), ("encrypt", "decrypt"), algorithm, b"text");
        check(KEY_VAULT, rsa(), ("wrapkey", "unwrapKey"), algorithm, &[9; 32]);
    }
    for size in [128, 192, 256] {
        let oct = || json!({ "kty": "oct-HSM", "key_size": size });
        let crypt = ("Encrypt", "DECRYPT");
        check(HSM, oct(), crypt, &format!("A{size}GCM"), b"any length");
        check(HSM, oct(), crypt, &format!("A{size}CBC"), &[3; 32]);
        check(HSM, oct(), crypt, &format!("A{size}CBCPAD"), b"any length");
        check(HSM, oct(), ("wrapkey", "unwrapkey"), &format!("A{size}KW"), &[4; 24]);
        check(HSM, oct(), ("wrapkey", "unwrapkey"), "CKM_AES_KEY_WRAP", &[4; 16]);
        check(HSM, oct(), ("wrapkey", "unwrapkey"), "CKM_AES_KEY_WRAP_PAD", &[4; 5]);
    }
}

#[test]
fn algorithms_go_with_keys_and_operations() {
    let world = World::new();
    world.post(KEY_VAULT, "/keys/rsa/create", &json!({ "kty": "RSA" }));
    world.post(HSM, "/keys/aes/create", &json!({ "kty": "oct", "key_size": 256 }));
    let value = b64(&[1; 32]);
    let check = |host: &str, path: &str, algorithm: &str| {
        let body = json!({ "alg": algorithm, "value": value, "digest": value });
        let answer = world.post(host, path, &body);
        assert_eq!((answer.status, answer.code()), (400, "BadParameter"), "{path} {algorithm}");
    };
    check(KEY_VAULT, "/keys/rsa/encrypt", "A256GCM");
    check(KEY_VAULT, "/keys/rsa/sign", "ES256");
    check(KEY_VAULT, "/keys/rsa/sign", "none");
    check(KEY_VAULT, "/keys/rsa/encrypt", "rsa-oaep");
    // An EC key is for signing: that it cannot wrap is said of its operations, not of the algorithm.
    world.post(KEY_VAULT, "/keys/ec/create", &json!({ "kty": "EC" }));
    for operation in ["wrapkey", "unwrapkey"] {
        let body = json!({ "alg": "RSA-OAEP-256", "value": value });
        let answer = world.post(KEY_VAULT, &format!("/keys/ec/{operation}"), &body);
        assert_eq!((answer.status, answer.code()), (403, "KeyOperationForbidden"));
    }
    check(HSM, "/keys/aes/encrypt", "A128GCM");
    check(HSM, "/keys/aes/encrypt", "A256KW");
    check(HSM, "/keys/aes/wrapkey", "A256GCM");
    check(HSM, "/keys/aes/encrypt", "RSA-OAEP");
    // The IV of AES-GCM is the key vault's to choose.
    let body = json!({ "alg": "A256GCM", "value": value, "iv": b64(&[0; 12]) });
    assert_eq!(world.post(HSM, "/keys/aes/encrypt", &body).status, 400);
}

#[test]
fn lists_come_in_pages() {
    let world = World::new();
    let key = json!({ "kty": "EC" });
    for number in 0..30 {
        world.post(KEY_VAULT, &format!("/keys/k{number:02}/create"), &key);
    }
    let all = |first: String| {
        let (mut next, mut found, mut pages) = (Some(first), Vec::new(), 0);
        while let Some(uri) = next {
            let page = world.send(Method::GET, &uri, None);
            assert_eq!(page.status, 200, "{}", page.body);
            found.extend(page.body["value"].as_array().unwrap().clone());
            next = page.body["nextLink"].as_str().map(str::to_owned);
            pages += 1;
        }
        (found, pages)
    };
    let list = |path: &str| all(format!("{KEY_VAULT}{path}?api-version={API}"));
    let (keys, pages) = list("/keys");
    assert_eq!((keys.len(), pages), (30, 2));
    let kid = |item: &Value| item["kid"].as_str().unwrap().to_owned();
    assert_eq!(kid(&keys[0]), format!("{KEY_VAULT}/keys/k00"));
    assert_eq!(kid(&keys[29]), format!("{KEY_VAULT}/keys/k29"));
    let (keys, pages) = all(format!("{KEY_VAULT}/keys?maxresults=7&api-version={API}"));
    assert_eq!((keys.len(), pages), (30, 5));

    for _ in 0..3 {
        world.post(KEY_VAULT, "/keys/k00/rotate", &Value::Null);
    }
    let (versions, pages) =
        all(format!("{KEY_VAULT}/keys/k00/versions?api-version={API}&maxresults=3"));
    assert_eq!((versions.len(), pages), (4, 2));
    assert_eq!(kid(&versions[0]), world.get(KEY_VAULT, "/keys/k00").text("/key/kid"));

    for number in 0..26 {
        world.delete(KEY_VAULT, &format!("/keys/k{number:02}"));
    }
    let (deleted, pages) = list("/deletedkeys");
    assert_eq!((deleted.len(), pages), (26, 2));
    assert_eq!(deleted[0]["recoveryId"], json!(format!("{KEY_VAULT}/deletedkeys/k00")));
    assert_eq!(list("/keys").0.len(), 4);
    for bad in ["maxresults=0", "maxresults=26", "maxresults=x", "$skiptoken=%21"] {
        let answer = world.get(KEY_VAULT, &format!("/keys?{bad}"));
        assert_eq!((answer.status, answer.code()), (400, "BadParameter"), "{bad}");
    }
}

#[test]
fn errors_are_key_vaults() {
    let world = World::new();
    let absent = world.get(KEY_VAULT, "/keys/absent");
    assert_eq!((absent.status, absent.code()), (404, "KeyNotFound"));
    assert!(absent.message().starts_with(
        "A key with (name/id) absent was not found in this key vault. If you recently deleted"
    ));
    world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "EC" }));
    let disabled = json!({ "attributes": { "enabled": false } });
    assert_eq!(world.patch(KEY_VAULT, "/keys/k/", &disabled).status, 200);
    let sign = json!({ "alg": "ES256", "value": b64(&[1; 32]) });
    let refused = world.post(KEY_VAULT, "/keys/k/sign", &sign);
    assert_eq!((refused.status, refused.code()), (403, "KeyDisabled"));
    assert_eq!(refused.message(), "Operation sign is not allowed on a disabled key.");
    world.delete(KEY_VAULT, "/keys/k");
    let taken = world.post(KEY_VAULT, "/keys/k/create", &json!({ "kty": "EC" }));
    assert_eq!((taken.status, taken.code()), (409, "ObjectIsDeletedButRecoverable"));
    assert_eq!(taken.text("/error/code"), "Conflict");
    assert!(taken.message().contains("deleted but recoverable state"));

    let check = |method: Method, path: &str, status: u16, code: &str| {
        let answer = world.send(method, &format!("{KEY_VAULT}{path}"), None);
        assert_eq!((answer.status, answer.code()), (status, code), "{path}");
    };
    check(Method::GET, "/keys", 400, "BadParameter");
    check(Method::GET, "/keys?api-version=latest", 400, "BadParameter");
    check(Method::GET, "/keys/k_1?api-version=7.6", 400, "BadParameter");
    check(Method::GET, "/keys/k/xyz?api-version=7.6", 400, "BadParameter");
    check(Method::GET, "/secrets/s?api-version=7.4", 404, "NotFound");
    check(Method::PUT, "/keys/k/create?api-version=7.4", 405, "MethodNotAllowed");
    for version in ["7.0", "7.6-preview.2", "2025-07-01", "2026-04-01", "2026-01-01-preview"] {
        check(Method::GET, &format!("/keys?api-version={version}"), 200, "OK");
    }
    let denied = world.get("https://kv2.vault.custody.localhost", "/keys");
    assert_eq!((denied.status, denied.code()), (404, "VaultNotFound"));
}

#[test]
fn who_may_not_is_told_as_key_vault_tells_it() {
    let world = World::new();
    // A key vault by access policies: the officer's role counts for nothing there.
    let path = format!("{}/providers/Microsoft.KeyVault/vaults/kv3", world.group);
    let uri = format!("https://custody.localhost{path}?api-version=2026-02-01");
    let properties = json!({ "enableRbacAuthorization": false, "accessPolicies": [] });
    let body = json!({ "location": "local", "properties": properties });
    assert!(world.send(Method::PUT, &uri, Some(&body)).status < 300);
    let denied = world.get("https://kv3.vault.custody.localhost", "/keys/k");
    assert_eq!((denied.status, denied.code()), (403, "AccessDenied"));
    let text = denied.message();
    assert!(text.contains("does not have keys get permission on key vault 'kv3;location=local'"));
    assert!(text.contains("oid=") && text.contains("iss=https://"), "{text}");
    let properties = json!({ "enableRbacAuthorization": true });
    let body = json!({ "location": "local", "properties": properties });
    assert!(world.send(Method::PUT, &uri, Some(&body)).status < 300);
    assert_eq!(world.get("https://kv3.vault.custody.localhost", "/keys/k").code(), "KeyNotFound");
    // Purging is no business of a managed HSM's Crypto User, reading deleted keys neither.
    assert_eq!(world.get(HSM, "/deletedkeys").status, 200);
}
