//! The extents of a content, one after the other: those of a file of any length in memory of one part of
//! its list for each level.

use minicbor::Decoder;

use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::content::{Content, Extent, decode_extent};
use crate::error::Malformed;
use crate::read::ChunkReader;

/// Most extents of one content.
pub(crate) const EXTENTS_MAX: u64 = u32::MAX as u64;

/// Most bytes that an extent or the head of a list takes, encoded.
const ENCODED_BYTES_MAX: usize = 1 + 9 + 2 + 32;

/// The extents of one level of a content, read as they are asked for.
pub(crate) struct Extents<'e, 'r> {
    reader: &'e ChunkReader<'r>,
    inline: std::slice::Iter<'e, Extent>,
    /// From the one whose parts are inline down to the one that is asked for.
    lists: Vec<List>,
    /// What the extents must add up to, if they are the content's own bytes.
    size: Option<u64>,
    total: u64,
}

impl<'e, 'r> Extents<'e, 'r> {
    /// Those that are the content's bytes.
    pub(crate) fn of(content: &'e Content, reader: &'e ChunkReader<'r>) -> Self {
        Self::of_level(content, 0, reader)
    }

    /// Those of a level: at 0 they are the content's bytes, above it the list of the level below.
    fn of_level(content: &'e Content, level: u8, reader: &'e ChunkReader<'r>) -> Self {
        let lists = (level..content.level).map(|_| List::default()).collect();
        let size = (level == 0).then_some(content.size);
        Self { reader, inline: content.extents.iter(), lists, size, total: 0 }
    }

    /// The next one; none at the end.
    ///
    /// # Errors
    /// [`RepositoryError::Damaged`] and the like if a part of the list cannot be had, and at the end if the
    /// extents do not add up to the content.
    pub(crate) fn next(&mut self) -> Result<Option<Extent>, RepositoryError> {
        let next = self.next_of(self.lists.len())?;
        self.total = match &next {
            Some(extent) => self.total.checked_add(extent.length),
            None => self.size.is_none_or(|size| size == self.total).then_some(self.total),
        }
        .ok_or_else(|| damaged("it does not add up to the content's size"))?;
        Ok(next)
    }

    /// The next extent of the list so far down.
    fn next_of(&mut self, depth: usize) -> Result<Option<Extent>, RepositoryError> {
        let Some(above) = depth.checked_sub(1) else { return Ok(self.inline.next().copied()) };
        loop {
            match self.list(above)?.next()? {
                Step::Extent(extent) => return Ok(Some(extent)),
                Step::End => return Ok(None),
                Step::Starved => {}
            }
            match self.next_of(above)? {
                Some(part) => {
                    let name = part.chunk.ok_or_else(|| damaged("it has a hole"))?;
                    let bytes = self.reader.chunk(&name)?;
                    if bytes.as_ref().len() as u64 != part.length {
                        return Err(damaged("a chunk has another length than it says"));
                    }
                    self.list(above)?.feed(bytes.as_ref());
                }
                None => self.list(above)?.is_fed = true,
            }
        }
    }

    fn list(&mut self, number: usize) -> Result<&mut List, RepositoryError> {
        self.lists.get_mut(number).ok_or(RepositoryError::Bug("a list of extents that is none"))
    }
}

/// A list being decoded.
#[derive(Default)]
struct List {
    /// Bytes of it at hand.
    bytes: Vec<u8>,
    /// How many of them are decoded.
    passed: usize,
    /// Extents that are still to come, once its head is decoded.
    left: Option<u64>,
    /// Whether no more bytes come.
    is_fed: bool,
}

enum Step {
    Extent(Extent),
    End,
    /// More bytes are needed.
    Starved,
}

impl List {
    fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.passed);
        self.passed = 0;
        self.bytes.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Result<Step, RepositoryError> {
        let rest = self.bytes.get(self.passed..).unwrap_or_default();
        if !self.is_fed && (self.left == Some(0) || rest.len() < ENCODED_BYTES_MAX) {
            return Ok(Step::Starved);
        }
        let mut cbor = Decoder::new(rest);
        let step = match self.left {
            None => {
                self.left = Some(head(&mut cbor).map_err(damaged_list)?);
                Step::Starved
            }
            Some(0) if rest.is_empty() => Step::End,
            Some(0) => return Err(damaged("bytes follow its end")),
            Some(left) => {
                self.left = Some(left - 1);
                Step::Extent(decode_extent(&mut cbor).map_err(damaged_list)?)
            }
        };
        self.passed += cbor.position();
        // The head alone: what follows it may be at hand.
        if matches!(step, Step::Starved) { self.next() } else { Ok(step) }
    }
}

/// How many extents a list says that it has.
fn head(cbor: &mut Decoder<'_>) -> Result<u64, Malformed> {
    match cbor.array()? {
        Some(count) if count <= EXTENTS_MAX => Ok(count),
        _ => Err("it has no length, or more extents than any file".into()),
    }
}

impl ChunkReader<'_> {
    /// Calls `visit` with every chunk that a content needs, those of its extent lists included,
    /// until it says false or fails. Whether it always said true.
    pub(crate) fn for_each_chunk(
        &self,
        content: &Content,
        visit: &mut dyn FnMut(&ChunkName) -> Result<bool, RepositoryError>,
    ) -> Result<bool, RepositoryError> {
        for level in (0..=content.level).rev() {
            let mut extents = Extents::of_level(content, level, self);
            while let Some(extent) = extents.next()? {
                if let Some(name) = &extent.chunk
                    && !visit(name)?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

fn damaged(what: &'static str) -> RepositoryError {
    damaged_list(what.into())
}

fn damaged_list(malformed: Malformed) -> RepositoryError {
    malformed.in_object("a list of extents")
}

#[cfg(test)]
mod tests {
    use minicbor::Encoder;

    use super::*;
    use crate::content::encode_extents;

    /// The extents of a list whose bytes come in pieces.
    fn decoded(bytes: &[u8], piece: usize) -> Result<Vec<Extent>, RepositoryError> {
        let (mut list, mut extents) = (List::default(), Vec::new());
        let mut pieces = bytes.chunks(piece);
        loop {
            match list.next()? {
                Step::Extent(extent) => extents.push(extent),
                Step::End => return Ok(extents),
                Step::Starved => match pieces.next() {
                    Some(piece) => list.feed(piece),
                    None => list.is_fed = true,
                },
            }
        }
    }

    fn encoded(count: u64) -> (Vec<Extent>, Vec<u8>) {
        let extent = |number: u64| {
            let chunk = (!number.is_multiple_of(3)).then_some(ChunkName([7; 32]));
            Extent { length: 1 + number * 300, chunk }
        };
        let (extents, mut bytes): (Vec<Extent>, _) = ((0..count).map(extent).collect(), Vec::new());
        encode_extents(&extents, &mut Encoder::new(&mut bytes)).unwrap();
        (extents, bytes)
    }

    #[test]
    fn a_list_is_the_same_however_its_bytes_come() {
        for count in [0, 1, 2, 23, 24, 255, 256, 800] {
            let (extents, bytes) = encoded(count);
            for piece in [1, 2, 43, 44, 45, 1_000, bytes.len()] {
                assert_eq!(decoded(&bytes, piece).unwrap(), extents, "{count} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_list_is_damaged() {
        let check = |bytes: &[u8]| {
            for piece in [1, 100] {
                let outcome = decoded(bytes, piece);
                assert!(matches!(outcome, Err(RepositoryError::Damaged { .. })), "{bytes:02x?}");
            }
        };
        let (_, whole) = encoded(30);
        check(&whole[..whole.len() - 1]);
        check(&[whole.as_slice(), &[0]].concat());
        check(&[]);
        // Without a length, longer than any, and longer than what follows.
        check(&[0x9f, 0x81, 1, 0xff]);
        check(&[0x9b, 0, 0, 0, 1, 0, 0, 0, 0, 0x81, 1]);
        check(&[0x82, 0x81, 1]);
        // An empty extent, and one of a form that there is not.
        check(&[0x81, 0x81, 0]);
        check(&[0x81, 0x83, 1, 1, 1]);
    }
}
