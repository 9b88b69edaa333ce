//! Points of files whose chunks are tiny: everything stands, and ten million chunks take a gigabyte.

use custody_ambient::Timestamp;
use custody_entries::{Entry, EntryKind, EntryName, Metadata};

use super::{GROUPS, MEMBERS, item};
use crate::chunk::{Chunker, Continuation};
use crate::compress::Compression;
use crate::content::{Content, EXTENTS_INLINE_MAX, Extent, encode_extents};
use crate::listing::{self, Body, Node};
use crate::log::NewPoint;
use crate::pack::GroupDraft;
use crate::packer::{OpenPack, PackedGroup, Packer};
use crate::point::{Counts, Point};
use crate::reindex::Described;
use crate::sealed::length_u32;
use crate::{Repository, RepositoryError};

/// Chunks of one file.
pub const CHUNKS_A_FILE: u64 = 1_000;
/// Bytes of a chunk.
const CHUNK_BYTES: usize = 32;
/// Plain bytes at which a group is closed, however few chunks it has.
const GROUP_BYTES: usize = 256 << 10;

/// Commits a point of these files, none of which shares a chunk with another.
pub fn add_files(
    repository: &Repository,
    files: std::ops::Range<u64>,
) -> Result<(), RepositoryError> {
    let session = repository.begin_session()?;
    let mut filling = Filling::new(repository);
    let mut nodes = Vec::new();
    for number in files {
        nodes.push(filling.file(number)?);
    }
    let bytes = listing::encode(&nodes)?;
    let extents = filling.bytes(&bytes)?;
    let root = filling.content(bytes.len() as u64, extents)?;
    filling.close_group()?;
    filling.close_pack()?;
    filling.described.store()?;
    let point = Point {
        item: "synthetic".to_owned(),
        host: "host.example".to_owned(),
        paths: Vec::new(),
        begun: Timestamp::UNIX_EPOCH,
        ended: Timestamp::UNIX_EPOCH,
        parent: None,
        counts: Counts::default(),
        warnings_total: 0,
        warnings: Vec::new(),
        top: None,
        keep_until: None,
        root,
    };
    let new = NewPoint {
        item: item(),
        point: repository.store_point(&point)?,
        indexes: filling.described.indexes,
        packs: filling.described.packs,
    };
    session.commit(&new, &|_| false)?;
    session.end().map(drop).map_err(Into::into)
}

/// The name of file `number` in its point.
pub fn file_name(number: u64) -> String {
    format!("{number:010}")
}

struct Filling<'r> {
    repository: &'r Repository,
    described: Described<'r>,
    group: GroupDraft,
    packer: Packer<'r>,
    groups: u64,
}

impl<'r> Filling<'r> {
    fn new(repository: &'r Repository) -> Self {
        let described = Described::new(repository);
        let packer = Packer::new(repository.keys());
        Self { repository, described, group: GroupDraft::default(), packer, groups: 0 }
    }

    fn file(&mut self, number: u64) -> Result<Node, RepositoryError> {
        let mut extents = Vec::new();
        for chunk in number * CHUNKS_A_FILE..(number + 1) * CHUNKS_A_FILE {
            let mut bytes = [0; CHUNK_BYTES];
            bytes.iter_mut().zip(chunk.to_be_bytes()).for_each(|(to, from)| *to = from);
            extents.push(self.chunk(&bytes)?);
        }
        let size = CHUNKS_A_FILE * CHUNK_BYTES as u64;
        let content = self.content(size, extents)?;
        let name = EntryName::new(file_name(number))
            .map_err(|_| RepositoryError::Bug("a synthetic name is invalid"))?;
        let entry = Entry { name, kind: EntryKind::File { size }, metadata: Metadata::default() };
        Ok(Node { entry, body: Body::File { content, changed: false } })
    }

    fn content(&mut self, size: u64, mut extents: Vec<Extent>) -> Result<Content, RepositoryError> {
        let mut level = 0;
        while extents.len() > EXTENTS_INLINE_MAX {
            let mut list = Vec::new();
            encode_extents(&extents, &mut minicbor::Encoder::new(&mut list))?;
            extents = self.bytes(&list)?;
            level += 1;
        }
        Ok(Content { chunker: Chunker::ContentDefined, level, size, extents })
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Vec<Extent>, RepositoryError> {
        let (mut extents, mut rest, mut offset) = (Vec::new(), bytes, 0);
        let knife = &self.repository.knife;
        while let Some(length) = knife.cut(Chunker::ContentDefined, rest, offset, Continuation::End)
        {
            let (chunk, after) = rest.split_at_checked(length).unwrap_or_default();
            extents.push(self.chunk(chunk)?);
            offset += length as u64;
            rest = after;
        }
        Ok(extents)
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<Extent, RepositoryError> {
        let name = self.repository.knife.name(bytes);
        self.group.add(name, bytes)?;
        if self.group.members.len() as u64 >= MEMBERS || self.group.plain.len() >= GROUP_BYTES {
            self.close_group()?;
        }
        Ok(Extent { length: bytes.len() as u64, chunk: Some(name) })
    }

    fn close_group(&mut self) -> Result<(), RepositoryError> {
        let GroupDraft { plain: mut bytes, members } = std::mem::take(&mut self.group);
        if members.is_empty() {
            return Ok(());
        }
        let plain = length_u32(bytes.len())?;
        let compression = Compression::None;
        let group = PackedGroup { bytes: &mut bytes, plain, compression, members };
        self.groups += 1;
        match self.packer.add(group)? {
            Some(full) => self.store(full),
            None if self.groups >= GROUPS => self.close_pack(),
            None => Ok(()),
        }
    }

    fn close_pack(&mut self) -> Result<(), RepositoryError> {
        self.packer.take_last().map_or(Ok(()), |pack| self.store(pack))
    }

    fn store(&mut self, pack: OpenPack<'r>) -> Result<(), RepositoryError> {
        self.groups = 0;
        let Repository { parts, knife, .. } = self.repository;
        self.described.add(self.packer.store(pack, &*parts.store, knife)?)
    }
}
