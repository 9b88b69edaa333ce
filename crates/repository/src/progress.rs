//! How long work tells where it is, and is told to stop.

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Reading the source and storing what is new.
    Reading,
    /// Writing index, point and log entry.
    Committing,
    /// Writing files to a target.
    Restoring,
    /// Reading objects and comparing them with what they should be.
    Checking,
    /// Finding out which packs are needed.
    Planning,
    /// Copying what is still needed out of packs that go.
    Repacking,
    /// Deleting what nothing needs.
    Deleting,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// Files done (objects, in a check or prune).
    pub files: u64,
    /// Bytes done.
    pub bytes: u64,
    /// Plain bytes that were not stored before.
    pub new_bytes: u64,
}

/// Who watches a job. Called from many threads, often: at least once per MiB or file batch.
pub trait Progress: Send + Sync {
    /// Takes note of where the job is.
    fn report(&self, status: &Status);

    /// Is told, where that is known beforehand, how many files and bytes there will be.
    fn expect(&self, _files: u64, _bytes: u64) {}

    /// Whether the job is to stop at the next safe place. Asked before every batch.
    fn is_cancelled(&self) -> bool;
}

/// Watches nothing and never cancels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn report(&self, _status: &Status) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}
