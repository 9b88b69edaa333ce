//! The port through which a restore writes.

use crate::{Entry, Metadata, Warning};

/// Where entries are restored to. Calls nest as for a [`crate::Sink`]. A target never leaves its
/// own top, never follows a link that stands in the way, and never overwrites against its policy.
///
/// What cannot be set (an owner, an attribute) is not an error: it is kept for
/// [`Target::take_warnings`] and the restore goes on.
pub trait Target: Send {
    /// Says what metadata the top itself shall have once everything in it stands.
    fn root(&mut self, _metadata: &Metadata) -> Result<(), TargetError> {
        Ok(())
    }

    /// Makes or enters a folder. `Landing::Skipped` means that nothing in it can be restored; it
    /// was not entered, so no [`Target::leave`] follows.
    fn folder(&mut self, folder: &Entry) -> Result<Landing, TargetError>;

    /// Sets the metadata of the folder entered last, now that its entries stand, and leaves it.
    fn leave(&mut self) -> Result<(), TargetError>;

    /// Begins a regular file, or `None` if the one in place is to be kept.
    fn file(&mut self, file: &Entry) -> Result<Option<Box<dyn FileWriter>>, TargetError>;

    /// Makes a hard link to a file restored before, `earlier` being its path below the top.
    fn hard_link(&mut self, entry: &Entry, earlier: &[u8]) -> Result<Landing, TargetError>;

    /// Makes a symbolic link, pipe, socket or device node.
    fn other(&mut self, entry: &Entry) -> Result<Landing, TargetError>;

    /// The warnings gathered since the last call.
    fn take_warnings(&mut self) -> Vec<Warning>;
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// It stands.
    Made,
    /// What was there was kept, by policy or because the same already stood there.
    Kept,
    /// It could not be made; a warning says why.
    Skipped,
}

/// Writes one file; it appears under its name only when finished.
pub trait FileWriter: Send {
    /// Writes `bytes` at `offset`. What is never written stays a hole.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), TargetError>;

    /// Sets length and metadata and puts the file in place. Dropping the writer without this
    /// leaves nothing behind.
    fn finish(self: Box<Self>) -> Result<Vec<Warning>, TargetError>;
}

/// Why a restore cannot go on as a whole (target full, not writable, gone).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TargetError {
    /// A stable code, listed in `docs/errors.md`, for example `TargetFull`.
    pub code: &'static str,
    /// What and why, with the path escaped for a terminal.
    pub message: String,
}
