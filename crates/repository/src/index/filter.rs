//! Which chunks are surely not there, and where the others stand: a Bloom filter over chunk names in
//! blocks, each for the names that begin alike (docs/formats/index-cache.md).

use std::ops::Range;

use super::table::{Shape, TableReader, TableWriter};
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::error::Malformed;

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 4_096;
/// Of them, before the bits: number of the first name and how many there are.
const HEAD_BYTES: usize = 12;
/// Bits of a block.
const BITS: u64 = (BLOCK_BYTES - HEAD_BYTES) as u64 * 8;
/// Bits that one name takes.
const BITS_A_NAME: u64 = 16;
/// Bits that are set for one name. More would rule out more, and cost more to look at.
const HASHES: u64 = 8;

pub(super) const FILTER: Shape =
    Shape { name: "filter", record_bytes: BLOCK_BYTES, block_records: 1 };

/// Eight bytes of a name as a number. Names are keyed hashes already: their own bytes serve, and a
/// library would hash them once more.
pub(super) fn part(name: &ChunkName, at: usize) -> u64 {
    let bytes = name.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    u64::from_be_bytes(bytes.unwrap_or_default())
}

/// Which of so many blocks a name belongs to, and where in it if names are spread evenly, as a share of
/// 2^64.
fn block_of(name: &ChunkName, blocks: u64) -> (u64, u64) {
    let at = u128::from(part(name, 0)) * u128::from(blocks);
    let low = at & u128::from(u64::MAX);
    (u64::try_from(at >> 64).unwrap_or(u64::MAX), u64::try_from(low).unwrap_or(u64::MAX))
}

/// The bytes of a block, and the bit in each, of a name.
fn bits(name: &ChunkName) -> impl Iterator<Item = (usize, u8)> + use<> {
    let (first, step) = (part(name, 8), part(name, 16) | 1);
    (0..HASHES).map(move |number| {
        let bit = first.wrapping_add(number.wrapping_mul(step)) % BITS;
        (HEAD_BYTES + usize::try_from(bit / 8).unwrap_or(usize::MAX), 1 << (bit % 8))
    })
}

/// One block.
struct Block<'b>(&'b [u8; BLOCK_BYTES]);

impl<'b> Block<'b> {
    fn parse(bytes: &'b [u8]) -> Result<Self, Malformed> {
        let whole = bytes.try_into().map_err(|_| "a block of a filter is cut short");
        whole.map(Self).map_err(Malformed::from)
    }

    /// Where a name that stands at this share of the block may be.
    fn hint(&self, share: u64) -> Hint {
        let first = u64::from_be_bytes(self.0.first_chunk().copied().unwrap_or_default());
        let count = self.0.get(8..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        let count = u32::from_be_bytes(count);
        // Less than the count, as the share is less than one.
        let before = (u128::from(share) * u128::from(count)) >> 64;
        let likely = first.saturating_add(u64::try_from(before).unwrap_or(0));
        Hint { records: first..first.saturating_add(u64::from(count)), likely }
    }

    fn may_hold(&self, name: &ChunkName) -> bool {
        bits(name).all(|(at, bit)| self.0.get(at).is_some_and(|byte| byte & bit != 0))
    }
}

/// Where a name stands in a sorted table if it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    /// Records among which it is.
    pub(super) records: Range<u64>,
    /// The most likely one of them.
    pub(super) likely: u64,
}

impl Hint {
    /// What is known of a name among so many records without a filter.
    pub(super) fn without_filter(name: &ChunkName, records: u64) -> Self {
        Self { records: 0..records, likely: block_of(name, records).0 }
    }
}

/// A filter that can be read.
pub(super) struct Filter<'r>(TableReader<'r>);

impl<'r> Filter<'r> {
    pub(super) fn new(blocks: TableReader<'r>) -> Self {
        Self(blocks)
    }

    pub(super) fn blocks(&self) -> u64 {
        self.0.blocks()
    }

    /// [`TableReader::keep`].
    pub(super) fn keep(&mut self, blocks: usize, runs: usize) {
        self.0.keep(blocks, runs);
    }

    /// Most bytes that lie in memory.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.0.kept_blocks() * BLOCK_BYTES
    }

    /// Where a name may be; nothing if it surely is not there.
    pub(super) fn find(&self, name: &ChunkName) -> Result<Option<Hint>, RepositoryError> {
        let (number, share) = block_of(name, self.blocks());
        let found = self.0.look(number, &|bytes| {
            let block = Block::parse(bytes)?;
            Ok(block.may_hold(name).then(|| block.hint(share)))
        })?;
        found.map_err(|malformed: Malformed| malformed.in_object("a filter"))
    }
}

/// Writes the filter of names that come in order, a block at a time.
pub(super) struct FilterWriter<'w> {
    table: TableWriter<'w>,
    blocks: u64,
    /// Which block is at hand.
    number: u64,
    first: u64,
    count: u32,
    bytes: Vec<u8>,
}

impl<'w> FilterWriter<'w> {
    /// A filter for about so many names.
    pub(super) fn new(table: TableWriter<'w>, names: u64) -> Self {
        let blocks = names.saturating_mul(BITS_A_NAME).div_ceil(BITS).max(1);
        let bytes = vec![0; BLOCK_BYTES];
        Self { table, blocks, number: 0, first: 0, count: 0, bytes }
    }

    /// Adds the next name.
    pub(super) fn push(&mut self, name: &ChunkName) -> Result<(), RepositoryError> {
        let (block, _) = block_of(name, self.blocks);
        self.close_before(block)?;
        let too_many = RepositoryError::Bug("a block of a filter has too many names");
        self.count = self.count.checked_add(1).ok_or(too_many)?;
        for (at, bit) in bits(name) {
            if let Some(byte) = self.bytes.get_mut(at) {
                *byte |= bit;
            }
        }
        Ok(())
    }

    /// Stores what is left; returns how many blocks there are.
    pub(super) fn finish(mut self) -> Result<u64, RepositoryError> {
        self.close_before(self.blocks)?;
        self.table.finish()
    }

    fn close_before(&mut self, block: u64) -> Result<(), RepositoryError> {
        while self.number < block {
            let head = self.first.to_be_bytes().into_iter().chain(self.count.to_be_bytes());
            self.bytes.iter_mut().zip(head).for_each(|(to, from)| *to = from);
            self.table.push(&self.bytes)?;
            self.bytes.fill(0);
            self.number += 1;
            self.first += u64::from(self.count);
            self.count = 0;
        }
        Ok(())
    }
}

/// Reads bytes as a block of a filter.
#[cfg(feature = "parsers")]
pub(super) fn parse(bytes: &[u8]) {
    if let Ok(block) = Block::parse(bytes) {
        let name = ChunkName(bytes.first_chunk().copied().unwrap_or_default());
        if block.may_hold(&name) {
            block.hint(part(&name, 0));
        }
    }
}
