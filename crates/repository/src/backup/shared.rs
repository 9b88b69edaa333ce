//! What the threads of one backup share.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use custody_blob_store::BlobStore;
use custody_entries::{Metadata, Warning};

use super::fresh::Fresh;
use crate::RepositoryError;
use crate::chunk::{ChunkName, Knife};
use crate::content::Content;
use crate::index::ChunkIndex;
use crate::log::ObjectId;
use crate::packer::{OpenPack, PackedGroup, Packer};
use crate::point::{Counts, PointId, PointWarning, WARNINGS_MAX};
use crate::progress::{Phase, Progress, Status};
use crate::read::{ChunkReader, locked};
use crate::sealed::Keys;

/// Progress is told each time so many bytes more are read.
const REPORT_BYTES: u64 = 1 << 20;

/// One backup in progress: deduplication, the open pack, counters, warnings, the first failure.
pub(super) struct Shared<'r> {
    pub(super) store: &'r dyn BlobStore,
    pub(super) keys: Keys<'r>,
    pub(super) knife: &'r Knife,
    pub(super) index: &'r dyn ChunkIndex,
    pub(super) reader: ChunkReader<'r>,
    pub(super) progress: &'r dyn Progress,
    pub(super) tally: Tally,
    /// The point that unchanged files are taken over from.
    pub(super) parent: Option<PointId>,
    pub(super) root: Mutex<Option<Content>>,
    pub(super) top: Mutex<Option<Metadata>>,
    /// Chunks first met in this session; all are in its packs before it commits.
    pub(super) fresh: Fresh<'r>,
    /// Which packs of the index the point relies on.
    used: Vec<AtomicBool>,
    packer: Packer<'r>,
    warnings: Mutex<Warnings>,
    failure: Mutex<Option<RepositoryError>>,
    stopped: AtomicBool,
}

/// Warnings by their codes, and the first of them.
type Warnings = (BTreeMap<&'static str, u64>, Vec<PointWarning>);

/// Counts as they grow.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) files: AtomicU64,
    pub(super) folders: AtomicU64,
    pub(super) others: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Bytes read or taken over so far, those read twice counted twice: for progress alone.
    pub(super) read_bytes: AtomicU64,
    pub(super) new_bytes: AtomicU64,
    pub(super) stored_bytes: AtomicU64,
    pub(super) unchanged_files: AtomicU64,
}

impl<'r> Shared<'r> {
    pub(super) fn new(
        store: &'r dyn BlobStore,
        keys: Keys<'r>,
        knife: &'r Knife,
        index: &'r dyn ChunkIndex,
        fresh: Fresh<'r>,
        progress: &'r dyn Progress,
    ) -> Self {
        Self {
            store,
            keys,
            knife,
            index,
            reader: ChunkReader::new(store, keys, knife, index),
            progress,
            tally: Tally::default(),
            parent: None,
            root: Mutex::default(),
            top: Mutex::default(),
            fresh,
            used: (0..index.pack_count()).map(|_| AtomicBool::new(false)).collect(),
            packer: Packer::new(keys),
            warnings: Mutex::default(),
            failure: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Takes note that the point uses a chunk. True if the caller has to store it.
    pub(super) fn claim(&self, name: ChunkName) -> Result<bool, RepositoryError> {
        if self.take_over(&name)? {
            return Ok(false);
        }
        self.fresh.claim(name)
    }

    /// Whether the chunk was stored before this session and can be relied on; if so the point
    /// relies on its pack from now on.
    pub(super) fn take_over(&self, name: &ChunkName) -> Result<bool, RepositoryError> {
        let Some(pack) = self.index.reliable_pack(name)? else { return Ok(false) };
        if let Some(used) = self.used.get(pack as usize) {
            used.store(true, Ordering::Relaxed);
        }
        Ok(true)
    }

    /// Adds a group to the open pack; stores the pack if that fills it.
    pub(super) fn add_group(&self, group: PackedGroup<'_>) -> Result<(), RepositoryError> {
        let full = self.packer.add(group)?;
        full.map_or(Ok(()), |pack| self.store_pack(pack, Phase::Reading))
    }

    /// Stores the last pack.
    pub(super) fn store_last_pack(&self) -> Result<(), RepositoryError> {
        let last = self.packer.take_last();
        last.map_or(Ok(()), |pack| self.store_pack(pack, Phase::Committing))
    }

    fn store_pack(&self, pack: OpenPack<'r>, phase: Phase) -> Result<(), RepositoryError> {
        self.keep_going()?;
        let summary = self.packer.store(pack, self.store, self.knife)?;
        self.tally.stored_bytes.fetch_add(summary.length, Ordering::Relaxed);
        self.fresh.add(summary)?;
        self.report(phase);
        Ok(())
    }

    /// The packs stored before this session that the point relies on.
    pub(super) fn used_packs(&self) -> Result<Vec<ObjectId>, RepositoryError> {
        let mut packs = Vec::new();
        self.index.each_pack(&mut |number, pack| {
            let used = self.used.get(number as usize);
            packs.extend(used.filter(|used| used.load(Ordering::Relaxed)).map(|_| pack.id));
        })?;
        Ok(packs)
    }

    pub(super) fn warn(&self, warning: Warning) {
        let mut warnings = locked(&self.warnings);
        *warnings.0.entry(warning.code).or_default() += 1;
        if warnings.1.len() < WARNINGS_MAX {
            let Warning { code, path, message } = warning;
            warnings.1.push(PointWarning { code: code.to_owned(), path, message });
        }
    }

    /// How many warnings of each code there were, and the first of them in order of their paths.
    pub(super) fn take_warnings(&self) -> Warnings {
        let (by_code, mut kept) = std::mem::take(&mut *locked(&self.warnings));
        kept.sort_by(|one, other| one.path.cmp(&other.path));
        (by_code, kept)
    }

    /// Stops every thread; the first failure is the one that is told. Threads that are stopped say
    /// that they were cancelled, perhaps before the one that failed can say why: that alone is none.
    pub(super) fn fail(&self, error: RepositoryError) {
        if !matches!(error, RepositoryError::Cancelled) {
            locked(&self.failure).get_or_insert(error);
        }
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_failure(&self) -> Option<RepositoryError> {
        locked(&self.failure).take()
    }

    /// Whether the backup may go on: not failed, not cancelled, keys still leased.
    pub(super) fn keep_going(&self) -> Result<(), RepositoryError> {
        if self.stopped.load(Ordering::Relaxed) || self.progress.is_cancelled() {
            return Err(RepositoryError::Cancelled);
        }
        Ok(self.keys.vault.check()?)
    }

    /// So many bytes more were read or gone over: says so once in a while, and asks whether to go on.
    pub(super) fn have_read(&self, bytes: u64) -> Result<(), RepositoryError> {
        let before = self.tally.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before / REPORT_BYTES == before.saturating_add(bytes) / REPORT_BYTES {
            return Ok(());
        }
        self.report(Phase::Reading);
        self.keep_going()
    }

    pub(super) fn report(&self, phase: Phase) {
        let Counts { files, new_bytes, .. } = self.tally.counts();
        let bytes = self.tally.read_bytes.load(Ordering::Relaxed);
        self.progress.report(&Status { phase, files, bytes, new_bytes });
    }
}

impl Tally {
    pub(super) fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            files: of(&self.files),
            folders: of(&self.folders),
            others: of(&self.others),
            bytes: of(&self.bytes),
            new_bytes: of(&self.new_bytes),
            stored_bytes: of(&self.stored_bytes),
            unchanged_files: of(&self.unchanged_files),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use custody_blob_store::StoreError;

    use super::*;
    use crate::backup::fresh::tests::repository;
    use crate::progress::Unwatched;

    /// Threads tell in any order why they end.
    #[test]
    fn who_was_stopped_by_a_failure_never_hides_it() {
        let repository = repository(None);
        let history = repository.history().unwrap();
        let index = repository.open_index(&history, &BTreeSet::new()).unwrap();
        let check = |told: &[&RepositoryError], expected: Option<&RepositoryError>| {
            let fresh = Fresh::new(&repository);
            let store = &*repository.parts.store;
            let (keys, knife) = (repository.keys(), &repository.knife);
            let shared = Shared::new(store, keys, knife, &*index, fresh, &Unwatched);
            assert!(shared.keep_going().is_ok());
            for error in told {
                shared.fail((*error).clone());
            }
            assert_eq!(shared.keep_going(), Err(RepositoryError::Cancelled), "{told:?}");
            assert_eq!(shared.take_failure().as_ref(), expected, "{told:?}");
        };
        let cancelled = &RepositoryError::Cancelled;
        let full = &RepositoryError::from(StoreError::Full("no room".to_owned()));
        let bug = &RepositoryError::Bug("another");
        check(&[cancelled, full], Some(full));
        check(&[full, cancelled], Some(full));
        check(&[cancelled, full, cancelled, bug], Some(full));
        check(&[bug, full], Some(bug));
        check(&[cancelled, cancelled], None);
    }
}
