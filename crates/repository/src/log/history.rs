//! What the log says: replay as a pure function of its entries.
//!
//! [`History::judge`] holds every rule that makes an entry void
//! (docs/formats/repository-log.md, "State and void entries"); the fence and the safety of prune
//! are among them. The same function refuses such an entry before it is written.

mod replay;

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use super::body::{Checkpoint, ForgetReason, Genesis, HostFacts, KeyringHead, PruneIntent};
use super::entry::encode;
use super::error::LogError;
use super::identifiers::{ItemGuid, ObjectId, SessionId};
use super::pin::HeadPin;

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

#[cfg(test)]
mod tests;
