//! A store over a disk with a bad sector.

use std::sync::{Arc, Mutex};

use custody_blob_store::{BlobName, BlobStore, Creation, StoreError};

/// Hands every call to the store within; reading one byte of one object fails as a disk's would.
pub(crate) struct BadSector {
    inner: Arc<dyn BlobStore>,
    at: Mutex<Option<(BlobName, u64)>>,
}

impl BadSector {
    /// All is well yet.
    pub(crate) fn new(inner: Arc<dyn BlobStore>) -> Self {
        Self { inner, at: Mutex::default() }
    }

    /// From now on this byte, and no other, cannot be read.
    pub(crate) fn break_at(&self, name: &BlobName, at: u64) {
        *self.at.lock().unwrap() = Some((name.clone(), at));
    }

    fn try_read(&self, name: &BlobName, offset: u64, length: u64) -> Result<(), StoreError> {
        match &*self.at.lock().unwrap() {
            Some((bad, at)) if bad == name && (offset..offset + length).contains(at) => {
                Err(StoreError::Device(format!("cannot read {name}: Input/output error")))
            }
            _ => Ok(()),
        }
    }
}

impl BlobStore for BadSector {
    fn create(&self, name: &BlobName, bytes: &[u8]) -> Result<Creation, StoreError> {
        self.inner.create(name, bytes)
    }

    fn replace(&self, name: &BlobName, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.replace(name, bytes)
    }

    fn read(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StoreError> {
        self.try_read(name, 0, u64::MAX)?;
        self.inner.read(name)
    }

    fn read_range(
        &self,
        name: &BlobName,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.try_read(name, offset, length as u64)?;
        self.inner.read_range(name, offset, length)
    }

    fn size(&self, name: &BlobName) -> Result<Option<u64>, StoreError> {
        self.inner.size(name)
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(BlobName, u64)) -> Result<(), StoreError> {
        self.inner.list(prefix, visit)
    }

    fn delete(&self, name: &BlobName) -> Result<(), StoreError> {
        self.inner.delete(name)
    }
}
