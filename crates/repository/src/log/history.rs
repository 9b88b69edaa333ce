//! What the log says: replay as a pure function of its entries.
//!
//! [`History::judge`] holds every rule that makes an entry void
//! (docs/formats/repository-log.md, "State and void entries"); the fence and the safety of prune
//! are among them. The same function refuses such an entry before it is written.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use super::body::{
    Body, Checkpoint, Confirmed, ForgetReason, Genesis, HostFacts, KeyringHead, PointCommitted,
    PruneFinished, PruneIntent,
};
use super::entry::{NO_ENTRY, SealedEntry, encode};
use super::error::{LogError, LogFault};
use super::identifiers::{EntryHash, ItemGuid, ObjectId, SessionId};
use super::pin::HeadPin;
use super::void::{Effect, VoidReason};

/// The state of a repository after an entry of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct History {
    #[n(0)]
    head: Option<HeadPin>,
    #[n(1)]
    genesis: Option<Genesis>,
    #[n(2)]
    sessions: BTreeMap<SessionId, LivingSession>,
    #[n(3)]
    points: BTreeMap<ObjectId, Point>,
    #[n(4)]
    tombstones: BTreeMap<ObjectId, Tombstone>,
    #[n(5)]
    indexes: BTreeMap<ObjectId, u64>,
    #[n(6)]
    packs: BTreeSet<ObjectId>,
    #[n(7)]
    removed: BTreeSet<ObjectId>,
    #[n(8)]
    intent: Option<OpenIntent>,
    #[n(9)]
    keyring: Option<KeyringHead>,
    #[n(10)]
    unconfirmed: BTreeSet<u64>,
    #[n(11)]
    newest_commit: u64,
}

/// A session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LivingSession {
    /// Number of the entry that began it.
    #[n(0)]
    pub begun: u64,
    /// Where it runs.
    #[n(1)]
    pub host: HostFacts,
}

/// A point that exists.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Point {
    /// Number of the entry that committed it.
    #[n(0)]
    pub number: u64,
    /// The item it is a point of.
    #[n(1)]
    pub item: ItemGuid,
    /// Receipt time in milliseconds since 1970 (UTC): the time of its commit.
    #[n(2)]
    pub received_ms: i64,
}

/// What is left of a point.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Tombstone {
    /// Number of the entry that forgot it.
    #[n(0)]
    pub number: u64,
    /// Why.
    #[n(1)]
    pub why: ForgetReason,
    /// The point, as long as no key holder has confirmed that it is forgotten.
    #[n(2)]
    pub unconfirmed: Option<Point>,
}

/// A prune that is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OpenIntent {
    /// Number of its entry.
    #[n(0)]
    pub number: u64,
    /// What it intends.
    #[n(1)]
    pub intent: PruneIntent,
    /// Doomed packs that commits after it came to rely on.
    #[n(2)]
    pub spared: BTreeSet<ObjectId>,
}

impl OpenIntent {
    /// The packs that are to be deleted. Final once no earlier session is living.
    pub fn removed(&self) -> BTreeSet<ObjectId> {
        self.intent.doomed.difference(&self.spared).copied().collect()
    }
}

/// Reading.
impl History {
    /// The newest entry, or `None` before the first.
    pub fn head(&self) -> Option<HeadPin> {
        self.head
    }

    /// How the repository began.
    pub fn genesis(&self) -> Option<&Genesis> {
        self.genesis.as_ref()
    }

    /// Sessions that have not ended.
    pub fn sessions(&self) -> &BTreeMap<SessionId, LivingSession> {
        &self.sessions
    }

    /// Points that exist.
    pub fn points(&self) -> &BTreeMap<ObjectId, Point> {
        &self.points
    }

    /// Points that were forgotten.
    pub fn tombstones(&self) -> &BTreeMap<ObjectId, Tombstone> {
        &self.tombstones
    }

    /// Index objects in use, each with the number of the entry that added it.
    pub fn indexes(&self) -> &BTreeMap<ObjectId, u64> {
        &self.indexes
    }

    /// Packs in use.
    pub fn packs(&self) -> &BTreeSet<ObjectId> {
        &self.packs
    }

    /// Packs that a prune deleted; an index object may name them still.
    pub fn removed_packs(&self) -> &BTreeSet<ObjectId> {
        &self.removed
    }

    /// The prune that is not finished.
    pub fn open_intent(&self) -> Option<&OpenIntent> {
        self.intent.as_ref()
    }

    /// Whether an index object is in use and no open intent replaces it; otherwise it may be
    /// gone.
    pub fn is_lasting_index(&self, index: &ObjectId) -> bool {
        let open = self.intent.as_ref();
        self.indexes.contains_key(index)
            && !open.is_some_and(|open| open.intent.replaced_indexes.contains(index))
    }

    /// Whether a pack is in use and no open intent removes it; otherwise it may be gone.
    pub fn is_lasting_pack(&self, pack: &ObjectId) -> bool {
        let leaves =
            |open: &OpenIntent| open.intent.doomed.contains(pack) && !open.spared.contains(pack);
        self.packs.contains(pack) && !self.intent.as_ref().is_some_and(leaves)
    }

    /// Whether all points, packs and index objects that stood in `earlier` stand still.
    pub fn keeps_all_of(&self, earlier: &Self) -> bool {
        let packs = &mut earlier.packs.iter().filter(|pack| earlier.is_lasting_pack(pack));
        let indexes = &mut earlier.indexes.keys().filter(|index| earlier.is_lasting_index(index));
        packs.all(|pack| self.is_lasting_pack(pack))
            && indexes.all(|index| self.is_lasting_index(index))
            && earlier.points.keys().all(|point| self.points.contains_key(point))
    }

    /// The keyring in force.
    pub fn keyring(&self) -> Option<&KeyringHead> {
        self.keyring.as_ref()
    }

    /// Numbers of entries made without the key that no key holder has looked at.
    pub fn unconfirmed(&self) -> &BTreeSet<u64> {
        &self.unconfirmed
    }

    /// Living sessions that the open intent must wait for.
    pub fn earlier_sessions(&self) -> BTreeMap<SessionId, LivingSession> {
        let Some(open) = &self.intent else { return BTreeMap::new() };
        self.sessions
            .iter()
            .filter(|(_, session)| session.begun < open.number)
            .map(|(id, session)| (*id, session.clone()))
            .collect()
    }

    /// Packs that a session begun at entry `begun` must not deduplicate against.
    pub fn doomed_for(&self, begun: u64) -> BTreeSet<ObjectId> {
        match &self.intent {
            Some(open) if open.number < begun => open.intent.doomed.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// Those of `known` points that are gone without a tombstone: the store was put back.
    pub fn missing<'p>(&self, known: impl IntoIterator<Item = &'p ObjectId>) -> Vec<ObjectId> {
        let is_here = |point: &ObjectId| {
            self.points.contains_key(point) || self.tombstones.contains_key(point)
        };
        known.into_iter().filter(|point| !is_here(point)).copied().collect()
    }

    /// Takes these packs and index objects for named, whatever the entries say: to restore by, when
    /// the entry that names them cannot be read. Never to append or prune by.
    pub(crate) fn adopt(&mut self, packs: BTreeSet<ObjectId>, indexes: BTreeSet<ObjectId>) {
        self.packs.extend(packs);
        self.indexes.extend(indexes.into_iter().map(|index| (index, 0)));
    }

    /// The state that a checkpoint carries.
    pub(crate) fn from_state(bytes: &[u8]) -> Option<Self> {
        super::entry::decode(bytes).filter(|history: &Self| {
            // A number follows every entry.
            history.head.is_none_or(|head| head.number < u64::MAX)
        })
    }

    /// The state as a checkpoint carries it.
    pub(super) fn to_checkpoint(&self) -> Result<Checkpoint, LogError> {
        Ok(Checkpoint { state: encode(self)?.into() })
    }
}

/// Replay.
impl History {
    /// Takes the next entry into account.
    ///
    /// # Errors
    /// [`LogFault::ChainBroken`] if it is not the next entry of this log.
    pub fn apply(&mut self, sealed: &SealedEntry) -> Result<Effect, LogFault> {
        let entry = &sealed.entry;
        if (entry.number, entry.previous) != self.next() {
            return Err(LogFault::ChainBroken);
        }
        let effect = match self.judge(entry.number, &entry.body, sealed.keyed) {
            Ok(()) => {
                self.take(entry.number, entry.time_ms, &entry.body, sealed.keyed);
                Effect::Applied
            }
            Err(reason) => Effect::Void(reason),
        };
        self.head = Some(HeadPin { number: entry.number, hash: sealed.hash });
        Ok(effect)
    }

    /// Number of the next entry, and the hash it must carry.
    pub(crate) fn next(&self) -> (u64, EntryHash) {
        self.head.map_or((1, NO_ENTRY), |head| (head.number + 1, head.hash))
    }

    /// Makes entry `number` the next one, whatever is missing before it.
    pub(super) fn skip_to(&mut self, number: u64, previous: EntryHash) {
        self.head = (number > 1).then(|| HeadPin { number: number - 1, hash: previous });
    }

    /// Whether `body` as entry `number` counts, and why not.
    pub(super) fn judge(&self, number: u64, body: &Body, keyed: bool) -> Result<(), VoidReason> {
        if !keyed && !body.may_be_signed() {
            return Err(VoidReason::NeedsKey);
        }
        if (number == 1) != matches!(body, Body::Genesis(_)) {
            return Err(VoidReason::GenesisMisplaced);
        }
        match body {
            Body::Genesis(_) => Ok(()),
            Body::SessionBegun(begun) => {
                refuse_if(self.sessions.contains_key(&begun.session), VoidReason::SessionLiving)
            }
            Body::PointCommitted(commit) => self.judge_commit(commit),
            Body::SessionEnded(ended) => self.living(ended.session).map(|_| ()),
            Body::PointForgotten(forgotten) => {
                refuse_if(!self.points.contains_key(&forgotten.point), VoidReason::PointUnknown)
            }
            Body::PruneIntent(intent) => self.judge_intent(intent),
            Body::PruneFinished(finished) => self.judge_finished(finished),
            Body::KeyringHead(ring) => {
                let in_force = self.keyring.as_ref().map(|ring| ring.number);
                refuse_if(Some(ring.number) <= in_force, VoidReason::KeyringOlder)
            }
            Body::Confirmed(confirmed) => {
                refuse_if(confirmed.up_to >= number, VoidReason::ConfirmsFuture)
            }
            Body::Checkpoint(checkpoint) => {
                let agrees = self.to_checkpoint().is_ok_and(|own| own == *checkpoint);
                refuse_if(!agrees, VoidReason::CheckpointWrong)
            }
        }
    }

    fn living(&self, session: SessionId) -> Result<&LivingSession, VoidReason> {
        self.sessions.get(&session).ok_or(VoidReason::SessionEnded)
    }

    fn judge_commit(&self, commit: &PointCommitted) -> Result<(), VoidReason> {
        let begun = self.living(commit.session)?.begun;
        let known =
            self.points.contains_key(&commit.point) || self.tombstones.contains_key(&commit.point);
        refuse_if(known, VoidReason::PointKnown)?;
        let doomed = self.doomed_for(begun);
        for pack in commit.packs.union(&commit.relies_on) {
            refuse_if(doomed.contains(pack), VoidReason::PackDoomed)?;
            refuse_if(self.removed.contains(pack), VoidReason::PackRemoved)?;
        }
        Ok(())
    }

    fn judge_intent(&self, intent: &PruneIntent) -> Result<(), VoidReason> {
        self.living(intent.session)?;
        refuse_if(self.intent.is_some(), VoidReason::IntentOpen)?;
        refuse_if(self.newest_commit > intent.based_on, VoidReason::IntentStale)?;
        refuse_if(!self.unconfirmed.is_empty(), VoidReason::Unconfirmed)?;
        let is_gone = |pack| self.removed.contains(pack);
        let uses_removed = intent.doomed.union(&intent.packs).any(is_gone);
        refuse_if(uses_removed, VoidReason::PackRemoved)
    }

    fn judge_finished(&self, finished: &PruneFinished) -> Result<(), VoidReason> {
        let open = self.intent.as_ref().filter(|open| open.number == finished.intent);
        let open = open.ok_or(VoidReason::IntentUnknown)?;
        refuse_if(!self.earlier_sessions().is_empty(), VoidReason::EarlierSessionLiving)?;
        let follows = finished.spared == open.spared && finished.removed == open.removed();
        refuse_if(!follows, VoidReason::OutcomeWrong)
    }

    /// Does what an entry that counts says.
    fn take(&mut self, number: u64, time_ms: i64, body: &Body, keyed: bool) {
        if !keyed {
            self.unconfirmed.insert(number);
        }
        match body {
            Body::Genesis(genesis) => self.genesis = Some(genesis.clone()),
            Body::SessionBegun(begun) => {
                let session = LivingSession { begun: number, host: begun.host.clone() };
                self.sessions.insert(begun.session, session);
            }
            Body::PointCommitted(commit) => self.take_commit(number, time_ms, commit),
            Body::SessionEnded(ended) => {
                self.sessions.remove(&ended.session);
            }
            Body::PointForgotten(forgotten) => {
                let point = self.points.remove(&forgotten.point);
                let unconfirmed = point.filter(|_| !keyed);
                let tombstone = Tombstone { number, why: forgotten.why, unconfirmed };
                self.tombstones.insert(forgotten.point, tombstone);
            }
            Body::PruneIntent(intent) => {
                self.packs.extend(&intent.packs);
                self.indexes.extend(intent.indexes.iter().map(|index| (*index, number)));
                let spared = BTreeSet::new();
                self.intent = Some(OpenIntent { number, intent: intent.clone(), spared });
            }
            Body::PruneFinished(finished) => self.take_finished(finished),
            Body::KeyringHead(ring) => self.keyring = Some(ring.clone()),
            Body::Confirmed(confirmed) => self.take_confirmed(confirmed),
            Body::Checkpoint(_) => {}
        }
    }

    fn take_commit(&mut self, number: u64, received_ms: i64, commit: &PointCommitted) {
        self.points.insert(commit.point, Point { number, item: commit.item, received_ms });
        self.packs.extend(&commit.packs);
        self.indexes.extend(commit.indexes.iter().map(|index| (*index, number)));
        self.newest_commit = number;
        if let Some(open) = &mut self.intent {
            let used = commit.packs.union(&commit.relies_on);
            open.spared.extend(used.filter(|pack| open.intent.doomed.contains(pack)));
        }
    }

    fn take_finished(&mut self, finished: &PruneFinished) {
        let Some(open) = self.intent.take() else { return };
        self.packs.retain(|pack| !finished.removed.contains(pack));
        self.removed.extend(&finished.removed);
        if finished.spared.is_empty() {
            self.indexes.retain(|index, _| !open.intent.replaced_indexes.contains(index));
        }
    }

    fn take_confirmed(&mut self, confirmed: &Confirmed) {
        self.unconfirmed.retain(|number| *number > confirmed.up_to);
        let (rejected, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.tombstones).into_iter().partition(|(_, tombstone)| {
                tombstone.unconfirmed.is_some()
                    && tombstone.number <= confirmed.up_to
                    && confirmed.rejected.contains(&tombstone.number)
            });
        self.points.extend(
            rejected.into_iter().filter_map(|(id, tombstone)| Some((id, tombstone.unconfirmed?))),
        );
        self.tombstones = kept.into_iter().collect();
        for tombstone in self.tombstones.values_mut() {
            if tombstone.number <= confirmed.up_to {
                tombstone.unconfirmed = None;
            }
        }
    }
}

fn refuse_if(wrong: bool, reason: VoidReason) -> Result<(), VoidReason> {
    if wrong { Err(reason) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
