//! Checking packs against what the index says of them.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use custody_blob_store::{BlobName, BlobStore};
use custody_envelope::HEADER_BYTES;

use super::CheckLevel;
use super::inspection::Inspection;
use crate::RepositoryError;
use crate::chunk::ChunkName;
use crate::index::summary::{PackDigest, digests, summaries};
use crate::index::{BadMarks, ChunkIndex, Pack};
use crate::log::{History, ObjectId};
use crate::object::{self, Family, MISSING};
use crate::pack::{self, PACK_ROOM_BYTES, PackSummary};
use crate::read::locked;
use crate::repository::Repository;
use crate::rooms::Rooms;
use crate::threads::on_threads;

/// What is wrong with a pack.
struct Fault {
    what: RepositoryError,
    lost: Lost,
}

/// Which chunks of a pack are lost.
enum Lost {
    All,
    These(HashSet<ChunkName>),
}

/// Packs of which something is wrong, or that the index describes in another way than they do
/// themselves, that are looked at closely at once: what the index says of them is in memory then.
const CLOSELY_MAX: usize = 1_024;

/// A pack as the index knows it.
#[derive(Clone, Copy)]
struct Known {
    number: u32,
    id: ObjectId,
    length: u64,
    digest: PackDigest,
}

impl Inspection<'_> {
    /// Checks every live pack that is not known to be sound; what is bad in them.
    pub(super) fn packs(
        &mut self,
        history: &History,
        index: &dyn ChunkIndex,
        level: CheckLevel,
        threads: NonZeroUsize,
    ) -> Result<BadMarks, RepositoryError> {
        let digests = match level {
            CheckLevel::Structure => vec![PackDigest::default(); index.pack_count()],
            CheckLevel::Sample(_) | CheckLevel::Data => digests(index)?,
        };
        let mut described = HashSet::new();
        let mut packs = Vec::new();
        index.each_pack(&mut |number, &Pack { id, length, .. }| {
            // Packs that an open prune is deleting may be there or not; no point uses them.
            let is_asked = history.is_lasting_pack(&id) && !self.is_known(id);
            if described.insert(id) && is_asked {
                let digest = digests.get(number as usize).copied().unwrap_or_default();
                packs.push(Known { number, id, length, digest });
            }
        })?;
        let mut bad = BadMarks::new();
        let lasting = history.packs().iter().filter(|pack| history.is_lasting_pack(pack));
        for pack in lasting.filter(|pack| !described.contains(pack)) {
            // Neither it nor an index that knows it: nothing can be said about its chunks.
            let name = Family::Pack.name(*pack)?;
            self.problem(name.as_str(), &"it is missing or unreadable, and no index describes it");
            bad.insert(*pack, HashSet::new());
        }
        // By the number alone if nothing of them is read.
        let bytes = packs.iter().map(|pack| pack.length).sum();
        self.expect(packs.len() as u64, (level != CheckLevel::Structure).then_some(bytes));
        let repository = self.repository;
        let unsure = Mutex::new((&mut *self, Vec::new()));
        let rooms = Rooms::keeping(threads.get() * PACK_ROOM_BYTES);
        on_threads(&packs, threads, &|pack| {
            let is_sound = is_surely_sound(repository, pack, level, &rooms)?;
            let mut unsure = locked(&unsure);
            let (inspection, unsure) = &mut *unsure;
            if is_sound {
                return inspection.sound(pack.id, pack.length);
            }
            unsure.push(pack.number);
            Ok(())
        })?;
        let (_, mut unsure) = unsure.into_inner().unwrap_or_else(PoisonError::into_inner);
        unsure.sort_unstable();
        for numbers in unsure.chunks(CLOSELY_MAX) {
            self.packs_closely(&summaries(index, numbers)?, level, threads, &mut bad)?;
        }
        Ok(bad)
    }

    /// Finds out what is wrong with packs, by what the index says of them.
    fn packs_closely(
        &mut self,
        summaries: &[PackSummary],
        level: CheckLevel,
        threads: NonZeroUsize,
        bad: &mut BadMarks,
    ) -> Result<(), RepositoryError> {
        let repository = self.repository;
        let shared = Mutex::new((self, bad));
        on_threads(summaries, threads, &|summary| {
            let fault = if level.reads(summary.id) {
                read(repository, summary)?
            } else {
                measure(repository, summary)?
            };
            let mut shared = locked(&shared);
            let (inspection, bad) = &mut *shared;
            let Some(Fault { what, lost }) = fault else {
                return inspection.sound(summary.id, summary.length);
            };
            inspection.counted(summary.length)?;
            inspection.problem(Family::Pack.name(summary.id)?.as_str(), &what);
            match lost {
                Lost::All => drop(bad.insert(summary.id, HashSet::new())),
                // An empty set would mark the whole pack.
                Lost::These(names) if names.is_empty() => {}
                Lost::These(names) => drop(bad.insert(summary.id, names)),
            }
            Ok(())
        })
    }
}

/// Whether a pack is as it should be, as far as that is seen without knowing every chunk in it from the
/// index.
fn is_surely_sound(
    repository: &Repository,
    pack: &Known,
    level: CheckLevel,
    rooms: &Rooms,
) -> Result<bool, RepositoryError> {
    let name = Family::Pack.name(pack.id)?;
    let store = &*repository.parts.store;
    let looked = if level.reads(pack.id) {
        // One size for all: a room is kept for each thread, and fits whatever comes.
        let mut bytes = rooms.take(PACK_ROOM_BYTES);
        let is_sound = is_whole(repository, pack, &name, &mut bytes);
        rooms.give_back(bytes);
        is_sound
    } else {
        let length = store.size(&name).map(|length| length == Some(pack.length));
        length.map_err(|error| RepositoryError::reading(&name, error))
    };
    match looked {
        Err(error) if error.is_local() => Ok(false),
        looked => looked,
    }
}

/// Whether a pack, read into `bytes`, opens to what the index says of it.
fn is_whole(
    repository: &Repository,
    pack: &Known,
    name: &BlobName,
    bytes: &mut Vec<u8>,
) -> Result<bool, RepositoryError> {
    object::get_into(&*repository.parts.store, Family::Pack, pack.id, bytes)?;
    let (keys, knife) = (repository.keys(), &repository.knife);
    let directory = pack::read_directory(bytes, keys, name)?;
    let mut is_sound = PackDigest::of(&directory) == pack.digest;
    pack::verify(bytes, &directory, keys, knife, name, &mut |_, _| is_sound = false)?;
    Ok(is_sound)
}

/// Checks that a pack stands and how long it is. Of one that is cut short only the groups that do
/// not lie within it are sure to be lost; of the others a check of all data knows.
fn measure(
    repository: &Repository,
    summary: &PackSummary,
) -> Result<Option<Fault>, RepositoryError> {
    let name = Family::Pack.name(summary.id)?;
    let length =
        repository.parts.store.size(&name).map_err(|error| RepositoryError::reading(&name, error));
    let (what, lost) = match length {
        Ok(Some(length)) if length == summary.length => return Ok(None),
        Ok(Some(length)) => {
            let what = "it is longer or shorter than it should be";
            (RepositoryError::damaged(&name, what), Lost::These(beyond(length, summary)))
        }
        Ok(None) => (RepositoryError::damaged(&name, MISSING), Lost::All),
        Err(error) if error.is_local() => (error, Lost::All),
        Err(error) => return Err(error),
    };
    Ok(Some(Fault { what, lost }))
}

/// The chunks of a pack whose groups do not lie within its first `length` bytes.
fn beyond(length: u64, summary: &PackSummary) -> HashSet<ChunkName> {
    let mut end = HEADER_BYTES as u64;
    let mut beyond = HashSet::new();
    for group in &summary.directory.groups {
        end += u64::from(group.sealed);
        if end > length {
            beyond.extend(group.members.iter().map(|member| member.name));
        }
    }
    beyond
}

/// Reads and opens every byte of a pack.
fn read(repository: &Repository, summary: &PackSummary) -> Result<Option<Fault>, RepositoryError> {
    let name = Family::Pack.name(summary.id)?;
    let damaged = |what: &str| RepositoryError::damaged(&name, what);
    let all = |what| Ok(Some(Fault { what, lost: Lost::All }));
    let store = &*repository.parts.store;
    let mut fault = None;
    let bytes = match store.read(&name).map_err(|error| RepositoryError::reading(&name, error)) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return all(damaged(MISSING)),
        Err(error) if error.is_local() => {
            fault = Some(error);
            salvage(store, summary, &name)?
        }
        Err(error) => return Err(error),
    };
    let mut lost = HashSet::new();
    let (keys, knife) = (repository.keys(), &repository.knife);
    let verified =
        pack::verify(&bytes, &summary.directory, keys, knife, &name, &mut |chunk, error| {
            lost.insert(chunk);
            fault.get_or_insert_with(|| error.clone());
        });
    match verified {
        Ok(()) => {}
        Err(error) if error.is_local() => return all(error),
        Err(error) => return Err(error),
    }
    match pack::read_directory(&bytes, keys, &name) {
        Ok(directory) if directory == summary.directory => {}
        Ok(_) => drop(fault.get_or_insert_with(|| damaged("its directory and the index differ"))),
        Err(error) if error.is_local() => drop(fault.get_or_insert(error)),
        Err(error) => return Err(error),
    }
    if ObjectId::of(&bytes) != summary.id {
        fault.get_or_insert_with(|| damaged("its bytes do not match its name"));
    }
    Ok(fault.map(|what| Fault { what, lost: Lost::These(lost) }))
}

/// The bytes of a pack that cannot be read in one piece, part by part. What cannot be read is left
/// zero, and opens to nothing.
fn salvage(
    store: &dyn BlobStore,
    summary: &PackSummary,
    name: &BlobName,
) -> Result<Vec<u8>, RepositoryError> {
    let groups = summary.directory.groups.iter().map(|group| group.sealed as usize);
    let mut bytes = Vec::new();
    for length in std::iter::once(HEADER_BYTES).chain(groups) {
        let part = store.read_range(name, bytes.len() as u64, length);
        match part.map_err(|error| RepositoryError::reading(name, error)) {
            Ok(Some(part)) => bytes.extend(part),
            Err(error) if !error.is_local() => return Err(error),
            _ => bytes.resize(bytes.len() + length, 0),
        }
    }
    Ok(bytes)
}
