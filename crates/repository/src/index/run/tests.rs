use std::sync::Arc;

use custody_ambient::{Clock, Entropy};
use custody_blob_store::MemoryStore;
use custody_envelope::{Failover, KeyAccess, KeyTarget, VaultKeys, WrapAlgorithm, WrapKey, create};
use custody_names::VaultGuid;
use custody_test_world::keks::MemoryKeks;
use custody_test_world::{FixedClock, SeededEntropy};

use super::super::writer::RunWriter;
use super::*;

fn vault_keys() -> VaultKeys {
    let clock: Arc<dyn Clock> = Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z"));
    let keks = MemoryKeks::new();
    let key = keks.add_version("kv1", "k1");
    let target = KeyTarget {
        keys: vec![WrapKey { key, algorithm: WrapAlgorithm::RsaOaep256 }],
        infrastructure: Vec::new(),
        failover: Failover::Stop,
    };
    let access = KeyAccess { keys: &keks, allowed: &|_| true, clock: &clock };
    let vault = VaultGuid::from_bytes([7; 16]);
    create(vault, &target, &access, &SeededEntropy::new(7)).unwrap().1
}

/// A name that ends in this number, evenly spread or all alike but for it.
fn name(number: u64, is_spread: bool) -> ChunkName {
    let mut name =
        if is_spread { *blake3::hash(&number.to_be_bytes()).as_bytes() } else { [9; 32] };
    name[24..].copy_from_slice(&number.to_be_bytes());
    ChunkName(name)
}

/// Places of the even numbers below `count`, of some more than one.
fn places(count: u64, is_spread: bool) -> Vec<Place> {
    let mut places = Vec::new();
    for number in (0..count).step_by(2) {
        let copies = if number % 50 == 0 { 3 } else { 1 };
        let name = name(number, is_spread);
        let group = |copy: u64| u32::try_from(number * 3 + copy).unwrap();
        places.extend((0..copies).map(|copy| Place {
            name,
            group: group(copy),
            offset: 7,
            length: 9,
        }));
    }
    places.sort_unstable();
    places
}

#[test]
fn what_is_in_a_run_is_found_and_nothing_else() {
    let (vault, entropy) = (vault_keys(), SeededEntropy::new(3));
    let entropy: &dyn Entropy = &entropy;
    let keys = Keys { vault: &vault, entropy };
    // (names, as many as the filter is made for, evenly spread, bytes of filters in memory)
    for (count, expected, is_spread, filter_bytes) in [
        (0, 0, true, 0),
        (1, 1, true, 4_096),
        (8_000, 4_000, true, 1 << 20),
        (8_000, 4_000, true, 4_096),
        (8_000, 4_000, true, 0),
        (8_000, 100, true, 4_096),
        (600, 1_000_000, true, 4_096),
        (2_000, 1_000, false, 4_096),
        (2_000, 100_000, false, 1 << 20),
    ] {
        let about = format!("{count} names, {expected} expected, {is_spread}, {filter_bytes}");
        let (store, id) = (MemoryStore::new(), [5; 16]);
        let mut writer = RunWriter::new(&store, keys, id, expected);
        let packs: Vec<_> =
            (0..300_u64).map(|pack| (ObjectId::of(&pack.to_be_bytes()), pack)).collect();
        for (id, length) in &packs {
            writer.pack(*id, *length).unwrap();
        }
        let places = places(count, is_spread);
        for place in &places {
            writer.place(place).unwrap();
        }
        writer.finish(&BTreeSet::new()).unwrap();

        let mut run = Run::open(&store, keys, id).unwrap().unwrap();
        run.share(1, run.filter_blocks(), filter_bytes);
        assert!(run.filter_bytes() <= filter_bytes, "{about}");
        assert_eq!(run.chunk_count(), places.len() as u64);
        let numbered: Vec<(u64, Place)> = (0..).zip(places).collect();
        let mut names: Vec<ChunkName> = (0..count + 10).map(|one| name(one, is_spread)).collect();
        for name in &names {
            let expected: Vec<_> =
                numbered.iter().filter(|(_, place)| place.name == *name).copied().collect();
            if count < 1_000 || name.0[31] % 16 < 2 {
                assert_eq!(run.find(name).unwrap(), expected, "{about}");
            }
        }
        names.sort_unstable();
        let mut found = Vec::new();
        run.find_all(&names, &mut |asked, number, place| {
            assert_eq!(names[asked], place.name);
            found.push((number, place));
        })
        .unwrap();
        assert_eq!(found, numbered, "{about}");

        let mut found = Vec::new();
        run.each_pack(&mut |id, length| found.push((id, length))).unwrap();
        assert_eq!(found, packs);
        assert_eq!(run.pack_sum, PackSum::of(packs.iter().map(|(id, _)| id)));
        for (number, pack) in (0..).zip(&packs) {
            assert_eq!(run.pack(number).unwrap(), Some(*pack));
        }
        assert_eq!(run.pack(300).unwrap(), None);
    }
}

#[test]
fn a_filter_rules_most_out() {
    let (vault, entropy) = (vault_keys(), SeededEntropy::new(3));
    let keys = Keys { vault: &vault, entropy: &entropy };
    // (names, as many as the filter is made for) -> at most so many of 10,000 others
    for (count, expected, others_max) in [(1, 1, 0), (50_000, 50_000, 20), (50_000, 12_500, 4_000)]
    {
        let (store, id) = (MemoryStore::new(), [5; 16]);
        let mut writer = RunWriter::new(&store, keys, id, expected);
        let mut names: Vec<_> = (0..count).map(|number| name(number, true)).collect();
        names.sort_unstable();
        for name in names {
            writer.place(&Place { name, group: 0, offset: 0, length: 1 }).unwrap();
        }
        writer.finish(&BTreeSet::new()).unwrap();
        let mut run = Run::open(&store, keys, id).unwrap().unwrap();
        run.share(1, 1, usize::MAX);
        let others = (1_000_000..1_010_000).map(|number| name(number, true));
        let others = others.filter(|name| run.filter.find(name).unwrap().is_some()).count();
        assert!(others <= others_max, "{count} names, {expected} expected: {others}");
    }
}
