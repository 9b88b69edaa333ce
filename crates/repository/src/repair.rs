//! Repair: what can be made again from what is left (docs/formats/repository.md, "Repair").

use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use crate::RepositoryError;
use crate::backup::while_beating;
use crate::check::keep_going;
use crate::index_object;
use crate::log::{History, LogError, NewIntent, ObjectId, Prune, Session, VoidReason};
use crate::object::{self, Family};
use crate::progress::{Phase, Progress, Status, Total};
use crate::prune::{ATTEMPTS_MAX, is_stale};
use crate::read::locked;
use crate::reindex::Described;
use crate::repository::Repository;
use crate::threads::on_threads;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Whether a copy of the keyring had to be written again.
    pub ring_mended: bool,
    /// Index objects that are lost or damaged, by name.
    pub lost_indexes: Vec<String>,
    /// Index objects written in their place.
    pub indexes: u64,
    /// Packs whose own directories went into those.
    pub packs: u64,
    /// Packs that neither an index object nor a directory of their own describes: a check names
    /// the files they cost.
    pub lost_packs: Vec<String>,
}

/// What readable index objects leave undescribed.
struct Gaps {
    /// Index objects that cannot be read.
    lost: BTreeSet<ObjectId>,
    /// Packs that only those describe.
    packs: Vec<ObjectId>,
}

impl Repository {
    /// Makes lost copies of the keyring and lost index objects again. Nothing is deleted: what a
    /// new object replaces is garbage for prune, and only once every pack is described again.
    /// To be run twice does no harm. Packs are read on so many threads.
    ///
    /// # Errors
    /// [`Repository::read_only_because`]; [`LogError::Refused`] with [`VoidReason::IntentOpen`] if
    /// an index object is lost and an earlier prune is not finished: prune first.
    pub fn repair(
        &self,
        threads: NonZeroUsize,
        progress: &dyn Progress,
    ) -> Result<RepairReport, RepositoryError> {
        let log = self.log()?;
        let ring_mended = self.mend_rings()?;
        if self.gaps(&*self.history()?, progress)?.lost.is_empty() {
            return Ok(RepairReport { ring_mended, ..RepairReport::default() });
        }
        log.confirm()?;
        // What an earlier repair announced while sessions were running.
        self.finish_announced()?;
        let mut attempts = 1;
        let report = loop {
            let session = self.begin_session()?;
            let announced =
                while_beating(&session, || self.announce_indexes(&session, threads, progress));
            // If it cannot be ended, the next one who waits for it finds it dead.
            let _ = session.end();
            match announced {
                Err(error) if is_stale(&error) && attempts < ATTEMPTS_MAX => attempts += 1,
                announced => break announced?,
            }
        };
        self.finish_announced()?;
        Ok(RepairReport { ring_mended, ..report })
    }

    fn gaps(&self, history: &History, progress: &dyn Progress) -> Result<Gaps, RepositoryError> {
        let mut described = HashSet::new();
        let mut lost = BTreeSet::new();
        let phase = Phase::Checking;
        progress.report(&Status { phase, files: 0, bytes: 0, new_bytes: 0 });
        progress.expect(Total::exact(history.indexes().len() as u64, 0));
        for (files, id) in (1..).zip(history.indexes().keys()) {
            let name = Family::Index.name(*id)?;
            // Every block is looked at, and none is kept.
            let read = object::get(&*self.parts.store, Family::Index, *id)
                .and_then(|bytes| index_object::read(&bytes, self.keys(), &name, &mut |_| Ok(())));
            match read {
                Ok(table) => described.extend(table.packs.iter().map(|(pack, _)| pack.id)),
                Err(error) if error.is_local() => drop(lost.insert(*id)),
                Err(error) => return Err(error),
            }
            progress.report(&Status { phase, files, bytes: 0, new_bytes: 0 });
        }
        // What an open intent replaces or removes may be gone, and is needed no more.
        lost.retain(|id| history.is_lasting_index(id));
        let lasting = history.packs().iter().filter(|id| history.is_lasting_pack(id));
        let packs = lasting.filter(|id| !described.contains(*id)).copied().collect();
        Ok(Gaps { lost, packs })
    }

    /// Describes packs anew and announces it as a prune that deletes no pack, if there is anything
    /// to announce.
    fn announce_indexes(
        &self,
        session: &Session,
        threads: NonZeroUsize,
        progress: &dyn Progress,
    ) -> Result<RepairReport, RepositoryError> {
        let mut report = RepairReport::default();
        let history = self.history()?;
        let Gaps { lost, packs } = self.gaps(&history, progress)?;
        for id in &lost {
            report.lost_indexes.push(Family::Index.name(*id)?.to_string());
        }
        if !lost.is_empty() && history.open_intent().is_some() {
            let (kind, reason) = ("repair", VoidReason::IntentOpen);
            return Err(LogError::Refused { kind, reason }.into());
        }
        let described = self.describe(&packs, session, (threads, progress), &mut report)?;
        let is_complete = report.lost_packs.is_empty();
        if lost.is_empty() || (described.packs.is_empty() && !is_complete) {
            return Ok(report);
        }
        report.indexes = described.indexes.len() as u64;
        report.packs = described.packs.len() as u64;
        session.intend(&NewIntent {
            based_on: history.head().map_or(0, |head| head.number),
            doomed: BTreeSet::new(),
            packs: BTreeSet::new(),
            indexes: described.indexes,
            // One that is lost may come back, and may be all that describes a lost pack.
            replaced_indexes: if is_complete { lost } else { BTreeSet::new() },
        })?;
        Ok(report)
    }

    /// New index objects of what these packs say about themselves; those that cannot be read are named
    /// as lost.
    fn describe(
        &self,
        packs: &[ObjectId],
        session: &Session,
        (threads, progress): (NonZeroUsize, &dyn Progress),
        report: &mut RepairReport,
    ) -> Result<Described<'_>, RepositoryError> {
        let status = Status { phase: Phase::Indexing, files: 0, bytes: 0, new_bytes: 0 };
        progress.report(&status);
        progress.expect(Total::exact(packs.len() as u64, 0));
        let all = Mutex::new((Described::new(self), &mut report.lost_packs, status));
        on_threads(packs, threads, &|id| {
            keep_going(self, progress)?;
            session.beat_if_due()?;
            let read = self.read_pack_summary(*id);
            let mut all = locked(&all);
            let (described, lost, status) = &mut *all;
            match read {
                Ok(summary) => {
                    status.bytes += summary.length;
                    described.add(summary)?;
                }
                Err(error) if error.is_local() => lost.push(Family::Pack.name(*id)?.to_string()),
                Err(error) => return Err(error),
            }
            status.files += 1;
            progress.report(status);
            Ok(())
        })?;
        let (mut described, ..) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        described.store()?;
        Ok(described)
    }

    /// Finishes the announcement without deleting what it replaces. While earlier sessions are
    /// running it stays open, which does no harm: the new objects count already, and the next
    /// prune finishes it.
    fn finish_announced(&self) -> Result<(), RepositoryError> {
        match Prune::settled(&*self.history()?) {
            // Another's, if it removes packs: its maker finishes it.
            Ok(Some(prune)) if prune.removed().is_empty() => {
                prune.finish(self.log()?)?;
                Ok(())
            }
            Ok(_) | Err(LogError::SessionsRunning(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
