//! Writing a run (docs/formats/index-cache.md).

use std::collections::BTreeSet;

use custody_blob_store::BlobStore;
use custody_envelope::ObjectType;

use super::filter::{FILTER, FilterWriter};
use super::manifest::Manifest;
use super::packs::{self, PACKS, PackSum};
use super::run::{GROUPS, MANIFEST, NAMES, encode_group};
use super::table::{RunId, TableWriter, associated, object_name, store_new};
use super::{Group, Place};
use crate::RepositoryError;
use crate::log::ObjectId;
use crate::sealed::{Keys, length_u32};

/// Writes a run: first its packs and groups, then its places in order. Takes memory for a segment of each
/// table.
pub(super) struct RunWriter<'w> {
    store: &'w dyn BlobStore,
    keys: Keys<'w>,
    id: RunId,
    names: TableWriter<'w>,
    groups: TableWriter<'w>,
    packs: TableWriter<'w>,
    filter: FilterWriter<'w>,
    sum: PackSum,
}

impl<'w> RunWriter<'w> {
    /// Begins a run of about so many chunks: the filter is made for these.
    pub(super) fn new(store: &'w dyn BlobStore, keys: Keys<'w>, id: RunId, chunks: u64) -> Self {
        let table = |shape| TableWriter::new(store, keys, id, shape);
        let (names, groups, packs) = (table(NAMES), table(GROUPS), table(PACKS));
        let filter = FilterWriter::new(table(FILTER), chunks);
        Self { store, keys, id, names, groups, packs, filter, sum: PackSum::default() }
    }

    /// Adds a pack; returns its number.
    pub(super) fn pack(&mut self, id: ObjectId, length: u64) -> Result<u32, RepositoryError> {
        self.sum.add(&id);
        let number = self.packs.push(&packs::encode(&id, length))?;
        length_u32(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// Adds a group of a pack; returns its number.
    pub(super) fn group(&mut self, group: &Group) -> Result<u32, RepositoryError> {
        let number = self.groups.push(&encode_group(group))?;
        length_u32(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// Adds the next place.
    pub(super) fn place(&mut self, place: &Place) -> Result<(), RepositoryError> {
        self.names.push(&place.encode())?;
        self.filter.push(&place.name)
    }

    /// Ends the run, which exists from now on.
    pub(super) fn finish(self, covered: &BTreeSet<ObjectId>) -> Result<(), RepositoryError> {
        let Self { store, keys, id, names, groups, packs, filter, sum } = self;
        packs.finish()?;
        let manifest = Manifest {
            covered: covered.clone(),
            packs: sum,
            chunks: names.finish()?,
            groups: groups.finish()?,
            filter_blocks: filter.finish()?,
        };
        let bound = associated(&id, MANIFEST, 0);
        let sealed = keys.seal(ObjectType::Cache, &bound, manifest.encode()?)?;
        store_new(store, &object_name(&id, MANIFEST)?, &sealed)
    }
}
