//! Rule 60: a Recovery Services vault goes over to a key of another key vault if that lies in the
//! same region, keeps what is deleted, is protected from purges and lets the vault's identity in.

use http::Method;
use serde_json::{Value, json};

use crate::protection::{ENCRYPTION_USER, Kind, Protected};

/// Makes a key vault with a key, and asks for that key; what came of it, and which key is in force.
fn ask(
    protected: &Protected,
    name: &str,
    at: &str,
    properties: Value,
    admitted: bool,
) -> (String, String) {
    let world = &protected.world;
    let vault = format!("S/resourceGroups/custody/providers/Microsoft.KeyVault/vaults/{name}");
    world.make(&vault, json!({ "location": at, "properties": properties }));
    let key = json!({ "properties": { "kty": "RSA" } });
    let key = world.make(&format!("{vault}/keys/k"), key)["properties"]["keyUri"].take();
    let shown = world.get(&protected.vault()).body;
    let identities = &shown["identity"]["userAssignedIdentities"];
    let (_, identity) = identities.as_object().unwrap().iter().next().unwrap();
    if admitted {
        let principal = identity["principalId"].as_str().unwrap();
        world.grant(&vault, ENCRYPTION_USER, principal, 8);
    }
    let body =
        json!({ "properties": { "encryption": { "keyVaultProperties": { "keyUri": key } } } });
    let answer = world.send(Method::PATCH, &protected.vault(), Some(body));
    world.settle();
    let code = match answer.status {
        202 => protected.jobs("UpdateEncryptionSettings").swap_remove(0).1,
        _ => answer.error().1.to_owned(),
    };
    let config =
        format!("{}/backupEncryptionConfigs/backupResourceEncryptionConfig", protected.vault());
    let config = world.get(&config).body;
    (code, config["properties"]["keyUri"].as_str().unwrap().to_owned())
}

#[test]
fn a_vault_changes_to_a_key_vault_that_is_as_the_first_had_to_be() {
    let protected = Protected::under_key(Kind::RecoveryServices);
    assert_eq!(protected.backup().status, 202);
    let safe = json!({ "enableRbacAuthorization": true, "enablePurgeProtection": true });
    let unsafe_one = json!({ "enableRbacAuthorization": true });
    let forgetful = json!({ "enableRbacAuthorization": true, "enableSoftDelete": false });
    let cases = [
        ("kv-far", "eastus", safe.clone(), true, "UserErrorCMKKeyVaultRegionMismatch"),
        ("kv-purged", "local", unsafe_one, true, "UserErrorCMKPurgeProtectionNotEnabledOnKeyVault"),
        ("kv-gone", "local", forgetful, true, "UserErrorCMKSoftDeleteNotEnabledOnKeyVault"),
        (
            "kv-closed",
            "local",
            safe.clone(),
            false,
            "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault",
        ),
    ];
    for (name, at, properties, admitted, refused) in cases {
        let (code, key) = ask(&protected, name, at, properties, admitted);
        assert_eq!(code, refused, "{name}");
        assert!(key.contains("kv-customer"), "{name}: {key} came into force");
        assert_eq!(protected.restores(), Ok(()), "{name}");
    }
    let (code, key) = ask(&protected, "kv-second", "local", safe, true);
    assert_eq!(code, "");
    assert!(key.contains("kv-second"), "{key}");
    assert_eq!(protected.restores(), Ok(()));
}
