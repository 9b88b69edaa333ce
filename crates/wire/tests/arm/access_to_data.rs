//! Who reaches the data of a vault under a customer's key.

use http::Method;
use serde_json::json;

use crate::world::{MAIN, World};

const GROUP: &str = "S/resourceGroups/custody/providers";
const VAULT: &str = "S/resourceGroups/custody/providers/Microsoft.DataProtection/backupVaults/v";
const SERVICE_ROLE: &str = "e147488a-f6f5-4113-8e2d-b22465e65bf6";
const KEY_ADMINISTRATOR: &str = "00482a5a-887f-4fb3-b363-3b7fe8e74483";
const BACKUP_CONTRIBUTOR: &str = "5e467623-bb1f-42f4-a55d-6e525e11384b";

/// Rule 121: a customer's key protects what lies on the disk. Who restores is decided by roles on the
/// vault alone: whoever has one needs no right to the key, and every right to the key is none to the
/// vault.
#[test]
fn a_key_protects_what_lies_there_and_is_no_access_control() {
    let world = World::new();
    let key_vault = format!("{GROUP}/Microsoft.KeyVault/vaults/kv-access");
    let properties = json!({ "enableRbacAuthorization": true, "enablePurgeProtection": true });
    world.make(&key_vault, json!({ "location": "eastus", "properties": properties }));
    let key = world.make(&format!("{key_vault}/keys/k"), json!({ "properties": { "kty": "RSA" } }));
    let own = json!({ "type": "SystemAssigned" });
    let made = world.make(VAULT, json!({ "location": "eastus", "identity": own }));
    world.settle();
    world.grant(&key_vault, SERVICE_ROLE, made["identity"]["principalId"].as_str().unwrap(), 1);
    let settings = json!({
        "state": "Enabled",
        "keyVaultProperties": { "keyUri": key["properties"]["keyUri"] },
        "kekIdentity": { "identityType": "SystemAssigned" },
    });
    let body = json!({ "properties": { "securitySettings": { "encryptionSettings": settings } } });
    assert_eq!(world.send(Method::PATCH, VAULT, Some(body)).status, 200);
    world.settle();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("letter"), "dear reader").unwrap();
    let item = format!("{VAULT}/backupInstances/docs");
    world.make(&item, json!({ "properties": { "folder": { "paths": [source.path()] } } }));
    assert_eq!(world.post(&format!("{item}/backup"), json!({})).status, 202);
    world.settle();

    let (operator, officer) = (world.application("operator"), world.application("officer"));
    world.grant(VAULT, BACKUP_CONTRIBUTOR, &operator.object, 2);
    world.grant(&key_vault, KEY_ADMINISTRATOR, &officer.object, 3);
    let jobs = || world.get(&format!("{VAULT}/backupJobs")).body["value"].as_array().unwrap().len();
    for (who, may) in [(&operator, true), (&officer, false)] {
        let token = world.token(who, MAIN);
        let into = tempfile::tempdir().unwrap();
        let before = jobs();
        let body = json!({ "point": "latest", "target": into.path(), "overwrite": "always" });
        let restore = format!("{item}/restore");
        let asked = world.send_as(Some(&token), Method::POST, &restore, Some(body));
        world.settle();
        let seen =
            world.send_as(Some(&token), Method::GET, &format!("{item}/recoveryPoints"), None);
        let restored = std::fs::read_dir(into.path()).unwrap().count();
        if may {
            assert_eq!((asked.status, seen.status, restored), (202, 200, 1), "{asked:?} {seen:?}");
            let newest = world.get(&format!("{VAULT}/backupJobs")).body["value"][0].clone();
            assert_eq!(newest["properties"]["status"], "Completed", "{newest}");
        } else {
            assert_eq!(asked.error(), (403, "AuthorizationFailed"));
            assert_eq!(seen.error(), (403, "AuthorizationFailed"));
            assert_eq!((restored, jobs()), (0, before));
        }
        let reads_key =
            world.send_as(Some(&token), Method::GET, &format!("{key_vault}/keys/k"), None);
        assert_eq!(reads_key.status == 200, !may, "{reads_key:?}");
    }
}
