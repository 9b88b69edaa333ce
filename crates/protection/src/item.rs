//! An item of either kind and its recovery points, as those see them who back up and restore.

use custody_names::ResourceId;
use custody_resources::{Kind, Record, Refusal, Stop, Stored, SystemData, World, Write};
use serde::Serialize;
use serde_json::Value;

use crate::FolderSource;
use crate::deleted_instance::{DeletedBackupInstance, DeletedPoint};
use crate::instance::BackupInstance;
use crate::item_status::ItemStatus;
use crate::point::{PointStatus, RecoveryPoint};
use crate::protected_item::ProtectedItem;
use crate::workload_point::WorkloadPoint;

/// The types of items, soft-deleted ones among them, and of the points of each.
const TYPES: [(&str, &str); 3] = [
    (BackupInstance::TYPE, RecoveryPoint::TYPE),
    (DeletedBackupInstance::TYPE, DeletedPoint::TYPE),
    (ProtectedItem::TYPE, WorkloadPoint::TYPE),
];
/// The collection of an item's recovery points, of either kind.
const POINTS: &str = "recoveryPoints";
/// The types of vaults.
pub(crate) const VAULT_TYPES: [&str; 2] =
    ["Microsoft.RecoveryServices/vaults", "Microsoft.DataProtection/backupVaults"];

/// An item of either kind.
#[derive(Clone)]
pub struct Item {
    /// Its record.
    pub record: Record,
    /// What is read for it.
    pub folder: FolderSource,
    /// The policy that it is under.
    pub policy: Option<ResourceId>,
    /// What only the server writes of it.
    pub status: ItemStatus,
}

impl Item {
    /// Whether a resource of this type is an item.
    pub fn is_item(id: &ResourceId) -> bool {
        let kind = id.resource_type();
        TYPES.iter().any(|(item, _)| item.eq_ignore_ascii_case(kind.as_str()))
    }

    /// The item that `id` is or lies in.
    pub fn around(id: &ResourceId) -> Option<ResourceId> {
        id.lineage().find(Self::is_item)
    }

    /// Reads the record of an item.
    pub fn read(record: &Record) -> Result<Self, Refusal> {
        if is_one_of(&record.id, &[ProtectedItem::TYPE]) {
            let Stored { record, spec, status } = Stored::<ProtectedItem>::read(record)?;
            let policy = spec.policy_id.parse().ok();
            return Ok(Self { record, folder: spec.folder, policy, status });
        }
        // A deleted instance is written as it was.
        let Stored { record, spec, status } = Stored::<BackupInstance>::read(record)?;
        let policy = spec.policy_info.map(|info| info.policy_id);
        Ok(Self { record, folder: spec.folder, policy, status })
    }

    /// The item, which must be there.
    pub fn expect(id: &ResourceId, world: &World) -> Result<Self, Stop> {
        let record = world.record(id)?.ok_or_else(|| custody_resources::not_found(id))?;
        Ok(Self::read(record)?)
    }

    /// Every item in a vault.
    pub fn below(vault: &ResourceId, world: &World) -> Result<Vec<Self>, Stop> {
        let mut all = Vec::new();
        for (kind, _) in TYPES {
            for record in world.below(vault, kind)? {
                all.push(Self::read(record)?);
            }
        }
        Ok(all)
    }

    /// The write that stores its present status.
    pub fn into_write(self) -> Result<Write, Refusal> {
        let Self { record, status, .. } = self;
        if is_one_of(&record.id, &[ProtectedItem::TYPE]) {
            let Stored { record, spec, .. } = Stored::<ProtectedItem>::read(&record)?;
            return Stored::<ProtectedItem> { record, spec, status }.into_write();
        }
        let Stored { record, spec, .. } = Stored::<BackupInstance>::read(&record)?;
        Stored::<BackupInstance> { record, spec, status }.into_write()
    }

    /// Where the record of one of its points stands.
    pub fn point_id(&self, point: &str) -> Result<ResourceId, Refusal> {
        let name = point.parse().map_err(|_| Refusal::bug("a point's id is a resource name"))?;
        Ok(self.record.id.child(POINTS, &name))
    }

    /// The records of its points.
    pub fn points(&self, world: &World) -> Result<Vec<Point>, Stop> {
        points_of(&self.record.id, world)
    }
}

/// A recovery point of an item of either kind.
#[derive(Clone)]
pub struct Point {
    /// Its record.
    pub record: Record,
    /// What it holds.
    pub status: PointStatus,
}

impl Point {
    /// A point that has no record yet.
    pub fn new(id: ResourceId, item: &SystemData, status: PointStatus) -> Self {
        let time = status.recovery_point_time;
        let system = SystemData { created_at: time, last_modified_at: time, ..item.clone() };
        Self { record: Record::blank(id, system), status }
    }

    /// Reads the record of a point.
    pub fn read(record: &Record) -> Result<Self, Refusal> {
        // Both kinds have the same status.
        let Stored { record, status, .. } = Stored::<RecoveryPoint>::read(record)?;
        Ok(Self { record, status })
    }

    /// The write that stores it.
    pub fn into_write(self) -> Result<Write, Refusal> {
        let Self { record, status } = self;
        if is_one_of(&record.id, &[WorkloadPoint::TYPE]) {
            return Stored::<WorkloadPoint> { record, spec: Value::Null, status }.into_write();
        }
        Stored::<RecoveryPoint> { record, spec: Value::Null, status }.into_write()
    }

    /// The points of everything below a place.
    pub fn below(place: &ResourceId, world: &World) -> Result<Vec<Self>, Stop> {
        let mut all = Vec::new();
        for (_, kind) in TYPES {
            for record in world.below(place, kind)? {
                all.push(Self::read(record)?);
            }
        }
        Ok(all)
    }
}

/// The records of an item's points.
pub fn points_of(item: &ResourceId, world: &World) -> Result<Vec<Point>, Stop> {
    let found = TYPES.iter().find(|(kind, _)| is_one_of(item, &[kind]));
    let Some((_, kind)) = found else { return Ok(Vec::new()) };
    Ok(world.children(item, kind)?.iter().map(Point::read).collect::<Result<_, _>>()?)
}

/// The vault that `id` lies in.
pub(crate) fn vault_around(id: &ResourceId) -> ResourceId {
    id.lineage().find(|place| is_one_of(place, &VAULT_TYPES)).unwrap_or_else(ResourceId::root)
}

/// The `properties` that clients see: what they wrote, and what is known besides.
pub(crate) fn shown_with(written: &impl Serialize, known: Value) -> Result<Value, Refusal> {
    let mut shown =
        serde_json::to_value(written).map_err(|error| Refusal::bug(error.to_string()))?;
    if let (Value::Object(shown), Value::Object(known)) = (&mut shown, known) {
        shown.extend(known.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Ok(shown)
}

pub(crate) fn is_one_of(id: &ResourceId, types: &[&str]) -> bool {
    let kind = id.resource_type();
    types.iter().any(|known| known.eq_ignore_ascii_case(kind.as_str()))
}
