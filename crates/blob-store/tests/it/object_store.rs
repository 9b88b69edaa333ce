//! A store such as clouds have, and asking it again.

use std::sync::Arc;
use std::time::Duration;

use custody_ambient::Clock;
use custody_blob_store::{BlobStore, Creation, RetryingStore, StoreError, suite};
use custody_test_world::faults::{Fault, FaultyStore, Moment};
use custody_test_world::object_store::{ObjectStore, Weather};
use custody_test_world::{FixedClock, SeededEntropy};

use crate::name;

fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock::at_text("2026-11-22T06:00:00Z"))
}

fn retrying(inner: Arc<dyn BlobStore>, clock: &Arc<FixedClock>) -> RetryingStore {
    RetryingStore::new(inner, Arc::clone(clock) as _, Arc::new(SeededEntropy::new(5)))
}

#[test]
fn an_object_store_keeps_the_contract_in_fair_weather() {
    suite::run(&|| Box::new(ObjectStore::new(clock(), 1)));
}

/// All but what the contract leaves open: a list may lag, and who gets no clear answer to a creation
/// finds out by his own bytes, which the suite's callers do not all have.
#[test]
fn asked_again_it_keeps_the_contract_in_foul_weather() {
    let seed = std::cell::Cell::new(0);
    suite::run(&|| {
        seed.set(seed.get() + 1);
        let clock = clock();
        let store = Arc::new(ObjectStore::new(Arc::clone(&clock), seed.get()));
        let (list_lag, delays_replacements) = (Duration::ZERO, false);
        store.set(Weather {
            list_lag,
            delays_replacements,
            reset_percent: 0,
            unavailable_percent: 10,
            ..Weather::foul()
        });
        Box::new(retrying(store, &clock))
    });
}

#[test]
fn a_lost_answer_to_a_creation_is_found_out() {
    let error = StoreError::Unavailable("reset".to_owned());
    let clock = clock();
    let inner = Arc::new(FaultyStore::new(Arc::new(ObjectStore::new(Arc::clone(&clock), 1))));
    let store = retrying(inner.clone(), &clock);
    let lose = |moment| {
        inner.plan(Fault { call: 0, moment, error: error.clone(), lasting: false });
    };
    lose(Moment::AfterEffect);
    assert_eq!(store.create(&name("a"), b"mine"), Ok(Creation::Created));
    lose(Moment::AfterEffect);
    assert_eq!(store.create(&name("a"), b"another's"), Ok(Creation::Exists));
    lose(Moment::BeforeEffect);
    assert_eq!(store.create(&name("b"), b"mine"), Ok(Creation::Created));
    assert_eq!(store.read(&name("a")), Ok(Some(b"mine".to_vec())));
}

#[test]
fn waits_grow_end_and_heed_what_the_store_asks_for() {
    let waited = |error: StoreError, lasting| {
        let clock = clock();
        let inner = Arc::new(FaultyStore::new(Arc::new(ObjectStore::new(Arc::clone(&clock), 1))));
        let store = retrying(inner.clone(), &clock);
        inner.plan(Fault { call: 0, moment: Moment::BeforeEffect, error, lasting });
        let before = clock.since_boot();
        let outcome = store.size(&name("a"));
        (outcome, clock.since_boot().saturating_sub(before).as_secs_f64(), inner.calls())
    };
    let away = StoreError::Unavailable("503".to_owned());
    let (outcome, seconds, calls) = waited(away.clone(), true);
    assert_eq!((outcome, calls), (Err(away.clone()), 7));
    assert!((6.0..13.0).contains(&seconds), "{seconds}");
    let (outcome, seconds, _) = waited(away, false);
    assert!(outcome == Ok(None) && (0.1..0.3).contains(&seconds), "{seconds}");

    let busy = |seconds| StoreError::Throttled {
        what: "429".to_owned(),
        after: Duration::from_secs(seconds),
    };
    let (outcome, seconds, _) = waited(busy(17), false);
    assert!(outcome == Ok(None) && (17.1..17.3).contains(&seconds), "{seconds}");
    assert_eq!(waited(busy(3_600), false).0, Err(busy(3_600)));

    for lasting in [
        StoreError::Full("none left".to_owned()),
        StoreError::Refused("no".to_owned()),
        StoreError::Device("broken".to_owned()),
    ] {
        let (outcome, seconds, calls) = waited(lasting.clone(), false);
        assert_eq!((outcome, calls), (Err(lasting), 1));
        assert!(seconds < 0.001);
    }
}

#[test]
fn what_was_just_created_is_asked_for_until_it_is_seen() {
    let clock = clock();
    let inner = Arc::new(ObjectStore::new(Arc::clone(&clock), 1));
    inner.set(Weather { read_lag: Duration::from_mins(1), ..Weather::default() });
    assert_eq!(inner.create(&name("a"), b"1"), Ok(Creation::Created));
    assert_eq!(inner.read(&name("a")), Ok(None));
    let store = retrying(inner.clone(), &clock);
    assert_eq!(store.create(&name("b"), b"2"), Ok(Creation::Created));
    assert_eq!(store.read(&name("b")), Ok(Some(b"2".to_vec())));
    // What another deleted is let go after a while.
    inner.delete(&name("b")).unwrap();
    assert_eq!(store.read(&name("b")), Ok(None));
}

#[test]
fn requests_have_their_time_and_price() {
    let clock = clock();
    let store = ObjectStore::new(Arc::clone(&clock), 1);
    let before = clock.since_boot();
    store.create(&name("a"), &vec![0; 50_000_000]).unwrap();
    store.read_range(&name("a"), 0, 1_000).unwrap();
    store.list("", &mut |_, _| {}).unwrap();
    store.delete(&name("a")).unwrap();
    let bill = store.bill();
    assert_eq!((bill.puts, bill.gets, bill.lists, bill.deletes), (1, 1, 1, 1));
    assert_eq!((bill.bytes, bill.nanodollars()), (50_001_000, 10_400));
    assert_eq!(clock.since_boot().saturating_sub(before).as_millis(), 1_120);
}
