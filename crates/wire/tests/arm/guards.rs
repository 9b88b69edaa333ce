//! Resource guards: critical operations on a vault take the right to them on its guard as well.

use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, MAIN, Somebody, World};

const RSV: &str = "S/resourceGroups/custody/providers/Microsoft.RecoveryServices/vaults/rsv";
const BV: &str = "S/resourceGroups/custody/providers/Microsoft.DataProtection/backupVaults/bv";
const GUARD: &str = "S/resourceGroups/safe/providers/Microsoft.DataProtection/resourceGuards/g";
const BACKUP_CONTRIBUTOR: &str = "5e467623-bb1f-42f4-a55d-6e525e11384b";
const CONTRIBUTOR: &str = "b24988ac-6180-42a0-ab88-20f7382dd24c";
const MUA_OPERATOR: &str = "f54b6d04-23c6-443e-b462-9c16ab7b4a52";
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
const LOCKED: (u16, &str) = (403, "UserErrorResourceGuardNotUnlocked");

/// A vault of each kind under one guard, and somebody who may do everything with the vaults and only
/// see the guard.
struct Guarded {
    world: World,
    keeper: Somebody,
    source: tempfile::TempDir,
}

impl Guarded {
    fn new() -> Self {
        let world = World::new();
        world.make("S/resourceGroups/safe", json!({ "location": "local" }));
        world.make(RSV, json!({ "location": "local", "properties": {} }));
        world.make(BV, json!({ "location": "local", "properties": {} }));
        world.make(GUARD, json!({ "location": "local", "properties": {} }));
        world.settle();
        let keeper = world.application("keeper");
        world.grant("S/resourceGroups/custody", CONTRIBUTOR, &keeper.object, 1);
        world.grant("S/resourceGroups/custody", BACKUP_CONTRIBUTOR, &keeper.object, 2);
        world.grant(GUARD, READER, &keeper.object, 3);
        let source = tempfile::tempdir().unwrap();
        std::fs::write(source.path().join("letter"), "dear reader").unwrap();
        let guarded = Self { world, keeper, source };
        let guard = guarded.id(GUARD);
        let properties = json!({ "resourceGuardResourceId": guard });
        for vault in [RSV, BV] {
            let body = json!({ "properties": properties });
            let made = guarded.ask(Method::PUT, &proxy(vault), body);
            assert_eq!(made.status, 200, "{made:?}");
        }
        guarded
    }

    fn id(&self, path: &str) -> String {
        path.replacen('S', &self.world.subscription, 1)
    }

    /// Asks as the keeper of the vaults.
    fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        let token = self.world.token(&self.keeper, MAIN);
        let body = (!body.is_null()).then_some(body);
        let answer = self.world.send_as(Some(&token), method, path, body);
        self.world.settle();
        answer
    }

    fn protect(&self) -> String {
        let item = format!("{BV}/backupInstances/docs");
        let folder = json!({ "properties": { "folder": { "paths": [self.source.path()] } } });
        let made = self.ask(Method::PUT, &item, folder);
        assert!(made.status < 300, "{made:?}");
        item
    }

    /// The guard's request for an operation, as the vault shows it.
    fn request(&self, vault: &str, operation: &str) -> String {
        let shown = self.ask(Method::GET, &proxy(vault), Value::Null).body;
        let details = shown["properties"]["resourceGuardOperationDetails"].as_array().unwrap();
        let found = details.iter().find(|detail| detail["vaultCriticalOperation"] == operation);
        found.unwrap()["defaultResourceRequest"].as_str().unwrap().to_owned()
    }
}

fn proxy(vault: &str) -> String {
    format!("{vault}/backupResourceGuardProxies/VaultProxy")
}

fn soft_delete(vault: &str, state: &str, days: u32) -> Value {
    let settings = if vault == RSV {
        json!({ "softDeleteState": state, "softDeleteRetentionPeriodInDays": days })
    } else {
        json!({ "state": state, "retentionDurationInDays": days })
    };
    json!({ "properties": { "securitySettings": { "softDeleteSettings": settings } } })
}

/// What weakens a vault is refused to who may only write the vault; what strengthens it, and all
/// else, is not.
#[test]
fn what_weakens_a_guarded_vault_takes_the_guard() {
    let guarded = Guarded::new();
    for (vault, on, off) in [(RSV, "Enabled", "Disabled"), (BV, "On", "Off")] {
        let patch = |body: Value| guarded.ask(Method::PATCH, vault, body);
        assert!(patch(soft_delete(vault, on, 60)).status < 300, "longer");
        assert!(patch(json!({ "tags": { "a": "b" } })).status < 300);
        assert_eq!(patch(soft_delete(vault, off, 60)).error(), LOCKED);
        assert_eq!(patch(soft_delete(vault, on, 59)).error(), LOCKED);
        assert_eq!(guarded.ask(Method::DELETE, &proxy(vault), Value::Null).error(), LOCKED);
        let elsewhere = json!({ "properties": { "resourceGuardResourceId": guarded.id(BV) } });
        assert_eq!(guarded.ask(Method::PUT, &proxy(vault), elsewhere).error(), LOCKED);
    }
    // The older way to write the same.
    let older = json!({ "properties": { "softDeleteFeatureState": "Disabled" } });
    let config = format!("{RSV}/backupconfig/vaultconfig");
    assert_eq!(guarded.ask(Method::PATCH, &config, older).error(), LOCKED);
    let key =
        json!({ "keyVaultProperties": { "keyUri": "https://kv1.vault.custody.localhost/keys/k" } });
    let mut rsv = key.clone();
    rsv["kekIdentity"] = json!({ "useSystemAssignedIdentity": true });
    let body = json!({ "properties": { "encryption": rsv } });
    assert_eq!(guarded.ask(Method::PATCH, RSV, body).error(), LOCKED);
    let mut bv = key;
    bv["state"] = "Enabled".into();
    bv["kekIdentity"] = json!({ "identityType": "SystemAssigned" });
    let body = json!({ "properties": { "securitySettings": { "encryptionSettings": bv } } });
    assert_eq!(guarded.ask(Method::PATCH, BV, body).error(), LOCKED);

    let item = guarded.protect();
    for (method, path, body) in [
        (Method::DELETE, item.clone(), Value::Null),
        (Method::POST, format!("{item}/stopProtection"), json!({})),
        (Method::POST, format!("{item}/suspendBackups"), json!({})),
        (Method::POST, format!("{item}/forget"), json!({ "keepLast": 1 })),
    ] {
        assert_eq!(guarded.ask(method, &path, body).error(), LOCKED, "{path}");
    }
    let backup = guarded.ask(Method::POST, &format!("{item}/backup"), json!({}));
    assert_eq!(backup.status, 202, "a backup is not critical: {backup:?}");
    // A refusal is in the activity log, and nothing was done.
    assert_eq!(guarded.ask(Method::GET, &item, Value::Null).status, 200);
    // With the guard's role it may.
    guarded.world.grant(GUARD, MUA_OPERATOR, &guarded.keeper.object, 4);
    assert!(guarded.ask(Method::PATCH, RSV, soft_delete(RSV, "Disabled", 60)).status < 300);
    assert!(guarded.ask(Method::DELETE, &item, Value::Null).status < 300);
    assert_eq!(guarded.ask(Method::DELETE, &proxy(BV), Value::Null).status, 200);
}

/// Whether a guard protects a vault stands in its properties, as Azure names it there: with the first
/// guard it comes, and goes with the last. A client that sends it back changes nothing.
#[test]
fn vaults_say_whether_a_guard_protects_them() {
    let guarded = Guarded::new();
    let world = &guarded.world;
    let guard = json!({ "properties": { "resourceGuardResourceId": guarded.id(GUARD) } });
    let words = [json!("Disabled"), json!("Enabled")];
    for (vault, place, [no, yes]) in [
        (RSV, "/properties/securitySettings/multiUserAuthorization", words),
        (BV, "/properties/isVaultProtectedByResourceGuard", [json!(false), json!(true)]),
    ] {
        let check = |expected: &Value, when: &str| {
            let shown = world.get(vault).body;
            assert_eq!(shown.pointer(place), Some(expected), "{vault} {when}: {shown}");
            let listed = world.get(vault.rsplit_once('/').unwrap().0).body;
            let found = listed.pointer(&format!("/value/0{place}"));
            assert_eq!(found, Some(expected), "{vault} {when}: {listed}");
        };
        check(&yes, "under a guard");
        let mut sent_back = world.get(vault).body;
        *sent_back.pointer_mut(place).unwrap() = no.clone();
        for method in [Method::PUT, Method::PATCH] {
            let answer = world.send(method, vault, Some(sent_back.clone()));
            assert!(answer.status < 300, "{answer:?}");
            world.settle();
            check(&yes, "sent back");
        }
        let other = format!("{vault}/backupResourceGuardProxies/other");
        assert_eq!(world.put(&other, guard.clone()).status, 200);
        assert_eq!(world.delete(&proxy(vault)).status, 200);
        check(&yes, "with one guard of two");
        assert_eq!(world.delete(&other).status, 200);
        check(&no, "without");
        assert_eq!(world.put(&other, guard.clone()).status, 200);
        check(&yes, "under a guard again");
    }
}

/// A policy that changes may let points go, and so may another policy: both take the guard. A new
/// policy and the same again do not.
#[test]
fn policies_of_a_guarded_vault_take_the_guard() {
    let guarded = Guarded::new();
    let put = |path: &str, properties: &Value| {
        guarded.ask(Method::PUT, path, json!({ "properties": properties }))
    };
    let daily = format!("{BV}/backupPolicies/daily");
    let kept = json!({
        "objectType": "BackupPolicy", "datasourceTypes": ["Custody.Sources/folders"],
        "policyRules": [],
    });
    for _ in 0..2 {
        let written = put(&daily, &kept);
        assert!(written.status < 300, "{written:?}");
    }
    let mut shorter = kept.clone();
    shorter["policyRules"] = json!([{ "objectType": "AzureRetentionRule", "name": "Default" }]);
    assert_eq!(put(&daily, &shorter).error(), LOCKED);
    let item = guarded.protect();
    let folder = json!({ "paths": [guarded.source.path()] });
    let under = |policy: &str| json!({ "folder": folder, "policyInfo": { "policyId": guarded.id(policy) } });
    assert_eq!(put(&item, &under(&daily)).error(), LOCKED);
    assert!(put(&item, &json!({ "folder": folder })).status < 300, "the same item");
    let default = format!("{RSV}/backupPolicies/DefaultPolicy");
    let changed =
        json!({ "backupManagementType": "AzureWorkload", "workLoadType": "SAPHanaDatabase" });
    assert_eq!(put(&default, &changed).error(), LOCKED);
    guarded.world.grant(GUARD, MUA_OPERATOR, &guarded.keeper.object, 4);
    assert!(put(&item, &under(&daily)).status < 300);
}

/// Whoever may on the guard unlocks a deletion for a while; then who keeps the vault deletes.
#[test]
fn a_deletion_is_unlocked_for_a_while() {
    let guarded = Guarded::new();
    let item = guarded.protect();
    let delete = "Microsoft.DataProtection/backupVaults/backupInstances/delete";
    let request = guarded.request(BV, delete);
    assert!(
        request.ends_with("/resourceGuards/g/deleteBackupInstanceRequests/default"),
        "{request}"
    );
    let unlock = format!("{}/unlockDelete", proxy(BV));
    let body = |resource: &str| {
        json!({
            "resourceGuardOperationRequests": [request],
            "resourceToBeDeleted": guarded.id(resource),
        })
    };
    let refused = guarded.ask(Method::POST, &unlock, body(&item));
    assert_eq!(refused.error(), (403, "AuthorizationFailed"), "{refused:?}");
    let strange = json!({ "resourceGuardOperationRequests": ["/what"] });
    assert_eq!(guarded.world.post(&unlock, strange).error(), (400, "InvalidRestApiParameter"));
    // Another item is unlocked: that is not this one.
    let other = item.replace("docs", "other");
    assert_eq!(guarded.world.post(&unlock, body(&other)).status, 200);
    assert_eq!(guarded.ask(Method::DELETE, &item, Value::Null).error(), LOCKED);
    let unlocked = guarded.world.post(&unlock, body(&item));
    assert_eq!(unlocked.body["unlockDeleteExpiryTime"], "2026-03-01T12:10:00Z", "{unlocked:?}");
    guarded.world.clock.advance(std::time::Duration::from_mins(10));
    assert_eq!(guarded.ask(Method::DELETE, &item, Value::Null).error(), LOCKED, "it is over");
    assert_eq!(guarded.world.post(&unlock, body(&item)).status, 200);
    assert!(guarded.ask(Method::DELETE, &item, Value::Null).status < 300);
    assert_eq!(guarded.ask(Method::GET, &item, Value::Null).status, 404);
}

/// A guard as clients read it, what it leaves out, and how long it stays.
#[test]
fn guards_are_kept_and_shown() {
    let guarded = Guarded::new();
    let world = &guarded.world;
    let delete = "Microsoft.DataProtection/backupVaults/backupInstances/delete";
    let shown = world.get(GUARD).body;
    let operations = shown["properties"]["resourceGuardOperations"].as_array().unwrap();
    assert!(operations.iter().any(|one| one["vaultCriticalOperation"] == delete), "{shown}");
    assert_eq!(world.names("S/providers/Microsoft.DataProtection/resourceGuards"), ["g"]);
    for vault in [RSV, BV] {
        assert_eq!(world.names(&format!("{vault}/backupResourceGuardProxies")), ["VaultProxy"]);
    }
    let requests = format!("{GUARD}/deleteProtectedItemRequests");
    assert_eq!(world.names(&requests), ["default"]);
    let one = world.get(&format!("{requests}/default")).body;
    assert_eq!(one["type"], "Microsoft.DataProtection/resourceGuards/deleteProtectedItemRequests");
    assert_eq!(world.get(&format!("{GUARD}/otherRequests/default")).status, 404);
    assert_eq!(world.delete(GUARD).error(), (409, "ResourceGuardInUse"));
    assert_eq!(world.delete("S/resourceGroups/safe").status, 202);
    world.settle();
    assert_eq!(world.get(GUARD).status, 200, "the group stays for its sake");

    let without = |name: &str| {
        let properties = json!({ "vaultCriticalOperationExclusionList": [name] });
        world.put(GUARD, json!({ "location": "local", "properties": properties }))
    };
    let mandatory = "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/delete";
    assert_eq!(without(mandatory).error(), (400, "InvalidRestApiParameter"));
    assert_eq!(without(delete).status, 200);
    let details = world.get(&proxy(BV)).body["properties"].to_string();
    assert!(!details.contains("deleteBackupInstanceRequests"), "{details}");
    let item = guarded.protect();
    assert!(guarded.ask(Method::DELETE, &item, Value::Null).status < 300, "it is left out");
    assert_eq!(guarded.ask(Method::PATCH, BV, soft_delete(BV, "Off", 14)).error(), LOCKED);
    // Who may not see the guard cannot put a vault under it.
    let stranger = world.application("stranger");
    world.grant("S/resourceGroups/custody", CONTRIBUTOR, &stranger.object, 9);
    let token = world.token(&stranger, MAIN);
    let body = json!({ "properties": { "resourceGuardResourceId": guarded.id(GUARD) } });
    let other = format!("{BV}/backupResourceGuardProxies/other");
    let refused = world.send_as(Some(&token), Method::PUT, &other, Some(body));
    assert_eq!(refused.error(), (403, "AuthorizationFailed"));
}
