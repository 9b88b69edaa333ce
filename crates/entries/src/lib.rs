//! What a source yields and a restore gives back: entries, their metadata and the two ports.
//!
//! `sources` implements [`Source`] and [`Target`] for folders; `repository` drives them. Neither
//! knows the other (ARCHITECTURE.md, "Walls that were moved"). How an entry is stored is
//! `repository`'s business (`docs/formats/repository.md`), not this crate's.

mod changed_blocks;
mod display_path;
mod entry;
mod source;
mod target;

pub use changed_blocks::ChangedBlocks;
pub use display_path::{display_line, display_path, is_plain, shell_word};
pub use entry::{
    DeviceNumber, Entry, EntryKind, EntryName, FileIdentity, Metadata, TimeSpec, Xattr,
};
pub use source::{Content, ContentReader, Flow, Segment, Settlement, Sink, Source, SourceError};
pub use target::{
    FilePlace, FileWriter, Judge, Landing, PlacedFiles, StandingFile, Target, TargetError,
};

/// Something that did not stop the job but that the operator must see; the job ends
/// `CompletedWithWarnings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A stable code, listed in `docs/errors.md`, for example `SourceFileChanged`.
    pub code: &'static str,
    /// The path below the source or target, as bytes (names need not be UTF-8).
    pub path: Vec<u8>,
    /// What happened, in words.
    pub message: String,
}
