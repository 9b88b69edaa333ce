//! Copying what is still needed out of packs that go.

use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::compress::{CompressionEffort, Compressor};
use crate::pack::{GROUP_BYTES_TARGET, GroupDraft};
use crate::packer::{OpenPack, PackedGroup, Packer};
use crate::reindex::Described;
use crate::repository::Repository;
use crate::sealed::length_u32;

/// Groups up to this size hold blocks of images or listings, and stay small when they are copied.
pub(super) const SMALL_GROUP_BYTES: usize = 256 << 10;

/// Chunks on their way into new packs.
pub(super) struct Copy<'r> {
    repository: &'r Repository,
    compressor: Compressor,
    small: GroupDraft,
    large: GroupDraft,
    packer: Packer<'r>,
    new: Described<'r>,
}

impl<'r> Copy<'r> {
    pub(super) fn new(repository: &'r Repository) -> Result<Self, RepositoryError> {
        Ok(Self {
            repository,
            compressor: Compressor::new(CompressionEffort::default())?,
            small: GroupDraft::default(),
            large: GroupDraft::default(),
            packer: Packer::new(repository.keys()),
            new: Described::new(repository),
        })
    }

    pub(super) fn add(
        &mut self,
        name: ChunkName,
        bytes: &[u8],
        is_small: bool,
    ) -> Result<(), RepositoryError> {
        let (group, target) = if is_small {
            (&mut self.small, SMALL_GROUP_BYTES)
        } else {
            (&mut self.large, GROUP_BYTES_TARGET)
        };
        group.add(name, bytes)?;
        if group.plain.len() >= target {
            let full = std::mem::take(group);
            self.close_group(full)?;
        }
        Ok(())
    }

    fn close_group(&mut self, group: GroupDraft) -> Result<(), RepositoryError> {
        let GroupDraft { plain, members } = group;
        if members.is_empty() {
            return Ok(());
        }
        let length = length_u32(plain.len())?;
        let (compression, bytes) = self.compressor.compress(&plain)?;
        let group = PackedGroup { bytes, plain: length, compression, members };
        let full = self.packer.add(group)?;
        full.map_or(Ok(()), |pack| self.store(pack))
    }

    fn store(&mut self, pack: OpenPack<'r>) -> Result<(), RepositoryError> {
        let Repository { parts, knife, .. } = self.repository;
        self.new.add(self.packer.store(pack, &*parts.store, knife)?)
    }

    pub(super) fn finish(mut self) -> Result<Described<'r>, RepositoryError> {
        for group in [std::mem::take(&mut self.small), std::mem::take(&mut self.large)] {
            self.close_group(group)?;
        }
        if let Some(last) = self.packer.take_last() {
            self.store(last)?;
        }
        self.new.store()?;
        Ok(self.new)
    }
}
