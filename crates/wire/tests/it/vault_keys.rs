//! What happens between a vault and its key: which keys are taken, what becomes of jobs when a key
//! is lost and comes back, and how vaults follow new versions.

use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::{
    AUTH_FAILURE, BACKUP, COMPLETED, Desk, ENCRYPTION_USER, KEY, LOST, MISSING, NOW, RECOVERY,
    Speaker, end,
};
use crate::site::MAIN;

const HSM_ENCRYPTION_USER: &str = "33413926-3206-4cdd-b39a-83574fe37a17";
const HSM_CRYPTO_USER: &str = "21dbd100-6940-42c2-9190-5d6cb909625b";
/// The document's recommended action under [`MISSING`].
const MISSING_ACTION: &str = "Ensure that the managed identity that you use for encryption settings \
                              has the required permissions and the key is an RSA type. Then retry \
                              the operation.";

/// Rules 12, 13, 14, 17, 18, 48 and 57: which keys are taken, by both kinds of vault, and which code
/// says what is missing.
#[test]
fn only_fit_keys_are_assigned() {
    let desk = Desk::new();
    let rsa = json!({ "kty": "RSA", "key_size": 2048 });
    desk.key("kv1", "ec", &json!({ "kty": "EC", "crv": "P-256" }));
    desk.key("kv1", "signs", &json!({ "kty": "RSA", "key_ops": ["sign", "verify"] }));
    for (name, attributes) in [
        ("disabled", json!({ "enabled": false })),
        ("expired", json!({ "exp": 1_577_836_800 })),
        ("early", json!({ "nbf": 4_102_444_800_u64 })),
    ] {
        let version = desk.key("kv1", name, &rsa);
        desk.set(&version, attributes);
    }
    let uri = |name: &str| format!("https://kv1.vault.custody.localhost/keys/{name}");
    for kind in [BACKUP, RECOVERY] {
        let vault = desk.vault(kind, "fit");
        let grant = desk.admit("kv1");
        desk.revoke(&grant);
        // The steps have an order: no permission, no key.
        assert_eq!(desk.encrypt(&vault, &uri("k"), Speaker::User).as_deref(), Some(MISSING));
        desk.admit("kv1");
        for (name, code) in [
            ("ec", MISSING),
            ("signs", MISSING),
            ("disabled", "UserErrorCMKKeyDisabled"),
            ("expired", "UserErrorCMKKeyExpired"),
            ("early", "UserErrorCMKKeyNotYetValid"),
            ("absent", AUTH_FAILURE),
        ] {
            let refused = desk.encrypt(&vault, &uri(name), Speaker::User);
            assert_eq!(refused.as_deref(), Some(code), "{kind} {name}");
            assert!(!desk.wraps(&vault).concat().contains("/kv1."), "{name} is not taken");
        }
        let absent = "https://nowhere.vault.custody.localhost/keys/k";
        let refused = desk.encrypt(&vault, absent, Speaker::User);
        assert_eq!(refused.as_deref(), Some(AUTH_FAILURE));
        assert_eq!(desk.encrypt(&vault, &uri("k"), Speaker::User), None);
        assert!(desk.wraps(&vault).concat().contains("//kv1."));
    }
}

/// Rules 37 and 39: through a key vault's firewall only a vault's own identity passes, where trusted
/// services may.
#[test]
fn a_firewall_is_passed_by_the_own_identity_alone() {
    let desk = Desk::new();
    let vault = desk.vault(BACKUP, "walled");
    desk.admit("kv1");
    let own = desk.get(&vault)["identity"]["principalId"].as_str().unwrap().to_owned();
    desk.grant("kv1", ENCRYPTION_USER, &own, 3);
    for (bypass, speaker, code) in [
        ("None", Speaker::Own, Some(AUTH_FAILURE)),
        ("AzureServices", Speaker::User, Some(AUTH_FAILURE)),
        ("AzureServices", Speaker::Own, None),
    ] {
        let acls = json!({ "bypass": bypass, "defaultAction": "Deny" });
        desk.key_vault("kv1", &json!({ "networkAcls": acls }));
        assert_eq!(desk.encrypt(&vault, KEY, speaker).as_deref(), code, "{bypass}");
    }
}

/// Rules 58, 59, 60, 92: a vault changes to a key of another key vault only while its identity still
/// reaches the old key; a change that fails leaves the old key in force.
#[test]
fn the_old_key_is_needed_to_change_to_another() {
    let desk = Desk::new();
    desk.key_vault("kv2", &json!({}));
    desk.key("kv2", "k", &json!({ "kty": "RSA" }));
    let other = "https://kv2.vault.custody.localhost/keys/k";
    let vault = desk.vault(BACKUP, "moving");
    let old = desk.admit("kv1");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let item = desk.item(&vault);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    let before = desk.wraps(&vault);
    // The new key vault does not know the identity yet; then the old one has forgotten it.
    assert_eq!(desk.encrypt(&vault, other, Speaker::User).as_deref(), Some(MISSING));
    desk.admit("kv2");
    desk.revoke(&old);
    assert_eq!(desk.encrypt(&vault, other, Speaker::User).as_deref(), Some(MISSING));
    assert_eq!(desk.wraps(&vault), before);
    desk.admit("kv1");
    assert_eq!(desk.encrypt(&vault, other, Speaker::User), None);
    assert!(desk.wraps(&vault).iter().all(|wrap| wrap.contains("//kv2.")));
    let into = tempfile::tempdir().unwrap();
    assert_eq!(end(&desk.restore(&item, &into)), COMPLETED);
}

/// Rules 49, 62 to 65 and 104: every job that needs the key fails visibly under the document's code
/// with its recommended action, and goes on when the permission is back.
#[test]
fn jobs_fail_visibly_while_the_permission_is_gone() {
    let desk = Desk::new();
    let vault = desk.vault(BACKUP, "lost");
    let grant = desk.admit("kv1");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let item = desk.item(&vault);
    let into = tempfile::tempdir().unwrap();
    let run_all = |expected: (&str, &str)| {
        for (of, verb, body) in [
            (&item, "backup", json!({})),
            (&vault, "verify", json!({})),
            (&vault, "prune", json!({})),
        ] {
            let job = desk.job(of, verb, body);
            assert_eq!(end(&job), expected, "{verb}: {job}");
            if expected == LOST {
                let actions = job["properties"]["errorDetails"][0]["recommendedAction"].clone();
                assert!(actions[0].as_str().unwrap().contains("role assignment create"));
                assert_eq!(actions[1], MISSING_ACTION);
            }
        }
        assert_eq!(end(&desk.restore(&item, &into)), expected);
    };
    run_all(COMPLETED);
    desk.revoke(&grant);
    run_all(LOST);
    let points = format!("{item}/recoveryPoints");
    let held = desk.get(&points)["value"].as_array().unwrap().len();
    assert_eq!(held, 1, "a lost key takes no point away");
    // One alert for the cause, not one for each of the four jobs.
    let alerts = || desk.get(&vault)["properties"]["keyAlerts"].as_array().unwrap().clone();
    let open = alerts();
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!((&open[0]["code"], &open[0]["jobs"]), (&json!(MISSING), &json!(4)));
    assert_eq!((&open[0]["unreachable"], &open[0]["resolvedAt"]), (&json!(false), &Value::Null));
    let warnings = desk.site.ask("GET", "/custody/status", None, Value::Null).body;
    assert!(warnings["warnings"].to_string().contains(MISSING), "{warnings}");
    let request = http::Request::get(format!("{MAIN}/metrics")).body(Vec::new()).unwrap();
    let (_, figures) = desk.site.ask_over_network(request);
    assert!(figures.contains("custody_key_job_failures_total 4\n"), "{figures}");
    assert!(figures.contains("custody_key_alerts_total 1\n"), "{figures}");
    desk.admit("kv1");
    run_all(COMPLETED);
    let closed = alerts();
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0]["resolvedAt"], "2027-01-15T08:00:00Z");
    let warnings = desk.site.ask("GET", "/custody/status", None, Value::Null).body;
    assert!(!warnings["warnings"].to_string().contains(MISSING), "{warnings}");
}

/// Rules 35, 62, 63, 66, 67 and 68: the identity is taken away and comes back, its own with another
/// principal that needs its own grant and a settings update.
#[test]
fn a_lost_identity_is_replaced() {
    let desk = Desk::new();
    let vault = desk.vault(BACKUP, "bereft");
    let (id, _) = &desk.identity;
    desk.admit("kv1");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let item = desk.item(&vault);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    let identity = |value: Value| {
        let answer = desk.patch(&vault, json!({ "identity": value }));
        assert!(answer.status < 300, "{answer:?}");
    };
    // Recovery C: the user-assigned identity.
    identity(json!({ "type": "SystemAssigned", "userAssignedIdentities": { id.clone(): null } }));
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), LOST);
    let both = json!({
        "type": "SystemAssigned,UserAssigned", "userAssignedIdentities": { id.clone(): {} },
    });
    identity(both.clone());
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    // Recovery B: the vault's own.
    let own = || desk.get(&vault)["identity"]["principalId"].as_str().unwrap().to_owned();
    let first = own();
    desk.grant("kv1", ENCRYPTION_USER, &first, 3);
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::Own), None);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    identity(json!({ "type": "UserAssigned", "userAssignedIdentities": { id.clone(): {} } }));
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), LOST);
    identity(both);
    let second = own();
    assert_ne!(first, second);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), LOST, "the new principal has no grant");
    desk.grant("kv1", ENCRYPTION_USER, &second, 4);
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::Own), None);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    // Recovery D: the settings as they were.
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
}

/// Rules 85 to 92: vaults of both kinds follow a key without a version at once and by themselves,
/// visibly; one with a version never moves. Afterwards the old version may be disabled.
#[test]
fn vaults_follow_the_newest_version_by_themselves() {
    let desk = Desk::new();
    desk.admit("kv1");
    let body = json!({ "kty": "RSA", "key_size": 2048 });
    let first = desk.key("kv1", "k", &body);
    let following = [desk.vault(BACKUP, "follows"), desk.vault(RECOVERY, "follows")];
    let pinned = [desk.vault(BACKUP, "pinned"), desk.vault(RECOVERY, "pinned")];
    for (vaults, key) in [(&following, KEY), (&pinned, first.as_str())] {
        for vault in vaults {
            assert_eq!(desk.encrypt(vault, key, Speaker::User), None);
            assert_eq!(desk.wraps(vault).last(), Some(&first));
        }
    }
    let item = desk.item(&following[0]);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    assert_eq!(desk.site.server.follow_keys().vaults, 0, "nothing changed");
    let second = desk.key("kv1", "k", &body);
    assert_eq!(desk.site.server.follow_keys().vaults, 2);
    for vault in &following {
        assert!(desk.wraps(vault).iter().all(|wrap| *wrap == second), "{vault}");
        let job = &desk.jobs(vault)[0];
        assert_eq!(job["properties"]["operation"], "UpdateEncryptionSettings", "{job}");
    }
    let job = &desk.jobs(&following[0])[0];
    assert_eq!((end(job), &job["properties"]["caller"]), (COMPLETED, &json!("custody")));
    for vault in &pinned {
        assert!(desk.wraps(vault).contains(&first) && !desk.wraps(vault).contains(&second));
    }
    assert_eq!(desk.site.server.follow_keys().vaults, 0);
    // A version that is not valid yet is followed when it is, within the hour (rule 89).
    let third = desk.key("kv1", "k", &body);
    desk.set(&third, json!({ "nbf": NOW + 1800 }));
    assert_eq!(desk.site.server.follow_keys().vaults, 0);
    desk.site.clock.advance(Duration::from_mins(61));
    assert_eq!(desk.site.server.follow_keys().vaults, 2);
    // The old versions are needed no more, and old points are readable.
    desk.set(&second, json!({ "enabled": false }));
    let into = tempfile::tempdir().unwrap();
    assert_eq!(end(&desk.restore(&item, &into)), COMPLETED);
}

/// Rule 90, bettered: a job fails only if the old version goes before the rewrap has finished; and
/// one vault that cannot follow does not hold up the others.
#[test]
fn a_vault_that_cannot_follow_says_so_and_is_tried_again() {
    let desk = Desk::new();
    let grant = desk.admit("kv1");
    let stuck = desk.vault(BACKUP, "stuck");
    let able = desk.vault(BACKUP, "able");
    let own = desk.get(&able)["identity"]["principalId"].as_str().unwrap().to_owned();
    desk.grant("kv1", ENCRYPTION_USER, &own, 3);
    assert_eq!(desk.encrypt(&stuck, KEY, Speaker::User), None);
    assert_eq!(desk.encrypt(&able, KEY, Speaker::Own), None);
    let item = desk.item(&stuck);
    let first = desk.wraps(&stuck)[0].clone();
    desk.revoke(&grant);
    let second = desk.key("kv1", "k", &json!({ "kty": "RSA" }));
    let round = desk.site.server.follow_keys();
    assert_eq!((round.vaults, round.problems.len()), (1, 1), "{round:?}");
    assert!(desk.wraps(&able).iter().all(|wrap| *wrap == second));
    assert_eq!(end(&desk.jobs(&stuck)[0]), LOST);
    // Not at every round.
    let tried = desk.jobs(&stuck).len();
    desk.site.server.follow_keys();
    assert_eq!(desk.jobs(&stuck).len(), tried);
    // The permission is back, but the old version is disabled: the vault says which key it needs.
    desk.admit("kv1");
    desk.set(&first, json!({ "enabled": false }));
    let job = desk.job(&item, "backup", json!({}));
    assert_eq!(end(&job), ("Failed", "UserErrorCMKKeyDisabled"));
    desk.set(&first, json!({ "enabled": true }));
    desk.site.clock.advance(Duration::from_mins(11));
    assert_eq!(desk.site.server.follow_keys().vaults, 1);
    assert!(desk.wraps(&stuck).iter().all(|wrap| *wrap == second));
    desk.set(&first, json!({ "enabled": false }));
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
}

/// Rule 44: a Backup vault takes a key of a managed HSM, whose local roles decide, and shows it by
/// its address there; a Recovery Services vault does not, and no address names the wrong holder.
#[test]
fn keys_of_managed_hsms_are_for_backup_vaults() {
    let desk = Desk::new();
    let hsm = format!("{}/providers/Microsoft.KeyVault/managedHSMs/hsm1", desk.group);
    let properties = json!({
        "initialAdminObjectIds": [desk.site.object], "enablePurgeProtection": true,
    });
    let sku = json!({ "family": "B", "name": "Standard_B1" });
    let body = json!({ "location": "local", "sku": sku, "properties": properties });
    desk.site.put(&hsm, "2024-11-01", &body);
    let host = "https://hsm1.managedhsm.custody.localhost";
    let administrator = desk.site.bearer("https://managedhsm.custody.localhost");
    let ask = |method: &str, path: &str, body: Value| {
        let path = format!("{host}{path}?api-version=7.6");
        let answer = desk.site.ask(method, &path, Some(&administrator), body);
        assert!(answer.status < 300, "{path}: {answer:?}");
    };
    let grant = |role: &str, principal: &str, number: u32| {
        let path = format!(
            "/keys/providers/Microsoft.Authorization/roleAssignments/\
             00000000-0000-0000-0000-{number:012}"
        );
        let role =
            format!("Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/{role}");
        let properties = json!({ "roleDefinitionId": role, "principalId": principal });
        ask("PUT", &path, json!({ "properties": properties }));
    };
    grant(HSM_CRYPTO_USER, &desk.site.object, 1);
    ask("POST", "/keys/k/create", json!({ "kty": "RSA-HSM", "key_size": 3072 }));
    let key = format!("{host}/keys/k");
    let vault = desk.vault(BACKUP, "hard");
    assert_eq!(desk.encrypt(&vault, &key, Speaker::User).as_deref(), Some(MISSING));
    grant(HSM_ENCRYPTION_USER, &desk.identity.1, 2);
    assert_eq!(desk.encrypt(&vault, &key, Speaker::User), None);
    let shown = desk.get(&vault)["properties"].clone();
    let settings = &shown["securitySettings"]["encryptionSettings"];
    assert_eq!(settings["keyVaultProperties"]["keyUri"], key);
    assert!(desk.wraps(&vault)[0].starts_with(&format!("{key}/")), "{shown}");
    let item = desk.item(&vault);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    ask("POST", "/keys/k/rotate", Value::Null);
    assert_eq!(desk.site.server.follow_keys().vaults, 1);
    assert_eq!(end(&desk.job(&item, "backup", json!({}))), COMPLETED);
    let wrong = "https://hsm1.vault.custody.localhost/keys/k";
    assert_eq!(desk.encrypt(&vault, wrong, Speaker::User).as_deref(), Some(AUTH_FAILURE));
    let other = desk.vault(RECOVERY, "hard");
    let refused = desk.encrypt(&other, &key, Speaker::User);
    assert_eq!(refused.as_deref(), Some("UserErrorCMKManagedHsmNotSupported"));
}
