//! Records on their way to the ledger: those that come while others are written share the next
//! write, so that many threads cost one sync and one lock, not one each.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Importance, LedgerError, Position};

/// Most records of one write.
const BATCH_RECORDS_MAX: usize = 512;

/// Who waits to be written, and whether somebody writes.
#[derive(Default)]
pub(crate) struct Queue {
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    waiting: Vec<Arc<Ticket>>,
    is_led: bool,
}

/// One record that waits.
pub(crate) struct Ticket {
    /// Its JSON object.
    pub(crate) record: String,
    /// What may happen to it when the disk is full.
    pub(crate) importance: Importance,
    turn: Mutex<Turn>,
    called: Condvar,
}

enum Turn {
    /// Somebody else writes.
    Waits,
    /// This one's thread writes next, for all who wait.
    Leads,
    /// It was written, or could not be; nobody has been told yet.
    Done(Result<Position, LedgerError>),
    /// Whoever waited was told.
    Told,
}

impl Queue {
    /// Returns what became of `record`: another thread wrote it, or this one let `write` write it
    /// together with all that waited. What `write` settles no ticket of counts as lost.
    pub(crate) fn pass(
        &self,
        record: String,
        importance: Importance,
        write: impl FnOnce(&[Arc<Ticket>]),
    ) -> Result<Position, LedgerError> {
        let ticket = Arc::new(Ticket {
            record,
            importance,
            turn: Mutex::new(Turn::Waits),
            called: Condvar::new(),
        });
        let must_wait = {
            let mut line = held(&self.line);
            line.waiting.push(Arc::clone(&ticket));
            std::mem::replace(&mut line.is_led, true)
        };
        if must_wait && let Some(outcome) = ticket.wait() {
            return outcome;
        }
        let lead = Lead { queue: self, batch: self.next_batch() };
        write(&lead.batch);
        drop(lead);
        ticket.wait().unwrap_or(Err(LedgerError::Lost))
    }

    /// The first of those who wait. Whoever leads is the first of them.
    fn next_batch(&self) -> Vec<Arc<Ticket>> {
        let mut line = held(&self.line);
        let count = line.waiting.len().min(BATCH_RECORDS_MAX);
        line.waiting.drain(..count).collect()
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        held(&self.line).waiting.len()
    }
}

/// The right to write, handed on when it is dropped.
struct Lead<'q> {
    queue: &'q Queue,
    batch: Vec<Arc<Ticket>>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        for ticket in &self.batch {
            ticket.give_up();
        }
        let mut line = held(&self.queue.line);
        match line.waiting.first() {
            Some(next) => next.call(Turn::Leads),
            None => line.is_led = false,
        }
    }
}

impl Ticket {
    /// Says what became of the record.
    pub(crate) fn settle(&self, outcome: Result<Position, LedgerError>) {
        self.call(Turn::Done(outcome));
    }

    fn give_up(&self) {
        if matches!(*held(&self.turn), Turn::Waits | Turn::Leads) {
            self.settle(Err(LedgerError::Lost));
        }
    }

    fn call(&self, turn: Turn) {
        *held(&self.turn) = turn;
        self.called.notify_one();
    }

    /// Waits until the record was written; `None` if this thread is to write it.
    fn wait(&self) -> Option<Result<Position, LedgerError>> {
        let mut turn = held(&self.turn);
        while matches!(*turn, Turn::Waits) {
            turn = self.called.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        match std::mem::replace(&mut *turn, Turn::Told) {
            Turn::Done(outcome) => Some(outcome),
            Turn::Waits | Turn::Leads | Turn::Told => None,
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
