//! Pruning: copying what is still needed out of packs that are mostly waste, and deleting what
//! nothing needs (docs/formats/repository-log.md, "Forget and prune").

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use custody_blob_store::BlobName;

use crate::RepositoryError;
use crate::backup::while_beating;
use crate::check::keep_going;
use crate::chunk::ChunkName;
use crate::compress::Compressor;
use crate::content::Content;
use crate::index::{ChunkIndex as _, Index, Place};
use crate::index_object;
use crate::listing::Body;
use crate::log::{
    History, LogError, NewIntent, ObjectId, Prune, PruneOutcome, Session, SessionWatch, VoidReason,
};
use crate::object::Family;
use crate::pack::{self, GROUP_BYTES_TARGET, GroupDraft, PackDraft, PackSummary, PackedGroup};
use crate::progress::{Phase, Progress, Status};
use crate::prune_plan::{PackUsage, PruneOptions, PrunePlan};
use crate::read::ChunkReader;
use crate::repository::Repository;
use crate::sealed::length_u32;

/// How often an intent is computed again because a point was committed meanwhile.
pub(crate) const ATTEMPTS_MAX: u32 = 3;
/// Groups up to this size hold blocks of images or listings, and stay small when they are copied.
const SMALL_GROUP_BYTES: usize = 256 << 10;

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

/// What points need, and what that makes of the packs.
struct Survey {
    history: Arc<History>,
    index: Index,
    /// The places that stay: one for each needed chunk.
    kept: HashSet<Place>,
    plan: PrunePlan,
}

impl Repository {
    /// What [`Repository::prune`] would do now.
    pub fn plan_prune(
        &self,
        options: &PruneOptions,
        progress: &dyn Progress,
    ) -> Result<PrunePlan, RepositoryError> {
        Ok(self.survey_packs(options, progress)?.plan)
    }

    /// Prunes. A prune that someone began and did not finish is finished first. Running backups
    /// are never stopped; those that began earlier are waited for, at most for `patience`.
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
        self.finish_prune(patience)?;
        self.log()?.confirm()?;
        let mut attempts = 1;
        let (garbage, mut report) = loop {
            let session = self.begin_session()?;
            let intended =
                while_beating(&session, || self.intend_prune(&session, options, progress));
            let _ = session.end();
            match intended {
                Err(error) if is_stale(&error) && attempts < ATTEMPTS_MAX => attempts += 1,
                intended => break intended?,
            }
        };
        report_phase(progress, Phase::Deleting, 0);
        if let Some(outcome) = self.finish_prune(patience)? {
            report.removed_packs = outcome.removed.len() as u64;
            report.spared_packs = outcome.spared.len() as u64;
        }
        report.removed_objects = self.delete_unnamed(garbage)?;
        Ok(report)
    }

    /// Carries an open intent out, if there is one.
    fn finish_prune(&self, patience: Duration) -> Result<Option<PruneOutcome>, RepositoryError> {
        let log = self.log()?;
        let mut watch = SessionWatch::new(Arc::clone(log), Arc::clone(&self.parts.host));
        let Some(prune) = Prune::wait(log, &mut watch, patience)? else { return Ok(None) };
        let name = |family: Family| {
            move |id: &ObjectId| -> Result<BlobName, LogError> {
                family.name(*id).map_err(|_| LogError::Bug("an object's name is invalid"))
            }
        };
        Ok(Some(prune.carry_out(log, &name(Family::Pack), &name(Family::Index))?))
    }

    /// Copies what is needed and announces the rest. Gives the objects that the log does not name
    /// and that, now that the intent stands, no later session can have made.
    fn intend_prune(
        &self,
        session: &Session,
        options: &PruneOptions,
        progress: &dyn Progress,
    ) -> Result<(Vec<BlobName>, PruneReport), RepositoryError> {
        let survey = self.survey_packs(options, progress)?;
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
        let (copied, mut packs) = self.rewrite(session, &survey, progress)?;
        let doomed: BTreeSet<ObjectId> = survey.plan.delete.iter().copied().chain(copied).collect();
        let new = packs.iter().map(|pack| pack.id).collect();
        // One new index in place of all: it describes what stays and what was copied.
        packs
            .extend(survey.index.summaries().into_iter().filter(|pack| !doomed.contains(&pack.id)));
        let indexes = index_object::store(&packs, &*self.parts.store, self.keys())?;
        session.intend(&NewIntent {
            based_on: survey.history.head().map_or(0, |head| head.number),
            doomed,
            packs: new,
            indexes: indexes.into_iter().collect(),
            replaced_indexes: survey.history.indexes().keys().copied().collect(),
        })?;
        Ok((garbage, report))
    }

    fn survey_packs(
        &self,
        options: &PruneOptions,
        progress: &dyn Progress,
    ) -> Result<Survey, RepositoryError> {
        let history = self.history()?;
        let index = self.load_index(&history, &BTreeSet::new())?;
        let needed = self.needed_chunks(&history, &index, progress)?;
        let mut kept = HashSet::with_capacity(needed.len());
        for name in &needed {
            kept.extend(index.places(name)?.first());
        }
        let mut used = vec![0_u64; index.packs().len()];
        for place in &kept {
            let Some((group, _)) = index.group(place)? else { continue };
            // A chunk takes its share of the sealed group; rounded up, so that one never takes nothing.
            let share = u64::from(place.length) * u64::from(group.sealed);
            if let Some(used) = used.get_mut(group.pack as usize) {
                *used += share.div_ceil(u64::from(group.shape.plain.max(1)));
            }
        }
        let mut usages: Vec<PackUsage> = index
            .packs()
            .iter()
            .zip(used)
            .map(|(pack, used)| PackUsage {
                pack: pack.id,
                total_bytes: pack.length,
                used_bytes: used.min(pack.length),
            })
            .collect();
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
        Ok(Survey { history, index, kept, plan })
    }

    /// Every chunk that any point needs.
    fn needed_chunks(
        &self,
        history: &History,
        index: &Index,
        progress: &dyn Progress,
    ) -> Result<HashSet<ChunkName>, RepositoryError> {
        let reader = ChunkReader::new(&*self.parts.store, self.keys(), &self.knife, index);
        let (mut needed, mut seen) = (HashSet::new(), HashSet::new());
        for id in history.points().keys() {
            let mut folders: Vec<Content> = vec![self.point(crate::PointId(*id))?.root];
            while let Some(folder) = folders.pop() {
                keep_going(self, progress)?;
                let key: Vec<ChunkName> =
                    folder.extents.iter().filter_map(|extent| extent.chunk).collect();
                if !seen.insert(key) {
                    continue;
                }
                report_phase(progress, Phase::Planning, seen.len() as u64);
                let mut need = |name: &ChunkName| {
                    needed.insert(*name);
                    Ok(true)
                };
                reader.for_each_chunk(&folder, &mut need)?;
                for node in reader.listing(&folder)? {
                    match node.body {
                        Body::Folder(content) => folders.push(content),
                        Body::File { content, .. } => {
                            // A list of extents that is lost costs its file, which needs no more.
                            match reader.for_each_chunk(&content, &mut need) {
                                Err(error) if !error.is_lasting() => return Err(error),
                                _ => {}
                            }
                        }
                        Body::None => {}
                    }
                }
            }
        }
        Ok(needed)
    }

    /// Copies the kept chunks of the packs to be rewritten. Gives the packs that were copied
    /// (one that cannot be read whole stays where it is) and the new packs.
    fn rewrite(
        &self,
        session: &Session,
        survey: &Survey,
        progress: &dyn Progress,
    ) -> Result<(Vec<ObjectId>, Vec<PackSummary>), RepositoryError> {
        let reader = ChunkReader::new(&*self.parts.store, self.keys(), &self.knife, &survey.index);
        let wanted: HashSet<ObjectId> = survey.plan.rewrite.iter().copied().collect();
        let mut copy = Copy::new(self)?;
        let mut copied = Vec::new();
        let places = survey.kept_by_pack(&wanted);
        if !places.is_empty() {
            report_phase(progress, Phase::Repacking, 0);
        }
        for (pack, places) in places {
            match places.iter().try_for_each(|place| reader.chunk(&place.name).map(drop)) {
                Err(error) if error.is_local() => continue,
                outcome => outcome?,
            }
            for place in places {
                keep_going(self, progress)?;
                let shape = survey.index.group(&place)?.map(|(group, _)| group.shape);
                let small =
                    shape.is_some_and(|shape| shape.plain as usize <= 2 * SMALL_GROUP_BYTES);
                copy.add(&place, reader.chunk(&place.name)?.as_ref(), small)?;
            }
            session.beat_if_due()?;
            copied.push(pack);
            report_phase(progress, Phase::Repacking, copied.len() as u64);
        }
        Ok((copied, copy.finish()?))
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

impl Survey {
    /// The places that stay, for each pack of `wanted`, in the order in which they lie there.
    fn kept_by_pack(&self, wanted: &HashSet<ObjectId>) -> Vec<(ObjectId, Vec<Place>)> {
        let mut places: Vec<(&Place, ObjectId)> = self
            .kept
            .iter()
            .filter_map(|place| Some((place, self.index.find_group(place)?.1.id)))
            .filter(|(_, pack)| wanted.contains(pack))
            .collect();
        places.sort_unstable_by_key(|(place, _)| (place.group, place.offset));
        places
            .chunk_by(|(_, one), (_, other)| one == other)
            .filter_map(|run| {
                let pack = run.first()?.1;
                Some((pack, run.iter().map(|(place, _)| **place).collect()))
            })
            .collect()
    }
}

/// Chunks on their way into new packs.
struct Copy<'r> {
    repository: &'r Repository,
    compressor: Compressor,
    small: GroupDraft,
    large: GroupDraft,
    draft: PackDraft,
    packs: Vec<PackSummary>,
}

impl<'r> Copy<'r> {
    fn new(repository: &'r Repository) -> Result<Self, RepositoryError> {
        Ok(Self {
            repository,
            compressor: Compressor::new()?,
            small: GroupDraft::default(),
            large: GroupDraft::default(),
            draft: PackDraft::default(),
            packs: Vec::new(),
        })
    }

    fn add(&mut self, place: &Place, bytes: &[u8], small: bool) -> Result<(), RepositoryError> {
        let (group, target) = if small {
            (&mut self.small, SMALL_GROUP_BYTES)
        } else {
            (&mut self.large, GROUP_BYTES_TARGET)
        };
        group.add(place.name, bytes)?;
        if group.plain.len() >= target {
            let full = std::mem::take(group);
            self.close_group(full)?;
        }
        Ok(())
    }

    fn close_group(&mut self, group: GroupDraft) -> Result<(), RepositoryError> {
        let GroupDraft { plain, members } = group;
        if members.is_empty() {
            return Ok(());
        }
        let length = length_u32(plain.len())?;
        let (compression, bytes) = self.compressor.compress(plain)?;
        match self.draft.add(PackedGroup { bytes, plain: length, compression, members }) {
            Some(groups) => self.close_pack(groups),
            None => Ok(()),
        }
    }

    fn close_pack(&mut self, groups: Vec<PackedGroup>) -> Result<(), RepositoryError> {
        let Repository { parts, knife, .. } = self.repository;
        self.packs.push(pack::store(groups, &*parts.store, self.repository.keys(), knife)?);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<PackSummary>, RepositoryError> {
        for group in [std::mem::take(&mut self.small), std::mem::take(&mut self.large)] {
            self.close_group(group)?;
        }
        let groups = std::mem::take(&mut self.draft).groups;
        if !groups.is_empty() {
            self.close_pack(groups)?;
        }
        Ok(self.packs)
    }
}

/// Whether an intent was refused because a point was committed since it was computed.
pub(crate) fn is_stale(error: &RepositoryError) -> bool {
    let RepositoryError::Log(LogError::Refused { reason, .. }) = error else { return false };
    *reason == VoidReason::IntentStale
}

fn report_phase(progress: &dyn Progress, phase: Phase, done: u64) {
    progress.report(&Status { phase, files: done, bytes: 0, new_bytes: 0 });
}
