//! Backing up: a source into a point (docs/formats/repository.md, "Order of writing").
//!
//! The walk runs on the caller's thread and hands files, a batch at a time, to workers that read,
//! cut, name, group and compress. Whoever fills the open pack seals, proves and stores it. Memory is
//! bounded: per worker a read buffer and three groups (about 5 MiB), the extents of the file at hand (6 MiB, and
//! 48 bytes for each 100 MiB of the file) and two queued groups, one open
//! pack (16 MiB), for each worker that is closing one the pack and its sealed form, and what is known
//! of the chunks that are new ([`crate::IndexLimits`]).

mod extent_list;
pub(crate) mod fresh;
mod shared;
mod tree;
mod walk;
mod worker;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use crossbeam_channel::{RecvTimeoutError, bounded};
use custody_ambient::Timestamp;
use custody_entries::Source;

use crate::RepositoryError;
use crate::compress::CompressionEffort;
use crate::listing::Node;
use crate::log::{HEARTBEAT_INTERVAL, HeadPin, ItemGuid, NewPoint, ObjectId, Session};
use crate::object::{self, Family};
use crate::point::{Counts, Point, PointId, PointWarning};
use crate::progress::{Phase, Progress, Total};
use crate::read::locked;
use crate::repository::Repository;
use fresh::{Added, Fresh};
use shared::Shared;
use walk::Walk;
use worker::Worker;

/// Batches of files, and closed groups, that wait for each worker.
const QUEUE_PER_WORKER: usize = 2;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupOptions {
    /// The item, as the log knows it.
    pub item: ItemGuid,
    /// The item's name.
    pub item_name: String,
    /// The host it is read on.
    pub host: String,
    /// The paths that are read, as given.
    pub paths: Vec<Vec<u8>>,
    /// A point whose unchanged files are taken over without being opened; one that is gone or
    /// damaged only makes the backup slower.
    pub parent: Option<PointId>,
    /// Until when the point is to be kept, for whoever reads it later.
    pub keep_until: Option<Timestamp>,
    /// How much time compressing may take.
    pub compression: CompressionEffort,
    /// How many threads read and compress.
    pub threads: NonZeroUsize,
}

/// A point that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedPoint {
    /// Its id.
    pub id: PointId,
    /// The log entry that committed it.
    pub head: HeadPin,
    /// How much there is.
    pub counts: Counts,
    /// How many warnings there were.
    pub warnings_total: u64,
    /// How many of each code.
    pub warnings_by_code: BTreeMap<&'static str, u64>,
    /// The first of them.
    pub warnings: Vec<PointWarning>,
}

impl Repository {
    /// Reads `source` into a new point. What cannot be read becomes a warning; the point stands
    /// when this returns, and nothing of it does after an error.
    ///
    /// # Errors
    /// The source's own if it cannot be read at all; [`RepositoryError::Cancelled`]; whatever the
    /// store, the keys or the log refuse.
    pub fn backup(
        &self,
        source: &mut dyn Source,
        options: &BackupOptions,
        progress: &dyn Progress,
    ) -> Result<CommittedPoint, RepositoryError> {
        let begun = self.parts.clock.now();
        let session = self.begin_session()?;
        let committed = while_beating(&session, || {
            self.backup_within(&session, source, options, begun, progress)
        });
        self.end_session(session);
        committed
    }

    fn backup_within(
        &self,
        session: &Session,
        source: &mut dyn Source,
        options: &BackupOptions,
        begun: Timestamp,
        progress: &dyn Progress,
    ) -> Result<CommittedPoint, RepositoryError> {
        let index = self.open_index(&self.history()?, session.doomed_packs())?;
        let store = &*self.parts.store;
        let fresh = Fresh::new(self);
        let mut shared = Shared::new(store, self.keys(), &self.knife, &*index, fresh, progress);
        shared.parent = options.parent;
        let earlier = self.earlier(&shared);
        gather(&shared, source, earlier, options)?;
        if let Some(error) = shared.take_failure() {
            return Err(error);
        }
        shared.keep_going()?;
        shared.report(Phase::Committing);
        shared.store_last_pack()?;
        let Added { packs, indexes } = shared.fresh.finish()?;
        let root = locked(&shared.root).take();
        let root = root.ok_or(RepositoryError::Bug("a backup without a root listing"))?;
        let (warnings_by_code, warnings) = shared.take_warnings();
        let warnings_total = warnings_by_code.values().sum();
        let point = Point {
            item: options.item_name.clone(),
            host: options.host.clone(),
            paths: options.paths.clone(),
            begun,
            ended: self.parts.clock.now(),
            parent: options.parent,
            counts: shared.tally.counts(),
            warnings_total,
            warnings,
            top: locked(&shared.top).take(),
            keep_until: options.keep_until,
            root,
        };
        let id = self.store_point(&point)?;
        let new = NewPoint { item: options.item, point: id, indexes, packs };
        let used = shared.used_packs()?;
        shared.keep_going()?;
        let head = session.commit(&new, &|pack| used.contains(pack))?;
        let Point { counts, warnings, .. } = point;
        let id = PointId(id);
        Ok(CommittedPoint { id, head, counts, warnings_total, warnings_by_code, warnings })
    }

    /// What the parent point holds at its top; nothing if there is none to take over from. Until the
    /// walk knows better, as much is expected as there was then.
    fn earlier(&self, shared: &Shared<'_>) -> Vec<Node> {
        let point = shared.parent.and_then(|parent| self.point(parent).ok());
        let Some(point) = point else { return Vec::new() };
        shared.progress.expect(Total::estimate(point.counts.files, point.counts.bytes));
        shared.reader.listing(&point.root).unwrap_or_default()
    }

    pub(crate) fn store_point(&self, point: &Point) -> Result<ObjectId, RepositoryError> {
        let bytes = point.seal(self.keys())?;
        if Point::open(&bytes, self.keys(), &"the new point")? != *point {
            return Err(RepositoryError::Bug("a point does not open to what went into it"));
        }
        object::put(&*self.parts.store, Family::Point, &bytes)
    }
}

/// Does `work` while the session's heart beats, also as long as it waits for a source, a store or
/// the vault's keys.
pub(crate) fn while_beating<T>(session: &Session, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        // Dropped when the work is done, which ends the heartbeat.
        let (working, still) = bounded::<()>(0);
        scope.spawn(move || {
            while still.recv_timeout(HEARTBEAT_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // One that is missed is made up for by the next; none at all ends the session.
                let _ = session.beat();
            }
        });
        let done = work();
        drop(working);
        done
    })
}

/// Walks the source and waits until all of it is read and stored.
fn gather(
    shared: &Shared<'_>,
    source: &mut dyn Source,
    earlier: Vec<Node>,
    options: &BackupOptions,
) -> Result<(), RepositoryError> {
    let threads = options.threads.get();
    let queue = threads * QUEUE_PER_WORKER;
    let ((jobs_in, jobs), groups) = (bounded(queue), bounded(queue));
    let mut workers = Vec::new();
    for _ in 0..threads {
        let (jobs, groups) = (jobs.clone(), groups.clone());
        workers.push(Worker::new(shared, jobs, groups, options.compression)?);
    }
    drop((jobs, groups));
    std::thread::scope(|scope| {
        for worker in workers {
            scope.spawn(move || {
                if let Err(error) = worker.run() {
                    shared.fail(error);
                }
            });
        }
        let mut walk = Walk::new(shared, jobs_in, earlier);
        match source.walk(&mut walk) {
            Ok(()) => walk.finish(),
            Err(error) => shared.fail(error.into()),
        }
    });
    Ok(())
}
