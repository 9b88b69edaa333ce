//! Pruning: copying what is still needed out of packs that are mostly waste, and deleting what
//! nothing needs (docs/formats/repository-log.md, "Forget and prune").

mod copy;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use custody_blob_store::BlobName;

use crate::RepositoryError;
use crate::backup::while_beating;
use crate::check::keep_going;
use crate::chunk::ChunkName;
use crate::index::{ChunkIndex, Pack};
use crate::log::{
    History, LogError, NewIntent, ObjectId, Prune, PruneOutcome, Session, SessionWatch, VoidReason,
};
use crate::needs::Needs;
use crate::object::Family;
use crate::pack;
use crate::progress::{Phase, Progress, Status, Total};
use crate::prune_plan::{PackUsage, PruneOptions, PrunePlan};
use crate::read::ChunkReader;
use crate::reindex::{Described, Reindexed};
use crate::repository::Repository;
use copy::{Copy, SMALL_GROUP_BYTES};

/// How often an intent is computed again because a point was committed meanwhile.
pub(crate) const ATTEMPTS_MAX: u32 = 3;

/// What a prune did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Packs deleted.
    pub removed_packs: u64,
    /// Packs that a point committed meanwhile came to rely on; they stay.
    pub spared_packs: u64,
    /// Bytes copied out of packs that were deleted.
    pub rewritten_bytes: u64,
    /// Bytes that the plan frees if nothing is spared.
    pub freed_bytes: u64,
    /// Index and point objects of dead sessions and forgotten points that were deleted.
    pub removed_objects: u64,
}

/// Whether a prune may write more than the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Plenty,
    None,
}

/// What points need, and what that makes of the packs.
struct Survey<'s> {
    history: Arc<History>,
    index: &'s dyn ChunkIndex,
    needs: Needs<'s>,
    plan: PrunePlan,
}

impl Repository {
    /// What [`Repository::prune`] would do now.
    pub fn plan_prune(
        &self,
        options: &PruneOptions,
        progress: &dyn Progress,
    ) -> Result<PrunePlan, RepositoryError> {
        let history = self.history()?;
        let index = self.open_index(&history, &BTreeSet::new())?;
        Ok(self.survey_packs(history, &*index, options, progress)?.plan)
    }

    /// Prunes. A prune that someone began and did not finish is finished first. Running backups
    /// are never stopped; those that began earlier are waited for, at most for `patience`. If the
    /// store is full, what it keeps back serves to delete the packs that nothing needs, and
    /// nothing is copied.
    ///
    /// # Errors
    /// [`LogError::SessionsRunning`] when patience ends: whoever prunes next goes on.
    /// [`RepositoryError::Damaged`] if a point's folders cannot be read, for then nobody knows
    /// what it needs: repair or forget that point first.
    pub fn prune(
        &self,
        options: &PruneOptions,
        patience: Duration,
        progress: &dyn Progress,
    ) -> Result<PruneReport, RepositoryError> {
        let store = &self.parts.store;
        let pruned = match self.prune_with(Room::Plenty, options, patience, progress) {
            Err(error) if error.is_full() => {
                store.spend_reserve()?;
                let without_copies = PruneOptions { rewritten_bytes_max: 0, ..*options };
                self.prune_with(Room::None, &without_copies, patience, progress)
            }
            pruned => pruned,
        };
        if pruned.is_ok() {
            store.keep_reserve();
        }
        pruned
    }

    fn prune_with(
        &self,
        room: Room,
        options: &PruneOptions,
        patience: Duration,
        progress: &dyn Progress,
    ) -> Result<PruneReport, RepositoryError> {
        self.finish_prune(patience, progress)?;
        self.log()?.confirm()?;
        let mut attempts = 1;
        let (garbage, mut report) = loop {
            let session = self.begin_session()?;
            let intended =
                while_beating(&session, || self.intend_prune(&session, room, options, progress));
            let _ = session.end();
            match intended {
                Err(error) if is_stale(&error) && attempts < ATTEMPTS_MAX => attempts += 1,
                intended => break intended?,
            }
        };
        if let Some(outcome) = self.finish_prune(patience, progress)? {
            report.removed_packs = outcome.removed.len() as u64;
            report.spared_packs = outcome.spared.len() as u64;
        }
        report.removed_objects = self.delete_unnamed(garbage)?;
        Ok(report)
    }

    /// Carries an open intent out, if there is one.
    fn finish_prune(
        &self,
        patience: Duration,
        progress: &dyn Progress,
    ) -> Result<Option<PruneOutcome>, RepositoryError> {
        let log = self.log()?;
        let mut watch = SessionWatch::new(Arc::clone(log), Arc::clone(&self.parts.host));
        let Some(prune) = Prune::wait(log, &mut watch, patience)? else { return Ok(None) };
        let name = |family: Family| {
            move |id: &ObjectId| -> Result<BlobName, LogError> {
                family.name(*id).map_err(|_| LogError::Bug("an object's name is invalid"))
            }
        };
        let deleted = |packs| report(progress, Phase::Deleting, packs, 0);
        deleted(0);
        progress.expect(Total::exact(prune.removed().len() as u64, 0));
        Ok(Some(prune.carry_out(log, &name(Family::Pack), &name(Family::Index), &deleted)?))
    }

    /// Copies what is needed and announces the rest. Gives the objects that the log does not name
    /// and that, now that the intent stands, no later session can have made.
    fn intend_prune(
        &self,
        session: &Session,
        room: Room,
        options: &PruneOptions,
        progress: &dyn Progress,
    ) -> Result<(Vec<BlobName>, PruneReport), RepositoryError> {
        let history = self.history()?;
        let index = self.open_index(&history, &BTreeSet::new())?;
        let survey = self.survey_packs(history, &*index, options, progress)?;
        let mut garbage =
            self.unnamed(Family::Index, |history, id| history.indexes().contains_key(&id))?;
        garbage.append(
            &mut self.unnamed(Family::Point, |history, id| history.points().contains_key(&id))?,
        );
        let report = PruneReport {
            rewritten_bytes: survey.plan.rewritten_bytes,
            freed_bytes: survey.plan.freed_bytes,
            ..PruneReport::default()
        };
        if survey.plan.is_empty() {
            return Ok((garbage, report));
        }
        let (copied, new) = self.rewrite(session, &survey, progress)?;
        let doomed: BTreeSet<ObjectId> = survey.plan.delete.iter().copied().chain(copied).collect();
        // Without room the old index stays: what it says of packs that are gone counts for nothing.
        let Reindexed { indexes, replaced } = match room {
            Room::Plenty => self.reindex(&survey.history, &doomed, progress)?,
            Room::None => Reindexed::default(),
        };
        session.intend(&NewIntent {
            based_on: survey.history.head().map_or(0, |head| head.number),
            doomed,
            packs: new.packs,
            indexes: new.indexes.into_iter().chain(indexes).collect(),
            replaced_indexes: replaced,
        })?;
        Ok((garbage, report))
    }

    fn survey_packs<'s>(
        &self,
        history: Arc<History>,
        index: &'s dyn ChunkIndex,
        options: &PruneOptions,
        progress: &dyn Progress,
    ) -> Result<Survey<'s>, RepositoryError> {
        let reader = ChunkReader::new(&*self.parts.store, self.keys(), &self.knife, index);
        let mut needs = Needs::new(index);
        // The points of one item share most of their folders: one after the other.
        let mut points: Vec<_> = history.points().iter().collect();
        points.sort_unstable_by_key(|(_, point)| point.number);
        for (id, _) in points {
            let root = self.point(crate::PointId(*id))?.root;
            needs.follow(&root, &reader, &|folders| {
                report(progress, Phase::Planning, folders, 0);
                keep_going(self, progress)
            })?;
        }
        needs.settle()?;
        // One that is described twice is one pack.
        let mut usages: BTreeMap<ObjectId, PackUsage> = BTreeMap::new();
        index.each_pack(&mut |number, pack| {
            let used = needs.used.get(number as usize).copied().unwrap_or_default();
            let unused = PackUsage { pack: pack.id, total_bytes: pack.length, used_bytes: 0 };
            let usage = usages.entry(pack.id).or_insert(unused);
            usage.used_bytes = usage.used_bytes.saturating_add(used).min(usage.total_bytes);
        })?;
        let live = |usage: &PackUsage| history.packs().contains(&usage.pack);
        let mut usages: Vec<PackUsage> = usages.into_values().filter(live).collect();
        // Packs that the log does not name: their session died, or has yet to commit and is then
        // spared.
        self.parts.store.list(Family::Pack.prefix(), &mut |name, length| {
            let unnamed = Family::Pack.id_in(&name).filter(|id| {
                !history.packs().contains(id) && !history.removed_packs().contains(id)
            });
            usages.extend(unnamed.map(|pack| PackUsage {
                pack,
                total_bytes: length,
                used_bytes: 0,
            }));
        })?;
        let plan = PrunePlan::new(usages, options);
        Ok(Survey { history, index, needs, plan })
    }

    /// Copies the kept chunks of the packs to be rewritten. Gives the packs that were copied
    /// (one that cannot be read whole stays where it is) and what took their place.
    fn rewrite(
        &self,
        session: &Session,
        survey: &Survey<'_>,
        progress: &dyn Progress,
    ) -> Result<(Vec<ObjectId>, Described<'_>), RepositoryError> {
        let reader = ChunkReader::new(&*self.parts.store, self.keys(), &self.knife, survey.index);
        let mut wanted: BTreeSet<ObjectId> = survey.plan.rewrite.iter().copied().collect();
        let mut copy = Copy::new(self)?;
        let (mut copied, mut done) = (Vec::new(), 0);
        if !wanted.is_empty() {
            report(progress, Phase::Repacking, 0, 0);
            progress.expect(Total::exact(wanted.len() as u64, survey.plan.rewritten_bytes));
        }
        let mut packs = Vec::new();
        survey.index.each_pack(&mut |number, pack| {
            if wanted.remove(&pack.id) {
                let used = survey.needs.used.get(number as usize).copied();
                packs.push((*pack, used.unwrap_or_default()));
            }
        })?;
        for (pack, used) in packs {
            done += used;
            let kept = match self.kept_of(&pack, survey) {
                Err(error) if error.is_local() => continue,
                kept => kept?,
            };
            match kept.iter().try_for_each(|(name, _)| reader.chunk(name).map(drop)) {
                Err(error) if error.is_local() => continue,
                outcome => outcome?,
            }
            for (name, is_small) in kept {
                keep_going(self, progress)?;
                copy.add(name, reader.chunk(&name)?.as_ref(), is_small)?;
            }
            session.beat_if_due()?;
            copied.push(pack.id);
            report(progress, Phase::Repacking, copied.len() as u64, done);
        }
        Ok((copied, copy.finish()?))
    }

    /// The chunks of a pack that stay, in the order in which they lie there, and whether they lie in a
    /// small group.
    fn kept_of(
        &self,
        pack: &Pack,
        survey: &Survey<'_>,
    ) -> Result<Vec<(ChunkName, bool)>, RepositoryError> {
        let store = &*self.parts.store;
        let directory = pack::read_directory_of(store, self.keys(), pack.id, pack.length)?;
        let mut kept = Vec::new();
        for group in &directory.groups {
            let is_small = group.plain as usize <= 2 * SMALL_GROUP_BYTES;
            kept.extend(group.members.iter().map(|member| (member.name, is_small)));
        }
        let mut names: Vec<ChunkName> = kept.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        let needed = survey.needs.kept(&names)?;
        // A pack that is described twice has two numbers.
        let mut here = HashSet::new();
        for number in needed.values().copied().collect::<HashSet<u32>>() {
            if survey.index.pack(number)?.is_some_and(|place| place.id == pack.id) {
                here.insert(number);
            }
        }
        kept.retain(|(name, _)| needed.get(name).is_some_and(|number| here.contains(number)));
        Ok(kept)
    }

    /// Objects of a family that the log does not name.
    fn unnamed(
        &self,
        family: Family,
        is_named: impl Fn(&History, ObjectId) -> bool,
    ) -> Result<Vec<BlobName>, RepositoryError> {
        let history = self.history()?;
        let mut unnamed = Vec::new();
        self.parts.store.list(family.prefix(), &mut |name, _| {
            if family.id_in(&name).is_some_and(|id| !is_named(&history, id)) {
                unnamed.push(name);
            }
        })?;
        Ok(unnamed)
    }

    /// Deletes the objects that still nothing names, now that every session that may have made
    /// them has ended.
    fn delete_unnamed(&self, garbage: Vec<BlobName>) -> Result<u64, RepositoryError> {
        let history = self.history()?;
        let mut deleted = 0;
        // A living session may yet name them, and a point whose forgetting is rejected comes back.
        if !history.sessions().is_empty() || !history.unconfirmed().is_empty() {
            return Ok(deleted);
        }
        for name in garbage {
            let index = Family::Index.id_in(&name).map(|id| history.indexes().contains_key(&id));
            let point = Family::Point.id_in(&name).map(|id| history.points().contains_key(&id));
            if index.or(point) == Some(false) {
                self.parts.store.delete(&name)?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

/// Whether an intent was refused because a point was committed since it was computed.
pub(crate) fn is_stale(error: &RepositoryError) -> bool {
    let RepositoryError::Log(LogError::Refused { reason, .. }) = error else { return false };
    *reason == VoidReason::IntentStale
}

fn report(progress: &dyn Progress, phase: Phase, files: u64, bytes: u64) {
    progress.report(&Status { phase, files, bytes, new_bytes: 0 });
}
