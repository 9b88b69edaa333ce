//! Two keys around one vault, of two key vaults, and the rule for when one is lost.

use serde_json::{Value, json};

use crate::desk::{BACKUP, COMPLETED, Desk, KEY, LOST, MISSING, RECOVERY, Speaker, end};
use crate::site::VAULTS;

const OTHER: &str = "https://kv2.vault.custody.localhost/keys/k";

impl Desk {
    /// A second key vault with a key, which the user-assigned identity may use.
    fn second(&self) {
        self.key_vault("kv2", &json!({}));
        self.key("kv2", "k", &json!({ "kty": "RSA" }));
        self.admit("kv2");
    }

    /// Asks for more of the encryption settings; the code of what refuses it.
    fn ask_for(&self, vault: &str, more: &Value) -> Option<String> {
        let body = if vault.contains(RECOVERY) {
            json!({ "properties": { "encryption": more } })
        } else {
            json!({ "properties": { "securitySettings": { "encryptionSettings": more } } })
        };
        let answer = self.patch(vault, body);
        let now = answer.body["error"]["code"].as_str().map(str::to_owned);
        let seen = self.get(vault)["properties"].clone();
        now.or(seen["encryptionError"]["code"].as_str().map(str::to_owned))
    }

    fn generations(&self, vault: &str) -> Vec<usize> {
        let seen = self.get(vault);
        let all = seen["properties"]["keyring"]["generations"].as_array().unwrap();
        all.iter().map(|one| one["wraps"].as_array().unwrap().len()).collect()
    }
}

fn standby(key: &str) -> Value {
    json!({ "standbyKeyProperties": { "keyUri": key } })
}

/// A standby comes beside the first key without a new generation, stays where a request does not name
/// it, is followed like the first, and goes with a new generation.
#[test]
fn a_standby_comes_stays_follows_and_goes() {
    let desk = Desk::new();
    desk.admit("kv1");
    desk.second();
    for kind in [BACKUP, RECOVERY] {
        let vault = desk.vault(kind, "two");
        assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
        assert_eq!(desk.generations(&vault), [1, 1], "{kind}");
        let near = desk.ask_for(&vault, &standby("https://kv1.vault.custody.localhost/keys/other"));
        assert_eq!(near.as_deref(), Some("UserErrorCMKStandbyKeyInSameKeyVault"));
        let absent =
            desk.ask_for(&vault, &standby("https://kv2.vault.custody.localhost/keys/none"));
        assert_eq!(absent.as_deref(), Some("UserErrorCMKKeyVaultAuthFailure"));
        let foreign = desk.ask_for(&vault, &standby("https://kv2.vault.azure.net/keys/k"));
        assert_eq!(foreign.as_deref(), Some("UserErrorCMKKeyVaultAuthFailure"));
        assert_eq!(
            desk.ask_for(&vault, &json!({ "failover": "Any" })).as_deref(),
            Some("InvalidRestApiParameter")
        );
        assert_eq!(desk.generations(&vault), [1, 1]);
        assert_eq!(desk.ask_for(&vault, &standby(OTHER)), None);
        assert_eq!(desk.generations(&vault), [2, 2], "no new generation");
        // A client that knows nothing of it sends the rest back.
        assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
        let seen = desk.get(&vault)["properties"].to_string();
        assert!(
            seen.contains(&format!("\"standbyKeyProperties\":{{\"keyUri\":\"{OTHER}\"}}")),
            "{seen}"
        );
        assert_eq!(desk.generations(&vault), [2, 2]);
        let health = desk.get(&format!("{vault}/keyHealth"));
        assert_eq!(health["failover"], "Stop");
        assert_eq!(health["keys"][1]["role"], "Standby");
    }
    let vault = desk.vault(BACKUP, "two");
    for holder in ["kv1", "kv2"] {
        let newest = desk.key(holder, "k", &json!({ "kty": "RSA" }));
        assert_eq!(desk.site.server.follow_keys().vaults, 2);
        assert!(desk.wraps(&vault).iter().filter(|wrap| **wrap == newest).count() == 2);
    }
    assert_eq!(desk.generations(&vault), [2, 2]);
    assert_eq!(desk.ask_for(&vault, &json!({ "standbyKeyProperties": null })), None);
    assert_eq!(desk.generations(&vault), [1, 1, 1], "what the standby knew is not used any more");
    assert!(!desk.wraps(&vault).concat().contains("//kv2."));
}

/// The failover rule: the owner of either key can stop the vault alone, unless it was given `Any`.
#[test]
fn a_refusal_of_one_key_stops_the_vault_unless_any_is_enough() {
    let desk = Desk::new();
    desk.second();
    let vault = desk.vault(BACKUP, "pair");
    desk.admit("kv1");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    assert_eq!(desk.ask_for(&vault, &standby(OTHER)), None);
    let item = desk.item(&vault);
    let backup = || end_of(&desk.job(&item, "backup", json!({})));
    for (rule, alone) in [("Stop", LOST), ("Any", COMPLETED)] {
        assert_eq!(desk.ask_for(&vault, &json!({ "failover": rule })), None);
        assert_eq!(backup(), COMPLETED);
        for holder in ["kv1", "kv2"] {
            let grant = desk.admit(holder);
            desk.revoke(&grant);
            assert_eq!(backup(), alone, "{rule} without {holder}");
            let other = if holder == "kv1" { "kv2" } else { "kv1" };
            let both = desk.admit(other);
            desk.revoke(&both);
            assert_eq!(backup(), LOST, "{rule} without either");
            desk.admit(holder);
            desk.admit(other);
            assert_eq!(backup(), COMPLETED);
        }
    }
    // A key that is disabled is refused as well, and what hangs on it is said before.
    let drill = |holder: &str| {
        let host = format!("https://{holder}.vault.custody.localhost");
        let path = format!("{host}/keys/k/dependants?api-version=custody-1");
        let officer = desk.site.bearer(VAULTS);
        desk.site.ask("GET", &path, Some(&officer), Value::Null).body["versions"][0].clone()
    };
    for (rule, stops) in [("Any", false), ("Stop", true)] {
        assert_eq!(desk.ask_for(&vault, &json!({ "failover": rule })), None);
        for (holder, other) in [("kv1", OTHER), ("kv2", KEY)] {
            let report = drill(holder);
            let hanging = &report["vaults"][0];
            assert_eq!(
                (&hanging["stopsAlone"], &hanging["otherKey"]),
                (&json!(stops), &json!(other))
            );
            let said = report["because"].as_str().unwrap().contains("alone does not revoke");
            assert_eq!((said, report["retireSafely"].as_bool()), (!stops, Some(false)), "{report}");
        }
        let codes = desk.get(&format!("{vault}/keyHealth"))["warnings"].to_string();
        assert_eq!(codes.contains("FailoverAny"), !stops);
    }
}

/// A live drill finds that one key alone takes nothing away, and says why.
#[test]
fn a_drill_says_that_either_key_opens() {
    let desk = Desk::new();
    desk.second();
    desk.admit("kv1");
    let vault = desk.vault(BACKUP, "either");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let both = json!({ "standbyKeyProperties": { "keyUri": OTHER }, "failover": "Any" });
    assert_eq!(desk.ask_for(&vault, &both), None);
    desk.mark(&vault);
    let officer = desk.site.bearer("https://management.azure.com");
    let sealed = desk.drill(&vault, json!({ "live": true }), Some(&officer)).unwrap();
    let report = &sealed["report"];
    assert_eq!(report["passed"], false);
    assert!(report["verdict"].as_str().unwrap().contains("alone does not revoke"), "{report:#}");
    assert!(report["measured"]["runningJob"]["stoppedMs"].is_null());
    // With the standby's own refusal it would: the first key is given back all the same.
    for wrap in desk.wraps(&vault) {
        assert_eq!(desk.enabled(&wrap), true);
    }
}

/// A dry run lists the checks of both keys.
#[test]
fn a_dry_run_checks_both_keys() {
    let desk = Desk::new();
    desk.admit("kv1");
    desk.key_vault("kv2", &json!({}));
    desk.key("kv2", "k", &json!({ "kty": "RSA" }));
    let vault = desk.vault(BACKUP, "dry");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let body =
        json!({ "properties": { "securitySettings": { "encryptionSettings": standby(OTHER) } } });
    let path = format!("{vault}/checkEncryption?api-version=2025-02-01");
    let checks = desk.site.ask("POST", &path, None, body).body;
    let failed: Vec<&Value> = checks["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["result"] == "Failed")
        .collect();
    assert_eq!(failed.len(), 1, "{checks}");
    assert_eq!(failed[0]["code"], MISSING);
    assert!(failed[0]["what"].as_str().unwrap().ends_with("(standby)"));
    assert_eq!(desk.generations(&vault), [1, 1], "nothing changed");
}

/// A job's status and code, kept.
fn end_of(job: &Value) -> (&'static str, &'static str) {
    match end(job) {
        ("Completed", "") => COMPLETED,
        ("Failed", code) if code == MISSING => LOST,
        (status, _) => unreachable!("{status}: {job}"),
    }
}
