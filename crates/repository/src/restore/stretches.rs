//! The stretches of a file, each of which one worker writes.

use crate::RepositoryError;
use crate::content::{Content, Extent};
use crate::extents::Extents;
use crate::read::ChunkReader;

/// One worker writes this much of a file at a time, in bytes; a larger file occupies several.
const STRETCH_BYTES: u64 = 8 << 20;
/// Most extents of a stretch: those of a file of tiny chunks or holes fill it first.
const STRETCH_EXTENTS_MAX: usize = 4_096;

/// A part of a file.
pub(super) struct Stretch {
    /// Where in the file it begins.
    pub(super) offset: u64,
    pub(super) extents: Vec<Extent>,
}

/// Cuts a file into stretches as they are asked for.
pub(super) struct Stretches<'e, 'r> {
    extents: Extents<'e, 'r>,
    /// The extent that the next stretch begins with.
    ahead: Option<Extent>,
    offset: u64,
}

impl Stretch {
    /// Bytes of it, holes included.
    pub(super) fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.length).sum()
    }
}

impl<'e, 'r> Stretches<'e, 'r> {
    /// Those of a file of this content.
    pub(super) fn of(
        content: &'e Content,
        reader: &'e ChunkReader<'r>,
    ) -> Result<Self, RepositoryError> {
        let mut extents = Extents::of(content, reader);
        let ahead = extents.next()?;
        Ok(Self { extents, ahead, offset: 0 })
    }

    /// Whether none is left. An empty file has none.
    pub(super) fn is_at_end(&self) -> bool {
        self.ahead.is_none()
    }

    /// The next one, empty at the end.
    pub(super) fn next(&mut self) -> Result<Stretch, RepositoryError> {
        let mut stretch = Stretch { offset: self.offset, extents: Vec::new() };
        let mut filled = 0;
        while filled < STRETCH_BYTES && stretch.extents.len() < STRETCH_EXTENTS_MAX {
            let Some(extent) = self.ahead else { break };
            self.offset = self.offset.saturating_add(extent.length);
            filled += if extent.chunk.is_some() { extent.length } else { 0 };
            stretch.extents.push(extent);
            self.ahead = self.extents.next()?;
        }
        Ok(stretch)
    }
}
