//! What a backup does to bytes, and nothing else: cut, name, compress, seal, open again and compare,
//! write. There is no walk, no metadata, no listing, no index and no log, so that no backup can be
//! faster on the same machine.

use std::collections::HashSet;
use std::sync::Mutex;

use custody_ambient::Entropy;
use custody_blob_store::BlobStore;
use custody_envelope::VaultKeys;

use crate::chunk::{ChunkName, Chunker, Continuation, Knife};
use crate::compress::Compressor;
use crate::pack::{GROUP_BYTES_TARGET, GroupDraft};
use crate::packer::{OpenPack, PackedGroup, Packer};
use crate::read::locked;
use crate::sealed::{Keys, length_u32};
use crate::{CompressionEffort, RepositoryError};

/// Plain bytes of a group of an image's blocks, as in a backup.
const IMAGE_GROUP_BYTES: usize = 256 << 10;
/// How many locks the names are spread over.
const SHARDS: usize = 64;

/// Where all threads' bytes go.
pub struct Ceiling<'a> {
    knife: Knife,
    store: &'a dyn BlobStore,
    seen: Vec<Mutex<HashSet<ChunkName>>>,
    packer: Packer<'a>,
}

impl<'a> Ceiling<'a> {
    /// Over a store that holds no packs yet.
    pub fn new(
        vault: &'a VaultKeys,
        entropy: &'a dyn Entropy,
        store: &'a dyn BlobStore,
    ) -> Result<Self, RepositoryError> {
        let seen = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (keys, knife) = (Keys { vault, entropy }, Knife::new(vault)?);
        Ok(Self { knife, store, seen, packer: Packer::new(keys) })
    }

    /// One thread's part of it.
    pub fn thread(&self) -> Result<CeilingThread<'_, 'a>, RepositoryError> {
        let compressor = Compressor::new(CompressionEffort::default())?;
        Ok(CeilingThread { ceiling: self, compressor, group: GroupDraft::default() })
    }

    /// Writes the last pack.
    pub fn finish(self) -> Result<(), RepositoryError> {
        self.packer.take_last().map_or(Ok(()), |pack| self.write(pack))
    }

    fn is_new(&self, name: ChunkName) -> bool {
        let shard = name.0.first().map_or(0, |byte| usize::from(*byte) % SHARDS);
        self.seen.get(shard).is_some_and(|shard| locked(shard).insert(name))
    }

    fn write(&self, pack: OpenPack<'a>) -> Result<(), RepositoryError> {
        self.packer.store(pack, self.store, &self.knife).map(drop)
    }
}

/// What one thread is at.
pub struct CeilingThread<'t, 'a> {
    ceiling: &'t Ceiling<'a>,
    compressor: Compressor,
    group: GroupDraft,
}

impl CeilingThread<'_, '_> {
    /// Takes a run of data that begins at `offset` in a file of this name and size.
    pub fn take(
        &mut self,
        name: &[u8],
        size: u64,
        offset: u64,
        run: &[u8],
    ) -> Result<(), RepositoryError> {
        let chunker = Chunker::for_file(name, size, Some(run));
        let group_bytes = match chunker {
            Chunker::Fixed => IMAGE_GROUP_BYTES,
            Chunker::ContentDefined => GROUP_BYTES_TARGET,
        };
        let (mut rest, mut at) = (run, offset);
        while let Some(length) = self.ceiling.knife.cut(chunker, rest, at, Continuation::End) {
            let (chunk, after) = rest.split_at_checked(length).unwrap_or_default();
            let name = self.ceiling.knife.name(chunk);
            if self.ceiling.is_new(name) {
                self.group.add(name, chunk)?;
            }
            if self.group.plain.len() >= group_bytes {
                self.close_group()?;
            }
            (rest, at) = (after, at + length as u64);
        }
        Ok(())
    }

    /// Packs what is left.
    pub fn finish(mut self) -> Result<(), RepositoryError> {
        if self.group.members.is_empty() { Ok(()) } else { self.close_group() }
    }

    fn close_group(&mut self) -> Result<(), RepositoryError> {
        let (compression, bytes) = self.compressor.compress(&self.group.plain)?;
        let plain = length_u32(self.group.plain.len())?;
        self.group.plain.clear();
        let members = std::mem::take(&mut self.group.members);
        let group = PackedGroup { bytes, plain, compression, members };
        let full = self.ceiling.packer.add(group)?;
        full.map_or(Ok(()), |pack| self.ceiling.write(pack))
    }
}
