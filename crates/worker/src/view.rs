//! The record store's view of a repository's points, made to agree with the log.

use std::collections::BTreeMap;

use custody_ambient::Timestamp;
use custody_backup_vaults::Vault;
use custody_names::{ItemId, ResourceId};
use custody_protection::{Item, Point, PointStatus};
use custody_repository::log::{HeadPin, History, ObjectId};
use custody_repository::{CommittedPoint, ListedPoint, Repository};
use custody_resources::{Stop, World, Write};

use crate::error::TaskError;
use crate::vault_repository::{note_checkpoint, note_head};

/// What a repository says there is, taken down once so that it can be held against the records in
/// whatever transaction ends the job.
pub(crate) struct PointsView {
    points: Vec<SeenPoint>,
    head: Option<HeadPin>,
    checkpoint: Option<HeadPin>,
    accepts_head: bool,
    /// Points given up whose space a prune has freed.
    freed: u64,
}

struct SeenPoint {
    id: String,
    item: ItemId,
    item_name: Option<String>,
    paths: Vec<Vec<u8>>,
    /// Whether the point itself was read, so that `status` says what it holds.
    was_read: bool,
    status: PointStatus,
}

impl PointsView {
    /// Reads every point of the repository.
    pub(crate) fn read(repository: &Repository) -> Result<Self, TaskError> {
        let points = repository.points()?.iter().map(seen).collect();
        let head = repository.history()?.head();
        let checkpoint = repository.newest_checkpoint();
        Ok(Self { points, head, checkpoint, accepts_head: false, freed: 0 })
    }

    /// What the log alone says: which points there are, not what they hold. Needs no key and
    /// reads no point, however many there are.
    pub(crate) fn of_log(history: &History) -> Self {
        let seen = |(name, point): (&ObjectId, &custody_repository::log::Point)| SeenPoint {
            id: name.to_string(),
            item: ItemId::from_bytes(*point.item.as_bytes()),
            item_name: None,
            paths: Vec::new(),
            was_read: false,
            status: PointStatus {
                recovery_point_time: Timestamp::from_millisecond(point.received_ms)
                    .unwrap_or(Timestamp::MAX),
                size: 0,
                files: 0,
                new_bytes: 0,
                warnings: 0,
                keep_until: None,
                damaged: false,
            },
        };
        let points = history.points().iter().map(seen).collect();
        let (head, checkpoint) = (history.head(), None);
        Self { points, head, checkpoint, accepts_head: false, freed: 0 }
    }

    /// With what a point just committed holds, which need not be read back for that.
    pub(crate) fn with_committed(
        mut self,
        committed: &CommittedPoint,
        keep_until: Option<Timestamp>,
    ) -> Self {
        let id = committed.id.to_string();
        for point in self.points.iter_mut().filter(|point| point.id == id) {
            point.was_read = true;
            point.status = PointStatus {
                size: committed.counts.bytes,
                files: committed.counts.files,
                new_bytes: committed.counts.new_bytes,
                warnings: committed.warnings_total,
                keep_until,
                ..point.status.clone()
            };
        }
        self
    }

    /// With the newest checkpoint of the log.
    pub(crate) fn at_checkpoint(mut self, repository: &Repository) -> Self {
        self.checkpoint = repository.newest_checkpoint();
        self
    }

    /// How many points there are.
    pub(crate) fn len(&self) -> usize {
        self.points.len()
    }

    /// Takes the head as it was found, even if it lies behind the one on record.
    pub(crate) fn accepting_head(mut self, accept: bool) -> Self {
        self.accepts_head = accept;
        self
    }

    /// After a prune that freed what this many points given up had held.
    pub(crate) fn having_freed(mut self, points: u64) -> Self {
        self.freed = points;
        self
    }

    /// Items that the repository holds points of, by id: name and paths from their newest point.
    pub(crate) fn items(&self) -> BTreeMap<ItemId, (Option<String>, Vec<Vec<u8>>)> {
        let each = self.points.iter();
        each.map(|point| (point.item, (point.item_name.clone(), point.paths.clone()))).collect()
    }

    /// The writes that make the records of `vault` agree with what was seen.
    pub(crate) fn writes(&self, vault: &ResourceId, world: &World) -> Result<Vec<Write>, Stop> {
        let mut writes = Vec::new();
        let mut given_up = 0;
        for mut item in Item::below(vault, world)? {
            let own: Vec<&SeenPoint> =
                self.points.iter().filter(|point| point.item == item.status.item_id).collect();
            for known in item.points(world)? {
                let name = known.record.id.name().unwrap_or_default();
                if !own.iter().any(|point| point.id == name) {
                    writes.push(Write::Remove(known.record.id));
                    given_up += 1;
                }
            }
            for point in &own {
                let id = item.point_id(&point.id)?;
                let status = point.status.clone();
                match world.record(&id)? {
                    None => {
                        let new = Point::new(id, &item.record.system, status);
                        writes.push(new.into_write()?);
                    }
                    Some(known) if point.was_read => {
                        let known = Point::read(known)?;
                        // Points made before the repository kept it do not know what was asked for.
                        let keep_until = status.keep_until.or(known.status.keep_until);
                        let status = PointStatus { keep_until, ..status };
                        if known.status != status {
                            writes.push(Point { status, ..known }.into_write()?);
                        }
                    }
                    Some(_) => {}
                }
            }
            let newest = own.iter().map(|point| point.status.recovery_point_time).max();
            if item.status.newest_point_time != newest {
                item.status.newest_point_time = newest;
                writes.push(item.into_write()?);
            }
        }
        if let Some(head) = self.head {
            let mut stored = Vault::expect(vault, world)?;
            if self.accepts_head {
                (stored.status.log_head, stored.status.log_checkpoint) = (None, None);
            }
            note_head(&mut stored.status, head);
            note_checkpoint(&mut stored.status, self.checkpoint);
            let waste = &mut stored.status.given_up_points;
            *waste = waste.saturating_sub(self.freed).saturating_add(given_up);
            writes.push(stored.into_write()?);
        }
        Ok(writes)
    }
}

fn seen(listed: &ListedPoint) -> SeenPoint {
    let point = listed.point.as_ref().ok();
    let counts = point.map(|point| point.counts).unwrap_or_default();
    SeenPoint {
        id: listed.id.to_string(),
        item: ItemId::from_bytes(*listed.item.as_bytes()),
        item_name: point.map(|point| point.item.clone()),
        paths: point.map(|point| point.paths.clone()).unwrap_or_default(),
        was_read: true,
        status: PointStatus {
            recovery_point_time: listed.received,
            size: counts.bytes,
            files: counts.files,
            new_bytes: counts.new_bytes,
            warnings: point.map(|point| point.warnings_total).unwrap_or_default(),
            keep_until: point.and_then(|point| point.keep_until),
            damaged: point.is_none(),
        },
    }
}
