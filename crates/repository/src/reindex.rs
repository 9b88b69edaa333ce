//! Index objects in place of others, in memory for a few packs at a time.

use std::collections::{BTreeSet, HashSet};

use crate::RepositoryError;
use crate::index::{Place, Table};
use crate::index_object::{self, CHUNKS_MAX, Stream};
use crate::log::{History, ObjectId};
use crate::object::{self, Family};
use crate::pack::PackSummary;
use crate::progress::{Phase, Progress, Status, Total};
use crate::repository::Repository;
use crate::sealed::length_u32;

/// Chunks of packs that wait until their index is stored.
const WAITING_CHUNKS_MAX: usize = CHUNKS_MAX / 2;
/// Index objects of fewer chunks are put together.
const SMALL_CHUNKS: usize = CHUNKS_MAX / 4;

/// Packs, and the index objects that describe them.
pub(crate) struct Described<'r> {
    repository: &'r Repository,
    waiting: Vec<PackSummary>,
    chunks: usize,
    pub(crate) packs: BTreeSet<ObjectId>,
    pub(crate) indexes: BTreeSet<ObjectId>,
}

impl<'r> Described<'r> {
    pub(crate) fn new(repository: &'r Repository) -> Self {
        let (waiting, packs, indexes) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        Self { repository, waiting, chunks: 0, packs, indexes }
    }

    /// Adds a pack that stands in the store.
    pub(crate) fn add(&mut self, pack: PackSummary) -> Result<(), RepositoryError> {
        self.packs.insert(pack.id);
        self.chunks += pack.directory.chunk_count();
        self.waiting.push(pack);
        if self.chunks >= WAITING_CHUNKS_MAX { self.store() } else { Ok(()) }
    }

    /// Stores the index of what waits.
    pub(crate) fn store(&mut self) -> Result<(), RepositoryError> {
        let Repository { parts, .. } = self.repository;
        let packs = std::mem::take(&mut self.waiting);
        self.chunks = 0;
        let stored = index_object::store(&packs, &*parts.store, self.repository.keys())?;
        self.indexes.extend(stored);
        Ok(())
    }
}

/// What takes the place of index objects when packs go.
#[derive(Default)]
pub(crate) struct Reindexed {
    pub(crate) indexes: BTreeSet<ObjectId>,
    pub(crate) replaced: BTreeSet<ObjectId>,
}

/// Index objects being put together.
#[derive(Default)]
struct Merged {
    table: Table,
    places: Vec<Place>,
    sources: Vec<ObjectId>,
    /// Whether it is more than its one source, or less.
    is_new: bool,
}

impl Repository {
    /// Describes all packs that stay when those that are `doomed` go: index objects that name one that
    /// does not stay are written again without it, small ones are put together, and packs that none
    /// describes are read. The others stay as they are.
    pub(crate) fn reindex(
        &self,
        history: &History,
        doomed: &BTreeSet<ObjectId>,
        progress: &dyn Progress,
    ) -> Result<Reindexed, RepositoryError> {
        let report = |files: usize| {
            let (phase, files) = (Phase::Indexing, files as u64);
            progress.report(&Status { phase, files, bytes: 0, new_bytes: 0 });
        };
        report(0);
        progress.expect(Total::exact(history.indexes().len() as u64, 0));
        let mut done = Reindexed { indexes: BTreeSet::new(), replaced: BTreeSet::new() };
        let (mut merged, mut known, mut lost) = (Merged::default(), HashSet::new(), Vec::new());
        let stays = |pack: &ObjectId| history.packs().contains(pack) && !doomed.contains(pack);
        for (number, id) in history.indexes().keys().enumerate() {
            report(number);
            let is_new = |pack: &ObjectId| stays(pack) && !known.contains(pack);
            let described = match self.put_together(*id, &is_new, &mut merged, &mut done) {
                Err(error) if error.is_local() => {
                    lost.push(*id);
                    continue;
                }
                described => described?,
            };
            known.extend(described.into_iter().filter(|pack| stays(pack)));
        }
        let mut is_complete = true;
        for pack in history.packs().iter().filter(|pack| stays(pack) && !known.contains(*pack)) {
            match self.read_pack_summary(*pack) {
                Ok(summary) => {
                    self.make_room(summary.directory.chunk_count(), &mut merged, &mut done)?;
                    merged.places.append(&mut merged.table.add(&summary)?);
                    merged.is_new = true;
                }
                Err(error) if error.is_local() => is_complete = false,
                Err(error) => return Err(error),
            }
        }
        self.store_merged(merged, &mut done)?;
        // One that cannot be read now may come back, and may be all that describes a lost pack.
        if is_complete {
            done.replaced.extend(lost);
        }
        Ok(done)
    }

    /// Adds what an index object says of the packs that are new to what is being put together, unless it
    /// stays as it is. The packs that it describes.
    fn put_together(
        &self,
        id: ObjectId,
        is_new: &dyn Fn(&ObjectId) -> bool,
        merged: &mut Merged,
        done: &mut Reindexed,
    ) -> Result<Vec<ObjectId>, RepositoryError> {
        let stream = Stream::open(&*self.parts.store, self.keys(), id)?;
        let packs: Vec<ObjectId> = stream.table.packs.iter().map(|(pack, _)| pack.id).collect();
        let is_whole = packs.iter().all(is_new);
        if is_whole && stream.chunks_max() >= SMALL_CHUNKS {
            return Ok(packs);
        }
        drop(stream);
        let bytes = object::get(&*self.parts.store, Family::Index, id)?;
        let (table, places) = index_object::open(&bytes, self.keys(), &Family::Index.name(id)?)?;
        drop(bytes);
        self.make_room(places.len(), merged, done)?;
        merged.add(table, places, is_new)?;
        merged.is_new |= !is_whole || !merged.sources.is_empty();
        merged.sources.push(id);
        Ok(packs)
    }

    fn make_room(
        &self,
        chunks: usize,
        merged: &mut Merged,
        done: &mut Reindexed,
    ) -> Result<(), RepositoryError> {
        if merged.places.len() + chunks <= CHUNKS_MAX {
            return Ok(());
        }
        self.store_merged(std::mem::take(merged), done)
    }

    fn store_merged(&self, merged: Merged, done: &mut Reindexed) -> Result<(), RepositoryError> {
        let Merged { table, places, sources, is_new } = merged;
        if !is_new {
            return Ok(());
        }
        if !table.packs.is_empty() {
            let store = &*self.parts.store;
            done.indexes.insert(index_object::store_table(&table, places, store, self.keys())?);
        }
        done.replaced.extend(sources);
        Ok(())
    }
}

impl Merged {
    /// Adds the packs that are new, and their places.
    fn add(
        &mut self,
        table: Table,
        places: Vec<Place>,
        is_new: &dyn Fn(&ObjectId) -> bool,
    ) -> Result<(), RepositoryError> {
        // Which group here each group of the table becomes.
        let mut groups = Vec::with_capacity(table.group_count());
        let mut next = length_u32(self.table.group_count())?;
        for (pack, shapes) in table.packs {
            let is_new = is_new(&pack.id);
            for _ in &shapes {
                groups.push(is_new.then_some(next));
                next += u32::from(is_new);
            }
            if is_new {
                self.table.packs.push((pack, shapes));
            }
        }
        self.places.extend(places.into_iter().filter_map(|place| {
            let group = groups.get(place.group as usize).copied().flatten()?;
            Some(Place { group, ..place })
        }));
        Ok(())
    }
}
