//! Checking without any key.

use std::collections::BTreeSet;

use custody_blob_store::{BlobStore, StoreError};

use super::garbage::{Garbage, listed, must_stand, named};
use super::{Assurance, CheckReport, Problem};
use crate::RepositoryError;
use crate::log::{History, Keyless, ObjectId, survey_from};
use crate::marker::{MARKER, Marker, OTHER_TIME};
use crate::object::{self, Family, MISSING};
use crate::progress::{Phase, Progress, Status, Total};

const FAMILIES: [Family; 4] = [Family::Pack, Family::Index, Family::Point, Family::Bad];

/// Compares every immutable object in `store` with the SHA-256 in its name, without any key, and
/// what stands with what the log names. The log itself is only proved to be of one piece.
pub fn check_without_keys(
    store: &dyn BlobStore,
    progress: &dyn Progress,
) -> Result<CheckReport, RepositoryError> {
    let mut check = Check { store, progress, report: CheckReport::new(Assurance::HashOnly) };
    let mut standing = Vec::new();
    for family in FAMILIES {
        standing.push((family, check.listed(family)?));
    }
    // Read after listing: what was listed before it was named is then no garbage.
    let history = check.log()?;
    check.expect(&standing);
    let mut garbage = Garbage::default();
    let mut absent = Vec::new();
    for (family, standing) in standing {
        garbage.count(family, &standing, &history);
        let mut all: BTreeSet<ObjectId> = named(&history, family);
        all.extend(standing.iter().map(|(id, _)| id));
        for id in all {
            if !check.object(family, id)? {
                absent.push((family, id));
            }
        }
    }
    check.missed(&absent)?;
    let Garbage { objects: garbage_objects, bytes: garbage_bytes } = garbage;
    Ok(CheckReport { garbage_objects, garbage_bytes, ..check.report })
}

/// A check in progress.
struct Check<'s> {
    store: &'s dyn BlobStore,
    progress: &'s dyn Progress,
    report: CheckReport,
}

impl Check<'_> {
    fn listed(&mut self, family: Family) -> Result<Vec<(ObjectId, u64)>, RepositoryError> {
        match listed(self.store, family) {
            Err(error @ StoreError::Device(_)) => {
                self.problem(family.prefix(), &error);
                Ok(Vec::new())
            }
            listed => Ok(listed?),
        }
    }

    /// Checks the log and the marker beside it.
    fn log(&mut self) -> Result<History, RepositoryError> {
        let marker = Marker::read(self.store)?;
        let survey = survey_from(self.store, marker.vault, &Keyless)?;
        for (number, fault) in &survey.faults {
            self.problem(format!("log/{number:010}"), fault);
        }
        if survey.begun_ms.is_some_and(|begun| !marker.agrees_with(begun)) {
            self.problem(MARKER, &OTHER_TIME);
        }
        self.report.objects += survey.history.head().map_or(0, |head| head.number);
        Ok(survey.history)
    }

    /// Says how much there is to read.
    fn expect(&self, standing: &[(Family, Vec<(ObjectId, u64)>)]) {
        let (mut objects, mut bytes) = (self.report.objects, 0);
        for (_, length) in standing.iter().flat_map(|(_, listed)| listed) {
            objects += 1;
            bytes += length;
        }
        self.tell();
        self.progress.expect(Total::exact(objects, bytes));
    }

    fn tell(&self) {
        let (files, bytes) = (self.report.objects, self.report.bytes);
        self.progress.report(&Status { phase: Phase::Checking, files, bytes, new_bytes: 0 });
    }

    /// Checks one object. False if it is not there.
    fn object(&mut self, family: Family, id: ObjectId) -> Result<bool, RepositoryError> {
        if self.progress.is_cancelled() {
            return Err(RepositoryError::Cancelled);
        }
        let name = family.name(id)?;
        match object::get(self.store, family, id) {
            Ok(bytes) => self.report.bytes += bytes.len() as u64,
            Err(error) if error.is_local() => {
                if self.store.size(&name) == Ok(None) {
                    return Ok(false);
                }
                self.problem(name, &error);
            }
            Err(error) => return Err(error),
        }
        self.report.objects += 1;
        self.tell();
        Ok(true)
    }

    /// Those of the absent objects that no prune deleted meanwhile.
    fn missed(&mut self, absent: &[(Family, ObjectId)]) -> Result<(), RepositoryError> {
        if absent.is_empty() {
            return Ok(());
        }
        let vault = Marker::read(self.store)?.vault;
        let history = survey_from(self.store, vault, &Keyless)?.history;
        for (family, id) in absent.iter().filter(|(family, id)| must_stand(&history, *family, id)) {
            let name = family.name(*id)?;
            self.problem(&name, &RepositoryError::damaged(&name, MISSING));
        }
        Ok(())
    }

    fn problem(&mut self, object: impl ToString, what: &dyn ToString) {
        self.report.problems.push(Problem {
            object: object.to_string(),
            what: what.to_string(),
            files: Vec::new(),
            files_total: 0,
        });
    }
}
