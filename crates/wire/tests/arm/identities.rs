//! Managed identities, and the vaults that speak as them.

use serde_json::{Value, json};

use crate::world::World;

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
        let settings = json!({ "properties": { "securitySettings": { "encryptionSettings": {
            "state": "Enabled",
            "keyVaultProperties": { "keyUri": key_uri },
            "kekIdentity": speaker,
        } } } });
        let apply = || {
            let answer = world.send(http::Method::PATCH, &vault, Some(settings.clone()));
            assert_eq!(answer.status, 200, "{}", answer.body);
            let link = answer.headers["azure-asyncoperation"].to_str().unwrap().to_owned();
            world.settle();
            text(&world.get(&link).body["status"])
        };
        assert_eq!(apply(), "Failed", "{chosen} has no grant yet");
        world.grant(&key_vault, CRYPTO_SERVICE_ENCRYPTION_USER, &principal, number);
        assert_eq!(apply(), "Succeeded", "{chosen}");
    }
}
