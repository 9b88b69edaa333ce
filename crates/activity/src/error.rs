//! Why the ledger cannot do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

/// A fault of the ledger. After an error of an append nothing is on record and the act that was
/// to be recorded must not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The disk is full and the append was not essential, or the reserve is used up.
    #[error(
        "the ledger at {0:?} cannot grow: the disk is full; free some space there, \
         or run `custody forget` and `custody prune`, which may use the ledger's reserve"
    )]
    Full(PathBuf),
    /// The record is no JSON object or longer than 64 KiB: a fault of the caller.
    #[error("the ledger refuses a record: {0}")]
    InvalidRecord(String),
    /// A record was taken but nobody said what became of it: a fault of ours.
    #[error("the ledger lost track of a record; nothing was done")]
    Lost,
    /// The head file's signature is not its key's, or it is no head file.
    #[error("the head file cannot be trusted: {0}")]
    InvalidHead(String),
    /// The bytes handed in are no Ed25519 seed, or the signature failed.
    #[error("the ledger's signing key cannot be used")]
    InvalidSigner,
    /// One line is not what was written. Reading goes on behind it.
    #[error("{segment} line {line} of the ledger is damaged: {why}; run `custody ledger verify`")]
    Damaged {
        /// File name of the segment.
        segment: String,
        /// Line in it, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A newer custody wrote the ledger; nothing was written.
    #[error("{segment} is ledger format {format}, newer than this custody knows; update custody")]
    NewerFormat {
        /// File name of the segment.
        segment: String,
        /// Its format.
        format: u32,
    },
    /// The file system gave an error.
    #[error("the ledger cannot {act} {path:?}: {source}")]
    Io {
        /// What was tried, for example "read".
        act: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl LedgerError {
    /// The stable code, listed in `docs/errors.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full(_) => "LedgerFull",
            Self::InvalidRecord(_) => "LedgerRecordInvalid",
            Self::Lost => "InternalError",
            Self::InvalidHead(_) => "LedgerHeadInvalid",
            Self::InvalidSigner => "LedgerSignerInvalid",
            Self::Damaged { .. } => "LedgerDamaged",
            Self::NewerFormat { .. } => "LedgerFormatTooNew",
            Self::Io { .. } => "LedgerUnavailable",
        }
    }

    /// An [`io::Error`] with what was tried on which file.
    pub(crate) fn io(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { act, path: path.to_owned(), source }
    }
}
