//! What stands in the store and is named by nothing.

use std::collections::BTreeSet;

use custody_blob_store::{BlobStore, StoreError};

use crate::log::{History, ObjectId};
use crate::object::Family;

/// Objects that no entry of the log names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Garbage {
    pub(super) objects: u64,
    /// Their length in bytes.
    pub(super) bytes: u64,
}

impl Garbage {
    /// Counts those of `family` in `listed`, which must be older than `history`: an object is
    /// stored before it is named.
    pub(super) fn count(&mut self, family: Family, listed: &[(ObjectId, u64)], history: &History) {
        for (_, bytes) in listed.iter().filter(|(id, _)| !is_named(history, family, id)) {
            self.objects += 1;
            self.bytes += bytes;
        }
    }
}

/// The objects of `family` that the store lists, with their lengths in bytes.
pub(super) fn listed(
    store: &dyn BlobStore,
    family: Family,
) -> Result<Vec<(ObjectId, u64)>, StoreError> {
    let mut listed = Vec::new();
    store.list(family.prefix(), &mut |name, length| {
        listed.extend(family.id_in(&name).map(|id| (id, length)));
    })?;
    Ok(listed)
}

/// Whether the log names an object, or will again if a forgotten point comes back.
fn is_named(history: &History, family: Family, id: &ObjectId) -> bool {
    match family {
        Family::Pack => history.packs().contains(id),
        Family::Index => history.indexes().contains_key(id),
        Family::Point => {
            let tombstone = history.tombstones().get(id);
            history.points().contains_key(id)
                || tombstone.is_some_and(|tombstone| tombstone.unconfirmed.is_some())
        }
        Family::Bad => true,
    }
}

/// The objects of `family` that the log names and that must stand.
pub(super) fn named(history: &History, family: Family) -> BTreeSet<ObjectId> {
    let names: Vec<&ObjectId> = match family {
        Family::Pack => history.packs().iter().collect(),
        Family::Index => history.indexes().keys().collect(),
        Family::Point => history.points().keys().collect(),
        Family::Bad => Vec::new(),
    };
    names.into_iter().filter(|id| must_stand(history, family, id)).copied().collect()
}

/// Whether the log names an object that no prune, finished or open, may have deleted.
pub(super) fn must_stand(history: &History, family: Family, id: &ObjectId) -> bool {
    match family {
        Family::Pack => history.is_lasting_pack(id),
        Family::Index => history.is_lasting_index(id),
        Family::Point => history.points().contains_key(id),
        Family::Bad => false,
    }
}
