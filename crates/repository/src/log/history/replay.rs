//! How an entry changes the state, and what makes it void.

use std::collections::BTreeSet;

use super::{History, LivingSession, OpenIntent, Point, Tombstone};
use crate::log::body::{Body, Confirmed, PointCommitted, PruneFinished, PruneIntent};
use crate::log::entry::{NO_ENTRY, SealedEntry};
use crate::log::error::LogFault;
use crate::log::identifiers::{EntryHash, SessionId};
use crate::log::pin::HeadPin;
use crate::log::void::{Effect, VoidReason};

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
    pub(in crate::log) fn skip_to(&mut self, number: u64, previous: EntryHash) {
        self.head = (number > 1).then(|| HeadPin { number: number - 1, hash: previous });
    }

    /// Whether `body` as entry `number` counts, and why not.
    pub(in crate::log) fn judge(
        &self,
        number: u64,
        body: &Body,
        keyed: bool,
    ) -> Result<(), VoidReason> {
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
