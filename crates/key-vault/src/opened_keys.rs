//! Keys that were opened and have not changed since.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use custody_names::{KeyName, KeyVersion};

use crate::error::Result;
use crate::using::UsableKey;
use crate::vault::KeyVaultRef;

/// Most keys that are held open. When there are more, all are closed.
const OPENED_KEYS_MAX: usize = 256;

/// Opened keys, good for as long as the store's counter of changes stands still: any change to any
/// key, by whichever process, closes them all before the next use. Opening anew costs an unseal, a
/// few reads and the check of the key, together as much as using it.
#[derive(Default)]
pub(crate) struct OpenedKeys {
    opened: Mutex<Opened>,
}

#[derive(Default)]
struct Opened {
    changes: u64,
    keys: HashMap<Handle, Arc<UsableKey>>,
}

/// What was asked for: without a version the newest one, and how far it was opened.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Handle {
    vault: String,
    name: String,
    version: Option<KeyVersion>,
    opening: Opening,
}

/// How far a key is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Opening {
    /// Not at all: to be shown.
    Shown,
    /// For what takes its public half.
    Public,
    /// With its private half.
    Private,
}

impl Handle {
    pub(crate) fn new(
        vault: &KeyVaultRef,
        name: &KeyName,
        version: Option<&KeyVersion>,
        opening: Opening,
    ) -> Self {
        Self {
            vault: vault.resource.canonical(),
            name: name.as_str().to_ascii_lowercase(),
            version: version.cloned(),
            opening,
        }
    }
}

impl OpenedKeys {
    /// The key if it is open and nothing changed since, else what `open` gives, which must look at
    /// the store after `changes` was read.
    pub(crate) fn get_or_open(
        &self,
        handle: Handle,
        changes: u64,
        open: impl FnOnce() -> Result<UsableKey>,
    ) -> Result<Arc<UsableKey>> {
        {
            let mut opened = self.lock();
            if opened.changes != changes {
                *opened = Opened { changes, keys: HashMap::new() };
            }
            if let Some(found) = opened.keys.get(&handle) {
                return Ok(Arc::clone(found));
            }
        }
        let key = Arc::new(open()?);
        let mut opened = self.lock();
        if opened.changes == changes {
            if opened.keys.len() >= OPENED_KEYS_MAX {
                opened.keys.clear();
            }
            opened.keys.insert(handle, Arc::clone(&key));
        }
        Ok(key)
    }

    /// Closes all keys: what was purged shall not stay in memory.
    pub(crate) fn close(&self) {
        self.lock().keys.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
