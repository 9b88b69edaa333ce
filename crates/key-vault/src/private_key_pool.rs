//! Who may compute with a private key now: as many at once as there are cores, callers in turn, and
//! none with more than his share of what may wait.
//!
//! Operations with private keys cost a hundred times what other requests cost. Unbounded, those of
//! one caller would keep all others waiting, requests that need no private key included.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use custody_names::PrincipalId;

use crate::error::{KeyVaultError, Result};
use crate::key_shape::{KeyShape, RsaSize};

/// What all callers together may have waiting or under way, in weights: they divide it evenly.
pub const WEIGHT_MAX: u64 = 512;
/// What a caller may have waiting or under way however many others there are, in weights.
pub const SHARE_MIN: u64 = 32;
/// How many operations may wait, whatever they weigh: each keeps a thread, and other requests need
/// some as well.
pub const WAITING_MAX: usize = 384;
/// How many more may wait of callers who have nothing else under way.
pub const NEWCOMERS_MAX: usize = 128;
/// When a caller who was over his share may ask again, in seconds.
pub const RETRY_AFTER_SECONDS: u64 = 1;

/// Places to compute in, and who waits for one.
pub(crate) struct PrivateKeyPool {
    places: usize,
    state: Mutex<State>,
}

/// Who wants to compute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applicant {
    pub(crate) caller: PrincipalId,
    /// Whether he may be told to come again. Jobs of this installation wait instead: how many there
    /// are is bounded elsewhere.
    pub(crate) is_refusable: bool,
}

/// A place to compute in, given back when it is dropped.
pub(crate) struct Place<'p> {
    pool: &'p PrivateKeyPool,
    caller: PrincipalId,
    weight: u64,
}

impl PrivateKeyPool {
    /// A pool in which so many compute at once.
    pub(crate) fn new(places: usize) -> Self {
        Self { places: places.max(1), state: Mutex::default() }
    }

    /// Waits for a place for an operation with a key of this shape. Where the operation costs
    /// little, none is needed.
    ///
    /// # Errors
    /// [`KeyVaultError::Throttled`] if the caller would have more than his share.
    pub(crate) fn enter(&self, applicant: Applicant, shape: KeyShape) -> Result<Option<Place<'_>>> {
        let Some(weight) = weight(shape) else { return Ok(None) };
        let call = self.lock().apply(applicant, weight, self.places)?;
        if let Some(call) = call {
            call.wait();
        }
        Ok(Some(Place { pool: self, caller: applicant.caller, weight }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pool.lock().leave(self.caller, self.weight);
    }
}

/// How much an operation weighs, in proportion to the requests that Key Vault allows for each size
/// (4,000, 1,000 and 500 in 10 s).
fn weight(shape: KeyShape) -> Option<u64> {
    match shape {
        KeyShape::Rsa(RsaSize::Bits2048) | KeyShape::Ec(_) => Some(1),
        KeyShape::Rsa(RsaSize::Bits3072) => Some(4),
        KeyShape::Rsa(RsaSize::Bits4096) => Some(8),
        KeyShape::Oct(_) => None,
    }
}

#[derive(Default)]
struct State {
    running: usize,
    waiting: usize,
    callers: HashMap<PrincipalId, Caller>,
    /// How much had been served to the caller who was last: where newcomers begin.
    served: u64,
}

/// A caller with something waiting or under way.
#[derive(Default)]
struct Caller {
    held: u64,
    /// What was served to him since he came, on top of where he began. Whoever has least is next.
    served: u64,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    weight: u64,
    call: Arc<Call>,
}

impl State {
    /// Gives the applicant a place, or what to wait on until he has one.
    fn apply(
        &mut self,
        applicant: Applicant,
        weight: u64,
        places: usize,
    ) -> Result<Option<Arc<Call>>> {
        let served = self.served;
        let newcomer = || Caller { served, ..Caller::default() };
        self.callers.entry(applicant.caller).or_insert_with(newcomer);
        let share = (WEIGHT_MAX / self.callers.len() as u64).max(SHARE_MIN);
        let own = self.callers.entry(applicant.caller).or_insert_with(newcomer);
        let must_wait = self.running >= places;
        let (over_share, waiting_max) = match own.held {
            // Who has nothing under way is welcome, whatever it weighs.
            0 => (false, WAITING_MAX + NEWCOMERS_MAX),
            held => (held + weight > share, WAITING_MAX),
        };
        if applicant.is_refusable && (over_share || (must_wait && self.waiting >= waiting_max)) {
            self.callers.retain(|_, caller| caller.held > 0);
            return Err(KeyVaultError::Throttled);
        }
        own.held += weight;
        if !must_wait {
            self.running += 1;
            own.served += weight;
            self.served = own.served;
            return Ok(None);
        }
        self.waiting += 1;
        let call = Arc::new(Call::default());
        own.waiting.push_back(Waiting { weight, call: Arc::clone(&call) });
        Ok(Some(call))
    }

    /// Takes a place back and calls who is next.
    fn leave(&mut self, caller: PrincipalId, weight: u64) {
        self.running -= 1;
        if let Some(own) = self.callers.get_mut(&caller) {
            own.held = own.held.saturating_sub(weight);
            if own.held == 0 {
                self.callers.remove(&caller);
            }
        }
        let waits = |caller: &&mut Caller| !caller.waiting.is_empty();
        let next = self.callers.values_mut().filter(waits).min_by_key(|caller| caller.served);
        let Some(next) = next else { return };
        let Some(waiting) = next.waiting.pop_front() else { return };
        next.served += waiting.weight;
        self.served = next.served;
        (self.running, self.waiting) = (self.running + 1, self.waiting - 1);
        waiting.call.call();
    }
}

/// Somebody who waits until he is called.
#[derive(Default)]
struct Call {
    is_called: Mutex<bool>,
    called: Condvar,
}

impl Call {
    fn call(&self) {
        *self.is_called.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.called.notify_one();
    }

    fn wait(&self) {
        let is_called = self.is_called.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.called.wait_while(is_called, |is_called| !*is_called);
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread;

    use super::*;

    const SMALL: KeyShape = KeyShape::Rsa(RsaSize::Bits2048);
    const LARGE: KeyShape = KeyShape::Rsa(RsaSize::Bits4096);

    fn caller(number: u8, is_refusable: bool) -> Applicant {
        let id = format!("00000000-0000-0000-0000-0000000000{number:02}");
        Applicant { caller: id.parse().unwrap(), is_refusable }
    }

    /// How many operations wait.
    fn waiting(pool: &PrivateKeyPool) -> usize {
        pool.lock().waiting
    }

    /// Applies on a thread of its own, and returns when the application waits; `name` is sent once
    /// it has its place, which it gives back at once.
    fn apply<'s>(
        scope: &'s thread::Scope<'s, '_>,
        pool: &'s PrivateKeyPool,
        applicant: Applicant,
        shape: KeyShape,
        (name, sender): (&'static str, Sender<&'static str>),
    ) {
        let before = waiting(pool);
        scope.spawn(move || {
            let place = pool.enter(applicant, shape).unwrap();
            sender.send(name).unwrap();
            drop(place);
        });
        while waiting(pool) == before {
            thread::yield_now();
        }
    }

    #[test]
    fn who_was_served_least_is_next() {
        let pool = PrivateKeyPool::new(1);
        let busy = pool.enter(caller(9, true), SMALL).unwrap();
        let (sender, order) = channel();
        thread::scope(|scope| {
            for (number, shape, name) in [
                (1, LARGE, "a1"),
                (1, LARGE, "a2"),
                (2, SMALL, "b1"),
                (2, SMALL, "b2"),
                (2, SMALL, "b3"),
            ] {
                apply(scope, &pool, caller(number, true), shape, (name, sender.clone()));
            }
            drop(busy);
        });
        drop(sender);
        let order: Vec<_> = order.into_iter().collect();
        let place = |name: &str| order.iter().position(|found| *found == name).unwrap();
        // One large operation is worth eight small ones; whoever begins, all small ones come
        // before the second large one.
        assert!(place("b3") < place("a2"), "{order:?}");
        assert!(
            place("a1") < place("a2") && place("b1") < place("b2") && place("b2") < place("b3")
        );
        assert!(pool.lock().callers.is_empty() && pool.lock().running == 0);
    }

    #[test]
    fn a_caller_over_his_share_is_told_to_come_again() {
        let pool = PrivateKeyPool::new(1000);
        let fill = |number: u8, count: u64| -> Vec<_> {
            let enter = |_| pool.enter(caller(number, true), SMALL).unwrap();
            (0..count).map(enter).collect()
        };
        let alone = fill(1, WEIGHT_MAX);
        assert_eq!(pool.enter(caller(1, true), SMALL).err(), Some(KeyVaultError::Throttled));
        // Another has half, and so has the first from now on; a job is never refused.
        let other = fill(2, WEIGHT_MAX / 2);
        assert_eq!(pool.enter(caller(2, true), SMALL).err(), Some(KeyVaultError::Throttled));
        assert_eq!(pool.enter(caller(1, true), SMALL).err(), Some(KeyVaultError::Throttled));
        assert!(pool.enter(caller(2, false), LARGE).is_ok());
        drop(alone);
        assert!(pool.enter(caller(1, true), LARGE).is_ok());
        drop(other);
        assert!(pool.lock().callers.is_empty());
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let mut state = State { running: 1, ..State::default() };
        let mut ask = |number: usize| {
            let id = format!("00000000-0000-0000-0000-{number:012}");
            let applicant = Applicant { caller: id.parse().unwrap(), is_refusable: true };
            state.apply(applicant, 1, 1).is_ok()
        };
        assert!((0..WAITING_MAX).all(&mut ask));
        assert!(!ask(0), "who has something waiting leaves the rest to others");
        assert!((WAITING_MAX..WAITING_MAX + NEWCOMERS_MAX).all(&mut ask));
        assert!(!ask(WAITING_MAX + NEWCOMERS_MAX));
        assert_eq!(state.callers.len(), state.waiting, "who was refused leaves nothing");
    }

    #[test]
    fn symmetric_keys_need_no_place() {
        let pool = PrivateKeyPool::new(1);
        let oct = KeyShape::Oct(crate::OctSize::Bits256);
        assert!(pool.enter(caller(1, true), oct).unwrap().is_none());
    }
}
