//! Key vaults as resources: what they may become, and the way from deletion back or to the end.

use std::time::Duration;

use custody_access::{KeyPermission, PermissionModel};
use custody_key_vault::{
    DeletedKeyVaultKind, DeletedManagedHsmKind, KeyVaultKind, KeyVaultSpec, LocalRoleKind,
    ManagedHsmKind, TASK_PURGE_KEY_VAULT, deleted_key_vault_ref, key_vault_ref,
};
use custody_resources::{ProvisioningState, Registry, Stored, Verb};
use custody_test_world::control_plane::{Anybody, ControlPlane, RecordStore as _, SUBSCRIPTION};
use serde_json::{Value, json};

const TENANT: &str = "7e7e7e7e-7e7e-7e7e-7e7e-7e7e7e7e7e7e";
const DAY: Duration = Duration::from_hours(24);

fn plane() -> ControlPlane {
    let registry = Registry::new()
        .with::<KeyVaultKind>()
        .with::<DeletedKeyVaultKind>()
        .with::<ManagedHsmKind>()
        .with::<DeletedManagedHsmKind>()
        .with::<LocalRoleKind>();
    let plane = ControlPlane::new(registry, Anybody);
    for group in ["G", "H"] {
        plane.stand(&format!("{SUBSCRIPTION}/resourceGroups/{group}"));
    }
    plane
}

fn vault(name: &str) -> String {
    format!("{SUBSCRIPTION}/resourceGroups/G/providers/Microsoft.KeyVault/vaults/{name}")
}

fn deleted(name: &str) -> String {
    format!("{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/local/deletedVaults/{name}")
}

fn body(properties: Value) -> Value {
    json!({ "location": "local", "properties": properties })
}

#[test]
fn a_new_key_vault_has_the_defaults() {
    let plane = plane();
    let created = plane.put(&vault("Kv-1"), body(json!({}))).unwrap();
    assert_eq!(created.status, 201);
    assert_eq!(
        created.body.unwrap()["properties"],
        json!({
            "tenantId": TENANT,
            "sku": { "family": "A", "name": "standard" },
            "accessPolicies": [],
            "enableRbacAuthorization": true,
            "enableSoftDelete": true,
            "softDeleteRetentionInDays": 90,
            "publicNetworkAccess": "Enabled",
            "vaultUri": "https://kv-1.vault.custody.localhost/",
            "provisioningState": "Succeeded",
        })
    );
    // The default of the permission model is dated.
    let mut request = plane.request(Verb::Put, &vault("kv-2"), body(json!({})));
    "2024-11-01".clone_into(&mut request.api_version);
    let older = plane.send(&request).unwrap().body.unwrap();
    assert_eq!(older["properties"]["enableRbacAuthorization"], false);
}

#[test]
fn a_new_key_vault_follows_the_rules() {
    let check = |name: &str, properties: Value, expected: Result<u16, &str>| {
        let outcome = plane().put(&vault(name), body(properties.clone()));
        let outcome = outcome.map(|answer| answer.status).map_err(|refusal| refusal.message);
        match (outcome, expected) {
            (Ok(status), Ok(wanted)) => assert_eq!(status, wanted, "{properties}"),
            (Err(text), Err(part)) => assert!(text.contains(part), "{properties}: {text}"),
            (outcome, _) => panic!("{name} {properties}: {outcome:?}"),
        }
    };
    check("kv1", json!({}), Ok(201));
    check("k1", json!({}), Err("between 3-24 alphanumeric"));
    check("1kv", json!({}), Err("between 3-24 alphanumeric"));
    check("kv--1", json!({}), Err("between 3-24 alphanumeric"));
    check(&"k".repeat(25), json!({}), Err("between 3-24 alphanumeric"));
    check("kv1", json!({ "tenantId": TENANT }), Ok(201));
    check("kv1", json!({ "tenantId": "00000000-0000-0000-0000-000000000001" }), Err("tenant"));
    check("kv1", json!({ "sku": { "family": "A", "name": "premium" } }), Ok(201));
    check("kv1", json!({ "sku": { "family": "B", "name": "premium" } }), Err("sku.family"));
    check("kv1", json!({ "sku": { "family": "A", "name": "gold" } }), Err("unknown variant"));
    check("kv1", json!({ "softDeleteRetentionInDays": 6 }), Err("from 7 to 90"));
    check("kv1", json!({ "softDeleteRetentionInDays": 7 }), Ok(201));
    check("kv1", json!({ "softDeleteRetentionInDays": 91 }), Err("from 7 to 90"));
    check("kv1", json!({ "enableSoftDelete": false }), Err("Soft delete is always enabled"));
    check("kv1", json!({ "enableSoftDelete": "True" }), Ok(201));
    check("kv1", json!({ "enableSoftDelete": "yes" }), Err("is no boolean"));
    check("kv1", json!({ "publicNetworkAccess": "sometimes" }), Err("unknown variant"));
    let acls = |rules: Value| json!({ "networkAcls": { "ipRules": rules } });
    check("kv1", acls(json!([{ "value": "10.0.0.0/33" }])), Err("neither an IP address nor"));
    check("kv1", acls(json!([{ "value": "10.0.0" }])), Err("neither an IP address nor"));
    check("kv1", acls(vec![json!({ "value": "10.0.0.1" }); 1_001].into()), Err("at most 1000 IP"));
    check("kv1", json!({ "enablePurgeProtection": true }), Ok(201));
    check("kv1", json!({ "enablePurgeProtection": false }), Err("irreversible"));
    check("kv1", json!({ "createMode": "default" }), Ok(201));
    check("kv1", json!({ "createMode": "recover" }), Err("deleted vault 'kv1' does not exist"));
    let policy =
        json!({ "tenantId": TENANT, "objectId": TENANT, "permissions": { "keys": ["fly"] } });
    check("kv1", json!({ "accessPolicies": [policy] }), Err("no permission on keys"));
}

/// Creates `kv1` with an api-version that still allows to be without soft delete.
fn create_before_2026(plane: &ControlPlane, properties: Value) {
    let mut request = plane.request(Verb::Put, &vault("kv1"), body(properties));
    "2024-11-01".clone_into(&mut request.api_version);
    plane.send(&request).unwrap();
}

#[test]
fn what_cannot_be_taken_back_stays() {
    let check = |first: Value, then: Value, expected: Result<Value, &str>| {
        let plane = plane();
        create_before_2026(&plane, first.clone());
        for verb in [Verb::Put, Verb::Patch] {
            let outcome = plane.send(&plane.request(verb, &vault("kv1"), body(then.clone())));
            match (outcome, &expected) {
                (Ok(answer), Ok(wanted)) => {
                    let shown = &answer.body.unwrap()["properties"];
                    for (name, value) in wanted.as_object().unwrap() {
                        assert_eq!(&shown[name], value, "{first} then {then}: {name}");
                    }
                }
                (Err(refusal), Err(part)) => {
                    assert_eq!((refusal.status, refusal.code.as_ref()), (400, "BadRequest"));
                    assert!(refusal.message.contains(part), "{refusal}");
                }
                (outcome, _) => panic!("{first} then {then}: {outcome:?}"),
            }
        }
    };
    let protected = json!({ "enablePurgeProtection": true, "softDeleteRetentionInDays": 7 });
    check(protected.clone(), json!({}), Ok(protected.clone()));
    check(protected.clone(), json!({ "enablePurgeProtection": false }), Err("irreversible"));
    check(protected.clone(), json!({ "softDeleteRetentionInDays": 7 }), Ok(protected));
    let modified = Err("has been set already and it can't be modified");
    check(json!({}), json!({ "softDeleteRetentionInDays": 30 }), modified);
    check(json!({}), json!({ "enableSoftDelete": false }), Err("only for creating new vault"));
    let off = json!({ "enableSoftDelete": false });
    check(off.clone(), off.clone(), Ok(off.clone()));
    let soft = json!({ "enableSoftDelete": "true" });
    check(off.clone(), soft, Ok(json!({ "enableSoftDelete": true })));
    check(off, json!({ "enablePurgeProtection": true }), Err("needs \"enableSoftDelete\""));
    let shut = json!({ "networkAcls": {
        "bypass": "None", "defaultAction": "Deny",
        "ipRules": [{ "value": "198.51.100.7" }, { "value": "203.0.113.0/24" }],
    } });
    let rules = json!({
        "bypass": "None",
        "defaultAction": "Deny",
        "ipRules": [{ "value": "198.51.100.7/32" }, { "value": "203.0.113.0/24" }],
        "virtualNetworkRules": [],
    });
    check(shut, json!({}), Ok(json!({ "networkAcls": rules })));
    let closed = json!({ "publicNetworkAccess": "disabled" });
    check(closed, json!({}), Ok(json!({ "publicNetworkAccess": "Disabled" })));
    check(
        json!({}),
        json!({ "enablePurgeProtection": true }),
        Ok(json!({ "enablePurgeProtection": true })),
    );
    let policies = json!({ "enableRbacAuthorization": false });
    check(policies.clone(), json!({ "networkAcls": { "bypass": "None" } }), Ok(policies));
    check(json!({}), json!({ "createMode": "recover" }), Ok(json!({ "enableSoftDelete": true })));
}

#[test]
fn a_key_vault_is_shown_under_the_name_it_is_reached_by() {
    let plane = plane();
    plane.put(&vault("Kv-1"), body(json!({}))).unwrap();
    let mut request = plane.request(Verb::Read, &vault("Kv-1"), Value::Null);
    request.hosts.key_vaults = "vault.example:8443".to_owned();
    let shown = plane.send(&request).unwrap().body.unwrap();
    assert_eq!(shown["properties"]["vaultUri"], "https://kv-1.vault.example:8443/");
}

#[test]
fn changes_of_who_may_use_keys_raise_the_counter() {
    let policy =
        json!({ "tenantId": TENANT, "objectId": TENANT, "permissions": { "keys": ["get"] } });
    let check = |change: Value, raises: bool| {
        let plane = plane();
        plane.put(&vault("kv1"), body(json!({ "enableRbacAuthorization": false }))).unwrap();
        let before = plane.store.revocation_counter().unwrap();
        plane.patch(&vault("kv1"), json!({ "properties": change.clone() })).unwrap();
        assert_eq!(plane.store.revocation_counter().unwrap() > before, raises, "{change}");
    };
    check(json!({ "enableRbacAuthorization": true }), true);
    check(json!({ "accessPolicies": [policy] }), true);
    check(json!({ "accessPolicies": [] }), false);
    check(json!({ "enablePurgeProtection": true }), false);
    check(json!({}), false);
}

#[test]
fn policies_for_a_principal_through_an_application_grant_it_nothing_alone() {
    let keys = json!({ "keys": ["Get", "wrapkey"] });
    let spec: KeyVaultSpec = serde_json::from_value(json!({
        "enableRbacAuthorization": false,
        "accessPolicies": [
            { "tenantId": TENANT, "objectId": TENANT, "permissions": keys },
            { "tenantId": TENANT, "objectId": TENANT, "applicationId": TENANT, "permissions": { "keys": ["all"] } },
        ],
    }))
    .unwrap();
    let PermissionModel::AccessPolicies(policies) = spec.permission_model() else {
        panic!("it decides by policies")
    };
    assert_eq!(policies.len(), 1);
    assert_eq!(
        policies[0].keys.iter().copied().collect::<Vec<_>>(),
        [KeyPermission::Get, KeyPermission::WrapKey]
    );
    let by_roles = KeyVaultSpec { enable_rbac_authorization: Some(true), ..spec };
    assert_eq!(by_roles.permission_model(), PermissionModel::Rbac);
}

#[test]
fn access_policies_are_added_replaced_and_removed() {
    let policy = |principal: u8, keys: &[&str]| {
        let id = format!("00000000-0000-0000-0000-0000000000{principal:02}");
        json!({ "tenantId": TENANT, "objectId": id, "permissions": { "keys": keys } })
    };
    let plane = plane();
    let first = json!({ "accessPolicies": [policy(1, &["get"])] });
    plane.put(&vault("kv1"), body(first)).unwrap();
    let check = |verb: &str, asked: Value, expected: Value| {
        let before = plane.store.revocation_counter().unwrap();
        let sent = json!({ "properties": { "accessPolicies": [asked] } });
        let answer = plane.act(&vault("kv1"), &format!("accessPolicies/{verb}"), sent).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body.unwrap()["properties"]["accessPolicies"], expected, "{verb}");
        assert_eq!(plane.read(&vault("kv1")).unwrap()["properties"]["accessPolicies"], expected);
        assert!(plane.store.revocation_counter().unwrap() > before, "{verb}");
    };
    check("add", policy(1, &["wrapKey"]), json!([policy(1, &["get", "wrapKey"])]));
    check(
        "add",
        policy(2, &["list"]),
        json!([policy(1, &["get", "wrapKey"]), policy(2, &["list"])]),
    );
    check("replace", policy(1, &["sign"]), json!([policy(1, &["sign"]), policy(2, &["list"])]));
    check("remove", policy(1, &["get"]), json!([policy(1, &["sign"]), policy(2, &["list"])]));
    check("remove", policy(1, &["sign"]), json!([policy(2, &["list"])]));
    check("remove", policy(3, &["sign"]), json!([policy(2, &["list"])]));
    check("replace", policy(3, &["sign"]), json!([policy(2, &["list"]), policy(3, &["sign"])]));
    let others: Vec<&str> = KeyPermission::EACH
        .iter()
        .map(|permission| permission.as_str())
        .filter(|word| !["all", "list"].contains(word))
        .collect();
    let kept = policy(2, &["list"]);
    check("replace", policy(3, &["all"]), json!([kept, policy(3, &["all"])]));
    check("remove", policy(3, &[]), json!([kept, policy(3, &["all"])]));
    check("remove", policy(3, &["list"]), json!([kept, policy(3, &others)]));
    check("remove", policy(3, &["all"]), json!([kept]));
    check("replace", policy(3, &["all"]), json!([kept, policy(3, &["all"])]));
    check("remove", policy(3, &["all"]), json!([kept]));
    let secrets = |words: &[&str]| {
        let mut policy = policy(3, &[]);
        policy["permissions"]["secrets"] = json!(words);
        policy
    };
    check("add", secrets(&["all"]), json!([kept, secrets(&["all"])]));
    let left = ["backup", "delete", "list", "purge", "recover", "restore", "set"];
    check("remove", secrets(&["Get"]), json!([kept, secrets(&left)]));
    check("remove", secrets(&["all"]), json!([kept]));
    let wrong = json!({ "properties": { "accessPolicies": "all" } });
    let refusal = plane.act(&vault("kv1"), "accessPolicies/add", wrong).unwrap_err();
    assert_eq!((refusal.status, refusal.code.as_ref()), (400, "InvalidRequestContent"));
}

#[test]
fn a_deleted_key_vault_keeps_its_name_and_comes_back_as_it_was() {
    let plane = plane();
    let mut whole = body(json!({ "softDeleteRetentionInDays": 7, "enablePurgeProtection": true }));
    whole["tags"] = json!({ "team": "a" });
    let before = plane.put(&vault("Kv1"), whole).unwrap().body.unwrap();
    let counter = plane.store.revocation_counter().unwrap();
    assert_eq!(plane.delete(&vault("kv1")).unwrap().status, 200);
    assert!(plane.store.revocation_counter().unwrap() > counter);
    assert_eq!(plane.read(&vault("kv1")).unwrap_err().code, "ResourceNotFound");
    assert!(plane.list(SUBSCRIPTION, "Microsoft.KeyVault/vaults").unwrap().is_empty());
    let kind = "Microsoft.KeyVault/locations/deletedVaults";
    assert_eq!(plane.list(SUBSCRIPTION, kind).unwrap(), ["Kv1"]);
    let mut shown = plane.read(&deleted("kv1")).unwrap()["properties"].clone();
    shown.as_object_mut().unwrap().remove("provisioningState");
    assert_eq!(
        shown,
        json!({
            "vaultId": vault("Kv1"),
            "location": "local",
            "deletionDate": "2026-01-01T00:00:00Z",
            "scheduledPurgeDate": "2026-01-08T00:00:00Z",
            "tags": { "team": "a" },
            "purgeProtectionEnabled": true,
        })
    );
    let elsewhere = vault("kv1").replace("/G/", "/H/");
    for path in [vault("kv1"), elsewhere.clone()] {
        let taken = plane.put(&path, body(json!({}))).unwrap_err();
        assert_eq!((taken.status, taken.code.as_ref()), (409, "ConflictError"));
        assert!(taken.fix.unwrap().contains("custody keyvault recover --name kv1"));
    }
    let recover = body(json!({ "createMode": "recover" }));
    assert_eq!(plane.put(&elsewhere, recover.clone()).unwrap_err().code, "ConflictError");
    let moved = json!({ "location": "there", "properties": { "createMode": "recover" } });
    assert_eq!(plane.put(&vault("kv1"), moved).unwrap_err().code, "ConflictError");
    let after = plane.put(&vault("Kv1"), recover).unwrap();
    assert_eq!(after.status, 201);
    let after = after.body.unwrap();
    for name in ["id", "location", "tags", "properties"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!(plane.record(&deleted("kv1")), None);
    let taken = plane.put(&elsewhere, body(json!({}))).unwrap_err();
    assert_eq!((taken.status, taken.code.as_ref()), (409, "VaultAlreadyExists"));
    assert_eq!(plane.delete(&vault("kv1")).unwrap().status, 200, "it can be deleted again");
}

#[test]
fn purge_is_a_task_and_waits_for_purge_protection() {
    let check = |properties: Value, days: u32, allowed: bool| {
        let plane = plane();
        plane.put(&vault("kv1"), body(properties.clone())).unwrap();
        plane.delete(&vault("kv1")).unwrap();
        plane.clock.advance(DAY * days);
        let outcome = plane.act(&deleted("kv1"), "purge", Value::Null);
        match outcome {
            Ok(answer) => {
                assert!(allowed, "{properties} {days}");
                assert_eq!(answer.status, 202);
                let operation = plane.store.operation(answer.operation.unwrap()).unwrap().unwrap();
                assert_eq!(operation.operation.task.name, TASK_PURGE_KEY_VAULT);
                assert_eq!(
                    operation.operation.task.input,
                    json!({ "tenantId": TENANT, "keyVault": "kv1" })
                );
            }
            Err(refusal) => {
                assert!(!allowed, "{properties} {days}");
                assert_eq!((refusal.status, refusal.code.as_ref()), (405, "MethodNotAllowed"));
                let text = "Operation 'DeletedVaultPurge' is not allowed.";
                assert!(refusal.message.starts_with(text), "{refusal}");
            }
        }
    };
    let protected = json!({ "enablePurgeProtection": true, "softDeleteRetentionInDays": 7 });
    check(json!({}), 0, true);
    check(protected.clone(), 0, false);
    check(protected.clone(), 6, false);
    check(protected, 7, true);
}

#[test]
fn what_is_being_purged_neither_comes_back_nor_is_purged_twice() {
    let plane = plane();
    plane.put(&vault("kv1"), body(json!({}))).unwrap();
    plane.delete(&vault("kv1")).unwrap();
    plane.act(&deleted("kv1"), "purge", Value::Null).unwrap();
    assert_eq!(plane.record(&deleted("kv1")).unwrap().state, ProvisioningState::Deleting);
    let again = plane.act(&deleted("kv1"), "purge", Value::Null).unwrap_err();
    assert_eq!((again.status, again.code.as_ref()), (409, "AnotherOperationInProgress"));
    let back = plane.put(&vault("kv1"), body(json!({ "createMode": "recover" }))).unwrap_err();
    assert_eq!((back.status, back.code.as_ref()), (409, "AnotherOperationInProgress"));
    let past = plane.delete(&deleted("kv1")).unwrap_err();
    assert_eq!(past.status, 405, "there is no way around purge");
}

#[test]
fn without_soft_delete_deletion_is_a_purge() {
    let plane = plane();
    create_before_2026(&plane, json!({ "enableSoftDelete": false }));
    let answer = plane.delete(&vault("kv1")).unwrap();
    assert_eq!(answer.status, 202);
    let operation = plane.store.operation(answer.operation.unwrap()).unwrap().unwrap().operation;
    assert_eq!(operation.task.name, TASK_PURGE_KEY_VAULT);
    assert_eq!(operation.resource.as_str(), vault("kv1"));
    assert_eq!(plane.record(&vault("kv1")).unwrap().state, ProvisioningState::Deleting);
    assert_eq!(plane.record(&deleted("kv1")), None);
}

#[test]
fn the_key_store_sees_the_same_key_vault_before_and_after_deletion() {
    let plane = plane();
    plane.put(&vault("kv1"), body(json!({ "softDeleteRetentionInDays": 30 }))).unwrap();
    let record = plane.record(&vault("kv1")).unwrap();
    let live = key_vault_ref(&Stored::<KeyVaultKind>::read(&record).unwrap()).unwrap();
    assert_eq!(
        (live.vault.as_str(), live.soft_delete_days, live.purge_protection),
        ("kv1", 30, false)
    );
    plane.delete(&vault("kv1")).unwrap();
    let record = plane.record(&deleted("kv1")).unwrap();
    let gone = Stored::<DeletedKeyVaultKind>::read(&record).unwrap();
    assert_eq!(deleted_key_vault_ref(&gone).unwrap(), live);
}

fn hsm(name: &str) -> String {
    vault(name).replace("/vaults/", "/managedHSMs/")
}

fn hsm_body(properties: &Value) -> Value {
    let mut all = json!({ "initialAdminObjectIds": [TENANT] });
    all.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
    let sku = json!({ "family": "B", "name": "Standard_B1" });
    json!({ "location": "local", "sku": sku, "properties": all })
}

#[test]
fn a_managed_hsm_is_active_once_it_is_made() {
    let plane = plane();
    let made = plane.put(&hsm("Hsm-1"), hsm_body(&json!({}))).unwrap();
    assert_eq!(made.status, 200, "the client takes no 201");
    let body = made.body.unwrap();
    assert_eq!(body["sku"], json!({ "family": "B", "name": "Standard_B1" }));
    assert_eq!(
        body["properties"],
        json!({
            "tenantId": TENANT,
            "initialAdminObjectIds": [TENANT],
            "enableSoftDelete": true,
            "softDeleteRetentionInDays": 90,
            "publicNetworkAccess": "Enabled",
            "hsmUri": "https://hsm-1.managedhsm.custody.localhost/",
            "statusMessage": "The Managed HSM is provisioned and ready to use.",
            "regions": [
                { "name": "local", "provisioningState": "Succeeded", "isPrimary": true },
            ],
            "privateEndpointConnections": [],
            "securityDomainProperties": {
                "activationStatus": "Active",
                "activationStatusMessage": "The security domain is kept by the platform's seal.",
            },
            "provisioningState": "Succeeded",
        })
    );
    let taken = plane.put(&vault("hsm-1"), json!({ "location": "local" })).unwrap_err();
    assert_eq!(taken.code, "VaultAlreadyExists", "key vaults share the names");
}

#[test]
fn a_managed_hsm_follows_the_rules() {
    let check = |change: Value, expected: Result<u16, &str>| {
        let outcome = plane().put(&hsm("hsm1"), change.clone());
        match (outcome.map(|answer| answer.status).map_err(|refusal| refusal.message), expected) {
            (Ok(status), Ok(wanted)) => assert_eq!(status, wanted, "{change}"),
            (Err(text), Err(part)) => assert!(text.contains(part), "{change}: {text}"),
            (outcome, _) => panic!("{change}: {outcome:?}"),
        }
    };
    check(hsm_body(&json!({ "enablePurgeProtection": "true" })), Ok(200));
    check(hsm_body(&json!({ "enableSoftDelete": false })), Err("cannot be false"));
    check(hsm_body(&json!({ "softDeleteRetentionInDays": 6 })), Err("from 7 to 90"));
    check(hsm_body(&json!({ "initialAdminObjectIds": [] })), Err("1 to 1000 principals"));
    check(json!({ "location": "local", "properties": {} }), Err("sku is missing"));
    let mut wrong = hsm_body(&json!({}));
    wrong["sku"]["family"] = "A".into();
    check(wrong, Err("must be B or C"));
    let plane = plane();
    plane.put(&hsm("hsm1"), hsm_body(&json!({}))).unwrap();
    let other = json!({ "properties": {
        "initialAdminObjectIds": ["00000000-0000-0000-0000-000000000001"],
    } });
    assert!(plane.patch(&hsm("hsm1"), other).unwrap_err().message.contains("fixed when"));
    let kept = plane.patch(&hsm("hsm1"), json!({ "tags": { "a": "b" } })).unwrap().body.unwrap();
    assert_eq!((&kept["sku"]["name"], &kept["tags"]["a"]), (&json!("Standard_B1"), &json!("b")));
}

#[test]
fn a_deleted_managed_hsm_comes_back_or_is_purged() {
    let plane = plane();
    plane.put(&hsm("Hsm1"), hsm_body(&json!({}))).unwrap();
    assert_eq!(plane.delete(&hsm("hsm1")).unwrap().status, 200);
    let deleted = deleted("hsm1").replace("deletedVaults", "deletedManagedHSMs");
    let shown = plane.read(&deleted).unwrap();
    assert_eq!(shown["properties"]["mhsmId"], hsm("Hsm1"));
    assert_eq!(shown["properties"].get("vaultId"), None);
    let taken = plane.put(&vault("hsm1"), body(json!({ "createMode": "recover" }))).unwrap_err();
    assert_eq!(taken.code, "ConflictError", "it was no key vault");
    let recover = hsm_body(&json!({ "createMode": "recover" }));
    plane.put(&hsm("Hsm1"), recover).unwrap();
    let roles = plane.list(&hsm("Hsm1"), "Microsoft.KeyVault/managedHSMs/roleAssignments");
    assert_eq!(roles.unwrap(), [TENANT], "its first administrator administers it again");
    plane.delete(&hsm("hsm1")).unwrap();
    let purge = plane.act(&deleted, "purge", Value::Null).unwrap();
    let operation = plane.store.operation(purge.operation.unwrap()).unwrap().unwrap().operation;
    assert_eq!(operation.task.input, json!({ "tenantId": TENANT, "keyVault": "hsm1" }));
}
