//! Watches the lease on a vault's keys while a job holds it: extends it, and ends it on a refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use custody_blob_store::BlobStore;
use custody_envelope::{
    EnvelopeError, KekFault, KnownRing, Lease, LeaseEnd, Ring, Trust, VaultKeys, unwrap,
};
use custody_repository::{RepositoryError, Rings};

use crate::Platform;
use crate::vault_session::KeyWay;

/// How often a lease holder looks whether something changed that may revoke: the bound of
/// revocation for running jobs (rule 119, DESIGN §5).
pub(crate) const REVOCATION_LOOK_EVERY: Duration = Duration::from_millis(200);
/// A lease is extended when less than this part of a minute is left.
const EXTEND_WHEN_LEFT: Duration = Duration::from_secs(30);
/// How long a key vault that gave no answer is left alone at first, and at most: twice as long
/// after each try. Short enough to meet a key vault that throttles again before the lease is over.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
const ASK_AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);

/// Asks for a vault's keys afresh.
pub(crate) struct Renewer {
    pub(crate) platform: Arc<Platform>,
    pub(crate) store: Arc<dyn BlobStore>,
    pub(crate) way: KeyWay,
    pub(crate) known: KnownRing,
}

/// What asking afresh came to.
pub(crate) enum Renewed {
    /// The lease goes on.
    Yes,
    /// A definite no: the lease is ended.
    Refused,
    /// No answer. What it would end with.
    Unanswered(LeaseEnd),
}

impl Renewer {
    /// Unwraps afresh, at once when something changed that may revoke. A definite no ends the
    /// lease; no answer lets it run out.
    pub(crate) fn renew(&self, lease: &Lease) -> Renewed {
        let Err(error) = self.unwrap_present_ring(lease) else { return Renewed::Yes };
        let (refused, retryable) = match &error {
            RepositoryError::Envelope(EnvelopeError::Kek(kek)) => {
                (kek.fault != KekFault::Unreachable, kek.fault == KekFault::Unreachable)
            }
            // An answer that took longer than a lease lasts is none.
            RepositoryError::Envelope(EnvelopeError::LeaseEnded { .. }) => (false, true),
            RepositoryError::Envelope(_) => (true, false),
            // The store did not give the ring.
            _ => (false, true),
        };
        let code = match &error {
            RepositoryError::Envelope(EnvelopeError::LeaseEnded { reason }) => reason.code,
            error => error.code(),
        };
        let reason = LeaseEnd { code, message: error.to_string(), retryable };
        if refused {
            lease.end(reason);
            return Renewed::Refused;
        }
        Renewed::Unanswered(reason)
    }

    /// Unwraps the present ring afresh: a rotation may have replaced the one the job began with.
    fn unwrap_present_ring(&self, lease: &Lease) -> Result<(), RepositoryError> {
        let rings = Rings::new(self.store.as_ref());
        let held = lease.ring();
        let newest = rings.newest(held.number)?.unwrap_or(held.number);
        let mut candidates = rings.candidates(newest)?;
        if newest != held.number {
            // What stands under a newer number may be none of this vault's.
            candidates.extend(rings.candidates(held.number)?);
        }
        let trust = Trust::Chained(if held.number >= self.known.number {
            held
        } else {
            self.known.clone()
        });
        let mut fault = EnvelopeError::RingDamaged { why: format!("ring {newest} is missing") };
        for bytes in candidates {
            let tried = Ring::parse(&bytes)
                .and_then(|ring| {
                    self.way.with(&self.platform, |access| unwrap(&ring, &trust, access))
                })
                .and_then(|proof| lease.extend(proof));
            match tried {
                Ok(()) => return Ok(()),
                // A refusal is about the key, not about this ring.
                Err(error @ EnvelopeError::Kek(_)) => return Err(error.into()),
                Err(error) => fault = error,
            }
        }
        Err(fault.into())
    }

    /// Counters that rise with every change that may revoke. One that cannot be read counts as
    /// changed: the unwrap that follows decides.
    pub(crate) fn counters(&self) -> (Option<u64>, Option<u64>) {
        (
            self.platform.records.revocation_counter().ok(),
            self.platform.key_vaults.store().changes().ok(),
        )
    }

    pub(crate) fn since_boot(&self) -> Duration {
        self.platform.clock.since_boot()
    }
}

/// When a key vault that gives no answer is asked again, since boot.
pub(crate) struct Patience {
    next: Duration,
    after: Duration,
}

impl Patience {
    /// Asks at once.
    pub(crate) fn fresh() -> Self {
        Self { next: Duration::ZERO, after: ASK_AGAIN_AFTER }
    }

    /// Whether it is time to ask.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        now >= self.next
    }

    /// How long until it is.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.next.saturating_sub(now)
    }

    /// Takes note that there was no answer.
    pub(crate) fn grow(&mut self, now: Duration) {
        self.next = now.saturating_add(self.after);
        self.after = self.after.saturating_mul(2).min(ASK_AGAIN_AFTER_MAX);
    }
}

/// Ends the watch when it goes.
pub(crate) struct Watcher {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Begins to watch the lease on `keys`. Without a watcher the lease simply runs out: safe, and
    /// whoever needs the keys says so.
    pub(crate) fn begin(renewer: Arc<Renewer>, keys: &VaultKeys) -> Option<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let watch = Watch { renewer, lease: keys.lease().clone(), done: Arc::clone(&done) };
        let spawned = thread::Builder::new().name("key-watch".into()).spawn(move || watch.run());
        spawned.ok().map(|thread| Self { done, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The watcher holds nothing that a panic of its own could spoil.
            let _ = thread.join();
        }
    }
}

struct Watch {
    renewer: Arc<Renewer>,
    lease: Lease,
    done: Arc<AtomicBool>,
}

impl Watch {
    fn run(self) {
        let mut seen = self.renewer.counters();
        let mut patience = Patience::fresh();
        while !self.done.load(Ordering::Acquire) {
            thread::park_timeout(REVOCATION_LOOK_EVERY);
            if self.done.load(Ordering::Acquire) {
                return;
            }
            if self.lease.ended().is_some() {
                // Whoever needs the keys of one that ran out brings them back, or nobody does.
                if self.lease.may_go_on() && self.lease.is_awaited() {
                    continue;
                }
                return;
            }
            let (now, changes) = (self.renewer.since_boot(), self.renewer.counters());
            let due = self.lease.remaining() < EXTEND_WHEN_LEFT && patience.is_over(now);
            if changes == seen && !due {
                continue;
            }
            seen = changes;
            match self.renewer.renew(&self.lease) {
                Renewed::Yes => patience = Patience::fresh(),
                Renewed::Refused => return,
                Renewed::Unanswered(_) => patience.grow(self.renewer.since_boot()),
            }
        }
    }
}
