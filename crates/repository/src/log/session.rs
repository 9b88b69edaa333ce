//! One run of a writer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use custody_blob_store::BlobName;

use super::body::{
    Body, EndReason, HostFacts, PointCommitted, PruneIntent, SessionBegun, SessionEnded,
};
use super::identifiers::{ItemGuid, ObjectId, SessionId};
use super::pin::HeadPin;
use super::void::VoidReason;
use super::{Log, LogError};

/// A session whose heartbeat does not change for so long on an observer's clock is taken for dead
/// (DESIGN §6). Long, because a false verdict costs a whole backup.
pub const SESSION_LEASE: Duration = Duration::from_mins(5);

/// How often a living session changes its heartbeat.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);

/// A session that has begun. Dropped without [`Session::end`], it stays in the log until an
/// observer ends it.
pub struct Session {
    log: Arc<Log>,
    id: SessionId,
    begun: u64,
    doomed: BTreeSet<ObjectId>,
    beats: AtomicU64,
    last_beat: Mutex<Duration>,
}

/// A point that is ready to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPoint {
    /// The item it is a point of.
    pub item: ItemGuid,
    /// The point's object.
    pub point: ObjectId,
    /// Index objects that the session added.
    pub indexes: BTreeSet<ObjectId>,
    /// Packs that the session added.
    pub packs: BTreeSet<ObjectId>,
}

/// What a prune computed and is about to announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIntent {
    /// Number of the head it was computed with.
    pub based_on: u64,
    /// Packs to delete.
    pub doomed: BTreeSet<ObjectId>,
    /// Packs that took over what is still needed.
    pub packs: BTreeSet<ObjectId>,
    /// Their index objects, and new ones in place of the replaced.
    pub indexes: BTreeSet<ObjectId>,
    /// Index objects of no use once the doomed packs are gone.
    pub replaced_indexes: BTreeSet<ObjectId>,
}

impl Session {
    /// Begins a session of a writer that runs where `host` says.
    pub fn begin(log: Arc<Log>, host: HostFacts) -> Result<Self, LogError> {
        let id = SessionId::mint(&*log.parts.entropy)?;
        let mut doomed = BTreeSet::new();
        let head = log.append(&mut |history| {
            let (number, _) = history.next();
            doomed = history.doomed_for(number);
            Ok(Body::SessionBegun(SessionBegun { session: id, host: host.clone() }))
        })?;
        let session = Self {
            log,
            id,
            begun: head.number,
            doomed,
            beats: AtomicU64::default(),
            last_beat: Mutex::default(),
        };
        match session.beat() {
            Ok(()) => Ok(session),
            Err(error) => {
                // Nobody can tell that it is over as long as this process lives.
                let _ = session.end();
                Err(error)
            }
        }
    }

    /// Its identifier.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Number of the entry that began it.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Packs it must not deduplicate against: a prune was about to delete them when it began.
    pub fn doomed_packs(&self) -> &BTreeSet<ObjectId> {
        &self.doomed
    }

    /// Changes the heartbeat, so that observers see a living session.
    pub fn beat(&self) -> Result<(), LogError> {
        let now = self.log.parts.clock.since_boot();
        let beat = self.beats.fetch_add(1, Ordering::Relaxed);
        self.log.parts.store.replace(&heartbeat_name(self.id)?, &beat.to_le_bytes())?;
        *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }

    /// [`Session::beat`], if [`HEARTBEAT_INTERVAL`] has passed since the last. Cheap otherwise:
    /// writers call it after every pack.
    pub fn beat_if_due(&self) -> Result<(), LogError> {
        let last = *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner);
        if self.log.parts.clock.since_boot().saturating_sub(last) < HEARTBEAT_INTERVAL {
            return Ok(());
        }
        self.beat()
    }

    /// Commits a point. `uses` says whether the point uses a pack that the session did not add;
    /// it is asked only for packs that an open prune has doomed.
    ///
    /// # Errors
    /// [`LogError::Refused`] with [`VoidReason::SessionEnded`] if an observer took this session
    /// for dead, with [`VoidReason::PackDoomed`] if the point uses one of
    /// [`Session::doomed_packs`]: back up again in a new session.
    pub fn commit(
        &self,
        point: &NewPoint,
        uses: &dyn Fn(&ObjectId) -> bool,
    ) -> Result<HeadPin, LogError> {
        if self.doomed.iter().any(uses) {
            let reason = VoidReason::PackDoomed;
            return Err(LogError::Refused { kind: "point committed", reason });
        }
        self.log.append(&mut |history| {
            let doomed = history.open_intent().map(|open| &open.intent.doomed);
            let relies_on = doomed
                .into_iter()
                .flatten()
                .filter(|pack| !point.packs.contains(pack) && uses(pack))
                .copied()
                .collect();
            Ok(Body::PointCommitted(PointCommitted {
                session: self.id,
                item: point.item,
                point: point.point,
                indexes: point.indexes.clone(),
                packs: point.packs.clone(),
                relies_on,
            }))
        })
    }

    /// Announces a prune that this session computed.
    ///
    /// # Errors
    /// [`LogError::Refused`] with [`VoidReason::IntentOpen`] (finish that one first),
    /// [`VoidReason::IntentStale`] (take the new points into account and try again) or
    /// [`VoidReason::Unconfirmed`] ([`Log::confirm`] first); [`LogError::Fault`] if the store
    /// lists entries beyond the head: nothing is deleted by half a log.
    pub fn intend(&self, intent: &NewIntent) -> Result<HeadPin, LogError> {
        self.log.refuse_gap()?;
        self.log.append(&mut |_| {
            Ok(Body::PruneIntent(PruneIntent {
                session: self.id,
                based_on: intent.based_on,
                doomed: intent.doomed.clone(),
                packs: intent.packs.clone(),
                indexes: intent.indexes.clone(),
                replaced_indexes: intent.replaced_indexes.clone(),
            }))
        })
    }

    /// Ends the session. One that was ended by an observer is no error: nothing is left to do.
    pub fn end(self) -> Result<(), LogError> {
        end_session(&self.log, self.id, EndReason::Finished)
    }
}

/// Ends `session` unless it has ended, and removes its heartbeat.
pub(super) fn end_session(log: &Log, session: SessionId, why: EndReason) -> Result<(), LogError> {
    let ended = log.append(&mut |_| Ok(Body::SessionEnded(SessionEnded { session, why })));
    match ended {
        Ok(_) | Err(LogError::Refused { reason: VoidReason::SessionEnded, .. }) => {}
        Err(error) => return Err(error),
    }
    // Garbage if it stays: nobody looks at the heartbeat of a session that has ended.
    let _ = log.parts.store.delete(&heartbeat_name(session)?);
    Ok(())
}

pub(super) fn heartbeat_name(session: SessionId) -> Result<BlobName, LogError> {
    format!("heartbeat/{session}")
        .parse()
        .map_err(|_| LogError::Bug("a heartbeat's name is invalid"))
}
