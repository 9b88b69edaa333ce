//! Why the store cannot do what it is asked.

use custody_names::OperationId;
use custody_resources::Refusal;
use rusqlite::ErrorCode;

/// A fault of the store, or a rule of its operations that the caller broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process held the write lock for longer than [`crate::BUSY_TIMEOUT`]. Retry.
    #[error("the records are locked by another process: it has been writing for too long")]
    Busy,
    /// The disk is full.
    #[error("the records cannot be written: the disk is full")]
    Full,
    /// The file, or a row in it, is not what was written.
    #[error("the records are damaged: {0}")]
    Damaged(String),
    /// A later version of custody wrote the file. Nothing was changed.
    #[error("the records have format {found}, this version knows formats up to {known}")]
    NewerFormat {
        /// The number in the file.
        found: u32,
        /// The newest number this version knows.
        known: u32,
    },
    /// The file is a database of another program. Nothing was changed.
    #[error("the file is no record store of custody (application id {0:#010x})")]
    Foreign(u32),
    /// The file cannot be opened or written, by its permissions or its medium.
    #[error("the records cannot be opened for writing: {0}")]
    Unavailable(String),
    /// Any other fault of the database.
    #[error("the records cannot be used: {0}")]
    Failed(#[source] rusqlite::Error),
    /// A plan asked for more than [`crate::ROUNDS_MAX`] things: our bug.
    #[error("a plan has not come to an end after {0} questions")]
    Unsettled(usize),
    /// No operation bears this id.
    #[error("there is no operation {0}")]
    OperationNotFound(OperationId),
    /// The operation is not, or not any more, carried out by the process that wrote.
    #[error("operation {id} is carried out by {owner:?}")]
    OperationTakenOver {
        /// The operation.
        id: OperationId,
        /// Who carries it out.
        owner: String,
    },
    /// The operation has ended; nothing about it changes any more.
    #[error("operation {0} has ended")]
    OperationEnded(OperationId),
}

impl StoreError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Busy => "RecordsBusy",
            Self::Full => "RecordsFull",
            Self::Damaged(_) => "RecordsDamaged",
            Self::NewerFormat { .. } => "RecordsNewerFormat",
            Self::Foreign(_) => "RecordsForeign",
            Self::Unavailable(_) => "RecordsUnavailable",
            Self::Failed(_) => "RecordsFailed",
            Self::Unsettled(_) => "InternalServerError",
            Self::OperationNotFound(_) => "OperationNotFound",
            Self::OperationTakenOver { .. } => "OperationTakenOver",
            Self::OperationEnded(_) => "OperationEnded",
        }
    }

    /// What mends it, where somebody can.
    pub fn fix(&self) -> Option<&'static str> {
        match self {
            Self::Busy => Some("repeat; custody job list shows what is running"),
            Self::Full => Some("free some space on the disk of the data folder and repeat"),
            Self::Damaged(_) => Some(
                "move records.db aside and run: custody repair (recovery points are untouched)",
            ),
            Self::NewerFormat { .. } => {
                Some("use the version of custody that wrote it, or a later one")
            }
            Self::Foreign(_) => Some("name custody's own folder with --data-dir"),
            Self::Unavailable(_) => {
                Some("make the data folder and its files writable for the user that runs custody")
            }
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Busy)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged(error.to_string())
            }
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Failed(error),
        }
    }
}

/// Why a plan was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The plan refused, or its writes met a conflict; what the refusal wanted kept is stored.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The store failed; nothing is stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Refusal> for ApplyError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<rusqlite::Error> for ApplyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}
