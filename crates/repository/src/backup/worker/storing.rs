//! Storing chunks, lists and listings: into groups, and groups into the open pack.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::TrySendError;
use custody_entries::{SourceError, display_path};

use super::{Class, EMPTIED_MAX, Worker};
use crate::RepositoryError;
use crate::backup::extent_list::{ExtentList, nest};
use crate::backup::tree::Folder;
use crate::chunk::{Chunker, Continuation};
use crate::content::{Content, Extent};
use crate::listing::{Body, Node};
use crate::pack::GroupDraft;
use crate::packer::PackedGroup;
use crate::read::locked;
use crate::sealed::length_u32;

impl Worker<'_, '_> {
    /// Names a chunk and, if it is new, adds it to a group.
    pub(super) fn store_chunk(
        &mut self,
        class: Class,
        bytes: &[u8],
    ) -> Result<Extent, RepositoryError> {
        let name = self.shared.knife.name(bytes);
        if self.shared.claim(name)? {
            self.shared.tally.new_bytes.fetch_add(bytes.len() as u64, Relaxed);
            let draft = self.draft(class);
            draft.add(name, bytes)?;
            if draft.plain.len() >= class.group_bytes() {
                let full = self.take_draft(class);
                self.hand_on(full)?;
            }
        }
        Ok(Extent { length: bytes.len() as u64, chunk: Some(name) })
    }

    /// Stores a listing or extent list.
    fn store_bytes(&mut self, bytes: &[u8]) -> Result<Vec<Extent>, RepositoryError> {
        let (mut extents, mut rest, mut offset) = (Vec::new(), bytes, 0);
        let knife = self.shared.knife;
        while let Some(length) = knife.cut(Chunker::ContentDefined, rest, offset, Continuation::End)
        {
            let (chunk, after) = rest.split_at_checked(length).unwrap_or_default();
            extents.push(self.store_chunk(Class::Listing, chunk)?);
            offset += length as u64;
            rest = after;
        }
        Ok(extents)
    }

    /// A file's content; a long list of its extents is stored as a content of its own.
    pub(super) fn describe(
        &mut self,
        chunker: Chunker,
        extents: ExtentList,
    ) -> Result<Content, RepositoryError> {
        let (size, knife) = (extents.size(), self.shared.knife);
        let mut store = |part: &[u8]| self.store_chunk(Class::Listing, part);
        let list = extents.finish(knife, &mut store)?;
        self.content(chunker, size, list)
    }

    /// A content of this length with this list of extents, nested as far as it is needed.
    fn content(
        &mut self,
        chunker: Chunker,
        size: u64,
        list: (u8, Vec<Extent>),
    ) -> Result<Content, RepositoryError> {
        let (level, extents) = nest(list, &mut |list| self.store_bytes(list))?;
        Ok(Content { chunker, level, size, extents })
    }

    /// Stores the listing of a complete folder, and of those above that it completes.
    pub(super) fn store_listing(&mut self, mut folder: Arc<Folder>) -> Result<(), RepositoryError> {
        loop {
            let bytes = self.listing_of(&folder)?;
            let extents = self.store_bytes(&bytes)?;
            let list = (0, extents);
            let content = self.content(Chunker::ContentDefined, bytes.len() as u64, list)?;
            let (Some((up, place)), Some(entry)) = (&folder.up, &folder.entry) else {
                *locked(&self.shared.root) = Some(content);
                return Ok(());
            };
            let node = Node { entry: entry.clone(), body: Body::Folder(content) };
            if !up.fill(*place, Some(&node))? {
                return Ok(());
            }
            folder = Arc::clone(up);
        }
    }

    fn listing_of(&self, folder: &Folder) -> Result<Vec<u8>, RepositoryError> {
        let (bytes, entries) = folder.take_listing()?;
        if bytes.len() <= self.listing_bytes_max {
            return Ok(bytes);
        }
        let path = folder.path();
        let shown = if path.is_empty() { "the top".to_owned() } else { display_path(&path) };
        let message = format!(
            "{shown} has {entries} entries, whose listing takes {} bytes of at most {}: leave some of them out \
             (--exclude), or back up parts of it as items of their own",
            bytes.len(),
            self.listing_bytes_max
        );
        Err(SourceError { code: "SourceFolderTooLarge", message }.into())
    }

    /// Gives a full group to a worker that is free, or packs it here if none takes it.
    fn hand_on(&mut self, group: GroupDraft) -> Result<(), RepositoryError> {
        let kept = match &self.groups_out {
            Some(groups) => groups.try_send(group).err().map(TrySendError::into_inner),
            None => Some(group),
        };
        kept.map_or(Ok(()), |group| self.pack(group))
    }

    /// Compresses a group and adds it to the open pack.
    pub(super) fn pack(&mut self, group: GroupDraft) -> Result<(), RepositoryError> {
        let GroupDraft { mut plain, members } = group;
        if members.is_empty() {
            return Ok(());
        }
        let plain_length = length_u32(plain.len())?;
        let (compression, bytes) = self.compressor.compress(&plain)?;
        if self.emptied.len() < EMPTIED_MAX {
            plain.clear();
            self.emptied.push(plain);
        }
        self.shared.add_group(PackedGroup { bytes, plain: plain_length, compression, members })
    }

    /// Takes a group away to be packed and leaves an empty one, in room that was used before.
    pub(super) fn take_draft(&mut self, class: Class) -> GroupDraft {
        let plain = self.emptied.pop().unwrap_or_default();
        std::mem::replace(self.draft(class), GroupDraft { plain, members: Vec::new() })
    }

    fn draft(&mut self, class: Class) -> &mut GroupDraft {
        match class {
            Class::Data => &mut self.data,
            Class::Image => &mut self.image,
            Class::Listing => &mut self.listing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crossbeam_channel::unbounded;
    use custody_entries::{Entry, EntryKind, EntryName, Metadata};

    use super::*;
    use crate::backup::fresh::Fresh;
    use crate::backup::fresh::tests::repository;
    use crate::backup::shared::Shared;
    use crate::compress::CompressionEffort;
    use crate::progress::Unwatched;

    fn entry(name: &str, kind: EntryKind) -> Entry {
        let name = EntryName::new(name).unwrap();
        Entry { name, kind, metadata: Metadata::default() }
    }

    #[test]
    fn a_folder_whose_listing_could_not_be_read_back_ends_the_backup() {
        let repository = repository(None);
        let index =
            repository.open_index(&repository.history().unwrap(), &BTreeSet::new()).unwrap();
        let (store, keys) = (&*repository.parts.store, repository.keys());
        let fresh = Fresh::new(&repository);
        let shared = Shared::new(store, keys, &repository.knife, &*index, fresh, &Unwatched);
        let mut worker =
            Worker::new(&shared, unbounded().1, unbounded(), CompressionEffort::Fast).unwrap();
        let nodes: Vec<Node> = ["a", "b", "c"]
            .map(|name| Node { entry: entry(name, EntryKind::Fifo), body: Body::None })
            .into();
        let mut store_with = |listing_bytes_max| {
            worker.listing_bytes_max = listing_bytes_max;
            let above = Folder::within(&Folder::root(), entry("above", EntryKind::Folder));
            let folder = Folder::within(&above, entry("many", EntryKind::Folder));
            for node in &nodes {
                folder.add(node).unwrap();
            }
            // The walk leaves it.
            assert!(folder.leave());
            worker.store_listing(folder)
        };
        let length = crate::listing::encode(&nodes).unwrap().len();
        assert_eq!(store_with(length), Ok(()));
        let Err(RepositoryError::Source(SourceError { code, message })) = store_with(length - 1)
        else {
            panic!("it is not refused")
        };
        assert_eq!(code, "SourceFolderTooLarge");
        assert!(message.starts_with("above/many has 3 entries"), "{message}");
    }
}
