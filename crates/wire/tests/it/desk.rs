//! An installation with a key vault and an identity, and what tests of vaults' keys ask of it.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::site::{Answer, Site, VAULTS};

pub(crate) const ENCRYPTION_USER: &str = "e147488a-f6f5-4113-8e2d-b22465e65bf6";
pub(crate) const CRYPTO_OFFICER: &str = "14b46e9e-c2b7-41b4-b07b-48a6ebf60603";
pub(crate) const MISSING: &str = "UserErrorCMKMissingMangedIdentityPermissionOnKeyVault";
pub(crate) const AUTH_FAILURE: &str = "UserErrorCMKKeyVaultAuthFailure";
pub(crate) const BACKUP: &str = "Microsoft.DataProtection/backupVaults";
pub(crate) const RECOVERY: &str = "Microsoft.RecoveryServices/vaults";

/// An installation with a key vault `kv1`, a key `k` in it, and a user-assigned identity.
pub(crate) struct Desk {
    pub(crate) site: Site,
    pub(crate) group: String,
    /// Id and principal of the user-assigned identity.
    pub(crate) identity: (String, String),
    pub(crate) source: TempDir,
}

/// Who speaks to the key vault.
#[derive(Clone, Copy)]
pub(crate) enum Speaker {
    Own,
    User,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let site = Site::new();
        let own = site.ask("GET", "/custody/installation", None, Value::Null).body;
        let group = format!(
            "/subscriptions/{}/resourceGroups/custody",
            own["subscriptionId"].as_str().unwrap()
        );
        let id = format!("{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one");
        let made = site.put(&id, "2024-11-30", &json!({ "location": "local" }));
        let principal = made["properties"]["principalId"].as_str().unwrap().to_owned();
        let source = tempfile::tempdir().unwrap();
        std::fs::write(source.path().join("letter.txt"), "the only copy").unwrap();
        let desk = Self { site, group, identity: (id, principal), source };
        desk.key_vault("kv1", &json!({}));
        desk.key("kv1", "k", &json!({ "kty": "RSA", "key_size": 2048 }));
        desk
    }

    /// Makes or changes a key vault that the administrator's application may make keys in.
    pub(crate) fn key_vault(&self, name: &str, more: &Value) {
        let id = format!("{}/providers/Microsoft.KeyVault/vaults/{name}", self.group);
        let mut properties = json!({
            "enableRbacAuthorization": true, "enablePurgeProtection": true,
        });
        for (field, value) in more.as_object().unwrap() {
            properties[field] = value.clone();
        }
        let body = json!({ "location": "local", "properties": properties });
        self.site.put(&id, "2026-02-01", &body);
        self.grant(name, CRYPTO_OFFICER, &self.site.object, 1);
    }

    /// The path of a grant on a key vault.
    pub(crate) fn grant(&self, vault: &str, role: &str, principal: &str, number: u32) -> String {
        let id = format!(
            "{}/providers/Microsoft.KeyVault/vaults/{vault}/providers/Microsoft.Authorization/\
             roleAssignments/00000000-0000-0000-0000-{number:012}",
            self.group
        );
        let role = format!("/providers/Microsoft.Authorization/roleDefinitions/{role}");
        let properties = json!({ "roleDefinitionId": role, "principalId": principal });
        self.site.put(&id, "2022-04-01", &json!({ "properties": properties }));
        format!("{id}?api-version=2022-04-01")
    }

    pub(crate) fn revoke(&self, grant: &str) {
        assert_eq!(self.site.ask("DELETE", grant, None, Value::Null).status, 200);
    }

    /// Lets the user-assigned identity use the keys of `vault`.
    pub(crate) fn admit(&self, vault: &str) -> String {
        self.grant(vault, ENCRYPTION_USER, &self.identity.1, 2)
    }

    pub(crate) fn keys(&self, method: &str, path: &str, body: Value) -> Value {
        let path = format!("https://{path}?api-version=7.6");
        // The clock may have left an older token behind.
        let officer = self.site.bearer(VAULTS);
        let answer = self.site.ask(method, &path, Some(&officer), body);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    /// Makes a key, or a new version of it; returns the version's URI.
    pub(crate) fn key(&self, vault: &str, name: &str, body: &Value) -> String {
        let host = format!("{vault}.vault.custody.localhost/keys/{name}/create");
        self.keys("POST", &host, body.clone())["key"]["kid"].as_str().unwrap().to_owned()
    }

    pub(crate) fn set(&self, version: &str, attributes: Value) {
        let path = version.trim_start_matches("https://");
        self.keys("PATCH", path, json!({ "attributes": attributes }));
    }

    /// Makes a vault of this kind with its own and the user-assigned identity.
    pub(crate) fn vault(&self, kind: &str, name: &str) -> String {
        let id = format!("{}/providers/{kind}/{name}", self.group);
        let identity = json!({
            "type": "SystemAssigned,UserAssigned",
            "userAssignedIdentities": { self.identity.0.clone(): {} },
        });
        let body = json!({
            "location": "local", "identity": identity, "properties": {},
            "sku": { "name": "Standard" },
        });
        self.site.put(&id, "2025-02-01", &body);
        self.site.server.finish();
        id
    }

    pub(crate) fn get(&self, id: &str) -> Value {
        let answer =
            self.site.ask("GET", &format!("{id}?api-version=2025-02-01"), None, Value::Null);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    pub(crate) fn patch(&self, id: &str, body: Value) -> Answer {
        let answer = self.site.ask("PATCH", &format!("{id}?api-version=2025-02-01"), None, body);
        self.site.server.finish();
        answer
    }

    /// Asks for a key; the code of what refuses it, at once or by the operation.
    pub(crate) fn encrypt(&self, vault: &str, key: &str, speaker: Speaker) -> Option<String> {
        let properties = json!({ "keyUri": key });
        let body = if vault.contains(RECOVERY) {
            let kek = match speaker {
                Speaker::Own => json!({ "useSystemAssignedIdentity": true }),
                Speaker::User => json!({ "userAssignedIdentity": self.identity.0 }),
            };
            json!({ "encryption": { "keyVaultProperties": properties, "kekIdentity": kek } })
        } else {
            let kek = match speaker {
                Speaker::Own => json!({ "identityType": "SystemAssigned" }),
                Speaker::User => {
                    json!({ "identityType": "UserAssigned", "identityId": self.identity.0 })
                }
            };
            let settings = json!({
                "state": "Enabled", "keyVaultProperties": properties, "kekIdentity": kek,
            });
            json!({ "securitySettings": { "encryptionSettings": settings } })
        };
        let answer = self.patch(vault, json!({ "properties": body }));
        let now = answer.body["error"]["code"].as_str().map(str::to_owned);
        let seen = self.get(vault);
        let later = seen["properties"]["encryptionError"]["code"].as_str().map(str::to_owned);
        now.or(later)
    }

    /// The versions that wrap a vault.
    pub(crate) fn wraps(&self, vault: &str) -> Vec<String> {
        let seen = self.get(vault);
        let generations = seen["properties"]["keyring"]["generations"].as_array().unwrap().clone();
        let wraps = generations.iter().flat_map(|one| one["wraps"].as_array().unwrap().clone());
        wraps.map(|wrap| wrap.as_str().unwrap().to_owned()).collect()
    }

    /// Protects the folder in a Backup vault; the item's id.
    pub(crate) fn item(&self, vault: &str) -> String {
        let id = format!("{vault}/backupInstances/docs");
        let properties = json!({
            "objectType": "BackupInstance", "friendlyName": "docs",
            "dataSourceInfo": {
                "objectType": "Datasource", "datasourceType": "Custody.Sources/folders",
                "resourceName": "docs",
            },
            "folder": { "paths": [self.source.path()] },
        });
        self.site.put(&id, "2025-02-01", &json!({ "properties": properties }));
        self.site.server.finish();
        id
    }

    /// Runs a job to its end.
    pub(crate) fn job(&self, of: &str, verb: &str, body: Value) -> Value {
        let path = format!("{of}/{verb}?api-version=2025-02-01");
        let answer = self.site.ask("POST", &path, None, body);
        assert!(answer.status < 300, "{verb}: {answer:?}");
        self.site.server.finish();
        self.jobs(of.split("/backupInstances").next().unwrap())[0].clone()
    }

    /// The jobs of a vault, newest first.
    pub(crate) fn jobs(&self, vault: &str) -> Vec<Value> {
        self.get(&format!("{vault}/backupJobs"))["value"].as_array().unwrap().clone()
    }

    pub(crate) fn restore(&self, item: &str, into: &TempDir) -> Value {
        let body = json!({ "point": "latest", "target": into.path(), "overwrite": "always" });
        self.job(item, "restore", body)
    }
}

/// A job's status and, if it failed, its code.
pub(crate) fn end(job: &Value) -> (&str, &str) {
    let properties = &job["properties"];
    let code = properties["errorDetails"][0]["code"].as_str();
    (properties["status"].as_str().unwrap(), code.unwrap_or_default())
}

pub(crate) const COMPLETED: (&str, &str) = ("Completed", "");
pub(crate) const LOST: (&str, &str) = ("Failed", MISSING);
pub(crate) const KEY: &str = "https://kv1.vault.custody.localhost/keys/k";
/// The site's clock as it begins, `2027-01-15T08:00:00Z`.
pub(crate) const NOW: u64 = 1_800_000_000;
