//! The packs of an index: how they are stored, and whether they are those that the log names.

use std::collections::{BTreeSet, HashSet};

use super::table::Shape;
use crate::RepositoryError;
use crate::log::ObjectId;

pub(super) const PACKS: Shape =
    Shape { name: "packs", record_bytes: RECORD_BYTES, block_records: 128 };
/// Bytes of a pack as it is stored.
pub(super) const RECORD_BYTES: usize = 40;
/// Packs that are looked for together: 33 bytes each.
const PACKS_AT_ONCE: usize = 200_000;

/// A pack's record: its name and its length.
pub(super) fn encode(id: &ObjectId, length: u64) -> Vec<u8> {
    [id.as_bytes().as_slice(), &length.to_be_bytes()].concat()
}

/// The name and the length that a record says.
pub(super) fn decode(record: &[u8; RECORD_BYTES]) -> (ObjectId, u64) {
    let id = record.first_chunk().copied().unwrap_or_default();
    let length = record.last_chunk().copied().unwrap_or_default();
    (ObjectId::from_bytes(id), u64::from_be_bytes(length))
}

/// What two sets of packs have in common if they are the same: how many there are, and what the first
/// half of their names, which are hashes, sums up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PackSum {
    pub(super) count: u64,
    pub(super) sum: u128,
}

impl PackSum {
    pub(super) fn of<'p>(packs: impl IntoIterator<Item = &'p ObjectId>) -> Self {
        let mut sum = Self::default();
        packs.into_iter().for_each(|id| sum.add(id));
        sum
    }

    /// Adds a pack.
    pub(super) fn add(&mut self, id: &ObjectId) {
        self.add_all(Self { count: 1, sum: half(id) });
    }

    /// Adds the packs of another set.
    pub(super) fn add_all(&mut self, other: Self) {
        self.count = self.count.wrapping_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// The first half of a pack's name.
pub(super) fn half(id: &ObjectId) -> u128 {
    u128::from_be_bytes(id.as_bytes().first_chunk().copied().unwrap_or_default())
}

/// Shows every pack that is described.
pub(super) type EachPack<'e> =
    dyn Fn(&mut dyn FnMut(&ObjectId)) -> Result<(), RepositoryError> + 'e;

/// Those of the live packs that are not described, in order. `each` is asked once for each [`PACKS_AT_ONCE`] live
/// ones.
pub(super) fn missing(
    live: &BTreeSet<ObjectId>,
    each: &EachPack<'_>,
) -> Result<Vec<ObjectId>, RepositoryError> {
    let mut missing = Vec::new();
    let mut live = live.iter().copied();
    loop {
        let mut part: HashSet<ObjectId> = live.by_ref().take(PACKS_AT_ONCE).collect();
        if part.is_empty() {
            missing.sort_unstable();
            return Ok(missing);
        }
        each(&mut |id| {
            part.remove(id);
        })?;
        missing.extend(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packs(numbers: std::ops::Range<u32>) -> BTreeSet<ObjectId> {
        numbers.map(|number| ObjectId::of(&number.to_be_bytes())).collect()
    }

    #[test]
    fn packs_are_missing_however_many_are_live() {
        let many = u32::try_from(PACKS_AT_ONCE).unwrap();
        // (live, described)
        for (live, described) in
            [(0..0, 0..3), (0..5, 0..5), (0..5, 1..9), (0..5, 5..9), (0..many + 2, 7..many + 1)]
        {
            let (live, described) = (packs(live), packs(described));
            let expected: Vec<ObjectId> = live.difference(&described).copied().collect();
            let each: &EachPack<'_> = &|visit| {
                described.iter().for_each(visit);
                Ok(())
            };
            assert_eq!(missing(&live, each).unwrap(), expected);
            assert_eq!(PackSum::of(&live) == PackSum::of(&described), live == described);
        }
    }
}
