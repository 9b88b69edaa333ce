//! Chunks that are new in a session, in memory that does not grow with them
//! (docs/formats/index-cache.md, "Sessions").
//!
//! When many wait, the index of the packs so far is stored, and their names go into runs on disk.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError, RwLock};

use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::index::session::SessionRuns;
use crate::index_object;
use crate::log::ObjectId;
use crate::pack::PackSummary;
use crate::read::locked;
use crate::repository::Repository;

/// How many locks the names of new chunks are spread over.
const SHARDS: usize = 64;
/// Bytes that a new chunk takes until the index of its pack is stored: its name in a table that is
/// half empty at worst, and its entry in the pack's directory.
const BYTES_A_CHUNK: usize = 72 + 36;

/// What a session added to the store.
#[derive(Default)]
pub(super) struct Added {
    pub(super) packs: BTreeSet<ObjectId>,
    pub(super) indexes: BTreeSet<ObjectId>,
}

/// The chunks that a session met first.
pub(super) struct Fresh<'r> {
    repository: &'r Repository,
    /// Most chunks whose packs wait for their index.
    chunks_max: usize,
    /// Names that are claimed and in no pack whose index is stored.
    pending: Vec<Mutex<HashSet<ChunkName>>>,
    /// Packs whose index is not stored yet.
    waiting: Mutex<Waiting>,
    /// Names in packs whose index is stored.
    indexed: RwLock<Indexed<'r>>,
    /// Held by whoever stores an index: one at a time, so that no more packs wait than may.
    added: Mutex<Added>,
}

#[derive(Default)]
struct Waiting {
    packs: Vec<PackSummary>,
    chunks: usize,
}

#[derive(Default)]
struct Indexed<'r> {
    runs: SessionRuns<'r>,
    /// Names that cannot be kept on disk.
    names: HashSet<ChunkName>,
}

impl<'r> Fresh<'r> {
    pub(super) fn new(repository: &'r Repository) -> Self {
        let bytes = repository.parts.index_limits.session_bytes / 2;
        Self {
            repository,
            chunks_max: (bytes / BYTES_A_CHUNK).max(1),
            pending: (0..SHARDS).map(|_| Mutex::default()).collect(),
            waiting: Mutex::default(),
            indexed: RwLock::default(),
            added: Mutex::default(),
        }
    }

    /// Whether this is the first time that the session meets a chunk that was not stored before it.
    pub(super) fn claim(&self, name: ChunkName) -> Result<bool, RepositoryError> {
        let mut pending = locked(self.shard(&name)?);
        if pending.contains(&name) {
            return Ok(false);
        }
        // Looked for under the lock: a name is in the runs before it is taken out here.
        let indexed = self.indexed.read().unwrap_or_else(PoisonError::into_inner);
        Ok(!indexed.hold(&name)? && pending.insert(name))
    }

    /// Takes a new pack, which is durable.
    pub(super) fn add(&self, pack: PackSummary) -> Result<(), RepositoryError> {
        let is_full = {
            let mut waiting = locked(&self.waiting);
            waiting.chunks += pack.directory.chunk_count();
            waiting.packs.push(pack);
            waiting.chunks >= self.chunks_max
        };
        if is_full { self.store_index(&mut locked(&self.added), self.chunks_max) } else { Ok(()) }
    }

    /// What the session added, all of it durable, and the proof that it holds every new chunk.
    pub(super) fn finish(&self) -> Result<Added, RepositoryError> {
        let mut added = locked(&self.added);
        self.store_index(&mut added, 0)?;
        if self.pending.iter().all(|shard| locked(shard).is_empty()) {
            Ok(std::mem::take(&mut *added))
        } else {
            Err(RepositoryError::Bug("a new chunk is in no pack of its session"))
        }
    }

    /// Stores the index of the packs that wait, if they hold so many chunks.
    fn store_index(&self, added: &mut Added, chunks_min: usize) -> Result<(), RepositoryError> {
        let packs = {
            let mut waiting = locked(&self.waiting);
            // Another thread may have stored it meanwhile.
            if waiting.chunks < chunks_min {
                return Ok(());
            }
            std::mem::take(&mut *waiting).packs
        };
        let store = &*self.repository.parts.store;
        let indexes = index_object::store(&packs, store, self.repository.keys())?;
        if chunks_min > 0 {
            self.remember(&packs, &indexes)?;
        }
        for pack in &packs {
            for member in pack.directory.groups.iter().flat_map(|group| &group.members) {
                if !locked(self.shard(&member.name)?).remove(&member.name) {
                    return Err(RepositoryError::Bug("a pack holds a chunk that nobody claimed"));
                }
            }
        }
        added.packs.extend(packs.iter().map(|pack| pack.id));
        added.indexes.extend(indexes);
        Ok(())
    }

    /// Has the names in packs whose index is stored found from now on.
    fn remember(&self, packs: &[PackSummary], indexes: &[ObjectId]) -> Result<(), RepositoryError> {
        let replaced = {
            let indexed = self.indexed.read().unwrap_or_else(PoisonError::into_inner);
            let chunks = packs.iter().map(|pack| pack.directory.chunk_count() as u64).sum();
            match self.repository.cache() {
                Ok(Some(cache)) => indexed.runs.with(cache, indexes, chunks).map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let mut indexed = self.indexed.write().unwrap_or_else(PoisonError::into_inner);
        match replaced {
            Ok(Some(change)) => return indexed.runs.change(change),
            // A cache that cannot be kept must not keep anyone from backing up.
            Ok(None) | Err(RepositoryError::Store(_)) => {}
            Err(error) if error.is_local() => {}
            Err(error) => return Err(error),
        }
        let groups = packs.iter().flat_map(|pack| &pack.directory.groups);
        indexed.names.extend(groups.flat_map(|group| &group.members).map(|member| member.name));
        Ok(())
    }

    fn shard(&self, name: &ChunkName) -> Result<&Mutex<HashSet<ChunkName>>, RepositoryError> {
        let shard = name.0.first().map_or(0, |byte| usize::from(*byte) % SHARDS);
        self.pending.get(shard).ok_or(RepositoryError::Bug("a chunk belongs to no shard"))
    }
}

impl Indexed<'_> {
    fn hold(&self, name: &ChunkName) -> Result<bool, RepositoryError> {
        Ok(self.names.contains(name) || self.runs.hold(name)?)
    }
}

#[cfg(test)]
pub(crate) mod tests;
