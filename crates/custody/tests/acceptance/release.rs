//! Release authorities, from the configuration file to the released key.

use std::fs;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::served::Served;
use crate::site::Site;

const AUTHORITY: &str = "https://attest.example";
const HOST: &str = "kv-release.vault.custody.localhost";

fn b64(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

fn token(signer: &EcdsaKeyPair, claims: &Value) -> String {
    let part = |value: &Value| b64(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&json!({ "alg": "ES256" })), part(claims));
    let signature = signer.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", b64(signature.as_ref()))
}

/// A site with a key vault of which the local user is crypto officer.
fn with_key_vault() -> Site {
    let site = Site::new();
    site.ok(&["init"]);
    site.ok(&["keyvault", "create", "--name", "kv-release"]);
    let vault = site.json(&["keyvault", "show", "--name", "kv-release"]);
    let installation = fs::read(site.data().join("installation.json")).unwrap();
    let installation: Value = serde_json::from_slice(&installation).unwrap();
    let administrator = installation["administratorId"].as_str().unwrap();
    let grant = ["role", "assignment", "create", "--assignee", administrator];
    let role = ["--role", "Key Vault Crypto Officer", "--scope", vault["id"].as_str().unwrap()];
    site.ok(&[&grant[..], &role[..]].concat());
    site
}

#[test]
fn the_configuration_says_whose_word_counts() {
    let site = with_key_vault();
    let signer = key();
    let point = signer.public_key().as_ref();
    let (x, y) = (b64(&point[1..33]), b64(&point[33..]));
    let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": x, "y": y }] });
    fs::write(site.data().join("attest.json"), keys.to_string()).unwrap();
    let config =
        format!("[[release-authority]]\nurl = \"{AUTHORITY}\"\nkeys-file = \"attest.json\"\n");
    let path = site.data().join("config.toml");
    let before = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, format!("{before}\n{config}")).unwrap();

    let served = Served::start(&site, &[]);
    let ask = |path: &str, body: &Value| {
        let path = format!("{path}?api-version=7.6");
        served.local_to(HOST, "POST", &path, body.to_string().as_bytes())
    };
    let target = ask("/keys/target/create", &json!({ "kty": "RSA" }));
    assert_eq!(target.status, 200, "{}", target.json());
    let target = target.json();
    let policy = json!({ "version": "1.0.0", "anyOf": [{
        "authority": AUTHORITY, "allOf": [{ "claim": "kind", "equals": "enclave" }],
    }] });
    let policy = json!({ "data": b64(policy.to_string().as_bytes()) });
    let attributes = json!({ "exportable": true });
    let body = json!({ "kty": "EC-HSM", "attributes": attributes, "release_policy": policy });
    assert_eq!(ask("/keys/k/create", &body).status, 200);

    let now = jiff::Timestamp::now().as_second();
    let (n, e) = (&target["key"]["n"], &target["key"]["e"]);
    let claims = json!({
        "iss": AUTHORITY, "exp": now + 600, "kind": "enclave",
        "x-ms-runtime": { "keys": [{ "kty": "RSA", "key_ops": ["encrypt"], "n": n, "e": e }] },
    });
    let release = |token: String| ask("/keys/k//release", &json!({ "target": token }));
    let released = release(token(&signer, &claims));
    assert_eq!(released.status, 200, "{}", released.json());
    assert_eq!(released.json()["value"].as_str().unwrap().split('.').count(), 3);
    let refused = release(token(&key(), &claims));
    assert_eq!(refused.status, 403, "{}", refused.json());
    served.stop();

    fs::write(site.data().join("attest.json"), "{}").unwrap();
    let usage = 2;
    site.fails(&["up", "--port", "0"], usage, "ConfigurationInvalid");
}
