//! Rotation policies at work: the tick rotates, tells of expiries once, and one process wins.

use std::time::Duration;

use custody_key_vault::{
    AttributeChange, Change, KeyAnswer, KeyEvent, KeyEventKind, KeyOperation, KeyVaults, NewKey,
    RotationPolicy,
};
use custody_key_vault::{Curve, KeyShape};
use custody_names::ResourceId;
use custody_resources::Hosts;

use crate::bench::{Bench, key_name, officer, one_key};

const DAY: Duration = Duration::from_hours(24);

fn set_policy(bench: &Bench, name: &str, json: &str) {
    let policy: RotationPolicy = serde_json::from_str(json).unwrap();
    let operation = KeyOperation::SetRotationPolicy { name: &key_name(name), policy: &policy };
    bench.ask(&operation).map(drop).unwrap();
}

fn create_ec(bench: &Bench, name: &str) {
    let key = NewKey::of_shape(KeyShape::Ec(Curve::P256));
    one_key(bench.ask(&KeyOperation::Create { name: &key_name(name), key: &key }));
}

fn tick(bench: &Bench, vaults: &KeyVaults) -> Vec<(KeyEventKind, String)> {
    let events: Vec<KeyEvent> = vaults.tick(&officer(), &bench.context()).unwrap();
    events.into_iter().map(|event| (event.kind, event.key.key.to_string())).collect()
}

#[test]
fn keys_are_rotated_when_their_time_has_come() {
    let mut bench = Bench::new();
    for name in ["rotating", "resting", "disabled"] {
        create_ec(&bench, name);
    }
    let policy = r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P30D"},
        "action":{"type":"rotate"}}],"attributes":{"expiryTime":"P90D"}}"#;
    set_policy(&bench, "rotating", policy);
    set_policy(&bench, "disabled", policy);
    let disable = AttributeChange { enabled: Some(false), ..AttributeChange::nothing() };
    bench.update("disabled", &disable);
    let due = bench.now + 30 * DAY;
    bench.now = due - Duration::from_secs(1);
    assert_eq!(tick(&bench, &bench.vaults), []);
    bench.now = due;
    let rotated = (KeyEventKind::NewVersionCreated, "rotating".to_owned());
    assert_eq!(tick(&bench, &bench.vaults), std::slice::from_ref(&rotated));
    assert_eq!(bench.records.last().operation_name, "KeyRotate");
    assert_eq!(tick(&bench, &bench.beside(4).unwrap()), []);
    let name = &key_name("rotating");
    let newest = one_key(bench.ask(&KeyOperation::Get { name, version: None }));
    assert_eq!(newest.attributes.expires, Some(bench.now + 90 * DAY));
    bench.now += 30 * DAY;
    assert_eq!(tick(&bench, &bench.vaults), [rotated]);
}

#[test]
fn two_processes_rotate_a_key_once() {
    let mut bench = Bench::new();
    create_ec(&bench, "k");
    set_policy(
        &bench,
        "k",
        r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P7D"},"action":{"type":"Rotate"}}]}"#,
    );
    bench.now += 8 * DAY;
    let others: Vec<KeyVaults> = (2..5).map(|seed| bench.beside(seed).unwrap()).collect();
    let bench = &bench;
    let rotated: usize = std::thread::scope(|scope| {
        let threads: Vec<_> =
            others.iter().map(|vaults| scope.spawn(|| tick(bench, vaults).len())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(rotated, 1);
}

#[test]
fn expiries_are_told_once() {
    let mut bench = Bench::new();
    create_ec(&bench, "k");
    let expires = bench.now + 40 * DAY;
    let change = AttributeChange { expires: Change::Set(expires), ..AttributeChange::nothing() };
    bench.update("k", &change);
    bench.now += 9 * DAY;
    assert_eq!(tick(&bench, &bench.vaults), []);
    bench.now += DAY;
    assert_eq!(tick(&bench, &bench.vaults), [(KeyEventKind::NearExpiry, "k".to_owned())]);
    assert_eq!(bench.records.last().operation_name, "KeyNearExpiryEventGridNotification");
    assert_eq!(tick(&bench, &bench.vaults), []);
    bench.now = expires;
    let events = bench.vaults.tick(&officer(), &bench.context()).unwrap();
    assert_eq!(events.len(), 1);
    let record = serde_json::to_value(bench.records.last()).unwrap();
    assert_eq!(KeyEvent::read(&record, &bench.vault.resource).as_ref(), events.first());
    let hosts = Hosts::default();
    let grid = events[0].to_event_grid("1", &hosts);
    assert_eq!(grid["eventType"], "Microsoft.KeyVault.KeyExpired");
    assert_eq!(grid["data"]["EXP"], expires.as_second());
    assert_eq!(events[0].to_cloud_event("1", &hosts)["specversion"], "1.0");
    assert_eq!(tick(&bench, &bench.vaults), []);
}

#[test]
fn a_version_that_expired_is_told_of_although_it_is_replaced_in_the_same_moment() {
    let expired = |name: &str| (KeyEventKind::Expired, name.to_owned());
    let made = |name: &str| (KeyEventKind::NewVersionCreated, name.to_owned());
    let mut bench = Bench::new();
    for name in ["by-policy", "by-hand", "in-time"] {
        create_ec(&bench, name);
        let expires = Change::Set(bench.now + 20 * DAY);
        bench.update(name, &AttributeChange { expires, ..AttributeChange::nothing() });
    }
    set_policy(
        &bench,
        "by-policy",
        r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P20D"},"action":{"type":"Rotate"}}]}"#,
    );
    bench.now += 19 * DAY;
    bench.ask(&KeyOperation::Rotate { name: &key_name("in-time") }).map(drop).unwrap();
    // The policy notifies of nothing; the third key's newest version does not expire soon.
    let near = (KeyEventKind::NearExpiry, "by-hand".to_owned());
    assert_eq!(tick(&bench, &bench.vaults), [near]);
    bench.now += 2 * DAY;
    bench.ask(&KeyOperation::Rotate { name: &key_name("by-hand") }).map(drop).unwrap();
    let mut told = tick(&bench, &bench.vaults);
    told.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(told, [expired("by-hand"), made("by-policy"), expired("by-policy")]);
    assert_eq!(tick(&bench, &bench.vaults), []);
}

#[test]
fn the_log_tells_of_every_version_that_was_made_whoever_made_it() {
    let mut bench = Bench::new();
    let mut key = NewKey::of_shape(KeyShape::Ec(Curve::P256));
    key.expires = Some(bench.now + 40 * DAY);
    let name = &key_name("k");
    one_key(bench.ask(&KeyOperation::Create { name, key: &key }));
    set_policy(
        &bench,
        "k",
        r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P30D"},"action":{"type":"Rotate"}}],
        "attributes":{"expiryTime":"P90D"}}"#,
    );
    one_key(bench.ask(&KeyOperation::Get { name, version: None }));
    one_key(bench.ask(&KeyOperation::Rotate { name }));
    let Ok(KeyAnswer::Backup(blob)) = bench.ask(&KeyOperation::Backup { name }) else {
        panic!("no backup")
    };
    bench.now += 30 * DAY;
    bench.vaults.tick(&officer(), &bench.context()).unwrap();
    bench.now += 60 * DAY;
    bench.vaults.tick(&officer(), &bench.context()).unwrap();
    bench.now += 100 * DAY;
    bench.vaults.tick(&officer(), &bench.context()).unwrap();
    bench.delete("k");
    bench.purge("k").map(drop).unwrap();
    one_key(bench.ask(&KeyOperation::Restore { blob: &blob }));
    let vault = &bench.vault.resource;
    let records = bench.records.taken.lock().unwrap();
    let records: Vec<_> =
        records.iter().map(|record| serde_json::to_value(record).unwrap()).collect();
    let told = |vault: &ResourceId| -> Vec<_> {
        records.iter().filter_map(|record| KeyEvent::read(record, vault)).collect()
    };
    let kinds: Vec<_> = told(vault).iter().map(|event| event.kind).collect();
    // Created, rotated, three times rotated by the policy, the last time ten days after the version
    // before had expired; restored.
    let mut expected = [KeyEventKind::NewVersionCreated; 7];
    expected[5] = KeyEventKind::Expired;
    assert_eq!(kinds, expected);
    let first = &told(vault)[0];
    assert_eq!(first.lifetime.expires, key.expires);
    assert_eq!(first.lifetime.not_before, None);
    let other = format!("{}x", bench.vault.resource).parse().unwrap();
    assert_eq!(told(&other), []);
}

#[test]
fn a_backup_outlives_a_purge() {
    let bench = Bench::new();
    bench.create("k");
    let wrapped = bench.wrap("k").unwrap();
    let Ok(KeyAnswer::Backup(blob)) = bench.ask(&KeyOperation::Backup { name: &key_name("k") })
    else {
        panic!("no backup")
    };
    bench.delete("k");
    bench.purge("k").map(drop).unwrap();
    one_key(bench.ask(&KeyOperation::Restore { blob: &blob }));
    bench.unwrap("k", None, &wrapped).unwrap();
}
