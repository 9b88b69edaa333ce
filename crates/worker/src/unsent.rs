//! What of the ledger a receiver has not had yet.

use custody_activity::{Entries, Entry, LedgerError, Order};
use custody_ambient::Timestamp;
use custody_resources::Refusal;

use crate::Platform;

/// Most lines of the ledger that one turn looks at.
const LINES_MAX: usize = 20_000;

/// The lines that one turn looks at: none that was not there when it began, since the last one may
/// still be being written.
pub(crate) struct Unsent {
    entries: Entries,
    /// The last line when the turn began.
    head: u64,
    looked_at: usize,
    /// The last line that was looked at.
    pub(crate) last: u64,
    /// How many of them cannot be read. They are `ledger verify`'s to explain, and must not hold
    /// the others up.
    pub(crate) damaged: u64,
}

impl Unsent {
    /// The next line that can be read; `None` at the end of the turn.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Refusal> {
        while self.last < self.head && self.looked_at < LINES_MAX {
            self.looked_at += 1;
            match self.entries.next() {
                Some(Ok(entry)) if entry.position.sequence <= self.head => {
                    self.last = self.last.max(entry.position.sequence);
                    return Ok(Some(entry));
                }
                Some(Err(LedgerError::Damaged { .. })) => {
                    self.damaged += 1;
                    self.last += 1;
                }
                Some(Err(error)) => return Err(ledger_fault(error)),
                // Lines are missing.
                Some(Ok(_)) | None => {
                    self.damaged += self.head - self.last;
                    self.last = self.head;
                }
            }
        }
        Ok(None)
    }

    /// Whether nothing lies behind what was looked at.
    pub(crate) fn is_at_end(&self) -> bool {
        self.last >= self.head
    }
}

impl Platform {
    /// The lines behind the one with this number.
    pub(crate) fn unsent(&self, came_to: u64) -> Result<Unsent, Refusal> {
        let head = self.ledger_head()?;
        let entries = self.ledger.read_from(came_to + 1).map_err(ledger_fault)?;
        Ok(Unsent { entries, head, looked_at: 0, last: came_to, damaged: 0 })
    }

    /// The number of the last line; 0 while there is none.
    pub(crate) fn ledger_head(&self) -> Result<u64, Refusal> {
        Ok(self.ledger.head().map_err(ledger_fault)?.map_or(0, |head| head.sequence))
    }

    /// The last line before those that were written since `time` without a break, but none before
    /// `known`. Times are the wall clock's, so this is asked once, as early as can be.
    pub(crate) fn line_before(&self, time: Timestamp, known: u64) -> Result<u64, Refusal> {
        for entry in self.ledger.read(Order::NewestFirst).map_err(ledger_fault)? {
            match entry {
                Ok(entry) if entry.position.sequence <= known => break,
                Ok(entry) if entry.time < time => return Ok(entry.position.sequence),
                Ok(_) | Err(LedgerError::Damaged { .. }) => {}
                Err(error) => return Err(ledger_fault(error)),
            }
        }
        Ok(known)
    }
}

pub(crate) fn ledger_fault(error: LedgerError) -> Refusal {
    Refusal::new(500, error.code(), error.to_string())
}
