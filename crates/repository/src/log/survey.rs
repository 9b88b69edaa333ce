//! Reading a log that is damaged, for check, repair and restore.

use super::{Effect, History, LogError, LogFault, LogParts, SealedEntry, VoidReason, read_entry};

/// How many entries in a row may be missing before the log is taken to end.
pub const GAP_ENTRIES_MAX: u64 = 64;

/// All that can be read of a log.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// What the good entries say. Good enough to restore from; never to append or prune by.
    pub history: History,
    /// What is wrong, by entry.
    pub faults: Vec<(u64, LogFault)>,
    /// Entries that stand and count for nothing.
    pub void: Vec<(u64, VoidReason)>,
}

/// Reads the whole log, past damage.
///
/// # Errors
/// What keeps reading itself from going on: the store, the key, a newer format.
pub fn survey(parts: &LogParts) -> Result<Survey, LogError> {
    let mut survey = Survey::default();
    let mut number = 1;
    let mut missing = Vec::new();
    while (missing.len() as u64) < GAP_ENTRIES_MAX {
        let read = match read_entry(parts, number) {
            Ok(None) => {
                missing.push(number);
                number += 1;
                continue;
            }
            Ok(Some(sealed)) => Ok(sealed),
            Err(LogError::Fault { number, fault: LogFault::NewerFormat(format) }) => {
                return Err(LogError::Fault { number, fault: LogFault::NewerFormat(format) });
            }
            Err(LogError::Fault { fault, .. }) => Err(fault),
            Err(other) => return Err(other),
        };
        survey.faults.extend(missing.drain(..).map(|gap| (gap, LogFault::Missing)));
        match read {
            Ok(sealed) => survey.take(&sealed),
            Err(fault) => survey.faults.push((number, fault)),
        }
        number += 1;
    }
    Ok(survey)
}

impl Survey {
    fn take(&mut self, sealed: &SealedEntry) {
        let number = sealed.entry.number;
        if self.history.next() != (number, sealed.entry.previous) {
            // After a bad entry its successor cannot be expected to follow what was read.
            let follows_bad = self.faults.last().is_some_and(|(bad, _)| *bad + 1 == number);
            if !follows_bad {
                self.faults.push((number, LogFault::ChainBroken));
            }
            self.history.skip_to(number, sealed.entry.previous);
        }
        match self.history.apply(sealed) {
            Ok(Effect::Applied) => {}
            Ok(Effect::Void(reason)) => self.void.push((number, reason)),
            Err(fault) => self.faults.push((number, fault)),
        }
    }
}
