//! The index of a large repository: runs on disk, and what they do not cover yet in memory.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::cache::{Cache, uncovered};
use super::near::Near;
use super::packs::{PackSum, missing};
use super::run::Run;
use super::{BadMarks, ChunkIndex, Group, Hit, Index, Pack, Place};
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::log::{History, ObjectId};
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
    rest_packs: u32,
    /// Which packs the log names, where one that it does not name may be described: those are gone.
    live: Option<Arc<History>>,
    leaving: BTreeSet<ObjectId>,
    bad: BadMarks,
    near: Mutex<Near>,
}

impl<'r> CappedIndex<'r> {
    /// Opens the runs of the index of the packs that the log names, as the index objects say it, each
    /// with its size in bytes; no new point is to rely on packs that are `leaving`. Which objects no run
    /// covers is told: what these say is still to be added.
    pub(crate) fn open(
        cache: Cache<'r>,
        objects: &[(ObjectId, u64)],
        history: &Arc<History>,
        leaving: &BTreeSet<ObjectId>,
    ) -> Result<(Self, Vec<ObjectId>), RepositoryError> {
        let mut runs = cache.usable_runs(objects)?;
        let left = uncovered(&runs, objects);
        let bytes: u64 = left.iter().map(|(_, bytes)| bytes).sum();
        if bytes > cache.limits.uncovered_bytes {
            match cache.make_runs(runs, &left, history.packs()) {
                // An object that cannot be read stays uncovered.
                Err(error) if !error.is_local() => return Err(error),
                _ => runs = cache.usable_runs(objects)?,
            }
        }
        let left = uncovered(&runs, objects).iter().map(|(id, _)| *id).collect();
        let mut index = Self::of_runs(cache, runs, cache.limits.filter_bytes)?;
        index.live = Some(Arc::clone(history));
        index.leaving.clone_from(leaving);
        Ok((index, left))
    }

    /// The live packs that neither its runs nor these describe.
    pub(crate) fn undescribed(&mut self, rest: &[Pack]) -> Result<Vec<ObjectId>, RepositoryError> {
        let Some(history) = self.live.clone() else { return Ok(Vec::new()) };
        let mut described = PackSum::of(rest.iter().map(|pack| &pack.id));
        self.layers.iter().for_each(|layer| described.add_all(layer.run.pack_sum));
        if described == PackSum::of(history.packs()) {
            // None is gone either.
            self.live = None;
            return Ok(Vec::new());
        }
        missing(history.packs(), &|visit| {
            for pack in rest {
                visit(&pack.id);
            }
            self.layers.iter().try_for_each(|layer| {
                self.or_forget(layer, layer.run.each_pack(&mut |id, _| visit(&id)))
            })
        })
    }

    /// Adds what no run covers.
    pub(crate) fn add_rest(&mut self, rest: Index) {
        self.rest = rest;
    }

    /// The index that these runs are, with so many bytes of their filters in memory.
    pub(super) fn of_runs(
        cache: Cache<'r>,
        runs: Vec<Run<'r>>,
        filter_bytes: usize,
    ) -> Result<Self, RepositoryError> {
        let mut index = Self {
            cache,
            layers: Vec::new(),
            rest: Index::default(),
            rest_groups: 0,
            rest_chunks: 0,
            rest_packs: 0,
            live: None,
            leaving: BTreeSet::new(),
            bad: BadMarks::new(),
            near: Mutex::default(),
        };
        let (count, blocks) = (runs.len(), runs.iter().map(Run::filter_blocks).sum());
        for mut run in runs {
            run.share(count, blocks, filter_bytes);
            index.add_layer(run)?;
        }
        Ok(index)
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &Run<'r>> {
        self.layers.iter().map(|layer| &layer.run)
    }

    pub(super) fn into_runs(self) -> Vec<Run<'r>> {
        self.layers.into_iter().map(|layer| layer.run).collect()
    }

    fn add_layer(&mut self, run: Run<'r>) -> Result<(), RepositoryError> {
        let too_many = || RepositoryError::Bug("an index has more than 4 thousand million groups");
        let number = |count: u64| u32::try_from(count).map_err(|_| too_many());
        let (packs, groups) = (number(run.pack_sum.count)?, number(run.group_count())?);
        let chunks = usize::try_from(run.chunk_count()).map_err(|_| too_many())?;
        let (first_pack, first_group) = (self.rest_packs, self.rest_groups);
        let first_chunk = self.rest_chunks;
        self.rest_packs = first_pack.checked_add(packs).ok_or_else(too_many)?;
        self.rest_groups = first_group.checked_add(groups).ok_or_else(too_many)?;
        self.rest_chunks += chunks;
        let layer = Layer { run, packs: first_pack, groups: first_group, chunks: first_chunk };
        self.layers.push(layer);
        Ok(())
    }

    /// A pack of which it is known what it is called and how long it is.
    fn marked(&self, id: ObjectId, length: u64) -> Pack {
        Pack { id, length, leaving: self.leaving.contains(&id) }
    }

    fn is_gone(&self, pack: &Pack) -> bool {
        self.live.as_ref().is_some_and(|history| !history.packs().contains(&pack.id))
    }

    fn layer_of(&self, group: u32) -> Option<&Layer<'r>> {
        let at = self.layers.partition_point(|layer| layer.groups <= group);
        self.layers.get(at.checked_sub(1)?)
    }

    /// A group with the number of its pack in the whole index.
    fn numbered_group(&self, number: u32) -> Result<Option<Group>, RepositoryError> {
        let (group, first) = if let Some(local) = number.checked_sub(self.rest_groups) {
            (self.rest.groups.get(local as usize).copied(), self.rest_packs)
        } else {
            let Some(layer) = self.layer_of(number) else { return Ok(None) };
            let group = layer.run.group(u64::from(number - layer.groups));
            (self.or_forget(layer, group)?, layer.packs)
        };
        Ok(group.map(|group| Group { pack: group.pack + first, ..group }))
    }

    /// A group and its pack.
    fn placed(&self, group: u32) -> Result<Option<(Group, Pack)>, RepositoryError> {
        let Some(group) = self.numbered_group(group)? else { return Ok(None) };
        Ok(self.pack(group.pack)?.map(|pack| (group, pack)))
    }

    /// What a run said; one that is damaged ends with this job, and the next makes another.
    fn or_forget<T>(
        &self,
        layer: &Layer<'_>,
        said: Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        if said.as_ref().is_err_and(RepositoryError::is_local) || layer.run.is_damaged() {
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
        let Some((group, pack)) = self.placed(place.group)? else { return Ok(()) };
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
                if self.is_good(&member.name, &pack) {
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
                let is_gone = self.live.is_some()
                    && self.placed(place.group)?.is_none_or(|(_, pack)| self.is_gone(&pack));
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
            let placed = self.placed(place.group)?;
            if let Some((group, _)) = placed.filter(|(_, pack)| self.is_good(name, pack)) {
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
            let Some((group, pack)) = self.placed(group)? else { continue };
            let Some(name) = names.get(asked as usize) else { continue };
            if !self.is_gone(&pack) {
                hits.push(group.hit(asked, position, length, self.is_good(name, &pack)));
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
        self.rest.each_group(&mut |number, group| {
            let pack = group.pack + self.rest_packs;
            visit(number + self.rest_groups, &Group { pack, ..*group });
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
        for (pack, names) in bad {
            if names.is_empty() {
                self.leaving.insert(*pack);
            }
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
        self.placed(place.group)
    }

    fn pack_count(&self) -> usize {
        self.rest_packs as usize + self.rest.pack_count()
    }

    fn pack(&self, number: u32) -> Result<Option<Pack>, RepositoryError> {
        if let Some(local) = number.checked_sub(self.rest_packs) {
            let pack = self.rest.pack(local)?;
            return Ok(pack.map(|Pack { id, length, .. }| self.marked(id, length)));
        }
        let at = self.layers.partition_point(|layer| layer.packs <= number);
        let layer = at.checked_sub(1).and_then(|at| self.layers.get(at));
        let Some(layer) = layer else { return Ok(None) };
        let pack = self.or_forget(layer, layer.run.pack(u64::from(number - layer.packs)))?;
        Ok(pack.map(|(id, length)| self.marked(id, length)))
    }

    fn each_pack(&self, visit: &mut dyn FnMut(u32, &Pack)) -> Result<(), RepositoryError> {
        for layer in &self.layers {
            let mut number = layer.packs;
            let shown = layer.run.each_pack(&mut |id, length| {
                visit(number, &self.marked(id, length));
                number += 1;
            });
            self.or_forget(layer, shown)?;
        }
        self.rest.each_pack(&mut |number, &Pack { id, length, .. }| {
            visit(self.rest_packs + number, &self.marked(id, length));
        })
    }
}
