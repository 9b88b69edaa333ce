//! Records of one length in sealed blocks, written in order and read block by block
//! (docs/formats/index-cache.md).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use custody_blob_store::{BlobName, BlobStore, Creation};
use custody_envelope::{HEADER_BYTES, ObjectType, Opener, TAG_BYTES};

use crate::RepositoryError;
use crate::object::read_part;
use crate::read::locked;
use crate::sealed::{Keys, length_u32, open_position};

/// Blocks in one segment.
const SEGMENT_BLOCKS: u64 = 256;
/// Blocks kept of each table, if there is one run alone.
const BLOCKS_KEPT_MAX: usize = 128;

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
    fn block_bytes(self) -> usize {
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
    /// Full blocks of the segment at hand; the last of them is sealed when it is known whether
    /// another follows.
    waiting: Vec<Vec<u8>>,
    segment: u32,
    records: u64,
}

impl<'w> TableWriter<'w> {
    pub(super) fn new(store: &'w dyn BlobStore, keys: Keys<'w>, run: RunId, shape: Shape) -> Self {
        let block = Vec::with_capacity(shape.block_bytes());
        Self { store, keys, run, shape, block, waiting: Vec::new(), segment: 0, records: 0 }
    }

    /// Adds a record; returns its number.
    pub(super) fn push(&mut self, record: &[u8]) -> Result<u64, RepositoryError> {
        if record.len() != self.shape.record_bytes {
            return Err(RepositoryError::Bug("a record of another length than its table's"));
        }
        if self.block.len() == self.shape.block_bytes() {
            self.close_block()?;
        }
        self.block.extend_from_slice(record);
        self.records += 1;
        Ok(self.records - 1)
    }

    /// Stores what is left; returns how many records there are.
    pub(super) fn finish(mut self) -> Result<u64, RepositoryError> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        if !self.waiting.is_empty() {
            self.close_segment()?;
        }
        Ok(self.records)
    }

    fn close_block(&mut self) -> Result<(), RepositoryError> {
        if self.waiting.len() as u64 == SEGMENT_BLOCKS {
            self.close_segment()?;
        }
        let next = Vec::with_capacity(self.shape.block_bytes());
        self.waiting.push(std::mem::replace(&mut self.block, next));
        Ok(())
    }

    fn close_segment(&mut self) -> Result<(), RepositoryError> {
        let bound = associated(&self.run, self.shape.name, self.segment);
        let capacity = self.waiting.len() * (self.shape.block_bytes() + TAG_BYTES);
        let mut writer = self.keys.writer_for(ObjectType::Cache, capacity, bound)?;
        let mut blocks = std::mem::take(&mut self.waiting);
        let last = blocks.pop().unwrap_or_default();
        for block in blocks {
            writer.push(block)?;
        }
        let name = segment_name(&self.run, self.shape, self.segment)?;
        store_new(self.store, &name, &writer.finish(last)?)?;
        self.segment += 1;
        Ok(())
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
    kept: Mutex<Kept>,
    kept_max: usize,
}

#[derive(Default)]
struct Kept {
    openers: HashMap<u32, Arc<Opener>>,
    blocks: HashMap<u64, (u64, Arc<Vec<u8>>)>,
    now: u64,
}

impl<'r> TableReader<'r> {
    pub(super) fn new(
        store: &'r dyn BlobStore,
        keys: Keys<'r>,
        run: RunId,
        shape: Shape,
        records: u64,
    ) -> Self {
        let (kept, kept_max) = (Mutex::default(), BLOCKS_KEPT_MAX);
        Self { store, keys, run, shape, records, kept, kept_max }
    }

    /// Shares memory with the tables of so many runs.
    pub(super) fn share(&mut self, runs: usize) {
        self.kept_max = (BLOCKS_KEPT_MAX / runs.max(1)).max(1);
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn blocks(&self) -> u64 {
        self.records.div_ceil(self.shape.block_records as u64)
    }

    /// One block, which stays in memory for a while.
    pub(super) fn block(&self, number: u64) -> Result<Arc<Vec<u8>>, RepositoryError> {
        let kept = {
            let mut kept = locked(&self.kept);
            kept.now += 1;
            let now = kept.now;
            kept.blocks.get_mut(&number).map(|(used, block)| {
                *used = now;
                Arc::clone(block)
            })
        };
        if let Some(block) = kept {
            return Ok(block);
        }
        let block = Arc::new(self.read_block(number)?);
        let mut kept = locked(&self.kept);
        if kept.blocks.len() >= self.kept_max {
            let oldest = kept.blocks.iter().min_by_key(|(_, (used, _))| *used);
            let oldest = oldest.map(|(number, _)| *number);
            oldest.map(|number| kept.blocks.remove(&number));
        }
        let now = kept.now;
        kept.blocks.insert(number, (now, Arc::clone(&block)));
        Ok(block)
    }

    /// One block, read for itself.
    pub(super) fn read_block(&self, number: u64) -> Result<Vec<u8>, RepositoryError> {
        let blocks = self.blocks();
        let segment = length_u32(usize::try_from(number / SEGMENT_BLOCKS).unwrap_or(usize::MAX))?;
        let position = number % SEGMENT_BLOCKS;
        let name = segment_name(&self.run, self.shape, segment)?;
        let is_last = number + 1 == blocks || position + 1 == SEGMENT_BLOCKS;
        let before = number * self.shape.block_records as u64;
        let records = self.records.saturating_sub(before).min(self.shape.block_records as u64);
        let plain = usize::try_from(records).unwrap_or(usize::MAX) * self.shape.record_bytes;
        let opener = self.opener(segment, &name)?;
        let overhead = opener.overhead_bytes();
        let at = HEADER_BYTES as u64 + position * (self.shape.block_bytes() + overhead) as u64;
        let mut part = read_part(self.store, &name, at, plain + overhead)?;
        let bound = associated(&self.run, self.shape.name, segment);
        let position = length_u32(usize::try_from(position).unwrap_or(usize::MAX))?;
        open_position(&opener, position, &bound, is_last, &mut part, &name)?;
        Ok(part)
    }

    fn opener(&self, segment: u32, name: &BlobName) -> Result<Arc<Opener>, RepositoryError> {
        if let Some(opener) = locked(&self.kept).openers.get(&segment) {
            return Ok(Arc::clone(opener));
        }
        let header = read_part(self.store, name, 0, HEADER_BYTES)?;
        let opener = Arc::new(self.keys.opener(ObjectType::Cache, &header, name)?);
        locked(&self.kept).openers.insert(segment, Arc::clone(&opener));
        Ok(opener)
    }
}
