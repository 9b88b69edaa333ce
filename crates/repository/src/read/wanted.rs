//! Chunks that a restore will want again, kept from when their group was at hand.
//!
//! Copies of a file lie anywhere in a tree, and their chunks all in one group: without this, every
//! copy has a whole group opened and decompressed again.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::{ChunkBytes, ChunkReader, locked};
use crate::RepositoryError;
use crate::content::Content;
use crate::index::ChunkIndex;
use crate::listing::{Body, Node};

/// In an index of more chunks than this none is foreseen: it would take a byte for each.
const CHUNKS_MAX: usize = 16 << 20;
/// Most bytes of chunks kept. When they are used up a chunk is read again whenever it is wanted.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// How often each chunk is still wanted, and those kept for it.
pub(crate) struct Wanted {
    /// By position in the index: 1 byte a chunk. [`u8::MAX`] means that or more, for good.
    left: Vec<AtomicU8>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By position in the index.
    chunks: HashMap<usize, ChunkBytes>,
    bytes: usize,
}

impl Wanted {
    /// Counts what restoring `nodes` will read, asking `keep_going` at every folder. What cannot
    /// be read is left out: the restore itself says so.
    pub(crate) fn by(
        nodes: &[Node],
        reader: &ChunkReader<'_>,
        index: &dyn ChunkIndex,
        keep_going: &dyn Fn() -> Result<(), RepositoryError>,
    ) -> Result<Option<Self>, RepositoryError> {
        let count = index.chunk_count();
        if count > CHUNKS_MAX {
            return Ok(None);
        }
        let left = std::iter::repeat_with(AtomicU8::default).take(count).collect();
        let wanted = Self { left, kept: Mutex::default() };
        let mut links = HashSet::new();
        let mut folders = wanted.count_all(nodes, &mut links, reader, index)?;
        while let Some(folder) = folders.pop() {
            keep_going()?;
            match reader.listing(&folder) {
                Ok(nodes) => {
                    folders.append(&mut wanted.count_all(&nodes, &mut links, reader, index)?);
                }
                Err(error) if error.is_local() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(wanted))
    }

    /// Counts what these entries need themselves; the folders among them.
    fn count_all(
        &self,
        nodes: &[Node],
        links: &mut HashSet<(u64, u64)>,
        reader: &ChunkReader<'_>,
        index: &dyn ChunkIndex,
    ) -> Result<Vec<Content>, RepositoryError> {
        let mut folders = Vec::new();
        for Node { entry, body } in nodes {
            let identity = &entry.metadata.identity;
            match body {
                Body::Folder(content) => {
                    self.count(content, reader, index)?;
                    folders.push(content.clone());
                }
                Body::File { content, .. } => {
                    // The other links to a file are made without reading it.
                    let is_link =
                        identity.links > 1 && !links.insert((identity.device, identity.inode));
                    if !is_link {
                        self.count(content, reader, index)?;
                    }
                }
                Body::None => {}
            }
        }
        Ok(folders)
    }

    fn count(
        &self,
        content: &Content,
        reader: &ChunkReader<'_>,
        index: &dyn ChunkIndex,
    ) -> Result<(), RepositoryError> {
        let counted = reader.for_each_chunk(content, &mut |name| {
            if let Some(left) = index.position(name)?.and_then(|at| self.left.get(at)) {
                let _ = left.fetch_update(Relaxed, Relaxed, |left| left.checked_add(1));
            }
            Ok(true)
        });
        match counted {
            Err(error) if !error.is_local() => Err(error),
            _ => Ok(()),
        }
    }

    /// Uses the chunk at `at` once: the chunk if it is kept, or what `read` gives, which is kept if
    /// it is wanted again.
    pub(crate) fn using(
        &self,
        at: usize,
        read: impl FnOnce() -> Result<ChunkBytes, RepositoryError>,
    ) -> Result<ChunkBytes, RepositoryError> {
        if let Some(left) = self.left.get(at) {
            let one_less = |left: u8| if left == u8::MAX { None } else { left.checked_sub(1) };
            let _ = left.fetch_update(Relaxed, Relaxed, one_less);
        }
        if let Some(chunk) = locked(&self.kept).take(at, self.is_wanted(at)) {
            return Ok(chunk);
        }
        let chunk = read()?;
        let mut kept = locked(&self.kept);
        // Asked under the lock: who uses it up meanwhile comes to take it out afterwards.
        if self.is_wanted(at) {
            kept.keep(at, &chunk);
        }
        Ok(chunk)
    }

    fn is_wanted(&self, at: usize) -> bool {
        self.left.get(at).is_some_and(|left| left.load(Relaxed) > 0)
    }
}

impl Kept {
    /// The chunk, if it is kept; it stays if it is wanted again.
    fn take(&mut self, at: usize, again: bool) -> Option<ChunkBytes> {
        if again {
            return self.chunks.get(&at).cloned();
        }
        let chunk = self.chunks.remove(&at)?;
        self.bytes -= chunk.as_ref().len();
        Some(chunk)
    }

    fn keep(&mut self, at: usize, chunk: &ChunkBytes) {
        let length = chunk.as_ref().len();
        if self.bytes + length <= KEPT_BYTES_MAX && !self.chunks.contains_key(&at) {
            self.chunks.insert(at, chunk.alone());
            self.bytes += length;
        }
    }
}
