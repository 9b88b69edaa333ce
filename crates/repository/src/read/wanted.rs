//! Chunks that a restore will want again, kept from when their group was at hand.
//!
//! Copies of a file lie anywhere in a tree, and their chunks all in one group: without this, every
//! copy has a whole group opened and decompressed again.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::{ChunkBytes, ChunkReader, locked};
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::content::Content;
use crate::listing::{Body, Node};

/// Most chunks that are counted, about 32 bytes each until all are. Those met after them are not
/// foreseen.
const COUNTED_MAX: usize = 1 << 20;
/// Most bytes of chunks kept. When they are used up a chunk is read again whenever it is wanted.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// How often each chunk is still wanted, and those kept for it.
pub(crate) struct Wanted {
    /// Of those wanted more than once, by what its name begins with, which no other chunk's does by
    /// chance. [`u8::MAX`] means that or more, for good.
    left: HashMap<u64, AtomicU8>,
    kept: Mutex<Kept>,
}

/// Where a chunk that is wanted again is to come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// From memory, where it is kept.
    Kept,
    /// From where it was written.
    ReadBack,
}

#[derive(Default)]
struct Kept {
    chunks: HashMap<ChunkName, ChunkBytes>,
    bytes: usize,
}

impl Wanted {
    /// Counts what restoring `nodes` will read, asking `keep_going` at every folder. What cannot
    /// be read is left out: the restore itself says so.
    pub(crate) fn by(
        nodes: &[Node],
        reader: &ChunkReader<'_>,
        keep_going: &dyn Fn() -> Result<(), RepositoryError>,
    ) -> Result<Self, RepositoryError> {
        let mut wanted = Self { left: HashMap::new(), kept: Mutex::default() };
        let mut links = HashSet::new();
        let mut folders = wanted.count_all(nodes, &mut links, reader)?;
        while let Some(folder) = folders.pop() {
            keep_going()?;
            match reader.listing(&folder) {
                Ok(nodes) => {
                    folders.append(&mut wanted.count_all(&nodes, &mut links, reader)?);
                }
                Err(error) if error.is_local() => {}
                Err(error) => return Err(error),
            }
        }
        wanted.left.retain(|_, left| *left.get_mut() > 1);
        wanted.left.shrink_to_fit();
        Ok(wanted)
    }

    /// Counts what these entries need themselves; the folders among them.
    fn count_all(
        &mut self,
        nodes: &[Node],
        links: &mut HashSet<(u64, u64)>,
        reader: &ChunkReader<'_>,
    ) -> Result<Vec<Content>, RepositoryError> {
        let mut folders = Vec::new();
        for Node { entry, body } in nodes {
            let identity = &entry.metadata.identity;
            match body {
                Body::Folder(content) => {
                    self.count(content, reader)?;
                    folders.push(content.clone());
                }
                Body::File { content, .. } => {
                    // The other links to a file are made without reading it.
                    let is_link =
                        identity.links > 1 && !links.insert((identity.device, identity.inode));
                    if !is_link {
                        self.count(content, reader)?;
                    }
                }
                Body::None => {}
            }
        }
        Ok(folders)
    }

    fn count(
        &mut self,
        content: &Content,
        reader: &ChunkReader<'_>,
    ) -> Result<(), RepositoryError> {
        let counted = reader.for_each_chunk(content, &mut |name| {
            let (key, is_full) = (name.begin(), self.left.len() >= COUNTED_MAX);
            if !is_full || self.left.contains_key(&key) {
                let left = self.left.entry(key).or_default().get_mut();
                *left = left.saturating_add(1);
            }
            Ok(true)
        });
        match counted {
            Err(error) if !error.is_local() => Err(error),
            _ => Ok(()),
        }
    }

    /// Uses a chunk once: what is kept of it, or what `read` gives, which may be kept if it is wanted
    /// again.
    pub(crate) fn using(
        &self,
        name: &ChunkName,
        again: Again,
        read: impl FnOnce() -> Result<ChunkBytes, RepositoryError>,
    ) -> Result<ChunkBytes, RepositoryError> {
        if let Some(left) = self.left(name) {
            let one_less = |left: u8| if left == u8::MAX { None } else { left.checked_sub(1) };
            let _ = left.fetch_update(Relaxed, Relaxed, one_less);
        }
        if let Some(chunk) = locked(&self.kept).take(name, self.is_wanted(name)) {
            return Ok(chunk);
        }
        let chunk = read()?;
        let mut kept = locked(&self.kept);
        // Asked under the lock: who uses it up meanwhile comes to take it out afterwards.
        if again == Again::Kept && self.is_wanted(name) {
            kept.keep(name, &chunk);
        }
        Ok(chunk)
    }

    /// Whether the chunk will be used again.
    pub(crate) fn is_wanted(&self, name: &ChunkName) -> bool {
        self.left(name).is_some_and(|left| left.load(Relaxed) > 0)
    }

    fn left(&self, name: &ChunkName) -> Option<&AtomicU8> {
        self.left.get(&name.begin())
    }
}

impl Kept {
    /// The chunk, if it is kept; it stays if it is wanted again.
    fn take(&mut self, name: &ChunkName, again: bool) -> Option<ChunkBytes> {
        if again {
            return self.chunks.get(name).cloned();
        }
        let chunk = self.chunks.remove(name)?;
        self.bytes -= chunk.as_ref().len();
        Some(chunk)
    }

    fn keep(&mut self, name: &ChunkName, chunk: &ChunkBytes) {
        let length = chunk.as_ref().len();
        if self.bytes + length <= KEPT_BYTES_MAX && !self.chunks.contains_key(name) {
            self.chunks.insert(*name, chunk.alone());
            self.bytes += length;
        }
    }
}
