//! A run: what a set of index objects says, sorted, on disk (docs/formats/index-cache.md).

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use custody_blob_store::BlobStore;
use custody_envelope::ObjectType;

use super::filter::{BLOCK_BYTES, FILTER, Filter, Hint};
use super::manifest::Manifest;
use super::packs::{self, PACKS, PackSum};
use super::table::{OPENERS_BYTES_MAX, RunId, Shape, TableReader, associated, object_name};
use super::{Group, Place, RECORD_BYTES};
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::compress::Compression;
use crate::error::Malformed;
use crate::log::ObjectId;
use crate::pack::GroupShape;
use crate::sealed::Keys;

pub(super) const NAMES: Shape =
    Shape { name: "names", record_bytes: RECORD_BYTES, block_records: 256 };
pub(super) const GROUPS: Shape =
    Shape { name: "groups", record_bytes: GROUP_BYTES, block_records: 256 };
/// The name of the object that says what a run is.
pub(super) const MANIFEST: &str = "manifest";
/// Bytes of a group as it is stored.
const GROUP_BYTES: usize = 21;
/// Where damage is told that a seal did not show.
const CACHE: &str = "the index cache";

/// How many blocks of each table all runs together keep in memory, that of filters aside.
const BLOCKS_KEPT_MAX: usize = 128;
/// What all runs together keep in memory, that of filters aside, in bytes.
pub(super) const KEPT_BYTES: usize = BLOCKS_KEPT_MAX
    * (NAMES.block_bytes() + GROUPS.block_bytes() + PACKS.block_bytes())
    + 4 * OPENERS_BYTES_MAX;

/// A run that can be read.
pub(super) struct Run<'r> {
    pub(super) id: RunId,
    pub(super) covered: BTreeSet<ObjectId>,
    /// How many packs it has, and their sum.
    pub(super) pack_sum: PackSum,
    names: TableReader<'r>,
    groups: TableReader<'r>,
    packs: TableReader<'r>,
    filter: Filter<'r>,
    /// Whether a part of the filter was found damaged.
    is_damaged: AtomicBool,
}

impl<'r> Run<'r> {
    /// Opens the run; nothing if it has no manifest. Nothing but that is read.
    pub(super) fn open(
        store: &'r dyn BlobStore,
        keys: Keys<'r>,
        id: RunId,
    ) -> Result<Option<Self>, RepositoryError> {
        let name = object_name(&id, MANIFEST)?;
        let read = store.read(&name).map_err(|error| RepositoryError::reading(&name, error))?;
        let Some(bytes) = read else { return Ok(None) };
        let plain = keys.open(ObjectType::Cache, &associated(&id, MANIFEST, 0), &bytes, &name)?;
        let manifest = Manifest::decode(&plain).map_err(|malformed| malformed.in_object(&name))?;
        let table = |shape, records| TableReader::new(store, keys, id, shape, records);
        Ok(Some(Self {
            id,
            covered: manifest.covered,
            pack_sum: manifest.packs,
            names: table(NAMES, manifest.chunks),
            groups: table(GROUPS, manifest.groups),
            packs: table(PACKS, manifest.packs.count),
            filter: Filter::new(table(FILTER, manifest.filter_blocks)),
            is_damaged: AtomicBool::new(false),
        }))
    }

    /// Keeps blocks in memory from now on, of as many runs with so many blocks of filters together, as
    /// far as `filter_bytes` goes.
    pub(super) fn share(&mut self, runs: usize, filter_blocks: u64, filter_bytes: usize) {
        for table in [&mut self.names, &mut self.groups, &mut self.packs] {
            table.keep(BLOCKS_KEPT_MAX / runs.max(1), runs);
        }
        let all = (filter_bytes / BLOCK_BYTES) as u128;
        let share = all * u128::from(self.filter.blocks()) / u128::from(filter_blocks.max(1));
        self.filter.keep(usize::try_from(share).unwrap_or(usize::MAX), runs);
    }

    pub(super) fn chunk_count(&self) -> u64 {
        self.names.records()
    }

    pub(super) fn filter_blocks(&self) -> u64 {
        self.filter.blocks()
    }

    /// Most bytes of its filter that lie in memory.
    #[cfg(test)]
    pub(super) fn filter_bytes(&self) -> usize {
        self.filter.kept_bytes()
    }

    /// Whether its filter was found damaged since this was asked last.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.swap(false, Ordering::Relaxed)
    }

    pub(super) fn group_count(&self) -> u64 {
        self.groups.records()
    }

    /// Every place of the chunk with its number in the run; groups and packs count through the run.
    pub(super) fn find(&self, name: &ChunkName) -> Result<Vec<(u64, Place)>, RepositoryError> {
        let mut found = Vec::new();
        self.search(name, &mut |block| self.names.block(block), &mut |number, place| {
            found.push((number, place));
        })?;
        Ok(found)
    }

    /// The places of many chunks, whose names are sorted: shows for each which name it was, its number
    /// and itself.
    pub(super) fn find_all(
        &self,
        names: &[ChunkName],
        visit: &mut dyn FnMut(usize, u64, Place),
    ) -> Result<(), RepositoryError> {
        let mut at_hand: Option<(u64, Arc<[u8]>)> = None;
        for (asked, name) in names.iter().enumerate() {
            let mut block = |number| {
                if let Some((kept, block)) = &at_hand
                    && *kept == number
                {
                    return Ok(Arc::clone(block));
                }
                let block: Arc<[u8]> = self.names.read_block(number)?.into();
                at_hand = Some((number, Arc::clone(&block)));
                Ok(block)
            };
            self.search(name, &mut block, &mut |number, place| visit(asked, number, place))?;
        }
        Ok(())
    }

    fn search(
        &self,
        name: &ChunkName,
        read: &mut dyn FnMut(u64) -> Result<Arc<[u8]>, RepositoryError>,
        visit: &mut dyn FnMut(u64, Place),
    ) -> Result<(), RepositoryError> {
        let hint = match self.filter.find(name) {
            Ok(Some(hint)) if hint.records.end <= self.names.records() => hint,
            Ok(None) => return Ok(()),
            Err(error) if !error.is_local() => return Err(error),
            // What is damaged rules nothing out.
            Ok(Some(_)) | Err(_) => {
                self.is_damaged.store(true, Ordering::Relaxed);
                Hint::without_filter(name, self.names.records())
            }
        };
        let end = hint.records.end;
        let per_block = NAMES.block_records as u64;
        let mut number = first_from(hint, name, read)?;
        while number < end {
            let bytes = read(number / per_block)?;
            let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
            let skipped = usize::try_from(number % per_block).unwrap_or(usize::MAX);
            for record in records.iter().skip(skipped) {
                let place = Place::decode(record);
                if place.name != *name {
                    return Ok(());
                }
                visit(number, place);
                number += 1;
            }
        }
        Ok(())
    }

    /// A group by its number in the run.
    pub(super) fn group(&self, number: u64) -> Result<Option<Group>, RepositoryError> {
        let group = record::<GROUP_BYTES>(&self.groups, GROUPS, number)?;
        let group = group.as_ref().map(decode_group).transpose();
        group.map_err(|malformed| malformed.in_object(CACHE))
    }

    /// The name and the length of a pack by its number in the run.
    pub(super) fn pack(&self, number: u64) -> Result<Option<(ObjectId, u64)>, RepositoryError> {
        let pack = record::<{ packs::RECORD_BYTES }>(&self.packs, PACKS, number)?;
        Ok(pack.as_ref().map(packs::decode))
    }

    /// Shows all its packs in order.
    pub(super) fn each_pack(
        &self,
        visit: &mut dyn FnMut(ObjectId, u64),
    ) -> Result<(), RepositoryError> {
        for block in 0..self.packs.blocks() {
            let bytes = self.packs.read_block(block)?;
            for record in bytes.as_chunks().0 {
                let (id, length) = packs::decode(record);
                visit(id, length);
            }
        }
        Ok(())
    }

    /// All its groups, a block at a time.
    pub(super) fn group_block(&self, block: u64) -> Result<Option<Vec<Group>>, RepositoryError> {
        if block >= self.groups.blocks() {
            return Ok(None);
        }
        let bytes = self.groups.read_block(block)?;
        let groups: Result<_, Malformed> =
            bytes.as_chunks::<GROUP_BYTES>().0.iter().map(decode_group).collect();
        groups.map(Some).map_err(|malformed| malformed.in_object(CACHE))
    }

    /// All its places, a block at a time.
    pub(super) fn place_block(&self, block: u64) -> Result<Option<Vec<Place>>, RepositoryError> {
        if block >= self.names.blocks() {
            return Ok(None);
        }
        let bytes = self.names.read_block(block)?;
        Ok(Some(bytes.as_chunks::<RECORD_BYTES>().0.iter().map(Place::decode).collect()))
    }
}

/// The first of the records of `hint` whose name is not below this one; where they end if there is none.
fn first_from(
    hint: Hint,
    name: &ChunkName,
    read: &mut dyn FnMut(u64) -> Result<Arc<[u8]>, RepositoryError>,
) -> Result<u64, RepositoryError> {
    let per_block = NAMES.block_records as u64;
    let Hint { records: Range { mut start, mut end }, likely } = hint;
    let (mut guess, mut is_first) = (likely, true);
    while start < end {
        guess = guess.clamp(start, end - 1);
        let before = guess / per_block * per_block;
        let bytes = read(guess / per_block)?;
        let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
        let is_below = |record: &[u8; RECORD_BYTES]| record.get(..32) < Some(&name.0);
        let below = before + records.partition_point(is_below) as u64;
        let after = before + records.len() as u64;
        let beside = if below <= before.max(start) {
            end = before.max(start);
            end.saturating_sub(1)
        } else if below < after.min(end) {
            return Ok(below);
        } else {
            start = after.min(end);
            start
        };
        // Names that are not spread evenly take more steps.
        guess = if is_first { beside } else { start.midpoint(end) };
        is_first = false;
    }
    Ok(start)
}

/// A record of a table by its number, if there are as many.
fn record<const N: usize>(
    table: &TableReader<'_>,
    shape: Shape,
    number: u64,
) -> Result<Option<[u8; N]>, RepositoryError> {
    if number >= table.records() {
        return Ok(None);
    }
    let per_block = shape.block_records as u64;
    let block = table.block(number / per_block)?;
    let at = usize::try_from(number % per_block).unwrap_or(usize::MAX);
    Ok(block.as_chunks().0.get(at).copied())
}

pub(super) fn encode_group(group: &Group) -> Vec<u8> {
    let Group { pack, position, offset, sealed, shape: GroupShape { plain, compression } } = group;
    let mut record = Vec::with_capacity(GROUP_BYTES);
    for number in [pack, position, offset, sealed, plain] {
        record.extend_from_slice(&number.to_be_bytes());
    }
    record.push(compression.number());
    record
}

fn decode_group(record: &[u8; GROUP_BYTES]) -> Result<Group, Malformed> {
    let (numbers, rest) = record.as_chunks::<4>();
    let cut = || Malformed::from("a group is cut short");
    let &[pack, position, offset, sealed, plain] = numbers else { return Err(cut()) };
    let compression = Compression::from_number(*rest.first().ok_or_else(cut)?)?;
    let [pack, position, offset, sealed, plain] =
        [pack, position, offset, sealed, plain].map(u32::from_be_bytes);
    Ok(Group { pack, position, offset, sealed, shape: GroupShape { plain, compression } })
}

/// Reads the same bytes as a manifest, a group, a pack and a block of a filter: what is read of the first
/// three is written and read as the same.
#[cfg(feature = "parsers")]
pub(crate) fn parse(bytes: &[u8]) {
    let record = bytes.first_chunk::<GROUP_BYTES>();
    if let Some((record, Ok(group))) = record.map(|record| (record, decode_group(record))) {
        assert_eq!(encode_group(&group), record);
    }
    if let Some(record) = bytes.first_chunk() {
        let (id, length) = packs::decode(record);
        assert_eq!(packs::encode(&id, length), record);
    }
    super::manifest::parse(bytes);
    super::filter::parse(bytes);
}

#[cfg(test)]
mod tests;
