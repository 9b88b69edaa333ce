//! Contents: byte strings described by extents (docs/formats/repository.md, "Contents").

use minicbor::{Decoder, Encoder};

use crate::RepositoryError;
use crate::chunk::{CHUNK_BYTES_MAX, ChunkName, Chunker};
use crate::error::Malformed;

/// A list of more extents moves into a content of its own.
pub(crate) const EXTENTS_INLINE_MAX: usize = 64;
/// Deepest nesting of extent lists; three levels reach beyond 2^64 bytes.
pub(crate) const LEVEL_MAX: u8 = 4;

/// A part of a content: a chunk, or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Length in bytes.
    pub(crate) length: u64,
    /// The chunk, or none for a hole.
    pub(crate) chunk: Option<ChunkName>,
}

/// Where the bytes of a file, or of a folder's listing, are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) chunker: Chunker,
    /// 0: the extents are the bytes; above: they are the encoded extents of the level below.
    pub(crate) level: u8,
    /// Length of the content itself in bytes, holes included.
    pub(crate) size: u64,
    pub(crate) extents: Vec<Extent>,
}

impl Content {
    pub(crate) fn empty() -> Self {
        Self { chunker: Chunker::ContentDefined, level: 0, size: 0, extents: Vec::new() }
    }

    pub(crate) fn encode(&self, cbor: &mut Encoder<&mut Vec<u8>>) -> Result<(), RepositoryError> {
        cbor.array(4)?.u8(self.chunker.number())?.u8(self.level)?.u64(self.size)?;
        encode_extents(&self.extents, cbor)
    }

    pub(crate) fn decode(cbor: &mut Decoder<'_>) -> Result<Self, Malformed> {
        array_of(cbor, 4)?;
        let chunker = Chunker::from_number(cbor.u8()?)?;
        let (level, size) = (cbor.u8()?, cbor.u64()?);
        let extents = decode_extents(cbor)?;
        if level > LEVEL_MAX || extents.len() > EXTENTS_INLINE_MAX {
            return Err("a content is nested too deep or lists too many extents".into());
        }
        if level == 0 && total(&extents)? != size {
            return Err("the extents of a content do not add up to its size".into());
        }
        Ok(Self { chunker, level, size, extents })
    }
}

/// The length of a run of extents in bytes.
pub(crate) fn total(extents: &[Extent]) -> Result<u64, Malformed> {
    extents
        .iter()
        .try_fold(0_u64, |sum, extent| sum.checked_add(extent.length))
        .ok_or_else(|| "the extents of a content are longer than any file".into())
}

pub(crate) fn encode_extents(
    extents: &[Extent],
    cbor: &mut Encoder<&mut Vec<u8>>,
) -> Result<(), RepositoryError> {
    cbor.array(extents.len() as u64)?;
    extents.iter().try_for_each(|extent| encode_extent(extent, cbor))
}

pub(crate) fn encode_extent(
    extent: &Extent,
    cbor: &mut Encoder<&mut Vec<u8>>,
) -> Result<(), RepositoryError> {
    match extent.chunk {
        Some(ChunkName(name)) => cbor.array(2)?.u64(extent.length)?.bytes(&name)?,
        None => cbor.array(1)?.u64(extent.length)?,
    };
    Ok(())
}

pub(crate) fn decode_extents(cbor: &mut Decoder<'_>) -> Result<Vec<Extent>, Malformed> {
    let count = length_of_array(cbor)?;
    let mut extents = Vec::new();
    for _ in 0..count {
        extents.push(decode_extent(cbor)?);
    }
    Ok(extents)
}

pub(crate) fn decode_extent(cbor: &mut Decoder<'_>) -> Result<Extent, Malformed> {
    let parts = length_of_array(cbor)?;
    let length = cbor.u64()?;
    let chunk = match parts {
        1 => None,
        2 if length <= CHUNK_BYTES_MAX as u64 => Some(ChunkName(array32(cbor)?)),
        _ => return Err("an extent has a form or length that there is not".into()),
    };
    if length == 0 {
        return Err("an extent is empty".into());
    }
    Ok(Extent { length, chunk })
}

/// Expects an array of exactly `count` elements.
pub(crate) fn array_of(cbor: &mut Decoder<'_>, count: u64) -> Result<(), Malformed> {
    if length_of_array(cbor)? == count {
        Ok(())
    } else {
        Err("an array has another length than the format says".into())
    }
}

/// The number of elements of an array, never more than bytes are left.
pub(crate) fn length_of_array(cbor: &mut Decoder<'_>) -> Result<u64, Malformed> {
    let left = cbor.input().len().saturating_sub(cbor.position()) as u64;
    match cbor.array()? {
        Some(count) if count <= left => Ok(count),
        _ => Err("an array is longer than what holds it".into()),
    }
}

pub(crate) fn array32(cbor: &mut Decoder<'_>) -> Result<[u8; 32], Malformed> {
    cbor.bytes()?.try_into().map_err(|_| "a name is not 32 bytes long".into())
}

/// Expects that nothing is left.
pub(crate) fn end(cbor: &Decoder<'_>) -> Result<(), Malformed> {
    if cbor.position() == cbor.input().len() { Ok(()) } else { Err("bytes follow its end".into()) }
}
