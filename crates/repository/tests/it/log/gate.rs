//! Lets threads run one at a time, each up to its next call to the store, in an order drawn from
//! a seed: the same seed gives the same schedule.

use std::sync::{Arc, Condvar, Mutex};

use custody_blob_store::{BlobName, BlobStore, Creation, MemoryStore, StoreError};

use super::schedule::Dice;

pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    dice: Dice,
    /// Actors that have not left.
    here: Vec<usize>,
    turn: Option<usize>,
}

impl Gate {
    /// A gate for actors 0 to `actors - 1`. None passes before all wait at it.
    pub(super) fn new(seed: u64, actors: usize) -> Arc<Self> {
        let mut state = State { dice: Dice::new(seed), here: (0..actors).collect(), turn: None };
        state.draw();
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Waits until it is `actor`'s turn to go on.
    pub(super) fn wait(&self, actor: usize) {
        let mut state = self.state.lock().unwrap();
        while state.turn != Some(actor) {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn pass(&self, actor: usize) {
        self.state.lock().unwrap().draw();
        self.changed.notify_all();
        self.wait(actor);
    }

    /// `actor` calls the store no more.
    pub(super) fn leave(&self, actor: usize) {
        let mut state = self.state.lock().unwrap();
        state.here.retain(|other| *other != actor);
        state.draw();
        drop(state);
        self.changed.notify_all();
    }
}

impl State {
    fn draw(&mut self) {
        self.turn = (!self.here.is_empty()).then(|| self.here[self.dice.below(self.here.len())]);
    }
}

/// The store as one actor sees it.
pub(super) struct Gated {
    pub(super) inner: Arc<MemoryStore>,
    pub(super) gate: Arc<Gate>,
    pub(super) actor: usize,
}

impl Gated {
    fn pass(&self) -> &MemoryStore {
        self.gate.pass(self.actor);
        &self.inner
    }
}

impl BlobStore for Gated {
    fn create(&self, name: &BlobName, bytes: &[u8]) -> Result<Creation, StoreError> {
        self.pass().create(name, bytes)
    }

    fn replace(&self, name: &BlobName, bytes: &[u8]) -> Result<(), StoreError> {
        self.pass().replace(name, bytes)
    }

    fn read(&self, name: &BlobName) -> Result<Option<Vec<u8>>, StoreError> {
        self.pass().read(name)
    }

    fn read_range(
        &self,
        name: &BlobName,
        offset: u64,
        length: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.pass().read_range(name, offset, length)
    }

    fn size(&self, name: &BlobName) -> Result<Option<u64>, StoreError> {
        self.pass().size(name)
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(BlobName, u64)) -> Result<(), StoreError> {
        self.pass().list(prefix, visit)
    }

    fn delete(&self, name: &BlobName) -> Result<(), StoreError> {
        self.pass().delete(name)
    }
}
