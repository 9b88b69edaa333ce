//! Packs: groups of chunks and a directory of them
//! (docs/formats/repository.md, "Groups and packs").

use custody_blob_store::BlobStore;
use custody_envelope::{HEADER_BYTES, ObjectType, Opener};
use minicbor::{Decoder, Encoder};

use crate::RepositoryError;
use crate::chunk::{CHUNK_BYTES_MAX, ChunkName, Knife};
use crate::compress::{Compression, Decompressor};
use crate::content::{array_of, array32, end, length_of_array};
use crate::error::Malformed;
use crate::log::ObjectId;
use crate::object::Family;
use crate::sealed::{Footer, Keys, Tail, length_u32, open_position};

/// A pack is closed when its groups and what its directory says of their chunks reach this many bytes.
pub(crate) const PACK_BYTES_TARGET: usize = 16 << 20;
/// Largest pack, in bytes; a larger object is no pack.
pub(crate) const PACK_BYTES_MAX: usize = 32 << 20;
/// Memory for a pack, in bytes: that of one that was just closed, and some of what filled it.
pub(crate) const PACK_ROOM_BYTES: usize = PACK_BYTES_TARGET + (2 << 20);
/// Groups of data are closed at this many plain bytes.
pub(crate) const GROUP_BYTES_TARGET: usize = 1 << 20;
/// Largest group, in plain bytes.
pub(crate) const GROUP_BYTES_MAX: usize = GROUP_BYTES_TARGET + CHUNK_BYTES_MAX;

/// Most bytes that a chunk takes in a directory. Of tiny files the directory is larger than the groups.
pub(crate) const MEMBER_BYTES_MAX: usize = 40;

/// A chunk in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: ChunkName,
    pub(crate) length: u32,
}

/// A group as the directory describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryGroup {
    pub(crate) sealed: u32,
    pub(crate) plain: u32,
    pub(crate) compression: Compression,
    pub(crate) members: Vec<Member>,
}

/// What a pack holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) groups: Vec<DirectoryGroup>,
}

/// A pack and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackSummary {
    pub(crate) id: ObjectId,
    pub(crate) length: u64,
    pub(crate) directory: Directory,
}

/// Reads the directory of a whole pack.
pub(crate) fn read_directory(
    bytes: &[u8],
    keys: Keys<'_>,
    object: &dyn ToString,
) -> Result<Directory, RepositoryError> {
    let malformed = |error: Malformed| error.in_object(object.to_string());
    if bytes.len() > PACK_BYTES_MAX {
        return Err(malformed("it is larger than any pack".into()));
    }
    let opener = keys.opener(ObjectType::Pack, bytes, object)?;
    let (footer, at) = Footer::parse(bytes).map_err(malformed)?;
    let mut part = bytes.get(at..bytes.len() - Footer::BYTES).unwrap_or_default().to_vec();
    open_position(&opener, footer.positions - 1, &[], true, &mut part, object)?;
    let directory = Directory::decode(&part).map_err(malformed)?;
    if directory.groups.len() + 1 == footer.positions as usize && directory.end() == at as u64 {
        Ok(directory)
    } else {
        Err(malformed("its groups do not fill it".into()))
    }
}

/// Reads the directory of a stored pack of this length, and nothing else of it.
pub(crate) fn read_directory_of(
    store: &dyn BlobStore,
    keys: Keys<'_>,
    id: ObjectId,
    length: u64,
) -> Result<Directory, RepositoryError> {
    let name = Family::Pack.name(id)?;
    let Tail { last, .. } = Tail::read(store, keys, ObjectType::Pack, &name, length)?;
    Directory::decode(&last).map_err(|malformed| malformed.in_object(&name))
}

/// Opens every group of a whole pack and names every chunk again. Tells `bad` the chunks that are
/// not what the directory says.
pub(crate) fn verify(
    bytes: &[u8],
    directory: &Directory,
    keys: Keys<'_>,
    knife: &Knife,
    object: &dyn ToString,
    bad: &mut dyn FnMut(ChunkName, &RepositoryError),
) -> Result<(), RepositoryError> {
    let opener = keys.opener(ObjectType::Pack, bytes, object)?;
    let mut decompressor = Decompressor::new()?;
    let mut groups = GroupOpener { opener: &opener, decompressor: &mut decompressor, object };
    // The same room for every group.
    let (mut sealed, mut plain) = (Vec::new(), Vec::new());
    let mut at = HEADER_BYTES;
    for (position, group) in (0_u32..).zip(&directory.groups) {
        let end = at + group.sealed as usize;
        sealed.clear();
        sealed.extend_from_slice(bytes.get(at..end).unwrap_or_default());
        at = end;
        match groups.open(position, group.shape(), &mut sealed, &mut plain) {
            Ok(()) => {}
            Err(error) if error.is_local() => {
                group.members.iter().for_each(|member| bad(member.name, &error));
                continue;
            }
            Err(error) => return Err(error),
        }
        let mut rest = plain.as_slice();
        for member in &group.members {
            let (chunk, after) = rest.split_at_checked(member.length as usize).unwrap_or_default();
            rest = after;
            if knife.name(chunk) != member.name {
                bad(member.name, &RepositoryError::damaged(object.to_string(), WRONG_CHUNK));
            }
        }
    }
    Ok(())
}

/// Said of a chunk whose bytes do not have its name.
pub(crate) const WRONG_CHUNK: &str = "a chunk's bytes do not match its name";

/// How a group's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupShape {
    pub(crate) plain: u32,
    pub(crate) compression: Compression,
}

/// Opens and decompresses groups of one pack.
pub(crate) struct GroupOpener<'p> {
    pub(crate) opener: &'p Opener,
    pub(crate) decompressor: &'p mut Decompressor,
    /// The pack's name, for errors.
    pub(crate) object: &'p dyn ToString,
}

impl GroupOpener<'_> {
    /// Puts the plain bytes of a group in the place of whatever is in `plain`. What is left in
    /// `sealed` is of no use.
    pub(crate) fn open(
        &mut self,
        position: u32,
        shape: GroupShape,
        sealed: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> Result<(), RepositoryError> {
        open_position(self.opener, position, &[], false, sealed, self.object)?;
        self.decompressor
            .decompress(shape.compression, sealed, plain, shape.plain as usize)
            .map_err(|malformed| malformed.in_object(self.object.to_string()))
    }
}

impl DirectoryGroup {
    pub(crate) fn shape(&self) -> GroupShape {
        GroupShape { plain: self.plain, compression: self.compression }
    }
}

impl Directory {
    /// How many chunks it names.
    pub(crate) fn chunk_count(&self) -> usize {
        self.groups.iter().map(|group| group.members.len()).sum()
    }

    /// Where the last group ends in the pack.
    fn end(&self) -> u64 {
        HEADER_BYTES as u64 + self.groups.iter().map(|group| u64::from(group.sealed)).sum::<u64>()
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, RepositoryError> {
        let mut bytes = Vec::new();
        let mut cbor = Encoder::new(&mut bytes);
        cbor.array(self.groups.len() as u64)?;
        for group in &self.groups {
            cbor.array(4)?.u32(group.sealed)?.u32(group.plain)?.u8(group.compression.number())?;
            cbor.array(group.members.len() as u64 * 2)?;
            for Member { name, length } in &group.members {
                cbor.bytes(&name.0)?.u32(*length)?;
            }
        }
        Ok(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cbor = Decoder::new(bytes);
        let mut groups = Vec::new();
        for _ in 0..length_of_array(&mut cbor)? {
            array_of(&mut cbor, 4)?;
            let (sealed, plain) = (cbor.u32()?, cbor.u32()?);
            let compression = Compression::from_number(cbor.u8()?)?;
            let members = decode_members(&mut cbor)?;
            let sum: u64 = members.iter().map(|member| u64::from(member.length)).sum();
            check_group(sealed, plain)?;
            if sum != u64::from(plain) {
                return Err("the chunks of a group do not fill it".into());
            }
            groups.push(DirectoryGroup { sealed, plain, compression, members });
        }
        end(&cbor)?;
        Ok(Self { groups })
    }
}

/// Refuses sizes that no group has, before anything is allocated by them.
pub(crate) fn check_group(sealed: u32, plain: u32) -> Result<(), Malformed> {
    if plain as usize > GROUP_BYTES_MAX || sealed as usize > PACK_BYTES_MAX {
        return Err("a group is larger than any".into());
    }
    Ok(())
}

fn decode_members(cbor: &mut Decoder<'_>) -> Result<Vec<Member>, Malformed> {
    let mut members = Vec::new();
    for _ in 0..length_of_array(cbor)? / 2 {
        let member = Member { name: ChunkName(array32(cbor)?), length: cbor.u32()? };
        if member.length as usize > CHUNK_BYTES_MAX {
            return Err("a chunk is larger than any".into());
        }
        members.push(member);
    }
    Ok(members)
}

/// A group being filled with new chunks.
#[derive(Default)]
pub(crate) struct GroupDraft {
    pub(crate) plain: Vec<u8>,
    pub(crate) members: Vec<Member>,
}

impl GroupDraft {
    /// Adds a chunk.
    pub(crate) fn add(&mut self, name: ChunkName, bytes: &[u8]) -> Result<(), RepositoryError> {
        self.members.push(Member { name, length: length_u32(bytes.len())? });
        self.plain.extend_from_slice(bytes);
        Ok(())
    }
}
