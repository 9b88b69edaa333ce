//! Key vaults through the front door: what clients may write of them, and their way to the end.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::world::{MAIN, VAULTS, World};

const GROUP: &str = "S/resourceGroups/custody/providers/Microsoft.KeyVault";
const CRYPTO_SERVICE_ENCRYPTION_USER: &str = "e147488a-f6f5-4113-8e2d-b22465e65bf6";
const DAY: Duration = Duration::from_hours(24);

fn vault(name: &str) -> String {
    format!("{GROUP}/vaults/{name}")
}

fn body(properties: Value) -> Value {
    json!({ "location": "eastus", "properties": properties })
}

#[test]
fn soft_delete_can_be_left_out_by_old_versions_at_creation_alone() {
    let world = World::new();
    let put = |name: &str, version: &str, value: Value| {
        let path = format!("{}?api-version={version}", vault(name));
        world.put(&path, body(json!({ "enableSoftDelete": value })))
    };
    let refused = put("kv-new", "2026-02-01", json!(false));
    assert_eq!(refused.error(), (400, "BadRequest"));
    for (name, value) in [("kv-old", json!(false)), ("kv-text", json!("False"))] {
        let made = put(name, "2025-05-01", value);
        assert_eq!(
            (made.status, &made.body["properties"]["enableSoftDelete"]),
            (201, &json!(false))
        );
        let on = put(name, "2025-05-01", json!("true"));
        assert_eq!((on.status, &on.body["properties"]["enableSoftDelete"]), (200, &json!(true)));
        assert_eq!(put(name, "2025-05-01", json!(false)).error(), (400, "BadRequest"));
    }
    let protected = body(json!({ "enablePurgeProtection": "true" }));
    let made = world.make(&vault("kv-old"), protected);
    assert_eq!(made["properties"]["enablePurgeProtection"], true);
    let off = world.put(&vault("kv-old"), body(json!({ "enablePurgeProtection": false })));
    assert_eq!(off.error(), (400, "BadRequest"));
    let silent = world.make(&vault("kv-old"), body(json!({})));
    assert_eq!(silent["properties"]["enablePurgeProtection"], true, "silence changes nothing");
    let days = world.put(&vault("kv-old"), body(json!({ "softDeleteRetentionInDays": 30 })));
    assert_eq!(days.error(), (400, "BadRequest"));
}

#[test]
fn a_deleted_key_vault_comes_back_with_its_keys_or_is_purged() {
    let world = World::new();
    let path = vault("kv-gone");
    world.make(&path, body(json!({ "softDeleteRetentionInDays": 7 })));
    world.make(&format!("{path}/keys/k1"), json!({ "properties": { "kty": "EC" } }));
    assert_eq!(world.delete(&path).status, 200);
    assert_eq!(world.delete(&path).status, 204);
    assert_eq!(world.get(&path).error(), (404, "ResourceNotFound"));
    assert_eq!(world.get(&format!("{path}/keys")).error(), (404, "ResourceNotFound"));
    assert_eq!(world.put(&path, body(json!({}))).error(), (409, "ConflictError"));
    let taken = world.post(
        "S/providers/Microsoft.KeyVault/checkNameAvailability",
        json!({ "name": "kv-gone", "type": "Microsoft.KeyVault/vaults" }),
    );
    assert_eq!(taken.body["reason"], "AlreadyExists");
    let deleted = "S/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/kv-gone";
    let shown = world.get(deleted).body;
    assert_eq!(shown["properties"]["scheduledPurgeDate"], "2026-03-08T12:00:00Z");
    let back = world.make(&path, body(json!({ "createMode": "recover" })));
    assert_eq!(back["properties"]["softDeleteRetentionInDays"], 7);
    assert_eq!(world.names(&format!("{path}/keys")), ["k1"]);
    world.delete(&path);
    let purged = world.post(&format!("{deleted}/purge"), Value::Null);
    assert_eq!(purged.status, 202, "{}", purged.body);
    let link = purged.headers["location"].to_str().unwrap().to_owned();
    world.settle();
    assert_eq!(world.get(&link).status, 200);
    assert_eq!(world.get(deleted).error(), (404, "ResourceNotFound"));
    assert_eq!(world.put(&path, body(json!({}))).status, 201, "the name is free again");
    assert_eq!(world.names(&format!("{path}/keys")), [""; 0]);
}

#[test]
fn key_vaults_and_managed_hsms_are_purged_when_their_time_has_come() {
    let world = World::new();
    let hsm = format!("{GROUP}/managedHSMs/hsm-gone");
    let properties = json!({
        "softDeleteRetentionInDays": 7,
        "enablePurgeProtection": true,
        "initialAdminObjectIds": [world.administrator],
    });
    let sku = json!({ "family": "B", "name": "Standard_B1" });
    world.make(&hsm, json!({ "location": "eastus", "sku": sku, "properties": properties }));
    let properties = json!({ "softDeleteRetentionInDays": 9, "enablePurgeProtection": true });
    world.make(&vault("kv-gone"), body(properties));
    assert_eq!(world.delete(&hsm).status, 200);
    assert_eq!(world.delete(&vault("kv-gone")).status, 200);
    let hsms = "S/providers/Microsoft.KeyVault/deletedManagedHSMs";
    let vaults = "S/providers/Microsoft.KeyVault/deletedVaults";
    let early = format!(
        "{}/purge",
        "S/providers/Microsoft.KeyVault/locations/eastus/deletedManagedHSMs/hsm-gone"
    );
    assert_eq!(world.post(&early, Value::Null).error(), (405, "MethodNotAllowed"));
    let check = |days: u32, purged: usize, hsms_left: usize, vaults_left: usize| {
        world.clock.advance(DAY * days);
        assert_eq!(world.housekeep().purged_key_vaults, purged);
        let left = (world.names(hsms).len(), world.names(vaults).len());
        assert_eq!(left, (hsms_left, vaults_left));
    };
    check(6, 0, 1, 1);
    check(1, 1, 0, 1);
    check(2, 1, 0, 0);
    assert_eq!(world.ledger(1)[0].0, "VaultPurge");
    assert_eq!(world.put(&vault("hsm-gone"), body(json!({}))).status, 201, "its name is free");
}

/// The key vault's half of the flow that the documents print: a key vault with access policies, a
/// software key of 2048 bits, a policy of get, wrapKey and unwrapKey, the key's identifier.
#[test]
fn the_printed_flow_works_up_to_the_keys_identifier() {
    let world = World::new();
    let properties = json!({
        "tenantId": world.tenant,
        "sku": { "family": "A", "name": "standard" },
        "accessPolicies": [{
            "tenantId": world.tenant,
            "objectId": world.administrator,
            "permissions": { "keys": ["get", "create"] },
        }],
        "enableRbacAuthorization": false,
        "enablePurgeProtection": true,
    });
    world.make(&vault("kv-flow"), body(properties));
    let host = "https://kv-flow.vault.custody.localhost/keys/k1";
    let key = json!({ "kty": "RSA", "key_size": 2048 });
    let made = world.post(&format!("{host}/create?api-version=7.6"), key);
    assert_eq!(made.status, 200, "{}", made.body);
    let identity = world.application("backup");
    let token = world.token(&identity, VAULTS);
    let kid = |token: &str| {
        world.send_as(Some(token), Method::GET, &format!("{host}?api-version=7.6"), None)
    };
    assert_eq!(kid(&token).status, 403);
    let policy = json!({ "properties": { "accessPolicies": [{
        "tenantId": world.tenant,
        "objectId": identity.object,
        "permissions": { "keys": ["get", "wrapKey", "unwrapKey"] },
    }] } });
    let set = world.put(&format!("{}/accessPolicies/add", vault("kv-flow")), policy);
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(set.body["type"], "Microsoft.KeyVault/vaults/accessPolicies");
    assert_eq!(set.body["properties"]["accessPolicies"].as_array().unwrap().len(), 2);
    let shown = kid(&token).body;
    let version = shown["key"]["kid"].as_str().unwrap().rsplit('/').next().unwrap();
    assert_eq!(shown["key"]["kid"], format!("{host}/{version}"));
}

/// An application that holds "Key Vault Crypto Service Encryption User" wraps and unwraps, and does
/// nothing else; the key vault decides by roles.
#[test]
fn an_application_with_the_service_role_wraps_and_unwraps() {
    let world = World::new();
    world.make(&vault("kv-byok"), body(json!({ "enableRbacAuthorization": true })));
    let key = json!({ "properties": { "kty": "RSA", "keySize": 2048 } });
    world.make(&format!("{}/keys/k1", vault("kv-byok")), key);
    let service = world.application("service");
    let token = world.token(&service, VAULTS);
    let host = "https://kv-byok.vault.custody.localhost/keys/k1";
    let ask = |verb: &str, body: Value| {
        let path = format!("{host}/{verb}?api-version=7.6");
        world.send_as(Some(&token), Method::POST, &path, Some(body))
    };
    let data_key = json!({ "alg": "RSA-OAEP-256", "value": "c2VjcmV0LWRhdGEta2V5" });
    assert_eq!(ask("wrapkey", data_key.clone()).status, 403);
    world.grant(&vault("kv-byok"), CRYPTO_SERVICE_ENCRYPTION_USER, &service.object, 1);
    let wrapped = ask("wrapkey", data_key.clone());
    assert_eq!(wrapped.status, 200, "{}", wrapped.body);
    let back = ask("unwrapkey", json!({ "alg": "RSA-OAEP-256", "value": wrapped.body["value"] }));
    assert_eq!(back.body["value"], data_key["value"]);
    assert_eq!(ask("sign", json!({ "alg": "RS256", "value": "" })).status, 403);
    assert_eq!(ask("rotate", json!({})).status, 403);
    let arm = world.token(&service, MAIN);
    let change = Some(body(json!({})));
    assert_eq!(world.send_as(Some(&arm), Method::PUT, &vault("kv-byok"), change).status, 403);
}

#[test]
fn there_are_no_private_endpoints() {
    let world = World::new();
    world.make(&vault("kv-link"), body(json!({})));
    let sku = json!({ "family": "B", "name": "Standard_B1" });
    let properties = json!({ "initialAdminObjectIds": [world.administrator] });
    let hsm = format!("{GROUP}/managedHSMs/hsm-link");
    world.make(&hsm, json!({ "location": "eastus", "sku": sku, "properties": properties }));
    for holder in [vault("kv-link"), hsm] {
        for list in ["privateEndpointConnections", "privateLinkResources"] {
            assert_eq!(world.get(&format!("{holder}/{list}")).body, json!({ "value": [] }));
            let absent = format!("{holder}-none/{list}");
            assert_eq!(world.get(&absent).error(), (404, "ResourceNotFound"));
        }
        let one = format!("{holder}/privateEndpointConnections/c1");
        let approval = json!({ "properties": {
            "privateLinkServiceConnectionState": { "status": "Approved" },
        } });
        let refused = world.put(&one, approval);
        assert_eq!(refused.error(), (404, "ResourceNotFound"));
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("networkAcls"), "{message}");
        assert_eq!(world.get(&one).error(), (404, "ResourceNotFound"));
        assert_eq!(world.delete(&one).status, 204);
    }
}

#[test]
fn a_purge_operator_purges_by_the_display_name_of_a_location() {
    let world = World::new();
    let vault = "S/resourceGroups/custody/providers/Microsoft.KeyVault/vaults/kv-alps";
    let properties = json!({ "enableRbacAuthorization": true });
    world.make(vault, json!({ "location": "Switzerland North", "properties": properties }));
    assert_eq!(world.delete(vault).status, 200);
    let deleted =
        "S/providers/Microsoft.KeyVault/locations/Switzerland North/deletedVaults/kv-alps";
    assert_eq!(world.get(deleted).body["properties"]["location"], "switzerlandnorth");
    let operator = world.application("operator");
    let token = world.token(&operator, MAIN);
    let purge = || {
        let path = format!("{deleted}/purge");
        world.send_as(Some(&token), Method::POST, &path, None).status
    };
    assert_eq!(purge(), 403);
    world.grant("S", "a68e7c17-0ab2-4c09-9a58-125dae29748c", &operator.object, 1);
    let made = world.send_as(Some(&token), Method::GET, vault, None);
    assert_eq!(made.error(), (403, "AuthorizationFailed"), "it purges, and sees nothing else");
    assert_eq!(purge(), 202);
    world.settle();
    assert_eq!(world.get(deleted).status, 404);
}
