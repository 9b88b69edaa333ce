//! What a caller may is decided anew at every request, and where it comes from is no claim of its
//! token's.

use custody_wire::Peer;
use http::{Request, header};
use serde_json::{Value, json};

use crate::site::{Answer, MAIN, Site, VAULTS, read};

const CRYPTO_OFFICER: &str = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603";
const ENCRYPTION_USER: &str = "e147488a-f6f5-4113-8e2d-b22465e65bf6";
const KEYS: &str = "https://kv1.vault.custody.localhost/keys";
/// An address of documentation (RFC 5737): nobody's.
const OUTSIDE: &str = "192.0.2.1:4711";

/// The bootstrap administrator's request, which must succeed.
fn made(site: &Site, method: &str, path: &str, body: Value) -> Value {
    let answer = site.ask(method, path, None, body);
    assert!(answer.status < 300, "{method} {path}: {answer:?}");
    answer.body
}

fn group(site: &Site) -> String {
    let own = made(site, "GET", "/custody/installation", Value::Null);
    format!("/subscriptions/{}/resourceGroups/custody", own["subscriptionId"].as_str().unwrap())
}

fn put_vault(site: &Site, group: &str, properties: &Value) {
    let path = format!("{group}/providers/Microsoft.KeyVault/vaults/kv1?api-version=2026-02-01");
    made(site, "PUT", &path, json!({ "location": "local", "properties": properties }));
}

/// The path of a role assignment, made.
fn grant(site: &Site, group: &str, role: &str, principal: &str, number: u32) -> String {
    let path = format!(
        "{group}/providers/Microsoft.Authorization/roleAssignments/\
         00000000-0000-0000-0000-{number:012}?api-version=2022-04-01"
    );
    let role = format!("/providers/Microsoft.Authorization/roleDefinitions/{role}");
    let properties = json!({ "roleDefinitionId": role, "principalId": principal });
    made(site, "PUT", &path, json!({ "properties": properties }));
    path
}

/// The administrator's request over the network, from this address.
fn ask_from(site: &Site, peer: &str, token: &str) -> Answer {
    let request = Request::get(format!("{KEYS}?api-version=7.6"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Vec::new());
    let peer = Peer { address: peer.parse().unwrap() };
    read(site.server.handle_from(request.unwrap(), &peer))
}

#[test]
fn a_removed_role_counts_from_the_next_request() {
    let site = Site::new();
    let other = site.again();
    let group = group(&site);
    put_vault(&site, &group, &json!({ "enableRbacAuthorization": true }));
    let token = site.bearer(VAULTS);
    let path = format!("{KEYS}?api-version=7.6");
    // Of the process that changed it, and of another on the same folder.
    let statuses = || {
        [&site.server, &other]
            .map(|server| crate::site::ask(server, "GET", &path, Some(&token), Value::Null).status)
    };
    assert_eq!(statuses(), [403, 403]);
    for _ in 0..3 {
        let assignment = grant(&site, &group, CRYPTO_OFFICER, &site.object, 7);
        assert_eq!(statuses(), [200, 200]);
        made(&site, "DELETE", &assignment, Value::Null);
        assert_eq!(statuses(), [403, 403]);
    }
    // In ARM the same.
    let arm = site.bearer(MAIN);
    let reader = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
    let fields = json!({ "displayName": "app" });
    let app = made(&site, "POST", "/v1.0/applications", fields);
    let principal =
        made(&site, "POST", "/v1.0/servicePrincipals", json!({ "appId": app["appId"] }));
    let added = format!("/v1.0/applications/{}/addPassword", app["id"].as_str().unwrap());
    let secret = made(&site, "POST", &added, json!({ "passwordCredential": {} }));
    let (client, secret) = (app["appId"].as_str().unwrap(), secret["secretText"].as_str().unwrap());
    let token = site.bearer_of(&site.tenant, client, secret, MAIN);
    let place = format!("{group}?api-version=2024-11-01");
    let statuses = || {
        [&site.server, &other]
            .map(|server| crate::site::ask(server, "GET", &place, Some(&token), Value::Null).status)
    };
    assert_ne!(statuses(), [200, 200]);
    let assignment = grant(&site, &group, reader, principal["id"].as_str().unwrap(), 8);
    assert_eq!(statuses(), [200, 200]);
    assert_eq!(site.ask("DELETE", &assignment, Some(&arm), Value::Null).status, 200);
    assert!(statuses().iter().all(|status| *status >= 400));
}

#[test]
fn a_removed_access_policy_counts_from_the_next_request() {
    let site = Site::new();
    let other = site.again();
    let group = group(&site);
    put_vault(&site, &group, &json!({ "enableRbacAuthorization": false, "accessPolicies": [] }));
    // Under policies a role opens nothing.
    grant(&site, &group, CRYPTO_OFFICER, &site.object, 7);
    let token = site.bearer(VAULTS);
    let path = format!("{KEYS}?api-version=7.6");
    let statuses = || {
        [&site.server, &other]
            .map(|server| crate::site::ask(server, "GET", &path, Some(&token), Value::Null).status)
    };
    let change = |verb: &str| {
        let policy = json!({
            "tenantId": site.tenant, "objectId": site.object, "permissions": { "keys": ["list"] },
        });
        let path = format!(
            "{group}/providers/Microsoft.KeyVault/vaults/kv1/accessPolicies/{verb}\
             ?api-version=2026-02-01"
        );
        let policies = json!({ "accessPolicies": [policy] });
        made(&site, "PUT", &path, json!({ "properties": policies }));
    };
    assert_eq!(statuses(), [403, 403]);
    for _ in 0..3 {
        change("add");
        assert_eq!(statuses(), [200, 200]);
        change("remove");
        assert_eq!(statuses(), [403, 403]);
    }
}

#[test]
fn a_trusted_service_is_the_workers_call_and_never_a_token() {
    let site = Site::new();
    let group = group(&site);
    put_vault(&site, &group, &json!({ "enableRbacAuthorization": true }));
    grant(&site, &group, CRYPTO_OFFICER, &site.object, 7);
    let officer = site.bearer(VAULTS);
    let create = format!("{KEYS}/k/create?api-version=7.6");
    let created = site.ask("POST", &create, Some(&officer), json!({ "kty": "RSA" }));
    assert_eq!(created.status, 200, "{created:?}");
    // A Backup vault with an identity of its own, and a user-assigned one that may do the same.
    let vault =
        format!("{group}/providers/Microsoft.DataProtection/backupVaults/v?api-version=2026-03-01");
    let body = json!({ "location": "local", "identity": { "type": "SystemAssigned" } });
    let vault_made = made(&site, "PUT", &vault, body);
    let own = vault_made["identity"]["principalId"].as_str().unwrap();
    grant(&site, &group, ENCRYPTION_USER, own, 8);
    let identity = format!(
        "{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one\
         ?api-version=2024-11-30"
    );
    let identity = made(&site, "PUT", &identity, json!({ "location": "local" }));
    let principal = identity["properties"]["principalId"].as_str().unwrap();
    grant(&site, &group, CRYPTO_OFFICER, principal, 9);

    let walls = |bypass: &str, rules: Value| {
        let acls = json!({ "bypass": bypass, "defaultAction": "Deny", "ipRules": rules });
        let properties = json!({
            "enableRbacAuthorization": true, "enablePurgeProtection": true, "networkAcls": acls,
        });
        put_vault(&site, &group, &properties);
    };
    let encrypt = || {
        let kek = json!({ "identityType": "SystemAssigned" });
        let settings = json!({
            "state": "Enabled", "keyVaultProperties": { "keyUri": format!("{KEYS}/k") },
            "kekIdentity": kek,
        });
        let properties = json!({ "securitySettings": { "encryptionSettings": settings } });
        let answer = site.ask("PATCH", &vault, None, json!({ "properties": properties }));
        site.server.finish();
        let seen = made(&site, "GET", &vault, Value::Null);
        let ring = &seen["properties"]["keyring"]["generations"];
        (answer.status, ring.to_string().contains("/keys/k/"))
    };
    // Without the bypass the worker is kept out like anybody.
    walls("None", json!([]));
    let (status, follows) = encrypt();
    assert!(!follows, "{status}");
    // With it the worker passes as the vault's own identity …
    walls("AzureServices", json!([]));
    let (status, follows) = encrypt();
    assert!(status < 300 && follows, "{status}");
    // … and every token is held against the addresses, whoever's it is.
    let host = json!({ "identityId": identity["id"] });
    made(&site, "POST", "/custody/host/identities", host);
    let request = Request::get(format!(
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULTS}"
    ));
    let request = request.header("Metadata", "true").header("Host", "127.0.0.1");
    let request = request.body(Vec::new()).unwrap();
    let local = "127.0.0.1".parse().unwrap();
    let issued = read(site.server.handle_managed_identity(&request, &crate::site::base(), local));
    let managed = issued.body["access_token"].as_str().unwrap();
    for token in [officer.as_str(), managed] {
        let refused = ask_from(&site, OUTSIDE, token);
        assert_eq!(refused.status, 403, "{refused:?}");
        assert_eq!(refused.body["error"]["innererror"]["code"], "ForbiddenByFirewall");
    }
    walls("AzureServices", json!([{ "value": "192.0.2.1" }]));
    assert_eq!(ask_from(&site, OUTSIDE, managed).status, 200);
    // Nobody gets a token of the vault's own identity: it cannot be attached to a host.
    let own_identity = vault.split('?').next().unwrap();
    let attach = json!({ "identityId": own_identity });
    assert!(site.ask("POST", "/custody/host/identities", None, attach).status >= 400);
}
