//! Runs of a session that has not committed: what it stored is found in them again
//! (docs/formats/index-cache.md, "Sessions").

use custody_ambient::random_array;

use super::ChunkIndex as _;
use super::cache::{Cache, merged_count};
use super::capped::CappedIndex;
use super::merge::Source;
use super::run::Run;
use super::table::RunId;
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::index_object::Stream;
use crate::log::ObjectId;

/// The runs of one session.
#[derive(Default)]
pub(crate) struct SessionRuns<'r>(Option<CappedIndex<'r>>);

/// A run that is to take the place of others.
pub(crate) struct Change<'r> {
    cache: Cache<'r>,
    new: Run<'r>,
    merged: Vec<RunId>,
}

impl<'r> SessionRuns<'r> {
    /// Whether a chunk is in them. One that cannot be looked for counts as new: to store it twice
    /// costs space, to rely on it would cost the point.
    pub(crate) fn hold(&self, name: &ChunkName) -> Result<bool, RepositoryError> {
        let Some(index) = &self.0 else { return Ok(false) };
        match index.reliable_pack(name) {
            Ok(found) => Ok(found.is_some()),
            Err(RepositoryError::Store(_)) => Ok(false),
            Err(error) if error.is_local() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a run of index objects of so many chunks, and of those runs that are not much larger.
    pub(crate) fn with(
        &self,
        cache: Cache<'r>,
        objects: &[ObjectId],
        mut chunks: u64,
    ) -> Result<Change<'r>, RepositoryError> {
        let mut runs: Vec<&Run<'r>> = self.0.iter().flat_map(CappedIndex::runs).collect();
        runs.sort_by_key(|run| run.chunk_count());
        let count = merged_count(runs.iter().map(|run| run.chunk_count()), chunks);
        let merged = runs.get(..count).unwrap_or_default();
        chunks += merged.iter().map(|run| run.chunk_count()).sum::<u64>();
        let objects = objects.iter().map(|id| {
            let stream = Stream::open(cache.store, cache.keys, *id)?;
            Ok(Source::Object(*id, Box::new(stream)))
        });
        let sources = objects.chain(merged.iter().map(|run| Ok(Source::Run(run))));
        let id = random_array(cache.keys.entropy)?;
        let new = cache.make_run(id, sources, &|_| true, chunks)?;
        let new = new.ok_or(RepositoryError::Bug("a run that was just made is gone"))?;
        Ok(Change { cache, new, merged: merged.iter().map(|run| run.id).collect() })
    }

    /// Looks in the new run from now on.
    pub(crate) fn change(&mut self, change: Change<'r>) -> Result<(), RepositoryError> {
        let Change { cache, new, merged } = change;
        let mut runs = self.0.take().map(CappedIndex::into_runs).unwrap_or_default();
        runs.retain(|run| !merged.contains(&run.id));
        runs.push(new);
        let filter_bytes = cache.limits.session_bytes / 2;
        self.0 = Some(CappedIndex::of_runs(cache, runs, filter_bytes)?);
        for id in merged {
            // Only this session knew of it. If it stays, a later job gives it up.
            let _ = cache.forget(id).and_then(|()| cache.delete(id));
        }
        Ok(())
    }

    /// Most bytes of their filters that lie in memory.
    #[cfg(test)]
    pub(crate) fn filter_bytes(&self) -> usize {
        self.0.iter().flat_map(CappedIndex::runs).map(Run::filter_bytes).sum()
    }
}
