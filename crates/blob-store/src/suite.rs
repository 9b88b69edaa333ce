//! The contract of [`BlobStore`](crate::BlobStore) as tests, the same for every implementation.
//!
//! Each function takes a closure that makes a new, empty store and panics where the store breaks
//! the contract. [`run`] runs them all.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test suite says what is wrong by panicking"
)]

use std::collections::BTreeMap;
use std::sync::Barrier;

use crate::{BLOB_BYTES_MAX, BlobName, BlobStore, Creation, StoreError};

/// Threads that compete for a name.
const RIVALS: usize = 8;

/// Names they compete for.
const ROUNDS: usize = 50;

/// Runs the whole suite on stores that `make` makes, each new and empty.
pub fn run(make: &dyn Fn() -> Box<dyn BlobStore>) {
    keeps_what_it_is_given(&*make());
    creates_once(&*make());
    replaces(&*make());
    reads_ranges(&*make());
    lists_by_prefix(&*make());
    deletes(&*make());
    refuses_oversize(&*make());
    has_one_winner_among_threads(&*make());
    shows_replacements_whole(&*make());
}

/// What was created is read back, at every kind of size and name.
pub fn keeps_what_it_is_given(store: &dyn BlobStore) {
    let long = "a".repeat(200);
    let cases: [(&str, usize); 5] =
        [("a", 0), ("b/c", 1), ("b/d.e_f-0", 4_096), ("x/y/z/0000000001", 1 << 20), (&long, 3)];
    for (text, length) in cases {
        let bytes: Vec<u8> = (0..=250_u8).cycle().take(length).collect();
        assert_eq!(store.create(&name(text), &bytes), Ok(Creation::Created), "{text}");
        assert_eq!(store.read(&name(text)), Ok(Some(bytes)), "{text}");
        assert_eq!(store.size(&name(text)), Ok(Some(length as u64)), "{text}");
    }
    for absent in ["nothing", "b/nothing", "no/such/folder", "b"] {
        assert_eq!(store.read(&name(absent)), Ok(None), "{absent}");
        assert_eq!(store.size(&name(absent)), Ok(None), "{absent}");
        assert_eq!(store.read_range(&name(absent), 0, 1), Ok(None), "{absent}");
    }
}

/// A second creation changes nothing and says so; after a deletion the name is free again.
pub fn creates_once(store: &dyn BlobStore) {
    let object = name("log/0000000001");
    assert_eq!(store.create(&object, b"first"), Ok(Creation::Created));
    assert_eq!(store.create(&object, b"second, longer"), Ok(Creation::Exists));
    assert_eq!(store.create(&object, b"first"), Ok(Creation::Exists));
    assert_eq!(store.read(&object), Ok(Some(b"first".to_vec())));
    store.delete(&object).unwrap();
    assert_eq!(store.create(&object, b"third"), Ok(Creation::Created));
    assert_eq!(store.read(&object), Ok(Some(b"third".to_vec())));
}

/// `replace` makes and overwrites, to longer and to shorter.
pub fn replaces(store: &dyn BlobStore) {
    let object = name("heartbeat/a");
    for bytes in [&b"one"[..], b"longer than before", b""] {
        store.replace(&object, bytes).unwrap();
        assert_eq!(store.read(&object), Ok(Some(bytes.to_vec())));
    }
    assert_eq!(store.create(&object, b"x"), Ok(Creation::Exists));
}

/// Ranges are exact, and one that ends outside the object is an error, never shorter.
pub fn reads_ranges(store: &dyn BlobStore) {
    let object = name("packs/p");
    store.create(&object, b"0123456789").unwrap();
    let check = |offset: u64, length: usize, expected: Option<&[u8]>| {
        let short = StoreError::Short { name: object.clone(), length: 10 };
        let expected = expected.map(|bytes| Some(bytes.to_vec())).ok_or(short);
        assert_eq!(store.read_range(&object, offset, length), expected, "{offset}+{length}");
    };
    check(0, 10, Some(b"0123456789"));
    check(3, 4, Some(b"3456"));
    check(9, 1, Some(b"9"));
    check(10, 0, Some(b""));
    check(0, 0, Some(b""));
    check(0, 11, None);
    check(10, 1, None);
    check(11, 0, None);
    check(u64::MAX, 1, None);
    check(1, usize::MAX, None);
}

/// A prefix is a beginning of the name, not a folder.
pub fn lists_by_prefix(store: &dyn BlobStore) {
    let names = ["a", "log/0001", "log/0002", "log/1001", "logbook", "packs/aa/1", "packs/ab/22"];
    for (length, text) in names.iter().enumerate() {
        store.create(&name(text), &vec![0; length]).unwrap();
    }
    let check = |prefix: &str, expected: &[&str]| {
        let mut found = BTreeMap::new();
        store
            .list(prefix, &mut |name, length| {
                assert_eq!(found.insert(name.to_string(), length), None, "listed twice");
            })
            .unwrap();
        let expected: BTreeMap<String, u64> = names
            .iter()
            .zip(0..)
            .filter(|(name, _)| expected.contains(name))
            .map(|(name, length)| ((*name).to_owned(), length))
            .collect();
        assert_eq!(found, expected, "prefix {prefix:?}");
    };
    check("", &names);
    check("log", &["log/0001", "log/0002", "log/1001", "logbook"]);
    check("log/", &["log/0001", "log/0002", "log/1001"]);
    check("log/0", &["log/0001", "log/0002"]);
    check("log/0001", &["log/0001"]);
    check("packs/a", &["packs/aa/1", "packs/ab/22"]);
    check("packs/ab/", &["packs/ab/22"]);
    check("packs/ab/22/", &[]);
    check("none", &[]);
    check("../", &[]);
}

/// Deleting what is not there is no error.
pub fn deletes(store: &dyn BlobStore) {
    let object = name("packs/p");
    store.create(&object, b"bytes").unwrap();
    for _ in 0..2 {
        store.delete(&object).unwrap();
        assert_eq!(store.read(&object), Ok(None));
    }
    store.delete(&name("no/such/folder")).unwrap();
    store.delete(&name("packs")).unwrap();
}

/// More than the largest object is refused before anything is kept.
pub fn refuses_oversize(store: &dyn BlobStore) {
    let object = name("packs/large");
    let bytes = vec![0; BLOB_BYTES_MAX + 1];
    assert!(matches!(store.create(&object, &bytes), Err(StoreError::Refused(_))));
    assert!(matches!(store.replace(&object, &bytes), Err(StoreError::Refused(_))));
    assert_eq!(store.size(&object), Ok(None));
}

/// Of many threads that create one name, one wins, and its bytes stand.
pub fn has_one_winner_among_threads(store: &dyn BlobStore) {
    let barrier = Barrier::new(RIVALS);
    let wins: Vec<Vec<usize>> = std::thread::scope(|scope| {
        let rivals: Vec<_> = (0..RIVALS)
            .map(|rival| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut wins = Vec::new();
                    for round in 0..ROUNDS {
                        barrier.wait();
                        let bytes = rival.to_string();
                        let object = name(&format!("race/{round}"));
                        if store.create(&object, bytes.as_bytes()) == Ok(Creation::Created) {
                            wins.push(round);
                        }
                    }
                    wins
                })
            })
            .collect();
        rivals.into_iter().map(|rival| rival.join().expect("a rival panicked")).collect()
    });
    for round in 0..ROUNDS {
        let winners: Vec<_> = (0..RIVALS)
            .filter(|rival| wins.get(*rival).is_some_and(|wins| wins.contains(&round)))
            .collect();
        let [winner] = winners.as_slice() else {
            unreachable!("round {round} was won by {winners:?}")
        };
        let stands = store.read(&name(&format!("race/{round}"))).unwrap().unwrap();
        assert_eq!(stands, winner.to_string().into_bytes(), "round {round}");
    }
}

/// A reader beside a writer that replaces sees one whole or another, never a mixture.
pub fn shows_replacements_whole(store: &dyn BlobStore) {
    let object = name("heartbeat/whole");
    let long = vec![b'l'; 100_000];
    store.replace(&object, &long).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..ROUNDS {
                let bytes = if round % 2 == 0 { &b"short"[..] } else { &long };
                store.replace(&object, bytes).unwrap();
            }
        });
        while !writer.is_finished() {
            let seen = store.read(&object).unwrap().expect("it vanished for a moment");
            assert!(seen == b"short" || seen == long, "{} bytes were seen", seen.len());
        }
    });
}

fn name(text: &str) -> BlobName {
    text.parse().expect("a name of the suite is valid")
}
