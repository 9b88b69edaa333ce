//! Checking: is every byte there, and if not, which files does it cost?

mod garbage;
mod inspection;
mod keyless;
mod packs;
mod point_walk;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;

use custody_envelope::ObjectType;
use minicbor::Encoder;

use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::index::BadMarks;
use crate::indexes::BAD;
use crate::log::ObjectId;
use crate::object::{self, Family};
use crate::point::PointId;
use crate::progress::Progress;
use crate::repository::Repository;
use inspection::Inspection;

pub use keyless::check_without_keys;

/// Most files that are named for one problem; all are counted.
pub const FILES_NAMED_MAX: usize = 1_000;

/// How often what was found wrong is looked at again because a prune went on meanwhile.
const ROUNDS_MAX: u32 = 3;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckLevel {
    /// Log, rings, indexes, points, listings; of packs only that they stand and how long they are.
    Structure,
    /// The same, and every byte of some packs.
    Sample(Sample),
    /// Every byte of every object.
    Data,
}

/// Which packs are read by a check that reads some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How many of a hundred, at most 100.
    pub percent: u8,
    /// Chooses which: others with another.
    pub seed: u64,
}

impl CheckLevel {
    /// Whether every byte of this pack is read.
    pub(crate) fn reads(self, pack: ObjectId) -> bool {
        match self {
            Self::Structure => false,
            Self::Data => true,
            Self::Sample(Sample { percent, seed }) => {
                // Names are hashes: any eight bytes of them are evenly spread.
                let bytes = pack.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
                (u64::from_be_bytes(bytes) ^ seed) % 100 < u64::from(percent)
            }
        }
    }
}

/// Who vouches for what was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assurance {
    /// Objects were compared with the SHA-256 in their names: finds accidents, not malice.
    HashOnly,
    /// Everything was opened with the vault's keys.
    Authenticated,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// How far the result can be trusted.
    pub assurance: Assurance,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read or, for packs at [`CheckLevel::Structure`], counted.
    pub bytes: u64,
    /// Packs, index objects and points that the log does not name: left by a crash, replaced by a
    /// repair, or of a session that is running. A prune deletes what nothing can come to need.
    pub garbage_objects: u64,
    /// Their length in bytes.
    pub garbage_bytes: u64,
    /// What is wrong, by object.
    pub problems: Vec<Problem>,
}

impl CheckReport {
    fn new(assurance: Assurance) -> Self {
        Self {
            assurance,
            objects: 0,
            bytes: 0,
            garbage_objects: 0,
            garbage_bytes: 0,
            problems: Vec::new(),
        }
    }
}

/// Something wrong with one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object's name.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// Files and folders that cannot be restored because of it, the first [`FILES_NAMED_MAX`].
    pub files: Vec<LostFile>,
    /// How many there are.
    pub files_total: u64,
}

/// A file (or a folder with all that is in it) that a point has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostFile {
    /// The point.
    pub point: PointId,
    /// The path below the item's top, as bytes; empty if the whole point is lost.
    pub path: Vec<u8>,
}

impl Repository {
    /// Checks everything that the log names, and marks what is lost so that the next backup that
    /// meets it stores it again.
    pub fn check(
        &self,
        level: CheckLevel,
        threads: NonZeroUsize,
        progress: &dyn Progress,
    ) -> Result<CheckReport, RepositoryError> {
        let mut inspection = Inspection::new(self, progress);
        inspection.log()?;
        inspection.rings()?;
        let known = inspection.known_marks(level)?;
        let mut round = 1;
        let found = loop {
            let history = self.history()?;
            inspection.indexes(&history)?;
            let mut index = self.open_index_with(&history, &BTreeSet::new(), &known)?;
            let found = inspection.packs(&history, &*index, level, threads)?;
            index.mark(&found);
            inspection.points(&history, &*index)?;
            // What is missing may have been pruned meanwhile, and its chunks lie elsewhere.
            let is_settled = inspection.finds_nothing() || self.history()?.keeps_all_of(&history);
            if is_settled || round == ROUNDS_MAX {
                break found;
            }
            inspection.begin_again();
            round += 1;
        };
        inspection.tell();
        inspection.garbage()?;
        if self.read_only_because().is_none() {
            match self.write_marks(level, &known, &found) {
                // What was found is worth more than its marks: the next check writes them.
                Err(RepositoryError::Store(error)) => inspection.unmarked(&error),
                outcome => outcome?,
            }
        }
        Ok(inspection.report(Assurance::Authenticated))
    }

    /// Stores new marks. A check of all data knows everything: what was marked before and is
    /// sound again is marked no more.
    fn write_marks(
        &self,
        level: CheckLevel,
        known: &BadMarks,
        found: &BadMarks,
    ) -> Result<(), RepositoryError> {
        let store = &*self.parts.store;
        let mut stale = Vec::new();
        if level == CheckLevel::Data {
            store.list(Family::Bad.prefix(), &mut |name, _| stale.push(name))?;
        }
        if found.iter().any(|(pack, names)| known.get(pack) != Some(names)) {
            let mut plain = Vec::new();
            let mut cbor = Encoder::new(&mut plain);
            cbor.array(found.len() as u64)?;
            let sorted: BTreeMap<&ObjectId, &HashSet<ChunkName>> = found.iter().collect();
            for (pack, names) in sorted {
                cbor.array(2)?.bytes(pack.as_bytes())?.array(names.len() as u64)?;
                for name in names.iter().collect::<BTreeSet<_>>() {
                    cbor.bytes(&name.0)?;
                }
            }
            object::put(store, Family::Bad, &self.keys().seal(ObjectType::Index, BAD, plain)?)?;
        }
        for name in stale {
            store.delete(&name)?;
        }
        Ok(())
    }
}

impl Repository {
    /// Makes both copies of the ring in force the one that the keys in hand were unwrapped from.
    /// True if one had to be mended.
    ///
    /// # Errors
    /// [`RepositoryError::Damaged`] if neither copy is good: the record store holds a third.
    pub fn mend_rings(&self) -> Result<bool, RepositoryError> {
        let current = self.parts.keys.lease().ring();
        let rings = self.rings();
        let candidates = rings.candidates(current.number)?;
        let genuine =
            candidates.iter().find(|bytes| ObjectId::of(bytes).as_bytes() == &current.hash);
        match genuine {
            Some(genuine) => rings.mend(current.number, genuine),
            None => Err(RepositoryError::damaged("keys/", "no copy of the ring in force is good")),
        }
    }
}

pub(crate) fn keep_going(
    repository: &Repository,
    progress: &dyn Progress,
) -> Result<(), RepositoryError> {
    if progress.is_cancelled() {
        return Err(RepositoryError::Cancelled);
    }
    Ok(repository.parts.keys.check()?)
}
