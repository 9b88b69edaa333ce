//! The repository: opened with a vault's keys, over a store.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use custody_ambient::{Clock, Entropy, Timestamp};
use custody_blob_store::{BlobStore, StoreError};
use custody_entries::{Entry, Target};
use custody_envelope::{ObjectType, VaultKeys};
use minicbor::Decoder;

use crate::RepositoryError;
use crate::chunk::{ChunkName, Chunker, Knife};
use crate::content::{array_of, array32, end, length_of_array};
use crate::error::Malformed;
use crate::index::cache::{Cache, IndexLimits};
use crate::index::capped::CappedIndex;
use crate::index::{BadMarks, ChunkIndex, Index, IndexBuilder};
use crate::index_object;
use crate::listing::{Body, Node};
use crate::log::{
    EntryHash, Genesis, HeadPin, History, HostProbe, Log, LogAuthenticator, LogError, LogFault,
    LogParts, ObjectId, Session, survey,
};
use crate::marker::{MARKER, Marker};
use crate::object::{self, Family};
use crate::pack::{PackSummary, read_directory};
use crate::point::{Point, PointId};
use crate::progress::Progress;
use crate::read::ChunkReader;
use crate::restore::{self, RestoreReport};
use crate::rings::Rings;
use crate::sealed::Keys;

/// Opens the store of a cache when it is first needed.
pub type OpenCache = Arc<dyn Fn() -> Result<Arc<dyn BlobStore>, StoreError> + Send + Sync>;

/// What a repository needs of the world around it.
#[derive(Clone)]
pub struct RepositoryParts {
    /// Where the objects are.
    pub store: Arc<dyn BlobStore>,
    /// The vault's keys, under a lease.
    pub keys: VaultKeys,
    /// Vouches for log entries.
    pub authenticator: Arc<dyn LogAuthenticator>,
    /// Where the index of a large repository is kept in a form of this machine's own; without it
    /// every index is read into memory.
    pub cache: Option<OpenCache>,
    /// How much of an index may lie in memory.
    pub index_limits: IndexLimits,
    /// Which process this is, and which others live.
    pub host: Arc<dyn HostProbe>,
    /// Times points and waits.
    pub clock: Arc<dyn Clock>,
    /// Salts, nonces and session ids.
    pub entropy: Arc<dyn Entropy>,
}

impl RepositoryParts {
    /// What its log needs of them.
    pub fn log(&self) -> LogParts {
        LogParts {
            store: Arc::clone(&self.store),
            vault: self.keys.vault(),
            authenticator: Arc::clone(&self.authenticator),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
        }
    }
}

/// A vault's repository. Threads may share it; every operation reads the log first, so several
/// processes may work on one store.
pub struct Repository {
    pub(crate) parts: RepositoryParts,
    pub(crate) knife: Knife,
    log: LogAccess,
    /// The store of runs, once it was needed.
    runs: OnceLock<Arc<dyn BlobStore>>,
}

/// How the log was found.
enum LogAccess {
    Sound(Arc<Log>),
    /// Sound, but not the one that was seen before: nothing is written to it.
    RolledBack(Arc<Log>, LogError),
    /// Damaged; what its good entries say is enough to restore from.
    Damaged(Arc<History>, LogError),
}

impl Repository {
    /// Makes a repository in a store that holds none: the first ring, the log, then the marker.
    /// What an attempt that died before its marker left behind is cleared away.
    ///
    /// # Errors
    /// [`RepositoryError::AlreadyExists`]; [`RepositoryError::Damaged`] if there is data but no
    /// marker.
    pub fn create(
        parts: RepositoryParts,
        ring: &[u8],
        fingerprint: EntryHash,
    ) -> Result<Self, RepositoryError> {
        match Marker::read(&*parts.store) {
            Err(RepositoryError::NotFound) => {}
            Ok(_) => return Err(RepositoryError::AlreadyExists),
            Err(error) => return Err(error),
        }
        clear_dead_attempt(&*parts.store)?;
        Rings::new(&*parts.store).create(1, ring)?;
        let chunkers = vec![Chunker::ContentDefined.number(), Chunker::Fixed.number()];
        let log = Log::create(parts.log(), Genesis { fingerprint, chunkers })?;
        let marker = Marker { vault: parts.keys.vault(), created: begun(&log)? };
        marker.write(&*parts.store)?;
        let knife = Knife::new(&parts.keys)?;
        Ok(Self { parts, knife, log: LogAccess::Sound(Arc::new(log)), runs: OnceLock::new() })
    }

    /// Opens the repository in a store. `pin` is the newest head on record. A store that does not
    /// hold it, or whose log is damaged, opens read-only; [`Repository::read_only_because`] says
    /// why.
    ///
    /// # Errors
    /// [`RepositoryError::NotFound`], [`RepositoryError::NewerFormat`],
    /// [`RepositoryError::ForeignVault`], and the log's own.
    pub fn open(parts: RepositoryParts, pin: Option<HeadPin>) -> Result<Self, RepositoryError> {
        let marker = Marker::read(&*parts.store)?;
        let expected = parts.keys.vault();
        if marker.vault != expected {
            return Err(RepositoryError::ForeignVault { found: marker.vault, expected });
        }
        let knife = Knife::new(&parts.keys)?;
        let log = match Log::open(parts.log(), None) {
            Ok(log) => match pin.map_or(Ok(()), |pin| log.check_pin(pin)) {
                Ok(()) => LogAccess::Sound(Arc::new(log)),
                Err(error @ LogError::RolledBack { .. }) => {
                    LogAccess::RolledBack(Arc::new(log), error)
                }
                Err(error) => return Err(error.into()),
            },
            Err(LogError::Fault { fault: fault @ LogFault::NewerFormat(_), number }) => {
                return Err(LogError::Fault { fault, number }.into());
            }
            Err(
                error @ (LogError::Fault { .. }
                | LogError::Absent
                | LogError::Store(StoreError::Device(_))),
            ) => {
                let mut found = survey(&parts.log())?.history;
                // The entries that name these may be the ones that are damaged.
                let stored = |family| object::listed(&*parts.store, family);
                found.adopt(stored(Family::Pack)?, stored(Family::Index)?);
                LogAccess::Damaged(Arc::new(found), error)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { parts, knife, log, runs: OnceLock::new() })
    }

    /// Why nothing is written to the repository, if that is so: it was rolled back, or its log is
    /// damaged.
    pub fn read_only_because(&self) -> Option<&LogError> {
        match &self.log {
            LogAccess::Sound(_) => None,
            LogAccess::RolledBack(_, why) | LogAccess::Damaged(_, why) => Some(why),
        }
    }

    /// Its log, to write to: sessions, forgetting, the keyring in force.
    ///
    /// # Errors
    /// [`Repository::read_only_because`].
    pub fn log(&self) -> Result<&Arc<Log>, RepositoryError> {
        match &self.log {
            LogAccess::Sound(log) => Ok(log),
            LogAccess::RolledBack(_, why) | LogAccess::Damaged(_, why) => Err(why.clone().into()),
        }
    }

    /// What its log says now.
    pub fn history(&self) -> Result<Arc<History>, RepositoryError> {
        match &self.log {
            LogAccess::Sound(log) | LogAccess::RolledBack(log, _) => Ok(log.refresh()?),
            LogAccess::Damaged(history, _) => Ok(Arc::clone(history)),
        }
    }

    /// Its keyrings.
    pub fn rings(&self) -> Rings<'_> {
        Rings::new(&*self.parts.store)
    }

    /// What a point says.
    pub fn point(&self, id: PointId) -> Result<Point, RepositoryError> {
        let bytes = object::get(&*self.parts.store, Family::Point, id.0)?;
        Point::open(&bytes, self.keys(), &Family::Point.name(id.0)?)
    }

    /// Restores what lies at `path` in a point into the top of `target`; the whole point if `path`
    /// is empty. Damaged files are left out with a warning.
    pub fn restore(
        &self,
        point: PointId,
        path: &[u8],
        target: &mut dyn Target,
        threads: NonZeroUsize,
        progress: &dyn Progress,
    ) -> Result<RestoreReport, RepositoryError> {
        self.read_point(point, |point, reader| {
            let nodes = if path.is_empty() {
                if let Some(top) = &point.top {
                    target.root(top)?;
                }
                reader.listing(&point.root)?
            } else {
                vec![find(point, path, reader)?]
            };
            restore::restore(nodes, reader, &self.parts.keys, target, threads, progress)
        })
    }

    /// The entries of the folder at `path` in a point (its top if `path` is empty), or the one
    /// entry there if it is no folder.
    pub fn list(&self, point: PointId, path: &[u8]) -> Result<Vec<Entry>, RepositoryError> {
        self.read_point(point, |point, reader| {
            let content = if path.is_empty() {
                point.root.clone()
            } else {
                match find(point, path, reader)? {
                    Node { body: Body::Folder(content), .. } => content,
                    Node { entry, .. } => return Ok(vec![entry]),
                }
            };
            Ok(reader.listing(&content)?.into_iter().map(|node| node.entry).collect())
        })
    }

    /// Writes one file of a point to `output`, holes as zeros, without reading the rest.
    pub fn read_file(
        &self,
        point: PointId,
        path: &[u8],
        output: &mut dyn std::io::Write,
    ) -> Result<u64, RepositoryError> {
        self.read_point(point, |point, reader| {
            let Body::File { content, .. } = find(point, path, reader)?.body else {
                return Err(path_not_found(path));
            };
            restore::write_out(&content, reader, output)?;
            Ok(content.size)
        })
    }

    fn read_point<T>(
        &self,
        id: PointId,
        read: impl FnOnce(&Point, &ChunkReader<'_>) -> Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        self.read_points(&[id], |points, reader| match points {
            [point] => read(point, reader),
            _ => Err(RepositoryError::Bug("one point was asked for")),
        })
    }

    pub(crate) fn keys(&self) -> Keys<'_> {
        Keys { vault: &self.parts.keys, entropy: &*self.parts.entropy }
    }

    pub(crate) fn begin_session(&self) -> Result<Session, RepositoryError> {
        Ok(Session::begin(Arc::clone(self.log()?), self.parts.host.own_facts()?)?)
    }

    /// The index of every live pack, on disk if it is large. Packs whose index object is lost are
    /// read themselves; packs that are lost as well are missing from it. New points do not rely on
    /// `leaving`.
    pub(crate) fn open_index<'r>(
        &'r self,
        history: &History,
        leaving: &BTreeSet<ObjectId>,
    ) -> Result<Box<dyn ChunkIndex + 'r>, RepositoryError> {
        let limits = self.parts.index_limits;
        let objects = self.index_objects(history)?;
        let bytes: u64 = objects.iter().map(|(_, bytes)| bytes).sum();
        if bytes > limits.memory_bytes {
            match self.open_capped(history, leaving, &objects) {
                Ok(Some(index)) => return Ok(Box::new(index)),
                // A cache that cannot be kept must not keep anyone from his data. If it is the vault's
                // own store that fails, it says so once more.
                Ok(None) | Err(RepositoryError::Store(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Box::new(self.load_index(history, leaving)?))
    }

    fn open_capped(
        &self,
        history: &History,
        leaving: &BTreeSet<ObjectId>,
        objects: &[(ObjectId, u64)],
    ) -> Result<Option<CappedIndex<'_>>, RepositoryError> {
        let Some(open) = &self.parts.cache else { return Ok(None) };
        let runs = if let Some(runs) = self.runs.get() {
            runs
        } else {
            let opened = open()?;
            self.runs.get_or_init(|| opened)
        };
        let (limits, runs) = (self.parts.index_limits, &**runs);
        let (store, clock) = (&*self.parts.store, &*self.parts.clock);
        let cache = Cache { runs, store, keys: self.keys(), clock, limits };
        let rest = |uncovered: &[ObjectId], described: &[ObjectId]| {
            let mut builder = IndexBuilder::new(history.packs());
            builder.know(described);
            Ok(self.fill(builder, uncovered)?.finish(&BTreeSet::new()))
        };
        let bad = self.bad_marks()?;
        CappedIndex::open(cache, objects, history.packs(), leaving, bad, &rest).map(Some)
    }

    /// The index objects that the log names, each with its size in bytes as far as a listing knows it
    /// already.
    fn index_objects(&self, history: &History) -> Result<Vec<(ObjectId, u64)>, RepositoryError> {
        let mut sizes: BTreeMap<ObjectId, u64> =
            history.indexes().keys().map(|id| (*id, 0)).collect();
        self.parts.store.list(Family::Index.prefix(), &mut |name, length| {
            if let Some(size) = Family::Index.id_in(&name).and_then(|id| sizes.get_mut(&id)) {
                *size = length;
            }
        })?;
        Ok(sizes.into_iter().collect())
    }

    /// The same in memory, whatever its size.
    pub(crate) fn load_index(
        &self,
        history: &History,
        leaving: &BTreeSet<ObjectId>,
    ) -> Result<Index, RepositoryError> {
        let mut index = self.index_builder(history)?.finish(leaving);
        index.mark(&self.bad_marks()?);
        Ok(index)
    }

    /// The index without regard to what is marked bad.
    pub(crate) fn load_index_unmarked(&self, history: &History) -> Result<Index, RepositoryError> {
        Ok(self.index_builder(history)?.finish(&BTreeSet::new()))
    }

    fn index_builder<'h>(&self, history: &'h History) -> Result<IndexBuilder<'h>, RepositoryError> {
        let objects: Vec<ObjectId> = history.indexes().keys().copied().collect();
        self.fill(IndexBuilder::new(history.packs()), &objects)
    }

    /// Adds what these index objects say, and what the packs that nothing describes say themselves.
    fn fill<'h>(
        &self,
        mut builder: IndexBuilder<'h>,
        objects: &[ObjectId],
    ) -> Result<IndexBuilder<'h>, RepositoryError> {
        for id in objects {
            let name = Family::Index.name(*id)?;
            let opened = object::get(&*self.parts.store, Family::Index, *id)
                .and_then(|bytes| index_object::open(&bytes, self.keys(), &name));
            match opened {
                Ok((table, places)) => builder
                    .add_table(&table, places)
                    .map_err(|malformed| malformed.in_object(name))?,
                Err(error) if error.is_local() => {}
                Err(error) => return Err(error),
            }
        }
        for id in builder.missing() {
            match self.read_pack_summary(id) {
                Ok(summary) => builder.add(&summary)?,
                Err(error) if error.is_local() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(builder)
    }

    /// What a pack says about itself.
    pub(crate) fn read_pack_summary(&self, id: ObjectId) -> Result<PackSummary, RepositoryError> {
        let bytes = object::get(&*self.parts.store, Family::Pack, id)?;
        let directory = read_directory(&bytes, self.keys(), &Family::Pack.name(id)?)?;
        Ok(PackSummary { id, length: bytes.len() as u64, directory })
    }

    /// Everything that is marked bad. A lagging listing only puts healing off.
    pub(crate) fn bad_marks(&self) -> Result<BadMarks, RepositoryError> {
        let mut names = Vec::new();
        self.parts.store.list(Family::Bad.prefix(), &mut |name, _| names.push(name))?;
        let mut marks = BadMarks::new();
        for id in names.iter().filter_map(|name| Family::Bad.id_in(name)) {
            let name = Family::Bad.name(id)?;
            let opened = object::get(&*self.parts.store, Family::Bad, id)
                .and_then(|bytes| self.keys().open(ObjectType::Index, BAD, &bytes, &name))
                .and_then(|plain| {
                    decode_bad(&plain, &mut marks).map_err(|malformed| malformed.in_object(&name))
                });
            match opened {
                Err(error) if !error.is_local() => return Err(error),
                _ => {}
            }
        }
        Ok(marks)
    }
}

/// Associated data that tells bad marks from index objects.
pub(crate) const BAD: &[u8] = b"bad";

fn decode_bad(plain: &[u8], marks: &mut BadMarks) -> Result<(), Malformed> {
    let mut cbor = Decoder::new(plain);
    for _ in 0..length_of_array(&mut cbor)? {
        array_of(&mut cbor, 2)?;
        let pack = ObjectId::from_bytes(array32(&mut cbor)?);
        let mut chunks = HashSet::new();
        for _ in 0..length_of_array(&mut cbor)? {
            chunks.insert(ChunkName(array32(&mut cbor)?));
        }
        // An empty set marks the whole pack and stays so whatever else is marked in it.
        let whole = chunks.is_empty() || marks.get(&pack).is_some_and(HashSet::is_empty);
        let marked = marks.entry(pack).or_default();
        if whole {
            marked.clear();
        } else {
            marked.extend(chunks);
        }
    }
    end(&cbor)
}

/// When a log was begun.
fn begun(log: &Log) -> Result<Timestamp, RepositoryError> {
    let first = log.read_entry(1)?.ok_or(LogError::Absent)?;
    Timestamp::from_millisecond(first.entry.time_ms)
        .map_err(|_| RepositoryError::Bug("the clock gave a time that cannot be written"))
}

/// Removes the ring and genesis of a `create` that died before its marker. Anything more than
/// those is a repository that lost its marker, and is left alone.
fn clear_dead_attempt(store: &dyn BlobStore) -> Result<(), RepositoryError> {
    const LEFT_BEHIND: [&str; 3] =
        ["keys/ring-0000000001", "keys/ring-0000000001.copy", "log/0000000001"];
    let mut more = false;
    for prefix in ["keys/", "log/", "packs/", "index/", "points/"] {
        store.list(prefix, &mut |name, _| more |= !LEFT_BEHIND.contains(&name.as_str()))?;
    }
    if more {
        return Err(RepositoryError::damaged(MARKER, "it is missing, and the store holds data"));
    }
    for name in LEFT_BEHIND {
        store.delete(&name.parse()?)?;
    }
    Ok(())
}

/// The entry at `path` below a point's top.
pub(crate) fn find(
    point: &Point,
    path: &[u8],
    reader: &ChunkReader<'_>,
) -> Result<Node, RepositoryError> {
    let mut content = point.root.clone();
    let mut found = None;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let mut nodes = reader.listing(&content)?;
        let at = nodes
            .binary_search_by(|node| node.entry.name.as_bytes().cmp(name))
            .map_err(|_| path_not_found(path))?;
        let node = nodes.swap_remove(at);
        content = match &node.body {
            Body::Folder(content) => content.clone(),
            _ => crate::content::Content::empty(),
        };
        found = Some(node);
    }
    found.ok_or_else(|| path_not_found(path))
}

fn path_not_found(path: &[u8]) -> RepositoryError {
    RepositoryError::PathNotFound(path.escape_ascii().to_string())
}
