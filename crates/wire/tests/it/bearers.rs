//! Tokens as callers bear them.

use std::time::Duration;

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
