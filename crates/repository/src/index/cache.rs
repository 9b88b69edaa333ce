//! Which runs there are, and making them (docs/formats/index-cache.md).

use std::collections::BTreeSet;

use custody_ambient::{Clock, random_array};
use custody_blob_store::{BlobName, BlobStore};
use custody_envelope::ObjectType;

use super::merge::{SOURCES_MAX, Source, merge};
use super::near;
use super::run::{KEPT_BYTES, MANIFEST, Run};
use super::table::{RunId, associated, object_name};
use super::writer::RunWriter;
use crate::RepositoryError;
use crate::index_object::Stream;
use crate::log::ObjectId;
use crate::object::Family;
use crate::sealed::Keys;

/// How much of an index may lie in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexLimits {
    /// Index objects that are larger together are kept on disk.
    pub memory_bytes: u64,
    /// Index objects that no run covers become one when they are larger together.
    pub uncovered_bytes: u64,
    /// Blocks of all filters together: while all fit, none is read twice.
    pub filter_bytes: usize,
    /// What a backup knows of the chunks that are new in it: half for those that are not in its own
    /// runs yet, half for the filters of these.
    pub session_bytes: usize,
}

impl IndexLimits {
    /// What an index takes at most by the default limits, however many chunks there are.
    pub const INDEX_BYTES_MAX: usize = 64 << 20;

    const DEFAULT: Self = Self {
        memory_bytes: 24 << 20,
        uncovered_bytes: 8 << 20,
        filter_bytes: 32 << 20,
        session_bytes: 16 << 20,
    };
}

// What is read into memory of index objects takes twice its size for a moment. Of an index on disk, the
// rest is what is kept of its runs and what lies near what was found.
const _: () = {
    let IndexLimits { memory_bytes, uncovered_bytes, filter_bytes, .. } = IndexLimits::DEFAULT;
    let of_runs = filter_bytes + KEPT_BYTES + near::BYTES_MAX;
    assert!(2 * memory_bytes <= IndexLimits::INDEX_BYTES_MAX as u64);
    assert!(2 * uncovered_bytes + of_runs as u64 <= IndexLimits::INDEX_BYTES_MAX as u64);
};

impl Default for IndexLimits {
    fn default() -> Self {
        Self::DEFAULT
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
/// A run is merged with smaller ones if it has at most so many times their chunks.
const MERGED_FACTOR: u64 = 2;
/// Bytes of an index object for each chunk, about.
pub(super) const BYTES_A_CHUNK: u64 = 45;

/// Those of the objects that no run covers.
pub(super) fn uncovered(runs: &[Run<'_>], objects: &[(ObjectId, u64)]) -> Vec<(ObjectId, u64)> {
    let is_covered = |id: &ObjectId| runs.iter().any(|run| run.covered.contains(id));
    objects.iter().filter(|(id, _)| !is_covered(id)).copied().collect()
}

/// How many of runs of so many chunks, the smallest first, become one together with so many new chunks: as many as
/// leave none that is not much larger than all that is merged with it.
pub(super) fn merged_count(runs: impl Iterator<Item = u64>, new: u64) -> usize {
    let (mut chunks, mut merged) = (new, 0);
    for (count, run) in (1..).zip(runs) {
        if run <= chunks.saturating_mul(MERGED_FACTOR) {
            merged = count;
        }
        chunks += run;
    }
    merged
}

impl<'r> Cache<'r> {
    /// The runs that hold for these index objects, no two for the same one, the largest first. The
    /// others are given up, and deleted a day later.
    pub(super) fn usable_runs(
        &self,
        objects: &[(ObjectId, u64)],
    ) -> Result<Vec<Run<'r>>, RepositoryError> {
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
                Err(error) if error.is_local() => self.forget(id)?,
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|run| (std::cmp::Reverse(run.chunk_count()), run.id));
        let mut usable: Vec<Run<'r>> = Vec::new();
        for run in found {
            let overlaps = usable.iter().any(|other| !other.covered.is_disjoint(&run.covered));
            let mut unnamed = run.covered.difference(&named);
            match unnamed.next() {
                None if overlaps => self.give_up(run.id)?,
                None => usable.push(run),
                // Another process may know more of the log than this one does.
                Some(object) if self.stands(*object)? => {}
                Some(_) => self.give_up(run.id)?,
            }
        }
        Ok(usable)
    }

    /// Whether the vault's store holds an index object.
    fn stands(&self, object: ObjectId) -> Result<bool, RepositoryError> {
        Ok(self.store.size(&Family::Index.name(object)?)?.is_some())
    }

    /// Takes the manifest of a run that is damaged away.
    pub(super) fn forget(&self, id: RunId) -> Result<(), RepositoryError> {
        Ok(self.runs.delete(&object_name(&id, MANIFEST)?)?)
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
    pub(super) fn delete(&self, id: RunId) -> Result<(), RepositoryError> {
        let given_up = object_name(&id, GIVEN_UP)?;
        let mut names = Vec::new();
        let prefix = format!("runs/{}/", data_encoding::HEXLOWER.encode(&id));
        self.runs.list(&prefix, &mut |name, _| names.push(name))?;
        names.retain(|name| *name != given_up);
        names.push(given_up);
        names.iter().try_for_each(|name| Ok(self.runs.delete(name)?))
    }

    /// Makes runs of what is uncovered, and merges those that are of about one size.
    pub(super) fn make_runs(
        &self,
        mut runs: Vec<Run<'r>>,
        uncovered: &[(ObjectId, u64)],
        live: &BTreeSet<ObjectId>,
    ) -> Result<(), RepositoryError> {
        let is_live = |pack: &ObjectId| live.contains(pack);
        let id = || random_array(self.keys.entropy);
        for part in uncovered.chunks(SOURCES_MAX) {
            let sources =
                part.iter().filter_map(|(id, _)| match Stream::open(self.store, self.keys, *id) {
                    Ok(stream) => Some(Ok(Source::Object(*id, Box::new(stream)))),
                    Err(error) if error.is_local() => None,
                    Err(error) => Some(Err(error)),
                });
            let chunks = part.iter().map(|(_, bytes)| bytes / BYTES_A_CHUNK).sum();
            runs.extend(self.make_run(id()?, sources, &is_live, chunks)?);
        }
        runs.sort_by_key(Run::chunk_count);
        let count = merged_count(runs.iter().map(Run::chunk_count), 0);
        let merged = runs.get(..count.min(SOURCES_MAX)).unwrap_or_default();
        let chunks = merged.iter().map(Run::chunk_count).sum();
        if merged.len() > 1 {
            let sources = merged.iter().map(|run| Ok(Source::Run(run)));
            self.make_run(id()?, sources, &is_live, chunks)?;
        }
        Ok(())
    }

    /// Makes a run of what these sources say of live packs, about so many chunks, under a random id.
    pub(super) fn make_run<'s>(
        &self,
        id: RunId,
        sources: impl Iterator<Item = Result<Source<'s>, RepositoryError>>,
        is_live: &dyn Fn(&ObjectId) -> bool,
        chunks: u64,
    ) -> Result<Option<Run<'r>>, RepositoryError> {
        self.note_time(id, BEGUN)?;
        merge(sources, is_live, RunWriter::new(self.runs, self.keys, id, chunks))?;
        Run::open(self.runs, self.keys, id)
    }
}

/// The run that an object belongs to.
fn run_of(name: &BlobName) -> Option<RunId> {
    let id = name.as_str().strip_prefix("runs/")?.split('/').next()?;
    data_encoding::HEXLOWER.decode(id.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_about_one_size_become_one() {
        // (runs, new chunks) -> how many are merged
        for (runs, new, expected) in [
            (vec![], 5, 0),
            (vec![5], 0, 0),
            (vec![5, 10], 0, 2),
            (vec![5, 11], 0, 0),
            (vec![4, 16, 16, 16, 16], 0, 5),
            (vec![4, 16, 41], 0, 0),
            (vec![10, 30, 200], 5, 2),
            (vec![11], 5, 0),
        ] {
            assert_eq!(merged_count(runs.iter().copied(), new), expected, "{runs:?} and {new}");
        }
    }
}
