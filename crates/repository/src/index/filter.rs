//! Which chunks are surely not there: a Bloom filter over chunk names.

use crate::chunk::ChunkName;

/// Most bits that one name takes, so that small runs are not all filter.
const BITS_A_NAME_MAX: usize = 16;
/// Most bits that are looked at for one name.
const HASHES_MAX: usize = 8;

/// The filter. Names are keyed hashes already: their own bytes serve, and a library would hash them
/// once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    words: Vec<u64>,
    hashes: usize,
}

impl Filter {
    /// An empty filter for so many names in at most so many bytes.
    pub(super) fn for_names(names: usize, bytes_max: usize) -> Self {
        let bits = names.saturating_mul(BITS_A_NAME_MAX).min(bytes_max.saturating_mul(8));
        let words = bits.div_ceil(u64::BITS as usize).max(1);
        // Bits a name × ln 2 is best.
        let hashes = (words * u64::BITS as usize * 7 / 10 / names.max(1)).clamp(1, HASHES_MAX);
        Self { words: vec![0; words], hashes }
    }

    /// A filter as it was stored; nothing if it cannot be one.
    pub(super) fn from_parts(words: Vec<u64>, hashes: usize) -> Option<Self> {
        let fits = !words.is_empty() && (1..=HASHES_MAX).contains(&hashes);
        fits.then_some(Self { words, hashes })
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(super) fn hashes(&self) -> usize {
        self.hashes
    }

    pub(super) fn insert(&mut self, name: &ChunkName) {
        let bits = self.bits(name);
        for (word, mask) in bits {
            if let Some(word) = self.words.get_mut(word) {
                *word |= mask;
            }
        }
    }

    /// Whether the name may be there.
    pub(super) fn may_hold(&self, name: &ChunkName) -> bool {
        self.bits(name)
            .all(|(word, mask)| self.words.get(word).is_some_and(|word| word & mask != 0))
    }

    fn bits(&self, name: &ChunkName) -> impl Iterator<Item = (usize, u64)> + use<> {
        let count = self.words.len() as u64 * u64::from(u64::BITS);
        let (first, step) = (part(name, 0), part(name, 8) | 1);
        (0..self.hashes as u64).map(move |number| {
            let bit = first.wrapping_add(number.wrapping_mul(step)) % count;
            let word = usize::try_from(bit / u64::from(u64::BITS)).unwrap_or(usize::MAX);
            (word, 1 << (bit % u64::from(u64::BITS)))
        })
    }
}

/// Eight bytes of a name as a number.
pub(super) fn part(name: &ChunkName, at: usize) -> u64 {
    let bytes = name.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    u64::from_be_bytes(bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u64) -> ChunkName {
        ChunkName(*blake3::hash(&number.to_be_bytes()).as_bytes())
    }

    #[test]
    fn what_went_in_is_found_and_little_else() {
        // (names, bytes) -> at most so many of 10,000 others
        for (names, bytes, others_max) in
            [(1, 1, 10), (1_000, 1 << 20, 30), (50_000, 25_000, 2_500)]
        {
            let mut filter = Filter::for_names(names, bytes);
            (0..names as u64).for_each(|number| filter.insert(&name(number)));
            assert!((0..names as u64).all(|number| filter.may_hold(&name(number))), "{names}");
            let others = (1_000_000..1_010_000).filter(|number| filter.may_hold(&name(*number)));
            let others = others.count();
            assert!(others <= others_max, "{names} names in {bytes} bytes: {others}");
            assert!(filter.words().len() * 8 <= bytes.max(8));
            let again = Filter::from_parts(filter.words().to_vec(), filter.hashes());
            assert_eq!(again, Some(filter));
        }
        assert_eq!(Filter::from_parts(Vec::new(), 1), None);
        assert_eq!(Filter::from_parts(vec![0], 0), None);
    }
}
