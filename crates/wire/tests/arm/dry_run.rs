//! What a change of encryption would meet, asked without changing anything.

use serde_json::{Value, json};

use crate::world::World;

const GROUP: &str = "S/resourceGroups/custody/providers";
const SERVICE_ROLE: &str = "e147488a-f6f5-4113-8e2d-b22465e65bf6";

/// What failed of a report, by code, and whether all passed.
fn failures(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|check| check["result"] == "Failed");
    let codes: Vec<String> =
        failed.map(|check| check["code"].as_str().unwrap().to_owned()).collect();
    let passed = checks.iter().all(|check| check["result"] == "Passed");
    assert_eq!(report["passed"], passed, "{report}");
    for check in checks.iter().filter(|check| check["result"] == "Failed") {
        let has_fix = check["fix"].is_string();
        assert!(has_fix || check["code"] == "InvalidRestApiParameter", "what mends it: {check}");
    }
    codes
}

#[test]
fn every_check_is_listed_and_nothing_changes() {
    let world = World::new();
    let key_vault = format!("{GROUP}/Microsoft.KeyVault/vaults/kv-dry");
    let body =
        json!({ "location": "westeurope", "properties": { "enableRbacAuthorization": true } });
    world.make(&key_vault, body);
    let key = json!({ "properties": { "kty": "RSA" } });
    let key = world.make(&format!("{key_vault}/keys/k1"), key)["properties"]["keyUri"].take();
    let vault = format!("{GROUP}/Microsoft.RecoveryServices/vaults/v");
    let own = json!({ "type": "SystemAssigned" });
    let made = world.make(&vault, json!({ "location": "eastus", "identity": own }));
    world.settle();
    let principal = made["identity"]["principalId"].as_str().unwrap();
    let asked = json!({ "properties": { "encryption": {
        "keyVaultProperties": { "keyUri": key },
        "kekIdentity": { "useSystemAssignedIdentity": true },
    } } });
    let check = |body: &Value| {
        let answer = world.post(&format!("{vault}/checkEncryption"), body.clone());
        assert_eq!(answer.status, 200, "{answer:?}");
        failures(&answer.body)
    };
    let purge = "UserErrorCMKPurgeProtectionNotEnabledOnKeyVault";
    let region = "UserErrorCMKKeyVaultRegionMismatch";
    let missing = "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault";
    assert_eq!(check(&asked), [purge, region, missing]);
    let protect = json!({ "properties": { "enablePurgeProtection": true } });
    assert_eq!(world.send(http::Method::PATCH, &key_vault, Some(protect)).status, 200);
    assert_eq!(check(&asked), [region, missing]);
    world.grant(&key_vault, SERVICE_ROLE, principal, 1);
    assert_eq!(check(&asked), [region]);
    let both = json!({ "properties": { "encryption": { "kekIdentity": {
        "useSystemAssignedIdentity": true, "userAssignedIdentity": format!("{}/resourceGroups/custody/providers/x.y/z/one", world.subscription),
    } } } });
    assert_eq!(check(&both).len(), 1, "a request that breaks a rule is looked at no further");
    let shown = world.get(&vault).body;
    assert_eq!(shown["properties"].get("encryption"), None, "{shown}");
    assert_eq!(shown["properties"]["keyring"]["number"], 1, "{shown}");
}

/// What a dry run lets pass goes through, and afterwards it tells whether the key could be changed.
#[test]
fn what_passes_goes_through() {
    let world = World::new();
    let mut keys = Vec::new();
    let vault = format!("{GROUP}/Microsoft.DataProtection/backupVaults/v");
    let own = json!({ "type": "SystemAssigned" });
    let made = world.make(&vault, json!({ "location": "eastus", "identity": own }));
    world.settle();
    let principal = made["identity"]["principalId"].as_str().unwrap();
    for number in 1..=2 {
        let key_vault = format!("{GROUP}/Microsoft.KeyVault/vaults/kv-dry{number}");
        let properties = json!({ "enableRbacAuthorization": true, "enablePurgeProtection": true });
        // Another region than the vault's (rule 24).
        world.make(&key_vault, json!({ "location": "westeurope", "properties": properties }));
        let key = json!({ "properties": { "kty": "RSA" } });
        let key = world.make(&format!("{key_vault}/keys/k1"), key)["properties"]["keyUri"].take();
        keys.push((key, world.grant(&key_vault, SERVICE_ROLE, principal, number)));
    }
    let ask = |key: &Value| {
        json!({ "properties": { "securitySettings": { "encryptionSettings": {
            "state": "Enabled",
            "keyVaultProperties": { "keyUri": key },
            "kekIdentity": { "identityType": "SystemAssigned" },
        } } } })
    };
    let check =
        |key: &Value| failures(&world.post(&format!("{vault}/checkEncryption"), ask(key)).body);
    let (first, second) = (&keys[0], &keys[1]);
    assert!(check(&first.0).is_empty());
    assert_eq!(world.send(http::Method::PATCH, &vault, Some(ask(&first.0))).status, 200);
    world.settle();
    assert!(check(&second.0).is_empty());
    assert_eq!(world.delete(&first.1).status, 200);
    let missing = "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault";
    assert_eq!(check(&second.0), [missing], "the old key cannot be rewrapped from (rule 58)");
}
