//! Managed identities, and the vaults that speak as them.

use http::Method;
use serde_json::{Value, json};

use crate::world::{MAIN, World};

const GROUP: &str = "S/resourceGroups/custody/providers";
const CRYPTO_SERVICE_ENCRYPTION_USER: &str = "e147488a-f6f5-4113-8e2d-b22465e65bf6";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A vault's key is reached as the identity that the customer chose: the vault's own or another.
#[test]
fn a_vault_speaks_as_its_own_or_a_user_assigned_identity() {
    let world = World::new();
    let key_vault = format!("{GROUP}/Microsoft.KeyVault/vaults/kv-cmk");
    let properties = json!({ "enableRbacAuthorization": true, "enablePurgeProtection": true });
    world.make(&key_vault, json!({ "location": "eastus", "properties": properties }));
    let key = json!({ "properties": { "kty": "RSA", "keySize": 2048 } });
    let key = world.make(&format!("{key_vault}/keys/k1"), key);
    let key_uri = text(&key["properties"]["keyUri"]);
    let path = format!("{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/one-id");
    let other = world.make(&path, json!({ "location": "eastus" }));
    let other_id = text(&other["id"]);
    for (number, chosen) in [(1, "SystemAssigned"), (2, "UserAssigned")] {
        let vault = format!("{GROUP}/Microsoft.DataProtection/backupVaults/v{number}");
        let mut identity = json!({ "type": chosen });
        let mut speaker = json!({ "identityType": chosen });
        if chosen == "UserAssigned" {
            identity["userAssignedIdentities"] = json!({ other_id.as_str(): {} });
            speaker["identityId"] = json!(other_id);
        }
        let storage = json!([{ "datastoreType": "VaultStore", "type": "LocallyRedundant" }]);
        let body = json!({
            "location": "eastus",
            "identity": identity,
            "properties": { "storageSettings": storage },
        });
        let made = world.make(&vault, body);
        world.settle();
        let principal = match chosen {
            "SystemAssigned" => text(&made["identity"]["principalId"]),
            _ => text(&other["properties"]["principalId"]),
        };
        let apply = || assign(&world, &vault, &key_uri, &speaker)["status"].clone();
        assert_eq!(apply(), "Failed", "{chosen} has no grant yet");
        world.grant(&key_vault, CRYPTO_SERVICE_ENCRYPTION_USER, &principal, number);
        assert_eq!(apply(), "Succeeded", "{chosen}");
    }
}

/// Assigns a key to a vault, and returns what became of it.
fn assign(world: &World, vault: &str, key_uri: &str, speaker: &Value) -> Value {
    let settings = json!({ "properties": { "securitySettings": { "encryptionSettings": {
        "state": "Enabled",
        "keyVaultProperties": { "keyUri": key_uri },
        "kekIdentity": speaker,
    } } } });
    let answer = world.send(http::Method::PATCH, vault, Some(settings));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let link = answer.headers["azure-asyncoperation"].to_str().unwrap().to_owned();
    world.settle();
    world.get(&link).body
}

/// Rules 19, 20, 37 and 38: what the key vault lacks is said by a code of its own.
#[test]
fn a_key_vault_must_be_fit_for_a_vaults_key() {
    let world = World::new();
    let path = format!("{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/one-id");
    let identity = world.make(&path, json!({ "location": "eastus" }));
    let (id, principal) = (text(&identity["id"]), text(&identity["properties"]["principalId"]));
    let vault = format!("{GROUP}/Microsoft.DataProtection/backupVaults/v1");
    let attached = json!({ "type": "UserAssigned", "userAssignedIdentities": { id.as_str(): {} } });
    let body = json!({ "location": "eastus", "identity": attached, "properties": {} });
    world.make(&vault, body);
    world.settle();
    let speaker = json!({ "identityType": "UserAssigned", "identityId": id });

    let unreachable = "UserErrorCMKKeyVaultAuthFailure";
    let barred =
        json!({ "enablePurgeProtection": true, "networkAcls": { "defaultAction": "Deny" } });
    let rows = [
        ("kv-purging", "2026-02-01", json!({}), "UserErrorCMKPurgeProtectionNotEnabledOnKeyVault"),
        (
            "kv-hard",
            "2025-05-01",
            json!({ "enableSoftDelete": false, "enableRbacAuthorization": true }),
            "UserErrorCMKSoftDeleteNotEnabledOnKeyVault",
        ),
        ("kv-barred", "2026-02-01", barred, unreachable),
    ];
    for (number, (name, version, properties, code)) in (1..).zip(rows) {
        let key_vault = format!("{GROUP}/Microsoft.KeyVault/vaults/{name}");
        let body = json!({ "location": "eastus", "properties": properties });
        world.make(&format!("{key_vault}?api-version={version}"), body);
        let key = json!({ "properties": { "kty": "RSA" } });
        let key_uri =
            text(&world.make(&format!("{key_vault}/keys/k1"), key)["properties"]["keyUri"]);
        world.grant(&key_vault, CRYPTO_SERVICE_ENCRYPTION_USER, &principal, number);
        let ended = assign(&world, &vault, &key_uri, &speaker);
        assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("Failed"), &json!(code)));
        // What mends it makes the same request go through.
        let mend = json!({ "properties": {
            "enablePurgeProtection": true, "networkAcls": { "defaultAction": "Allow" },
            "enableSoftDelete": true,
        } });
        let mended = world.send(http::Method::PATCH, &key_vault, Some(mend));
        assert_eq!(mended.status, 200, "{}", mended.body);
        assert_eq!(assign(&world, &vault, &key_uri, &speaker)["status"], "Succeeded", "{name}");
    }
    let absent = "https://kv-absent.vault.custody.localhost/keys/k1";
    assert_eq!(assign(&world, &vault, absent, &speaker)["error"]["code"], unreachable);
}

#[test]
fn a_new_identity_is_answered_with_where_it_lies() {
    let world = World::new();
    let path = format!("{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/placed");
    let made = world.put(&path, json!({ "location": "eastus" }));
    assert_eq!(made.status, 201);
    let place = made.headers["location"].to_str().unwrap();
    assert_eq!(world.get(place).body, made.body);
    let again = world.put(&path, json!({ "location": "eastus" }));
    assert_eq!((again.status, again.headers.get("location")), (200, None));
}

/// Rule 50: whoever lets a vault act as an identity has rights on both.
#[test]
fn who_attaches_an_identity_has_rights_on_it() {
    const CONTRIBUTOR: &str = "b24988ac-6180-42a0-ab88-20f7382dd24c";
    const IDENTITY_OPERATOR: &str = "f1a07417-d97a-45cb-824c-7a7467783830";
    let world = World::new();
    world.make("S/resourceGroups/safe", json!({ "location": "local" }));
    let identity =
        "S/resourceGroups/safe/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one";
    world.make(identity, json!({ "location": "local" }));
    let keeper = world.application("keeper");
    world.grant("S/resourceGroups/custody", CONTRIBUTOR, &keeper.object, 1);
    let vault = "S/resourceGroups/custody/providers/Microsoft.DataProtection/backupVaults/v";
    let id = identity.replacen('S', &world.subscription, 1);
    let attached = json!({ "type": "UserAssigned", "userAssignedIdentities": { id: {} } });
    let body = json!({ "location": "local", "identity": attached, "properties": {} });
    let put = |body: &Value| {
        let token = world.token(&keeper, MAIN);
        let answer = world.send_as(Some(&token), Method::PUT, vault, Some(body.clone()));
        world.settle();
        answer.status
    };
    assert_eq!(put(&body), 403);
    assert_eq!(world.get(vault).status, 404, "nothing was made");
    let grant = world.grant(identity, IDENTITY_OPERATOR, &keeper.object, 2);
    assert_eq!(put(&body), 201);
    // Who keeps it attached needs no right on it again.
    assert_eq!(world.delete(&grant).status, 200);
    assert!(put(&body) < 300);
}
