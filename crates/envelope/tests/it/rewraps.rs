//! Rewrap and change of key, with a crash after every step.

use custody_envelope::{
    Failover, KeyTarget, ObjectType, RewrapStep, Ring, Trust, VaultKeys, begin_rewrap,
    finish_key_change, finish_rewrap, follows, prove_wraps, rewrap_step, unlock,
};
use custody_names::KeyVersionUri;
use custody_test_world::keks::Behaviour;

use crate::setting::{Setting, by, code, target};

/// Carries a rewrap or a change of key on from any ring to its end. Gives all rings it made.
fn carry_on(setting: &Setting, from: &Ring, to: &KeyTarget, new_generation: bool) -> Vec<Ring> {
    let mut rings = vec![from.clone()];
    loop {
        let ring = rings.last().unwrap();
        let keys = unlock(ring, &Trust::Chained(from.known()), &setting.access()).unwrap();
        let access = setting.access();
        let next = match rewrap_step(ring, to) {
            RewrapStep::Begin => begin_rewrap(ring, &keys, to, &access).unwrap(),
            RewrapStep::Finish => {
                let proven = prove_wraps(ring, &keys, to, &access).unwrap();
                if new_generation {
                    finish_key_change(ring, &keys, &proven, &access, &setting.entropy).unwrap()
                } else {
                    finish_rewrap(ring, &keys, &proven, &access).unwrap()
                }
            }
            RewrapStep::Done => return rings,
        };
        let next = Ring::parse(next.encoded()).unwrap();
        follows(ring, &next, &setting.unlock(&next).unwrap()).unwrap();
        rings.push(next);
    }
}

fn seal(setting: &Setting, keys: &VaultKeys) -> (Vec<u8>, Vec<u8>) {
    let mut sealer = keys.sealer(ObjectType::Pack, &setting.entropy).unwrap();
    let mut bytes = b"content".to_vec();
    sealer.seal(b"", true, &mut bytes).unwrap();
    (sealer.header().to_vec(), bytes)
}

fn opens(keys: &VaultKeys, (header, sealed): &(Vec<u8>, Vec<u8>)) -> bool {
    let mut bytes = sealed.clone();
    let opener = keys.opener(ObjectType::Pack, header).unwrap();
    opener.open(0, b"", true, &mut bytes).is_ok() && bytes == b"content"
}

fn wraps(ring: &Ring) -> Vec<Vec<KeyVersionUri>> {
    let keys = ring.generations();
    keys.map(|key| key.wraps().iter().map(|wrap| wrap.key().clone()).collect()).collect()
}

#[test]
fn a_rewrap_keeps_the_data_keys_and_drops_the_old_wraps() {
    let (setting, old, first, keys) = Setting::with_vault();
    let object = seal(&setting, &keys);
    let new = setting.keks.add_version("kv-one", "k");
    let rings = carry_on(&setting, &first, &target(&[&new]), false);
    assert_eq!(
        rings.iter().map(wraps).collect::<Vec<_>>(),
        [vec![vec![old.clone()]], vec![vec![old.clone(), new.clone()]], vec![vec![new]]]
    );
    assert!(rings.iter().all(|ring| ring.fingerprint() == first.fingerprint()));
    setting.keks.set(&old, Behaviour::Purged);
    assert!(opens(&setting.unlock(rings.last().unwrap()).unwrap(), &object));
    assert_eq!(code(setting.unlock(&first)), "KeyNotFound");
}

#[test]
fn whatever_step_is_the_last_before_a_crash_it_opens_and_goes_on() {
    for new_generation in [false, true] {
        let (setting, old, first, keys) = Setting::with_vault();
        let object = seal(&setting, &keys);
        let new = setting.keks.add_version("kv-two", "k");
        let to = target(&[&new]);
        let rings = carry_on(&setting, &first, &to, new_generation);
        assert_eq!(rings.len(), 3);
        for (crashed_after, ring) in rings.iter().enumerate() {
            assert!(opens(&setting.unlock(ring).unwrap(), &object));
            let resumed = carry_on(&setting, ring, &to, new_generation);
            let head = resumed.last().unwrap();
            assert_eq!(head.number(), 3, "after a crash at {crashed_after}");
            assert_eq!(head.newest_generation(), if new_generation { 2 } else { 1 });
            assert!(!head.key_versions().contains(&old));
            assert!(opens(&setting.unlock(head).unwrap(), &object));
        }
    }
}

#[test]
fn a_change_of_key_starts_a_generation_that_the_old_key_never_wrapped() {
    let (setting, old, first, keys) = Setting::with_vault();
    let before = seal(&setting, &keys);
    let names = keys.id_key(custody_envelope::IdPurpose::ChunkNames).unwrap();
    let new = setting.keks.add_version("kv-two", "k");
    let rings = carry_on(&setting, &first, &target(&[&new]), true);
    let head = rings.last().unwrap();
    assert_eq!(wraps(head), vec![vec![new.clone()], vec![new]]);
    assert_eq!(setting.keks.calls(&old).wraps, 1);

    let changed = setting.unlock(head).unwrap();
    assert_eq!((keys.newest_generation(), changed.newest_generation()), (1, 2));
    let after = seal(&setting, &changed);
    assert!(opens(&changed, &before) && opens(&changed, &after));
    let names_after = changed.id_key(custody_envelope::IdPurpose::ChunkNames).unwrap();
    assert_eq!(names.expose(), names_after.expose(), "deduplication outlives the change");

    // Keys under a lease learn the new generation by its proof.
    assert_eq!(code(keys.opener(ObjectType::Pack, &after.0)), "KeyGenerationUnknown");
    keys.lease().extend(setting.unwrap(head).unwrap()).unwrap();
    assert_eq!(keys.newest_generation(), 2);
    assert!(opens(&keys, &after) && opens(&keys, &before));
}

#[test]
fn many_changes_still_chain_to_the_first_fingerprint() {
    let (setting, _, first, keys) = Setting::with_vault();
    let object = seal(&setting, &keys);
    let mut head = first.clone();
    for _ in 0..10 {
        let new = setting.keks.add_version("kv-two", "k");
        head = carry_on(&setting, &head, &target(&[&new]), true).pop().unwrap();
    }
    assert_eq!((head.number(), head.newest_generation()), (21, 11));
    let trust = Trust::Fingerprint(first.fingerprint());
    assert!(opens(&unlock(&head, &trust, &setting.access()).unwrap(), &object));
    assert_eq!(code(unlock(&head, &Trust::Chained(first.known()), &setting.access())), "no error");
}

#[test]
fn a_rewrap_costs_two_unwraps_and_a_wrap_per_generation() {
    let (setting, _, first, _) = Setting::with_vault();
    let mut head = first;
    for _ in 0..3 {
        let new = setting.keks.add_version("kv-two", "k");
        head = carry_on(&setting, &head, &target(&[&new]), true).pop().unwrap();
    }
    let new = setting.keks.add_version("kv-two", "k");
    let before = setting.keks.calls_in_all();
    let (to, access) = (target(&[&new]), setting.access());
    let keys = setting.unlock(&head).unwrap();
    let both = begin_rewrap(&head, &keys, &to, &access).unwrap();
    let proven = prove_wraps(&both, &keys, &to, &access).unwrap();
    finish_rewrap(&both, &keys, &proven, &access).unwrap();
    let after = setting.keks.calls_in_all();
    assert_eq!((after.wraps - before.wraps, after.unwraps - before.unwraps), (4, 8));
}

#[test]
fn a_standby_is_proven_too_before_the_rewrap_is_done() {
    let (setting, primary, first, keys) = Setting::with_vault();
    let standby = setting.keks.add_version("kv-two", "k");
    let (to, access) = (target(&[&primary, &standby]), setting.access());
    assert_eq!(rewrap_step(&first, &to), RewrapStep::Begin);
    let begun = begin_rewrap(&first, &keys, &to, &access).unwrap();
    assert!(begun.is_rewrap_under_way());
    assert_eq!(rewrap_step(&begun, &to), RewrapStep::Finish);
    let proven = prove_wraps(&begun, &keys, &to, &access).unwrap();
    let finished = finish_rewrap(&begun, &keys, &proven, &access).unwrap();
    assert_eq!(rewrap_step(&finished, &to), RewrapStep::Done);
    assert_eq!(setting.keks.calls(&standby).unwraps, 1);
}

#[test]
fn opening_asks_every_key_once_and_one_of_them_for_each_older_generation() {
    let (setting, primary, first, keys) = Setting::with_vault();
    let standby = setting.keks.add_version("kv-two", "k");
    let head = carry_on(&setting, &first, &target(&[&primary, &standby]), true).pop().unwrap();
    let unwraps = |key| setting.keks.calls(key).unwraps;
    let before = [unwraps(&primary), unwraps(&standby)];
    keys.lease().extend(setting.unwrap(&head).unwrap()).unwrap();
    let asked = [unwraps(&primary) - before[0], unwraps(&standby) - before[1]];
    assert_eq!((head.newest_generation(), asked), (2, [2, 1]));
}

#[test]
fn a_wrap_that_does_not_give_back_is_never_relied_on() {
    for (behaviour, expected) in [
        (Behaviour::Garbled, "KeyWrapUnproven"),
        (Behaviour::Unreachable, "KeyVaultUnreachable"),
        (Behaviour::Forbidden, "Forbidden"),
    ] {
        let (setting, _, first, keys) = Setting::with_vault();
        let new = setting.keks.add_version("kv-two", "k");
        let (to, access) = (target(&[&new]), setting.access());
        let both = begin_rewrap(&first, &keys, &to, &access).unwrap();
        setting.keks.set(&new, behaviour);
        assert_eq!(code(prove_wraps(&both, &keys, &to, &access)), expected);
    }
}

#[test]
fn a_proof_serves_the_ring_it_was_made_for() {
    let (setting, _, first, keys) = Setting::with_vault();
    let new = setting.keks.add_version("kv-two", "k");
    let (to, access) = (target(&[&new]), setting.access());
    assert_eq!(code(prove_wraps(&first, &keys, &to, &access)), "KeyWrapUnproven");
    let both = begin_rewrap(&first, &keys, &to, &access).unwrap();
    let proven = prove_wraps(&both, &keys, &to, &access).unwrap();
    assert_eq!(code(finish_rewrap(&first, &keys, &proven, &access)), "KeyringTargetInvalid");
}

#[test]
fn no_ring_is_made_after_the_lease_or_with_other_keys() {
    let (setting, key, first, keys) = Setting::with_vault();
    let new = setting.keks.add_version("kv-two", "k");
    let (to, access) = (target(&[&new]), setting.access());
    let (_, other) = setting.create(crate::setting::VAULT, &target(&[&key])).unwrap();
    assert_eq!(code(begin_rewrap(&first, &other, &to, &access)), "KeyringDamaged");
    setting.outlive_lease();
    assert_eq!(code(begin_rewrap(&first, &keys, &to, &access)), "KeyLeaseEnded");
}

#[test]
fn an_interrupted_rotation_survives_that_the_old_version_is_disabled() {
    let check = |key_vault: &str, expected: &str| {
        let (setting, old, first, keys) = Setting::with_vault();
        let new = setting.keks.add_version(key_vault, "k");
        let both = begin_rewrap(&first, &keys, &target(&[&new]), &setting.access()).unwrap();
        setting.keks.set(&old, Behaviour::Disabled);
        assert_eq!(code(setting.unlock(&both)), expected);
        let new_only = |key: &KeyVersionUri| *key == new;
        let unlocked = unlock(&both, &Trust::FirstUse, &setting.access_to(&new_only));
        assert_eq!(code(unlocked), "no error", "the record names the new key alone");
    };
    check("kv-one", "no error");
    check("kv-two", "KeyDisabled");
}

#[test]
fn platform_keys_failover_and_standbys_change_by_rewrap() {
    let (setting, first, keys) = Setting::with_two_layers();
    let object = seal(&setting, &keys);
    let customer = first.generations().next().unwrap().wraps()[0].key().clone();
    let old_platform = first.infrastructure().unwrap().wraps()[0].key().clone();
    let standby = setting.keks.add_version("kv-two", "k");
    let platform = setting.keks.add_version("platform", "p");
    let to = KeyTarget {
        infrastructure: vec![by(&platform)],
        failover: Failover::Any,
        ..target(&[&customer, &standby])
    };
    let head = carry_on(&setting, &first, &to, false).pop().unwrap();
    assert_eq!(head.failover(), Failover::Any);
    assert_eq!(wraps(&head), [[customer.clone(), standby]]);
    setting.keks.set(&customer, Behaviour::Disabled);
    setting.keks.set(&old_platform, Behaviour::Purged);
    assert!(opens(&setting.unlock(&head).unwrap(), &object));

    // A vault keeps or lacks its second layer for good.
    let without = target(&[&customer]);
    let begun = begin_rewrap(&head, &keys, &without, &setting.access());
    assert_eq!(code(begun), "KeyringTargetInvalid");
}
