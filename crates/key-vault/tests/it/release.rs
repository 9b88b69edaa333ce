//! Release of exportable keys: to whom an authority that is known attests to, and nobody else.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use custody_key_vault::{
    EncryptionAlgorithm, KeyAnswer, KeyOperation, KeyVaults, NewKey, PublicKey, ReleaseAlgorithm,
    ReleaseAuthority, ReleasePolicy, ReleaseRequest, RsaSize,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::bench::{Bench, code, key_name, one_key};

const AUTHORITY: &str = "https://attest.example";

fn b64(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn token(signer: &EcdsaKeyPair, algorithm: &str, claims: &Value) -> String {
    let header = json!({ "alg": algorithm, "kid": "a" });
    let part = |value: &Value| b64(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = signer.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", b64(signature.as_ref()))
}

#[test]
fn a_key_goes_to_an_attested_target_alone() {
    let mut bench = Bench::new();
    let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let stranger = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = signer.public_key().as_ref();
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "kid": "a", "x": b64(&point[1..33]), "y": b64(&point[33..]),
    });
    let authority = ReleaseAuthority::new(AUTHORITY, &json!({ "keys": [jwk] })).unwrap();
    // The target's key is another one of the same key vault, so that the test can open it.
    let PublicKey::Rsa { modulus, exponent } = bench.create("target").public_key else {
        panic!("not RSA")
    };
    let (n, e) = (b64(&modulus), b64(&exponent));

    let rules = json!({
        "version": "1.0.0",
        "anyOf": [{ "authority": AUTHORITY, "allOf": [
            { "claim": "x-ms-isolation-tee.x-ms-attestation-type", "equals": "sevsnpvm" },
            { "anyOf": [
                { "claim": "debug", "equals": false }, { "claim": "level", "equals": 3 },
            ]},
        ]}],
    });
    let policy = ReleasePolicy::new(rules.to_string().into_bytes(), None, false).unwrap();
    let mut key = NewKey::of_size(RsaSize::Bits2048);
    key.exportable = true;
    key.release_policy = Some(policy);
    key.operations.insert(custody_key_vault::KeyUse::Export);
    let name = &key_name("k");
    one_key(bench.ask(&KeyOperation::Create { name, key: &key }));

    let now = bench.now.as_second();
    let good = json!({
        "iss": AUTHORITY, "exp": now + 60, "nbf": now, "debug": false,
        "x-ms-isolation-tee": { "x-ms-attestation-type": "sevsnpvm" },
        "x-ms-runtime": { "keys": [
            { "kty": "RSA", "kid": "t", "key_ops": ["encrypt"], "n": n, "e": e },
        ]},
    });
    let request = |target: String| ReleaseRequest {
        target,
        nonce: Some("n".into()),
        algorithm: ReleaseAlgorithm::RsaAesKeyWrap256,
    };
    let release = |bench: &Bench, target: String| {
        let request = request(target);
        bench.ask(&KeyOperation::Release { name, version: None, request: &request })
    };
    // Without a configured authority no token counts, however good.
    assert_eq!(code(release(&bench, token(&signer, "ES256", &good))), "ReleaseRefused");

    let store = std::sync::Arc::clone(bench.vaults.store());
    let sink = std::sync::Arc::clone(&bench.records);
    bench.vaults = KeyVaults::new(store, sink).with_release_authorities(vec![authority]);
    let Ok(KeyAnswer::Released { token: released, .. }) =
        release(&bench, token(&signer, "ES256", &good))
    else {
        panic!("not released")
    };
    let payload = BASE64URL_NOPAD.decode(released.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(payload["request"]["nonce"], "n");
    let hsm = payload["response"]["key"]["key"]["key_hsm"].as_str().unwrap();
    let hsm: Value =
        serde_json::from_slice(&BASE64URL_NOPAD.decode(hsm.as_bytes()).unwrap()).unwrap();
    assert_eq!(hsm["header"]["enc"], "RSA_AES_KEY_WRAP_256");
    let wrapped = BASE64URL_NOPAD.decode(hsm["ciphertext"].as_str().unwrap().as_bytes()).unwrap();
    let (head, body) = wrapped.split_at(256);
    assert!(body.len() > 1_000, "a private key");
    let (name_of_target, algorithm) = (&key_name("target"), EncryptionAlgorithm::RsaOaep256);
    let unwrap =
        KeyOperation::Unwrap { name: name_of_target, version: None, algorithm, wrapped: head };
    let Ok(KeyAnswer::Unwrapped { plain, .. }) = bench.ask(&unwrap) else { panic!("no AES key") };
    assert_eq!(plain.expose().len(), 32);

    let refused = |change: &dyn Fn(&mut Value)| {
        let mut claims = good.clone();
        change(&mut claims);
        assert_eq!(
            code(release(&bench, token(&signer, "ES256", &claims))),
            "ReleaseRefused",
            "{claims}"
        );
    };
    refused(&|claims| claims["iss"] = json!("https://other.example"));
    refused(&|claims| claims["exp"] = json!(now));
    refused(&|claims| claims["nbf"] = json!(now + 1));
    refused(&|claims| claims["exp"] = Value::Null);
    refused(&|claims| claims["debug"] = json!(true));
    refused(&|claims| claims["x-ms-isolation-tee"] = json!({}));
    refused(&|claims| claims["x-ms-runtime"] = json!({ "keys": [] }));
    assert_eq!(code(release(&bench, token(&stranger, "ES256", &good))), "ReleaseRefused");
    for algorithm in ["none", "HS256", "RS256", "ES384"] {
        assert_eq!(code(release(&bench, token(&signer, algorithm, &good))), "ReleaseRefused");
    }
}
