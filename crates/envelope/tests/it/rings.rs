//! Rings: reading, trust, forgeries.

use custody_envelope::{
    Fingerprint, KeyTarget, RING_BYTES_MAX, Ring, Trust, begin_rewrap, follows, unlock,
};
use custody_names::VaultGuid;

use crate::setting::{Setting, VAULT, by, code, target};

#[test]
fn a_ring_is_read_back_and_unlocked() {
    let (setting, key, ring, keys) = Setting::with_vault();
    let read = Ring::parse(ring.encoded()).unwrap();
    assert!(read == ring);
    assert_eq!((read.vault(), read.number(), read.newest_generation()), (VAULT, 1, 1));
    assert_eq!(read.made().to_string(), "2026-11-22T06:00:00.123Z");
    assert_eq!(read.key_versions().into_iter().collect::<Vec<_>>(), [&key]);
    let unlocked = unlock(&read, &Trust::Chained(ring.known()), &setting.access()).unwrap();
    assert_eq!(unlocked.vault(), keys.vault());
    let text = ring.fingerprint().to_string();
    assert_eq!(text.parse::<Fingerprint>(), Ok(ring.fingerprint()));
    assert!(text[1..].parse::<Fingerprint>().is_err());
}

#[test]
fn a_newer_format_is_refused_before_anything_else() {
    let newer = |format: u64, rest: &[u8]| {
        let mut encoder = minicbor::Encoder::new(Vec::new());
        encoder.array(9).unwrap().str("custody keyring").unwrap().u64(format).unwrap();
        [encoder.into_writer().as_slice(), rest].concat()
    };
    assert_eq!(code(Ring::parse(&newer(2, b"what nobody knows yet"))), "KeyringNewerFormat");
    assert_eq!(code(Ring::parse(&newer(2, &vec![0; RING_BYTES_MAX]))), "KeyringNewerFormat");
    assert_eq!(code(Ring::parse(&newer(1, b"no ring"))), "KeyringDamaged");
    assert_eq!(code(Ring::parse(&newer(0, b""))), "KeyringDamaged");
    assert_eq!(code(Ring::parse(&newer(1, &vec![0; RING_BYTES_MAX]))), "KeyringDamaged");
}

#[test]
fn bytes_that_are_cut_or_added_are_refused() {
    let (_, _, ring, _) = Setting::with_vault();
    for length in 0..ring.encoded().len() {
        assert_eq!(code(Ring::parse(&ring.encoded()[..length])), "KeyringDamaged", "{length}");
    }
    assert_eq!(code(Ring::parse(&[ring.encoded(), &[0]].concat())), "KeyringDamaged");
}

#[test]
fn every_flipped_bit_of_a_ring_is_refused() {
    let (setting, first, keys) = Setting::with_two_layers();
    let more = setting.keks.add_version("kv-two", "k");
    let platform = first.infrastructure().unwrap().wraps()[0].key().clone();
    let wider = KeyTarget { infrastructure: vec![by(&platform)], ..target(&[&more]) };
    let second = begin_rewrap(&first, &keys, &wider, &setting.access()).unwrap();
    for ring in [&first, &second] {
        assert_eq!(code(setting.unlock(ring)), "no error");
        for at in 0..ring.encoded().len() {
            for bit in 0..8 {
                let mut bytes = ring.encoded().to_vec();
                bytes[at] ^= 1 << bit;
                let unlocked = Ring::parse(&bytes).and_then(|ring| setting.unlock(&ring));
                assert!(unlocked.is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn only_a_ring_that_chains_to_what_is_known_is_used() {
    let (setting, key, first, keys) = Setting::with_vault();
    let next = |ring: &Ring| begin_rewrap(ring, &keys, &target(&[&key]), &setting.access());
    let second = next(&first).unwrap();
    let third = next(&second).unwrap();
    setting.moved.advance(std::time::Duration::from_secs(1));
    let fork = next(&next(&first).unwrap()).unwrap();
    // Wrapping needs no secret: anyone can make this ring.
    let (forged, forger) = setting.create(VAULT, &target(&[&key])).unwrap();
    let forged_second =
        begin_rewrap(&forged, &forger, &target(&[&key]), &setting.access()).unwrap();
    let foreign = VaultGuid::from_bytes([8; 16]);
    let (foreign, _) = setting.create(foreign, &target(&[&key])).unwrap();

    let check = |trust: &Trust, ring: &Ring, expected: &str| {
        assert_eq!(code(unlock(ring, trust, &setting.access())), expected, "{trust:?}");
    };
    let chained = |ring: &Ring| Trust::Chained(ring.known());
    check(&chained(&first), &first, "no error");
    check(&chained(&first), &second, "no error");
    check(&chained(&first), &third, "no error");
    check(&chained(&second), &fork, "KeyringUntrusted");
    check(&chained(&third), &second, "KeyringRolledBack");
    check(&chained(&first), &forged, "KeyringRolledBack");
    check(&chained(&first), &forged_second, "KeyringUntrusted");
    check(&chained(&first), &foreign, "KeyringForeignVault");
    let fingerprint = Trust::Fingerprint(first.fingerprint());
    check(&fingerprint, &first, "no error");
    check(&fingerprint, &third, "no error");
    check(&fingerprint, &forged, "KeyringUntrusted");
    check(&fingerprint, &foreign, "KeyringUntrusted");
    check(&Trust::FirstUse, &forged, "no error");
}

#[test]
fn a_ring_follows_another() {
    let (setting, key, first, keys) = Setting::with_vault();
    let next =
        |ring: &Ring, keys: &_| begin_rewrap(ring, keys, &target(&[&key]), &setting.access());
    let second = next(&first, &keys).unwrap();
    let third = next(&second, &keys).unwrap();
    setting.moved.advance(std::time::Duration::from_secs(1));
    let other_second = next(&first, &keys).unwrap();
    let (forged, forger) = setting.create(VAULT, &target(&[&key])).unwrap();
    let forged_second = next(&forged, &forger).unwrap();
    let check = |previous: &Ring, next: &Ring, expected: &str| {
        assert_eq!(code(follows(previous, next, &keys)), expected);
    };
    check(&first, &second, "no error");
    check(&second, &third, "no error");
    check(&first, &other_second, "no error");
    check(&other_second, &third, "KeyringUntrusted");
    check(&first, &third, "KeyringUntrusted");
    check(&second, &first, "KeyringUntrusted");
    check(&first, &forged_second, "KeyringUntrusted");
    check(&forged, &forged_second, "KeyringDamaged");
}

#[test]
fn a_key_uri_in_a_ring_is_a_hint_only() {
    let (setting, key, ring, _) = Setting::with_vault();
    let before = setting.keks.calls(&key);
    let unlocked = unlock(&ring, &Trust::FirstUse, &setting.access_to(&|_| false));
    assert_eq!(code(unlocked), "KeyringNoAllowedKey");
    assert_eq!(setting.keks.calls(&key), before);
}

#[test]
fn keys_that_cannot_be_a_target() {
    let setting = Setting::new();
    let keys: Vec<_> = (0..5).map(|_| setting.keks.add_version("kv-one", "k")).collect();
    let check = |target: &KeyTarget, expected: &str| {
        assert_eq!(code(setting.create(VAULT, target)), expected);
    };
    check(&target(&[]), "KeyringTargetInvalid");
    check(&target(&[&keys[0], &keys[0]]), "KeyringTargetInvalid");
    check(&target(&keys.iter().collect::<Vec<_>>()), "KeyringTargetInvalid");
    check(&target(&keys[..4].iter().collect::<Vec<_>>()), "no error");
}
