//! What points need, followed in memory of one bit for each chunk of the index.

use std::collections::{HashMap, HashSet};

use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::content::Content;
use crate::index::{ChunkIndex, Hit};
use crate::listing::Body;
use crate::read::ChunkReader;

/// Names that are looked up together.
const NAMES_MAX: usize = 256 << 10;
/// Folders that are remembered by more than a bit: twice as many at most, 40 bytes each.
const LARGE_FOLDERS_MAX: usize = 128 << 10;

/// One bit for each chunk of an index.
struct Bits(Vec<u64>);

impl Bits {
    fn for_index(index: &dyn ChunkIndex) -> Self {
        Self(vec![0; index.chunk_count() / 64 + 1])
    }

    fn get(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    /// True if it was not set before.
    fn set(&mut self, position: usize) -> bool {
        let Some(word) = self.0.get_mut(position / 64) else { return false };
        let before = *word;
        *word |= 1 << (position % 64);
        before != *word
    }
}

/// Folders that need not be looked at again, whichever point they are met in.
pub(crate) struct SeenFolders {
    /// By the position of their listing's chunk, if it has one alone.
    small: Bits,
    /// By a hash of the names of their chunks; those not met for longest are forgotten.
    large: HashSet<[u8; 32]>,
    large_before: HashSet<[u8; 32]>,
}

/// How a folder is remembered.
enum Key {
    Small(usize),
    Large([u8; 32]),
    /// It cannot be: its listing is nowhere.
    None,
}

impl SeenFolders {
    pub(crate) fn new(index: &dyn ChunkIndex) -> Self {
        let small = Bits::for_index(index);
        Self { small, large: HashSet::new(), large_before: HashSet::new() }
    }

    /// Whether the folder with this listing was seen.
    pub(crate) fn hold(
        &self,
        listing: &Content,
        index: &dyn ChunkIndex,
    ) -> Result<bool, RepositoryError> {
        Ok(match Self::key(listing, index)? {
            Key::Small(position) => self.small.get(position),
            Key::Large(hash) => self.large.contains(&hash) || self.large_before.contains(&hash),
            Key::None => false,
        })
    }

    /// Remembers a folder; true if it is new.
    pub(crate) fn insert(
        &mut self,
        listing: &Content,
        index: &dyn ChunkIndex,
    ) -> Result<bool, RepositoryError> {
        Ok(match Self::key(listing, index)? {
            Key::Small(position) => self.small.set(position),
            Key::Large(hash) => {
                if self.large.len() >= LARGE_FOLDERS_MAX {
                    self.large_before = std::mem::take(&mut self.large);
                }
                self.large.insert(hash) && !self.large_before.contains(&hash)
            }
            Key::None => true,
        })
    }

    fn key(listing: &Content, index: &dyn ChunkIndex) -> Result<Key, RepositoryError> {
        if let ([extent], 0) = (listing.extents.as_slice(), listing.level)
            && let Some(name) = extent.chunk
        {
            let hits = index.locate(&[name])?;
            return Ok(hits.first().map_or(Key::None, |hit| Key::Small(hit.position)));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[listing.level]);
        for name in listing.extents.iter().filter_map(|extent| extent.chunk) {
            hasher.update(&name.0);
        }
        Ok(Key::Large(*hasher.finalize().as_bytes()))
    }
}

/// The chunks that points need.
pub(crate) struct Needs<'w> {
    index: &'w dyn ChunkIndex,
    needed: Bits,
    seen: SeenFolders,
    folders: u64,
    /// Names that are still to be looked up.
    waiting: Vec<ChunkName>,
    /// Bytes that are needed of each pack of the index, sealed.
    pub(crate) used: Vec<u64>,
    /// Whether everything that is needed is there and can be relied on, as far as it was looked up.
    pub(crate) is_whole: bool,
}

impl<'w> Needs<'w> {
    pub(crate) fn new(index: &'w dyn ChunkIndex) -> Self {
        Self {
            index,
            needed: Bits::for_index(index),
            seen: SeenFolders::new(index),
            folders: 0,
            waiting: Vec::new(),
            used: vec![0; index.pack_count()],
            is_whole: true,
        }
    }

    /// Follows a point to every chunk that it needs, telling `step` at each folder how many there were.
    /// A list of extents that is lost costs its file, which needs no more.
    ///
    /// # Errors
    /// [`RepositoryError::Damaged`] and the like if a listing cannot be read.
    pub(crate) fn follow(
        &mut self,
        root: &Content,
        reader: &ChunkReader<'_>,
        step: &dyn Fn(u64) -> Result<(), RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            step(self.folders)?;
            if !self.seen.insert(&folder, self.index)? {
                continue;
            }
            self.folders += 1;
            self.need(&folder, reader)??;
            for node in reader.listing(&folder)? {
                match node.body {
                    Body::Folder(content) => folders.push(content),
                    Body::File { content, .. } => match self.need(&content, reader)? {
                        Err(error) if !error.is_lasting() => return Err(error),
                        Err(_) => self.is_whole = false,
                        Ok(()) => {}
                    },
                    Body::None => {}
                }
            }
        }
        Ok(())
    }

    /// Looks up what still waits. Until then the counts are not complete.
    pub(crate) fn settle(&mut self) -> Result<(), RepositoryError> {
        let mut names = std::mem::take(&mut self.waiting);
        names.sort_unstable();
        names.dedup();
        let hits = self.index.locate(&names)?;
        let mut found = 0;
        for hits in hits.chunk_by(|one, other| one.asked == other.asked) {
            found += 1;
            let Some(kept) = kept(hits) else { continue };
            self.is_whole &= kept.is_reliable;
            if hits.first().is_some_and(|first| self.needed.set(first.position))
                && let Some(used) = self.used.get_mut(kept.pack as usize)
            {
                *used += u64::from(kept.sealed);
            }
        }
        self.is_whole &= found == names.len();
        names.clear();
        self.waiting = names;
        Ok(())
    }

    /// Which of these chunks, whose names are sorted and differ, are needed; each with the pack (counted
    /// as the index does) in which it is kept.
    pub(crate) fn kept(
        &self,
        names: &[ChunkName],
    ) -> Result<HashMap<ChunkName, u32>, RepositoryError> {
        let hits = self.index.locate(names)?;
        let mut needed = HashMap::new();
        for hits in hits.chunk_by(|one, other| one.asked == other.asked) {
            let is_needed = hits.first().is_some_and(|first| self.needed.get(first.position));
            if let (true, Some(kept)) = (is_needed, kept(hits))
                && let Some(name) = names.get(kept.asked as usize)
            {
                needed.insert(*name, kept.pack);
            }
        }
        Ok(needed)
    }

    /// Takes note of the chunks of a content. The inner error is the content's own, the outer one the
    /// index's: what was to be looked up then is lost.
    fn need(
        &mut self,
        content: &Content,
        reader: &ChunkReader<'_>,
    ) -> Result<Result<(), RepositoryError>, RepositoryError> {
        let mut settled = Ok(());
        let read = reader.for_each_chunk(content, &mut |name| {
            if self.waiting.len() >= NAMES_MAX {
                settled = self.settle();
            }
            self.waiting.push(*name);
            Ok(settled.is_ok())
        });
        settled.map(|()| read.map(drop))
    }
}

/// The place of a chunk that stays: the first that can be relied on.
fn kept(hits: &[Hit]) -> Option<&Hit> {
    hits.iter().find(|hit| hit.is_reliable).or(hits.first())
}
