use std::sync::Arc;

use custody_blob_store::{BlobStore, StoreError};
use custody_names::VaultGuid;
use custody_repository::log::{
    Body, CHECKPOINT_ENTRIES, Checkpoint, ForgetReason, HeadPin, KeyringHead, Log, LogError,
    LogFault, LogParts, TrustedServers, VoidReason,
};
use custody_test_world::faults::{Fault, FaultyStore, Moment};

use super::world::{TestKey, World, begin, entry_name, genesis, object, point, server, server_key};

fn ring(number: u64) -> KeyringHead {
    KeyringHead { number, hash: custody_repository::log::EntryHash::from_bytes([2; 32]) }
}

fn code<T>(outcome: Result<T, LogError>) -> &'static str {
    outcome.map_or_else(|error| error.code(), |_| "Ok")
}

#[test]
fn a_log_begins_once() {
    let world = World::empty();
    assert_eq!(code(Log::open(world.parts(), None)), "RepositoryLogAbsent");
    Log::create(world.parts(), genesis()).unwrap();
    assert_eq!(code(Log::create(world.parts(), genesis())), "RepositoryLogPresent");
    let history = world.open().history();
    assert_eq!(history.genesis(), Some(&genesis()));
    assert_eq!(history.head().unwrap().number, 1);
}

#[test]
fn writers_see_what_they_lost_to() {
    let world = World::new();
    let (a, b) = (world.open(), world.open());
    let session = begin(&a);
    session.commit(&point(1, &[1]), &|_| false).unwrap();
    // b has read nothing since the genesis.
    assert_eq!(b.history().head().unwrap().number, 1);
    b.forget(object(1), ForgetReason::Requested).unwrap();
    assert_eq!(code(a.forget(object(1), ForgetReason::Requested)), "RepositoryPointUnknown");
    session.end().unwrap();
    assert_eq!(*b.refresh().unwrap(), *a.refresh().unwrap());
    assert_eq!(*world.open().history(), *a.history());
    assert_eq!(b.history().missing(&[object(1), object(2)]), [object(2)]);
}

#[test]
fn reading_begins_at_a_checkpoint() {
    let world = World::new();
    let log = world.open();
    let session = begin(&log);
    session.commit(&point(1, &[1, 2]), &|_| false).unwrap();
    log.keyring_changed(ring(3)).unwrap();
    let pin = log.checkpoint().unwrap();
    log.forget(object(1), ForgetReason::Expired).unwrap();

    // What lies before is not needed.
    world.store.delete(&entry_name(2)).unwrap();
    let late = Log::open(world.parts(), Some(pin)).unwrap();
    assert_eq!(*late.history(), *log.history());
    let other = HeadPin { number: 2, ..pin };
    assert_eq!(code(Log::open(world.parts(), Some(other))), "RepositoryRolledBack");
    let no_checkpoint = log.history().head();
    assert_eq!(code(Log::open(world.parts(), no_checkpoint)), "RepositoryLogDamaged");
}

#[test]
fn a_checkpoint_is_written_when_it_is_due_and_begun_at_when_it_is_good() {
    let world = World::new();
    let log = world.open();
    let session = begin(&log);
    session.commit(&point(1, &[1, 2]), &|_| false).unwrap();
    for number in log.history().head().unwrap().number..CHECKPOINT_ENTRIES {
        log.checkpoint_if_due().unwrap();
        assert_eq!(log.newest_checkpoint(), None, "{number}");
        log.keyring_changed(ring(number)).unwrap();
    }
    let keyless = world.open_by(server(1));
    keyless.forget(object(1), ForgetReason::Requested).unwrap();
    // Nobody with the key has looked at what the server did.
    log.refresh().unwrap();
    log.checkpoint_if_due().unwrap();
    assert_eq!((log.newest_checkpoint(), code(log.checkpoint())), (None, "RepositoryUnconfirmed"));
    log.confirm().unwrap();
    log.checkpoint_if_due().unwrap();
    log.checkpoint_if_due().unwrap();
    let pin = log.newest_checkpoint().unwrap();
    assert_eq!((pin.number, log.history().head()), (CHECKPOINT_ENTRIES + 3, Some(pin)));
    session.end().unwrap();
    // Another who reads all of it may keep it too.
    assert_eq!(world.open().newest_checkpoint(), Some(pin));

    let other = HeadPin { number: 2, ..pin };
    let bytes = world.entry(pin.number).unwrap();
    let cut = &bytes[..bytes.len() - 1];
    // (pin, what stands there) -> is reading begun there, what comes of it
    for (start, bytes, is_begun, outcome) in [
        (Some(pin), Some(bytes.as_slice()), true, "Ok"),
        (Some(other), Some(bytes.as_slice()), false, "Ok"),
        (log.history().head(), Some(bytes.as_slice()), false, "Ok"),
        (None, Some(bytes.as_slice()), false, "Ok"),
        (Some(pin), Some(cut), false, "RepositoryLogDamaged"),
        (Some(pin), None, false, "RepositoryLogGap"),
    ] {
        world.store.delete(&entry_name(pin.number)).unwrap();
        bytes.map(|bytes| world.store.create(&entry_name(pin.number), bytes).unwrap());
        let counted = Arc::new(FaultyStore::new(world.store.clone()));
        let opened = Log::open_from(world.parts_over(counted.clone()), start);
        assert_eq!(counted.calls() < 20, is_begun, "{start:?}: {} calls", counted.calls());
        if let Ok(opened) = &opened {
            assert_eq!(*opened.history(), *log.history());
            assert_eq!(opened.newest_checkpoint(), Some(pin));
        }
        assert_eq!(code(opened), outcome);
    }
}

#[test]
fn a_checkpoint_of_unconfirmed_entries_is_not_begun_at() {
    let world = World::new();
    let log = world.open();
    begin(&log).commit(&point(1, &[1]), &|_| false).unwrap();
    world.open_by(server(1)).forget(object(1), ForgetReason::Requested).unwrap();
    let state = log.refresh().unwrap();
    let body = Body::Checkpoint(Checkpoint { state: minicbor::to_vec(&*state).unwrap().into() });
    let pin = log.append(&mut |_| Ok(body.clone())).unwrap();
    let late = Log::open_from(world.parts(), Some(pin)).unwrap();
    // Begun there, it would take the stranger's word.
    late.confirm().unwrap();
    assert!(late.history().points().contains_key(&object(1)));
}

#[test]
fn a_ring_is_told_behind_a_head_that_was_seen() {
    let world = World::new();
    let log = world.open();
    log.keyring_changed(ring(2)).unwrap();
    let seen = log.history().head().unwrap();
    let session = begin(&log);
    session.commit(&point(1, &[1, 2]), &|_| false).unwrap();

    // What lies before is not read, what lies behind is.
    let before = world.store.read(&entry_name(1)).unwrap().unwrap();
    world.store.delete(&entry_name(1)).unwrap();
    let told = Log::tell_keyring(world.parts(), seen, ring(3)).unwrap();
    let again = Log::tell_keyring(world.parts(), seen, ring(3));
    assert_eq!(code(again), "RepositoryKeyringOlder");
    world.store.create(&entry_name(1), &before).unwrap();
    let history = world.open().history();
    assert_eq!((history.head(), history.points().len()), (Some(told), 1));
    // Behind that entry its sender does not see that there is a newer ring: everyone else does.
    let late = Log::tell_keyring(world.parts(), told, ring(2)).unwrap();
    let open = world.open().history();
    assert_eq!((open.head(), open.keyring()), (Some(late), Some(&ring(3))));
    let other = HeadPin { number: 1, ..seen };
    assert_eq!(code(Log::tell_keyring(world.parts(), other, ring(4))), "RepositoryRolledBack");
}

#[test]
fn telling_a_ring_costs_the_same_however_many_points_there_are() {
    let cost = |points: u8| {
        let world = World::new();
        let log = world.open();
        let session = begin(&log);
        for number in 1..=points {
            session.commit(&point(number, &[number]), &|_| false).unwrap();
        }
        let seen = log.history().head().unwrap();
        let store = Arc::new(FaultyStore::new(world.store.clone()));
        Log::tell_keyring(world.parts_over(store.clone()), seen, ring(2)).unwrap();
        store.calls()
    };
    assert_eq!(cost(1), cost(200));
}

#[test]
fn an_unclear_answer_makes_no_second_entry() {
    let unavailable = StoreError::Unavailable("reset".to_owned());
    let full = StoreError::Full("no room".to_owned());
    // (error, when, for ever) -> what the writer is told, and whether the entry stands
    let check = |error: &StoreError, moment, lasting, expected: &str, stands: bool| {
        let world = World::new();
        let store = Arc::new(FaultyStore::new(world.store.clone()));
        let log = Log::open(world.parts_over(store.clone()), None).unwrap();
        // The call after those that find the head is the creation.
        let before = store.calls();
        log.refresh().unwrap();
        let call = store.calls() - before;
        store.plan(Fault { call, moment, error: error.clone(), lasting });
        assert_eq!(code(log.keyring_changed(ring(1))), expected, "{error:?} {moment:?} {lasting}");
        store.heal();
        assert_eq!(world.entry(2).is_some(), stands, "{error:?} {moment:?} {lasting}");
        assert_eq!(world.entry(3), None);
        assert_eq!(log.refresh().unwrap().keyring(), stands.then_some(&ring(1)));
    };
    for error in [&unavailable, &full] {
        check(error, Moment::BeforeEffect, false, "Ok", true);
        check(error, Moment::AfterEffect, false, "Ok", true);
        check(error, Moment::AfterEffect, true, "RepositoryLogUnclear", true);
        check(error, Moment::BeforeEffect, true, "RepositoryLogUnclear", false);
    }
}

#[test]
fn a_full_store_has_clearly_not_taken_the_entry() {
    let world = World::new();
    let log = Log::open(world.parts_over(Arc::new(Full(world.store.clone()))), None).unwrap();
    assert_eq!(code(log.keyring_changed(ring(1))), "StoreFull");
}

/// Reads well and has no room.
struct Full(Arc<custody_blob_store::MemoryStore>);

impl BlobStore for Full {
    fn create(
        &self,
        _: &custody_blob_store::BlobName,
        _: &[u8],
    ) -> Result<custody_blob_store::Creation, StoreError> {
        Err(StoreError::Full("no room".to_owned()))
    }
    fn replace(&self, _: &custody_blob_store::BlobName, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::Full("no room".to_owned()))
    }
    fn read(&self, name: &custody_blob_store::BlobName) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.read(name)
    }
    fn read_range(
        &self,
        name: &custody_blob_store::BlobName,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.read_range(name, offset, length)
    }
    fn size(&self, name: &custody_blob_store::BlobName) -> Result<Option<u64>, StoreError> {
        self.0.size(name)
    }
    fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(custody_blob_store::BlobName, u64),
    ) -> Result<(), StoreError> {
        self.0.list(prefix, visit)
    }
    fn delete(&self, name: &custody_blob_store::BlobName) -> Result<(), StoreError> {
        self.0.delete(name)
    }
}

#[test]
fn entries_of_others_are_refused() {
    let world = World::new();
    let foreign = LogParts { vault: VaultGuid::from_bytes([8; 16]), ..world.parts() };
    assert_eq!(code(Log::open(foreign, None)), "RepositoryForeignVault");

    let other_key = TestKey { secret: 2, trusted: TrustedServers::default() };
    let forger = LogParts { authenticator: Arc::new(other_key), ..world.parts() };
    assert_eq!(code(Log::open(forger, None)), "RepositoryLogForged");
}

#[test]
fn what_needs_the_key_is_refused_without_it() {
    let world = World::new();
    let log = world.open();
    begin(&log).commit(&point(1, &[1]), &|_| false).unwrap();
    let keyless = world.open_by(server(1));
    assert_eq!(code(keyless.keyring_changed(ring(1))), "RepositoryEntryNeedsKey");
    assert_eq!(code(keyless.checkpoint()), "RepositoryEntryNeedsKey");
    assert_eq!(code(keyless.forget(object(1), ForgetReason::Requested)), "Ok");
    assert!(log.refresh().unwrap().points().is_empty());
}

#[test]
fn entries_made_without_the_key_are_confirmed_or_rejected() {
    let world = World::new();
    let log = world.open();
    let session = begin(&log);
    session.commit(&point(1, &[1]), &|_| false).unwrap();
    session.commit(&point(2, &[2]), &|_| false).unwrap();
    session.end().unwrap();
    let (known, stranger) = (world.open_by(server(1)), world.open_by(server(2)));
    known.forget(object(1), ForgetReason::ItemDeleted).unwrap();
    stranger.forget(object(2), ForgetReason::Requested).unwrap();

    let trusted = TrustedServers(vec![server_key(1)]);
    let holder = world.open_by(TestKey { secret: 1, trusted });
    assert_eq!(holder.history().unconfirmed().len(), 2);
    assert!(holder.history().points().is_empty());
    holder.confirm().unwrap().unwrap();
    let history = log.refresh().unwrap();
    assert!(history.unconfirmed().is_empty());
    assert_eq!(history.points().keys().collect::<Vec<_>>(), [&object(2)]);
    assert_eq!(history.tombstones().keys().collect::<Vec<_>>(), [&object(1)]);
    assert_eq!(holder.confirm(), Ok(None));
}

#[test]
fn a_store_put_back_is_noticed() {
    let world = World::new();
    let log = world.open();
    log.keyring_changed(ring(1)).unwrap();
    let seen = log.keyring_changed(ring(2)).unwrap();
    assert_eq!(log.check_pin(seen), Ok(()));
    let newer = log.keyring_changed(ring(3)).unwrap();
    assert_eq!(log.check_pin(seen), Ok(()), "an older pin still holds");

    world.store.delete(&entry_name(4)).unwrap();
    let old = world.open();
    assert_eq!(old.check_pin(seen), Ok(()));
    let gone = LogError::RolledBack { pinned: newer, found: None };
    assert_eq!(old.check_pin(newer), Err(gone.clone()));
    assert_eq!(gone.code(), "RepositoryRolledBack");

    let fork = old.keyring_changed(ring(4)).unwrap();
    let found = Some(fork.hash);
    assert_eq!(old.check_pin(newer), Err(LogError::RolledBack { pinned: newer, found }));
    // Who had read the other history notices without a pin.
    old.keyring_changed(ring(5)).unwrap();
    let broken = LogError::Fault { number: 5, fault: LogFault::ChainBroken };
    assert_eq!(log.refresh(), Err(broken));
}

#[test]
fn decisions_may_refuse() {
    let world = World::new();
    let log = world.open();
    let refused = log.append(&mut |_| Err(LogError::Busy(7)));
    assert_eq!(refused, Err(LogError::Busy(7)));
    let void = log.append(&mut |_| Ok(Body::Genesis(genesis())));
    let reason = VoidReason::GenesisMisplaced;
    assert_eq!(void, Err(LogError::Refused { kind: "genesis", reason }));
    assert_eq!(world.entry(2), None);
}
