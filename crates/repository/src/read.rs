//! Reading chunks and contents back, every byte verified on the way.

mod moved;
mod wanted;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use custody_blob_store::{BlobName, BlobStore};
use custody_envelope::{HEADER_BYTES, ObjectType, Opener};

use crate::RepositoryError;
use crate::chunk::{ChunkName, Knife};
use crate::compress::{Compression, Decompressor};
use crate::content::Content;
use crate::extents::Extents;
use crate::index::{ChunkIndex, Place};
use crate::listing::{self, LISTING_BYTES_MAX, Node};
use crate::object::{Family, read_part};
use crate::pack::{GroupOpener, WRONG_CHUNK};
use crate::point::{Point, PointId};
use crate::repository::Repository;
use crate::rooms::{Roomed, Rooms};
use crate::sealed::Keys;
use moved::{Elsewhere, Moved};
pub(crate) use wanted::Again;
use wanted::Wanted;

/// Plain groups kept for the chunks beside the one asked for, in bytes.
const CACHE_BYTES_MAX: usize = 24 << 20;
/// Memory of groups kept for the next ones, in bytes.
const EMPTY_BYTES_MAX: usize = 8 << 20;
/// Openers kept, one a pack.
const OPENERS_MAX: usize = 256;

/// Reads chunks through a small cache of groups; many threads may share it.
pub(crate) struct ChunkReader<'r> {
    store: &'r dyn BlobStore,
    keys: Keys<'r>,
    knife: &'r Knife,
    index: &'r dyn ChunkIndex,
    cache: Mutex<Cache>,
    openers: Mutex<HashMap<u32, Arc<Opener>>>,
    /// Those that no thread is using.
    decompressors: Mutex<Vec<Decompressor>>,
    rooms: Arc<Rooms>,
    /// What is going to be read, if that is known.
    wanted: OnceLock<Wanted>,
    /// Where chunks are that a prune moves meanwhile.
    moved: Option<&'r dyn Elsewhere>,
}

/// A slot of the cache: filled by the first thread that wants the group, awaited by others.
type Slot = Arc<Mutex<Option<Result<Arc<Roomed>, RepositoryError>>>>;

/// The groups read last.
#[derive(Default)]
struct Cache {
    kept: HashMap<u32, Kept>,
    /// Plain length of all groups kept.
    bytes: usize,
    /// Counts the look-ups.
    now: u64,
}

struct Kept {
    slot: Slot,
    plain: usize,
    last_used: u64,
}

/// A chunk's bytes within its group.
#[derive(Clone)]
pub(crate) struct ChunkBytes {
    group: Arc<Roomed>,
    range: Range<usize>,
}

impl AsRef<[u8]> for ChunkBytes {
    fn as_ref(&self) -> &[u8] {
        self.group.get(self.range.clone()).unwrap_or_default()
    }
}

impl ChunkBytes {
    /// The same bytes without their group.
    fn alone(&self) -> Self {
        Self::of(self.as_ref().to_vec())
    }

    /// Bytes that are a chunk, whole.
    fn of(bytes: Vec<u8>) -> Self {
        Self { range: 0..bytes.len(), group: Arc::new(Roomed::alone(bytes)) }
    }
}

impl<'r> ChunkReader<'r> {
    pub(crate) fn new(
        store: &'r dyn BlobStore,
        keys: Keys<'r>,
        knife: &'r Knife,
        index: &'r dyn ChunkIndex,
    ) -> Self {
        Self {
            store,
            keys,
            knife,
            index,
            cache: Mutex::default(),
            openers: Mutex::default(),
            decompressors: Mutex::default(),
            rooms: Arc::new(Rooms::keeping(EMPTY_BYTES_MAX)),
            wanted: OnceLock::new(),
            moved: None,
        }
    }

    /// Follows chunks that are not where the index says.
    fn follow(self, moved: &'r dyn Elsewhere) -> Self {
        Self { moved: Some(moved), ..self }
    }

    /// Finds out which chunks restoring `nodes` wants more than once, to keep them when they are
    /// first read. Reads every listing, and asks `keep_going` before each.
    pub(crate) fn foresee(
        &self,
        nodes: &[Node],
        keep_going: &dyn Fn() -> Result<(), RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let wanted = Wanted::by(nodes, self, keep_going)?;
        self.wanted.get_or_init(|| wanted);
        Ok(())
    }

    /// The chunk's bytes, from the first of its places that is not damaged.
    pub(crate) fn chunk(&self, name: &ChunkName) -> Result<ChunkBytes, RepositoryError> {
        self.chunk_or(name, Again::Kept, &|| None)
    }

    /// The same; what is `at_hand` is used instead of reading the chunk, if it is the chunk.
    pub(crate) fn chunk_or(
        &self,
        name: &ChunkName,
        again: Again,
        at_hand: &dyn Fn() -> Option<Vec<u8>>,
    ) -> Result<ChunkBytes, RepositoryError> {
        let read = || match at_hand().filter(|bytes| self.is_named(bytes, name)) {
            Some(bytes) => Ok(ChunkBytes::of(bytes)),
            None => self.stored_chunk(name),
        };
        match self.wanted.get() {
            Some(wanted) => wanted.using(name, again, read),
            None => read(),
        }
    }

    /// Whether what was foreseen will use the chunk again.
    pub(crate) fn is_wanted_again(&self, name: &ChunkName) -> bool {
        self.wanted.get().is_some_and(|wanted| wanted.is_wanted(name))
    }

    fn stored_chunk(&self, name: &ChunkName) -> Result<ChunkBytes, RepositoryError> {
        let mut failure = RepositoryError::damaged("the index", "a chunk is in no pack");
        if let Some(place) = self.index.nearby(name)
            && let Ok(chunk) = self.chunk_at(&place)
        {
            return Ok(chunk);
        }
        for place in self.index.places(name)? {
            match self.chunk_at(&place) {
                Err(error) if error.is_local() => failure = error,
                outcome => return outcome,
            }
        }
        let moved = self.moved.map(|moved| moved.chunk(name, self)).transpose()?;
        moved.flatten().ok_or(failure)
    }

    fn chunk_at(&self, place: &Place) -> Result<ChunkBytes, RepositoryError> {
        let group = self.group(place)?;
        let start = place.offset as usize;
        let bytes = ChunkBytes { group, range: start..start + place.length as usize };
        if self.knife.name(bytes.as_ref()) == place.name {
            return Ok(bytes);
        }
        let pack = self.index.group(place)?.map(|(_, pack)| pack.id);
        match pack {
            Some(pack) => Err(RepositoryError::damaged(Family::Pack.name(pack)?, WRONG_CHUNK)),
            None => Err(RepositoryError::damaged("the index", WRONG_CHUNK)),
        }
    }

    fn group(&self, place: &Place) -> Result<Arc<Roomed>, RepositoryError> {
        let plain = self.index.group(place)?.map_or(0, |(group, _)| group.shape.plain as usize);
        let slot = locked(&self.cache).slot(place, plain);
        let mut filled = locked(&slot);
        filled.get_or_insert_with(|| self.read_group(place).map(Arc::new)).clone()
    }

    fn read_group(&self, place: &Place) -> Result<Roomed, RepositoryError> {
        let (group, pack) =
            self.index.group(place)?.ok_or(RepositoryError::Bug("a place without its group"))?;
        let name = Family::Pack.name(pack.id)?;
        let opener = self.opener(group.pack, &name)?;
        let (at, length) = (u64::from(group.offset), group.sealed as usize);
        let mut sealed = read_part(self.store, &name, at, length)?;
        let mut plain = match group.shape.compression {
            Compression::None => Vec::new(),
            Compression::Zstd => self.rooms.take(group.shape.plain as usize),
        };
        let unused = locked(&self.decompressors).pop();
        let mut decompressor = unused.map_or_else(Decompressor::new, Ok)?;
        let mut groups =
            GroupOpener { opener: &opener, decompressor: &mut decompressor, object: &name };
        let opened = groups.open(group.position, group.shape, &mut sealed, &mut plain);
        locked(&self.decompressors).push(decompressor);
        opened.map(|()| Roomed::within(&self.rooms, plain))
    }

    /// What opens the groups of a pack, by its number in the index.
    fn opener(&self, pack: u32, name: &BlobName) -> Result<Arc<Opener>, RepositoryError> {
        if let Some(opener) = locked(&self.openers).get(&pack) {
            return Ok(Arc::clone(opener));
        }
        let header = read_part(self.store, name, 0, HEADER_BYTES)?;
        let opener = Arc::new(self.keys.opener(ObjectType::Pack, &header, name)?);
        let mut openers = locked(&self.openers);
        if openers.len() >= OPENERS_MAX {
            openers.clear();
        }
        openers.insert(pack, Arc::clone(&opener));
        Ok(opener)
    }

    /// Whether these bytes are the chunk of this name.
    pub(crate) fn is_named(&self, bytes: &[u8], name: &ChunkName) -> bool {
        self.knife.name(bytes) == *name
    }

    /// The entries of the folder whose listing this is.
    pub(crate) fn listing(&self, content: &Content) -> Result<Vec<Node>, RepositoryError> {
        let bytes = self.listing_bytes(content)?;
        listing::decode(&bytes).map_err(|malformed| malformed.in_object("a folder's listing"))
    }

    /// A listing as one string.
    fn listing_bytes(&self, content: &Content) -> Result<Vec<u8>, RepositoryError> {
        let damaged = |what| RepositoryError::damaged("a folder's listing", what);
        if content.size > LISTING_BYTES_MAX as u64 {
            return Err(damaged("it is longer than any"));
        }
        let (mut bytes, mut extents) = (Vec::new(), Extents::of(content, self));
        while let Some(extent) = extents.next()? {
            let name = extent.chunk.ok_or_else(|| damaged("it has a hole"))?;
            let chunk = self.chunk(&name)?;
            if chunk.as_ref().len() as u64 != extent.length {
                return Err(damaged("a chunk has another length than it says"));
            }
            if bytes.len() as u64 + extent.length > content.size {
                return Err(damaged("it is longer than it says"));
            }
            bytes.extend_from_slice(chunk.as_ref());
        }
        Ok(bytes)
    }
}

impl Repository {
    /// Reads in several points over one index; they are handed over in the order asked for.
    pub(crate) fn read_points<T>(
        &self,
        ids: &[PointId],
        read: impl FnOnce(&[Point], &ChunkReader<'_>) -> Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        let history = self.history()?;
        let mut points = Vec::with_capacity(ids.len());
        for id in ids {
            if !history.points().contains_key(&id.0) {
                return Err(RepositoryError::PointNotFound(id.to_string()));
            }
            points.push(self.point(*id)?);
        }
        let index = self.open_index(&history, &BTreeSet::new())?;
        let reader = ChunkReader::new(&*self.parts.store, self.keys(), &self.knife, &*index);
        read(&points, &reader.follow(&Moved::since(self, history)))
    }
}

impl Cache {
    /// The slot of a group. Those not used for longest give way when there are too many bytes;
    /// whoever still reads one keeps it alive.
    fn slot(&mut self, place: &Place, plain: usize) -> Slot {
        self.now += 1;
        if let Some(kept) = self.kept.get_mut(&place.group) {
            kept.last_used = self.now;
            return Arc::clone(&kept.slot);
        }
        while self.bytes + plain > CACHE_BYTES_MAX {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.last_used);
            let Some(oldest) = oldest.map(|(group, _)| *group) else { break };
            self.bytes -= self.kept.remove(&oldest).map_or(0, |kept| kept.plain);
        }
        let slot = Slot::default();
        let kept = Kept { slot: Arc::clone(&slot), plain, last_used: self.now };
        self.kept.insert(place.group, kept);
        self.bytes += plain;
        slot
    }
}

/// A lock is held by code that does not panic; if a test's double does, the data is still whole.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
