//! Leases: when keys may be used, and what is left afterwards.

use std::sync::Arc;
use std::time::Duration;

use custody_envelope::{
    EnvelopeError, IdPurpose, LEASE_DEFAULT, Lease, LeaseEnd, MacPurpose, ObjectType, Renewal,
    Ring, VaultKeys, begin_rewrap,
};
use custody_names::VaultGuid;
use custody_test_world::keks::Behaviour;

use crate::setting::{Setting, code, target};

/// What every use of the keys answers.
fn answers(setting: &Setting, keys: &VaultKeys, header: &[u8]) -> [&'static str; 6] {
    [
        code(keys.check()),
        code(keys.sealer(ObjectType::Pack, &setting.entropy)),
        code(keys.opener(ObjectType::Pack, header)),
        code(keys.id_key(IdPurpose::ChunkNames)),
        code(keys.mac(MacPurpose::LogEntry, 1, b"")),
        code(keys.verify_mac(MacPurpose::LogEntry, 1, b"", &[0; 32])),
    ]
}

const ENDED: [&str; 6] = ["KeyLeaseEnded"; 6];

fn refusal() -> LeaseEnd {
    LeaseEnd { code: "KeyDisabled", message: "the key is disabled".to_owned(), retryable: false }
}

#[test]
fn at_its_end_every_clone_and_every_object_fails() {
    let end_it: [fn(&Setting, &VaultKeys); 2] =
        [|setting, _| setting.outlive_lease(), |_, keys| keys.lease().end(refusal())];
    for end_it in end_it {
        let (setting, _, _, keys) = Setting::with_vault();
        let clone = keys.clone();
        let mut sealer = keys.sealer(ObjectType::Pack, &setting.entropy).unwrap();
        let header = sealer.header().to_vec();
        let opener = clone.opener(ObjectType::Pack, &header).unwrap();
        let mut sealed = b"content".to_vec();
        sealer.seal(b"", false, &mut sealed).unwrap();
        assert!(clone.lease().remaining() > Duration::ZERO);

        end_it(&setting, &keys);
        let mut more = b"more".to_vec();
        assert_eq!(code(sealer.seal(b"", true, &mut more)), "KeyLeaseEnded");
        assert_eq!(more, b"more", "nothing is sealed after the end");
        assert_eq!(code(opener.open(0, b"", false, &mut sealed)), "KeyLeaseEnded");
        assert_eq!(answers(&setting, &keys, &header), ENDED);
        assert_eq!(answers(&setting, &clone, &header), ENDED);
        assert_eq!(clone.lease().remaining(), Duration::ZERO);
    }
}

#[test]
fn it_runs_on_the_clock_that_never_jumps() {
    let (setting, _, _, keys) = Setting::with_vault();
    setting.moved.set_wall("2050-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(code(keys.check()), "no error");
    setting.moved.advance(LEASE_DEFAULT.saturating_sub(Duration::from_millis(1)));
    setting.moved.set_wall("1990-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(code(keys.check()), "no error");
    setting.moved.advance(Duration::from_millis(1));
    assert_eq!(code(keys.check()), "KeyLeaseEnded");
}

#[test]
fn only_an_unwrap_extends_it_and_only_from_when_it_was_asked_for() {
    let (setting, _, ring, keys) = Setting::with_vault();
    setting.moved.advance(Duration::from_secs(30));
    let proof = setting.unwrap(&ring).unwrap();
    setting.moved.advance(Duration::from_secs(20));
    keys.lease().extend(proof).unwrap();
    assert_eq!(keys.lease().remaining(), Duration::from_secs(40));

    let old_proof = setting.unwrap(&ring).unwrap();
    setting.outlive_lease();
    assert_eq!(code(keys.lease().extend(old_proof)), "KeyLeaseEnded");
    assert_eq!(code(keys.check()), "KeyLeaseEnded");

    // An earlier proof that arrives later does not shorten the lease.
    let (setting, _, ring, keys) = Setting::with_vault();
    let (earlier, ()) =
        (setting.unwrap(&ring).unwrap(), setting.moved.advance(Duration::from_secs(9)));
    keys.lease().extend(setting.unwrap(&ring).unwrap()).unwrap();
    keys.lease().extend(earlier).unwrap();
    assert_eq!(keys.lease().remaining(), LEASE_DEFAULT);
}

#[test]
fn after_an_outage_it_goes_on_but_no_object_does() {
    let (setting, key, ring, keys) = Setting::with_vault();
    let mut sealer = keys.sealer(ObjectType::Pack, &setting.entropy).unwrap();
    let header = sealer.header().to_vec();
    setting.keks.set(&key, Behaviour::Unreachable);
    setting.outlive_lease();
    assert_eq!(keys.lease().ended().unwrap().code, "KeyLeaseExpired");
    let error = setting.unwrap(&ring).err().unwrap();
    assert_eq!((error.code(), error.retryable()), ("KeyVaultUnreachable", true));

    setting.keks.set(&key, Behaviour::Works);
    keys.lease().extend(setting.unwrap(&ring).unwrap()).unwrap();
    assert_eq!(keys.lease().ended(), None);
    assert_eq!(code(keys.sealer(ObjectType::Pack, &setting.entropy)), "no error");
    assert_eq!(code(keys.opener(ObjectType::Pack, &header)), "no error");
    assert_eq!(code(sealer.seal(b"", true, &mut Vec::new())), "KeyLeaseEnded");
}

#[test]
fn an_object_does_not_go_on_though_nobody_noticed_that_the_time_was_up() {
    let (setting, _, ring, keys) = Setting::with_vault();
    let mut sealer = keys.sealer(ObjectType::Pack, &setting.entropy).unwrap();
    setting.outlive_lease();
    keys.lease().extend(setting.unwrap(&ring).unwrap()).unwrap();
    assert_eq!(code(keys.check()), "no error");
    assert_eq!(code(sealer.seal(b"", true, &mut Vec::new())), "KeyLeaseEnded");
}

/// Asks for the keys as soon as anyone needs them.
struct AskAgain {
    setting: Setting,
    ring: Ring,
}

impl Renewal for AskAgain {
    fn renew(&self, lease: &Lease) -> Result<(), EnvelopeError> {
        assert_eq!(lease.ended().unwrap().code, "KeyLeaseExpired");
        lease.extend(self.setting.unwrap(&self.ring)?)
    }
}

#[test]
fn with_a_renewal_whoever_needs_the_keys_waits_for_them_but_no_object_is_sealed_on() {
    let (setting, key, ring, keys) = Setting::with_vault();
    let mut sealer = keys.sealer(ObjectType::Pack, &setting.entropy).unwrap();
    let mut sealed = b"content".to_vec();
    sealer.seal(b"", false, &mut sealed).unwrap();
    let header = sealer.header().to_vec();
    let opener = keys.opener(ObjectType::Pack, &header).unwrap();
    let again = Arc::new(AskAgain { setting, ring });
    let setting = &again.setting;
    keys.lease().renew_by(Arc::clone(&again) as _);
    let works = ["no error"; 5];

    setting.outlive_lease();
    assert_eq!(answers(setting, &keys, &header)[..5], works);
    assert_eq!(code(sealer.seal(b"", true, &mut b"more".to_vec())), "KeyLeaseEnded");
    setting.outlive_lease();
    opener.open(0, b"", false, &mut sealed).unwrap();
    assert_eq!(sealed, b"content", "what was sealed before the gap opens after it");

    setting.outlive_lease();
    setting.keks.set(&key, Behaviour::Unreachable);
    assert_eq!(code(keys.check()), "KeyVaultUnreachable");
    setting.keks.set(&key, Behaviour::Works);
    keys.check().unwrap();
    keys.lease().end(refusal());
    assert_eq!(answers(setting, &keys, &header), ENDED, "an end is not waited out");
}

#[test]
fn an_end_is_final_and_keeps_its_first_reason() {
    let (setting, _, ring, keys) = Setting::with_vault();
    let proof = setting.unwrap(&ring).unwrap();
    keys.lease().end(refusal());
    keys.lease().end(LeaseEnd { code: "Other", message: String::new(), retryable: false });
    assert_eq!(code(keys.lease().extend(proof)), "KeyLeaseEnded");
    assert_eq!(keys.lease().ended(), Some(refusal()));
}

#[test]
fn it_is_extended_by_its_own_vault_and_no_older_ring() {
    let (setting, key, ring, keys) = Setting::with_vault();
    let next = begin_rewrap(&ring, &keys, &target(&[&key]), &setting.access()).unwrap();
    let (foreign, _) = setting.create(VaultGuid::from_bytes([9; 16]), &target(&[&key])).unwrap();
    let extend = |ring| code(keys.lease().extend(setting.unwrap(ring).unwrap()));
    assert_eq!(extend(&foreign), "KeyringForeignVault");
    assert_eq!(extend(&next), "no error");
    assert_eq!(extend(&ring), "KeyringRolledBack");
    assert_eq!(keys.lease().ring(), next.known());
}

#[test]
fn keys_of_many_objects_end_with_it() {
    let (setting, _, ring, keys) = Setting::with_vault();
    let mut sealers: Vec<_> = (0..1_000)
        .map(|_| keys.sealer(ObjectType::Pack, &setting.entropy).unwrap())
        .step_by(3)
        .collect();
    setting.outlive_lease();
    assert_eq!(code(keys.check()), "KeyLeaseEnded");
    keys.lease().extend(setting.unwrap(&ring).unwrap()).unwrap();
    for sealer in &mut sealers {
        assert_eq!(code(sealer.seal(b"", false, &mut Vec::new())), "KeyLeaseEnded");
    }
}

#[test]
fn an_end_reaches_threads_that_are_sealing() {
    let (setting, _, _, keys) = Setting::with_vault();
    let setting = Arc::new(setting);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let (keys, setting) = (keys.clone(), Arc::clone(&setting));
                scope.spawn(move || {
                    loop {
                        let sealed = keys
                            .sealer(ObjectType::Pack, &setting.entropy)
                            .and_then(|mut sealer| sealer.seal(b"", true, &mut vec![0; 100]));
                        if let Err(error) = sealed {
                            return error.code();
                        }
                    }
                })
            })
            .collect();
        keys.lease().end(refusal());
        for worker in workers {
            assert_eq!(worker.join().unwrap(), "KeyLeaseEnded");
        }
    });
}
