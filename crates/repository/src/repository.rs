//! The repository: opened with a vault's keys, over a store.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use custody_ambient::{Clock, Entropy, Timestamp};
use custody_blob_store::{BlobStore, StoreError};
use custody_entries::{Entry, Target};
use custody_envelope::VaultKeys;

use crate::RepositoryError;
use crate::chunk::{Chunker, Knife};
use crate::index::cache::IndexLimits;
use crate::listing::{Body, Node};
use crate::log::{
    EntryHash, Genesis, HeadPin, History, HostProbe, Log, LogAuthenticator, LogError, LogFault,
    LogParts, Session, survey,
};
use crate::marker::{MARKER, Marker};
use crate::object::{self, Family};
use crate::point::{Point, PointId};
use crate::progress::{Progress, Total};
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
    pub(crate) runs: OnceLock<Arc<dyn BlobStore>>,
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
        Self::open_from(parts, pin, None)
    }

    /// [`Repository::open`] that reads the log from a checkpoint on record, if that is what stands in
    /// the store.
    pub fn open_from(
        parts: RepositoryParts,
        pin: Option<HeadPin>,
        checkpoint: Option<HeadPin>,
    ) -> Result<Self, RepositoryError> {
        let marker = Marker::read(&*parts.store)?;
        let expected = parts.keys.vault();
        if marker.vault != expected {
            return Err(RepositoryError::ForeignVault { found: marker.vault, expected });
        }
        let knife = Knife::new(&parts.keys)?;
        let log = match Log::open_from(parts.log(), checkpoint) {
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

    /// The newest checkpoint of its log: whoever keeps it has the log read from there.
    pub fn newest_checkpoint(&self) -> Option<HeadPin> {
        match &self.log {
            LogAccess::Sound(log) => log.newest_checkpoint(),
            LogAccess::RolledBack(..) | LogAccess::Damaged(..) => None,
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
                progress.expect(Total::exact(point.counts.files, point.counts.bytes));
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

    /// Ends a session, and writes a checkpoint of the log if one is due. If that fails, nothing is
    /// lost: who waits for the session finds it dead, and the next job writes the checkpoint.
    pub(crate) fn end_session(&self, session: Session) {
        let _ = session.end();
        let _ = self.log().map(|log| log.checkpoint_if_due());
    }

    pub(crate) fn begin_session(&self) -> Result<Session, RepositoryError> {
        Ok(Session::begin(Arc::clone(self.log()?), self.parts.host.own_facts()?)?)
    }
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
