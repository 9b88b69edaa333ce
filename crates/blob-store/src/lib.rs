//! Bytes under names: the contract, its test suite, local disk and memory.
//!
//! The contract asks for nothing an object store cannot give: no rename, no append, no fresh
//! listing. See [`BlobStore`].

pub mod disk;
mod memory;
mod name;
mod retrying;
pub mod suite;

pub use disk::DiskStore;
pub use memory::MemoryStore;
pub use name::{BlobName, InvalidBlobName};
pub use retrying::RetryingStore;

/// Largest object, in bytes: a pack is at most 32 MiB before sealing (DESIGN §6).
pub const BLOB_BYTES_MAX: usize = 64 << 20;

/// Keeps whole objects under names.
///
/// * `create` has exactly one winner among all callers, in this process or another, on this host
///   or another. An object is never visible in part.
/// * When a call returns `Ok`, its effect outlives a crash of process, machine and power; an
///   object that `create` answers [`Creation::Exists`] for does so too.
/// * After an error the effect may or may not have happened: the caller reads the object and
///   knows its own by a nonce in it.
/// * `list` may lag behind creates and deletes; nothing but the search for garbage relies on it.
pub trait BlobStore: Send + Sync {
    /// Stores `bytes` under `name` if nothing stands there.
    fn create(&self, name: &BlobName, bytes: &[u8]) -> Result<Creation, StoreError>;

    /// Stores `bytes` under `name`, whatever stood there; readers see the old or the new whole.
    /// Meant for heartbeats: nothing that must not be lost is ever replaced.
    fn replace(&self, name: &BlobName, bytes: &[u8]) -> Result<(), StoreError>;

    /// The whole object, or `None` if there is none.
    fn read(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StoreError>;

    /// Puts the whole object in the place of whatever is in `room`, whose memory is used again; false
    /// if there is none.
    fn read_into(&self, name: &BlobName, room: &mut Vec<u8>) -> Result<bool, StoreError> {
        let found = self.read(name)?;
        Ok(found.map(|bytes| *room = bytes).is_some())
    }

    /// Exactly `length` bytes from `offset`, or `None` if there is no such object.
    ///
    /// # Errors
    /// [`StoreError::Short`] if the object ends before `offset + length`.
    fn read_range(
        &self,
        name: &BlobName,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// The object's length in bytes, or `None` if there is none.
    fn size(&self, name: &BlobName) -> Result<Option<u64>, StoreError>;

    /// Tells `visit` every object whose name begins with `prefix`, in any order, with its length.
    fn list(&self, prefix: &str, visit: &mut dyn FnMut(BlobName, u64)) -> Result<(), StoreError>;

    /// Removes the object; one that is not there is no error.
    fn delete(&self, name: &BlobName) -> Result<(), StoreError>;

    /// Gives free what the store kept back for those who are about to free more; whether there was
    /// any. Called after [`StoreError::Full`].
    fn spend_reserve(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Keeps room back again, if there is any to keep.
    fn keep_reserve(&self) {}
}

/// What became of a `create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The object stands and is this caller's.
    Created,
    /// Another object stood there already and is untouched.
    Exists,
}

/// Why a store cannot do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room left, on the disk or in a quota.
    #[error("the store is full: {0}")]
    Full(String),
    /// The store cannot be reached or answers with a fault; the same call may go through later.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// The store takes no request before a time is over; this one had no effect.
    #[error("the store asks to be left alone for {} s: {what}", after.as_secs_f64())]
    Throttled {
        /// What it said.
        what: String,
        /// For how long.
        after: std::time::Duration,
    },
    /// The store refuses: permissions, read-only, no such folder.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// The object is shorter than what was asked for.
    #[error("{name} is {length} bytes long, shorter than what was asked for")]
    Short {
        /// The object.
        name: BlobName,
        /// Its length in bytes.
        length: u64,
    },
    /// A device or file system fault (EIO, a failed fsync): the object is not to be trusted.
    #[error("the store's device failed: {0}")]
    Device(String),
}

impl StoreError {
    /// A code that stays the same in every version.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full(_) => "StoreFull",
            Self::Unavailable(_) => "StoreUnavailable",
            Self::Throttled { .. } => "StoreThrottled",
            Self::Refused(_) => "StoreRefused",
            Self::Short { .. } => "StoreObjectShort",
            Self::Device(_) => "StoreDeviceFailed",
        }
    }
}
