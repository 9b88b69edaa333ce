//! Heads that were seen once, kept elsewhere to notice a store that was put back.

use super::entry::{hash_of, object_name};
use super::identifiers::EntryHash;
use super::{Log, LogError};
use minicbor::{Decode, Encode};

/// Number and hash of an entry that was the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HeadPin {
    /// Its number.
    #[n(0)]
    pub number: u64,
    /// Its hash.
    #[n(1)]
    pub hash: EntryHash,
}

impl Log {
    /// Whether the log still holds the head that was seen once.
    ///
    /// # Errors
    /// [`LogError::RolledBack`] if the head is older or another entry stands under its number.
    pub fn check_pin(&self, pinned: HeadPin) -> Result<(), LogError> {
        let bytes = self.parts.store.read(&object_name(pinned.number)?)?;
        match bytes.as_deref().map(hash_of) {
            Some(found) if found == pinned.hash => Ok(()),
            found => Err(LogError::RolledBack { pinned, found }),
        }
    }
}
