//! A store that fails when told to: a test double around any other store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use custody_blob_store::{BlobName, BlobStore, Creation, StoreError};

/// When a failing call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing happened.
    BeforeEffect,
    /// It happened, and the caller is not told: an unclear answer.
    AfterEffect,
}

/// One planned failure.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The call that fails; the next call is 0. Every method counts.
    pub call: u64,
    /// When it fails.
    pub moment: Moment,
    /// What the caller is told.
    pub error: StoreError,
    /// Whether every later call fails too, before any effect: a crash, a store that is gone.
    pub lasting: bool,
}

/// Hands every call to the store within, except where a fault or a lag is planned.
pub struct FaultyStore {
    inner: Arc<dyn BlobStore>,
    state: Mutex<State>,
}

/// What somebody else does meanwhile.
type Interruption = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    calls: u64,
    fault: Option<Fault>,
    /// What somebody else does before a call.
    interruption: Option<(u64, Interruption)>,
    lag: usize,
    /// The newest changes, oldest first: what stood under the name before.
    recent: VecDeque<(BlobName, Option<u64>)>,
}

impl FaultyStore {
    /// No fault is planned yet.
    pub fn new(inner: Arc<dyn BlobStore>) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// Plans a fault, in place of any planned before; its call is counted from now.
    pub fn plan(&self, mut fault: Fault) {
        let mut state = self.state();
        fault.call = fault.call.saturating_add(state.calls);
        state.fault = Some(fault);
    }

    /// Lets somebody else do something before a call, counted from now.
    pub fn interrupt(&self, call: u64, act: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        state.interruption = Some((call.saturating_add(state.calls), Box::new(act)));
    }

    /// Whether an interruption is still to come.
    pub fn is_waiting(&self) -> bool {
        self.state().interruption.is_some()
    }

    /// Everything goes well again.
    pub fn heal(&self) {
        self.state().fault = None;
    }

    /// Calls made so far, failed ones included.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// From now on `list` shows the store as it was before its last `changes` creations,
    /// replacements and deletions.
    pub fn lag_listing(&self, changes: usize) {
        self.state().lag = changes;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T>(&self, run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut state = self.state();
        let calls = state.calls;
        let interruption = state.interruption.take_if(|(call, _)| *call <= calls);
        let planned = state.next();
        drop(state);
        if let Some((_, act)) = interruption {
            act();
        }
        match planned {
            None => run(),
            Some((Moment::BeforeEffect, error)) => Err(error),
            Some((Moment::AfterEffect, error)) => run().and(Err(error)),
        }
    }

    fn change<T>(
        &self,
        name: &BlobName,
        run: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.call(|| {
            let before = self.inner.size(name)?;
            let outcome = run()?;
            let mut state = self.state();
            state.recent.push_back((name.clone(), before));
            let surplus = state.recent.len().saturating_sub(state.lag);
            state.recent.drain(..surplus);
            Ok(outcome)
        })
    }
}

impl State {
    /// Counts a call and says whether and how it fails.
    fn next(&mut self) -> Option<(Moment, StoreError)> {
        let call = self.calls;
        self.calls += 1;
        let fault = self.fault.as_ref()?;
        if call == fault.call {
            return Some((fault.moment, fault.error.clone()));
        }
        (fault.lasting && call > fault.call).then(|| (Moment::BeforeEffect, fault.error.clone()))
    }
}

impl BlobStore for FaultyStore {
    fn create(&self, name: &BlobName, bytes: &[u8]) -> Result<Creation, StoreError> {
        self.change(name, || self.inner.create(name, bytes))
    }

    fn replace(&self, name: &BlobName, bytes: &[u8]) -> Result<(), StoreError> {
        self.change(name, || self.inner.replace(name, bytes))
    }

    fn read(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(|| self.inner.read(name))
    }

    fn read_range(
        &self,
        name: &BlobName,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(|| self.inner.read_range(name, offset, length))
    }

    fn size(&self, name: &BlobName) -> Result<Option<u64>, StoreError> {
        self.call(|| self.inner.size(name))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(BlobName, u64)) -> Result<(), StoreError> {
        self.call(|| {
            let mut seen = std::collections::BTreeMap::new();
            self.inner.list(prefix, &mut |name, length| {
                seen.insert(name, length);
            })?;
            let state = self.state();
            for (name, before) in state.recent.iter().rev() {
                match before {
                    Some(length) if name.as_str().starts_with(prefix) => {
                        seen.insert(name.clone(), *length);
                    }
                    Some(_) => {}
                    None => {
                        seen.remove(name);
                    }
                }
            }
            drop(state);
            for (name, length) in seen {
                visit(name, length);
            }
            Ok(())
        })
    }

    fn delete(&self, name: &BlobName) -> Result<(), StoreError> {
        self.change(name, || self.inner.delete(name))
    }
}
