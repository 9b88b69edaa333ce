//! Why the platform cannot start, and why a task fails.

use std::path::{Path, PathBuf};

use custody_ambient::EntropyUnavailable;
use custody_resources::Refusal;

/// Why custody cannot start on a data folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The folder or a file in it cannot be read or written.
    #[error("{path:?} cannot be used: {why}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// The operating system's word.
        why: String,
        /// Whether the disk is full.
        full: bool,
    },
    /// A file is not what it should be.
    #[error("{path:?} is damaged: {why}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The folder holds an installation, where an empty one is wanted.
    #[error("{0:?} holds an installation already; a recovery kit is restored into an empty folder")]
    NotEmpty(PathBuf),
    /// A newer version of custody wrote this; nothing was changed.
    #[error("the data folder has format {found}, this version knows {known}")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// keys.db is gone although keys were made: nothing can be opened without it.
    #[error("keys.db is missing from {0:?}: without it nothing in the vaults can be opened")]
    KeysMissing(PathBuf),
    /// One of the parts refuses; its own code and message tell why.
    #[error("{message}")]
    Part {
        /// The part's stable code.
        code: &'static str,
        /// The part's message.
        message: String,
        /// The command that mends it.
        fix: Option<&'static str>,
    },
    /// The first records cannot be made.
    #[error("{message}")]
    Refused {
        /// The stable code.
        code: String,
        /// The message.
        message: String,
    },
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyUnavailable),
    /// An impossible case.
    #[error("this is a bug in custody: {0}")]
    Bug(&'static str),
}

impl StartError {
    pub(crate) fn folder(path: &Path, error: &std::io::Error) -> Self {
        Self::Folder {
            path: path.to_owned(),
            why: error.to_string(),
            full: error.kind() == std::io::ErrorKind::StorageFull,
        }
    }

    pub(crate) fn refused(refusal: &Refusal) -> Self {
        Self::Refused { code: refusal.code.to_string(), message: refusal.message.clone() }
    }

    /// The stable code (`docs/errors.md`).
    pub fn code(&self) -> &str {
        match self {
            Self::Folder { full: true, .. } => "DataFolderFull",
            Self::Folder { .. } => "DataFolderUnusable",
            Self::Damaged { .. } => "DataFolderDamaged",
            Self::NotEmpty(_) => "DataFolderNotEmpty",
            Self::NewerFormat { .. } => "DataFolderNewerFormat",
            Self::KeysMissing(_) => "KeysMissing",
            Self::Part { code, .. } => code,
            Self::Refused { code, .. } => code,
            Self::Entropy(_) => "EntropyUnavailable",
            Self::Bug(_) => "InternalServerError",
        }
    }

    /// The command or step that mends it.
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::Folder { full: true, .. } => {
                Some("free some room and run the command again".into())
            }
            Self::NotEmpty(_) => {
                Some("custody --data-dir EMPTY_FOLDER recovery-kit restore --file FILE".into())
            }
            Self::NewerFormat { .. } => Some("use the newer custody that wrote it".into()),
            Self::KeysMissing(_) => {
                Some("custody recovery-kit restore --file FILE --data-dir EMPTY_FOLDER".into())
            }
            Self::Folder { .. } | Self::Damaged { .. } => {
                Some("custody --data-dir ANOTHER_FOLDER …, or mend owner and mode".into())
            }
            Self::Part { fix, .. } => fix.map(str::to_owned),
            Self::Refused { .. } | Self::Entropy(_) | Self::Bug(_) => None,
        }
    }
}

/// A part's own error.
pub(crate) fn part(code: &'static str, error: &dyn std::error::Error) -> StartError {
    StartError::Part { code, message: error.to_string(), fix: None }
}

/// The code of a job that somebody cancelled.
pub(crate) const CANCELLED: &str = "JobCancelled";
/// The code of a job whose server ended before it was done.
pub(crate) const INTERRUPTED: &str = "JobInterrupted";

/// The warning of a point that its policy asks to archive, where no archive tier is.
pub(crate) const ARCHIVE_TIER_ABSENT: &str = "ArchiveTierAbsent";

/// The warning of a drill that did not find what it should.
pub(crate) const DRILL_FAILED: &str = "DrillFailed";

/// Why a task fails: what its job shows, and whether it was stopped on request.
#[derive(Debug)]
pub(crate) enum TaskError {
    /// Somebody asked to stop.
    Cancelled,
    /// It failed.
    Failed(Refusal),
}

impl From<Refusal> for TaskError {
    fn from(refusal: Refusal) -> Self {
        // A pause that was cancelled ends as a lease does, with the reason.
        if refusal.code == CANCELLED { Self::Cancelled } else { Self::Failed(refusal) }
    }
}

impl From<custody_resources::Stop> for TaskError {
    fn from(stop: custody_resources::Stop) -> Self {
        match stop {
            custody_resources::Stop::Refused(refusal) => Self::Failed(*refusal),
            custody_resources::Stop::Needs(query) => {
                Self::Failed(Refusal::bug(format!("{query:?} was asked outside a transaction")))
            }
        }
    }
}
