//! Vaults that are deleted softly: what stays of them, how they come back, and when they go.

use std::time::Duration;

use http::Request;
use serde_json::{Value, json};

use crate::desk::{BACKUP, COMPLETED, CRYPTO_OFFICER, Desk, KEY, RECOVERY, Speaker, end};
use crate::site::{Answer, MAIN, VAULTS, read};

const DAY: Duration = Duration::from_hours(24);
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
const BACKUP_OPERATOR: &str = "00c29273-979b-4161-815c-10b084fb9324";

impl Desk {
    fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let answer = self.site.ask(method, &format!("{path}?api-version=2025-02-01"), None, body);
        self.site.server.finish();
        answer
    }

    /// Status and code of what is asked.
    fn code(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let answer = self.ask(method, path, body);
        let code = answer.body["error"]["code"].as_str().unwrap_or_default();
        (answer.status, code.to_owned())
    }

    fn delete(&self, id: &str) {
        assert_eq!(self.code("DELETE", id, Value::Null), (202, String::new()), "{id}");
        assert_eq!(self.ask("GET", id, Value::Null).status, 404, "{id}");
    }

    /// Where deleted vaults of a kind stand.
    fn deleted(&self, kind: &str) -> String {
        let namespace = kind.split('/').next().unwrap();
        let subscription = self.group.split("/resourceGroups").next().unwrap();
        format!("{subscription}/providers/{namespace}/locations/local/deletedVaults")
    }

    fn names(&self, list: &str) -> Vec<String> {
        let all = self.get(list)["value"].as_array().unwrap().clone();
        all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The vaults that hang on the key `k`, and whether its newest version may go.
    fn dependants(&self) -> (Vec<String>, bool) {
        let own = self.site.ask("GET", "/custody/installation", None, Value::Null).body;
        let administrator = own["administrator"]["principalId"].as_str().unwrap();
        self.grant("kv1", CRYPTO_OFFICER, administrator, 9);
        let path = "/custody/dependants?keyVault=kv1&key=k";
        let report = self.site.ask("GET", path, None, Value::Null);
        let newest = &report.body["versions"][0];
        let vaults = newest["vaults"].as_array().unwrap();
        let ids = vaults.iter().map(|vault| vault["id"].as_str().unwrap().to_owned());
        (ids.collect(), newest["retireSafely"].as_bool().unwrap())
    }

    /// Brings a vault back as the clients of its kind do.
    fn undelete(&self, kind: &str, name: &str) -> Answer {
        let deleted = format!("{}/{name}", self.deleted(kind));
        if kind == RECOVERY {
            // As az does it: the group by its name alone.
            let group = json!({ "properties": { "recoveryResourceGroupId": "custody" } });
            return self.ask("POST", &format!("{deleted}/undelete"), group);
        }
        let path = format!("{MAIN}{}/providers/{kind}/{name}?api-version=2025-09-01", self.group);
        let body = json!({ "location": "local", "properties": {} }).to_string();
        let request = Request::put(path).header("x-ms-deleted-vault-id", deleted);
        let answer = read(self.site.server.handle(request.body(body.into_bytes()).unwrap()));
        self.site.server.finish();
        answer
    }

    /// What must be as before.
    fn essence(&self, vault: &str) -> Value {
        let shown = self.get(vault);
        let properties = &shown["properties"];
        json!([
            shown["identity"],
            properties["vaultGuid"],
            properties["fingerprint"],
            properties["keyring"],
            properties["encryption"],
            properties["securitySettings"],
            properties["provisioningState"],
        ])
    }
}

/// What settings of this kind's soft delete are written like.
fn soft_delete(kind: &str, state: &str, days: u32) -> Value {
    let settings = if kind == RECOVERY {
        json!({ "softDeleteState": state, "softDeleteRetentionPeriodInDays": days })
    } else {
        json!({ "state": state, "retentionDurationInDays": f64::from(days) })
    };
    json!({ "properties": { "securitySettings": { "softDeleteSettings": settings } } })
}

/// Keyring, repository and what the vault hangs on stay; it comes back with its policies and its
/// encryption, follows its key again, and what it is then given to keep is restored.
#[test]
fn a_deleted_vault_hangs_on_its_key_and_comes_back_under_it() {
    let desk = Desk::new();
    desk.admit("kv1");
    for (kind, on) in [(BACKUP, "On"), (RECOVERY, "Enabled")] {
        let vault = desk.vault(kind, "kept");
        assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
        assert!(desk.patch(&vault, soft_delete(kind, on, 20)).status < 300);
        let policy = format!("{vault}/backupPolicies/mine");
        let body = json!({ "objectType": "BackupPolicy", "backupManagementType": "AzureWorkload" });
        desk.site.put(&policy, "2025-02-01", &json!({ "properties": body }));
        let before = desk.essence(&vault);
        let policy_before = desk.get(&policy)["properties"].clone();
        desk.delete(&vault);

        let deleted = format!("{}/kept", desk.deleted(kind));
        assert_eq!(desk.names(&desk.deleted(kind)), ["kept"]);
        let shown = desk.get(&deleted)["properties"].clone();
        let (id, since, until) = if kind == RECOVERY {
            (&shown["vaultId"], &shown["vaultDeletionTime"], &shown["purgeAt"])
        } else {
            let info = &shown["resourceDeletionInfo"];
            let id = &shown["originalBackupVaultId"];
            (id, &info["deletionTime"], &info["scheduledPurgeTime"])
        };
        assert_eq!((id, since), (&json!(vault), &json!("2027-01-15T08:00:00Z")), "{shown}");
        assert_eq!(until, "2027-02-04T08:00:00Z", "after the vault's own 20 days");
        let hanging = |desk: &Desk| {
            let (vaults, safe) = desk.dependants();
            assert!(!safe);
            let namespace = kind.split('/').next().unwrap();
            vaults.into_iter().filter(|id| id.contains(namespace)).collect::<Vec<_>>()
        };
        assert_eq!(hanging(&desk), [deleted.as_str()]);

        let answer = desk.undelete(kind, "kept");
        assert_eq!(answer.status, if kind == RECOVERY { 202 } else { 201 }, "{answer:?}");
        assert_eq!(desk.essence(&vault), before, "{kind}");
        assert_eq!(desk.get(&policy)["properties"], policy_before);
        assert_eq!(desk.names(&desk.deleted(kind)), [""; 0]);
        assert_eq!(hanging(&desk), [vault.as_str()]);
        let second = desk.key("kv1", "k", &json!({ "kty": "RSA" }));
        assert!(desk.site.server.follow_keys().vaults > 0, "{kind}");
        assert!(desk.wraps(&vault).iter().all(|wrap| *wrap == second));
        if kind == BACKUP {
            let item = desk.item(&vault);
            assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
            let into = tempfile::tempdir().unwrap();
            assert_eq!(end(&desk.restore(&item, &into)), COMPLETED);
        }
    }
}

/// Nobody removes it earlier, not even who deleted it; then repository and record go by themselves.
#[test]
fn after_its_days_a_deleted_vault_goes_with_its_repository() {
    let desk = Desk::new();
    desk.admit("kv1");
    let store = tempfile::tempdir().unwrap();
    for (kind, days) in [(BACKUP, 14), (RECOVERY, 180)] {
        let place = store.path().join(kind);
        let id = format!("{}/providers/{kind}/short", desk.group);
        let mut body = soft_delete(kind, "AlwaysOn", days);
        body["location"] = "local".into();
        body["properties"]["store"] = json!({ "path": place });
        desk.site.put(&id, "2025-02-01", &body);
        desk.site.server.finish();
        desk.delete(&id);
        let deleted = format!("{}/short", desk.deleted(kind));
        let purge = format!("{deleted}/purge");
        let kept = (409, "VaultStillKept".to_owned());
        assert_eq!(desk.code("POST", &purge, Value::Null), kept);
        assert_eq!(desk.code("DELETE", &deleted, Value::Null), (405, "MethodNotAllowed".into()));
        desk.site.clock.advance(DAY * (days - 1));
        assert_eq!(desk.site.server.housekeep().purged_vaults, 0);
        assert!(place.join("custody-repository").exists(), "{kind}");
        desk.site.clock.advance(DAY);
        let done = desk.site.server.housekeep();
        assert_eq!((done.purged_vaults, done.problems.len()), (1, 0), "{done:?}");
        assert!(!place.exists(), "{kind}");
        assert_eq!(desk.ask("GET", &deleted, Value::Null).status, 404);
        assert_eq!(desk.code("POST", &format!("{deleted}/undelete"), json!({})).0, 404);
    }
}

/// A vault that holds nothing can be deleted, and brought back, whatever became of its key: neither
/// needs it. (Azure refuses the first while a Backup vault's key or identity is lost.)
#[test]
fn deleting_and_bringing_back_needs_no_key() {
    let desk = Desk::new();
    let grant = desk.admit("kv1");
    for kind in [BACKUP, RECOVERY] {
        let vault = desk.vault(kind, "bereft");
        desk.admit("kv1");
        assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
        desk.revoke(&grant);
        let detached = json!({ "identity": { "type": "SystemAssigned", "userAssignedIdentities": {
            desk.identity.0.clone(): null,
        } } });
        assert!(desk.patch(&vault, detached).status < 300);
        desk.delete(&vault);
        assert!(desk.undelete(kind, "bereft").status < 300);
        assert_eq!(desk.get(&vault)["properties"]["provisioningState"], "Succeeded");
        desk.delete(&vault);
    }
    let (vaults, safe) = desk.dependants();
    assert_eq!((vaults.len(), safe), (2, false));
}

/// What hangs on a key blocks its deletion where its key vault is told to guard it.
#[test]
fn a_deleted_vault_blocks_the_deletion_of_its_key() {
    let desk = Desk::new();
    desk.admit("kv1");
    let vault = desk.vault(BACKUP, "anchored");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    desk.delete(&vault);
    let id = format!("{}/providers/Microsoft.KeyVault/vaults/kv1", desk.group);
    let tags = json!({ "tags": { "custody-guard-dependants": "true" } });
    let tagged = desk.site.ask("PATCH", &format!("{id}?api-version=2026-02-01"), None, tags);
    assert_eq!(tagged.status, 200, "{tagged:?}");
    let officer = desk.site.bearer(VAULTS);
    let path = format!("{KEY}?api-version=7.6");
    let refused = desk.site.ask("DELETE", &path, Some(&officer), Value::Null);
    assert_eq!(refused.status, 409, "{refused:?}");
    desk.site.clock.advance(DAY * 14);
    assert_eq!(desk.site.server.housekeep().purged_vaults, 1);
    let officer = desk.site.bearer(VAULTS);
    assert_eq!(desk.site.ask("DELETE", &path, Some(&officer), Value::Null).status, 200);
}

/// What is refused, and what is not kept at all.
#[test]
fn deleted_vaults_say_why_they_do_not_come_back() {
    let desk = Desk::new();
    desk.admit("kv1");
    let other = desk.group.replace("/custody", "/other");
    desk.site.put(&other, "2024-11-01", &json!({ "location": "local" }));
    let into = |group: &str| json!({ "properties": { "recoveryResourceGroupId": group } });
    let code = |status: u16, code: &str| (status, code.to_owned());
    for (kind, off) in [(BACKUP, "Off"), (RECOVERY, "Disabled")] {
        let list = desk.deleted(kind);
        let undelete = |name: &str| format!("{list}/{name}/undelete");
        // Under the platform's key it may come back elsewhere; under a customer's it may not.
        let plain = desk.vault(kind, "plain");
        desk.delete(&plain);
        assert_eq!(desk.code("POST", &undelete("plain"), into("nowhere")).0, 404);
        let wrong = desk.code("POST", &undelete("plain"), into(&plain));
        assert_eq!(wrong, code(400, "InvalidRestApiParameter"));
        assert_eq!(desk.code("POST", &undelete("plain"), into(&other)).0, 202);
        desk.get(&plain.replace("/custody/", "/other/"));
        let secret = desk.vault(kind, "secret");
        assert_eq!(desk.encrypt(&secret, KEY, Speaker::User), None);
        desk.delete(&secret);
        let refused = desk.code("POST", &undelete("secret"), into(&other));
        assert_eq!(refused, code(409, "UserErrorCMKVaultMoveNotSupported"));
        // Another took its place; and went the same way, under a name of its own.
        let again = desk.vault(kind, "secret");
        let refused = desk.code("POST", &undelete("secret"), json!({}));
        assert_eq!(refused, code(409, "VaultAlreadyExists"));
        desk.delete(&again);
        let names = desk.names(&list);
        assert_eq!((names.len(), names[0].as_str()), (2, "secret"), "{names:?}");
        assert!(names[1].starts_with("secret-"), "{names:?}");
        assert_eq!(desk.code("POST", &undelete("secret"), json!({})).0, 202);
        let keyed = desk.get(&secret)["properties"].to_string();
        assert!(keyed.contains("CustomerManaged") || keyed.contains("kv1."), "{keyed}");
        // Without soft delete, or without ever having had a key, there is nothing to come back.
        let gone = desk.vault(kind, "gone");
        assert!(desk.patch(&gone, soft_delete(kind, off, 14)).status < 300);
        desk.delete(&gone);
        assert_eq!(desk.code("POST", &undelete("gone"), json!({})).0, 404);
    }
    let vault = desk.vault(BACKUP, "full");
    desk.item(&vault);
    let refused = desk.ask("DELETE", &vault, Value::Null);
    let text = refused.body["error"]["message"].as_str().unwrap();
    assert!(text.contains("existing resources within the vault"), "{text}");
}

/// Bringing a vault back takes the right to, and the right to make a vault there.
#[test]
fn only_who_may_make_vaults_brings_one_back() {
    let desk = Desk::new();
    let made =
        desk.site.ask("POST", "/v1.0/applications", None, json!({ "displayName": "op" })).body;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (object, client) = (text(&made["id"]), text(&made["appId"]));
    let path = format!("/v1.0/applications/{object}/addPassword");
    let secret = desk.site.ask("POST", &path, None, json!({})).body["secretText"].take();
    let principal =
        desk.site.ask("POST", "/v1.0/servicePrincipals", None, json!({ "appId": client })).body;
    let subscription = desk.group.split("/resourceGroups").next().unwrap();
    let assign = |role: &str, number: u32| {
        let id = format!(
            "{subscription}/providers/Microsoft.Authorization/roleAssignments/\
             00000000-0000-0000-0000-{number:012}"
        );
        let role = format!("/providers/Microsoft.Authorization/roleDefinitions/{role}");
        let properties = json!({ "roleDefinitionId": role, "principalId": principal["id"] });
        desk.site.put(&id, "2022-04-01", &json!({ "properties": properties }));
    };
    let vault = desk.vault(RECOVERY, "watched");
    desk.delete(&vault);
    let undelete = format!("{}/watched/undelete", desk.deleted(RECOVERY));
    let ask = || {
        let token = desk.site.bearer_of(&desk.site.tenant, &client, secret.as_str().unwrap(), MAIN);
        let path = format!("{undelete}?api-version=2025-02-01");
        let answer = desk.site.ask("POST", &path, Some(&token), json!({}));
        desk.site.server.finish();
        (answer.status, answer.body["error"]["message"].to_string())
    };
    assign(READER, 21);
    let (status, message) = ask();
    assert!(status == 403 && message.contains("deletedVaults/undelete/action"), "{message}");
    assign(BACKUP_OPERATOR, 22);
    let (status, message) = ask();
    assert!(status == 403 && message.contains("vaults/write"), "{message}");
    assign("b24988ac-6180-42a0-ab88-20f7382dd24c", 23);
    assert_eq!(ask().0, 202);
    desk.get(&vault);
}

/// A group is deleted with its vaults, which come back once there is a group of that name again.
#[test]
fn a_vault_comes_back_after_its_group_was_deleted() {
    let desk = Desk::new();
    let other = desk.group.replace("/custody", "/passing");
    desk.site.put(&other, "2024-11-01", &json!({ "location": "local" }));
    let vault = format!("{other}/providers/{RECOVERY}/survivor");
    desk.site.put(&vault, "2025-02-01", &json!({ "location": "local", "properties": {} }));
    desk.site.server.finish();
    assert_eq!(desk.code("DELETE", &other, Value::Null).0, 202);
    assert_eq!(desk.ask("GET", &other, Value::Null).status, 404);
    let undelete = format!("{}/survivor/undelete", desk.deleted(RECOVERY));
    let refused = desk.code("POST", &undelete, json!({}));
    assert_eq!(refused, (404, "ResourceGroupNotFound".to_owned()));
    desk.site.put(&other, "2024-11-01", &json!({ "location": "local" }));
    assert_eq!(desk.code("POST", &undelete, json!({})).0, 202);
    assert_eq!(desk.names(&format!("{vault}/backupPolicies")), ["DefaultPolicy"]);
}
