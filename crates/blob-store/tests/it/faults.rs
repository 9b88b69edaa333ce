use std::sync::Arc;

use custody_blob_store::{BlobStore, Creation, MemoryStore, StoreError};
use custody_test_world::faults::{Fault, FaultyStore, Moment};

use crate::name;

fn faulty() -> (Arc<MemoryStore>, FaultyStore) {
    let inner = Arc::new(MemoryStore::new());
    (Arc::clone(&inner), FaultyStore::new(inner))
}

#[test]
fn a_call_fails_before_or_after_its_effect() {
    let error = StoreError::Unavailable("reset".to_owned());
    let check = |moment, expected: Option<&[u8]>| {
        let (inner, store) = faulty();
        store.plan(Fault { call: 1, moment, error: error.clone(), lasting: false });
        assert_eq!(store.create(&name("a"), b"a"), Ok(Creation::Created));
        assert_eq!(store.create(&name("b"), b"b"), Err(error.clone()));
        assert_eq!(inner.read(&name("b")), Ok(expected.map(<[u8]>::to_vec)), "{moment:?}");
        assert!(store.create(&name("b"), b"b").is_ok());
    };
    check(Moment::BeforeEffect, None);
    check(Moment::AfterEffect, Some(b"b"));
}

#[test]
fn a_lasting_fault_ends_everything_until_healed() {
    let (inner, store) = faulty();
    let error = StoreError::Device("gone".to_owned());
    let moment = Moment::AfterEffect;
    store.plan(Fault { call: 0, moment, error: error.clone(), lasting: true });
    assert_eq!(store.create(&name("a"), b"a"), Err(error.clone()));
    assert_eq!(store.create(&name("b"), b"b"), Err(error.clone()));
    assert_eq!(store.read(&name("a")), Err(error));
    assert_eq!((inner.size(&name("a")), inner.size(&name("b"))), (Ok(Some(1)), Ok(None)));
    store.heal();
    assert_eq!(store.read(&name("a")), Ok(Some(b"a".to_vec())));
}

#[test]
fn a_lagging_list_shows_an_earlier_state() {
    let (_, store) = faulty();
    store.lag_listing(2);
    store.create(&name("log/1"), b"1").unwrap();
    store.create(&name("log/2"), b"2").unwrap();
    store.delete(&name("log/1")).unwrap();
    let mut seen = Vec::new();
    store.list("log/", &mut |name, _| seen.push(name.to_string())).unwrap();
    assert_eq!(seen, ["log/1"]);
}
