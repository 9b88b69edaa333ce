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
    /// The point that whoever looked has just committed.
    committed: Option<String>,
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
        // Before the points: they are at least as new as this says.
        let head = repository.history()?.head();
        let points = repository.points()?.iter().map(seen).collect();
        let checkpoint = repository.newest_checkpoint();
        Ok(Self { points, head, checkpoint, accepts_head: false, committed: None, freed: 0 })
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
            status: unread(
                Timestamp::from_millisecond(point.received_ms).unwrap_or(Timestamp::MAX),
            ),
        };
        let points = history.points().iter().map(seen).collect();
        let (head, checkpoint) = (history.head(), None);
        Self { points, head, checkpoint, accepts_head: false, committed: None, freed: 0 }
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
        self.committed = Some(id);
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

    /// Whether the records of `vault` come from somebody who has seen more of the log: jobs that run at
    /// once end in any order.
    fn is_outdated(&self, vault: &Vault) -> bool {
        let known = vault.status.log_head.as_ref().filter(|_| !self.accepts_head);
        let (Some((known, _)), Some(head)) = (known, self.head) else { return false };
        head.number < *known
    }

    /// The writes that make the records of `vault` agree with what was seen. What is known of points from
    /// a newer log stays; only what was just committed is new in any case.
    pub(crate) fn writes(&self, vault: &ResourceId, world: &World) -> Result<Vec<Write>, Stop> {
        let mut writes = Vec::new();
        let mut given_up = 0;
        let is_outdated = self.is_outdated(&Vault::expect(vault, world)?);
        let is_committed = |id: &str| self.committed.as_deref() == Some(id);
        for mut item in Item::below(vault, world)? {
            let own: Vec<&SeenPoint> =
                self.points.iter().filter(|point| point.item == item.status.item_id).collect();
            for known in item.points(world)? {
                let name = known.record.id.name().unwrap_or_default();
                if !is_outdated && !own.iter().any(|point| point.id == name) {
                    writes.push(Write::Remove(known.record.id));
                    given_up += 1;
                }
            }
            for point in &own {
                let id = item.point_id(&point.id)?;
                let status = point.status.clone();
                match world.record(&id)? {
                    None if is_outdated && !is_committed(&point.id) => {}
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
            let newest =
                if is_outdated { item.status.newest_point_time.max(newest) } else { newest };
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

/// Of a point of which no more is known than when it was taken.
fn unread(recovery_point_time: Timestamp) -> PointStatus {
    let (size, files, new_bytes, warnings) = (0, 0, 0, 0);
    let (keep_until, damaged) = (None, false);
    PointStatus { recovery_point_time, size, files, new_bytes, warnings, keep_until, damaged }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use custody_protection::ItemStatus;
    use custody_repository::log::EntryHash;
    use custody_resources::{Query, Record, SystemData};
    use serde_json::json;

    use super::*;

    const VAULT: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/g\
                         /providers/Microsoft.DataProtection/backupVaults/v";

    /// The records of a vault with one item, by canonical identifier.
    #[derive(Clone)]
    struct Records(BTreeMap<String, Record>);

    impl Records {
        /// Those of a vault whose log was seen up to this number, with these points.
        fn new(head: u64, points: &[SeenPoint]) -> Self {
            let system: SystemData = serde_json::from_value(json!({
                "createdBy": "a", "createdAt": time(0), "lastModifiedBy": "a", "lastModifiedAt": time(0),
            }))
            .unwrap();
            let mut records = Self(BTreeMap::new());
            let vault = Record::blank(VAULT.parse().unwrap(), system.clone());
            let status = json!({ "logHead": [head, EntryHash::from_bytes([1; 32]).to_string()] });
            records.put(Record { spec: json!({}), status, ..vault });
            let item = Record::blank(item_id(), system.clone());
            let status = ItemStatus::new(ItemId::from_bytes([7; 16]), time(0));
            let status = serde_json::to_value(status).unwrap();
            records.put(Record { spec: json!({}), status, ..item });
            for point in points {
                let item = Item::read(&records.0[&item_id().canonical()]).unwrap();
                let id = item.point_id(&point.id).unwrap();
                let point = Point::new(id, &system, point.status.clone());
                records.apply(point.into_write().unwrap());
            }
            records
        }

        fn put(&mut self, record: Record) {
            self.0.insert(record.id.canonical(), record);
        }

        fn apply(&mut self, write: Write) {
            match write {
                Write::Put(record) => self.put(*record),
                Write::Remove(id) => drop(self.0.remove(&id.canonical())),
                _ => panic!("a view writes records alone"),
            }
        }

        fn answer(&self, query: &Query) -> Vec<Record> {
            let within = |place: &str, kind: &str| {
                let of_kind = |record: &&Record| {
                    record.id.canonical().starts_with(&format!("{place}/"))
                        && record.id.resource_type().to_string().to_lowercase() == kind
                };
                self.0.values().filter(of_kind).cloned().collect()
            };
            match query {
                Query::Record(id) => self.0.get(id).cloned().into_iter().collect(),
                Query::Below(place, kind) | Query::Children(place, kind) => within(place, kind),
                _ => panic!("a view asks for no more"),
            }
        }

        /// The names of the points after a job has ended that has seen this.
        fn after(&mut self, view: &PointsView) -> Vec<String> {
            let (mut world, vault) = (World::new(), VAULT.parse().unwrap());
            let writes = loop {
                match view.writes(&vault, &world) {
                    Ok(writes) => break writes,
                    Err(Stop::Needs(query)) => {
                        let answer = self.answer(&query);
                        world.learn(query, answer);
                    }
                    Err(Stop::Refused(refusal)) => panic!("{refusal:?}"),
                }
            };
            for write in writes {
                self.apply(write);
            }
            let points =
                self.0.values().filter(|record| record.id.canonical().contains("/recoverypoints/"));
            points.filter_map(|record| record.id.name().map(str::to_owned)).collect()
        }
    }

    fn item_id() -> ResourceId {
        format!("{VAULT}/backupInstances/i").parse().unwrap()
    }

    fn time(day: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap()
    }

    fn point(day: i64) -> SeenPoint {
        let status = unread(time(day));
        let (item, paths) = (ItemId::from_bytes([7; 16]), Vec::new());
        SeenPoint { id: format!("p{day}"), item, item_name: None, paths, was_read: false, status }
    }

    fn view(head: u64, days: &[i64], committed: Option<i64>) -> PointsView {
        let points = days.iter().map(|day| point(*day)).collect();
        let head = Some(HeadPin { number: head, hash: EntryHash::from_bytes([1; 32]) });
        let committed = committed.map(|day| format!("p{day}"));
        PointsView { points, head, checkpoint: None, accepts_head: false, committed, freed: 0 }
    }

    /// A backup that committed `p3` (head 10) and an expiry that gave up `p1` (head 11, or 9) run at once.
    #[test]
    fn jobs_that_run_at_once_leave_what_the_newest_log_says_in_whatever_order_they_end() {
        let before: Vec<SeenPoint> = [1, 2].map(point).into();
        let backup = view(10, &[1, 2, 3], Some(3));
        let later = view(11, &[2, 3], None);
        for order in [[&backup, &later], [&later, &backup]] {
            let mut records = Records::new(8, &before);
            let [_, last] = order.map(|view| records.after(view));
            assert_eq!(last, ["p2", "p3"], "what was given up does not come back");
        }
        let (earlier, backup) = (view(9, &[2], None), view(10, &[2, 3], Some(3)));
        for order in [[&backup, &earlier], [&earlier, &backup]] {
            let mut records = Records::new(8, &before);
            let [_, last] = order.map(|view| records.after(view));
            assert_eq!(last, ["p2", "p3"]);
        }
        // A forget notes its own head and removes its own points: what was just committed is new all the same.
        assert_eq!(
            Records::new(12, &before).after(&view(10, &[1, 2, 3], Some(3))),
            ["p1", "p2", "p3"]
        );
    }
}
