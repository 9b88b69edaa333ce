//! What a check looks at, object by object.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::point_walk::PointWalk;
use super::{Assurance, CheckLevel, CheckReport, FILES_NAMED_MAX, LostFile, Problem, keep_going};
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::index::{BadMarks, Index};
use crate::index_object;
use crate::log::{History, LogError, ObjectId, survey};
use crate::object::{self, Family};
use crate::pack::{self, PackSummary};
use crate::point::PointId;
use crate::progress::{Phase, Progress, Status};
use crate::read::{ChunkReader, locked};
use crate::repository::{Repository, log_parts};
use crate::rings::Rings;

/// A check in progress.
pub(super) struct Inspection<'r> {
    pub(super) repository: &'r Repository,
    pub(super) progress: &'r dyn Progress,
    objects: u64,
    bytes: u64,
    problems: BTreeMap<String, Problem>,
}

impl<'r> Inspection<'r> {
    pub(super) fn new(repository: &'r Repository, progress: &'r dyn Progress) -> Self {
        Self { repository, progress, objects: 0, bytes: 0, problems: BTreeMap::new() }
    }

    pub(super) fn report(self, assurance: Assurance) -> CheckReport {
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

    pub(super) fn lost(&mut self, object: &str, what: &dyn ToString, point: PointId, path: &[u8]) {
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

    pub(super) fn log(&mut self) -> Result<(), RepositoryError> {
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
    pub(super) fn rings(&mut self) -> Result<(), RepositoryError> {
        let current = self.repository.parts.keys.lease().ring();
        for name in Rings::names(current.number)? {
            match self.repository.parts.store.read(&name)? {
                None => drop(self.problem(name.as_str(), &"it is missing; the other copy is good")),
                Some(bytes) if ObjectId::of(&bytes).as_bytes() == &current.hash => {
                    self.counted(bytes.len() as u64)?;
                }
                Some(_) => drop(self.problem(name.as_str(), &"it is not the ring in force")),
            }
        }
        Ok(())
    }

    pub(super) fn indexes(&mut self, history: &History) -> Result<(), RepositoryError> {
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
    pub(super) fn packs(
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
                let (inspection, bad) = &mut *shared;
                inspection.counted(summary.length)?;
                if let Some((error, names)) = found {
                    inspection.problem(Family::Pack.name(summary.id)?.as_str(), &error);
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
    pub(super) fn points(
        &mut self,
        history: &History,
        index: &Index,
    ) -> Result<(), RepositoryError> {
        let repository = self.repository;
        let reader =
            ChunkReader::new(&*repository.parts.store, repository.keys(), &repository.knife, index);
        let mut sound = HashMap::new();
        for id in history.points().keys() {
            let (id, name) = (PointId(*id), Family::Point.name(*id)?);
            match repository.point(id) {
                Ok(point) => {
                    self.counted(repository.parts.store.size(&name)?.unwrap_or(0))?;
                    let mut walk =
                        PointWalk { inspection: self, reader: &reader, index, point: id };
                    walk.run(&point.root, &mut sound)?;
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
