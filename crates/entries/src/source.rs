//! The port through which a backup reads.

use crate::{ChangedBlocks, Entry, Metadata, Warning, Xattr};

/// Something that can be backed up: it walks itself and tells a [`Sink`] what it finds.
pub trait Source: Send {
    /// Walks everything depth first. Within a folder, entries come in byte order of their names.
    /// What cannot be read is told to [`Sink::warn`] and left out; the walk goes on.
    ///
    /// # Errors
    /// Only what ends the whole walk: the top does not exist or cannot be listed.
    fn walk(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError>;
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Stop at once without an error: the job was cancelled or has failed for its own reason.
    Stop,
}

/// Takes what a [`Source`] finds. The calls nest: `folder`, then its entries, then `leave`.
pub trait Sink {
    /// The metadata of the top folder itself, told before anything else. The top is no entry: what
    /// lies in it is told directly. Not called when the top is made up, as for several paths.
    fn root(&mut self, _metadata: Metadata) -> Flow {
        Flow::Continue
    }

    /// A folder begins; what follows until the matching [`Sink::leave`] lies in it.
    fn folder(&mut self, folder: Entry) -> Flow;

    /// The folder that began last ends.
    fn leave(&mut self) -> Flow;

    /// The extended attributes of a file that is surely the same as when it was last read, whose
    /// [`Entry`] lacks nothing but them: they need not be read again, for its time of change
    /// would show that one was set.
    fn known_xattrs(&mut self, _file: &Entry) -> Option<Vec<Xattr>> {
        None
    }

    /// A regular file. `content` need not be opened if the file is known to be unchanged, and
    /// may be opened later and on another thread.
    fn file(&mut self, file: Entry, content: Box<dyn Content>) -> Flow;

    /// Any other entry: symbolic link, pipe, socket, device node.
    fn other(&mut self, entry: Entry) -> Flow;

    /// Something was left out or is doubtful.
    fn warn(&mut self, warning: Warning);
}

/// The content of one file, not yet opened.
pub trait Content: Send {
    /// Opens it for reading. Never follows a link and never blocks on something that is no
    /// regular file any more.
    fn open(&self) -> Result<Box<dyn ContentReader>, SourceError>;

    /// The path below the source, for warnings.
    fn path(&self) -> &[u8];

    /// Whether it is a block device: it is cut in blocks, and nothing but its bytes tells whether it
    /// has changed.
    fn is_device(&self) -> bool {
        false
    }

    /// What of it has changed since an earlier state, if whoever gives it knows.
    fn changed(&self) -> Option<&ChangedBlocks> {
        None
    }

    /// Whether it is a stream: it can be read once, and only its end shows how long it is.
    fn is_stream(&self) -> bool {
        false
    }
}

/// What comes next in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// This many bytes were put at the start of the buffer.
    Data(usize),
    /// This many zero bytes that take no room on the source's disk; they were not read.
    Hole(u64),
    /// Nothing more.
    End,
}

/// Reads one file from front to back.
pub trait ContentReader: Send {
    /// The next segment. `Data` fills as much of `buffer` as it can before a hole or the end.
    fn next(&mut self, buffer: &mut [u8]) -> Result<Segment, SourceError>;

    /// Goes to `offset`, where the next segment begins. False if it cannot.
    fn seek(&mut self, _offset: u64) -> bool {
        false
    }

    /// Says, after the last read, whether the file stood still meanwhile.
    fn settle(&mut self) -> Result<Settlement, SourceError>;
}

/// Whether a file stood still while it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Size, times and identity are as they were before the first read.
    Steady,
    /// It changed: what was read may mix two states (a torn read) and must be reported.
    Changed,
}

/// Why a source, or one entry of it, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// A stable code, listed in `docs/errors.md`, for example `SourceNotFound`.
    pub code: &'static str,
    /// What and why, with the path escaped for a terminal.
    pub message: String,
}
