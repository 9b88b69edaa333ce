//! The index of a large repository: runs on disk, and what they do not cover yet in memory.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;

use super::cache::{BYTES_A_CHUNK, Cache, uncovered};
use super::near::Near;
use super::run::Run;
use super::{BadMarks, ChunkIndex, Group, Hit, Index, Pack, Place};
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::log::ObjectId;
use crate::pack::read_directory_of;
use crate::read::locked;

/// A run and where its packs, groups and chunks begin in the whole index.
struct Layer<'r> {
    run: Run<'r>,
    packs: u32,
    groups: u32,
    chunks: usize,
}

/// A chunk of many that were asked for.
struct Found {
    asked: u32,
    group: u32,
    length: u32,
    position: usize,
}

/// The index of a large repository.
pub(crate) struct CappedIndex<'r> {
    cache: Cache<'r>,
    layers: Vec<Layer<'r>>,
    /// What no run covers; its packs, groups and chunks come last.
    rest: Index,
    rest_groups: u32,
    rest_chunks: usize,
    packs: Vec<Pack>,
    /// Packs of runs that the log names no more.
    gone: HashSet<u32>,
    bad: BadMarks,
    near: Mutex<Near>,
}

/// Reads these index objects into memory; the second packs are described elsewhere.
pub(crate) type ReadRest<'a> =
    dyn Fn(&[ObjectId], &[ObjectId]) -> Result<Index, RepositoryError> + 'a;

impl<'r> CappedIndex<'r> {
    /// Opens the index of the packs in `live`, as the index objects say it, each with its size in
    /// bytes. `rest` reads into memory those objects that no run covers, and what packs that no
    /// object describes say themselves; it is told which packs are described already.
    pub(crate) fn open(
        cache: Cache<'r>,
        objects: &[(ObjectId, u64)],
        live: &BTreeSet<ObjectId>,
        leaving: &BTreeSet<ObjectId>,
        bad: &BadMarks,
        rest: &ReadRest<'_>,
    ) -> Result<Self, RepositoryError> {
        let all = objects.iter().map(|(_, bytes)| bytes / BYTES_A_CHUNK).sum();
        let mut runs = cache.usable_runs(objects)?;
        let left = uncovered(&runs, objects);
        let bytes: u64 = left.iter().map(|(_, bytes)| bytes).sum();
        if bytes > cache.limits.uncovered_bytes {
            match cache.make_runs(runs, &left, live, all) {
                // An object that cannot be read is left to `rest`.
                Err(error) if !error.is_local() => return Err(error),
                _ => runs = cache.usable_runs(objects)?,
            }
        }
        let left: Vec<ObjectId> = uncovered(&runs, objects).iter().map(|(id, _)| *id).collect();
        let mut index = Self::of_runs(cache, runs, &|pack| live.contains(pack))?;
        let described: Vec<ObjectId> = index.packs.iter().map(|pack| pack.id).collect();
        index.rest = rest(&left, &described)?;
        index.packs.extend(index.rest.packs());
        for pack in &mut index.packs {
            pack.leaving = leaving.contains(&pack.id);
        }
        index.mark(bad);
        Ok(index)
    }

    /// The index that these runs are, of the packs that are live.
    pub(super) fn of_runs(
        cache: Cache<'r>,
        runs: Vec<Run<'r>>,
        is_live: &dyn Fn(&ObjectId) -> bool,
    ) -> Result<Self, RepositoryError> {
        let mut index = Self {
            cache,
            layers: Vec::new(),
            rest: Index::default(),
            rest_groups: 0,
            rest_chunks: 0,
            packs: Vec::new(),
            gone: HashSet::new(),
            bad: BadMarks::new(),
            near: Mutex::default(),
        };
        let count = runs.len();
        for mut run in runs {
            run.share(count);
            index.add_layer(run, is_live)?;
        }
        Ok(index)
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &Run<'r>> {
        self.layers.iter().map(|layer| &layer.run)
    }

    pub(super) fn into_runs(self) -> Vec<Run<'r>> {
        self.layers.into_iter().map(|layer| layer.run).collect()
    }

    fn add_layer(
        &mut self,
        run: Run<'r>,
        is_live: &dyn Fn(&ObjectId) -> bool,
    ) -> Result<(), RepositoryError> {
        let too_many = || RepositoryError::Bug("an index has more than 4 thousand million groups");
        let packs = u32::try_from(self.packs.len()).map_err(|_| too_many())?;
        for (number, (id, length)) in (packs..).zip(&run.packs) {
            self.packs.push(Pack { id: *id, length: *length, leaving: false });
            if !is_live(id) {
                self.gone.insert(number);
            }
        }
        let groups = u32::try_from(run.group_count()).map_err(|_| too_many())?;
        let chunks = usize::try_from(run.chunk_count()).map_err(|_| too_many())?;
        let (first_group, first_chunk) = (self.rest_groups, self.rest_chunks);
        self.rest_groups = first_group.checked_add(groups).ok_or_else(too_many)?;
        self.rest_chunks += chunks;
        self.layers.push(Layer { run, packs, groups: first_group, chunks: first_chunk });
        Ok(())
    }

    /// Where the packs of `rest` begin.
    fn rest_packs(&self) -> u32 {
        u32::try_from(self.packs.len() - self.rest.packs().len()).unwrap_or(u32::MAX)
    }

    fn layer_of(&self, group: u32) -> Option<&Layer<'r>> {
        let at = self.layers.partition_point(|layer| layer.groups <= group);
        self.layers.get(at.checked_sub(1)?)
    }

    /// A group with the number of its pack in the whole index.
    fn numbered_group(&self, number: u32) -> Result<Option<Group>, RepositoryError> {
        let (group, first) = if let Some(local) = number.checked_sub(self.rest_groups) {
            (self.rest.groups.get(local as usize).copied(), self.rest_packs())
        } else {
            let Some(layer) = self.layer_of(number) else { return Ok(None) };
            let group = layer.run.group(u64::from(number - layer.groups));
            (self.or_forget(layer, group)?, layer.packs)
        };
        Ok(group.map(|group| Group { pack: group.pack + first, ..group }))
    }

    /// What a run said; one that is damaged ends with this job, and the next makes another.
    fn or_forget<T>(
        &self,
        layer: &Layer<'_>,
        said: Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        if said.as_ref().is_err_and(RepositoryError::is_local) {
            // If this fails too, the next job fails as this one and tries again.
            let _ = self.cache.forget(layer.run.id);
        }
        said
    }

    fn is_good(&self, name: &ChunkName, pack: &Pack) -> bool {
        let marked = self.bad.get(&pack.id).is_some_and(|names| names.contains(name));
        !pack.leaving && !marked
    }

    /// Keeps what else lies in the pack of a chunk that was found in a run.
    fn look_around(&self, place: &Place) -> Result<(), RepositoryError> {
        let Some(group) = self.numbered_group(place.group)? else { return Ok(()) };
        let Some(pack) = self.packs.get(group.pack as usize) else { return Ok(()) };
        if locked(&self.near).holds(group.pack) {
            return Ok(());
        }
        let Cache { store, keys, .. } = self.cache;
        let directory = match read_directory_of(store, keys, pack.id, pack.length) {
            Ok(directory) => directory,
            // Whoever reads the chunk itself is told.
            Err(error) if error.is_local() => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut places = Vec::new();
        for (number, group) in (place.group.saturating_sub(group.position)..).zip(directory.groups)
        {
            let mut offset = 0;
            for member in group.members {
                if self.is_good(&member.name, pack) {
                    let (name, length) = (member.name, member.length);
                    places.push(Place { name, group: number, offset, length });
                }
                offset += member.length;
            }
        }
        locked(&self.near).keep(group.pack, places);
        Ok(())
    }
}

impl ChunkIndex for CappedIndex<'_> {
    fn all(&self, name: &ChunkName) -> Result<Vec<Place>, RepositoryError> {
        let mut found = Vec::new();
        for layer in &self.layers {
            for (_, place) in self.or_forget(layer, layer.run.find(name))? {
                let place = Place { group: place.group + layer.groups, ..place };
                let is_gone = !self.gone.is_empty()
                    && self
                        .numbered_group(place.group)?
                        .is_none_or(|group| self.gone.contains(&group.pack));
                if !is_gone {
                    found.push(place);
                }
            }
        }
        if let Some(place) = found.first() {
            self.look_around(place)?;
        }
        let rest = self.rest.slice(name).iter();
        found.extend(rest.map(|place| Place { group: place.group + self.rest_groups, ..*place }));
        Ok(found)
    }

    fn nearby(&self, name: &ChunkName) -> Option<Place> {
        locked(&self.near).find(name).map(|(place, _)| place)
    }

    fn reliable_pack(&self, name: &ChunkName) -> Result<Option<u32>, RepositoryError> {
        if let Some((_, pack)) = locked(&self.near).find(name) {
            return Ok(Some(pack));
        }
        for place in self.all(name)? {
            let Some(group) = self.numbered_group(place.group)? else { continue };
            if self.packs.get(group.pack as usize).is_some_and(|pack| self.is_good(name, pack)) {
                return Ok(Some(group.pack));
            }
        }
        Ok(None)
    }

    fn locate(&self, names: &[ChunkName]) -> Result<Vec<Hit>, RepositoryError> {
        let mut found = Vec::new();
        let asked = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        for layer in &self.layers {
            let searched = layer.run.find_all(names, &mut |at, number, place| {
                let position = layer.chunks + usize::try_from(number).unwrap_or(usize::MAX);
                let (group, length) = (place.group + layer.groups, place.length);
                found.push(Found { asked: asked(at), group, length, position });
            });
            self.or_forget(layer, searched)?;
        }
        for (at, name) in names.iter().enumerate() {
            let first = self.rest_chunks + self.rest.first(name);
            for (position, place) in (first..).zip(self.rest.slice(name)) {
                let (group, length) = (place.group + self.rest_groups, place.length);
                found.push(Found { asked: asked(at), group, length, position });
            }
        }
        // So that each block of groups is read once.
        found.sort_unstable_by_key(|found| found.group);
        let mut hits = Vec::with_capacity(found.len());
        for Found { asked, group, length, position } in found {
            let Some(group) = self.numbered_group(group)? else { continue };
            let Some(pack) = self.packs.get(group.pack as usize) else { continue };
            let Some(name) = names.get(asked as usize) else { continue };
            if !self.gone.contains(&group.pack) {
                hits.push(group.hit(asked, position, length, self.is_good(name, pack)));
            }
        }
        hits.sort_by_key(|hit| hit.asked);
        Ok(hits)
    }

    fn each_group(&self, visit: &mut dyn FnMut(u32, &Group)) -> Result<(), RepositoryError> {
        for layer in &self.layers {
            let (mut number, mut block) = (layer.groups, 0);
            while let Some(groups) = self.or_forget(layer, layer.run.group_block(block))? {
                block += 1;
                for group in groups {
                    visit(number, &Group { pack: group.pack + layer.packs, ..group });
                    number += 1;
                }
            }
        }
        let packs = self.rest_packs();
        self.rest.each_group(&mut |number, group| {
            visit(number + self.rest_groups, &Group { pack: group.pack + packs, ..*group });
        })
    }

    fn each_place(&self, visit: &mut dyn FnMut(&Place)) -> Result<(), RepositoryError> {
        for layer in &self.layers {
            let mut block = 0;
            while let Some(places) = self.or_forget(layer, layer.run.place_block(block))? {
                block += 1;
                for place in places {
                    visit(&Place { group: place.group + layer.groups, ..place });
                }
            }
        }
        self.rest.each_place(&mut |place| {
            visit(&Place { group: place.group + self.rest_groups, ..*place });
        })
    }

    fn mark(&mut self, bad: &BadMarks) {
        for pack in &mut self.packs {
            pack.leaving |= bad.get(&pack.id).is_some_and(HashSet::is_empty);
        }
        for (pack, names) in bad {
            self.bad.entry(*pack).or_default().extend(names);
        }
        self.near = Mutex::default();
    }

    fn is_reliable(&self, place: &Place) -> Result<bool, RepositoryError> {
        let group = self.group(place)?;
        Ok(group.is_some_and(|(_, pack)| self.is_good(&place.name, &pack)))
    }

    fn chunk_count(&self) -> usize {
        self.rest_chunks + self.rest.chunk_count()
    }

    fn group(&self, place: &Place) -> Result<Option<(Group, Pack)>, RepositoryError> {
        let Some(group) = self.numbered_group(place.group)? else { return Ok(None) };
        Ok(self.packs.get(group.pack as usize).map(|pack| (group, *pack)))
    }

    fn packs(&self) -> &[Pack] {
        &self.packs
    }
}
