//! Names of immutable objects: the SHA-256 of their bytes.

use std::collections::BTreeSet;

use aws_lc_rs::digest;
use custody_blob_store::{BlobName, BlobStore, Creation};
use data_encoding::HEXLOWER;

use crate::RepositoryError;
use crate::log::ObjectId;

impl ObjectId {
    /// The name of an object with these bytes: their SHA-256, checkable without any key.
    pub fn of(bytes: &[u8]) -> Self {
        let mut name = [0; 32];
        for (to, from) in name.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
            *to = *from;
        }
        Self::from_bytes(name)
    }

    /// The name written as 64 lower-case hexadecimal digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self::from_bytes)
    }
}

/// The families of immutable objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Pack,
    Index,
    Point,
    Bad,
}

impl Family {
    /// What the names of the family begin with.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Pack => "packs/",
            Self::Index => "index/",
            Self::Point => "points/",
            Self::Bad => "bad/",
        }
    }

    /// The object's name in the store.
    pub(crate) fn name(self, id: ObjectId) -> Result<BlobName, RepositoryError> {
        let hex = id.to_string();
        let folder = match (self, hex.get(..2)) {
            (Self::Pack, Some(two)) => format!("{two}/"),
            _ => String::new(),
        };
        Ok(format!("{}{folder}{hex}", self.prefix()).parse()?)
    }

    /// The id in a name of this family, or none if it is no such name.
    pub(crate) fn id_in(self, name: &BlobName) -> Option<ObjectId> {
        let id = ObjectId::from_hex(name.as_str().rsplit('/').next()?)?;
        (self.name(id).ok()?.as_str() == name.as_str()).then_some(id)
    }
}

/// Stores an immutable object and has the store confirm its length.
pub(crate) fn put(
    store: &dyn BlobStore,
    family: Family,
    bytes: &[u8],
) -> Result<ObjectId, RepositoryError> {
    let id = ObjectId::of(bytes);
    let name = family.name(id)?;
    let standing = match store.create(&name, bytes)? {
        Creation::Created => store.size(&name)? == Some(bytes.len() as u64),
        // A retry after an unclear answer, or a damaged object under our name.
        Creation::Exists => store.read(&name)?.is_some_and(|found| found == bytes),
    };
    if standing {
        Ok(id)
    } else {
        Err(RepositoryError::damaged(name, "the store does not hold what it was given"))
    }
}

/// The objects of a family that the store lists.
pub(crate) fn listed(
    store: &dyn BlobStore,
    family: Family,
) -> Result<BTreeSet<ObjectId>, RepositoryError> {
    let mut found = BTreeSet::new();
    store.list(family.prefix(), &mut |name, _| found.extend(family.id_in(&name)))?;
    Ok(found)
}

/// Said of an object that is not there.
pub(crate) const MISSING: &str = "it is missing";

/// Reads a part of an object, which must be there.
pub(crate) fn read_part(
    store: &dyn BlobStore,
    name: &BlobName,
    at: u64,
    length: usize,
) -> Result<Vec<u8>, RepositoryError> {
    store
        .read_range(name, at, length)
        .map_err(|error| RepositoryError::reading(name, error))?
        .ok_or_else(|| RepositoryError::damaged(name, MISSING))
}

/// Reads a whole immutable object and compares it with its name.
pub(crate) fn get(
    store: &dyn BlobStore,
    family: Family,
    id: ObjectId,
) -> Result<Vec<u8>, RepositoryError> {
    let mut bytes = Vec::new();
    get_into(store, family, id, &mut bytes).map(|()| bytes)
}

/// The same, in the place of whatever is in `room`, whose memory is used again.
pub(crate) fn get_into(
    store: &dyn BlobStore,
    family: Family,
    id: ObjectId,
    room: &mut Vec<u8>,
) -> Result<(), RepositoryError> {
    let name = family.name(id)?;
    let read = store.read_into(&name, room);
    if !read.map_err(|error| RepositoryError::reading(&name, error))? {
        return Err(RepositoryError::damaged(&name, MISSING));
    }
    if ObjectId::of(room) == id {
        Ok(())
    } else {
        Err(RepositoryError::damaged(name, "its bytes do not match its name"))
    }
}
