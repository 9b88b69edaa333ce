//! What a crashed drill intended with a key that is gone meanwhile.

use std::time::Duration;

use custody_key_vault::{KeyAnswer, KeyOperation, NewKey, RsaSize};
use custody_names::{KeyVersionUri, OperationId};
use custody_record_store::OperationFilter;
use custody_worker::verify_report;
use serde_json::{Value, json};

use crate::site::Site;

const DAY: Duration = Duration::from_hours(24);

/// A key, and an operation on a vault that has ended, as that of a drill whose process died has.
fn crashed(site: &Site) -> (KeyVersionUri, OperationId) {
    site.key_vault("kv-1");
    let (name, key) = ("k".parse().unwrap(), NewKey::of_size(RsaSize::Bits2048));
    let made = site.ask_key_vault("kv-1", &KeyOperation::Create { name: &name, key: &key });
    let KeyAnswer::Key(made) = made else { panic!("no key") };
    let vault = site.id("Microsoft.DataProtection/backupVaults/v");
    let location = &site.platform.installation.location;
    site.put(&vault, json!({ "location": location, "properties": {} }));
    let begun = site.platform.records.operations(&OperationFilter::All, 1).unwrap();
    let operation = begun[0].operation.id;
    site.platform.carry_out(operation);
    let intent = json!({
        "operation": operation, "key": made.id, "begun": site.platform.clock.now(),
        "disabled": null,
    });
    site.platform.records.set_setting(&format!("drill:{operation}"), &intent).unwrap();
    (made.id, operation)
}

fn intents(site: &Site) -> usize {
    site.platform.records.settings("drill:").unwrap().len()
}

fn problems(site: &Site) -> Vec<String> {
    let problems = site.platform.housekeep().problems;
    problems.iter().map(|problem| problem.code.to_string()).collect()
}

fn alerts(site: &Site) -> Vec<Value> {
    let vault = site.id("Microsoft.DataProtection/backupVaults/v");
    let shown = site.ask(&vault, custody_resources::Verb::Read, Value::Null).unwrap();
    shown["properties"]["keyAlerts"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_key_that_is_purged_ends_what_a_drill_intended_with_one_alert_and_a_report() {
    let site = Site::new();
    let (key, operation) = crashed(&site);
    let name = key.key.clone();
    site.ask_key_vault("kv-1", &KeyOperation::Delete { name: &name });
    // It may come back, and its owner knows: nothing is said by any round.
    for _ in 0..3 {
        assert!(problems(&site).is_empty());
        site.clock.advance(Duration::from_mins(30));
    }
    assert_eq!((intents(&site), alerts(&site).len()), (1, 0));
    site.ask_key_vault("kv-1", &KeyOperation::Purge { name: &name });
    site.clock.advance(DAY);
    assert_eq!(problems(&site), ["UserErrorCMKKeyVaultAuthFailure"]);
    for _ in 0..3 {
        assert!(problems(&site).is_empty(), "it is told once");
        site.clock.advance(DAY);
    }
    assert_eq!(intents(&site), 0);
    let alerts = alerts(&site);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert!(alerts[0]["message"].as_str().unwrap().contains("gone for good"), "{alerts:?}");
    let sealed = site.platform.late_drill_report(operation).unwrap().unwrap();
    let steps = sealed["report"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 1, "{sealed}");
    assert_eq!(
        (&steps[0]["result"], &sealed["report"]["passed"]),
        (&json!("Failed"), &json!(false))
    );
    assert_eq!(sealed["report"]["operation"], json!(operation));
    assert_eq!(verify_report(&site.platform, &sealed), Ok(()));
}

#[test]
fn a_key_that_comes_back_ends_it_without_a_word() {
    let site = Site::new();
    let (key, operation) = crashed(&site);
    let name = key.key.clone();
    site.ask_key_vault("kv-1", &KeyOperation::Delete { name: &name });
    assert!(problems(&site).is_empty());
    site.ask_key_vault("kv-1", &KeyOperation::Recover { name: &name });
    site.clock.advance(DAY);
    assert!(problems(&site).is_empty());
    assert_eq!(intents(&site), 0);
    assert_eq!(site.platform.late_drill_report(operation).unwrap(), None);
}
