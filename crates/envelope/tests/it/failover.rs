//! Several keys around one vault.

use custody_envelope::{Failover, KeyTarget, Trust, probe, unwrap};
use custody_test_world::keks::Behaviour::{self, Disabled, Forbidden, Garbled, Unreachable, Works};

use crate::setting::{Setting, VAULT, by, code, target};

#[test]
fn primary_and_standby() {
    let check = |failover, primary: Behaviour, standby: Behaviour, expected: &str| {
        let setting = Setting::new();
        let keys =
            [setting.keks.add_version("kv-one", "k"), setting.keks.add_version("kv-two", "k")];
        let target = KeyTarget { failover, ..target(&[&keys[0], &keys[1]]) };
        let (ring, _) = setting.create(VAULT, &target).unwrap();
        setting.keks.set(&keys[0], primary);
        setting.keks.set(&keys[1], standby);
        let case = format!("{failover:?} {primary:?} {standby:?}");
        assert_eq!(code(setting.unlock(&ring)), expected, "{case}");
    };
    let stop = |primary, standby, expected| check(Failover::Stop, primary, standby, expected);
    stop(Works, Works, "no error");
    stop(Works, Unreachable, "no error");
    stop(Unreachable, Works, "no error");
    stop(Unreachable, Unreachable, "KeyVaultUnreachable");
    stop(Works, Disabled, "KeyDisabled");
    stop(Disabled, Works, "KeyDisabled");
    stop(Unreachable, Forbidden, "Forbidden");
    stop(Disabled, Unreachable, "KeyDisabled");
    stop(Garbled, Works, "KeyWrapUnproven");
    let any = |primary, standby, expected| check(Failover::Any, primary, standby, expected);
    any(Works, Works, "no error");
    any(Works, Disabled, "no error");
    any(Disabled, Works, "no error");
    any(Unreachable, Works, "no error");
    any(Disabled, Unreachable, "KeyDisabled");
    any(Unreachable, Forbidden, "Forbidden");
    any(Forbidden, Disabled, "Forbidden");
    any(Unreachable, Unreachable, "KeyVaultUnreachable");
}

#[test]
fn every_key_is_asked_and_what_it_said_is_told() {
    let setting = Setting::new();
    let (primary, standby) =
        (setting.keks.add_version("kv-one", "k"), setting.keks.add_version("kv-two", "k"));
    let (ring, _) = setting.create(VAULT, &target(&[&primary, &standby])).unwrap();
    let both = setting.unwrap(&ring).unwrap();
    assert_eq!(both.proven(), [primary.clone(), standby.clone()]);
    setting.keks.set(&standby, Unreachable);
    let one = setting.unwrap(&ring).unwrap();
    assert_eq!(one.proven(), std::slice::from_ref(&primary));
    assert_eq!(one.faults()[0].code, "KeyVaultUnreachable");

    // A key that is not allowed is not asked, and cannot stop the vault.
    setting.keks.set(&standby, Disabled);
    let asked_before = setting.keks.calls(&standby);
    let primary_only = |key: &_| *key == primary;
    let unwrapped = unwrap(&ring, &Trust::FirstUse, &setting.access_to(&primary_only));
    assert_eq!(unwrapped.unwrap().proven(), std::slice::from_ref(&primary));
    assert_eq!(setting.keks.calls(&standby), asked_before);
}

#[test]
fn the_second_layer_needs_the_platforms_key_too() {
    let (setting, ring, _) = Setting::with_two_layers();
    let platform = ring.infrastructure().unwrap().wraps()[0].key().clone();
    for (behaviour, expected) in
        [(Works, "no error"), (Disabled, "KeyDisabled"), (Unreachable, "KeyVaultUnreachable")]
    {
        setting.keks.set(&platform, behaviour);
        assert_eq!(code(setting.unlock(&ring)), expected);
    }
}

#[test]
fn a_vault_is_not_made_with_a_key_that_does_not_give_back() {
    for (behaviour, expected) in [
        (Garbled, "KeyWrapUnproven"),
        (Disabled, "KeyDisabled"),
        (Unreachable, "KeyVaultUnreachable"),
    ] {
        let setting = Setting::new();
        let (works, other) =
            (setting.keks.add_version("kv-one", "k"), setting.keks.add_version("kv-two", "k"));
        setting.keks.set(&other, behaviour);
        for failover in [Failover::Stop, Failover::Any] {
            let keys = vec![by(&works), by(&other)];
            let target = KeyTarget { keys, infrastructure: Vec::new(), failover };
            assert_eq!(code(setting.create(VAULT, &target)), expected);
        }
    }
}

/// A probe tells of each key by itself, goes on after a refusal, and unwraps the newest generation alone.
#[test]
fn a_probe_tells_of_each_key() {
    let setting = Setting::new();
    let (primary, standby) =
        (setting.keks.add_version("kv-one", "k"), setting.keks.add_version("kv-two", "k"));
    let (ring, _) = setting.create(VAULT, &target(&[&primary, &standby])).unwrap();
    let trust = Trust::Chained(ring.known());
    let ask = || {
        let probed = probe(&ring, &trust, &setting.access()).unwrap();
        let told = probed.into_iter().map(|probed| (probed.key, code(probed.outcome)));
        told.collect::<Vec<_>>()
    };
    for (behaviour, expected) in [
        (Works, "no error"),
        (Disabled, "KeyDisabled"),
        (Unreachable, "KeyVaultUnreachable"),
        (Garbled, "KeyWrapUnproven"),
    ] {
        setting.keks.set(&primary, behaviour);
        assert_eq!(ask(), [(primary.clone(), expected), (standby.clone(), "no error")]);
    }
    let standby_only = |key: &_| *key == standby;
    let asked_before = setting.keks.calls(&primary);
    let probed = probe(&ring, &trust, &setting.access_to(&standby_only)).unwrap();
    assert_eq!((probed.len(), setting.keks.calls(&primary)), (1, asked_before));
    // A ring that is not the one on record is not asked about.
    let (other, _) = setting.create(VAULT, &target(&[&standby])).unwrap();
    assert!(probe(&other, &trust, &setting.access()).is_err());
}
