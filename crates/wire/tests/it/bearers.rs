//! Tokens as callers bear them.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use custody_wire::Peer;
use data_encoding::BASE64URL_NOPAD;
use http::Request;
use serde_json::{Value, json};

use crate::site::{MAIN, Site, VAULTS, ask};

const LIST: &str = "/subscriptions?api-version=2022-12-01";

#[test]
fn a_token_stands_for_its_principal() {
    let site = Site::new();
    let token = site.bearer(MAIN);
    let answer = site.ask("GET", LIST, Some(&token), Value::Null);
    assert_eq!(answer.status, 200, "{answer:?}");
    for resource in ["https://management.azure.com", "https://management.core.windows.net/"] {
        let token = site.bearer(resource);
        assert_eq!(site.ask("GET", LIST, Some(&token), Value::Null).status, 200, "{resource}");
    }
    let subscription = answer.body["value"][0]["id"].as_str().unwrap();
    let group = format!("{subscription}/resourceGroups/g1");
    let place = json!({ "location": "local" });
    let made =
        site.ask("PUT", &format!("{group}?api-version=2024-11-01"), Some(&token), place.clone());
    assert_eq!(made.status, 201, "{made:?}");
    let identity = format!(
        "{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one\
         ?api-version=2024-11-30"
    );
    let made = site.ask("PUT", &identity, Some(&token), place);
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["systemData"]["createdBy"], site.client, "{made:?}");
    assert_eq!(made.body["systemData"]["createdByType"], "Application");
    assert_eq!(made.body["systemData"]["lastModifiedByType"], "Application");
}

#[test]
fn bad_tokens_are_refused_alike() {
    let site = Site::new();
    let good = site.bearer(MAIN);
    let mut parts: Vec<&str> = good.split('.').collect();
    let swapped = format!("{}.{}.{}", parts[0], parts[0], parts[2]);
    parts[2] = "";
    let bad = [
        String::new(),
        "x".to_owned(),
        parts.join("."),
        swapped,
        site.bearer(VAULTS),
        format!("{good}x"),
        "x".repeat(9_000),
    ];
    let answers: Vec<_> =
        bad.iter().map(|token| site.ask("GET", LIST, Some(token), Value::Null)).collect();
    for (answer, token) in answers.iter().zip(&bad) {
        assert_eq!(answer.status, 401, "{token:.40}");
        assert_eq!((&answer.body, &answer.challenge), (&answers[0].body, &answers[0].challenge));
    }
    let challenge = answers[0].challenge.as_deref().unwrap();
    let authority = format!("authorization_uri=\"{MAIN}/{}\"", site.tenant);
    assert!(challenge.contains(&authority), "{challenge}");
    assert_eq!(site.ask("GET", LIST, Some(&good), Value::Null).status, 200);
}

/// What a forger makes of a token that was issued: other headers and claims, signed by whoever he is.
struct Forger {
    header: Value,
    claims: Value,
    pair: RsaKeyPair,
}

impl Forger {
    fn of(token: &str) -> Self {
        let part = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        Self {
            header: serde_json::from_slice(&part(parts[0])).unwrap(),
            claims: serde_json::from_slice(&part(parts[1])).unwrap(),
            pair: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    /// The two parts that are signed, changed.
    fn text(&self, header: &Value, claims: &Value) -> String {
        let changed = |part: &Value, change: &Value| {
            let mut part = part.clone();
            for (name, value) in change.as_object().unwrap() {
                part[name] = value.clone();
            }
            BASE64URL_NOPAD.encode(part.to_string().as_bytes())
        };
        format!("{}.{}", changed(&self.header, header), changed(&self.claims, claims))
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let text = self.text(header, claims);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    fn with_mac(&self, key: &[u8]) -> String {
        let text = self.text(&json!({ "alg": "HS256" }), &json!({}));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        format!("{text}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }
}

#[test]
fn forged_tokens_are_refused_alike_and_nothing_is_fetched() {
    let site = Site::new();
    let bait = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", bait.local_addr().unwrap());
    let keys = site.ask("GET", "/common/discovery/v2.0/keys", None, Value::Null).body;
    let public = keys["keys"][0].clone();
    let modulus = BASE64URL_NOPAD.decode(public["n"].as_str().unwrap().as_bytes()).unwrap();
    let other_tenant =
        site.ask("POST", "/custody/tenants", None, json!({ "displayName": "b" })).body;
    let administrator = |name: &str| other_tenant["administrator"][name].as_str().unwrap();
    let stranger = Site::new();
    let key_vault = "https://kv1.vault.custody.localhost/keys?api-version=7.6";
    for (place, resource, wrong_resource) in [(LIST, MAIN, VAULTS), (key_vault, VAULTS, MAIN)] {
        let good = site.bearer(resource);
        let forger = Forger::of(&good);
        let nothing = json!({});
        let mut forged = vec![
            ("the wrong audience", site.bearer(wrong_resource)),
            ("another installation's", stranger.bearer(resource)),
            ("alg none", format!("{}.", forger.text(&json!({ "alg": "none" }), &nothing))),
            ("the public key as that of a MAC", forger.with_mac(&modulus)),
            ("its JWK as that of a MAC", forger.with_mac(public.to_string().as_bytes())),
            ("a stranger's signature", forger.signed(&nothing, &nothing)),
            ("a key that nobody knows", forger.signed(&json!({ "kid": "x" }), &nothing)),
            ("no kid", forger.signed(&json!({ "kid": null }), &nothing)),
            ("jku", forger.signed(&json!({ "jku": url, "kid": "x" }), &nothing)),
            ("x5u", forger.signed(&json!({ "x5u": url, "kid": "x" }), &nothing)),
            ("its own key", forger.signed(&json!({ "jwk": public, "kid": "x" }), &nothing)),
            ("another issuer", forger.signed(&nothing, &json!({ "iss": url }))),
            ("more time", forger.signed(&nothing, &json!({ "exp": 4_000_000_000_u64 }))),
        ];
        if resource == VAULTS {
            let (tenant, client) = (&other_tenant["tenantId"], administrator("clientId"));
            let secret = administrator("clientSecret");
            let token = site.bearer_of(tenant.as_str().unwrap(), client, secret, resource);
            forged.push(("another tenant's", token));
        }
        let ask = |token: &str| site.ask("GET", place, Some(token), Value::Null);
        let first = ask("x");
        assert!(first.challenge.is_some());
        for (what, token) in forged {
            let answer = ask(&token);
            assert_eq!(answer.status, 401, "{what}");
            assert_eq!(
                (answer.body, answer.challenge),
                (first.body.clone(), first.challenge.clone()),
                "{what}"
            );
        }
        assert_ne!(ask(&good).status, 401);
    }
    bait.set_nonblocking(true).unwrap();
    assert_eq!(bait.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "something was fetched");
}

#[test]
fn a_key_vault_names_its_tenant_and_parent_domain() {
    let site = Site::new();
    let path = "https://kv1.vault.custody.localhost/keys?api-version=7.6";
    let arm = site.bearer(MAIN);
    let answer = site.ask("GET", path, Some(&arm), Value::Null);
    assert_eq!(answer.status, 401);
    let expected =
        format!("Bearer authorization=\"{MAIN}/{}\", resource=\"{VAULTS}\"", site.tenant);
    assert_eq!(answer.challenge.as_deref(), Some(expected.as_str()));
    // The right token gets further: there is no such key vault.
    let right = site.bearer(VAULTS);
    assert_eq!(site.ask("GET", path, Some(&right), Value::Null).status, 404);
}

#[test]
fn tokens_end_with_their_time_and_their_principal() {
    let site = Site::new();
    let status = |token: &str| site.ask("GET", LIST, Some(token), Value::Null).status;
    let first = site.bearer(MAIN);
    site.clock.advance(Duration::from_secs(3_599));
    assert_eq!(status(&first), 200);
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(status(&first), 401);
    let second = site.bearer(MAIN);
    let principal = format!("/v1.0/servicePrincipals/{}", site.object);
    let enable = |enabled: bool| {
        site.ask("PATCH", &principal, None, json!({ "accountEnabled": enabled })).status
    };
    assert_eq!(enable(false), 204);
    assert_eq!(status(&second), 401);
    assert_eq!(enable(true), 204);
    assert_eq!(status(&second), 200);
    assert_eq!(site.ask("DELETE", &principal, None, Value::Null).status, 204);
    assert_eq!(status(&second), 401);
    let made = json!({ "appId": site.client });
    let again = site.ask("POST", "/v1.0/servicePrincipals", None, made);
    assert_eq!(again.status, 201);
    assert_ne!(again.body["id"], site.object);
    assert_eq!(status(&second), 401);
}

#[test]
fn a_replaced_signing_key_is_known_to_other_processes() {
    let site = Site::new();
    let other = site.again();
    let status = |token: &str| ask(&other, "GET", LIST, Some(token), Value::Null).status;
    let old = site.bearer(MAIN);
    assert_eq!(status(&old), 200);
    let rotated = site.ask("POST", "/custody/signingKey/rotate", None, Value::Null);
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let new = site.bearer(MAIN);
    site.clock.advance(Duration::from_secs(1));
    assert_eq!((status(&old), status(&new)), (200, 200));
    let keys = ask(&other, "GET", "/common/discovery/v2.0/keys", None, Value::Null).body;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn the_administrator_is_made_once() {
    let site = Site::new();
    let other = site.again();
    let again = other.administrator_application(false).unwrap();
    assert_eq!(again.client_id.to_string(), site.client);
    assert_eq!(again.object_id.to_string(), site.object);
    assert!(again.secret.is_none());
    let renewed = other.administrator_application(true).unwrap().secret.unwrap();
    let renewed = String::from_utf8(renewed.expose().to_vec()).unwrap();
    assert_ne!(renewed, site.secret);
    site.bearer_of(&site.tenant, &site.client, &renewed, MAIN);
    site.bearer(MAIN);
}

#[test]
fn answers_of_a_key_vault_tell_where_it_lies() {
    let site = Site::new();
    let id = site.key_vault("kv-here");
    let away = id.replace("kv-here", "kv-away");
    let properties = json!({ "enableRbacAuthorization": true });
    site.put(&away, "2026-02-01", &json!({ "location": "West Europe", "properties": properties }));
    let token = site.bearer(VAULTS);
    let region = |name: &str, token: Option<&str>| {
        let uri = format!("https://{name}.vault.custody.localhost/keys?api-version=7.6");
        let mut request = Request::get(uri);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let peer = Peer { address: ([127, 0, 0, 1], 40_000).into() };
        let answer = site.server.handle_from(request.body(Vec::new()).unwrap(), &peer);
        let regions = answer.headers().get_all("x-ms-keyvault-region");
        regions.iter().map(|region| region.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(region("kv-here", Some(&token)), ["local"]);
    assert_eq!(region("kv-away", Some(&token)), ["westeurope"]);
    assert_eq!(region("kv-away", None), ["local"], "nobody is told who may not ask");
}
