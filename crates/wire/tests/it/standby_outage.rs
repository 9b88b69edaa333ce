//! Two keys around one vault, of which one or both give no answer or say no: the failover rule
//! (DESIGN §5) as jobs meet it, and the alert of a standby that nobody has proven for long.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use custody_key_vault::{KeyAnswer, KeyOperation, KeyVaultError};
use custody_wire::KeyVaultLink;
use serde_json::{Value, json};

use crate::desk::{AUTH_FAILURE, BACKUP, COMPLETED, Desk, KEY, LOST, RECOVERY, Speaker, end};
use crate::site::MAIN;

const STANDBY: &str = "https://kv2.vault.custody.localhost/keys/s";
/// Each key vault and its one key.
const HOLDERS: [(&str, &str); 2] = [("kv1", "k"), ("kv2", "s")];
const AWAY: (&str, &str) = ("Failed", AUTH_FAILURE);
const HALF_A_DAY: Duration = Duration::from_hours(12);

/// The way to key vaults some of which give no answer: the names of their keys.
#[derive(Default)]
struct Outage(Mutex<BTreeSet<String>>);

impl Outage {
    fn begins(&self, key: &str) {
        self.0.lock().unwrap().insert(key.to_owned());
    }

    fn ends(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl KeyVaultLink for Outage {
    fn carry(
        &self,
        operation: &KeyOperation<'_>,
        deliver: &dyn Fn() -> Result<KeyAnswer, KeyVaultError>,
    ) -> Result<KeyAnswer, KeyVaultError> {
        let (KeyOperation::Get { name, .. }
        | KeyOperation::Wrap { name, .. }
        | KeyOperation::Unwrap { name, .. }) = operation
        else {
            return deliver();
        };
        if self.0.lock().unwrap().contains(&name.to_string()) {
            return Err(KeyVaultError::Throttled);
        }
        deliver()
    }
}

/// What a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Yes,
    No,
    Nothing,
}

/// A vault under a key and a standby, the outage between, and the item in it.
fn pair(kind: &str) -> (Desk, Arc<Outage>, String) {
    let desk = Desk::new();
    desk.key_vault("kv2", &json!({}));
    desk.key("kv2", "s", &json!({ "kty": "RSA" }));
    desk.admit("kv1");
    desk.admit("kv2");
    let vault = desk.vault(kind, "pair");
    assert_eq!(desk.encrypt(&vault, KEY, Speaker::User), None);
    desk.set_keys(&vault, &json!({ "standbyKeyProperties": { "keyUri": STANDBY } }));
    let outage = Arc::new(Outage::default());
    desk.site.server.link_key_vaults(Arc::clone(&outage) as _);
    (desk, outage, vault)
}

impl Desk {
    /// Changes more of the encryption settings.
    fn set_keys(&self, vault: &str, more: &Value) {
        let body = if vault.contains(RECOVERY) {
            json!({ "properties": { "encryption": more } })
        } else {
            json!({ "properties": { "securitySettings": { "encryptionSettings": more } } })
        };
        let answer = self.patch(vault, body);
        assert!(answer.status < 300, "{answer:?}");
        assert!(self.get(vault)["properties"]["encryptionError"].is_null());
    }

    /// The alerts that stand: code, and whether it is an outage.
    fn open_alerts(&self, vault: &str) -> Vec<(String, bool)> {
        let seen = self.get(vault)["properties"]["keyAlerts"].clone();
        let all = seen.as_array().cloned().unwrap_or_default();
        let open = all.iter().filter(|alert| alert["resolvedAt"].is_null());
        open.map(|alert| (alert["code"].as_str().unwrap().to_owned(), alert["unreachable"] == true))
            .collect()
    }

    fn probe_round(&self) -> usize {
        let done = self.site.server.housekeep();
        assert!(done.problems.is_empty(), "{done:?}");
        done.probed
    }
}

/// Any key opens the vault while the other gives no answer; a refusal of either stops it, whether
/// the other answers or not, unless either is enough. An outage is told apart from a refusal, and what
/// stopped jobs is one alert that the next success resolves.
#[test]
fn an_outage_fails_over_and_a_refusal_does_not() {
    use Says::{No, Nothing, Yes};
    let (desk, outage, vault) = pair(BACKUP);
    let item = desk.item(&vault);
    let both = |check: &dyn Fn(&Value)| {
        let into = tempfile::tempdir().unwrap();
        check(&desk.job(&item, "backup", json!({})));
        check(&desk.restore(&item, &into));
    };
    for (says, stop, any) in [
        ([Yes, Yes], COMPLETED, COMPLETED),
        ([Yes, Nothing], COMPLETED, COMPLETED),
        ([Nothing, Yes], COMPLETED, COMPLETED),
        ([Nothing, Nothing], AWAY, AWAY),
        ([Yes, No], LOST, COMPLETED),
        ([No, Yes], LOST, COMPLETED),
        ([No, Nothing], LOST, LOST),
        ([Nothing, No], LOST, LOST),
        ([No, No], LOST, LOST),
    ] {
        for (rule, expected) in [("Stop", stop), ("Any", any)] {
            desk.set_keys(&vault, &json!({ "failover": rule }));
            for ((holder, key), says) in HOLDERS.into_iter().zip(says) {
                match says {
                    Yes => {}
                    No => desk.revoke(&desk.admit(holder)),
                    Nothing => outage.begins(key),
                }
            }
            both(&|job| assert_eq!(end(job), expected, "{rule} {says:?}: {job}"));
            let alerts = desk.open_alerts(&vault);
            let stopped =
                (expected != COMPLETED).then(|| (expected.1.to_owned(), expected == AWAY));
            assert_eq!(alerts, Vec::from_iter(stopped), "{rule} {says:?}");
            outage.ends();
            for (holder, _) in HOLDERS {
                desk.admit(holder);
            }
            both(&|job| assert_eq!(end(job), COMPLETED, "{rule} after {says:?}: {job}"));
            assert_eq!(desk.open_alerts(&vault), [], "{rule} after {says:?}");
        }
    }
}

/// A standby that was not proven for seven days raises one alert, however many probes find it so and
/// however many jobs go well by the first key; it goes once the standby opens the vault again, or is
/// given up.
#[test]
fn a_standby_that_nobody_has_proven_raises_one_alert() {
    for kind in [BACKUP, RECOVERY] {
        let (desk, outage, vault) = pair(kind);
        let unproven = vec![("StandbyKeyNotProven".to_owned(), true)];
        let raised = |expected: &str| {
            let request = http::Request::get(format!("{MAIN}/metrics")).body(Vec::new()).unwrap();
            let figures = desk.site.ask_over_network(request).1;
            let line = format!("custody_key_alerts_total {expected}\n");
            assert!(figures.contains(&line), "{kind}: {figures}");
        };
        let pass = |half_days: u32, expected: &[(String, bool)]| {
            for _ in 0..half_days {
                desk.site.clock.advance(HALF_A_DAY);
                assert_eq!(desk.probe_round(), 1);
                assert_eq!(desk.open_alerts(&vault), expected, "{kind}");
            }
        };
        assert_eq!(desk.probe_round(), 1);
        outage.begins("s");
        pass(13, &[]);
        raised("0");
        pass(1, &unproven);
        // Jobs go on by the first key, and say nothing of the standby.
        let job = desk.job(&vault, "verify", json!({}));
        assert_eq!(end(&job), COMPLETED, "{kind}: {job}");
        assert_eq!(desk.open_alerts(&vault), unproven, "{kind}");
        pass(3, &unproven);
        raised("1");
        let health = desk.get(&format!("{vault}/keyHealth"));
        let warnings = health["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|one| one["code"] == "StandbyKeyNotProven"), "{health}");
        outage.ends();
        pass(1, &[]);
        // Unproven again: it is another alert, which goes with the standby.
        outage.begins("s");
        pass(13, &[]);
        pass(1, &unproven);
        raised("2");
        outage.ends();
        desk.set_keys(&vault, &json!({ "standbyKeyProperties": null }));
        pass(1, &[]);
    }
}
