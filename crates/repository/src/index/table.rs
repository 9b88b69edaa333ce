//! Records of one length in sealed blocks, written in order and read block by block
//! (docs/formats/index-cache.md).

use std::sync::Arc;

use custody_blob_store::{BlobName, BlobStore, Creation};
use custody_envelope::{HEADER_BYTES, ObjectType, Opener, TAG_BYTES};

use super::slots::Slots;
use crate::RepositoryError;
use crate::object::read_part;
use crate::sealed::{Keys, SealedWriter, length_u32, open_position};

/// Blocks in one segment.
const SEGMENT_BLOCKS: u64 = 512;
/// Segments whose keys are kept of one table of all runs: those of others are made when they are needed.
const OPENERS_MAX: usize = 1_024;
/// What they take: two layers of keys, and in what state they are.
pub(super) const OPENERS_BYTES_MAX: usize = OPENERS_MAX * 1_024;

/// Blocks that are read together if all of a table may stay in memory.
const READ_AHEAD: u64 = 16;

/// Said of a block beyond the last one.
const NO_BLOCK: &str = "a block that a table does not have";

/// The random number that names a run.
pub(super) type RunId = [u8; 16];

/// What a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Its name.
    pub(super) name: &'static str,
    pub(super) record_bytes: usize,
    pub(super) block_records: usize,
}

impl Shape {
    pub(super) const fn block_bytes(self) -> usize {
        self.record_bytes * self.block_records
    }
}

/// The name of an object of a run.
pub(super) fn object_name(run: &RunId, object: &str) -> Result<BlobName, RepositoryError> {
    Ok(format!("runs/{}/{object}", data_encoding::HEXLOWER.encode(run)).parse()?)
}

fn segment_name(run: &RunId, shape: Shape, segment: u32) -> Result<BlobName, RepositoryError> {
    object_name(run, &format!("{}-{segment:05}", shape.name))
}

/// What binds a sealed object to its place.
pub(super) fn associated(run: &RunId, name: &str, segment: u32) -> Vec<u8> {
    [run.as_slice(), name.as_bytes(), &segment.to_be_bytes()].concat()
}

/// Writes a table.
pub(super) struct TableWriter<'w> {
    store: &'w dyn BlobStore,
    keys: Keys<'w>,
    run: RunId,
    shape: Shape,
    block: Vec<u8>,
    /// The last full block of the segment at hand: it is sealed when it is known whether another
    /// follows.
    last: Option<Vec<u8>>,
    /// Those before it, once there are any.
    sealed: Option<SealedWriter<'w>>,
    /// How many blocks of the segment are full.
    blocks: u64,
    segment: u32,
    records: u64,
}

impl<'w> TableWriter<'w> {
    pub(super) fn new(store: &'w dyn BlobStore, keys: Keys<'w>, run: RunId, shape: Shape) -> Self {
        let block = Vec::with_capacity(shape.block_bytes());
        let (last, sealed) = (None, None);
        Self { store, keys, run, shape, block, last, sealed, blocks: 0, segment: 0, records: 0 }
    }

    /// Adds a record; returns its number.
    pub(super) fn push(&mut self, record: &[u8]) -> Result<u64, RepositoryError> {
        if record.len() != self.shape.record_bytes {
            return Err(RepositoryError::Bug("a record of another length than its table's"));
        }
        self.block.extend_from_slice(record);
        if self.block.len() == self.shape.block_bytes() {
            self.close_block()?;
        }
        self.records += 1;
        Ok(self.records - 1)
    }

    /// Stores what is left; returns how many records there are.
    pub(super) fn finish(mut self) -> Result<u64, RepositoryError> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        if self.last.is_some() {
            self.close_segment()?;
        }
        Ok(self.records)
    }

    fn close_block(&mut self) -> Result<(), RepositoryError> {
        let next = Vec::with_capacity(self.shape.block_bytes());
        let full = std::mem::replace(&mut self.block, next);
        if let Some(mut before) = self.last.replace(full) {
            let mut writer = self.writer(SEGMENT_BLOCKS)?;
            writer.push(&mut before)?;
            self.sealed = Some(writer);
        }
        self.blocks += 1;
        if self.blocks == SEGMENT_BLOCKS { self.close_segment() } else { Ok(()) }
    }

    fn close_segment(&mut self) -> Result<(), RepositoryError> {
        let writer = self.writer(1)?;
        let last = self.last.take().unwrap_or_default();
        let name = segment_name(&self.run, self.shape, self.segment)?;
        store_new(self.store, &name, &writer.finish(last)?)?;
        self.blocks = 0;
        self.segment += 1;
        Ok(())
    }

    /// The segment at hand as far as it is sealed; one that begins has room for so many blocks.
    fn writer(&mut self, blocks: u64) -> Result<SealedWriter<'w>, RepositoryError> {
        if let Some(writer) = self.sealed.take() {
            return Ok(writer);
        }
        let bound = associated(&self.run, self.shape.name, self.segment);
        let capacity =
            usize::try_from(blocks).unwrap_or(1) * (self.shape.block_bytes() + TAG_BYTES);
        self.keys.writer_for(ObjectType::Cache, capacity, bound)
    }
}

/// Stores an object of a new run under its name, which is random.
pub(super) fn store_new(
    store: &dyn BlobStore,
    name: &BlobName,
    bytes: &[u8],
) -> Result<(), RepositoryError> {
    match store.create(name, bytes)? {
        Creation::Created => Ok(()),
        Creation::Exists => Err(RepositoryError::Bug("a run's name was drawn twice")),
    }
}

/// Reads a table, a block at a time.
pub(super) struct TableReader<'r> {
    store: &'r dyn BlobStore,
    keys: Keys<'r>,
    run: RunId,
    shape: Shape,
    records: u64,
    kept: Slots<[u8]>,
    openers: Slots<Opener>,
}

impl<'r> TableReader<'r> {
    /// Keeps one block in memory until [`TableReader::keep`].
    pub(super) fn new(
        store: &'r dyn BlobStore,
        keys: Keys<'r>,
        run: RunId,
        shape: Shape,
        records: u64,
    ) -> Self {
        Self { store, keys, run, shape, records, kept: Slots::new(1), openers: Slots::new(1) }
    }

    /// Keeps so many blocks in memory from now on, and its share of keys if there are so many runs; no
    /// more than there are.
    pub(super) fn keep(&mut self, blocks: usize, runs: usize) {
        let most = |count: u64, limit: usize| usize::try_from(count).unwrap_or(limit).min(limit);
        let segments = self.blocks().div_ceil(SEGMENT_BLOCKS);
        self.kept = Slots::new(most(self.blocks(), blocks));
        self.openers = Slots::new(most(segments, OPENERS_MAX / runs.max(1)));
    }

    /// Most blocks that are kept.
    #[cfg(test)]
    pub(super) fn kept_blocks(&self) -> usize {
        self.kept.places()
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn blocks(&self) -> u64 {
        self.records.div_ceil(self.shape.block_records as u64)
    }

    /// One block, which stays in memory for a while.
    pub(super) fn block(&self, number: u64) -> Result<Arc<[u8]>, RepositoryError> {
        self.kept.get(number).map_or_else(|| self.read_and_keep(number), Ok)
    }

    /// What `look` sees in one block, which stays in memory for a while.
    pub(super) fn look<R>(
        &self,
        number: u64,
        look: &dyn Fn(&[u8]) -> R,
    ) -> Result<R, RepositoryError> {
        let kept = self.kept.look(number, look);
        kept.map_or_else(|| Ok(look(&self.read_and_keep(number)?)), Ok)
    }

    /// Reads a block, and those beside it if all may stay.
    fn read_and_keep(&self, number: u64) -> Result<Arc<[u8]>, RepositoryError> {
        let count = if self.kept.places() as u64 >= self.blocks() { READ_AHEAD } else { 1 };
        let mut wanted = None;
        self.read_blocks(number / count * count, count, &mut |read, block| {
            let block: Arc<[u8]> = block.into();
            self.kept.put(read, Arc::clone(&block));
            wanted = wanted.take().or_else(|| (read == number).then_some(block));
        })?;
        wanted.ok_or(RepositoryError::Bug(NO_BLOCK))
    }

    /// One block, read for itself.
    pub(super) fn read_block(&self, number: u64) -> Result<Vec<u8>, RepositoryError> {
        let mut wanted = None;
        self.read_blocks(number, 1, &mut |_, block| wanted = Some(block))?;
        wanted.ok_or(RepositoryError::Bug(NO_BLOCK))
    }

    /// Reads so many blocks, as far as their table and their segment go.
    fn read_blocks(
        &self,
        first: u64,
        count: u64,
        visit: &mut dyn FnMut(u64, Vec<u8>),
    ) -> Result<(), RepositoryError> {
        let number = first / SEGMENT_BLOCKS;
        let segment = length_u32(usize::try_from(number).unwrap_or(usize::MAX))?;
        let segment_end = ((number + 1) * SEGMENT_BLOCKS).min(self.blocks());
        let end = segment_end.min(first + count);
        let name = segment_name(&self.run, self.shape, segment)?;
        let bound = associated(&self.run, self.shape.name, segment);
        let opener = self.opener(segment, &name)?;
        let overhead = opener.overhead_bytes();
        let sealed_bytes = |block| self.plain_bytes(block) + overhead;
        let before = first % SEGMENT_BLOCKS * (self.shape.block_bytes() + overhead) as u64;
        let length = (first..end).map(sealed_bytes).sum();
        let bytes = read_part(self.store, &name, HEADER_BYTES as u64 + before, length)?;
        let mut rest = bytes.as_slice();
        for block in first..end {
            let (part, after) = rest.split_at_checked(sealed_bytes(block)).unwrap_or_default();
            rest = after;
            let mut part = part.to_vec();
            let position = length_u32(usize::try_from(block % SEGMENT_BLOCKS).unwrap_or(0))?;
            let is_last = block + 1 == segment_end;
            open_position(&opener, position, &bound, is_last, &mut part, &name)?;
            visit(block, part);
        }
        Ok(())
    }

    /// Bytes of a block before it is sealed.
    fn plain_bytes(&self, block: u64) -> usize {
        let per_block = self.shape.block_records as u64;
        let records = self.records.saturating_sub(block * per_block).min(per_block);
        usize::try_from(records).unwrap_or(0) * self.shape.record_bytes
    }

    fn opener(&self, segment: u32, name: &BlobName) -> Result<Arc<Opener>, RepositoryError> {
        if let Some(opener) = self.openers.get(u64::from(segment)) {
            return Ok(opener);
        }
        let header = read_part(self.store, name, 0, HEADER_BYTES)?;
        let opener = Arc::new(self.keys.opener(ObjectType::Cache, &header, name)?);
        self.openers.put(u64::from(segment), Arc::clone(&opener));
        Ok(opener)
    }
}
