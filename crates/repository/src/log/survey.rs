//! Reading a log that is damaged, for check, repair and restore.

use custody_blob_store::{BlobStore, StoreError};
use custody_names::VaultGuid;

use super::{
    Effect, History, LogAuthenticator, LogError, LogFault, LogParts, SealedEntry, VoidReason,
    read_entry,
};

/// How many entries in a row may be missing or unreadable before the log is taken to end.
pub const GAP_ENTRIES_MAX: u64 = 64;

/// Said of an entry that stands and gives no bytes.
const UNREADABLE: LogFault = LogFault::Damaged("the store's device cannot read it");

/// All that can be read of a log.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// What the good entries say. Good enough to restore from; never to append or prune by.
    pub history: History,
    /// When the log was begun, in milliseconds since 1970 (UTC): the time of its first entry.
    pub begun_ms: Option<i64>,
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
    survey_from(&*parts.store, parts.vault, &*parts.authenticator)
}

/// [`survey`], with only what reading takes.
pub(crate) fn survey_from(
    store: &dyn BlobStore,
    vault: VaultGuid,
    authenticator: &dyn LogAuthenticator,
) -> Result<Survey, LogError> {
    let mut survey = Survey::default();
    let mut number = 1;
    let mut missing = Vec::new();
    while (missing.len() as u64) < GAP_ENTRIES_MAX {
        let read = match read_entry(store, vault, authenticator, number) {
            Ok(None) => {
                missing.push((number, LogFault::Missing));
                number += 1;
                continue;
            }
            Err(LogError::Store(StoreError::Device(_))) => {
                missing.push((number, UNREADABLE));
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
        survey.faults.append(&mut missing);
        match read {
            Ok(sealed) => survey.take(&sealed),
            Err(fault) => survey.faults.push((number, fault)),
        }
        number += 1;
    }
    // Beyond the last entry that can be read none is missed, but one may stand.
    survey.faults.extend(missing.into_iter().filter(|(_, fault)| *fault == UNREADABLE));
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
            Ok(Effect::Applied) if number == 1 => self.begun_ms = Some(sealed.entry.time_ms),
            Ok(Effect::Applied) => {}
            Ok(Effect::Void(reason)) => self.void.push((number, reason)),
            Err(fault) => self.faults.push((number, fault)),
        }
    }
}
