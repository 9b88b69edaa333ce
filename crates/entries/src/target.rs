//! The port through which a restore writes.

use std::sync::Arc;

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

    /// Leaves the folder entered last, whose metadata are set when its entries stand: files in it
    /// may still be being written.
    fn leave(&mut self) -> Result<(), TargetError>;

    /// Begins a regular file, or says what becomes of the one in place.
    fn file(&mut self, file: &Entry) -> Result<FilePlace, TargetError>;

    /// Makes a hard link to a file restored before, `earlier` being its path below the top.
    fn hard_link(&mut self, entry: &Entry, earlier: &[u8]) -> Result<Landing, TargetError>;

    /// Makes a symbolic link, pipe, socket or device node.
    fn other(&mut self, entry: &Entry) -> Result<Landing, TargetError>;

    /// What reads back files that this restore has put in place. None if nothing does.
    fn placed_files(&self) -> Option<Arc<dyn PlacedFiles>> {
        None
    }

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

/// What stands where a regular file belongs, and what becomes of it.
pub enum FilePlace {
    /// Nothing: the file is written.
    Free(Box<dyn FileWriter>),
    /// Something that the policy gives up: the file is written in its place.
    Replaced(Box<dyn FileWriter>),
    /// A file that looks like the one restored; who knows the content is to compare it.
    Standing(Box<dyn StandingFile>),
    /// The file itself by all that can be seen from outside: it was taken over unread.
    TakenOver,
    /// Something else, which stays.
    Kept,
    /// Nothing can be made there; a warning says why.
    Refused,
}

/// Files that a restore has put in place. Others may have changed them since: whoever reads them looks
/// at what they hold.
pub trait PlacedFiles: Send + Sync {
    /// Fills `room` from the file at `path` below the target's top, from `offset` on. Whether all of
    /// it was there and could be read.
    fn read(&self, path: &[u8], offset: u64, room: &mut [u8]) -> bool;
}

/// Whether bytes are the ones that belong there.
pub type Judge<'j> = dyn FnMut(&[u8]) -> bool + 'j;

/// A file that stands where one is to be restored, and looks like it.
pub trait StandingFile: Send {
    /// Whether `length` bytes at `offset` can be read and `is_right` takes them.
    fn holds(&mut self, offset: u64, length: usize, is_right: &mut Judge<'_>) -> bool;

    /// Whether `length` bytes at `offset` can be read and are all zero.
    fn is_hollow(&mut self, offset: u64, length: u64) -> bool;

    /// Its content is right: it stays.
    fn keep(self: Box<Self>) -> Result<Vec<Warning>, TargetError>;

    /// Its content is wrong: what is written in its place, or `None` if the policy keeps it all the
    /// same (a warning says so).
    fn replace(self: Box<Self>) -> Result<Option<Box<dyn FileWriter>>, TargetError>;
}

/// Writes one file; it appears under its name only when finished.
pub trait FileWriter: Send {
    /// Writes `bytes` at `offset`. What is never written stays a hole.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), TargetError>;

    /// Makes `length` bytes at `offset` that are on this machine already part of the file, if there
    /// are any and `is_right` takes them: an interrupted restore wrote them, or they stand in the
    /// file that is replaced. Whether it did; if not they are to be written.
    fn take_over(
        &mut self,
        _offset: u64,
        _length: usize,
        _is_right: &mut Judge<'_>,
    ) -> Result<bool, TargetError> {
        Ok(false)
    }

    /// Makes sure that `length` bytes at `offset`, which will not be written, are zero.
    fn hole(&mut self, _offset: u64, _length: u64) -> Result<(), TargetError> {
        Ok(())
    }

    /// The restore stops before the file is complete: what was written may be kept for the next.
    fn suspend(self: Box<Self>) {}

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
