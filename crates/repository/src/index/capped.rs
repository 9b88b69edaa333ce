//! The index of a large repository: runs on disk, and what they do not cover yet in memory.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;

use custody_ambient::{Clock, random_array};
use custody_blob_store::{BlobName, BlobStore};
use custody_envelope::ObjectType;

use super::merge::{SOURCES_MAX, Source, filter_for, merge};
use super::near::Near;
use super::run::{Run, RunWriter};
use super::table::{RunId, associated, object_name};
use super::{BadMarks, ChunkIndex, Group, Index, Pack, Place};
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::index_object::Stream;
use crate::log::ObjectId;
use crate::pack::read_directory_of;
use crate::read::locked;
use crate::sealed::Keys;

/// How much of an index may lie in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexLimits {
    /// Index objects that are larger together are kept on disk.
    pub memory_bytes: u64,
    /// Index objects that no run covers become one when they are larger together.
    pub uncovered_bytes: u64,
    /// All filters together.
    pub filter_bytes: usize,
}

impl Default for IndexLimits {
    fn default() -> Self {
        // 64 MiB in all: a quarter is left for packs, blocks and what lies near.
        Self { memory_bytes: 48 << 20, uncovered_bytes: 8 << 20, filter_bytes: 36 << 20 }
    }
}

/// Where runs are kept, and what making them takes.
#[derive(Clone, Copy)]
pub(crate) struct Cache<'r> {
    pub(crate) runs: &'r dyn BlobStore,
    /// The vault's store.
    pub(crate) store: &'r dyn BlobStore,
    pub(crate) keys: Keys<'r>,
    pub(crate) clock: &'r dyn Clock,
    pub(crate) limits: IndexLimits,
}

/// Runs that were given up stay for so long, in milliseconds: whoever began with one goes on with it.
const GIVEN_UP_KEPT_MS: i64 = 24 * 60 * 60 * 1000;
const GIVEN_UP: &str = "given-up";
const BEGUN: &str = "begun";
/// A run is merged with others if it has at most so many times their chunks.
const MERGED_FACTOR: u64 = 2;
/// Bytes of an index object for each chunk, about.
const BYTES_A_CHUNK: u64 = 45;

/// A run and where its packs, groups and chunks begin in the whole index.
struct Layer<'r> {
    run: Run<'r>,
    packs: u32,
    groups: u32,
    chunks: usize,
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

impl<'r> CappedIndex<'r> {
    /// Opens the index of the packs in `live`, as the index objects say it, each with its size in
    /// bytes. `rest` reads into memory those objects that no run covers, and what packs that no
    /// object describes say themselves; it is told which packs are described already.
    pub(crate) fn open(
        cache: Cache<'r>,
        objects: &[(ObjectId, u64)],
        live: &BTreeSet<ObjectId>,
        leaving: &BTreeSet<ObjectId>,
        bad: BadMarks,
        rest: &dyn Fn(&[ObjectId], &[ObjectId]) -> Result<Index, RepositoryError>,
    ) -> Result<Self, RepositoryError> {
        let all = objects.iter().map(|(_, bytes)| bytes / BYTES_A_CHUNK).sum();
        let mut runs = cache.usable_runs(objects)?;
        let uncovered = uncovered(&runs, objects);
        let bytes: u64 = uncovered.iter().map(|(_, bytes)| bytes).sum();
        if bytes > cache.limits.uncovered_bytes {
            match cache.make_runs(runs, &uncovered, live, all) {
                // An object that cannot be read is left to `rest`.
                Err(error) if !error.is_local() => return Err(error),
                _ => runs = cache.usable_runs(objects)?,
            }
        }
        let uncovered: Vec<ObjectId> =
            self::uncovered(&runs, objects).iter().map(|(id, _)| *id).collect();
        let mut index = Self {
            cache,
            layers: Vec::new(),
            rest: Index::default(),
            rest_groups: 0,
            rest_chunks: 0,
            packs: Vec::new(),
            gone: HashSet::new(),
            bad,
            near: Mutex::default(),
        };
        for run in runs {
            index.add_layer(run, live)?;
        }
        let described: Vec<ObjectId> = index.packs.iter().map(|pack| pack.id).collect();
        index.rest = rest(&uncovered, &described)?;
        index.packs.extend(index.rest.packs());
        for pack in &mut index.packs {
            let is_bad = index.bad.get(&pack.id).is_some_and(HashSet::is_empty);
            pack.leaving = is_bad || leaving.contains(&pack.id);
        }
        Ok(index)
    }

    fn add_layer(
        &mut self,
        run: Run<'r>,
        live: &BTreeSet<ObjectId>,
    ) -> Result<(), RepositoryError> {
        let too_many = || RepositoryError::Bug("an index has more than 4 thousand million groups");
        let packs = u32::try_from(self.packs.len()).map_err(|_| too_many())?;
        for (number, (id, length)) in (packs..).zip(&run.packs) {
            self.packs.push(Pack { id: *id, length: *length, leaving: false });
            if !live.contains(id) {
                self.gone.insert(number);
            }
        }
        let groups = u32::try_from(run.group_count()).map_err(|_| too_many())?;
        let chunks = usize::try_from(run.chunk_count()).map_err(|_| too_many())?;
        let (first_group, first_chunk) = (self.rest_groups, self.rest_chunks);
        self.rest_groups = first_group.checked_add(groups).ok_or_else(too_many)?;
        self.rest_chunks = first_chunk + chunks;
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
            let _ = manifest(&layer.run.id).map(|name| self.cache.runs.delete(&name));
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

    fn is_reliable(&self, place: &Place) -> Result<bool, RepositoryError> {
        let group = self.group(place)?;
        Ok(group.is_some_and(|(_, pack)| self.is_good(&place.name, &pack)))
    }

    fn position(&self, name: &ChunkName) -> Result<Option<usize>, RepositoryError> {
        for layer in &self.layers {
            if let Some((number, _)) = self.or_forget(layer, layer.run.find(name))?.first() {
                return Ok(usize::try_from(*number).ok().map(|number| layer.chunks + number));
            }
        }
        let rest = self.rest.position(name)?;
        Ok(rest.map(|at| self.rest_chunks + at))
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

/// Those of the objects that no run covers.
fn uncovered(runs: &[Run<'_>], objects: &[(ObjectId, u64)]) -> Vec<(ObjectId, u64)> {
    let is_covered = |id: &ObjectId| runs.iter().any(|run| run.covered.contains(id));
    objects.iter().filter(|(id, _)| !is_covered(id)).copied().collect()
}

impl<'r> Cache<'r> {
    /// The runs that hold for these index objects, no two for the same one, the largest first. The
    /// others are given up, and deleted a day later.
    fn usable_runs(&self, objects: &[(ObjectId, u64)]) -> Result<Vec<Run<'r>>, RepositoryError> {
        let named: BTreeSet<ObjectId> = objects.iter().map(|(id, _)| *id).collect();
        let mut found = Vec::new();
        for id in self.run_ids()? {
            if self.is_given_up(id)? {
                continue;
            }
            match Run::open(self.runs, self.keys, id) {
                Ok(Some(run)) => found.push(run),
                // One that is being made, or whose maker died.
                Ok(None) if self.time_of(id, BEGUN)?.is_some_and(|begun| self.is_recent(begun)) => {
                }
                Ok(None) => self.give_up(id)?,
                Err(error) if error.is_local() => self.runs.delete(&manifest(&id)?)?,
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|run| (std::cmp::Reverse(run.chunk_count()), run.id));
        let mut usable: Vec<Run<'r>> = Vec::new();
        for run in found {
            let overlaps = usable.iter().any(|other| !other.covered.is_disjoint(&run.covered));
            if run.covered.is_subset(&named) && !overlaps {
                usable.push(run);
            } else {
                self.give_up(run.id)?;
            }
        }
        Ok(usable)
    }

    /// Every run that has an object.
    fn run_ids(&self) -> Result<BTreeSet<RunId>, RepositoryError> {
        let mut ids = BTreeSet::new();
        self.runs.list("runs/", &mut |name, _| ids.extend(run_of(&name)))?;
        Ok(ids)
    }

    /// Whether this was less than a day ago.
    fn is_recent(&self, time_ms: i64) -> bool {
        self.clock.now().as_millisecond().saturating_sub(time_ms) < GIVEN_UP_KEPT_MS
    }

    fn give_up(&self, id: RunId) -> Result<(), RepositoryError> {
        self.note_time(id, GIVEN_UP)
    }

    /// Whether the run was given up; if that is long ago, it is deleted.
    fn is_given_up(&self, id: RunId) -> Result<bool, RepositoryError> {
        let Some(since) = self.time_of(id, GIVEN_UP)? else { return Ok(false) };
        if !self.is_recent(since) {
            self.delete(id)?;
        }
        Ok(true)
    }

    /// Notes the present time in an object of a run.
    fn note_time(&self, id: RunId, object: &str) -> Result<(), RepositoryError> {
        let mut plain = Vec::new();
        minicbor::Encoder::new(&mut plain).i64(self.clock.now().as_millisecond())?;
        let sealed = self.keys.seal(ObjectType::Cache, &associated(&id, object, 0), plain)?;
        self.runs.create(&object_name(&id, object)?, &sealed)?;
        Ok(())
    }

    /// The time that was noted so; long ago if it cannot be read.
    fn time_of(&self, id: RunId, object: &str) -> Result<Option<i64>, RepositoryError> {
        let name = object_name(&id, object)?;
        let Some(bytes) = self.runs.read(&name)? else { return Ok(None) };
        let bound = associated(&id, object, 0);
        match self.keys.open(ObjectType::Cache, &bound, &bytes, &name) {
            Ok(plain) => Ok(Some(minicbor::decode(&plain).unwrap_or_default())),
            Err(error) if error.is_local() => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    /// Deletes a run: what says that it was given up goes last.
    fn delete(&self, id: RunId) -> Result<(), RepositoryError> {
        let given_up = object_name(&id, GIVEN_UP)?;
        let mut names = Vec::new();
        let prefix = format!("runs/{}/", data_encoding::HEXLOWER.encode(&id));
        self.runs.list(&prefix, &mut |name, _| names.push(name))?;
        names.retain(|name| *name != given_up);
        names.push(given_up);
        names.iter().try_for_each(|name| Ok(self.runs.delete(name)?))
    }

    /// Makes runs of what is uncovered, and merges those that are of about one size.
    fn make_runs(
        &self,
        mut runs: Vec<Run<'r>>,
        uncovered: &[(ObjectId, u64)],
        live: &BTreeSet<ObjectId>,
        all: u64,
    ) -> Result<(), RepositoryError> {
        for part in uncovered.chunks(SOURCES_MAX) {
            let mut sources = Vec::with_capacity(part.len());
            for (id, _) in part {
                match Stream::open(self.store, self.keys, *id) {
                    Ok(stream) => sources.push(Source::Object(*id, Box::new(stream))),
                    Err(error) if error.is_local() => {}
                    Err(error) => return Err(error),
                }
            }
            let chunks = part.iter().map(|(_, bytes)| bytes / BYTES_A_CHUNK).sum();
            runs.extend(self.make_run(sources, live, (chunks, all))?);
        }
        runs.sort_by_key(Run::chunk_count);
        let (mut count, mut chunks) = (0, 0);
        for run in &runs {
            if count >= 1 && run.chunk_count() > chunks * MERGED_FACTOR {
                break;
            }
            count += 1;
            chunks += run.chunk_count();
        }
        let merged = runs.get(..count.min(SOURCES_MAX)).unwrap_or_default();
        if merged.len() > 1 {
            let sources = merged.iter().map(Source::Run).collect();
            self.make_run(sources, live, (chunks, all))?;
        }
        Ok(())
    }

    fn make_run(
        &self,
        sources: Vec<Source<'_>>,
        live: &BTreeSet<ObjectId>,
        (chunks, all): (u64, u64),
    ) -> Result<Option<Run<'r>>, RepositoryError> {
        let id = random_array(self.keys.entropy)?;
        self.note_time(id, BEGUN)?;
        let filter = filter_for(chunks, all, self.limits.filter_bytes);
        merge(sources, live, RunWriter::new(self.runs, self.keys, id, filter))?;
        Run::open(self.runs, self.keys, id)
    }
}

fn manifest(id: &RunId) -> Result<BlobName, RepositoryError> {
    object_name(id, super::run::MANIFEST)
}

/// The run that an object belongs to.
fn run_of(name: &BlobName) -> Option<RunId> {
    let id = name.as_str().strip_prefix("runs/")?.split('/').next()?;
    data_encoding::HEXLOWER.decode(id.as_bytes()).ok()?.try_into().ok()
}
