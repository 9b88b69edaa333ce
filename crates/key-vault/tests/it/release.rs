//! Release of exportable keys: to whom an authority that is known attests to, and nobody else.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use custody_key_vault::{
    EncryptionAlgorithm, KeyAnswer, KeyOperation, KeyUse, KeyVaultError, KeyVaults, NewKey,
    PublicKey, ReleaseAlgorithm, ReleaseAuthority, ReleasePolicy, ReleaseRequest, RsaSize,
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

/// A bench with an exportable key `k`, a target's key `target`, and an authority that may attest.
struct Release {
    bench: Bench,
    signer: EcdsaKeyPair,
    /// Claims of a target that the policy of `k` lets have it.
    good: Value,
}

impl Release {
    fn new() -> Self {
        let bench = Bench::new();
        let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        // The target's key is another one of the same key vault, so that the test can open it.
        let PublicKey::Rsa { modulus, exponent } = bench.create("target").public_key else {
            panic!("not RSA")
        };
        let mut key = NewKey::of_size(RsaSize::Bits2048);
        key.exportable = true;
        key.release_policy = Some(policy());
        key.operations.insert(KeyUse::Export);
        one_key(bench.ask(&KeyOperation::Create { name: &key_name("k"), key: &key }));
        let now = bench.now.as_second();
        let good = json!({
            "iss": AUTHORITY, "exp": now + 60, "nbf": now, "debug": false,
            "x-ms-isolation-tee": { "x-ms-attestation-type": "sevsnpvm" },
            "x-ms-runtime": { "keys": [{
                "kty": "RSA", "kid": "t", "key_ops": ["encrypt"],
                "n": b64(&modulus), "e": b64(&exponent),
            }]},
        });
        Self { bench, signer, good }
    }

    /// Lets the key vaults trust the authority.
    fn trust_the_authority(&mut self) {
        let point = self.signer.public_key().as_ref().split_first().unwrap().1;
        let (x, y) = point.split_at(32);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "kid": "a", "x": b64(x), "y": b64(y),
        });
        let authority = ReleaseAuthority::new(AUTHORITY, &json!({ "keys": [jwk] })).unwrap();
        let store = Arc::clone(self.bench.vaults.store());
        let sink = Arc::clone(&self.bench.records);
        self.bench.vaults = KeyVaults::new(store, sink, Arc::new(self.bench.clock()))
            .with_release_authorities(vec![authority]);
    }

    fn ask(&self, target: String) -> Result<KeyAnswer, KeyVaultError> {
        let algorithm = ReleaseAlgorithm::RsaAesKeyWrap256;
        let request = ReleaseRequest { target, nonce: Some("n".into()), algorithm };
        let name = &key_name("k");
        self.bench.ask(&KeyOperation::Release { name, version: None, request: &request })
    }

    fn check_refused(&self, target: String, what: &str) {
        assert_eq!(code(self.ask(target)), "ReleaseRefused", "{what}");
    }
}

fn policy() -> ReleasePolicy {
    let rules = json!({
        "version": "1.0.0",
        "anyOf": [{ "authority": AUTHORITY, "allOf": [
            { "claim": "x-ms-isolation-tee.x-ms-attestation-type", "equals": "sevsnpvm" },
            { "anyOf": [
                { "claim": "debug", "equals": false }, { "claim": "level", "equals": 3 },
            ]},
        ]}],
    });
    ReleasePolicy::new(rules.to_string().into_bytes(), None, false).unwrap()
}

fn unb64_json(text: &str) -> Value {
    serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
}

#[test]
fn a_key_goes_to_an_attested_target() {
    let mut release = Release::new();
    let token = token(&release.signer, "ES256", &release.good);
    release.check_refused(token.clone(), "without an authority no token counts, however good");

    release.trust_the_authority();
    let Ok(KeyAnswer::Released { token: released, .. }) = release.ask(token) else {
        panic!("not released")
    };
    let payload = unb64_json(released.split('.').nth(1).unwrap());
    assert_eq!(payload["request"]["nonce"], "n");
    let hsm = unb64_json(payload["response"]["key"]["key"]["key_hsm"].as_str().unwrap());
    assert_eq!(hsm["header"]["enc"], "RSA_AES_KEY_WRAP_256");
    let wrapped = BASE64URL_NOPAD.decode(hsm["ciphertext"].as_str().unwrap().as_bytes()).unwrap();
    let (head, body) = wrapped.split_at(256);
    assert!(body.len() > 1_000, "a private key");
    let (name, algorithm) = (&key_name("target"), EncryptionAlgorithm::RsaOaep256);
    let unwrap = KeyOperation::Unwrap { name, version: None, algorithm, wrapped: head };
    let Ok(KeyAnswer::Unwrapped { plain, .. }) = release.bench.ask(&unwrap) else {
        panic!("no AES key")
    };
    assert_eq!(plain.expose().len(), 32);
}

#[test]
fn a_key_goes_to_nobody_else() {
    let mut release = Release::new();
    release.trust_the_authority();
    let now = release.bench.now.as_second();
    let check = |change: &dyn Fn(&mut Value)| {
        let mut claims = release.good.clone();
        change(&mut claims);
        release.check_refused(token(&release.signer, "ES256", &claims), &claims.to_string());
    };
    check(&|claims| claims["iss"] = json!("https://other.example"));
    check(&|claims| claims["exp"] = json!(now));
    check(&|claims| claims["nbf"] = json!(now + 1));
    check(&|claims| claims["exp"] = Value::Null);
    check(&|claims| claims["debug"] = json!(true));
    check(&|claims| claims["x-ms-isolation-tee"] = json!({}));
    check(&|claims| claims["x-ms-runtime"] = json!({ "keys": [] }));
    let stranger = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    release.check_refused(token(&stranger, "ES256", &release.good), "a stranger's signature");
    for algorithm in ["none", "HS256", "RS256", "ES384"] {
        release.check_refused(token(&release.signer, algorithm, &release.good), algorithm);
    }
}
