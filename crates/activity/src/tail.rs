//! The end of the chain: where the next line goes.

use std::path::Path;

use crate::line::{Decoded, decode};
use crate::segment::{Lines, Segment};
use crate::{Content, Fault, LedgerError, LineHash, Note, Position};

/// The format this code writes.
pub(crate) const FORMAT: u32 = 1;

/// How much of a damaged tail is kept as text, in bytes.
const EVIDENCE_BYTES_MAX: usize = 4_096;

/// The end of the chain as found on the disk.
#[derive(Clone)]
pub(crate) struct Tail {
    /// The last line; [`Position::ORIGIN`] if there is none.
    pub(crate) position: Position,
    /// The last segment, or the first one to be.
    pub(crate) segment: Segment,
    /// Where the next line goes in it, in bytes from its start.
    pub(crate) offset: u64,
    /// The segment has its `begin` note.
    pub(crate) begun: bool,
    /// The key that this note names.
    pub(crate) public_key: Option<String>,
    /// The last line signs the one before.
    pub(crate) signed: bool,
    /// A fault to be recorded before anything else.
    pub(crate) fault: Option<Note>,
}

impl Tail {
    /// Finds the end. Reads the last segment, and the one before if the last is still empty.
    pub(crate) fn find(folder: &Path) -> Result<Self, LedgerError> {
        let mut segments = Segment::list(folder)?;
        let segment = segments.pop().unwrap_or_else(|| Segment::at(folder, 1));
        let lines = segment.lines()?;
        if lines.count() > 0 {
            return Self::of(segment, &lines);
        }
        let before = match segments.pop() {
            Some(before) => Self::of(before.clone(), &before.lines()?)?.position,
            None => Position::ORIGIN,
        };
        Ok(Self {
            position: before,
            segment,
            offset: 0,
            begun: false,
            public_key: None,
            signed: false,
            fault: torn(lines.fragment()),
        })
    }

    /// Whether the files still end where this tail says. Lines are only ever added, and a segment
    /// that follows begins at the next number, so length and that name are proof.
    pub(crate) fn holds(&self, folder: &Path) -> bool {
        let length = self.segment.path.metadata().map(|file| file.len());
        let next = Segment::at(folder, self.position.sequence + 1);
        length.is_ok_and(|length| length == self.offset)
            && (next.first == self.segment.first || !next.path.exists())
    }

    fn of(segment: Segment, lines: &Lines) -> Result<Self, LedgerError> {
        let begin = lines.line(0).and_then(|line| decode(line).ok()).and_then(begin);
        let (format, public_key) = begin.unwrap_or((FORMAT, None));
        if format > FORMAT {
            return Err(LedgerError::NewerFormat { segment: segment.name(), format });
        }
        let last = lines.line(lines.count().saturating_sub(1)).unwrap_or_default();
        let decoded = decode(last).map(|line| line.entry);
        let unreadable = decoded.is_err().then(|| evidence(Fault::Unreadable, last));
        let sequence = (segment.first + lines.count() as u64).saturating_sub(1);
        let counted = Position { sequence, hash: LineHash::of(last) };
        Ok(Self {
            position: decoded.as_ref().map_or(counted, |entry| entry.position),
            offset: lines.whole_bytes() as u64,
            begun: true,
            public_key,
            signed: decoded
                .is_ok_and(|entry| matches!(entry.content, Content::Note(Note::Head { .. }))),
            fault: torn(lines.fragment()).or(unreadable),
            segment,
        })
    }
}

/// Format and key of a `begin` note.
fn begin(line: Decoded) -> Option<(u32, Option<String>)> {
    match line.entry.content {
        Content::Note(Note::Begin { format, public_key }) => Some((format, public_key)),
        _ => None,
    }
}

/// The note on a last line without an end.
fn torn(fragment: &[u8]) -> Option<Note> {
    (!fragment.is_empty()).then(|| evidence(Fault::Torn, fragment))
}

fn evidence(fault: Fault, found: &[u8]) -> Note {
    let text = found.get(..EVIDENCE_BYTES_MAX).unwrap_or(found);
    Note::Repaired {
        fault,
        bytes: found.len() as u64,
        sha256: LineHash::of(found),
        text: String::from_utf8_lossy(text).into_owned(),
    }
}
