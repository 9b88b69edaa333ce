//! Carrying a prune intent out: wait, spare, delete, finish.

use std::collections::BTreeSet;
use std::time::Duration;

use custody_blob_store::BlobName;

use super::body::{Body, PruneFinished};
use super::identifiers::ObjectId;
use super::void::VoidReason;
use super::{History, Log, LogError, OpenIntent, SessionWatch};

/// How long a prune that waits for earlier sessions waits between two looks.
pub const PRUNE_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// An open intent whose earlier sessions have all ended: what it deletes is settled, for everyone
/// who comes to this point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    intent: u64,
    removed: BTreeSet<ObjectId>,
    spared: BTreeSet<ObjectId>,
    replaced_indexes: BTreeSet<ObjectId>,
}

/// What a finished prune did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneOutcome {
    /// Packs that were deleted.
    pub removed: BTreeSet<ObjectId>,
    /// Packs that a commit came to rely on.
    pub spared: BTreeSet<ObjectId>,
}

impl Prune {
    /// The open intent if it can be carried out now; `None` if none is open.
    ///
    /// # Errors
    /// [`LogError::SessionsRunning`] while a session that began before it is living.
    pub fn settled(history: &History) -> Result<Option<Self>, LogError> {
        let Some(open) = history.open_intent() else { return Ok(None) };
        match history.earlier_sessions().len() {
            0 => Ok(Some(Self::of(open))),
            running => Err(LogError::SessionsRunning(running)),
        }
    }

    /// Waits until every session that began before the open intent has ended, ending the dead,
    /// for at most `patience`. `None` if no intent is open (any more).
    ///
    /// # Errors
    /// [`LogError::SessionsRunning`] when patience ends.
    pub fn wait(
        log: &Log,
        watch: &mut SessionWatch,
        patience: Duration,
    ) -> Result<Option<Self>, LogError> {
        let deadline = log.parts.clock.since_boot().saturating_add(patience);
        loop {
            watch.look(&log.refresh()?.earlier_sessions())?;
            match Self::settled(&*log.refresh()?) {
                Err(LogError::SessionsRunning(_)) if log.parts.clock.since_boot() < deadline => {
                    log.parts.clock.sleep(PRUNE_POLL_INTERVAL);
                }
                settled => return settled,
            }
        }
    }

    /// The packs to delete.
    pub fn removed(&self) -> &BTreeSet<ObjectId> {
        &self.removed
    }

    /// The doomed packs that stay.
    pub fn spared(&self) -> &BTreeSet<ObjectId> {
        &self.spared
    }

    /// Deletes what is to be deleted, under the names that `pack_name` and `index_name` give,
    /// and appends "prune finished"; `deleted` is told how many packs went so far. Several at once do no
    /// harm; killed at any moment, whoever comes next finds the intent open and does it again.
    pub fn carry_out(
        self,
        log: &Log,
        pack_name: &dyn Fn(&ObjectId) -> Result<BlobName, LogError>,
        index_name: &dyn Fn(&ObjectId) -> Result<BlobName, LogError>,
        deleted: &dyn Fn(u64),
    ) -> Result<PruneOutcome, LogError> {
        for (number, pack) in (1..).zip(&self.removed) {
            log.parts.store.delete(&pack_name(pack)?)?;
            deleted(number);
        }
        if self.spared.is_empty() {
            for index in &self.replaced_indexes {
                log.parts.store.delete(&index_name(index)?)?;
            }
        }
        self.finish(log)
    }

    /// Appends "prune finished" alone; if another finished it in the meantime, that is as good.
    pub fn finish(self, log: &Log) -> Result<PruneOutcome, LogError> {
        let Self { intent, removed, spared, .. } = self;
        let finished = PruneFinished { intent, removed, spared };
        match log.append(&mut |_| Ok(Body::PruneFinished(finished.clone()))) {
            Ok(_) | Err(LogError::Refused { reason: VoidReason::IntentUnknown, .. }) => {
                Ok(PruneOutcome { removed: finished.removed, spared: finished.spared })
            }
            Err(error) => Err(error),
        }
    }

    fn of(open: &OpenIntent) -> Self {
        Self {
            intent: open.number,
            removed: open.removed(),
            spared: open.spared.clone(),
            replaced_indexes: open.intent.replaced_indexes.clone(),
        }
    }
}
