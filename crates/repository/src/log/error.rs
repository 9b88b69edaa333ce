//! What can go wrong with the log.

use custody_ambient::EntropyUnavailable;
use custody_blob_store::StoreError;
use custody_envelope::EnvelopeError;
use custody_names::VaultGuid;

use super::pin::HeadPin;
use super::void::VoidReason;

/// What can go wrong with the log. Every message names the entry; every variant has a code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// An entry is not what it should be.
    #[error("log entry {number}: {fault}")]
    Fault {
        /// The entry.
        number: u64,
        /// What is wrong with it.
        fault: LogFault,
    },
    /// There is no log in the store.
    #[error("the store holds no repository log")]
    Absent,
    /// The store holds a log already.
    #[error("the store holds a repository log already")]
    Present,
    /// What was to be appended would have been void.
    #[error("{kind}: {reason}")]
    Refused {
        /// The kind of entry.
        kind: &'static str,
        /// Why it would have been void.
        reason: VoidReason,
    },
    /// The store is older than what was seen of it, or another.
    #[error(
        "the repository was put back to an earlier or other state: log entry {} was {}, and is {}; \
         it opens read-only until `custody repair --accept-head`",
        pinned.number, pinned.hash, found.map_or("gone".to_owned(), |found| found.to_string())
    )]
    RolledBack {
        /// The head that was seen before.
        pinned: HeadPin,
        /// What stands under its number now.
        found: Option<super::EntryHash>,
    },
    /// An entry was sent and no clear answer came: it may stand in the log or not.
    #[error("it is unclear whether log entry {number} was written: {source}")]
    Unclear {
        /// The number it may have.
        number: u64,
        /// The last answer.
        source: StoreError,
    },
    /// Other writers were faster every time.
    #[error("other writers were faster {0} times in a row; try again")]
    Busy(u32),
    /// Sessions that began before a prune intent are living still.
    #[error("{0} earlier session(s) are still running; prune goes on when they have ended")]
    SessionsRunning(usize),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys cannot be used.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyUnavailable),
    /// What the operating system says about processes cannot be read.
    #[error("cannot read {what}: {message}")]
    Host {
        /// What was to be read.
        what: String,
        /// The operating system's words.
        message: String,
    },
    /// A fault of this code.
    #[error("this is a bug in custody: {0}")]
    Bug(&'static str),
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogFault {
    /// Bytes changed, cut or swapped by accident.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// Written by a newer custody.
    #[error("format {0} is newer than this custody can read; use a newer version")]
    NewerFormat(u8),
    /// Of another vault.
    #[error("belongs to vault {0}")]
    ForeignVault(VaultGuid),
    /// Its authenticator is wrong: made or changed without the vault's key.
    #[error("forged: it was made or changed without the vault's key")]
    Forged,
    /// It does not carry the hash of the entry before it.
    #[error("does not follow the entry before it")]
    ChainBroken,
    /// It is gone, and a later one stands.
    #[error("missing, although later entries stand")]
    Missing,
}

impl LogError {
    /// A code that stays the same in every version.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fault { fault, .. } => fault.code(),
            Self::Absent => "RepositoryLogAbsent",
            Self::Present => "RepositoryLogPresent",
            Self::Refused { reason, .. } => reason.code(),
            Self::RolledBack { .. } => "RepositoryRolledBack",
            Self::Unclear { .. } => "RepositoryLogUnclear",
            Self::Busy(_) => "RepositoryLogBusy",
            Self::SessionsRunning(_) => "RepositorySessionsRunning",
            Self::Store(error) => error.code(),
            Self::Envelope(error) => error.code(),
            Self::Entropy(_) => "EntropyUnavailable",
            Self::Host { .. } => "HostFactsUnreadable",
            Self::Bug(_) => "InternalError",
        }
    }
}

impl LogFault {
    /// A code that stays the same in every version.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged(_) => "RepositoryLogDamaged",
            Self::NewerFormat(_) => "RepositoryNewerFormat",
            Self::ForeignVault(_) => "RepositoryForeignVault",
            Self::Forged => "RepositoryLogForged",
            Self::ChainBroken => "RepositoryLogChainBroken",
            Self::Missing => "RepositoryLogGap",
        }
    }
}
