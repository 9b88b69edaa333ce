//! The contract over every implementation, and what only a disk can do wrong.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod disk;
mod faults;
mod object_store;
mod processes;

use std::sync::Arc;

use custody_blob_store::{DiskStore, MemoryStore, suite};
use custody_test_world::faults::FaultyStore;

#[test]
fn memory_keeps_the_contract() {
    suite::run(&|| Box::new(MemoryStore::new()));
}

#[test]
fn disk_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    suite::run(&|| {
        number.set(number.get() + 1);
        Box::new(DiskStore::create(&folder.path().join(number.get().to_string())).unwrap())
    });
}

#[test]
fn a_faulty_store_without_faults_keeps_the_contract() {
    suite::run(&|| Box::new(FaultyStore::new(Arc::new(MemoryStore::new()))));
}

fn name(text: &str) -> custody_blob_store::BlobName {
    text.parse().unwrap()
}
