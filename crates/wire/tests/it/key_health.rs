//! Probes of vaults' keys, and how the keys stand, as vaults and metrics show it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::desk::{BACKUP, Desk, KEY, MISSING, NOW, RECOVERY, Speaker, end};
use crate::site::MAIN;

const HOUR: Duration = Duration::from_hours(1);
const DAY: u64 = 24 * 3600;

impl Desk {
    fn health(&self, vault: &str) -> Value {
        self.get(&format!("{vault}/keyHealth"))
    }

    /// Housekeeping, which finds no problem; how many vaults it probed.
    fn probed(&self) -> usize {
        let done = self.site.server.housekeep();
        assert!(done.problems.is_empty(), "{done:?}");
        done.probed
    }

    fn figures(&self) -> String {
        let request = http::Request::get(format!("{MAIN}/metrics")).body(Vec::new()).unwrap();
        self.site.ask_over_network(request).1
    }
}

/// The codes of what needs attention, the worst first.
fn codes(health: &Value) -> Vec<&str> {
    let all = health["warnings"].as_array().unwrap();
    for warning in all {
        assert!(warning["fix"].as_str().unwrap().contains(' '), "what mends it: {warning}");
    }
    all.iter().map(|warning| warning["code"].as_str().unwrap()).collect()
}

/// The results that are kept, oldest first: result and code.
fn results(health: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = health["probes"]["results"].as_array().unwrap();
    all.iter().map(|one| (text(&one["result"]), text(&one["code"]))).collect()
}

/// Vaults under a customer's key are probed at the interval and not before; each result is kept, with
/// its key version, and stands on the ledger as a probe.
#[test]
fn vaults_are_probed_at_an_interval() {
    let desk = Desk::new();
    desk.admit("kv1");
    let vaults = [desk.vault(BACKUP, "probed"), desk.vault(RECOVERY, "probed")];
    desk.vault(BACKUP, "platform");
    for vault in &vaults {
        assert_eq!(desk.encrypt(vault, KEY, Speaker::User), None);
    }
    assert_eq!(desk.probed(), 2, "the platform's own key is not probed");
    assert_eq!(desk.probed(), 0);
    desk.site.clock.advance(HOUR - Duration::from_secs(1));
    assert_eq!(desk.probed(), 0);
    desk.site.clock.advance(Duration::from_secs(1));
    assert_eq!(desk.probed(), 2);
    for vault in &vaults {
        let health = desk.health(vault);
        assert_eq!(health["status"], "Healthy", "{health}");
        let probes = &health["probes"];
        assert_eq!(probes["everySeconds"], 3600);
        assert_eq!(probes["next"], "2027-01-15T10:00:00Z");
        assert_eq!(probes["succeededPercent"], 100);
        let last = &probes["results"][1];
        assert_eq!(last["time"], "2027-01-15T09:00:00Z");
        assert_eq!(last["keyVersion"], desk.wraps(vault)[1]);
        assert!(last["latencyMs"].is_u64(), "{last}");
        assert_eq!(health["keys"][0]["lastProven"], "2027-01-15T09:00:00Z");
    }
    let ledger = desk.site.ask("GET", "/custody/ledger?top=1000", None, Value::Null).body;
    let probes = |operation: &str| {
        let all = ledger["value"].as_array().unwrap().iter().map(|line| &line["record"]);
        let probe = |record: &&Value| record["properties"]["purpose"] == "probe";
        all.filter(probe).filter(|record| record["operationName"] == operation).count()
    };
    assert_eq!((probes("KeyGet"), probes("KeyUnwrap")), (4, 4));
    let figures = desk.figures();
    assert!(figures.contains("custody_key_probes_total{result=\"succeeded\"} 4\n"), "{figures}");
    assert!(figures.contains("custody_key_probe_seconds_total 0\n"), "{figures}");
    // Another interval counts from the last probe; so much is kept and no more.
    let server = desk.site.again().probing_every(Duration::from_mins(5));
    for _ in 0..60 {
        desk.site.clock.advance(Duration::from_mins(5));
        assert_eq!(server.housekeep().probed, 2);
    }
    assert_eq!(results(&desk.health(&vaults[0])).len(), 48);
}

/// A probe finds a lost key before a job does: one alert for the cause, which the next probe or job
/// resolves.
#[test]
fn a_probe_raises_the_alert_before_a_job_fails() {
    let desk = Desk::new();
    let grant = desk.admit("kv1");
    let vault = desk.vault(BACKUP, "watched");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let item = desk.item(&vault);
    assert_eq!(desk.probed(), 1);
    let alerts =
        || desk.get(&vault)["properties"]["keyAlerts"].as_array().cloned().unwrap_or_default();
    assert!(alerts().is_empty());
    desk.revoke(&grant);
    for probes in 1..=2 {
        desk.site.clock.advance(HOUR);
        assert_eq!(desk.probed(), 1);
        let open = alerts();
        assert_eq!(open.len(), 1, "{open:?}");
        let counted = (&open[0]["code"], &open[0]["jobs"], &open[0]["probes"]);
        assert_eq!(counted, (&json!(MISSING), &json!(0), &json!(probes)));
        assert_eq!(open[0]["unreachable"], false);
    }
    let health = desk.health(&vault);
    assert_eq!(health["status"], "Unusable", "{health}");
    assert_eq!(codes(&health)[0], "KeyProbeFailed");
    assert!(health["warnings"][0]["fix"].as_str().unwrap().contains("role assignment create"));
    assert_eq!(results(&health)[2], ("Refused".to_owned(), MISSING.to_owned()));
    assert!(desk.figures().contains("custody_key_alerts_total 1\n"));
    assert!(desk.figures().contains("custody_key_job_failures_total 0\n"));
    let warnings = desk.site.ask("GET", "/custody/status", None, Value::Null).body;
    let said = warnings["warnings"].to_string();
    assert!(said.contains("0 job(s) and 2 probe(s) failed"), "{said}");
    // Asked for, it is probed at once.
    desk.admit("kv1");
    let path = format!("{vault}/probeKey?api-version=2025-02-01");
    let asked = desk.site.ask("POST", &path, None, json!({}));
    assert_eq!((asked.status, &asked.body["status"]), (200, &json!("Healthy")), "{asked:?}");
    assert_eq!(alerts()[0]["resolvedAt"], "2027-01-15T10:00:00Z");
    let job = desk.job(&item, "backup", json!({}));
    assert_eq!(end(&job), ("Completed", ""));
}

/// The identity is gone, and the key; each is told by its own code. What is kept goes with the vault.
#[test]
fn what_keeps_a_vault_from_its_key_is_told_apart() {
    let desk = Desk::new();
    desk.admit("kv1");
    let vault = desk.vault(BACKUP, "told");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let version = desk.wraps(&vault)[0].clone();
    let ask = || {
        let path = format!("{vault}/probeKey?api-version=2025-02-01");
        let health = desk.site.ask("POST", &path, None, json!({})).body;
        let code = results(&health).pop().unwrap().1;
        (code, codes(&health).first().map(ToString::to_string).unwrap_or_default())
    };
    let pair = |code: &str, first: &str| (code.to_owned(), first.to_owned());
    desk.set(&version, json!({ "enabled": false }));
    assert_eq!(ask(), pair("UserErrorCMKKeyDisabled", "WrappingVersionDisabled"));
    desk.set(&version, json!({ "enabled": true, "exp": NOW - 1 }));
    // An expired key unwraps yet, but no job takes it (rule 17).
    assert_eq!(ask(), pair("UserErrorCMKKeyExpired", "WrappingVersionExpired"));
    desk.set(&version, json!({ "exp": NOW + 400 * DAY }));
    assert_eq!(ask(), pair("", "NoRotationPolicy"));
    let own = json!({ "type": "SystemAssigned", "userAssignedIdentities": { desk.identity.0.clone(): null } });
    assert!(desk.patch(&vault, json!({ "identity": own })).status < 300);
    assert_eq!(ask(), pair(MISSING, "KeyProbeFailed"));
    desk.keys("DELETE", "kv1.vault.custody.localhost/keys/k", Value::Null);
    assert_eq!(ask(), pair(MISSING, "KeyGone"));
    let before = desk.health(&vault)["probes"]["results"].as_array().unwrap().len();
    assert_eq!(before, 5);
    let path = format!("{vault}?api-version=2025-02-01");
    assert!(desk.site.ask("DELETE", &path, None, Value::Null).status < 300);
    desk.site.server.finish();
    desk.site.clock.advance(HOUR);
    assert_eq!(desk.probed(), 0);
    let again = desk.vault(BACKUP, "told");
    assert!(results(&desk.health(&again)).is_empty());
}

/// Age, expiry, rotation, protection of the key vault, and which version wraps what.
#[test]
fn a_key_is_seen_at_one_glance() {
    let desk = Desk::new();
    desk.admit("kv1");
    let vault = desk.vault(BACKUP, "seen");
    let platform = desk.health(&vault);
    assert_eq!((&platform["keys"], &platform["status"]), (&json!([]), &json!("Healthy")));
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    let first = desk.wraps(&vault)[1].clone();
    desk.set(&first, json!({ "exp": NOW + 40 * DAY }));
    let policy = json!({
        "lifetimeActions": [{ "trigger": { "timeAfterCreate": "P30D" }, "action": { "type": "Rotate" } }],
        "attributes": { "expiryTime": "P90D" },
    });
    desk.keys("PUT", "kv1.vault.custody.localhost/keys/k/rotationpolicy", policy);
    desk.site.clock.advance(Duration::from_secs(9 * DAY));
    let health = desk.health(&vault);
    let key = &health["keys"][0];
    assert_eq!((&key["role"], &key["keyUri"]), (&json!("Primary"), &json!(KEY)));
    assert_eq!(key["followsNewestVersion"], true);
    let newest = &key["newestVersion"];
    assert_eq!((&newest["ageDays"], &newest["daysLeft"]), (&json!(9), &json!(31)));
    assert_eq!(key["nextRotation"], "2027-02-14T08:00:00Z");
    assert_eq!(key["rotationPolicy"]["attributes"]["expiryTime"], "P90D");
    let holder = &key["keyVault"];
    assert_eq!((&holder["name"], &holder["purgeProtection"]), (&json!("kv1"), &json!(true)));
    assert_eq!((&holder["softDelete"], &holder["softDeleteDays"]), (&json!(true), &json!(90)));
    let wraps = json!([{
        "version": first.rsplit('/').next().unwrap(), "generations": [1, 2], "isNewest": true,
        "enabled": true,
    }]);
    let wraps_now = key["wraps"].clone();
    assert!(wraps_now == wraps || wraps_now[0]["generations"] == json!([2]), "{wraps_now}");
    assert!(codes(&health).is_empty(), "{health}");
    desk.site.clock.advance(Duration::from_secs(2 * DAY));
    let health = desk.health(&vault);
    assert_eq!((codes(&health), &health["status"]), (vec!["KeyExpiresSoon"], &json!("Warning")));
    assert!(health["warnings"][0]["fix"].as_str().unwrap().contains("key rotate"));
    // A newest version that is disabled is not passed over for one before it, and is said.
    let body = json!({ "kty": "RSA", "key_size": 2048 });
    let second = desk.key("kv1", "k", &body);
    desk.set(&second, json!({ "enabled": false }));
    assert_eq!(desk.site.server.follow_keys().vaults, 0);
    assert_eq!(codes(&desk.health(&vault))[0], "KeyExpiresSoon");
    assert!(codes(&desk.health(&vault)).contains(&"NewestVersionDisabled"));
    assert!(desk.wraps(&vault).contains(&first));
    desk.set(&second, json!({ "enabled": true }));
    assert!(codes(&desk.health(&vault)).contains(&"WrapsUnderOldVersion"));
    assert_eq!(desk.site.server.follow_keys().vaults, 1);
    assert!(codes(&desk.health(&vault)).is_empty(), "{}", desk.health(&vault));
    // Whoever may not read the vault sees nothing of it.
    let stranger = desk.site.bearer("https://management.azure.com");
    let path = format!("{vault}/keyHealth?api-version=2025-02-01");
    assert_eq!(desk.site.ask("GET", &path, Some(&stranger), Value::Null).status, 200);
    assert_eq!(desk.site.ask("PUT", &path, None, json!({})).status, 400);
}
