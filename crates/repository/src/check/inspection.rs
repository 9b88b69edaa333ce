//! What a check looks at, object by object.

use std::collections::{BTreeMap, HashSet};

use custody_blob_store::StoreError;

use super::garbage::{Garbage, listed};
use super::point_walk::PointWalk;
use super::{Assurance, CheckLevel, CheckReport, FILES_NAMED_MAX, LostFile, Problem, keep_going};
use crate::RepositoryError;
use crate::index::{BadMarks, ChunkIndex};
use crate::index_object;
use crate::log::{History, LogError, ObjectId, survey};
use crate::marker::{MARKER, Marker, OTHER_TIME};
use crate::needs::{Needs, SeenFolders};
use crate::object::{self, Family};
use crate::point::PointId;
use crate::progress::{Phase, Progress, Status, Total};
use crate::read::ChunkReader;
use crate::repository::Repository;
use crate::rings::Rings;

/// A check in progress.
pub(super) struct Inspection<'r> {
    pub(super) repository: &'r Repository,
    pub(super) progress: &'r dyn Progress,
    objects: u64,
    bytes: u64,
    garbage: Garbage,
    /// What is wrong whatever prunes do meanwhile.
    standing: BTreeMap<String, Problem>,
    /// What is wrong with what the log named when this round began.
    problems: BTreeMap<String, Problem>,
    /// Objects that need not be looked at again.
    sound: HashSet<ObjectId>,
}

impl<'r> Inspection<'r> {
    pub(super) fn new(repository: &'r Repository, progress: &'r dyn Progress) -> Self {
        Self {
            repository,
            progress,
            objects: 0,
            bytes: 0,
            garbage: Garbage::default(),
            standing: BTreeMap::new(),
            problems: BTreeMap::new(),
            sound: HashSet::new(),
        }
    }

    pub(super) fn report(mut self, assurance: Assurance) -> CheckReport {
        self.problems.append(&mut self.standing);
        CheckReport {
            objects: self.objects,
            bytes: self.bytes,
            garbage_objects: self.garbage.objects,
            garbage_bytes: self.garbage.bytes,
            problems: self.problems.into_values().collect(),
            ..CheckReport::new(assurance)
        }
    }

    /// Whether nothing that the log names was found wrong.
    pub(super) fn finds_nothing(&self) -> bool {
        self.problems.is_empty()
    }

    /// Forgets what was found wrong, so that it is looked at again.
    pub(super) fn begin_again(&mut self) {
        self.problems.clear();
    }

    /// Marks could not be stored.
    pub(super) fn unmarked(&mut self, why: &StoreError) {
        let what = format!("what is damaged cannot be marked: {why}");
        self.problem(Family::Bad.prefix(), &what);
    }

    /// Whether an object was found sound before.
    pub(super) fn is_known(&self, id: ObjectId) -> bool {
        self.sound.contains(&id)
    }

    /// An object of `bytes` was found sound.
    pub(super) fn sound(&mut self, id: ObjectId, bytes: u64) -> Result<(), RepositoryError> {
        self.sound.insert(id);
        self.counted(bytes)
    }

    pub(super) fn problem(&mut self, object: &str, what: &dyn ToString) -> &mut Problem {
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

    pub(super) fn counted(&mut self, bytes: u64) -> Result<(), RepositoryError> {
        self.objects += 1;
        self.bytes += bytes;
        keep_going(self.repository, self.progress)?;
        self.tell();
        Ok(())
    }

    /// Tells how many objects were looked at.
    pub(super) fn tell(&self) {
        let (files, bytes) = (self.objects, self.bytes);
        self.progress.report(&Status { phase: Phase::Checking, files, bytes, new_bytes: 0 });
    }

    /// Says that there are so many objects more to look at, and so many bytes more to read.
    pub(super) fn expect(&self, objects: u64, bytes: Option<u64>) {
        let bytes = bytes.map_or(0, |bytes| self.bytes.saturating_add(bytes));
        self.tell();
        self.progress.expect(Total::exact(self.objects.saturating_add(objects), bytes));
    }

    pub(super) fn log(&mut self) -> Result<(), RepositoryError> {
        let survey = survey(&self.repository.parts.log())?;
        for (number, fault) in survey.faults {
            self.problem(&format!("log/{number:010}"), &fault);
        }
        if let Some(begun_ms) = survey.begun_ms
            && !Marker::read(&*self.repository.parts.store)?.agrees_with(begun_ms)
        {
            self.problem(MARKER, &OTHER_TIME);
        }
        if let Some(error @ LogError::RolledBack { pinned, .. }) =
            self.repository.read_only_because()
        {
            self.problem(&format!("log/{:010}", pinned.number), error);
        }
        self.objects += survey.history.head().map_or(0, |head| head.number);
        Ok(())
    }

    /// The current ring stands twice, as the keys in hand know it. What is wrong with log and rings
    /// is wrong for good.
    pub(super) fn rings(&mut self) -> Result<(), RepositoryError> {
        let current = self.repository.parts.keys.lease().ring();
        for name in Rings::names(current.number)? {
            match self.repository.parts.store.read(&name) {
                Err(error @ StoreError::Device(_)) => drop(self.problem(name.as_str(), &error)),
                Err(error) => return Err(error.into()),
                Ok(None) => {
                    self.problem(name.as_str(), &"it is missing; the other copy is good");
                }
                Ok(Some(bytes)) if ObjectId::of(&bytes).as_bytes() == &current.hash => {
                    self.counted(bytes.len() as u64)?;
                }
                Ok(Some(_)) => drop(self.problem(name.as_str(), &"it is not the ring in force")),
            }
        }
        self.standing = std::mem::take(&mut self.problems);
        Ok(())
    }

    pub(super) fn indexes(&mut self, history: &History) -> Result<(), RepositoryError> {
        let lasting = history.indexes().keys().filter(|id| history.is_lasting_index(id));
        let unsure = lasting.filter(|id| !self.sound.contains(id)).copied().collect::<Vec<_>>();
        let packs = history.packs().iter().filter(|id| history.is_lasting_pack(id));
        let packs = packs.filter(|id| !self.sound.contains(id)).count();
        self.expect((unsure.len() + packs) as u64, None);
        for id in unsure {
            let name = Family::Index.name(id)?;
            let opened =
                object::get(&*self.repository.parts.store, Family::Index, id).and_then(|bytes| {
                    index_object::read(&bytes, self.repository.keys(), &name, &mut |_| Ok(()))?;
                    Ok(bytes.len() as u64)
                });
            match opened {
                Ok(bytes) => self.sound(id, bytes)?,
                Err(error) if error.is_local() => drop(self.problem(name.as_str(), &error)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Follows every point to every chunk that it needs.
    pub(super) fn points(
        &mut self,
        history: &History,
        index: &dyn ChunkIndex,
    ) -> Result<(), RepositoryError> {
        let repository = self.repository;
        let reader =
            ChunkReader::new(&*repository.parts.store, repository.keys(), &repository.knife, index);
        if self.are_whole(history, index, &reader)? {
            return Ok(());
        }
        // Something is lost: which files does it cost?
        let mut sound = SeenFolders::new(index);
        for id in history.points().keys() {
            match repository.point(PointId(*id)) {
                Ok(point) => {
                    let point_id = PointId(*id);
                    let mut walk =
                        PointWalk { inspection: self, reader: &reader, index, point: point_id };
                    walk.run(&point.root, &mut sound)?;
                }
                Err(error) if error.is_local() => {
                    let name = Family::Point.name(*id)?;
                    self.lost(name.as_str(), &error, PointId(*id), b"");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether every point has all that it needs. The chunks are looked up many at once, and no path is
    /// kept.
    fn are_whole(
        &mut self,
        history: &History,
        index: &dyn ChunkIndex,
        reader: &ChunkReader<'_>,
    ) -> Result<bool, RepositoryError> {
        let repository = self.repository;
        let progress = self.progress;
        let mut needs = Needs::new(index);
        for id in history.points().keys() {
            let followed = repository.point(PointId(*id)).and_then(|point| {
                if self.sound.insert(*id) {
                    let length = repository.parts.store.size(&Family::Point.name(*id)?);
                    self.objects += 1;
                    self.bytes += length.ok().flatten().unwrap_or(0);
                }
                let bytes = self.bytes;
                needs.follow(&point.root, reader, &|files| {
                    let phase = Phase::Following;
                    progress.report(&Status { phase, files, bytes, new_bytes: 0 });
                    keep_going(repository, progress)
                })
            });
            match followed {
                Ok(()) => {}
                Err(error) if error.is_local() => needs.is_whole = false,
                Err(error) => return Err(error),
            }
        }
        needs.settle()?;
        Ok(needs.is_whole)
    }

    /// What earlier checks marked, as far as this one does not find out itself.
    pub(super) fn known_marks(&mut self, level: CheckLevel) -> Result<BadMarks, RepositoryError> {
        if level == CheckLevel::Data {
            return Ok(BadMarks::new());
        }
        match self.repository.bad_marks() {
            Err(RepositoryError::Store(error @ StoreError::Device(_))) => {
                self.problem(Family::Bad.prefix(), &error);
                self.standing.append(&mut self.problems);
                Ok(BadMarks::new())
            }
            marks => marks,
        }
    }

    /// Counts what the log does not name.
    pub(super) fn garbage(&mut self) -> Result<(), RepositoryError> {
        for family in [Family::Pack, Family::Index, Family::Point] {
            match listed(&*self.repository.parts.store, family) {
                Ok(standing) => {
                    let history = self.repository.history()?;
                    self.garbage.count(family, &standing, &history);
                }
                Err(error @ StoreError::Device(_)) => drop(self.problem(family.prefix(), &error)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
