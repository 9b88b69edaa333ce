//! Where to begin looking among sorted names.

use std::ops::Range;

use super::Place;
use super::filter::part;
use crate::chunk::ChunkName;

/// Where the names of each prefix begin: 2 to 4 bytes a name. Names are keyed hashes and lie evenly, so that each
/// prefix has a few: a look-up touches one place of this and one or two of the names, where a search
/// by halves goes all over them.
#[derive(Default)]
pub(super) struct Prefixes {
    /// For each prefix, and one more.
    firsts: Vec<usize>,
    /// Bits of a name that are not of its prefix, of the first 64.
    other_bits: u32,
}

impl Prefixes {
    /// The prefixes of these places, which are sorted by name.
    pub(super) fn of(places: &[Place]) -> Self {
        let bits = places.len().checked_ilog2().unwrap_or_default().saturating_sub(1);
        let mut prefixes = Self { firsts: Vec::new(), other_bits: u64::BITS - bits };
        let count = (1 << bits) + 1;
        prefixes.firsts.reserve_exact(count);
        for (number, place) in places.iter().enumerate() {
            let prefix = prefixes.prefix(&place.name);
            while prefixes.firsts.len() <= prefix {
                prefixes.firsts.push(number);
            }
        }
        prefixes.firsts.resize(count, places.len());
        prefixes
    }

    /// Among which of the places a name would stand.
    pub(super) fn range(&self, name: &ChunkName) -> Range<usize> {
        let prefix = self.prefix(name);
        let first = |prefix: usize| self.firsts.get(prefix).copied().unwrap_or_default();
        first(prefix)..first(prefix + 1)
    }

    fn prefix(&self, name: &ChunkName) -> usize {
        let prefix = part(name, 0).checked_shr(self.other_bits).unwrap_or_default();
        usize::try_from(prefix).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(names: &[[u8; 32]]) -> Vec<Place> {
        let mut places: Vec<Place> = names
            .iter()
            .map(|name| Place { name: ChunkName(*name), group: 0, offset: 0, length: 1 })
            .collect();
        places.sort_unstable();
        places
    }

    fn check(names: &[[u8; 32]], others: &[[u8; 32]]) {
        let places = places(names);
        let prefixes = Prefixes::of(&places);
        for name in names.iter().chain(others).copied().map(ChunkName) {
            let expected = places.partition_point(|place| place.name < name);
            let range = prefixes.range(&name);
            let found = range.start + places[range].partition_point(|place| place.name < name);
            assert_eq!(found, expected, "{} places, {name:?}", places.len());
        }
    }

    #[test]
    fn what_is_in_range_is_where_a_search_of_all_would_find_it() {
        let hashes = |numbers: Range<u32>| -> Vec<[u8; 32]> {
            numbers.map(|number| *blake3::hash(&number.to_be_bytes()).as_bytes()).collect()
        };
        let others = [vec![[0; 32], [0xff; 32]], hashes(10_000..10_100)].concat();
        for count in [0, 1, 2, 3, 4, 7, 8, 9, 255, 256, 5_000] {
            check(&hashes(0..count), &others);
        }
        // Names that do not lie evenly, and the same name often.
        let mut uneven = hashes(0..100);
        for name in &mut uneven {
            name[..4].fill(0xff);
        }
        check(&uneven, &others);
        check(&[[7; 32]; 50], &others);
        check(&[[0; 32], [0; 32], [0xff; 32]], &others);
    }
}
