//! A store on a simulated disk that marks in the disk's recording what it has answered for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use custody_blob_store::{BlobName, BlobStore, Creation, DiskStore, StoreError};
use custody_test_world::disk::{Image, SimulatedDisk};

/// All bytes that were ever given under a name.
pub(super) type Given = Arc<Mutex<BTreeMap<String, BTreeSet<Vec<u8>>>>>;

/// See the module.
pub(super) struct Telling {
    disk: SimulatedDisk,
    inner: DiskStore<SimulatedDisk>,
    given: Given,
}

impl Telling {
    pub(super) fn over(disk: &SimulatedDisk, given: &Given) -> Arc<Self> {
        let inner = DiskStore::create_in(disk.clone(), disk.top()).unwrap();
        Arc::new(Self { disk: disk.clone(), inner, given: Arc::clone(given) })
    }

    fn give(&self, name: &BlobName, bytes: &[u8]) {
        let mut given = self.given.lock().unwrap();
        given.entry(name.to_string()).or_default().insert(bytes.to_vec());
    }
}

/// What a store must still hold: what it answered for and was not told to delete. What else it holds
/// is something that it was given.
pub(super) fn keeps_its_contract(what: &str, image: &Image, given: &Given, marks: &[&str]) {
    let mut standing = BTreeSet::new();
    for mark in marks {
        match mark.split_once(' ') {
            Some(("stands", name)) => drop(standing.insert(name)),
            Some(("deleting", name)) => drop(standing.remove(name)),
            _ => {}
        }
    }
    let given = given.lock().unwrap();
    for (path, bytes) in image.files().filter(|(path, _)| !path.starts_with('.')) {
        standing.remove(path);
        let is_whole = given.get(path).is_some_and(|given| given.contains(bytes));
        assert!(is_whole, "{what}: {path} holds {} bytes nobody gave it", bytes.len());
    }
    assert!(standing.is_empty(), "{what}: {standing:?} was answered for and is gone");
}

impl BlobStore for Telling {
    fn create(&self, name: &BlobName, bytes: &[u8]) -> Result<Creation, StoreError> {
        self.give(name, bytes);
        let created = self.inner.create(name, bytes)?;
        self.disk.mark(format!("stands {name}"));
        Ok(created)
    }

    fn replace(&self, name: &BlobName, bytes: &[u8]) -> Result<(), StoreError> {
        self.give(name, bytes);
        self.inner.replace(name, bytes)?;
        self.disk.mark(format!("stands {name}"));
        Ok(())
    }

    fn read(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read(name)
    }

    fn read_range(
        &self,
        name: &BlobName,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read_range(name, offset, length)
    }

    fn size(&self, name: &BlobName) -> Result<Option<u64>, StoreError> {
        self.inner.size(name)
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(BlobName, u64)) -> Result<(), StoreError> {
        self.inner.list(prefix, visit)
    }

    fn delete(&self, name: &BlobName) -> Result<(), StoreError> {
        self.disk.mark(format!("deleting {name}"));
        self.inner.delete(name)
    }
}
