//! Sealed objects: round trips, swaps, flipped bits.

use std::collections::BTreeSet;

use custody_ambient::{Entropy, EntropyUnavailable};
use custody_envelope::{
    EnvelopeError, HEADER_BYTES, IdPurpose, MacPurpose, ObjectType, TAG_BYTES, VaultKeys,
};
use custody_names::VaultGuid;
use custody_test_world::SeededEntropy;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::setting::{Setting, VAULT, code, target};

/// Seals `parts` as one pack.
fn seal(keys: &VaultKeys, entropy: &dyn Entropy, parts: &[&[u8]]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut sealer = keys.sealer(ObjectType::Pack, entropy).unwrap();
    let mut sealed = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let mut bytes = part.to_vec();
        sealer.seal(b"aad", at + 1 == parts.len(), &mut bytes).unwrap();
        sealed.push(bytes);
    }
    (sealer.header().to_vec(), sealed)
}

/// Opens one position of a pack.
fn open(
    keys: &VaultKeys,
    header: &[u8],
    (position, last): (u32, bool),
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    let mut bytes = sealed.to_vec();
    keys.opener(ObjectType::Pack, header)?.open(position, aad, last, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn positions_open_in_any_order() {
    let check = |keys: &VaultKeys, entropy: &dyn Entropy, layers: usize| {
        let (header, sealed) = seal(keys, entropy, &[b"first", b"", b"third"]);
        assert_eq!(header.len(), HEADER_BYTES);
        assert_eq!(keys.overhead_bytes(), layers * TAG_BYTES);
        let opener = keys.opener(ObjectType::Pack, &header).unwrap();
        for (position, plain) in [(2, &b"third"[..]), (0, b"first"), (1, b"")] {
            let mut bytes = sealed[position as usize].clone();
            assert_eq!(bytes.len(), plain.len() + opener.overhead_bytes());
            opener.open(position, b"aad", position == 2, &mut bytes).unwrap();
            assert_eq!(bytes, plain);
        }
    };
    let (setting, _, _, keys) = Setting::with_vault();
    check(&keys, &setting.entropy, 1);
    let (setting, _, keys) = Setting::with_two_layers();
    check(&keys, &setting.entropy, 2);
}

#[test]
fn every_flipped_bit_of_an_object_is_refused() {
    let (one_layer, _, _, one_layer_keys) = Setting::with_vault();
    let (two_layers, _, two_layers_keys) = Setting::with_two_layers();
    for (setting, keys) in [(one_layer, one_layer_keys), (two_layers, two_layers_keys)] {
        let (header, sealed) = seal(&keys, &setting.entropy, &[b"some content"]);
        let object = [header.as_slice(), &sealed[0]].concat();
        let open = |object: &[u8]| {
            open(&keys, &object[..HEADER_BYTES], (0, true), b"aad", &object[HEADER_BYTES..])
        };
        assert_eq!(open(&object).unwrap(), b"some content");
        for at in 0..object.len() {
            for bit in 0..8 {
                let mut flipped = object.clone();
                flipped[at] ^= 1 << bit;
                assert!(open(&flipped).is_err(), "bit {bit} of byte {at}");
            }
        }
        for length in 0..object.len() - HEADER_BYTES {
            assert_eq!(code(open(&object[..HEADER_BYTES + length])), "SealDamaged");
        }
    }
}

#[test]
fn what_does_not_open() {
    let (setting, key, _, keys) = Setting::with_vault();
    let (header, sealed) = seal(&keys, &setting.entropy, &[b"one", b"two", b"six"]);
    let (other_header, _) = seal(&keys, &setting.entropy, &[b"one", b"two", b"six"]);
    let check = |header: &[u8], place, aad: &[u8], sealed: &[u8], expected: &str| {
        assert_eq!(code(open(&keys, header, place, aad, sealed)), expected, "{place:?}");
    };
    check(&header, (0, false), b"aad", &sealed[0], "no error");
    check(&header, (1, false), b"aad", &sealed[0], "SealDamaged");
    check(&header, (0, true), b"aad", &sealed[0], "SealDamaged");
    check(&header, (2, false), b"aad", &sealed[2], "SealDamaged");
    check(&header, (0, false), b"other", &sealed[0], "SealDamaged");
    check(&other_header, (0, false), b"aad", &sealed[0], "SealDamaged");

    // The salt and the commitment of one object under the rest of another.
    let mut swapped = header.clone();
    swapped[36..68].copy_from_slice(&other_header[36..68]);
    check(&swapped, (0, false), b"aad", &sealed[0], "KeyCommitmentMismatch");
    let mut swapped = header.clone();
    swapped[68..].copy_from_slice(&other_header[68..]);
    check(&swapped, (0, false), b"aad", &sealed[0], "KeyCommitmentMismatch");

    // Of another type, vault, generation, format.
    assert_eq!(code(keys.opener(ObjectType::Index, &header)), "SealWrongType");
    let other = VaultGuid::from_bytes([9; 16]);
    let (_, foreign) = setting.create(other, &target(&[&key])).unwrap();
    assert_eq!(code(foreign.opener(ObjectType::Pack, &header)), "SealForeignVault");
    let with_byte = |at: usize, byte: u8| {
        let mut header = header.clone();
        header[at] = byte;
        code(keys.opener(ObjectType::Pack, &header))
    };
    assert_eq!(with_byte(7, 2), "SealNewerFormat");
    assert_eq!(with_byte(7, 0), "SealDamaged");
    assert_eq!(with_byte(31, 2), "KeyGenerationUnknown");
    assert_eq!(with_byte(31, 0), "KeyGenerationUnknown");
    assert_eq!(with_byte(35, 1), "SealDamaged");
    assert_eq!(code(keys.opener(ObjectType::Pack, &header[..99])), "SealDamaged");

    // Moved to a vault of the same GUID with other keys.
    let (_, twin) = setting.create(VAULT, &target(&[&key])).unwrap();
    assert_eq!(code(twin.opener(ObjectType::Pack, &header)), "KeyCommitmentMismatch");
}

#[test]
fn what_does_not_open_is_wiped() {
    let (setting, _, keys) = Setting::with_two_layers();
    let (header, sealed) = seal(&keys, &setting.entropy, &[b"content"]);
    let mut bytes = sealed[0].clone();
    let opener = keys.opener(ObjectType::Pack, &header).unwrap();
    assert!(opener.open(0, b"other", true, &mut bytes).is_err());
    assert!(bytes.is_empty());
}

#[test]
fn no_key_and_nonce_serve_twice() {
    let (setting, _, _, keys) = Setting::with_vault();
    let mut salts = BTreeSet::new();
    let mut ciphertexts = BTreeSet::new();
    for _ in 0..100 {
        let (header, sealed) = seal(&keys, &setting.entropy, &[&b"the same"[..]; 10]);
        assert!(salts.insert(header[36..68].to_vec()));
        assert!(sealed.into_iter().all(|sealed| ciphertexts.insert(sealed)));
    }
}

#[test]
fn nothing_follows_the_last_position() {
    let (setting, _, _, keys) = Setting::with_vault();
    let mut sealer = keys.sealer(ObjectType::Point, &setting.entropy).unwrap();
    let mut bytes = b"plain".to_vec();
    sealer.seal(b"", true, &mut bytes).unwrap();
    let mut more = b"more".to_vec();
    assert_eq!(code(sealer.seal(b"", false, &mut more)), "SealFinished");
    assert_eq!(more, b"more");
}

#[test]
fn without_randomness_nothing_is_sealed() {
    struct NoEntropy;
    impl Entropy for NoEntropy {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyUnavailable> {
            Err(EntropyUnavailable("switched off".to_owned()))
        }
    }
    let (_, _, _, keys) = Setting::with_vault();
    assert_eq!(code(keys.sealer(ObjectType::Pack, &NoEntropy)), "EntropyUnavailable");
}

#[test]
fn id_keys_and_macs_differ_by_purpose_and_vault() {
    let (setting, key, ring, keys) = Setting::with_vault();
    let (_, other) = setting.create(VaultGuid::from_bytes([9; 16]), &target(&[&key])).unwrap();
    let id = |keys: &VaultKeys, purpose| keys.id_key(purpose).unwrap().expose().to_vec();
    let names = id(&keys, IdPurpose::ChunkNames);
    assert_eq!(names.len(), 32);
    assert_eq!(names, id(&setting.unlock(&ring).unwrap(), IdPurpose::ChunkNames));
    assert_ne!(names, id(&keys, IdPurpose::ChunkerTable));
    assert_ne!(names, id(&other, IdPurpose::ChunkNames));

    let tag = keys.mac(MacPurpose::LogEntry, 1, b"entry").unwrap();
    let check = |keys: &VaultKeys, purpose, generation, data: &[u8], tag: &[u8], expected: &str| {
        assert_eq!(code(keys.verify_mac(purpose, generation, data, tag)), expected);
    };
    check(&keys, MacPurpose::LogEntry, 1, b"entry", &tag, "no error");
    check(&keys, MacPurpose::LogEntry, 1, b"other", &tag, "MacMismatch");
    check(&keys, MacPurpose::Session, 1, b"entry", &tag, "MacMismatch");
    check(&keys, MacPurpose::LogEntry, 2, b"entry", &tag, "KeyGenerationUnknown");
    check(&keys, MacPurpose::LogEntry, 1, b"entry", &tag[..31], "MacMismatch");
    check(&other, MacPurpose::LogEntry, 1, b"entry", &tag, "MacMismatch");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "proptest-regressions/sealing.txt",
        ))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_sealed_opens_again(
        seed: u64,
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5_000), 1..6),
        aad in proptest::collection::vec(any::<u8>(), 0..100),
        two_layers: bool,
    ) {
        let keys = if two_layers { Setting::with_two_layers().2 } else { Setting::with_vault().3 };
        let mut sealer = keys.sealer(ObjectType::Index, &SeededEntropy::new(seed)).unwrap();
        let opener = keys.opener(ObjectType::Index, sealer.header()).unwrap();
        for (position, part) in parts.iter().enumerate() {
            let (mut bytes, last) = (part.clone(), position + 1 == parts.len());
            sealer.seal(&aad, last, &mut bytes).unwrap();
            prop_assert_eq!(bytes.len(), part.len() + keys.overhead_bytes());
            // In no other place, under no other name, and not as what it is not.
            let at = u32::try_from(position).unwrap();
            let other_aad = [aad.as_slice(), b"x"].concat();
            for (at, aad, last) in [(at + 1, &aad, last), (at, &other_aad, last), (at, &aad, !last)] {
                prop_assert!(opener.open(at, aad, last, &mut bytes.clone()).is_err());
            }
            opener.open(u32::try_from(position).unwrap(), &aad, last, &mut bytes).unwrap();
            prop_assert_eq!(&bytes, part);
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let keys = Setting::with_vault().3;
        prop_assert!(custody_envelope::Ring::parse(&bytes).is_err());
        prop_assert!(keys.opener(ObjectType::Pack, &bytes).is_err());
    }
}
