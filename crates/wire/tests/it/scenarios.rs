//! Acceptance scenarios of the rules (docs/rules.md, "Acceptance scenarios") that no other test walks
//! from end to end through the public surface.

use serde_json::{Value, json};

use crate::desk::{AUTH_FAILURE, BACKUP, COMPLETED, Desk, KEY, MISSING, RECOVERY, Speaker, end};

const CONFIG: &str = "backupEncryptionConfigs/backupResourceEncryptionConfig";

impl Desk {
    /// What a Recovery Services vault says of its encryption: type, last update and key.
    fn config(&self, vault: &str) -> [Value; 3] {
        let shown = self.get(&format!("{vault}/{CONFIG}"))["properties"].clone();
        ["encryptionAtRestType", "lastUpdateStatus", "keyUri"].map(|name| shown[name].clone())
    }

    /// Gives the user-assigned identity these permissions in the key vault `policies`.
    fn permit(&self, permissions: &[&str]) {
        let tenant = &self.site.tenant;
        let officer = ["get", "create"];
        let policy = |object: &str, keys: &[&str]| json!({ "tenantId": tenant, "objectId": object, "permissions": { "keys": keys } });
        let id = format!("{}/providers/Microsoft.KeyVault/vaults/policies", self.group);
        let properties = json!({
            "enableRbacAuthorization": false, "enablePurgeProtection": true,
            "accessPolicies": [
                policy(&self.site.object, &officer), policy(&self.identity.1, permissions),
            ],
        });
        let body = json!({ "location": "local", "properties": properties });
        self.site.put(&id, "2026-02-01", &body);
    }

    /// The statuses of an operation's events in the activity log of the group.
    fn events(&self, operation: &str) -> Vec<String> {
        let subscription = self.group.split("/resourceGroups").next().unwrap();
        let filter = "eventTimestamp%20ge%20'2027-01-15T00:00:00Z'%20and%20eventTimestamp%20le%20'2027-01-16T00:00:00Z'";
        let path = format!(
            "{subscription}/providers/Microsoft.Insights/eventtypes/management/values\
             ?api-version=2015-04-01&$filter={filter}"
        );
        let answer = self.site.ask("GET", &path, None, Value::Null);
        assert_eq!(answer.status, 200, "{answer:?}");
        let all = answer.body["value"].as_array().unwrap().clone();
        let of_operation = all.iter().filter(|event| event["operationName"]["value"] == operation);
        of_operation.map(|event| event["status"]["value"].as_str().unwrap().to_owned()).collect()
    }

    /// Sends encryption settings to a Backup vault; status, and code of a refusal.
    fn settings(&self, vault: &str, settings: Value) -> (u16, String) {
        let body =
            json!({ "properties": { "securitySettings": { "encryptionSettings": settings } } });
        let answer = self.patch(vault, body);
        let code = answer.body["error"]["code"].as_str().unwrap_or_default().to_owned();
        (answer.status, code)
    }
}

/// Scenarios 1 and 2; rules 43, 48, 57, 71, 73, 78, 79.
#[test]
fn a_policy_without_unwrap_is_refused_until_it_is_complete() {
    let desk = Desk::new();
    desk.permit(&["get", "wrapKey"]);
    let version = desk.key("policies", "k", &json!({ "kty": "RSA", "key_size": 2048 }));
    let key = version.rsplit_once('/').unwrap().0;
    let vault = desk.vault(RECOVERY, "policy-mode");
    assert_eq!(desk.encrypt(&vault, key, Speaker::User).as_deref(), Some(MISSING));
    assert_eq!(desk.config(&vault), [json!("MicrosoftManaged"), json!("Failed"), Value::Null]);
    let operation = "Microsoft.RecoveryServices/vaults/write";
    assert_eq!(desk.events(operation).iter().filter(|status| *status == "Failed").count(), 1);
    let job = &desk.jobs(&vault)[0];
    assert_eq!(job["properties"]["status"], "Failed", "{job}");

    desk.permit(&["get", "wrapKey", "unwrapKey"]);
    let succeeded = desk.events(operation).iter().filter(|one| *one == "Succeeded").count();
    assert_eq!(desk.encrypt(&vault, key, Speaker::User), None);
    assert_eq!(desk.config(&vault), [json!("CustomerManaged"), json!("Succeeded"), json!(key)]);
    let after = desk.events(operation).iter().filter(|one| *one == "Succeeded").count();
    assert_eq!(after, succeeded + 1, "{:?}", desk.events(operation));
    let job = &desk.jobs(&vault)[0];
    assert_eq!(job["properties"]["status"], "Completed", "{job}");
}

/// Scenario 3; rule 51.
#[test]
fn no_request_leads_back_to_the_platforms_key() {
    let desk = Desk::new();
    desk.admit("kv1");
    let vaults = [desk.vault(BACKUP, "bound"), desk.vault(RECOVERY, "bound")];
    for vault in &vaults {
        assert_eq!(desk.encrypt(vault, KEY, Speaker::User), None);
    }
    let seen = vaults.each_ref().map(|vault| desk.get(vault));
    let [backup, recovery] = &vaults;
    let within =
        |settings: Value| json!({ "securitySettings": { "encryptionSettings": settings } });
    for (vault, properties) in [
        (backup, within(json!({ "state": "Disabled" }))),
        (backup, within(Value::Null)),
        (backup, within(json!({ "keyVaultProperties": { "keyUri": "" } }))),
        (backup, within(json!({ "keyVaultProperties": null }))),
        (recovery, json!({ "encryption": null })),
        (recovery, json!({ "encryption": { "keyVaultProperties": { "keyUri": "" } } })),
        (recovery, json!({ "encryption": { "keyVaultProperties": null } })),
    ] {
        for method in ["PATCH", "PUT"] {
            let mut body = json!({ "properties": properties.clone() });
            if method == "PUT" {
                let known = desk.get(vault);
                body["location"] = known["location"].clone();
                body["identity"] = json!({ "type": "SystemAssigned,UserAssigned",
                    "userAssignedIdentities": { desk.identity.0.clone(): {} } });
            }
            let path = format!("{vault}?api-version=2025-02-01");
            let answer = desk.site.ask(method, &path, None, body);
            desk.site.server.finish();
            assert!((400..500).contains(&answer.status), "{method} {properties}: {answer:?}");
        }
    }
    for (vault, before) in vaults.iter().zip(&seen) {
        let after = desk.get(vault);
        assert_eq!(after["properties"]["keyring"], before["properties"]["keyring"]);
        assert_eq!(after["properties"]["provisioningState"], "Succeeded", "{after}");
    }
}

/// Scenarios 4 and 5; rules 32, 36.
#[test]
fn key_and_identity_of_a_backup_vault_change_one_at_a_time() {
    let desk = Desk::new();
    desk.admit("kv1");
    desk.key("kv1", "other", &json!({ "kty": "RSA", "key_size": 2048 }));
    let other = "https://kv1.vault.custody.localhost/keys/other";
    let settings = |key: &str, own: bool| {
        let kek = if own {
            json!({ "identityType": "SystemAssigned" })
        } else {
            json!({ "identityType": "UserAssigned", "identityId": desk.identity.0 })
        };
        json!({ "state": "Enabled", "keyVaultProperties": { "keyUri": key }, "kekIdentity": kek })
    };
    let id = format!("{}/providers/{BACKUP}/early", desk.group);
    let body = json!({
        "location": "local", "identity": { "type": "SystemAssigned" },
        "properties": { "securitySettings": { "encryptionSettings": settings(KEY, true) } },
    });
    let early = desk.site.ask("PUT", &format!("{id}?api-version=2025-02-01"), None, body);
    assert_eq!(early.status, 400, "{early:?}");
    let vault = desk.vault(BACKUP, "stepwise");
    let own = desk.get(&vault)["identity"]["principalId"].as_str().unwrap().to_owned();
    desk.grant("kv1", crate::desk::ENCRYPTION_USER, &own, 3);
    // The first enabling carries both; its own identity is taken now that it is there.
    assert!(desk.settings(&vault, settings(KEY, true)).0 < 300);
    assert_eq!(desk.settings(&vault, settings(other, false)).0, 400);
    assert!(desk.settings(&vault, settings(other, true)).0 < 300);
    assert!(desk.settings(&vault, settings(other, false)).0 < 300);
    let shown = desk.get(&vault)["properties"]["securitySettings"]["encryptionSettings"].clone();
    assert_eq!(shown["keyVaultProperties"]["keyUri"], other);
    assert_eq!(shown["kekIdentity"]["identityType"], "UserAssigned");
}

/// Scenario 6, its second half; rule 53.
#[test]
fn a_backup_vault_takes_a_key_after_attempts_to_protect() {
    let desk = Desk::new();
    desk.admit("kv1");
    let vault = desk.vault(BACKUP, "late");
    let refused = format!("{vault}/backupInstances/nothing?api-version=2025-02-01");
    let properties = json!({
        "objectType": "BackupInstance", "friendlyName": "nothing",
        "dataSourceInfo": {
            "objectType": "Datasource", "datasourceType": "Microsoft.Compute/disks",
            "resourceName": "nothing",
        },
    });
    let answer = desk.site.ask("PUT", &refused, None, json!({ "properties": properties }));
    assert!((400..500).contains(&answer.status), "{answer:?}");
    let item = desk.item(&vault);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let into = tempfile::tempdir().unwrap();
    assert_eq!(end(&desk.restore(&item, &into)), COMPLETED);
}

/// Scenario 13; rules 74, 75.
#[test]
fn the_second_layer_is_settled_by_the_request_that_enables_the_key() {
    let desk = Desk::new();
    desk.admit("kv1");
    let vault = desk.vault(RECOVERY, "layered");
    let encryption = |layer: Option<&str>| {
        let mut encryption = json!({
            "keyVaultProperties": { "keyUri": KEY },
            "kekIdentity": { "userAssignedIdentity": desk.identity.0 },
        });
        if let Some(layer) = layer {
            encryption["infrastructureEncryption"] = layer.into();
        }
        desk.patch(&vault, json!({ "properties": { "encryption": encryption } })).status
    };
    let layer = || {
        let shown = desk.get(&format!("{vault}/{CONFIG}"));
        shown["properties"]["infrastructureEncryptionState"].clone()
    };
    assert_eq!(encryption(Some("Enabled")), 202);
    assert_eq!(layer(), "Enabled");
    assert_eq!(encryption(Some("Disabled")), 400);
    assert_eq!(layer(), "Enabled");
    for same in [Some("Enabled"), None] {
        assert!(encryption(same) < 300);
        assert_eq!(layer(), "Enabled");
    }
}

/// A key URI is hostile input: only hosts of this server, no other scheme, no addresses.
#[test]
fn a_key_uri_reaches_no_foreign_host() {
    let desk = Desk::new();
    desk.admit("kv1");
    let vault = desk.vault(BACKUP, "asked");
    for uri in [
        "http://kv1.vault.custody.localhost/keys/k",
        "https://kv1.vault.evil.example/keys/k",
        "https://kv1.vault.custody.localhost.evil.example/keys/k",
        "https://kv1.vault.custody.localhost@evil.example/keys/k",
        "https://user:word@kv1.vault.custody.localhost/keys/k",
        "https://127.0.0.1/keys/k",
        "https://[::1]/keys/k",
        "https://169.254.169.254/keys/k",
        "https://kv1.vault.custody.localhost:8443.evil.example/keys/k",
        "https://kv1.vault.custody.localhost/keys/../secrets/k",
        "https://kv1.vault.custody.localhost/keys/k?x=y",
        "https://kv1.vault.custody.localhost/keys/k#x",
        "https://kv1.vault.custody.localhost/secrets/k",
        "https://kv1.vault.custody.localhost/keys/k/v/more",
        "file:///keys/k",
        "ftp://kv1.vault.custody.localhost/keys/k",
        "//kv1.vault.custody.localhost/keys/k",
        "kv1.vault.custody.localhost/keys/k",
    ] {
        let refused = desk.encrypt(&vault, uri, Speaker::User);
        let code = refused.unwrap_or_else(|| panic!("{uri} was taken"));
        let known = [AUTH_FAILURE, "InvalidRequestContent", "InvalidRestApiParameter"];
        assert!(known.contains(&code.as_str()), "{uri}: {code}");
        let settings = desk.get(&vault)["properties"]["securitySettings"].clone();
        assert!(!settings.to_string().contains("keyUri"), "{uri}: {settings}");
    }
}
