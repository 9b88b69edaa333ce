//! Connections that read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

use rusqlite::Connection;

use super::lock;

/// How many there are: who reads all records of a kind keeps one of them for a while, and nobody else
/// waits for that.
pub(super) const READERS: usize = 4;

/// Each is used by one thread at a time.
pub(super) struct Readers {
    connections: [Mutex<Connection>; READERS],
    turn: AtomicUsize,
}

impl Readers {
    pub(super) fn new(connections: [Mutex<Connection>; READERS]) -> Self {
        Self { connections, turn: AtomicUsize::new(0) }
    }

    /// One that nobody uses; if there is none, the next in turn as soon as it is free.
    pub(super) fn free(&self) -> MutexGuard<'_, Connection> {
        let free = self.connections.iter().find_map(|connection| match connection.try_lock() {
            Ok(free) => Some(free),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        free.unwrap_or_else(|| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % READERS;
            let [first, ..] = &self.connections;
            lock(self.connections.get(turn).unwrap_or(first))
        })
    }
}
