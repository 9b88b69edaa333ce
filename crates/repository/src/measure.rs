//! Repositories of a size that nobody fills in a test. For `cargo xtask bench index`: index objects
//! and log entries without the packs and points that they name; for `bench curves`: whole points of
//! tiny chunks. And the bare pipeline, for `cargo xtask bench`.

pub mod ceiling;
mod files;

use std::collections::BTreeSet;

use crate::chunk::ChunkName;
use crate::compress::Compression;
use crate::index::ChunkIndex;
use crate::index_object;
use crate::log::{ItemGuid, NewPoint, ObjectId};
use crate::pack::{Directory, DirectoryGroup, Member, PackSummary};
use crate::{Repository, RepositoryError};

pub use files::{CHUNKS_A_FILE, add_files, file_name};

/// Chunks of one group, groups of one pack, packs of one index object.
const MEMBERS: u64 = 16;
const GROUPS: u64 = 16;
const PACKS: u64 = 4_096;
/// Chunks that one index object describes.
pub const CHUNKS_AN_OBJECT: u64 = MEMBERS * GROUPS * PACKS;
/// Bytes of a chunk.
const CHUNK_BYTES: u32 = 64 << 10;

/// The name of chunk `number`, as evenly spread as real ones.
fn chunk_name(number: u64) -> ChunkName {
    ChunkName(*blake3::hash(&number.to_be_bytes()).as_bytes())
}

fn item() -> ItemGuid {
    ItemGuid::from_bytes([1; 16])
}

fn object(kind: &str, number: u64) -> ObjectId {
    ObjectId::of(format!("{kind} {number}").as_bytes())
}

fn pack(number: u64) -> PackSummary {
    let group = |group: u64| {
        let first = (number * GROUPS + group) * MEMBERS;
        let members = (first..first + MEMBERS)
            .map(|number| Member { name: chunk_name(number), length: CHUNK_BYTES })
            .collect();
        DirectoryGroup { sealed: 500_000, plain: 1 << 20, compression: Compression::Zstd, members }
    };
    let directory = Directory { groups: (0..GROUPS).map(group).collect() };
    PackSummary { id: object("pack", number), length: 8 << 20, directory }
}

/// Commits points, each of which adds one index object of [`CHUNKS_AN_OBJECT`] chunks, the first of
/// them that of `objects.start`.
pub fn add_chunks(
    repository: &Repository,
    objects: std::ops::Range<u64>,
) -> Result<(), RepositoryError> {
    let session = repository.begin_session()?;
    for number in objects {
        let packs: Vec<PackSummary> = (number * PACKS..(number + 1) * PACKS).map(pack).collect();
        let stored = index_object::store(&packs, &*repository.parts.store, repository.keys())?;
        let indexes: BTreeSet<ObjectId> = stored.into_iter().collect();
        session.commit(
            &NewPoint {
                item: item(),
                point: object("point", number),
                indexes,
                packs: packs.iter().map(|pack| pack.id).collect(),
            },
            &|_| false,
        )?;
    }
    session.end().map(drop).map_err(Into::into)
}

/// Commits points, each of which adds one pack and no index object.
pub fn add_points(repository: &Repository, points: u64) -> Result<(), RepositoryError> {
    let session = repository.begin_session()?;
    for number in 0..points {
        session.commit(
            &NewPoint {
                item: item(),
                point: object("point", number),
                indexes: BTreeSet::new(),
                packs: BTreeSet::from([object("pack", number)]),
            },
            &|_| false,
        )?;
    }
    session.end().map(drop).map_err(Into::into)
}

/// The index of a repository, open.
pub struct OpenIndex<'r>(Box<dyn ChunkIndex + 'r>);

/// Opens the index as a backup does.
pub fn open_index(repository: &Repository) -> Result<OpenIndex<'_>, RepositoryError> {
    repository.open_index(&repository.history()?, &BTreeSet::new()).map(OpenIndex)
}

impl OpenIndex<'_> {
    /// Whether a new point could rely on chunk `number`.
    pub fn holds(&self, number: u64) -> Result<bool, RepositoryError> {
        Ok(self.0.reliable_pack(&chunk_name(number))?.is_some())
    }
}
