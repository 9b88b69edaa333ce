//! Reading the ledger from either end.

use std::path::Path;

use crate::line::decode;
use crate::segment::{Lines, Segment};
use crate::{Entry, LedgerError};

/// Which end to begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the first line on.
    OldestFirst,
    /// From the last line back.
    NewestFirst,
}

/// All lines of the ledger in `folder` that stand now, one segment in memory at a time; stop when
/// enough have come. Takes no lock and writes nothing.
pub fn read(folder: &Path, order: Order) -> Result<Entries, LedgerError> {
    let mut segments = Segment::list(folder)?;
    if order == Order::OldestFirst {
        segments.reverse();
    }
    Ok(Entries { order, segments, open: None })
}

/// The lines from the one with this sequence number on, oldest first. Segments before it are not
/// opened.
pub fn read_from(folder: &Path, sequence: u64) -> Result<Entries, LedgerError> {
    let mut segments = Segment::list(folder)?;
    let holding = segments.partition_point(|segment| segment.first <= sequence).saturating_sub(1);
    let mut segments = segments.split_off(holding);
    let skipped = segments.first().map_or(0, |first| sequence.saturating_sub(first.first));
    segments.reverse();
    let mut entries = Entries { order: Order::OldestFirst, segments, open: None };
    for _ in 0..skipped {
        entries.next();
    }
    Ok(entries)
}

/// The lines of a ledger. Each bears its right hash, but only [`crate::verify`] checks the chain.
/// A line that does not is given as [`LedgerError::Damaged`], and reading goes on behind it.
pub struct Entries {
    order: Order,
    /// Still to be read; the next one last.
    segments: Vec<Segment>,
    open: Option<Open>,
}

/// The segment being read.
struct Open {
    segment: Segment,
    lines: Lines,
    done: usize,
}

impl Iterator for Entries {
    type Item = Result<Entry, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.open.as_mut().and_then(|open| open.next(self.order)) {
                return Some(entry);
            }
            let segment = self.segments.pop()?;
            match segment.lines() {
                Ok(lines) => self.open = Some(Open { segment, lines, done: 0 }),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Open {
    fn next(&mut self, order: Order) -> Option<Result<Entry, LedgerError>> {
        let index = match order {
            Order::OldestFirst => self.done,
            Order::NewestFirst => self.lines.count().checked_sub(self.done + 1)?,
        };
        let line = self.lines.line(index)?;
        self.done += 1;
        Some(decode(line).map(|line| line.entry).map_err(|why| LedgerError::Damaged {
            segment: self.segment.name(),
            line: index as u64 + 1,
            why,
        }))
    }
}
