//! How long unwrapped keys may be used (DESIGN §5).

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};
use std::time::Duration;

use custody_ambient::Clock;

use crate::key_set::KeySet;
use crate::object_keys::{ObjectKeys, ObjectSlot};
use crate::{EnvelopeError, KnownRing, Unwrapped};

/// How long keys may be used after a successful unwrap.
pub const LEASE_DEFAULT: Duration = Duration::from_mins(1);

/// Object keys that are registered before those that are gone are first swept out.
const AT_WORK_SWEEP: usize = 64;

/// The lease on the unlocked keys of one vault; clones are the same lease.
///
/// It runs on [`Clock::since_boot`], which goes on while the machine sleeps, from the moment the
/// key vaults were asked. At its end every key is zeroed: those of the vault and those of objects
/// at work. A lease that ran out goes on after the next successful unwrap; one that was ended by
/// [`Lease::end`] never does. With a [`Renewal`] whoever needs keys whose lease ran out waits for
/// them; without one they are refused.
#[derive(Clone)]
pub struct Lease(Arc<Shared>);

/// Why a lease ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEnd {
    /// A stable code: that of the refusal, or `KeyLeaseExpired`.
    pub code: &'static str,
    /// What happened and why.
    pub message: String,
    /// Whether nobody refused anything, so that the same may go through later.
    pub retryable: bool,
}

/// Brings keys back whose lease ran out because no key vault answered.
pub trait Renewal: Send + Sync {
    /// Returns when the keys may be used again. Called by every thread that needs them, often by
    /// several at once.
    ///
    /// # Errors
    /// Why they will not come back: [`EnvelopeError::LeaseEnded`].
    fn renew(&self, lease: &Lease) -> Result<(), EnvelopeError>;
}

struct Shared {
    clock: Arc<dyn Clock>,
    length: Duration,
    state: RwLock<State>,
    at_work: Mutex<AtWork>,
    renewal: OnceLock<Arc<dyn Renewal>>,
}

struct State {
    ring: KnownRing,
    newest_generation: u32,
    infrastructure: u32,
    phase: Phase,
}

enum Phase {
    Running { keys: KeySet, deadline: Duration },
    Expired,
    Ended(LeaseEnd),
}

/// The keys of objects that are being sealed or opened.
struct AtWork {
    slots: Vec<Weak<ObjectSlot>>,
    sweep_at: usize,
}

impl Lease {
    pub(crate) fn begin(
        proof: Unwrapped,
        clock: Arc<dyn Clock>,
        length: Duration,
    ) -> Result<Self, EnvelopeError> {
        let state = State::running(proof, length, Duration::ZERO);
        let at_work = Mutex::new(AtWork { slots: Vec::new(), sweep_at: AT_WORK_SWEEP });
        let (state, renewal) = (RwLock::new(state), OnceLock::new());
        let lease = Self(Arc::new(Shared { clock, length, state, at_work, renewal }));
        lease.check()?;
        Ok(lease)
    }

    /// Lets everyone who needs the keys after the lease ran out wait for `renewal`. The first
    /// stays.
    pub fn renew_by(&self, renewal: Arc<dyn Renewal>) {
        let _ = self.0.renewal.set(renewal);
    }

    /// Whether those who need the keys wait for them.
    pub fn is_awaited(&self) -> bool {
        self.0.renewal.get().is_some()
    }

    /// Whether the keys may be used now; waits for them if the lease has a [`Renewal`]. If it has
    /// just run out, zeroes them.
    ///
    /// # Errors
    /// [`EnvelopeError::LeaseEnded`].
    pub fn check(&self) -> Result<(), EnvelopeError> {
        self.awaited().map(drop)
    }

    /// How long the keys may still be used; zero after the end.
    pub fn remaining(&self) -> Duration {
        match &self.read().phase {
            Phase::Running { deadline, .. } => deadline.saturating_sub(self.0.clock.since_boot()),
            Phase::Expired | Phase::Ended(_) => Duration::ZERO,
        }
    }

    /// Goes on for its whole length from the unwrap that `proof` comes from, with the keys of that
    /// ring: after a change of key the new generation is in use from here on.
    ///
    /// # Errors
    /// [`EnvelopeError::LeaseEnded`] if [`Lease::end`] was called or the proof is too old;
    /// [`EnvelopeError::RingForeignVault`] and [`EnvelopeError::RingRolledBack`] if the proof is
    /// of another vault or an older ring.
    pub fn extend(&self, proof: Unwrapped) -> Result<(), EnvelopeError> {
        let mut state = self.write();
        if let Phase::Ended(reason) = &state.phase {
            return Err(EnvelopeError::LeaseEnded { reason: reason.clone() });
        }
        let (held, found) = (&state.ring, &proof.ring);
        if found.vault != held.vault {
            let (found, expected) = (found.vault, held.vault);
            return Err(EnvelopeError::RingForeignVault { found, expected });
        }
        if found.number < held.number || (found.number == held.number && found.hash != held.hash) {
            let (known, found) = (held.number, found.number);
            return Err(EnvelopeError::RingRolledBack { known, found });
        }
        let now = self.0.clock.since_boot();
        if now >= proof.asked_at.saturating_add(self.0.length) {
            return Err(self.expired());
        }
        let deadline_before = match &state.phase {
            Phase::Running { deadline, .. } => *deadline,
            Phase::Expired | Phase::Ended(_) => Duration::ZERO,
        };
        if now >= deadline_before {
            // Ran out, perhaps unnoticed: no object goes on across the gap.
            self.zero_keys_at_work();
        }
        *state = State::running(proof, self.0.length, deadline_before);
        Ok(())
    }

    /// Ends the lease for good and zeroes all keys at once: the key was refused, or the job is
    /// done. The first reason stays.
    pub fn end(&self, reason: LeaseEnd) {
        let mut state = self.write();
        if !matches!(state.phase, Phase::Ended(_)) {
            state.phase = Phase::Ended(reason);
        }
        self.zero_keys_at_work();
    }

    /// Why the keys may not be used now, without waiting for them. One that ran out may go on: if
    /// so, [`Lease::may_go_on`]. If the lease has just run out, zeroes them: whoever keeps it calls
    /// this at short intervals.
    pub fn ended(&self) -> Option<LeaseEnd> {
        match self.running() {
            Err(EnvelopeError::LeaseEnded { reason }) => Some(reason),
            _ => None,
        }
    }

    /// Whether an unwrap can still extend the lease: nobody has ended it.
    pub fn may_go_on(&self) -> bool {
        !matches!(self.read().phase, Phase::Ended(_))
    }

    /// The ring that the keys come from.
    pub fn ring(&self) -> KnownRing {
        self.read().ring.clone()
    }

    /// Whether the system keeps the vault's keys out of swap. If not, a swap device may hold them:
    /// raise the limit on locked memory (`ulimit -l`).
    pub fn is_locked_in_memory(&self) -> bool {
        match &self.read().phase {
            Phase::Running { keys, .. } => keys.is_locked_in_memory(),
            Phase::Expired | Phase::Ended(_) => true,
        }
    }

    pub(crate) fn newest_generation(&self) -> u32 {
        self.read().newest_generation
    }

    pub(crate) fn infrastructure(&self) -> u32 {
        self.read().infrastructure
    }

    /// Uses the keys, which do not go away meanwhile. `with` must be short.
    pub(crate) fn with_keys<T>(
        &self,
        with: impl FnOnce(&KeySet) -> Result<T, EnvelopeError>,
    ) -> Result<T, EnvelopeError> {
        match &self.awaited()?.phase {
            Phase::Running { keys, .. } => with(keys),
            Phase::Expired | Phase::Ended(_) => Err(EnvelopeError::Bug("a lease without keys")),
        }
    }

    /// Makes the keys of an object and takes them under this lease.
    pub(crate) fn admit(
        &self,
        make: impl FnOnce(&KeySet) -> Result<ObjectKeys, EnvelopeError>,
    ) -> Result<Arc<ObjectSlot>, EnvelopeError> {
        self.with_keys(|keys| {
            let slot = Arc::new(ObjectSlot::new(make(keys)?));
            let mut at_work = self.0.at_work.lock().unwrap_or_else(PoisonError::into_inner);
            at_work.register(&slot);
            Ok(slot)
        })
    }

    /// Makes the keys of an object again that went with a lease which goes on now: for opening
    /// alone, where nothing depends on who used them before.
    pub(crate) fn readmit(
        &self,
        slot: &Arc<ObjectSlot>,
        make: impl FnOnce(&KeySet) -> Result<ObjectKeys, EnvelopeError>,
    ) -> Result<(), EnvelopeError> {
        self.with_keys(|keys| {
            slot.fill(make(keys)?);
            let mut at_work = self.0.at_work.lock().unwrap_or_else(PoisonError::into_inner);
            at_work.register(slot);
            Ok(())
        })
    }

    /// The state, as soon as the keys may be used.
    fn awaited(&self) -> Result<RwLockReadGuard<'_, State>, EnvelopeError> {
        loop {
            let ran_out = match self.running() {
                Ok(state) => return Ok(state),
                Err(error) => error,
            };
            match self.0.renewal.get() {
                Some(renewal) if self.may_go_on() => renewal.renew(self)?,
                _ => return Err(ran_out),
            }
        }
    }

    /// The state, if the keys may be used; notices that the time is up.
    fn running(&self) -> Result<RwLockReadGuard<'_, State>, EnvelopeError> {
        let state = self.read();
        match &state.phase {
            Phase::Running { deadline, .. } if self.0.clock.since_boot() < *deadline => {
                return Ok(state);
            }
            Phase::Running { .. } => {}
            Phase::Expired => return Err(self.expired()),
            Phase::Ended(reason) => {
                return Err(EnvelopeError::LeaseEnded { reason: reason.clone() });
            }
        }
        drop(state);
        self.expire();
        Err(self.expired())
    }

    /// Zeroes the keys unless another thread has extended the lease meanwhile.
    fn expire(&self) {
        let mut state = self.write();
        let now = self.0.clock.since_boot();
        if matches!(&state.phase, Phase::Running { deadline, .. } if now >= *deadline) {
            state.phase = Phase::Expired;
            self.zero_keys_at_work();
        }
    }

    pub(crate) fn expired(&self) -> EnvelopeError {
        let seconds = self.0.length.as_secs();
        let message = format!("the key vault has not confirmed the key for {seconds} s");
        let reason = LeaseEnd { code: "KeyLeaseExpired", message, retryable: true };
        EnvelopeError::LeaseEnded { reason }
    }

    fn zero_keys_at_work(&self) {
        let mut at_work = self.0.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in at_work.slots.drain(..).filter_map(|slot| slot.upgrade()) {
            slot.clear();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Runs for `length` from the proof, and no shorter than it did.
    fn running(proof: Unwrapped, length: Duration, deadline_before: Duration) -> Self {
        let deadline = proof.asked_at.saturating_add(length).max(deadline_before);
        Self {
            newest_generation: proof.keys.newest(),
            infrastructure: proof.infrastructure,
            ring: proof.ring,
            phase: Phase::Running { keys: proof.keys, deadline },
        }
    }
}

impl AtWork {
    fn register(&mut self, slot: &Arc<ObjectSlot>) {
        if self.slots.len() >= self.sweep_at {
            self.slots.retain(|slot| slot.strong_count() > 0);
            self.sweep_at = AT_WORK_SWEEP.max(2 * self.slots.len());
        }
        self.slots.push(Arc::downgrade(slot));
    }
}
