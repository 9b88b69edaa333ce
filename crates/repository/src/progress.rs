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
    /// Following points, folder by folder, to all that they need.
    Following,
    /// Finding out which packs are needed.
    Planning,
    /// Copying what is still needed out of packs that go.
    Repacking,
    /// Describing packs anew.
    Indexing,
    /// Deleting what nothing needs.
    Deleting,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// Files done; other things where a phase is about others: objects while checking and indexing, folders
    /// while following and planning, packs while repacking and deleting.
    pub files: u64,
    /// Bytes done.
    pub bytes: u64,
    /// Plain bytes that were not stored before.
    pub new_bytes: u64,
}

/// How much there is to do in a phase, counted as [`Status`] counts what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// Files, or what the phase is about.
    pub files: u64,
    /// Bytes; none where only the number tells how far the phase is.
    pub bytes: u64,
    /// How well this is known.
    pub precision: Precision,
}

/// How well a total is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// It will be so much, but for what cannot be read.
    Exact,
    /// It was so much the last time.
    Estimate,
}

impl Total {
    /// So much.
    pub const fn exact(files: u64, bytes: u64) -> Self {
        Self { files, bytes, precision: Precision::Exact }
    }

    /// About so much.
    pub const fn estimate(files: u64, bytes: u64) -> Self {
        Self { files, bytes, precision: Precision::Estimate }
    }
}

/// Who watches a job. Called from many threads, often: at least once per MiB or file batch.
pub trait Progress: Send + Sync {
    /// Takes note of where the job is.
    fn report(&self, status: &Status);

    /// Is told, as soon as that is known, how much the phase that was reported last (or, before any
    /// report, the first) has to do. What is told later holds.
    fn expect(&self, _total: Total) {}

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
