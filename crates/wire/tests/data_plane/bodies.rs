//! Whatever a body says, the answer is a success or names a fault of the caller's; nothing panics.

use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{HSM, KEY_VAULT, World};

const FIELDS: &[&str] = &[
    "kty",
    "key_size",
    "crv",
    "key_ops",
    "attributes",
    "tags",
    "key",
    "release_policy",
    "alg",
    "value",
    "digest",
    "iv",
    "aad",
    "tag",
    "count",
    "target",
    "enc",
    "nonce",
    "items",
    "version",
    "lifetimeActions",
    "trigger",
    "action",
    "type",
    "timeAfterCreate",
    "expiryTime",
    "enabled",
    "nbf",
    "exp",
    "exportable",
    "data",
    "immutable",
    "n",
    "e",
    "d",
    "p",
    "q",
    "dp",
    "dq",
    "qi",
    "x",
    "y",
    "k",
    "min_decryption_version",
    "kid",
    "Hsm",
    "public_exponent",
];
const WORDS: &[&str] = &[
    "RSA",
    "EC",
    "oct",
    "oct-HSM",
    "RSA-OAEP",
    "RSA1_5",
    "A256GCM",
    "A128CBCPAD",
    "A256KW",
    "ES256",
    "PS512",
    "RSNULL",
    "HS256",
    "P-256",
    "P-521",
    "P-256K",
    "Rotate",
    "P30D",
    "P2Y",
    "",
    "AQAB",
    "AAAA",
    "sign",
    "encrypt",
    "CKM_RSA_AES_KEY_WRAP",
    "e30.e30.AA",
    "\u{0}",
    "ÄÖ",
    "-1",
];
const PATHS: &[(Method, &str)] = &[
    (Method::POST, "/keys/new/create"),
    (Method::PUT, "/keys/imported"),
    (Method::PATCH, "/keys/k/"),
    (Method::POST, "/keys/k/encrypt"),
    (Method::POST, "/keys/k//decrypt"),
    (Method::POST, "/keys/k/wrapkey"),
    (Method::POST, "/keys/k/unwrapkey"),
    (Method::POST, "/keys/k/sign"),
    (Method::POST, "/keys/k/verify"),
    (Method::POST, "/keys/k/release"),
    (Method::POST, "/keys/k/rewrap"),
    (Method::PUT, "/keys/k/rotationpolicy"),
    (Method::POST, "/keys/restore"),
    (Method::POST, "/rng"),
];

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_i64..5_000).prop_map(Value::from),
        proptest::sample::select(WORDS).prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "[A-Za-z0-9_-]{0,400}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let field = proptest::sample::select(FIELDS).prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((field, inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

#[test]
fn no_body_is_answered_with_a_panic_or_a_fault_of_ours() {
    let world = World::new();
    for (host, key) in [(KEY_VAULT, json!({ "kty": "EC" })), (HSM, json!({ "kty": "oct" }))] {
        assert_eq!(world.post(host, "/keys/k/create", &key).status, 200);
    }
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 1_500,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let request = (
        proptest::sample::select(PATHS),
        proptest::sample::select(vec![KEY_VAULT, HSM]),
        proptest::sample::select(vec!["7.6", "custody-1"]),
        json_value(),
    );
    runner
        .run(&request, |((method, path), host, version, body)| {
            let uri = format!("{host}{path}?api-version={version}");
            let answer = world.send(method, &uri, Some(&body));
            prop_assert!((200..500).contains(&answer.status), "{path} {body}: {}", answer.body);
            prop_assert!(answer.status == 200 || !answer.code().is_empty());
            Ok(())
        })
        .unwrap();
}

#[test]
fn bytes_that_are_no_json_are_refused() {
    let world = World::new();
    let uri = format!("{KEY_VAULT}/keys/k/create?api-version=7.6");
    let deep = "[".repeat(100_000).into_bytes();
    for bytes in [b"{".to_vec(), vec![0xFF, 0xFE], b"{\"kty\":\"RSA\"} x".to_vec(), deep] {
        let answer = world.send_bytes(Method::POST, &uri, bytes);
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
}
