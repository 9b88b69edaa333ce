//! The extents of a file while it is cut, in memory that does not grow with it
//! (docs/formats/repository.md, "Contents").
//!
//! While there are few they are held. Of a long list the parts are stored as they fill; the first one,
//! whose head says how many extents there are, is held back until that is known. What comes out is the
//! same as if the whole list had been there.

use minicbor::Encoder;

use crate::RepositoryError;
use crate::chunk::{CHUNK_BYTES_MAX, Chunker, Continuation, Knife};
use crate::content::{EXTENTS_INLINE_MAX, Extent, encode_extent, encode_extents};
use crate::extents::EXTENTS_MAX;

/// Extents that are held: from one more on, the head of a list has [`HEAD_BYTES`] bytes, however many
/// follow.
const HELD_MAX: usize = u16::MAX as usize;
/// Length of the head of a list of so many extents.
const HEAD_BYTES: usize = 5;

/// Stores a part of a list.
pub(super) type StorePart<'s> = dyn FnMut(&[u8]) -> Result<Extent, RepositoryError> + 's;

/// Stores a list and gives the extents that are its bytes.
type StoreList<'s> = dyn FnMut(&[u8]) -> Result<Vec<Extent>, RepositoryError> + 's;

/// The extents of a file so far.
#[derive(Default)]
pub(super) struct ExtentList {
    count: u64,
    /// Length of the file so far, in bytes.
    size: u64,
    /// Length of the hole at its end, which may become longer.
    hole: u64,
    held: Vec<Extent>,
    long: Option<LongList>,
}

/// A list that is too long to be held.
#[derive(Default)]
struct LongList {
    /// Its bytes that are not cut yet.
    bytes: Vec<u8>,
    /// Its first part, without the right head.
    first: Option<Vec<u8>>,
    /// Its other parts.
    parts: Vec<Extent>,
}

impl ExtentList {
    /// Length of the file so far, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size.saturating_add(self.hole)
    }

    /// Whether there are as many as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.count >= EXTENTS_MAX - CHUNK_BYTES_MAX as u64
    }

    /// Goes over a hole.
    pub(super) fn skip(&mut self, length: u64) {
        self.hole = self.hole.saturating_add(length);
    }

    /// Adds a chunk.
    pub(super) fn push(
        &mut self,
        chunk: Extent,
        knife: &Knife,
        store: &mut StorePart<'_>,
    ) -> Result<(), RepositoryError> {
        self.close_hole(knife, store)?;
        self.add(chunk, knife, store)
    }

    /// The level of the list that is left, and its extents: still too many, perhaps, to stand in a content.
    pub(super) fn finish(
        mut self,
        knife: &Knife,
        store: &mut StorePart<'_>,
    ) -> Result<(u8, Vec<Extent>), RepositoryError> {
        self.close_hole(knife, store)?;
        let Some(mut long) = self.long else { return Ok((0, self.held)) };
        long.cut(knife, Continuation::End, store)?;
        let mut first = long.first.ok_or(RepositoryError::Bug("a long list without a part"))?;
        let mut head = Vec::new();
        Encoder::new(&mut head).array(self.count)?;
        match first.get_mut(..head.len()) {
            Some(place) if head.len() == HEAD_BYTES => place.copy_from_slice(&head),
            _ => return Err(RepositoryError::Bug("the head of a long list has another length")),
        }
        let mut parts = vec![store(&first)?];
        parts.append(&mut long.parts);
        Ok((1, parts))
    }

    fn close_hole(
        &mut self,
        knife: &Knife,
        store: &mut StorePart<'_>,
    ) -> Result<(), RepositoryError> {
        match std::mem::take(&mut self.hole) {
            0 => Ok(()),
            length => self.add(Extent { length, chunk: None }, knife, store),
        }
    }

    fn add(
        &mut self,
        extent: Extent,
        knife: &Knife,
        store: &mut StorePart<'_>,
    ) -> Result<(), RepositoryError> {
        self.count += 1;
        self.size = self.size.saturating_add(extent.length);
        if self.long.is_none() && self.held.len() < HELD_MAX {
            self.held.push(extent);
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let long = self.long.get_or_insert_with(LongList::default);
        if !held.is_empty() {
            long.bytes.resize(HEAD_BYTES, 0);
        }
        let mut cbor = Encoder::new(&mut long.bytes);
        held.iter().chain([&extent]).try_for_each(|extent| encode_extent(extent, &mut cbor))?;
        if long.bytes.len() < CHUNK_BYTES_MAX {
            return Ok(());
        }
        long.cut(knife, Continuation::More, store)
    }
}

impl LongList {
    /// Stores the parts that are complete.
    fn cut(
        &mut self,
        knife: &Knife,
        more: Continuation,
        store: &mut StorePart<'_>,
    ) -> Result<(), RepositoryError> {
        let mut rest = self.bytes.as_slice();
        while let Some(length) = knife.cut(Chunker::ContentDefined, rest, 0, more) {
            let (part, after) = rest.split_at_checked(length).unwrap_or_default();
            if self.first.is_none() {
                self.first = Some(part.to_vec());
            } else {
                self.parts.push(store(part)?);
            }
            rest = after;
        }
        let left = rest.len();
        self.bytes.drain(..self.bytes.len() - left);
        Ok(())
    }
}

/// Puts a list of more extents than a content holds into contents of their own, level by level.
pub(super) fn nest(
    (mut level, mut extents): (u8, Vec<Extent>),
    store: &mut StoreList<'_>,
) -> Result<(u8, Vec<Extent>), RepositoryError> {
    while extents.len() > EXTENTS_INLINE_MAX {
        let mut list = Vec::new();
        encode_extents(&extents, &mut Encoder::new(&mut list))?;
        extents = store(&list)?;
        level += 1;
    }
    Ok((level, extents))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::ChunkName;

    impl ExtentList {
        /// Bytes that it takes in memory, but for the list of the list's parts.
        fn held_bytes(&self) -> usize {
            let long = self.long.as_ref();
            let first = long.and_then(|long| long.first.as_ref()).map_or(0, Vec::capacity);
            self.held.capacity() * size_of::<Extent>()
                + long.map_or(0, |long| long.bytes.capacity())
                + first
        }
    }

    /// Chunks of different lengths, and a hole after every seventh.
    fn extent(number: u64) -> Extent {
        let name = ChunkName(*blake3::hash(&number.to_be_bytes()).as_bytes());
        let chunk = (number % 8 != 7).then_some(name);
        Extent { length: 1 + number * number % 200_000, chunk }
    }

    /// What is stored, in the order of the list.
    fn store<'s>(knife: &'s Knife, parts: &'s mut Vec<(ChunkName, Vec<u8>)>) -> Box<StorePart<'s>> {
        Box::new(move |bytes| {
            let name = knife.name(bytes);
            parts.push((name, bytes.to_vec()));
            Ok(Extent { length: bytes.len() as u64, chunk: Some(name) })
        })
    }

    /// The size, what is left of the list, and what was stored of it.
    type Listed = (u64, (u8, Vec<Extent>), Vec<(ChunkName, Vec<u8>)>);

    fn listed(knife: &Knife, count: u64) -> Listed {
        let (mut list, mut parts) = (ExtentList::default(), Vec::new());
        let mut stored = store(knife, &mut parts);
        for number in 0..count {
            match extent(number) {
                // A hole comes in pieces.
                Extent { length, chunk: None } => {
                    list.skip(length / 2);
                    list.skip(length - length / 2);
                }
                chunk => list.push(chunk, knife, &mut stored).unwrap(),
            }
            assert!(list.held_bytes() < 9 << 20, "{number}: {}", list.held_bytes());
        }
        let size = list.size();
        let finished = list.finish(knife, &mut stored).unwrap();
        drop(stored);
        (size, finished, parts)
    }

    /// A list that was never whole in memory is the same as one that was.
    #[test]
    fn a_long_list_is_what_it_would_be_at_once() {
        let knife = Knife::fixed();
        let held = HELD_MAX as u64;
        for count in [0, 1, 64, 65, held - 1, held, held + 1, held + 2, 400_000] {
            let (size, (level, extents), parts) = listed(&knife, count);
            let all: Vec<Extent> = (0..count).map(extent).collect();
            assert_eq!(size, all.iter().map(|extent| extent.length).sum::<u64>(), "{count}");
            if count <= held {
                assert_eq!((level, &extents, parts.len()), (0, &all, 0), "{count}");
                continue;
            }
            let mut whole = Vec::new();
            encode_extents(&all, &mut Encoder::new(&mut whole)).unwrap();
            let mut expected = Vec::new();
            let mut rest = whole.as_slice();
            while let Some(cut) = knife.cut(Chunker::ContentDefined, rest, 0, Continuation::End) {
                let (part, after) = rest.split_at(cut);
                let chunk = Some(knife.name(part));
                expected.push(Extent { length: cut as u64, chunk });
                rest = after;
            }
            assert_eq!((level, &extents), (1, &expected), "{count}");
            let stored: std::collections::HashMap<_, _> = parts.into_iter().collect();
            let names = expected.iter().filter_map(|part| part.chunk);
            let bytes: Vec<u8> = names.flat_map(|name| stored[&name].clone()).collect();
            assert!(bytes == whole, "{count}");
        }
    }
}
