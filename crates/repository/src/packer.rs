//! Packs being filled with groups, one open at a time, each proven before it is stored.

use std::sync::Mutex;

use custody_blob_store::BlobStore;
use custody_envelope::ObjectType;

use crate::RepositoryError;
use crate::chunk::Knife;
use crate::compress::Compression;
use crate::object::{self, Family};
use crate::pack::{
    Directory, DirectoryGroup, MEMBER_BYTES_MAX, Member, PACK_BYTES_MAX, PACK_BYTES_TARGET,
    PACK_ROOM_BYTES, PackSummary, read_directory, verify,
};
use crate::read::locked;
use crate::rooms::Rooms;
use crate::sealed::{Keys, SealedWriter};

/// Memory of packs kept for the next ones, in bytes.
const EMPTY_BYTES_MAX: usize = 2 * PACK_ROOM_BYTES;

/// A group ready to be sealed.
pub(crate) struct PackedGroup<'g> {
    /// As they are to be stored. Sealed in place: what is left is of no use.
    pub(crate) bytes: &'g mut Vec<u8>,
    pub(crate) plain: u32,
    pub(crate) compression: Compression,
    pub(crate) members: Vec<Member>,
}

/// Fills packs; many threads may share it.
pub(crate) struct Packer<'p> {
    keys: Keys<'p>,
    open: Mutex<Option<OpenPack<'p>>>,
    rooms: Rooms,
}

/// A pack that is not stored. Its groups are sealed.
pub(crate) struct OpenPack<'p> {
    writer: SealedWriter<'p>,
    directory: Directory,
    /// What it will have, about.
    bytes: usize,
}

impl<'p> Packer<'p> {
    pub(crate) fn new(keys: Keys<'p>) -> Self {
        let rooms = Rooms::keeping(EMPTY_BYTES_MAX);
        Self { keys, open: Mutex::default(), rooms }
    }

    /// Adds a group to the open pack; gives that back when it is large enough to be stored.
    pub(crate) fn add(
        &self,
        group: PackedGroup<'_>,
    ) -> Result<Option<OpenPack<'p>>, RepositoryError> {
        let PackedGroup { bytes, plain, compression, members } = group;
        let mut open = locked(&self.open);
        // A pack that does not take a group is given up: its writer may not be gone on with.
        let mut pack = open.take().map_or_else(|| self.begin(), Ok)?;
        pack.bytes += bytes.len() + members.len() * MEMBER_BYTES_MAX;
        let sealed = pack.writer.push(bytes)?;
        pack.directory.groups.push(DirectoryGroup { sealed, plain, compression, members });
        if pack.bytes >= PACK_BYTES_TARGET {
            return Ok(Some(pack));
        }
        *open = Some(pack);
        Ok(None)
    }

    /// The open pack, as it is. None if no group waits in it.
    pub(crate) fn take_last(&self) -> Option<OpenPack<'p>> {
        locked(&self.open).take()
    }

    fn begin(&self) -> Result<OpenPack<'p>, RepositoryError> {
        let room = self.rooms.take(PACK_ROOM_BYTES);
        let writer = self.keys.writer_within(ObjectType::Pack, room, Vec::new())?;
        Ok(OpenPack { writer, directory: Directory::default(), bytes: 0 })
    }

    /// Ends a pack, proves that it opens to what went in, and stores it.
    pub(crate) fn store(
        &self,
        pack: OpenPack<'p>,
        store: &dyn BlobStore,
        knife: &Knife,
    ) -> Result<PackSummary, RepositoryError> {
        let OpenPack { writer, directory, .. } = pack;
        let bytes = writer.finish(directory.encode()?)?;
        if bytes.len() > PACK_BYTES_MAX {
            return Err(RepositoryError::Bug("a pack grew beyond its limit"));
        }
        prove(&bytes, &directory, self.keys, knife)?;
        let id = object::put(store, Family::Pack, &bytes)?;
        let length = bytes.len() as u64;
        self.rooms.give_back(bytes);
        Ok(PackSummary { id, length, directory })
    }
}

/// That a pack opens to what went into it.
fn prove(
    bytes: &[u8],
    directory: &Directory,
    keys: Keys<'_>,
    knife: &Knife,
) -> Result<(), RepositoryError> {
    let mut is_proven = read_directory(bytes, keys, &"a new pack")? == *directory;
    verify(bytes, directory, keys, knife, &"a new pack", &mut |_, _| is_proven = false)?;
    if is_proven {
        Ok(())
    } else {
        Err(RepositoryError::Bug("a pack does not open to what went into it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::fresh::tests::repository;
    use crate::chunk::ChunkName;

    #[test]
    fn a_pack_is_closed_before_its_directory_makes_it_too_large() {
        let repository = repository(None);
        // (bytes of a group, its chunks) -> groups of a pack
        for (bytes, chunks, groups) in [(1 << 20, 16, 16), (300_000, 30, 56), (1_000, 65_536, 7)] {
            let packer = Packer::new(repository.keys());
            let add = || {
                let members = vec![Member { name: ChunkName([1; 32]), length: 16 }; chunks];
                let (bytes, compression) = (&mut vec![0; bytes], Compression::Zstd);
                packer.add(PackedGroup { bytes, plain: 1, compression, members }).unwrap()
            };
            let pack = (0..).find_map(|_| add()).unwrap();
            assert!(packer.take_last().is_none());
            assert_eq!(pack.directory.groups.len(), groups, "{bytes}");
            let whole = pack.writer.finish(pack.directory.encode().unwrap()).unwrap();
            assert!(whole.len() < PACK_BYTES_MAX, "{bytes}: {}", whole.len());
        }
    }
}
