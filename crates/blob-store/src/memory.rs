//! Objects in memory: for tests and rehearsals.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{BLOB_BYTES_MAX, BlobName, BlobStore, Creation, StoreError};

/// A [`BlobStore`] that is gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<BlobName, Vec<u8>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<BlobName, Vec<u8>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlobStore for MemoryStore {
    fn create(&self, name: &BlobName, bytes: &[u8]) -> Result<Creation, StoreError> {
        refuse_oversize(name, bytes)?;
        let mut objects = self.objects();
        if objects.contains_key(name) {
            return Ok(Creation::Exists);
        }
        objects.insert(name.clone(), bytes.to_vec());
        Ok(Creation::Created)
    }

    fn replace(&self, name: &BlobName, bytes: &[u8]) -> Result<(), StoreError> {
        refuse_oversize(name, bytes)?;
        self.objects().insert(name.clone(), bytes.to_vec());
        Ok(())
    }

    fn read(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.objects().get(name).cloned())
    }

    fn read_range(
        &self,
        name: &BlobName,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let objects = self.objects();
        let Some(bytes) = objects.get(name) else { return Ok(None) };
        let range = usize::try_from(offset)
            .ok()
            .and_then(|start| bytes.get(start..start.checked_add(length)?));
        match range {
            Some(range) => Ok(Some(range.to_vec())),
            None => Err(StoreError::Short { name: name.clone(), length: bytes.len() as u64 }),
        }
    }

    fn size(&self, name: &BlobName) -> Result<Option<u64>, StoreError> {
        Ok(self.objects().get(name).map(|bytes| bytes.len() as u64))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(BlobName, u64)) -> Result<(), StoreError> {
        // Copied first: `visit` may call the store again.
        let found: Vec<_> = self
            .objects()
            .iter()
            .filter(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(name, bytes)| (name.clone(), bytes.len() as u64))
            .collect();
        for (name, length) in found {
            visit(name, length);
        }
        Ok(())
    }

    fn delete(&self, name: &BlobName) -> Result<(), StoreError> {
        self.objects().remove(name);
        Ok(())
    }
}

fn refuse_oversize(name: &BlobName, bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.len() <= BLOB_BYTES_MAX {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "{name}: {} bytes are more than the {BLOB_BYTES_MAX} of the largest object",
        bytes.len()
    )))
}
