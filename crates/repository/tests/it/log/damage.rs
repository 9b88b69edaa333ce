use custody_blob_store::{BlobStore, MemoryStore};
use custody_repository::log::{
    ForgetReason, HeadPin, Log, LogError, LogFault, LogParts, NewIntent, Prune, Survey, survey,
};

use super::world::{
    World, begin, entry_name, index_name, object, objects, pack_name, point, server,
};

/// A world with one entry of every kind, and the pin of its head.
fn every_kind() -> (World, HeadPin) {
    let world = World::new();
    let log = world.open();
    let session = begin(&log);
    session.commit(&point(1, &[1]), &|_| false).unwrap();
    session.commit(&point(2, &[2]), &|_| false).unwrap();
    session.end().unwrap();
    world.open_by(server(1)).forget(object(1), ForgetReason::Expired).unwrap();
    log.confirm().unwrap();
    let ring = custody_repository::log::EntryHash::from_bytes([3; 32]);
    log.keyring_changed(custody_repository::log::KeyringHead { number: 1, hash: ring }).unwrap();
    let pruner = begin(&log);
    let based_on = log.history().head().unwrap().number;
    let intent = NewIntent {
        based_on,
        doomed: objects(&[9]),
        packs: objects(&[3]),
        indexes: objects(&[3]),
        replaced_indexes: objects(&[2]),
    };
    pruner.intend(&intent).unwrap();
    pruner.end().unwrap();
    let prune = Prune::settled(&log.history()).unwrap().unwrap();
    prune.carry_out(&log, &pack_name, &index_name, &|_| ()).unwrap();
    log.checkpoint().unwrap();
    log.forget(object(2), ForgetReason::Requested).unwrap();
    let head = log.history().head().unwrap();
    (world, head)
}

/// A copy of the world's store in which entry `number` has other bytes, or none.
fn with_entry(world: &World, number: u64, bytes: Option<&[u8]>) -> LogParts {
    let store = MemoryStore::new();
    for other in 1.. {
        let Some(entry) = world.entry(other) else { break };
        match bytes {
            _ if other != number => drop(store.create(&entry_name(other), &entry)),
            Some(bytes) => drop(store.create(&entry_name(other), bytes)),
            None => {}
        }
    }
    LogParts { store: std::sync::Arc::new(store), ..world.parts() }
}

fn named(parts: &LogParts) -> (Result<(), u64>, Survey) {
    let opened = match Log::open(parts.clone(), None) {
        Ok(_) => Ok(()),
        Err(LogError::Fault { number, .. }) => Err(number),
        Err(error) => panic!("{error}"),
    };
    (opened, survey(parts).unwrap())
}

#[test]
fn every_flipped_byte_is_found_and_its_entry_named() {
    let (world, head) = every_kind();
    let whole = survey(&world.parts()).unwrap();
    assert_eq!((whole.faults.len(), whole.void.len()), (0, 0));
    let mut flips = 0;
    for number in 1..=head.number {
        let entry = world.entry(number).unwrap();
        for position in 0..entry.len() {
            let mut bytes = entry.clone();
            bytes[position] ^= 1 << (position % 8);
            let (opened, survey) = named(&with_entry(&world, number, Some(&bytes)));
            assert_eq!(opened, Err(number), "byte {position} of entry {number}");
            let named: Vec<_> = survey.faults.iter().map(|(number, _)| *number).collect();
            assert_eq!(named, [number], "byte {position} of entry {number}");
            flips += 1;
        }
    }
    assert!(flips > 1_000, "only {flips} bytes were flipped");
}

#[test]
fn cut_swapped_and_missing_entries_are_named() {
    let (world, head) = every_kind();
    for number in 1..=head.number {
        let entry = world.entry(number).unwrap();
        for length in [0, 1, entry.len() / 2, entry.len() - 1] {
            let (opened, _) = named(&with_entry(&world, number, Some(&entry[..length])));
            assert_eq!(opened, Err(number), "entry {number} cut to {length}");
        }
        let longer = [entry.as_slice(), b"x"].concat();
        assert_eq!(named(&with_entry(&world, number, Some(&longer))).0, Err(number));

        let other = world.entry(if number == 1 { 2 } else { number - 1 }).unwrap();
        let (opened, survey) = named(&with_entry(&world, number, Some(&other)));
        assert_eq!(opened, Err(number), "another entry in place of {number}");
        assert!(survey.faults.iter().any(|(named, _)| *named == number));

        let parts = with_entry(&world, number, None);
        if number < head.number {
            let (opened, survey) = named(&parts);
            assert_eq!(opened, Err(number), "entry {number} missing");
            assert_eq!(survey.faults, [(number, LogFault::Missing)]);
        } else {
            let cut = Log::open(parts, None).unwrap();
            assert_eq!(cut.check_pin(head).unwrap_err().code(), "RepositoryRolledBack");
        }
    }
}

#[test]
fn one_bad_entry_costs_no_other() {
    let (world, _) = every_kind();
    // Entry 3 commits point 1, entry 4 point 2; the last entry forgets point 2.
    let (_, survey) = named(&with_entry(&world, 3, Some(b"rubbish")));
    assert!(survey.history.tombstones().contains_key(&object(2)));
    assert!(survey.history.packs().contains(&object(3)));
    let (_, survey) = named(&with_entry(&world, 5, None));
    assert!(survey.history.tombstones().contains_key(&object(2)));
}

#[test]
fn a_newer_format_is_refused_whole() {
    let (world, head) = every_kind();
    for number in [1, head.number] {
        let mut bytes = world.entry(number).unwrap();
        bytes.truncate(bytes.len() - 32);
        bytes[7] = 2;
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        bytes.extend_from_slice(sum.as_ref());
        let parts = with_entry(&world, number, Some(&bytes));
        let fault = LogFault::NewerFormat(2);
        let refused = LogError::Fault { number, fault };
        assert_eq!(Log::open(parts.clone(), None).err(), Some(refused.clone()));
        assert_eq!(survey(&parts).err(), Some(refused));
    }
}

#[test]
fn a_checksum_that_fits_does_not_make_a_forgery_good() {
    let (world, head) = every_kind();
    for number in 1..=head.number {
        let entry = world.entry(number).unwrap();
        let content = entry.len() - 32;
        for position in 8..content {
            let mut bytes = entry[..content].to_vec();
            bytes[position] ^= 1;
            let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
            bytes.extend_from_slice(sum.as_ref());
            let (opened, _) = named(&with_entry(&world, number, Some(&bytes)));
            assert!(opened.is_err(), "byte {position} of entry {number} was forged");
        }
    }
}
