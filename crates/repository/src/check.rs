//! Checking: is every byte there, and if not, which files does it cost?

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use custody_blob_store::BlobStore;
use custody_envelope::ObjectType;
use minicbor::Encoder;

use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::content::Content;
use crate::index::{BadMarks, Index};
use crate::index_object;
use crate::listing::{Body, Node};
use crate::log::{History, LogError, ObjectId, survey};
use crate::object::{self, Family};
use crate::pack::{self, PackSummary};
use crate::point::PointId;
use crate::progress::{Phase, Progress, Status};
use crate::read::{ChunkReader, locked};
use crate::repository::{BAD, Repository, log_parts};
use crate::restore::below;
use crate::rings::Rings;

/// Most files that are named for one problem; all are counted.
pub const FILES_NAMED_MAX: usize = 1_000;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckLevel {
    /// Log, rings, indexes, points, listings; of packs only that they stand and how long they are.
    Structure,
    /// Every byte of every object.
    Data,
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
    /// What is wrong, by object.
    pub problems: Vec<Problem>,
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
        let history = self.history()?;
        let mut check = Check::new(self, progress);
        check.log()?;
        check.rings()?;
        check.indexes(&history)?;
        let mut index = self.load_index_unmarked(&history)?;
        let known =
            if level == CheckLevel::Structure { self.bad_marks()? } else { BadMarks::new() };
        let found = check.packs(&history, &index, level, threads)?;
        index.mark(&known);
        index.mark(&found);
        check.points(&history, &index)?;
        if self.read_only_because().is_none() {
            self.write_marks(level, &known, &found)?;
        }
        Ok(check.report(Assurance::Authenticated))
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

/// A check in progress.
struct Check<'r> {
    repository: &'r Repository,
    progress: &'r dyn Progress,
    objects: u64,
    bytes: u64,
    problems: BTreeMap<String, Problem>,
}

impl<'r> Check<'r> {
    fn new(repository: &'r Repository, progress: &'r dyn Progress) -> Self {
        Self { repository, progress, objects: 0, bytes: 0, problems: BTreeMap::new() }
    }

    fn report(self, assurance: Assurance) -> CheckReport {
        let problems = self.problems.into_values().collect();
        CheckReport { assurance, objects: self.objects, bytes: self.bytes, problems }
    }

    fn problem(&mut self, object: &str, what: &dyn ToString) -> &mut Problem {
        self.problems.entry(object.to_owned()).or_insert_with(|| Problem {
            object: object.to_owned(),
            what: what.to_string(),
            files: Vec::new(),
            files_total: 0,
        })
    }

    fn lost(&mut self, object: &str, what: &dyn ToString, point: PointId, path: &[u8]) {
        let problem = self.problem(object, what);
        problem.files_total += 1;
        if problem.files.len() < FILES_NAMED_MAX {
            problem.files.push(LostFile { point, path: path.to_vec() });
        }
    }

    fn counted(&mut self, bytes: u64) -> Result<(), RepositoryError> {
        self.objects += 1;
        self.bytes += bytes;
        keep_going(self.repository, self.progress)?;
        let (files, bytes) = (self.objects, self.bytes);
        self.progress.report(&Status { phase: Phase::Checking, files, bytes, new_bytes: 0 });
        Ok(())
    }

    fn log(&mut self) -> Result<(), RepositoryError> {
        let survey = survey(&log_parts(&self.repository.parts))?;
        for (number, fault) in survey.faults {
            self.problem(&format!("log/{number:010}"), &fault);
        }
        if let Some(error @ LogError::RolledBack { pinned, .. }) =
            self.repository.read_only_because()
        {
            self.problem(&format!("log/{:010}", pinned.number), error);
        }
        self.objects += survey.history.head().map_or(0, |head| head.number);
        Ok(())
    }

    /// The current ring stands twice, as the keys in hand know it.
    fn rings(&mut self) -> Result<(), RepositoryError> {
        let current = self.repository.parts.keys.lease().ring();
        for (name, bytes) in self.repository.rings().places(current.number)? {
            match bytes {
                None => drop(self.problem(name.as_str(), &"it is missing; the other copy is good")),
                Some(bytes) if ObjectId::of(&bytes).as_bytes() == &current.hash => {
                    self.counted(bytes.len() as u64)?;
                }
                Some(_) => drop(self.problem(name.as_str(), &"it is not the ring in force")),
            }
        }
        Ok(())
    }

    fn indexes(&mut self, history: &History) -> Result<(), RepositoryError> {
        for id in history.indexes().keys() {
            let name = Family::Index.name(*id)?;
            let opened =
                object::get(&*self.repository.parts.store, Family::Index, *id).and_then(|bytes| {
                    index_object::open(&bytes, self.repository.keys(), &name)?;
                    Ok(bytes.len() as u64)
                });
            match opened {
                Ok(bytes) => self.counted(bytes)?,
                Err(error) if error.is_local() => drop(self.problem(name.as_str(), &error)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Checks every live pack; what is bad in them.
    fn packs(
        &mut self,
        history: &History,
        index: &Index,
        level: CheckLevel,
        threads: NonZeroUsize,
    ) -> Result<BadMarks, RepositoryError> {
        let summaries = index.summaries();
        let mut bad = BadMarks::new();
        let known: HashSet<ObjectId> = summaries.iter().map(|summary| summary.id).collect();
        for pack in history.packs().iter().filter(|pack| !known.contains(pack)) {
            // Neither it nor an index that knows it: nothing can be said about its chunks.
            let name = Family::Pack.name(*pack)?;
            self.problem(name.as_str(), &"it is missing or unreadable, and no index describes it");
            bad.insert(*pack, HashSet::new());
        }
        let next = AtomicUsize::new(0);
        let shared = Mutex::new((&mut *self, &mut bad));
        let work = || -> Result<(), RepositoryError> {
            while let Some(summary) = summaries.get(next.fetch_add(1, Relaxed)) {
                let repository = locked(&shared).0.repository;
                let found = check_pack(repository, summary, level)?;
                let mut shared = locked(&shared);
                let (check, bad) = &mut *shared;
                check.counted(summary.length)?;
                if let Some((error, names)) = found {
                    check.problem(Family::Pack.name(summary.id)?.as_str(), &error);
                    if let Some(names) = names {
                        bad.insert(summary.id, names);
                    }
                }
            }
            Ok(())
        };
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.get()).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for outcome in outcomes {
            outcome.map_err(|_| RepositoryError::Bug("a thread of a check panicked"))??;
        }
        Ok(bad)
    }

    /// Follows every point to every chunk that it needs.
    fn points(&mut self, history: &History, index: &Index) -> Result<(), RepositoryError> {
        let repository = self.repository;
        let reader =
            ChunkReader::new(&*repository.parts.store, repository.keys(), &repository.knife, index);
        let mut sound = HashMap::new();
        for id in history.points().keys() {
            let (id, name) = (PointId(*id), Family::Point.name(*id)?);
            match repository.point(id) {
                Ok(point) => {
                    self.counted(repository.parts.store.size(&name)?.unwrap_or(0))?;
                    let mut walk = PointWalk { check: self, reader: &reader, index, point: id };
                    walk.folder(&point.root, &mut sound)?;
                }
                Err(error) if error.is_local() => self.lost(name.as_str(), &error, id, b""),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Checks one pack against what the index says of it: what is wrong, and which of its chunks are
/// lost (an empty set if all are, none if no chunk is).
type PackFault = Option<(RepositoryError, Option<HashSet<ChunkName>>)>;

fn check_pack(
    repository: &Repository,
    summary: &PackSummary,
    level: CheckLevel,
) -> Result<PackFault, RepositoryError> {
    let store = &*repository.parts.store;
    let name = Family::Pack.name(summary.id)?;
    let damaged = |what: &str| RepositoryError::damaged(&name, what);
    if level == CheckLevel::Structure {
        return Ok(match store.size(&name)? {
            Some(length) if length == summary.length => None,
            Some(_) => {
                Some((damaged("it is longer or shorter than it should be"), Some(HashSet::new())))
            }
            None => Some((damaged("it is missing"), Some(HashSet::new()))),
        });
    }
    let Some(bytes) = store.read(&name)? else {
        return Ok(Some((damaged("it is missing"), Some(HashSet::new()))));
    };
    let mut lost = HashSet::new();
    let (keys, knife) = (repository.keys(), &repository.knife);
    let mut fault = None;
    let verified =
        pack::verify(&bytes, &summary.directory, keys, knife, &name, &mut |chunk, error| {
            lost.insert(chunk);
            fault.get_or_insert_with(|| error.clone());
        });
    match verified {
        Ok(()) => {}
        Err(error) if error.is_local() => return Ok(Some((error, Some(HashSet::new())))),
        Err(error) => return Err(error),
    }
    match pack::read_directory(&bytes, keys, &name) {
        Ok(directory) if directory == summary.directory => {}
        Ok(_) => drop(fault.get_or_insert_with(|| damaged("its directory and the index differ"))),
        Err(error) if error.is_local() => drop(fault.get_or_insert(error)),
        Err(error) => return Err(error),
    }
    if ObjectId::of(&bytes) != summary.id {
        fault.get_or_insert_with(|| damaged("its bytes do not match its name"));
    }
    Ok(fault.map(|error| (error, (!lost.is_empty()).then_some(lost))))
}

/// Walks one point.
struct PointWalk<'w, 'r, 'c> {
    check: &'w mut Check<'c>,
    reader: &'w ChunkReader<'r>,
    index: &'w Index,
    point: PointId,
}

/// Which listings, by their chunks, hold nothing lost in them or below.
type SoundListings = HashMap<Vec<ChunkName>, bool>;

impl PointWalk<'_, '_, '_> {
    /// Walks a point from its root, without recursion: a tree may be deeper than a stack. A
    /// listing known to be sound is not read again, whichever point it was met in.
    fn folder(&mut self, root: &Content, sound: &mut SoundListings) -> Result<(), RepositoryError> {
        let mut stack: Vec<Level> = Vec::new();
        self.enter(root, Vec::new(), sound, &mut stack)?;
        while let Some(level) = stack.last_mut() {
            let Some(node) = level.nodes.next() else {
                if let Some(level) = stack.pop() {
                    if let Some(above) = stack.last_mut() {
                        above.whole &= level.whole;
                    }
                    sound.insert(level.key, level.whole);
                }
                continue;
            };
            let path = below(&level.path, &node.entry);
            match &node.body {
                Body::Folder(content) => self.enter(content, path, sound, &mut stack)?,
                Body::File { content, .. } => level.whole &= self.is_whole(content, &path)?,
                Body::None => {}
            }
        }
        Ok(())
    }

    /// Steps into a folder, unless it is known to be sound or its listing is lost.
    fn enter(
        &mut self,
        content: &Content,
        path: Vec<u8>,
        sound: &SoundListings,
        stack: &mut Vec<Level>,
    ) -> Result<(), RepositoryError> {
        keep_going(self.check.repository, self.check.progress)?;
        let key: Vec<ChunkName> =
            content.extents.iter().filter_map(|extent| extent.chunk).collect();
        if sound.get(&key) == Some(&true) {
            return Ok(());
        }
        let whole = self.is_whole(content, &path)?;
        let nodes = match self.reader.listing(content) {
            Ok(nodes) => nodes,
            Err(error) if error.is_local() => {
                if whole {
                    self.check.lost(&object_of(&error), &error, self.point, &path);
                }
                if let Some(above) = stack.last_mut() {
                    above.whole = false;
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        stack.push(Level { key, nodes: nodes.into_iter(), path, whole });
        Ok(())
    }

    /// Whether every chunk of a content can be relied on; if not, says what that costs.
    fn is_whole(&mut self, content: &Content, path: &[u8]) -> Result<bool, RepositoryError> {
        let mut missing = None;
        let outcome = self.reader.for_each_chunk(content, &mut |name| {
            let good = self.index.reliable_pack(name).is_some();
            missing = missing.or((!good).then_some(*name));
            good
        });
        match outcome {
            Ok(true) => return Ok(true),
            Err(error) if !error.is_local() => return Err(error),
            Err(error) => self.check.lost(&object_of(&error), &error, self.point, path),
            Ok(false) => {
                let places = missing.map(|name| self.index.places(&name)).unwrap_or_default();
                let pack = places.first().and_then(|place| self.index.group(place));
                let object = match pack {
                    Some((_, pack)) => Family::Pack.name(pack.id)?.to_string(),
                    None => "a lost pack".to_owned(),
                };
                self.check.lost(&object, &"chunks in it are lost", self.point, path);
            }
        }
        Ok(false)
    }
}

struct Level {
    key: Vec<ChunkName>,
    nodes: std::vec::IntoIter<Node>,
    path: Vec<u8>,
    whole: bool,
}

fn object_of(error: &RepositoryError) -> String {
    match error {
        RepositoryError::Damaged { object, .. } => object.clone(),
        _ => "an object of the repository".to_owned(),
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

/// Compares every immutable object in `store` with the SHA-256 in its name, without any key. What
/// is missing altogether only a check with the keys can tell.
pub fn check_without_keys(
    store: &dyn BlobStore,
    progress: &dyn Progress,
) -> Result<CheckReport, RepositoryError> {
    crate::marker::Marker::read(store)?;
    let mut report =
        CheckReport { assurance: Assurance::HashOnly, objects: 0, bytes: 0, problems: Vec::new() };
    for family in [Family::Pack, Family::Index, Family::Point, Family::Bad] {
        let mut names = Vec::new();
        store.list(family.prefix(), &mut |name, _| names.push(name))?;
        for name in names {
            if progress.is_cancelled() {
                return Err(RepositoryError::Cancelled);
            }
            let Some(id) = family.id_in(&name) else { continue };
            match object::get(store, family, id) {
                Ok(bytes) => report.bytes += bytes.len() as u64,
                Err(error) if error.is_local() => report.problems.push(Problem {
                    object: name.to_string(),
                    what: error.to_string(),
                    files: Vec::new(),
                    files_total: 0,
                }),
                Err(error) => return Err(error),
            }
            report.objects += 1;
            let (files, bytes) = (report.objects, report.bytes);
            progress.report(&Status { phase: Phase::Checking, files, bytes, new_bytes: 0 });
        }
    }
    Ok(report)
}

impl Repository {
    /// Makes both copies of the ring in force the one that the keys in hand were unwrapped from.
    /// True if one had to be mended.
    ///
    /// # Errors
    /// [`RepositoryError::Damaged`] if neither copy is good: the record store holds a third.
    pub fn mend_rings(&self) -> Result<bool, RepositoryError> {
        let current = self.parts.keys.lease().ring();
        let rings: Rings<'_> = self.rings();
        let candidates = rings.candidates(current.number)?;
        let genuine =
            candidates.iter().find(|bytes| ObjectId::of(bytes).as_bytes() == &current.hash);
        match genuine {
            Some(genuine) => rings.mend(current.number, genuine),
            None => Err(RepositoryError::damaged("keys/", "no copy of the ring in force is good")),
        }
    }
}
