//! Chunks: their names and where content is cut into them (docs/formats/repository.md, "Chunks").

use custody_envelope::{IdPurpose, VaultKeys};
use fastcdc::v2020::{Normalization, cut_gear, select_masks};
use zeroize::Zeroize;

use crate::RepositoryError;
use crate::error::Malformed;

/// Content of at most this many bytes is one chunk.
const CHUNK_BYTES_MIN: usize = 16 << 10;
/// What content-defined chunks are around, in bytes.
const CHUNK_BYTES_AVERAGE: usize = 64 << 10;
/// Longest chunk, in bytes.
pub(crate) const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Blocks of images, in bytes: what changed-block tracking reports in.
pub(crate) const BLOCK_BYTES: usize = 64 << 10;
/// Smaller files are never taken for images, in bytes.
const IMAGE_BYTES_MIN: u64 = 8 << 20;

/// A chunk's name: keyed BLAKE3 of its bytes. It never stands in clear in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChunkName(pub(crate) [u8; 32]);

impl ChunkName {
    /// What it begins with, which no other chunk's does by chance.
    pub(crate) fn begin(&self) -> u64 {
        self.0.first_chunk().map_or(0, |begin| u64::from_be_bytes(*begin))
    }
}

/// How a content was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunker {
    /// Where the bytes say so: an insertion moves no other cut.
    ContentDefined,
    /// In equal blocks: an overwrite costs one block.
    Fixed,
}

impl Chunker {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::ContentDefined => 1,
            Self::Fixed => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Result<Self, Malformed> {
        match number {
            1 => Ok(Self::ContentDefined),
            2 => Ok(Self::Fixed),
            _ => Err("it names an unknown chunker".into()),
        }
    }

    /// The chunker for a file with this name, size and first bytes (none if it begins with a
    /// hole).
    pub(crate) fn for_file(name: &[u8], size: u64, start: Option<&[u8]>) -> Self {
        if size >= IMAGE_BYTES_MIN && start.is_none_or(|start| is_image(name, start)) {
            Self::Fixed
        } else {
            Self::ContentDefined
        }
    }
}

fn is_image(name: &[u8], start: &[u8]) -> bool {
    const ENDINGS: [&[u8]; 8] =
        [b".img", b".raw", b".qcow", b".qcow2", b".vhd", b".vhdx", b".vmdk", b".vdi"];
    const MAGIC: [&[u8]; 3] = [b"QFI\xfb", b"KDMV", b"vhdxfile"];
    let name = name.to_ascii_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
        || MAGIC.iter().any(|magic| start.starts_with(magic))
        || start.get(510..512) == Some(&[0x55, 0xaa])
}

/// Names chunks and finds the cuts between them, both under the vault's id key.
pub(crate) struct Knife {
    name_key: [u8; 32],
    gear: Box<[u64; 256]>,
    gear_shifted: Box<[u64; 256]>,
    mask_small: u64,
    mask_large: u64,
}

impl Drop for Knife {
    fn drop(&mut self) {
        self.name_key.zeroize();
        self.gear.zeroize();
        self.gear_shifted.zeroize();
    }
}

impl Knife {
    pub(crate) fn new(keys: &VaultKeys) -> Result<Self, RepositoryError> {
        let [names, table] = [IdPurpose::ChunkNames, IdPurpose::ChunkerTable];
        let (names, table) = (keys.id_key(names)?, keys.id_key(table)?);
        match (names.expose().try_into(), table.expose().try_into()) {
            (Ok(names), Ok(table)) => Ok(Self::from_keys(names, table)),
            _ => Err(RepositoryError::Bug("an id key is not 32 bytes long")),
        }
    }

    /// One for tests.
    #[cfg(test)]
    pub(crate) fn fixed() -> Self {
        Self::from_keys([1; 32], &[2; 32])
    }

    fn from_keys(name_key: [u8; 32], table_key: &[u8; 32]) -> Self {
        let mut stream = blake3::Hasher::new_keyed(table_key).finalize_xof();
        let mut gear = Box::new([0; 256]);
        for word in gear.iter_mut() {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            *word = u64::from_be_bytes(bytes);
        }
        let gear_shifted = Box::new(gear.map(|word| word << 1));
        let (mask_small, mask_large) = select_masks(CHUNK_BYTES_AVERAGE, Normalization::Level1);
        Self { name_key, gear, gear_shifted, mask_small, mask_large }
    }

    /// The name of a chunk with these bytes.
    pub(crate) fn name(&self, bytes: &[u8]) -> ChunkName {
        ChunkName(*blake3::keyed_hash(&self.name_key, bytes).as_bytes())
    }

    /// The length of the next chunk at the front of `run`, which lies at `offset` in its content;
    /// none if the run goes on (`more`) and what is there does not decide it yet.
    pub(crate) fn cut(
        &self,
        chunker: Chunker,
        run: &[u8],
        offset: u64,
        more: Continuation,
    ) -> Option<usize> {
        let needed = match chunker {
            Chunker::ContentDefined => CHUNK_BYTES_MAX,
            Chunker::Fixed => {
                BLOCK_BYTES - usize::try_from(offset % BLOCK_BYTES as u64).unwrap_or(0)
            }
        };
        if run.is_empty() || (more == Continuation::More && run.len() < needed) {
            return None;
        }
        Some(match chunker {
            Chunker::Fixed => needed.min(run.len()),
            Chunker::ContentDefined => self.content_defined(run),
        })
    }

    fn content_defined(&self, run: &[u8]) -> usize {
        let (_hash, length) = cut_gear(
            run,
            CHUNK_BYTES_MIN,
            CHUNK_BYTES_AVERAGE,
            CHUNK_BYTES_MAX,
            self.mask_small,
            self.mask_large,
            self.mask_small << 1,
            self.mask_large << 1,
            self.gear.as_slice(),
            self.gear_shifted.as_slice(),
        );
        length
    }
}

/// Whether a run of data goes on after the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continuation {
    More,
    End,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::FileFailurePersistence;

    use super::*;

    fn cuts(knife: &Knife, chunker: Chunker, bytes: &[u8], window: usize) -> Vec<usize> {
        let (mut lengths, mut start, mut end) = (Vec::new(), 0, 0);
        while start < bytes.len() {
            end = (end + window).min(bytes.len()).max(end);
            let more = if end < bytes.len() { Continuation::More } else { Continuation::End };
            while let Some(length) = knife.cut(chunker, &bytes[start..end], start as u64, more) {
                lengths.push(length);
                start += length;
            }
        }
        lengths
    }

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 32,
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
                "proptest-regressions/chunk.txt",
            ))),
            ..ProptestConfig::default()
        })]
        #[test]
        fn cuts_do_not_depend_on_how_the_bytes_arrive(
            seed in any::<u64>(), length in 0_usize..1_500_000, window in 1_000_usize..400_000,
        ) {
            let knife = Knife::from_keys([1; 32], &[2; 32]);
            let bytes = noise(seed, length);
            for chunker in [Chunker::ContentDefined, Chunker::Fixed] {
                let whole = cuts(&knife, chunker, &bytes, length.max(1));
                prop_assert_eq!(&cuts(&knife, chunker, &bytes, window), &whole);
                prop_assert_eq!(whole.iter().sum::<usize>(), length);
                prop_assert!(whole.iter().all(|&cut| cut > 0 && cut <= CHUNK_BYTES_MAX));
            }
        }
    }

    #[test]
    fn an_insertion_moves_few_cuts_and_another_key_moves_all() {
        let knife = Knife::from_keys([1; 32], &[2; 32]);
        let ends = |knife: &Knife, bytes: &[u8]| -> std::collections::BTreeSet<usize> {
            let mut at = 0;
            cuts(knife, Chunker::ContentDefined, bytes, bytes.len())
                .into_iter()
                .map(|length| {
                    at += length;
                    bytes.len() - at
                })
                .collect()
        };
        let bytes = noise(7, 8 << 20);
        let before = ends(&knife, &bytes);
        let mut edited = bytes.clone();
        edited.insert(100, 1);
        assert!(ends(&knife, &edited).difference(&before).count() < 8);
        let other = ends(&Knife::from_keys([1; 32], &[3; 32]), &bytes);
        assert!(other.intersection(&before).count() < 8);
        assert!((64..256).contains(&before.len()), "{} chunks", before.len());
    }

    #[test]
    fn images() {
        let check = |name: &str, size: u64, start: Option<&[u8]>, expected: Chunker| {
            assert_eq!(Chunker::for_file(name.as_bytes(), size, start), expected, "{name}");
        };
        let mut boot = vec![0; 512];
        boot[510] = 0x55;
        boot[511] = 0xaa;
        check("vm.IMG", 1 << 30, Some(b"x"), Chunker::Fixed);
        check("vm.img", 1 << 20, Some(b"x"), Chunker::ContentDefined);
        check("disk", 1 << 30, Some(&boot), Chunker::Fixed);
        check("disk", 1 << 30, None, Chunker::Fixed);
        check("disk", 1 << 30, Some(b"QFI\xfb"), Chunker::Fixed);
        check("dump.sql", 1 << 30, Some(b"--"), Chunker::ContentDefined);
    }
}
