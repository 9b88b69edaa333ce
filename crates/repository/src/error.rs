//! What can go wrong, told apart by who must act.

use custody_ambient::EntropyUnavailable;
use custody_blob_store::{BlobName, InvalidBlobName, StoreError};
use custody_entries::{SourceError, TargetError};
use custody_envelope::EnvelopeError;
use custody_names::VaultGuid;

use crate::log::LogError;

/// Why the repository cannot do what it was asked. [`RepositoryError::code`] is stable.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The caller gave a prefix that several points begin with.
    #[error("{0:?} fits several recovery points; give more digits")]
    PointAmbiguous(String),
    /// There is no such point.
    #[error("there is no recovery point {0}; `custody points` lists those there are")]
    PointNotFound(String),
    /// The point holds nothing under this path.
    #[error("the recovery point holds no {0}")]
    PathNotFound(String),
    /// The job was cancelled; nothing was committed.
    #[error("the job was cancelled")]
    Cancelled,

    /// A repository stands there already.
    #[error("a repository stands there already")]
    AlreadyExists,
    /// No repository stands there.
    #[error("the store holds no custody repository (no object {0:?})", crate::marker::MARKER)]
    NotFound,
    /// The repository was written by a newer version; nothing was read or written.
    #[error(
        "the repository has format {found}, this version knows up to {known}; use a newer custody"
    )]
    NewerFormat {
        /// The repository's format version.
        found: u64,
        /// The newest one that this build reads.
        known: u64,
    },
    /// The repository belongs to another vault than the keys.
    #[error("the repository belongs to vault {found}, the keys to vault {expected}")]
    ForeignVault {
        /// The vault GUID in the repository.
        found: VaultGuid,
        /// The vault GUID of the keys.
        expected: VaultGuid,
    },
    /// An object is missing, cut, changed or makes no sense; others are not affected by it.
    #[error("{object} is damaged: {what}; `custody verify --read-data` says what it costs")]
    Damaged {
        /// The object's name, or what stands in for it.
        object: String,
        /// What is wrong.
        what: String,
    },
    /// The store's device cannot read an object; others are not affected by it, and another time it
    /// may be read.
    #[error("{object} cannot be read: {source}")]
    Unreadable {
        /// The object's name.
        object: String,
        /// What the store said.
        source: StoreError,
    },
    /// A chunk that the new point needs is lost; the files that hold it must be read again.
    #[error("a chunk taken over from an earlier point is lost; run the backup again")]
    ChunkLost,

    /// The log refuses, or cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys cannot be used.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The source cannot be read as a whole.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The target cannot be written as a whole.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyUnavailable),
    /// A file or stream that was to be written to cannot be.
    #[error("cannot write the output: {0}")]
    Output(String),

    /// A fault of this program.
    #[error("this is a bug in custody: {0}")]
    Bug(&'static str),
}

impl RepositoryError {
    /// The stable code, listed in `docs/errors.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PointAmbiguous(_) => "PointAmbiguous",
            Self::PointNotFound(_) => "PointNotFound",
            Self::PathNotFound(_) => "PointPathNotFound",
            Self::Cancelled => "JobCancelled",
            Self::AlreadyExists => "RepositoryAlreadyExists",
            Self::NotFound => "RepositoryNotFound",
            Self::NewerFormat { .. } => "RepositoryNewerFormat",
            Self::ForeignVault { .. } => "RepositoryForeignVault",
            Self::Damaged { .. } => "RepositoryDamaged",
            Self::Unreadable { source, .. } => source.code(),
            Self::ChunkLost => "RepositoryChunkLost",
            Self::Log(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Envelope(error) => error.code(),
            Self::Source(error) => error.code,
            Self::Target(error) => error.code,
            Self::Entropy(_) => "EntropyUnavailable",
            Self::Output(_) => "OutputNotWritable",
            Self::Bug(_) => "InternalError",
        }
    }

    /// What the vault's keys said, wherever they were asked.
    pub fn of_keys(&self) -> Option<&EnvelopeError> {
        match self {
            Self::Envelope(error) | Self::Log(LogError::Envelope(error)) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn damaged(object: impl ToString, what: impl ToString) -> Self {
        Self::Damaged { object: object.to_string(), what: what.to_string() }
    }

    /// What went wrong reading `object`: a fault of the device is the object's, any other the
    /// store's.
    pub(crate) fn reading(object: &BlobName, error: StoreError) -> Self {
        match error {
            StoreError::Device(_) => Self::Unreadable { object: object.to_string(), source: error },
            error => Self::Store(error),
        }
    }

    /// Whether the store has no room left.
    pub(crate) fn is_full(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Full(_))
                | Self::Log(
                    LogError::Store(StoreError::Full(_))
                        | LogError::Unclear { source: StoreError::Full(_), .. }
                )
        )
    }

    /// Whether only one object is at fault, so that others are still worth reading.
    pub(crate) fn is_local(&self) -> bool {
        self.is_lasting() || matches!(self, Self::Unreadable { .. })
    }

    /// Whether an object is lost for good, so that what only it leads to may be given up.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Store(StoreError::Short { .. }))
    }
}

impl From<InvalidBlobName> for RepositoryError {
    fn from(_: InvalidBlobName) -> Self {
        Self::Bug("an object name of our own making is refused")
    }
}

impl From<minicbor::encode::Error<std::convert::Infallible>> for RepositoryError {
    fn from(_: minicbor::encode::Error<std::convert::Infallible>) -> Self {
        Self::Bug("writing CBOR into memory failed")
    }
}

/// Bytes that do not follow the format; whoever knows the object's name turns it into
/// [`RepositoryError::Damaged`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl Malformed {
    pub(crate) fn in_object(self, object: impl ToString) -> RepositoryError {
        RepositoryError::damaged(object, self.0)
    }
}

impl From<minicbor::decode::Error> for Malformed {
    fn from(error: minicbor::decode::Error) -> Self {
        Self(format!("it is no valid CBOR ({error})"))
    }
}

impl From<&str> for Malformed {
    fn from(what: &str) -> Self {
        Self(what.to_owned())
    }
}
