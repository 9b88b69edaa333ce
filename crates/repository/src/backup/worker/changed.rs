//! Images of which somebody lists what has changed since the parent point
//! (docs/formats/changed-blocks.md): the rest is taken over, and a part of it read all the same.

use std::ops::Range;

use custody_ambient::random_array;
use custody_entries::{
    ChangedBlocks, Content as Source, ContentReader, Entry, EntryKind, Segment, Warning,
};

use super::{ExtentList, Outcome, Run, Worker, too_many_parts};
use crate::RepositoryError;
use crate::chunk::{BLOCK_BYTES, Chunker, Continuation};
use crate::content::{Content, Extent};
use crate::extents::Extents;
use crate::read::ChunkReader;

/// Of so many blocks that are said to be unchanged one is read.
const SAMPLED_ONE_IN: u64 = 32;

/// How reading by a list went wrong, so that everything is read.
enum Fault {
    /// A block that it does not name has changed.
    Wrong,
    /// What the parent point has of the image cannot be read.
    Lost,
    /// The image cannot be read by it.
    Source(Outcome),
    Engine(RepositoryError),
}

impl From<RepositoryError> for Fault {
    fn from(error: RepositoryError) -> Self {
        Self::Engine(error)
    }
}

impl Worker<'_, '_> {
    /// Reads what has changed of an image and takes over the rest of what the parent point has. None
    /// if all of it is to be read: nobody lists anything, or what is listed cannot be used.
    pub(super) fn read_changed(
        &mut self,
        entry: &Entry,
        source: &dyn Source,
        earlier: Option<&Content>,
    ) -> Result<Option<Outcome>, RepositoryError> {
        let Some(changed) = source.changed() else { return Ok(None) };
        let path = source.path().to_vec();
        let shared = self.shared;
        let unused = |path, why| {
            let message = format!("the list of changed blocks was not used: {why}");
            shared.warn(Warning { code: "SourceHintsUnused", path, message });
            Ok(None)
        };
        let earlier = match self.usable(changed, entry, earlier) {
            Ok(earlier) => earlier,
            Err(why) => return unused(path, why),
        };
        let mut reader = match source.open() {
            Ok(reader) => reader,
            Err(error) => return Ok(Some(Outcome::Unreadable(error))),
        };
        // Taken out so that chunks in it can be stored while it is borrowed.
        let mut buffer = std::mem::take(&mut self.buffer);
        let cut = self.cut_changed(changed, earlier, reader.as_mut(), &mut buffer);
        self.buffer = buffer;
        match cut {
            Ok(extents) => {
                let settled = match reader.settle() {
                    Ok(settled) => settled,
                    Err(error) => return Ok(Some(Outcome::Unreadable(error))),
                };
                let content = self.describe(Chunker::Fixed, extents)?;
                Ok(Some(Outcome::Read { content, settled }))
            }
            Err(Fault::Wrong) => {
                let message = "a block that the list of changed blocks does not name has changed; \
                               all of it was read";
                let message = message.to_owned();
                self.shared.warn(Warning { code: "SourceHintsWrong", path, message });
                Ok(None)
            }
            Err(Fault::Lost) => unused(path, "what that recovery point holds of it cannot be read"),
            Err(Fault::Source(outcome)) => Ok(Some(outcome)),
            Err(Fault::Engine(error)) => Err(error),
        }
    }

    /// What the parent point has of the image, or why the list cannot be used with it.
    fn usable<'e>(
        &self,
        changed: &ChangedBlocks,
        entry: &Entry,
        earlier: Option<&'e Content>,
    ) -> Result<&'e Content, &'static str> {
        let parent = self.shared.parent.ok_or("there is no earlier recovery point")?;
        if parent.to_string() != changed.since() {
            return Err("it starts from another recovery point than the newest");
        }
        let earlier = earlier.ok_or("that recovery point does not hold it whole")?;
        if earlier.chunker != Chunker::Fixed {
            return Err("that recovery point does not hold it in blocks");
        }
        if (EntryKind::File { size: earlier.size }) != entry.kind || earlier.size != changed.size()
        {
            return Err("it had another size then");
        }
        Ok(earlier)
    }

    /// Goes through the extents of the parent point; what is listed, and what is not reliably stored,
    /// is read.
    fn cut_changed(
        &mut self,
        changed: &ChangedBlocks,
        earlier: &Content,
        reader: &mut dyn ContentReader,
        buffer: &mut [u8],
    ) -> Result<ExtentList, Fault> {
        let seed = self.random_below(SAMPLED_ONE_IN)?;
        let (extents, chunker) = (ExtentList::default(), Some(Chunker::Fixed));
        let mut run = Run { extents, chunker, offset: 0, filled: 0 };
        let mut pieces = Pieces::of(earlier, &self.shared.reader, changed);
        // From here to where the walk is, everything is to be read in one go.
        let mut unread: Option<u64> = None;
        let mut at = 0_u64;
        for number in 0_u64.. {
            let Some(extent) = pieces.next()? else { break };
            if run.extents.is_full() {
                return Err(Fault::Source(Outcome::Unreadable(too_many_parts())));
            }
            let range = at..at.saturating_add(extent.length);
            at = range.end;
            let is_kept = !changed.touches(&range)
                && match &extent.chunk {
                    Some(name) => self.shared.take_over(name)?,
                    None => true,
                };
            if !is_kept {
                unread.get_or_insert(range.start);
                continue;
            }
            if let Some(start) = unread.take() {
                self.read_range(start..range.start, &mut run, reader, buffer)?;
            }
            let is_sampled = extent.chunk.is_none() || number % SAMPLED_ONE_IN == seed;
            if is_sampled && !self.is_still(&extent, range.start, reader, buffer)? {
                return Err(Fault::Wrong);
            }
            self.keep(extent, &mut run)?;
        }
        if let Some(start) = unread {
            self.read_range(start..at, &mut run, reader, buffer)?;
        }
        Ok(run.extents)
    }

    /// A number below `limit`, which nobody foresees.
    fn random_below(&self, limit: u64) -> Result<u64, RepositoryError> {
        let bytes = random_array::<8>(self.shared.keys.entropy)?;
        Ok(u64::from_be_bytes(bytes) % limit.max(1))
    }

    fn keep(&mut self, extent: Extent, run: &mut Run) -> Result<(), RepositoryError> {
        if extent.chunk.is_some() {
            run.offset = run.offset.saturating_add(extent.length);
            self.add_chunk(run, extent)?;
        } else {
            run.skip(extent.length);
        }
        self.shared.have_read(extent.length)
    }

    /// Reads a part of the image and cuts it into blocks.
    fn read_range(
        &mut self,
        range: Range<u64>,
        run: &mut Run,
        reader: &mut dyn ContentReader,
        buffer: &mut [u8],
    ) -> Result<(), Fault> {
        let mut at = range.start;
        seek(reader, at)?;
        while at < range.end {
            let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
            let end = run.filled.saturating_add(left).min(buffer.len());
            let room = buffer.get_mut(run.filled..end).unwrap_or_default();
            let length = match reader.next(room) {
                Ok(Segment::Data(length)) if length > 0 => {
                    run.filled += length;
                    self.cut_run(run, buffer, Continuation::More)?;
                    length as u64
                }
                Ok(Segment::Hole(length)) => {
                    self.cut_run(run, buffer, Continuation::End)?;
                    let length = length.min(range.end - at);
                    run.skip(length);
                    length
                }
                // It is shorter than it was: that shows in its size.
                Ok(_) => break,
                Err(error) => return Err(Fault::Source(Outcome::Unreadable(error))),
            };
            self.shared.have_read(length)?;
            at += length;
        }
        Ok(self.cut_run(run, buffer, Continuation::End)?)
    }

    /// Whether an extent (of a hole one block) is what it was. `run` has nothing in the buffer now.
    fn is_still(
        &self,
        extent: &Extent,
        at: u64,
        reader: &mut dyn ContentReader,
        buffer: &mut [u8],
    ) -> Result<bool, Fault> {
        let blocks = extent.length.div_ceil(BLOCK_BYTES as u64);
        let (at, length) = if extent.chunk.is_some() {
            (at, extent.length)
        } else {
            let skipped = self.random_below(blocks)? * BLOCK_BYTES as u64;
            (at + skipped, (extent.length - skipped).min(BLOCK_BYTES as u64))
        };
        seek(reader, at)?;
        let length = usize::try_from(length).unwrap_or(0);
        let room = buffer.get_mut(..length).unwrap_or_default();
        let mut filled = 0;
        while filled < room.len() {
            match reader.next(room.get_mut(filled..).unwrap_or_default()) {
                Ok(Segment::Data(more)) if more > 0 => filled += more,
                Ok(Segment::Hole(more)) => {
                    let more = usize::try_from(more).unwrap_or(usize::MAX);
                    let end = filled.saturating_add(more).min(room.len());
                    room.get_mut(filled..end).unwrap_or_default().fill(0);
                    filled = end;
                }
                Ok(_) => return Ok(false),
                Err(error) => return Err(Fault::Source(Outcome::Unreadable(error))),
            }
        }
        Ok(match &extent.chunk {
            Some(name) => self.shared.knife.name(room) == *name,
            None => room.iter().all(|byte| *byte == 0),
        })
    }
}

fn seek(reader: &mut dyn ContentReader, at: u64) -> Result<(), Fault> {
    if reader.seek(at) { Ok(()) } else { Err(RepositoryError::Bug("an image without seek").into()) }
}

/// What the parent point has of an image, with holes cut where what is listed begins and ends, at the
/// bounds of blocks.
struct Pieces<'p, 'r> {
    extents: Extents<'p, 'r>,
    changed: &'p ChangedBlocks,
    at: u64,
    /// Pieces of the hole at hand.
    holes: std::vec::IntoIter<Range<u64>>,
}

impl<'p, 'r> Pieces<'p, 'r> {
    fn of(content: &'p Content, reader: &'p ChunkReader<'r>, changed: &'p ChangedBlocks) -> Self {
        let extents = Extents::of(content, reader);
        Self { extents, changed, at: 0, holes: Vec::new().into_iter() }
    }

    fn next(&mut self) -> Result<Option<Extent>, Fault> {
        loop {
            if let Some(range) = self.holes.next() {
                return Ok(Some(hole(range)));
            }
            let Some(extent) = self.extents.next().map_err(|_| Fault::Lost)? else {
                return Ok(None);
            };
            let range = self.at..self.at.saturating_add(extent.length);
            self.at = range.end;
            if extent.chunk.is_some() {
                return Ok(Some(extent));
            }
            self.holes = self.changed.split(range, BLOCK_BYTES as u64).into_iter();
        }
    }
}

fn hole(range: Range<u64>) -> Extent {
    Extent { length: range.end - range.start, chunk: None }
}
