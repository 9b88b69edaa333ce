//! Keyrings in the store: numbered, each twice. What a ring says is `custody-envelope`'s business.

use std::collections::BTreeSet;

use custody_blob_store::{BlobName, BlobStore, Creation};

use crate::RepositoryError;

/// The two places of every ring.
const PLACES: [&str; 2] = ["", ".copy"];

/// The keyrings of one store.
#[derive(Clone, Copy)]
pub struct Rings<'s> {
    store: &'s dyn BlobStore,
}

impl<'s> Rings<'s> {
    /// The rings in `store`.
    pub fn new(store: &'s dyn BlobStore) -> Self {
        Self { store }
    }

    /// Stores ring `number` in both places. The same bytes may be stored again.
    ///
    /// # Errors
    /// [`RepositoryError::AlreadyExists`] if another ring has the number: read it, it is newer.
    pub fn create(&self, number: u64, bytes: &[u8]) -> Result<(), RepositoryError> {
        for place in PLACES {
            let name = name(number, place)?;
            let taken = self.store.create(&name, bytes)? == Creation::Exists;
            if taken && self.store.read(&name)?.as_deref() != Some(bytes) {
                return Err(RepositoryError::AlreadyExists);
            }
        }
        Ok(())
    }

    /// The highest number of a ring, or none if there is no ring. A lagging listing is made up
    /// for by reading on from `at_least`, the newest number on record.
    pub fn newest(&self, at_least: u64) -> Result<Option<u64>, RepositoryError> {
        let mut newest = None;
        self.store.list("keys/", &mut |name, _| newest = newest.max(number_in(&name)))?;
        let mut next = newest.map_or(at_least, |newest| newest.max(at_least)).max(1);
        while !self.candidates(next)?.is_empty() {
            newest = newest.max(Some(next));
            next += 1;
        }
        Ok(newest)
    }

    /// The bytes that stand for ring `number`: one candidate if both places agree, two if they
    /// do not; which is genuine only the keys can tell.
    pub fn candidates(&self, number: u64) -> Result<Vec<Vec<u8>>, RepositoryError> {
        let mut candidates: Vec<Vec<u8>> = Vec::new();
        for place in PLACES {
            candidates.extend(self.store.read(&name(number, place)?)?);
        }
        candidates.dedup();
        Ok(candidates)
    }

    /// The names of both places of ring `number`.
    pub(crate) fn names(number: u64) -> Result<Vec<BlobName>, RepositoryError> {
        PLACES.iter().map(|place| name(number, place)).collect()
    }

    /// Makes both places hold the genuine ring; returns whether one had to be mended.
    pub fn mend(&self, number: u64, genuine: &[u8]) -> Result<bool, RepositoryError> {
        let mut mended = false;
        for place in PLACES {
            let name = name(number, place)?;
            if self.store.read(&name)?.as_deref() != Some(genuine) {
                self.store.replace(&name, genuine)?;
                mended = true;
            }
        }
        Ok(mended)
    }

    /// Deletes every ring below `number`: after a rewrap none may open with the old key. A lagging
    /// listing is made up for by going down from `number` as long as rings stand.
    pub fn delete_below(&self, number: u64) -> Result<(), RepositoryError> {
        let mut old = BTreeSet::new();
        self.store.list("keys/", &mut |name, _| {
            if number_in(&name).is_some_and(|found| found < number) {
                old.insert(name);
            }
        })?;
        for earlier in (1..number).rev() {
            if self.candidates(earlier)?.is_empty() {
                break;
            }
            old.extend(Self::names(earlier)?);
        }
        for name in old {
            self.store.delete(&name)?;
        }
        Ok(())
    }
}

fn name(number: u64, place: &str) -> Result<BlobName, RepositoryError> {
    Ok(format!("keys/ring-{number:010}{place}").parse()?)
}

fn number_in(name: &BlobName) -> Option<u64> {
    let number = name.as_str().strip_prefix("keys/ring-")?;
    number.strip_suffix(".copy").unwrap_or(number).parse().ok()
}
